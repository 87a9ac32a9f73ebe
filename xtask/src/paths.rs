//! Where things are: the repository, cargo's target directory, the cache outside the repository.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use anyhow::{Context, Result, anyhow, bail};
use serde_json::Value;

use crate::shell::cargo;

/// The repository: the folder above this crate. Cargo says where that is as it starts us; the place we were compiled in may
/// be another checkout that shares the target directory.
pub(crate) fn root() -> &'static Path {
    static ROOT: OnceLock<PathBuf> = OnceLock::new();
    ROOT.get_or_init(|| {
        let here = env::var_os("CARGO_MANIFEST_DIR").unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into());
        let here = PathBuf::from(here);
        here.parent().map_or(here.clone(), Path::to_owned)
    })
}

/// Cargo's target directory, which the environment or the user's configuration may have moved.
pub(crate) fn target() -> Result<PathBuf> {
    let facts = metadata()?;
    let path = facts["target_directory"].as_str().context("cargo metadata names no target directory")?;
    Ok(PathBuf::from(path))
}

/// What cargo knows about the workspace's own packages.
pub(crate) fn metadata() -> Result<Value> {
    let output = cargo(&["metadata", "--no-deps", "--offline", "--format-version", "1"]).output()?;
    if !output.status.success() {
        bail!("cargo metadata failed: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    serde_json::from_slice(&output.stdout).context("reading cargo metadata")
}

/// The program of a profile (`debug`, `release`), with its folder (`examples`) where it has one.
pub(crate) fn executable(profile: &str, name: &str) -> Result<PathBuf> {
    Ok(target()?.join(profile).join(format!("{name}{}", env::consts::EXE_SUFFIX)))
}

/// The cache: the rule of `pellucid-model`'s `load/cache.rs`, so that a model is fetched once for both.
pub(crate) fn cache() -> Result<PathBuf> {
    // An empty variable counts as none, as the XDG specification says.
    let named = |key: &str| env::var_os(key).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(path) = named("PELLUCID_CACHE") {
        return Ok(path);
    }
    let above =
        named("XDG_CACHE_HOME").or_else(|| env::home_dir().map(|home| home.join(".cache"))).ok_or_else(
            || anyhow!("no home directory; set PELLUCID_CACHE to a folder for models and environments"),
        )?;
    Ok(above.join("pellucid"))
}

/// The one GGUF file of a fetched model.
pub(crate) fn gguf(model: &str) -> Result<PathBuf> {
    let folder = cache()?.join("models").join(model);
    let entries = fs::read_dir(&folder)
        .with_context(|| format!("model {model} is not fetched: {}", folder.display()))?;
    let mut found: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    found.retain(|path| path.extension().is_some_and(|kind| kind == "gguf"));
    match found.as_slice() {
        [one] => Ok(one.clone()),
        several => bail!("expected one GGUF file of {model}, found {}: {}", several.len(), folder.display()),
    }
}
