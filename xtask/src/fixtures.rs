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

/// The libraries that publish dictionaries. llamascopium needs Python 3.11 or 3.12.
const DICTIONARIES: &str = "sae-lens==6.54.12
eai-sparsify==1.3.3
circuit-tracer==0.5.0
llamascopium==2.0.0b34
torch==2.15.0
safetensors==0.8.0
numpy==2.4.6
";

/// This one wants an nnsight that circuit-tracer does not.
const DICTIONARY_LEARNING: &str = "dictionary-learning==0.1.0
torch==2.15.0
safetensors==0.8.0
numpy==2.4.6
";

/// Without names everything is made; with names only those of `fixtures/make.py`, or `dictionaries`.
pub(crate) fn run(names: &[String]) -> Result<()> {
    if names.is_empty() || names.iter().any(|name| name == "dictionaries") {
        dictionaries()?;
    }
    let others: Vec<&String> = names.iter().filter(|name| *name != "dictionaries").collect();
    if others.is_empty() && !names.is_empty() {
        return Ok(());
    }
    let python = python::environment("fixtures", REQUIREMENTS)?;
    let fixtures = paths::root().join("fixtures");
    step("tiny models", program(&python).arg(fixtures.join("make.py")).args(others))?;
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

fn dictionaries() -> Result<()> {
    let script = paths::root().join("fixtures/dictionary_files.py");
    let python = python::environment("dictionaries", DICTIONARIES)?;
    step("dictionaries", program(&python).arg(&script))?;
    let python = python::environment("dictionary_learning", DICTIONARY_LEARNING)?;
    step("dictionaries of dictionary_learning", program(&python).arg(&script).arg("dictionary_learning"))
}
