//! Python environments in the cache: made once for a list of requirements, used by every later run.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::shell::{pretty, program, read, run, step, within, works};

/// The file that says an environment was installed to its end; it lists what is in it.
const COMPLETE: &str = "installed.txt";

/// The file that says why one cannot be: compiling for minutes to fail again helps nobody.
const FAILED: &str = "failed.txt";

/// The interpreter of an environment with these requirements (the text of a requirements.txt).
///
/// `PELLUCID_<NAME>_PYTHON` names an interpreter to use instead, as it is.
pub(crate) fn environment(name: &str, requirements: &str) -> Result<PathBuf> {
    let variable = format!("PELLUCID_{}_PYTHON", name.to_uppercase());
    if let Some(ready) = env::var_os(&variable).filter(|value| !value.is_empty()) {
        println!("Python from {variable}: {}\n", Path::new(&ready).display());
        return Ok(PathBuf::from(ready));
    }
    let folder = place(name, requirements)?;
    let python = interpreter(&folder);
    if !folder.join(COMPLETE).exists() {
        make(name, requirements, &folder, None)?;
    }
    Ok(python)
}

/// The same where a package must be compiled, which may fail or take longer than `limit`: then that is so until the folder is
/// removed from the cache.
pub(crate) fn compiled(name: &str, requirements: &str, limit: Duration) -> Result<PathBuf> {
    let folder = place(name, requirements)?;
    let failed = folder.join(FAILED);
    if let Ok(reason) = fs::read_to_string(&failed) {
        bail!("its environment could not be made: {}", reason.trim());
    }
    if !folder.join(COMPLETE).exists()
        && let Err(error) = make(name, requirements, &folder, Some(limit))
    {
        fs::write(&failed, format!("{error:#}")).context("noting why an environment cannot be made")?;
        return Err(error);
    }
    Ok(interpreter(&folder))
}

fn place(name: &str, requirements: &str) -> Result<PathBuf> {
    // The name holds a hash, so changed requirements make a new environment and never mend an old one.
    Ok(paths::cache()?.join("python").join(format!("{name}-{:016x}", fnv(requirements.as_bytes()))))
}

fn make(name: &str, requirements: &str, folder: &Path, limit: Option<Duration>) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).context("removing an environment that was never finished")?;
    }
    fs::create_dir_all(folder).context("making the environment's folder")?;
    let list = folder.join("requirements.txt");
    fs::write(&list, requirements).context("writing requirements.txt")?;
    match limit {
        None => {
            println!("Python environment `{name}`: several GB are fetched once, minutes; kept in the cache")
        }
        Some(limit) => {
            println!(
                "Python environment `{name}`: compiled once, at most {}; kept in the cache",
                pretty(limit)
            )
        }
    }
    run(system_python()?.args(["-m", "venv"]).arg(folder))?;
    let python = interpreter(folder);
    let pip = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet", "-r"];
    let mut install = program(&python);
    install.args(pip).arg(&list);
    match limit {
        None => step(format!("pip install for `{name}`"), &mut install)?,
        Some(limit) => within(format!("pip install for `{name}`"), &mut install, limit)?,
    }
    let installed = read(program(&python).args(["-m", "pip", "freeze", "--disable-pip-version-check"]))?;
    fs::write(folder.join(COMPLETE), installed).context("stamping the environment")
}

/// Where a virtual environment keeps its interpreter.
fn interpreter(folder: &Path) -> PathBuf {
    if cfg!(windows) { folder.join("Scripts").join("python.exe") } else { folder.join("bin").join("python") }
}

/// A Python that can make environments.
pub(crate) fn system_python() -> Result<Command> {
    let chosen = env::var_os("PELLUCID_PYTHON").filter(|value| !value.is_empty()).map(PathBuf::from);
    let candidates = chosen.map_or_else(|| vec!["python3".into(), "python".into()], |one| vec![one]);
    for candidate in &candidates {
        if works(program(candidate).args(["-c", "import sys, venv; sys.exit(sys.version_info < (3, 10))"])) {
            return Ok(program(candidate));
        }
    }
    bail!("no Python 3.10 or newer with venv; install one or set PELLUCID_PYTHON")
}

/// FNV-1a: a hash that is the same in every build, unlike the standard library's.
pub(crate) fn fnv(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::fnv;

    #[test]
    fn published_values_of_fnv_1a() {
        assert_eq!(fnv(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv(b"a"), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv(b"foobar"), 0x8594_4171_f739_67e8);
    }
}
