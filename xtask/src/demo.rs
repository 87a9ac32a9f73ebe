//! `cargo xtask demo`: fetch a model and let the program tell the story.

use anyhow::Result;

use crate::shell::{self, cargo, fetch};

/// Further arguments go to `pellucid demo`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    fetch(&["smollm2"])?;
    shell::run(cargo(&["run", "--quiet", "--release", "-p", "pellucid", "--", "demo"]).args(arguments))
}
