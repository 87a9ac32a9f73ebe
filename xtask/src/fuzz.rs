//! `cargo xtask fuzz`: hostile bytes to everything that reads what a stranger may have written, each target of `fuzz/` for a
//! while, beginning from its committed inputs. Inputs found on the way are kept in the target directory and taken up again.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail};

use crate::paths;
use crate::shell::{cargo, pretty, program, step, works};

/// The targets with the longest input that is worth trying.
const TARGETS: [(&str, usize); 9] = [
    ("gguf", 8192),
    ("safetensors", 4096),
    ("checkpoint", 4096),
    ("tokenizer", 12_288),
    ("chat_template", 4096),
    ("edits", 4096),
    ("atlas", 1024),
    ("http", 2048),
    ("dictionary", 8192),
];

/// What libFuzzer watches beside panics, time and memory in all: nothing. What is fuzzed is safe code, and an address
/// sanitizer halves how much is tried; `cargo +nightly fuzz run TARGET` by hand has it.
const SANITIZER: &str = "none";

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (mut seconds, mut named) = (60, Vec::new());
    let mut rest = arguments.iter();
    while let Some(argument) = rest.next() {
        match argument.as_str() {
            "--seconds" => {
                let given = rest.next().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
                seconds = given.context("--seconds takes a number above 0")?;
            }
            name => match TARGETS.iter().find(|(target, _)| *target == name) {
                Some(target) => named.push(*target),
                None => bail!("there is no target `{name}`, only {}", TARGETS.map(|t| t.0).join(" ")),
            },
        }
    }
    if named.is_empty() {
        named.extend(TARGETS);
    }
    tools()?;
    step("build the targets", &mut fuzz(&["build", "-s", SANITIZER]))?;
    let mut total = 0;
    for (target, longest) in named {
        total += one(target, longest, seconds)?;
    }
    println!("{total} executions, no crash");
    Ok(())
}

/// A command of cargo-fuzz. Sanitizers are a nightly compiler's, and a toolchain is chosen by rustup alone: the cargo that
/// runs us is one toolchain's own.
fn fuzz(arguments: &[&str]) -> Command {
    let mut command = program("rustup".as_ref());
    command.args(["run", "nightly", "cargo", "fuzz"]).args(arguments);
    command
}

fn tools() -> Result<()> {
    if !works(program("rustup".as_ref()).args(["run", "nightly", "rustc", "--version"])) {
        bail!(
            "fuzzing takes a nightly compiler beside the usual one; get it with `rustup toolchain install nightly`"
        );
    }
    if !works(&mut fuzz(&["--version"])) {
        step("install cargo-fuzz", &mut cargo(&["install", "cargo-fuzz", "--locked"]))?;
    }
    Ok(())
}

/// Runs a target for a while; gives how many inputs it was given.
fn one(target: &str, longest: usize, seconds: u64) -> Result<u64> {
    let grown = paths::target()?.join("fuzz-corpus").join(target);
    std::fs::create_dir_all(&grown).with_context(|| format!("making {}", grown.display()))?;
    let committed = paths::root().join("fuzz/corpus").join(target);
    let mut command = fuzz(&["run", "-s", SANITIZER, target]);
    // the first folder is written to, the second only read
    command.arg(&grown).arg(&committed).arg("--").args([
        format!("-max_total_time={seconds}"),
        format!("-max_len={longest}"),
        "-timeout=20".to_owned(),
        "-rss_limit_mb=2048".to_owned(),
        "-detect_leaks=0".to_owned(),
        "-print_final_stats=1".to_owned(),
    ]);
    // words that chance would not find
    let words = paths::root().join(format!("fuzz/dictionaries/{target}.dict"));
    if words.exists() {
        command.arg(format!("-dict={}", words.display()));
    }
    let start = Instant::now();
    let mut child = command.stderr(Stdio::piped()).spawn().context("starting the fuzzer")?;
    let (mut said, mut executions) = (Vec::new(), None);
    for line in BufReader::new(child.stderr.take().context("the fuzzer has no output")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        if let Some(count) = line.strip_prefix("stat::number_of_executed_units:") {
            executions = count.trim().parse().ok();
        }
        said.push(line);
    }
    if !child.wait()?.success() {
        said.iter().skip(said.len().saturating_sub(60)).for_each(|line| println!("{line}"));
        bail!(
            "{target} failed; the input lies in fuzz/artifacts/{target}/. Repeat it with `rustup run nightly cargo fuzz run \
             {target} FILE`; once it is mended, keep the file in fuzz/regressions/{target}/"
        );
    }
    let executions: u64 = executions.context("the fuzzer did not say how much it did")?;
    println!("{target:<14} {executions:>10} executions in {}", pretty(start.elapsed()));
    Ok(executions)
}
