//! `cargo xtask bench --circuits DIR`: EAP-IG's edge scores, ours beside the authors' own code in DIR, a checkout of
//! hannamw/EAP-IG (which no package registry carries): the same randomly initialised model of GPT-2 small's shape, the same tokens,
//! the same steps, a fresh process each by turns. Times count only where the scores agree.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::machine::Machine;
use super::options::Options;
use super::peer::folder;
use super::report::median;
use crate::shell::{cargo, program, step};
use crate::{docs, paths, python};

/// Points on the way: what the authors' demonstrations take.
const STEPS: &str = "5";

/// How far scores may lie apart, as a share of the largest: f32 on both sides, summed in other orders.
const TOLERANCE: f64 = 1e-3;

#[derive(Default)]
struct Side {
    seconds: Vec<f64>,
    scores: BTreeMap<String, f64>,
}

impl Side {
    fn add(&mut self, file: &Path) -> Result<()> {
        let text = fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
        let value: Value = serde_json::from_str(&text).context("a result")?;
        self.seconds.extend(value["seconds"].as_array().context("seconds")?.iter().filter_map(Value::as_f64));
        let scores = value["scores"].as_object().context("scores")?;
        self.scores = scores.iter().filter_map(|(k, v)| Some((k.clone(), v.as_f64()?))).collect();
        Ok(())
    }
}

pub(super) fn run(options: &Options, checkout: &Path) -> Result<()> {
    let wanted = checkout.join("src").join("eap").join("attribute.py");
    ensure!(
        wanted.is_file(),
        "{} is no checkout of hannamw/EAP-IG: it has no src/eap/attribute.py",
        checkout.display()
    );
    let ours = match &options.ours {
        Some(ours) => ours.clone(),
        None => {
            step(
                "build",
                &mut cargo(&["build", "--release", "-p", "pellucid", "--example", "circuit_bench"]),
            )?;
            paths::executable("release/examples", "circuit_bench")?
        }
    };
    let requirements = fs::read_to_string(folder().join("circuits.txt")).context("the requirements")?;
    let python = python::environment("circuits", &requirements)?;
    let script = folder().join("circuits.py");
    let place = paths::cache()?.join("bench").join("circuits");
    let tiny = paths::root().join("fixtures").join("tiny").join("gpt2");
    step("model and items", program(&python).arg(&script).arg("make").arg(&place).arg(tiny))?;
    let (mut us, mut them) = (Side::default(), Side::default());
    let runs = options.runs.to_string();
    let threads = options.threads.to_string();
    for round in 0..options.rounds {
        for first in [round % 2 == 0, round % 2 != 0] {
            let out = place.join("out.json");
            if first {
                let mut command = program(&ours);
                command.arg(&place).arg(place.join("items.jsonl")).args([STEPS, &runs]).arg(&out);
                step("pellucid", command.env("RAYON_NUM_THREADS", &threads))?;
                us.add(&out)?;
            } else {
                let mut command = program(&python);
                command.arg(&script).arg("score").arg(&place).arg(checkout);
                step("EAP-IG", command.args([STEPS, &runs, &threads]).arg(&out))?;
                them.add(&out)?;
            }
        }
    }
    let apart = apart(&us, &them)?;
    let page = page(&Machine::here(options.threads), options, &us, &them, apart);
    println!("\n{page}");
    if apart > TOLERANCE {
        bail!("SCORES DISAGREE by {apart:.1e} of the largest, so the times mean nothing");
    }
    docs::write("circuit-speed.md", &page)
}

/// The largest difference of scores, as a share of the largest score.
fn apart(us: &Side, them: &Side) -> Result<f64> {
    ensure!(
        us.scores.len() == them.scores.len(),
        "{} edges here, {} there",
        us.scores.len(),
        them.scores.len()
    );
    let largest = us.scores.values().fold(0f64, |m, v| m.max(v.abs()));
    let mut worst = 0f64;
    for (name, score) in &us.scores {
        let other = them.scores.get(name).with_context(|| format!("they have no edge {name}"))?;
        worst = worst.max((score - other).abs());
    }
    Ok(worst / largest)
}

fn page(machine: &Machine, options: &Options, us: &Side, them: &Side, apart: f64) -> String {
    let (ours, theirs) = (median(&us.seconds), median(&them.seconds));
    let range = |s: &[f64]| {
        let (low, high) = s.iter().fold((f64::MAX, 0f64), |(l, h), v| (l.min(*v), h.max(*v)));
        format!("{low:.2}–{high:.2}")
    };
    format!(
        "# How fast a circuit's edges are scored\n\nWritten by `cargo xtask bench --circuits DIR`, with DIR a checkout of hannamw/EAP-IG; do not edit.\n\n\
         Machine: {cpu}, {cores} cores, {system}, {features}. Threads: {threads} on both sides. {runs} timed runs in each of {rounds} processes a side, by turns.\n\n\
         A randomly initialised model of GPT-2 small's shape (12 layers, 12 heads, width 768), 12 prompts in one batch, {STEPS} points on \
         the way, all {edges} edges. The authors' code runs with its device read as the CPU, and is given the same tokens.\n\n\
         | | seconds, median | range | ratio |\n| --- | --: | --: | --: |\n\
         | pellucid | {ours:.2} | {our_range} | **1.00** |\n| EAP-IG's own code | {theirs:.2} | {their_range} | **{ratio:.2}** |\n\n\
         The largest difference of two scores is {apart:.1e} of the largest score.\n",
        cpu = machine.cpu,
        cores = machine.cores,
        system = machine.system,
        features = machine.features,
        threads = options.threads,
        runs = options.runs,
        rounds = options.rounds,
        edges = us.scores.len(),
        our_range = range(&us.seconds),
        their_range = range(&them.seconds),
        ratio = theirs / ours,
    )
}
