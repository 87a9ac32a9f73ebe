//! `cargo xtask count`: the instructions of three kernels and a forward pass, held against those on record.
//!
//! Instructions, not seconds: callgrind counts the same for the same program whatever else the machine does. It runs the
//! program on a processor of its own, which has AVX2 and nothing wider, so that the counts are those of any x86-64 machine.
//! Another compiler makes other instructions; then nothing is held.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::paths;
use crate::shell::{cargo, install, program, read, step, works};

/// The cases of `crates/pellucid-model/examples/counted.rs`.
const CASES: [&str; 4] = ["tile", "row-of-nibbles", "softmax", "forward"];

/// More instructions than on record, as a share, that are let pass.
const TOLERANCE: f64 = 0.03;

pub(crate) fn run(arguments: &[String]) -> Result<()> {
    match arguments {
        [] => check(),
        [one] if one == "--write" => write(),
        _ => bail!("`count` takes nothing, or `--write` to put what is counted on record"),
    }
}

/// Counts, and fails where a case takes more than is on record.
pub(crate) fn check() -> Result<()> {
    let record: Value =
        serde_json::from_str(&fs::read_to_string(record())?).context("reading the counts on record")?;
    let compiler = compiler()?;
    if record["compiler"] != compiler.as_str() {
        println!("   skipped: the counts on record are of {}, this is {compiler}\n", record["compiler"]);
        return Ok(());
    }
    let Some(found) = counts()? else { return Ok(()) };
    let mut slower = Vec::new();
    for (case, found) in &found {
        let want =
            record["instructions"][case].as_u64().with_context(|| format!("no count of {case} on record"))?;
        let more = *found as f64 / want as f64 - 1.0;
        println!("   {case:<15} {found:>12} instructions, {:+.2} % of those on record", 100.0 * more);
        if more > TOLERANCE {
            slower.push(format!("{case}: {found} instructions, {want} on record"));
        }
    }
    println!();
    if slower.is_empty() {
        return Ok(());
    }
    bail!(
        "more instructions than on record; if that is meant, `cargo xtask count --write`:\n  {}",
        slower.join("\n  ")
    )
}

fn write() -> Result<()> {
    let Some(found) = counts()? else { bail!("there is no valgrind to count with") };
    let record_of = json!({ "compiler": compiler()?, "instructions": found });
    fs::write(record(), serde_json::to_string_pretty(&record_of)? + "\n").context("writing the counts")
}

fn record() -> PathBuf {
    paths::root().join("xtask/counts.json")
}

fn compiler() -> Result<String> {
    Ok(read(Command::new("rustc").arg("--version"))?.trim().to_owned())
}

/// The instructions of each case; none where valgrind does not run.
fn counts() -> Result<Option<BTreeMap<&'static str, u64>>> {
    if !cfg!(all(target_arch = "x86_64", target_os = "linux")) {
        println!("   skipped: instructions are counted on Linux on x86-64\n");
        return Ok(None);
    }
    if !works(Command::new("valgrind").arg("--version")) && !install("valgrind") {
        println!("   skipped: valgrind is not installed, so instructions were not counted\n");
        return Ok(None);
    }
    let counted = ["build", "--workspace", "--example", "counted"];
    step("build what is counted", &mut cargo(&counted))?;
    let counted = paths::executable("debug/examples", "counted")?;
    let mut all = BTreeMap::new();
    for case in CASES {
        let out = paths::target()?.join(format!("callgrind.{case}.{}", std::process::id()));
        let mut command = program("valgrind".as_ref());
        command.args(["--quiet", "--tool=callgrind", "--toggle-collect=*counted*measured*"]);
        command.arg(format!("--callgrind-out-file={}", out.display())).arg(&counted).arg(case);
        step(format!("count {case}"), &mut command)?;
        let text =
            fs::read_to_string(&out).with_context(|| format!("callgrind wrote no {}", out.display()))?;
        fs::remove_file(&out)?;
        let summary =
            text.lines().find_map(|line| line.strip_prefix("summary:").or(line.strip_prefix("totals:")));
        let count = summary.and_then(|s| s.trim().parse().ok()).filter(|count| *count > 0);
        all.insert(case, count.with_context(|| format!("callgrind counted nothing of {case}"))?);
    }
    Ok(Some(all))
}
