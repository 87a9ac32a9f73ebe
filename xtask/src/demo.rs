//! `cargo xtask demo`: fetch a model and let the program tell the story.

use anyhow::Result;

use crate::shell::{self, fetch, pellucid};

/// Further arguments go to `pellucid demo`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    fetch(&["smollm2"])?;
    shell::run(pellucid()?.arg("demo").args(arguments))
}
