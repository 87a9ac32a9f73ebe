//! `cargo xtask docs NAME`: a page of docs/ that holds measurements is written by a command, never by hand.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::picture;
use crate::shell::{fetch, pellucid, read};

/// Pages whose text is what the program prints for `pellucid docs NAME`.
const PAGES: [&str; 4] = ["parity", "attribution", "check", "points"];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let [name] = arguments else { bail!("which page? {}, demo", PAGES.join(", ")) };
    if name == "demo" {
        fetch(&["smollm2"])?;
        let text = read(pellucid()?.env("NO_COLOR", "1").arg("demo"))?;
        return write("demo.svg", &picture::terminal("cargo xtask demo", &text));
    }
    if !PAGES.contains(&name.as_str()) {
        bail!("there is no page `{name}`, only {}, demo", PAGES.join(", "));
    }
    fetch(&["smollm2", "gemma3-270m"])?;
    let text = read(pellucid()?.args(["docs", name]))?;
    write(&format!("{name}.md"), &text)
}

/// Writes a page only when there is something to write: a failed measurement leaves the old page.
pub(crate) fn write(file: &str, text: &str) -> Result<()> {
    if text.trim().is_empty() {
        bail!("the measurement printed nothing, docs/{file} is left as it was");
    }
    let folder = paths::root().join("docs");
    fs::create_dir_all(&folder).context("making docs/")?;
    fs::write(folder.join(file), text).with_context(|| format!("writing docs/{file}"))?;
    println!("wrote docs/{file}");
    Ok(())
}
