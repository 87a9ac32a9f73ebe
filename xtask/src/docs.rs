//! `cargo xtask docs NAME`: a page of docs/ that holds measurements is written by a command, never by hand.

use std::fs;

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::picture;
use crate::shell::{fetch, pellucid, read};

/// Pages whose text is what the program prints for `pellucid docs NAME`.
const PAGES: [&str; 4] = ["parity", "attribution", "check", "points"];

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let all = || format!("{}, atlas, blind, blind-result, demo", PAGES.join(", "));
    let Some((name, more)) = arguments.split_first() else { bail!("which page? {}", all()) };
    match name.as_str() {
        "atlas" => return atlas(more),
        "blind" | "blind-result" => return blind(name, more),
        _ if !more.is_empty() => bail!("{name}: one page at a time, found also {}", more.join(" ")),
        _ => {}
    }
    if name == "demo" {
        fetch(&["smollm2"])?;
        let text = read(pellucid()?.env("NO_COLOR", "1").arg("demo"))?;
        return write("demo.svg", &picture::terminal("cargo xtask demo", &text));
    }
    if !PAGES.contains(&name.as_str()) {
        bail!("there is no page `{name}`, only {}", all());
    }
    fetch(&["smollm2", "gemma3-270m"])?;
    let text = read(pellucid()?.args(["docs", name]))?;
    write(&format!("{name}.md"), &text)
}

/// The page about atlases; `arguments` go to the program. Without any, what default builds of the real models and the
/// blind check have left.
fn atlas(arguments: &[String]) -> Result<()> {
    let mut command = pellucid()?;
    command.args(["docs", "atlas"]).args(arguments);
    if arguments.is_empty() {
        let atlases = paths::cache()?.join("atlases");
        let entries =
            fs::read_dir(&atlases).context("no atlas has been built; run `pellucid atlas build`")?;
        let mut built: Vec<_> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
        built.retain(|path| path.to_string_lossy().ends_with(".built.json"));
        built.sort();
        built.iter().for_each(|path| _ = command.arg("--built").arg(path));
        let blind = paths::root().join("docs/atlas/blind-result.json");
        if blind.exists() {
            command.arg("--blind").arg(blind);
        }
    }
    write("atlas.md", &read(&mut command)?)
}

/// The blind check: its sheet and key, or what a reader's answers come to.
fn blind(name: &str, arguments: &[String]) -> Result<()> {
    print!("{}", read(pellucid()?.args(["docs", name]).args(arguments))?);
    Ok(())
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
