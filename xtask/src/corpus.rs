//! `cargo xtask corpus`: assemble the default corpus in the cache, as `pellucid atlas build` does where it is missing.

use anyhow::{Result, bail};

use crate::shell::{pellucid, step};

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    if let Some(more) = arguments.first() {
        bail!("corpus takes no arguments, found `{more}`");
    }
    step("default corpus", pellucid()?.arg("corpus"))
}
