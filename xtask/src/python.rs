//! Python environments in the cache: made once for a list of requirements, used by every later run.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::shell::{program, read, run, step, works};

/// The file that says an environment was installed to its end; it lists what is in it.
const COMPLETE: &str = "installed.txt";

/// The interpreter of an environment with these requirements (the text of a requirements.txt).
///
/// `PELLUCID_<NAME>_PYTHON` names an interpreter to use instead, as it is.
pub(crate) fn environment(name: &str, requirements: &str) -> Result<PathBuf> {
    let variable = format!("PELLUCID_{}_PYTHON", name.to_uppercase());
    if let Some(ready) = env::var_os(&variable).filter(|value| !value.is_empty()) {
        println!("Python from {variable}: {}\n", Path::new(&ready).display());
        return Ok(PathBuf::from(ready));
    }
    // The name holds a hash, so changed requirements make a new environment and never mend an old one.
    let folder = paths::cache()?.join("python").join(format!("{name}-{:016x}", fnv(requirements.as_bytes())));
    let python = interpreter(&folder);
    if !folder.join(COMPLETE).exists() {
        make(name, requirements, &folder, &python)?;
    }
    Ok(python)
}

fn make(name: &str, requirements: &str, folder: &Path, python: &Path) -> Result<()> {
    if folder.exists() {
        fs::remove_dir_all(folder).context("removing an environment that was never finished")?;
    }
    fs::create_dir_all(folder).context("making the environment's folder")?;
    let list = folder.join("requirements.txt");
    fs::write(&list, requirements).context("writing requirements.txt")?;
    println!("Python environment `{name}`: several GB are fetched once, minutes; kept in the cache");
    run(system_python()?.args(["-m", "venv"]).arg(folder))?;
    let pip = ["-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--quiet", "-r"];
    step(format!("pip install for `{name}`"), program(python).args(pip).arg(&list))?;
    let installed = read(program(python).args(["-m", "pip", "freeze", "--disable-pip-version-check"]))?;
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
