//! The page: its packages, its checks, its build, and the types it takes from the server's OpenAPI document.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::python::fnv;
use crate::shell::{pellucid, program, read, step, works};

/// The page's folder.
pub(crate) fn folder() -> PathBuf {
    paths::root().join("ui")
}

/// `cargo xtask ui [types]`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [] => build(),
        [one] if one == "types" => types(),
        [one] if one == "check" => check(),
        _ => bail!("`ui` takes nothing, `check` or `types`"),
    }
}

/// npm in the page's folder.
pub(crate) fn npm(arguments: &[&str]) -> Result<Command> {
    let name = if cfg!(windows) { "npm.cmd" } else { "npm" };
    let mut command = program(Path::new(name));
    if !works(Command::new(name).arg("--version")) {
        bail!("npm is not installed; Node.js 20 or newer brings it");
    }
    // a test tool must not fetch a browser of its own
    command.current_dir(folder()).args(arguments).env("PLAYWRIGHT_SKIP_BROWSER_DOWNLOAD", "1");
    Ok(command)
}

/// The packages of the lock file, installed when it has changed.
pub(crate) fn packages() -> Result<()> {
    let lock = fs::read(folder().join("package-lock.json")).context("reading ui/package-lock.json")?;
    let (stamp, expected) = (folder().join("node_modules").join(".pellucid"), format!("{:016x}", fnv(&lock)));
    if fs::read_to_string(&stamp).is_ok_and(|found| found == expected) {
        return Ok(());
    }
    step("packages of the page", &mut npm(&["ci", "--no-audit", "--no-fund"])?)?;
    fs::write(&stamp, expected).context("stamping node_modules")
}

/// Builds the page into `ui/dist`, which the server embeds; nothing is done where its sources have not changed.
pub(crate) fn build() -> Result<()> {
    packages()?;
    let (stamp, expected) = (folder().join("dist").join(".sources"), format!("{:016x}", sources()?));
    if fs::read_to_string(&stamp).is_ok_and(|found| found == expected) {
        return Ok(());
    }
    step("build the page", &mut npm(&["run", "--silent", "build"])?)?;
    fs::write(&stamp, expected).context("stamping ui/dist")
}

/// Types, lints and unit tests of the page.
pub(crate) fn check() -> Result<()> {
    packages()?;
    step("types and lints of the page", &mut npm(&["run", "--silent", "check"])?)?;
    step("unit tests of the page", &mut npm(&["run", "--silent", "test"])?)
}

/// Writes the page's types from the server's OpenAPI document.
fn types() -> Result<()> {
    packages()?;
    let made = generated()?;
    let path = schema();
    fs::write(&path, made).with_context(|| format!("writing {}", path.display()))?;
    println!("wrote ui/src/api/schema.ts");
    Ok(())
}

/// Fails where the page's types are not those of the server.
pub(crate) fn check_types() -> Result<()> {
    let kept = fs::read_to_string(schema()).context("reading ui/src/api/schema.ts")?;
    if kept != generated()? {
        bail!(
            "ui/src/api/schema.ts is not what the server says; run `cargo xtask ui types` and look at the change"
        );
    }
    println!("   types of the page: as the server's OpenAPI document says\n");
    Ok(())
}

fn schema() -> PathBuf {
    folder().join("src").join("api").join("schema.ts")
}

fn generated() -> Result<String> {
    let document = read(pellucid()?.args(["docs", "openapi"]))?;
    let file = folder().join("node_modules").join(".openapi.json");
    fs::write(&file, document).context("writing the OpenAPI document")?;
    read(npm(&["exec", "--no", "--", "openapi-typescript"])?.arg(&file))
}

/// A hash of everything that the build reads.
fn sources() -> Result<u64> {
    let mut files = vec![folder().join("index.html"), folder().join("package-lock.json")];
    files.extend(["vite.config.ts", "tsconfig.json"].map(|f| folder().join(f)));
    for part in ["src", "public"] {
        walk(&folder().join(part), &mut files)?;
    }
    files.sort();
    let mut all = Vec::new();
    for file in files {
        all.extend(file.to_string_lossy().bytes());
        all.extend(fs::read(&file).with_context(|| format!("reading {}", file.display()))?);
    }
    Ok(fnv(&all))
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    if !folder.exists() {
        return Ok(());
    }
    for entry in fs::read_dir(folder).with_context(|| format!("reading {}", folder.display()))? {
        let path = entry?.path();
        if path.is_dir() { walk(&path, files)? } else { files.push(path) }
    }
    Ok(())
}
