//! Running other programs: each step is announced, timed, and stops everything when it fails.

use std::env;
use std::fmt::Display;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::paths;

/// A cargo command in the repository, run by the cargo that runs us.
pub(crate) fn cargo(arguments: &[&str]) -> Command {
    let program = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(arguments).current_dir(paths::root()).stdin(Stdio::null());
    // Cargo tells us who we are; a build script that looks at such words (ring's does) would run again, and all above it be
    // compiled again, whenever a build by hand follows one by us.
    for (name, _) in env::vars_os() {
        let told = name.to_string_lossy();
        if told.starts_with("CARGO_PKG_") || told.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
    command
}

/// Any other program, also without a standard input: nothing here may stop to ask.
pub(crate) fn program(path: &Path) -> Command {
    let mut command = Command::new(path);
    command.current_dir(paths::root()).stdin(Stdio::null());
    command
}

/// Builds the program as the tests build it (same profile, same features), so that it is compiled once for both. The
/// dev profile optimises all that computes; what it leaves unoptimised is the command line.
pub(crate) fn pellucid() -> Result<Command> {
    step("build the program", &mut cargo(&["build", "--workspace", "--bins"]))?;
    Ok(program(&paths::executable("debug", "pellucid")?))
}

/// Fetches models through our own program, which keeps them in the cache and checks their hashes.
pub(crate) fn fetch(models: &[&str]) -> Result<()> {
    let mut command = pellucid()?;
    command.arg("fetch").args(models);
    step(format!("models {}", models.join(", ")), &mut command)
}

/// Runs one announced step and prints its time.
pub(crate) fn step(name: impl Display, command: &mut Command) -> Result<()> {
    println!("── {name}");
    let start = Instant::now();
    run(command).with_context(|| format!("{name} failed after {}", pretty(start.elapsed())))?;
    println!("   {name}: ok in {}\n", pretty(start.elapsed()));
    Ok(())
}

/// The same with an end: after `limit` the command and all that it has started are stopped.
pub(crate) fn within(name: impl Display, command: &mut Command, limit: Duration) -> Result<()> {
    println!("── {name}");
    let start = Instant::now();
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(command, 0);
    let mut child = command.spawn().with_context(|| format!("could not start `{}`", words(command)))?;
    let status = loop {
        if let Some(status) = child.try_wait().with_context(|| format!("waiting for {name}"))? {
            break status;
        }
        if start.elapsed() > limit {
            // The group has the child's number.
            let group = format!("-{}", child.id());
            if !works(Command::new("kill").args(["-KILL", "--", &group])) {
                child.kill().with_context(|| format!("stopping {name}"))?;
            }
            child.wait().with_context(|| format!("waiting for {name}"))?;
            bail!("{name} took longer than {}", pretty(limit));
        }
        thread::sleep(Duration::from_millis(20));
    };
    if !status.success() {
        bail!("{name} failed after {}: {status}", pretty(start.elapsed()));
    }
    println!("   {name}: ok in {}\n", pretty(start.elapsed()));
    Ok(())
}

/// Runs a command to its end; a failure says the command, so that it can be repeated by hand.
pub(crate) fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("could not start `{}`", words(command)))?;
    if !status.success() {
        bail!("`{}` ended with {status}", words(command));
    }
    Ok(())
}

/// Runs a command and gives what it printed; its errors go to the terminal.
pub(crate) fn read(command: &mut Command) -> Result<String> {
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("could not start `{}`", words(command)))?;
    if !output.status.success() {
        bail!("`{}` ended with {}", words(command), output.status);
    }
    String::from_utf8(output.stdout)
        .with_context(|| format!("`{}` printed something that is not text", words(command)))
}

/// Whether a command exists and works; what it prints is not shown.
pub(crate) fn works(command: &mut Command) -> bool {
    command.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
}

/// Installs one of Debian's packages, where that can be done.
pub(crate) fn install(package: &str) -> bool {
    let apt = |arguments: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(arguments).env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        run(&mut command)
    };
    if !works(Command::new("apt-get").arg("--version")) {
        return false;
    }
    println!("── installing {package}");
    apt(&["update", "-q"]).and_then(|()| apt(&["install", "-y", "-q", package])).is_ok()
}

/// A command as a person would type it.
fn words(command: &Command) -> String {
    let name = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let all = std::iter::once(name).chain(command.get_args());
    all.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A duration in the unit that a person would choose.
pub(crate) fn pretty(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds >= 120 {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    } else {
        format!("{:.1} s", time.as_secs_f64())
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::path::Path;
    use std::time::{Duration, Instant};

    use super::{program, within};

    #[test]
    fn what_takes_too_long_is_stopped() {
        let shell = |line: &str| {
            let mut command = program(Path::new("/bin/sh"));
            command.args(["-c", line]);
            command
        };
        let long = Duration::from_secs(60);
        within("short", &mut shell("true"), long).unwrap();
        assert!(
            within("wrong", &mut shell("exit 3"), long).unwrap_err().to_string().contains("wrong failed")
        );
        let start = Instant::now();
        let error = within("long", &mut shell("sleep 60; true"), Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().contains("took longer than"));
        assert!(start.elapsed() < long / 2);
    }
}
