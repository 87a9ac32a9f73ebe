//! `cargo xtask bench --kernels`: the tile linear beside PyTorch's, by turns, and both against what the registers can do at most.

use std::fmt::Write as _;
use std::fs;

use anyhow::{Context, Result};
use serde_json::Value;

use super::machine::Machine;
use super::options::Options;
use super::peer::folder;
use super::report::median;
use crate::shell::{cargo, program, read, step};
use crate::{docs, paths, python};

/// Runs of each side a turn.
const RUNS: &str = "25";

/// Seconds of one side, over all turns: for each shape, and for the rest.
#[derive(Default)]
struct Side {
    /// From bf16 to bf16.
    rounded: Vec<Vec<f64>>,
    /// From f32 to f32.
    whole: Vec<Vec<f64>>,
    /// Floating-point operations of each shape.
    operations: Vec<f64>,
    peak: Vec<f64>,
    peak_operations: f64,
    versions: String,
}

impl Side {
    fn add(&mut self, text: &str) -> Result<()> {
        let value: Value = serde_json::from_str(text.trim()).context("a result")?;
        let numbers = |value: &Value| -> Vec<f64> {
            value.as_array().into_iter().flatten().filter_map(Value::as_f64).collect()
        };
        self.operations.clear();
        for (i, shape) in value["shapes"].as_array().context("shapes")?.iter().enumerate() {
            self.rounded.resize(self.rounded.len().max(i + 1), Vec::new());
            self.whole.resize(self.whole.len().max(i + 1), Vec::new());
            self.operations.push(2.0 * numbers(&shape["shape"]).iter().product::<f64>());
            self.rounded[i].extend(numbers(&shape["rounded_seconds"]));
            self.whole[i].extend(numbers(&shape["whole_seconds"]));
        }
        self.peak.extend(numbers(&value["peak_seconds"]));
        self.peak_operations = value["peak_operations"].as_f64().unwrap_or_default();
        let versions = value["versions"].as_object().into_iter().flatten();
        self.versions = versions
            .map(|(k, v)| format!("{k} {}", v.as_str().unwrap_or("?")))
            .collect::<Vec<_>>()
            .join(", ");
        Ok(())
    }
}

pub(super) fn run(options: &Options) -> Result<()> {
    let build = ["build", "--release", "-p", "pellucid-kernels", "--example", "kernel_bench"];
    step("build", &mut cargo(&build))?;
    let ours = paths::executable("release/examples", "kernel_bench")?;
    let requirements = fs::read_to_string(folder().join("requirements.txt")).context("the requirements")?;
    let python = python::environment("peers", &requirements)?;
    let threads = options.threads.to_string();
    let (mut us, mut torch) = (Side::default(), Side::default());
    for _ in 0..options.rounds.max(2) {
        let flags = ["--threads", &threads, "--runs", RUNS];
        us.add(&read(program(&ours).args(flags))?)?;
        torch.add(&read(program(&python).arg(folder().join("kernels.py")).args(flags))?)?;
    }
    let page = page(&Machine::here(options.threads), &us, &torch);
    println!("\n{page}");
    docs::write("kernel-speed.md", &page)
}

fn page(machine: &Machine, us: &Side, torch: &Side) -> String {
    const NAMES: [&str; 4] = ["2,048 × 576 → 1,536", "2,048 × 1,536 → 576", "2,048 × 576 → 576", "1,024³"];
    let peak = us.peak_operations / median(&us.peak) / 1e9;
    let mut page = format!(
        "# The tile linear\n\nWritten by `cargo xtask bench --kernels`; do not edit.\n\nMachine: {}, {} cores, {}, {}.\n\
         Medians of {} runs in turns of {RUNS}. {}.\n\n\
         From bf16 to bf16 means rows that are rounded already and are handed on rounded: ours as the layers of an MLP hand them to \
         each other, laid out for the next product, PyTorch's as they lie. From f32 to f32 rounding is part of it on both sides. \
         Four register-only products in a loop reach {peak:.0} GFLOP/s on {} threads. Rates in GFLOP/s; ratios above 1: ours is \
         faster.\n\n\
         | rows × inner → outer | bf16 to bf16 | of the peak | PyTorch | of the peak | ratio | f32 to f32 | PyTorch | ratio |\n\
         | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n",
        machine.cpu,
        machine.cores,
        machine.system,
        machine.features,
        us.whole.first().map_or(0, Vec::len),
        torch.versions,
        machine.threads,
    );
    for (i, (name, operations)) in NAMES.iter().zip(&us.operations).enumerate() {
        let rate = |seconds: &[f64]| operations / median(seconds) / 1e9;
        let [ours, theirs] = [us, torch].map(|side| rate(&side.rounded[i]));
        let [our_whole, their_whole] = [us, torch].map(|side| rate(&side.whole[i]));
        let share = |rate: f64| 100.0 * rate / peak;
        let _ = writeln!(
            page,
            "| {name} | {ours:.0} | {:.0} % | {theirs:.0} | {:.0} % | **{:.2}** | {our_whole:.0} | {their_whole:.0} | **{:.2}** |",
            share(ours),
            share(theirs),
            ours / theirs,
            our_whole / their_whole
        );
    }
    page
}
