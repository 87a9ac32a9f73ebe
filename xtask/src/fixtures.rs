//! `cargo xtask fixtures`: write again what the tests compare with. Its results are committed, so tests need no Python.

use anyhow::Result;

use crate::paths;
use crate::python;
use crate::shell::{fetch, program, step};

/// Versions are pinned: the dumps are committed, and another version of the origin may give other numbers.
const REQUIREMENTS: &str = "torch==2.15.0
transformers==5.23.0
accelerate==1.15.0
tokenizers==0.23.3
gguf==0.19.0
safetensors==0.8.0
sentencepiece==0.2.3
numpy==2.4.6
";

/// Without names everything is made; with names only those of `fixtures/make.py`.
pub(crate) fn run(names: &[String]) -> Result<()> {
    let python = python::environment("fixtures", REQUIREMENTS)?;
    let fixtures = paths::root().join("fixtures");
    step("tiny models", program(&python).arg(fixtures.join("make.py")).args(names))?;
    if !names.is_empty() {
        return Ok(());
    }
    let models = ["smollm2", "gemma3-270m"];
    fetch(&["smollm2", "gemma3-270m", "minilm"])?;
    for model in models {
        let mut reference = program(&python);
        reference.arg(fixtures.join("real_reference.py")).arg(model).arg(paths::gguf(model)?);
        step(format!("reference of {model}"), &mut reference)?;
    }
    let mut reference = program(&python);
    reference.arg(fixtures.join("embed_files.py")).arg("minilm").arg(paths::cache()?.join("models/minilm"));
    step("reference of minilm", &mut reference)
}
