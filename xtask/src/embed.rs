//! `cargo xtask embed`: make the model that comes with the program again, from text and seeds.

use anyhow::Result;

use crate::paths;
use crate::shell::{fetch, pellucid, step};

/// What is made on the way stays in the cache, so a run that was stopped goes on. Further arguments go to `pellucid embed`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    fetch(&["minilm"])?;
    let work = paths::cache()?.join("embed");
    std::fs::create_dir_all(&work)?;
    let archive = paths::root().join("crates/pellucid/embedded/one-layer.zip");
    let mut command = pellucid()?;
    command.arg("embed").arg("--out").arg(archive).arg("--work").arg(work).args(arguments);
    step("embedded model", &mut command)
}
