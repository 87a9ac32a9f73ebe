//! `cargo xtask demo`: fetch a model, build the page, and serve it with its atlas, or tell the story in the terminal.

use anyhow::{Result, bail};

use crate::shell::{self, fetch, pellucid};
use crate::ui;

/// Serves the page; a model without an atlas gets one while the page is in use, a small one first. Further arguments go
/// to `pellucid serve` (after `--tour`, to `pellucid demo`).
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    ui::build()?;
    fetch(&["smollm2", "minilm"])?;
    match arguments.split_first() {
        Some((first, rest)) if first == "--tour" => shell::run(pellucid()?.arg("demo").args(rest)),
        Some((first, _)) if !first.starts_with('-') => {
            bail!("`demo` takes --tour or flags of `pellucid serve`, found `{first}`")
        }
        _ => {
            println!("Open this address in a browser; ctrl-c ends it.");
            shell::run(pellucid()?.args(["serve", "--model", "smollm2", "--build-atlas"]).args(arguments))
        }
    }
}
