//! `cargo xtask embed`: make the model that comes with the program again, from text and seeds.

use anyhow::Result;

use crate::paths;
use crate::shell::{fetch, pellucid, step};

/// Tokens that the model learns from: its text about four times.
const TOKENS: &str = "8000000";

/// What is made on the way stays in the cache, so a run that was stopped goes on. Further arguments go to `pellucid embed`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    fetch(&["minilm"])?;
    let work = paths::cache()?.join("embed");
    std::fs::create_dir_all(&work)?;
    let archive = paths::root().join("crates/pellucid/embedded/one-layer.zip");
    let mut command = pellucid()?;
    command.arg("embed").arg("--out").arg(archive).arg("--work").arg(work);
    if !arguments.iter().any(|argument| argument.starts_with("--tokens")) {
        command.args(["--tokens", TOKENS]);
    }
    command.args(arguments);
    step("embedded model", &mut command)
}
