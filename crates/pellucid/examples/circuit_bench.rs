//! Scores of every edge by EAP-IG, for `cargo xtask bench --circuits`:
//! `circuit_bench MODEL ITEMS.jsonl STEPS RUNS OUT.json` scores every second item, as `pellucid circuit` does.

use anyhow::{Context, Result};
use pellucid::interp::behaviour::Behaviour;
use pellucid::interp::circuit::{Ablation, Bench, Scoring, score};
use pellucid::model::{Model, Storage};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [model, items, steps, runs, out] = arguments.as_slice() else {
        anyhow::bail!("expected MODEL ITEMS.jsonl STEPS RUNS OUT.json");
    };
    pellucid::model::keep_freed_memory();
    let (steps, runs): (usize, usize) = (steps.parse()?, runs.parse()?);
    let model = Model::open(Path::new(model), Storage::F32, &mut |_| ())?;
    let text = std::fs::read_to_string(items).with_context(|| items.clone())?;
    let behaviour = Behaviour::read(items, &text)?;
    let [fit, _] = behaviour.prepare(&model, behaviour.items.len())?.halves()?;
    let mut seconds = Vec::new();
    let mut scores = BTreeMap::new();
    // the first run touches memory for the first time and is not timed
    for run in 0..=runs {
        let began = Instant::now();
        let bench = Bench::new(&model, &fit, Ablation::Counterfactual)?;
        let found = score(&bench, Scoring::EapIg { steps }, &mut || Ok(()))?;
        if run > 0 {
            seconds.push(began.elapsed().as_secs_f64());
        }
        let edges = bench.edges();
        scores = found.iter().enumerate().map(|(e, s)| (edges.name(e), *s)).collect();
    }
    std::fs::write(out, serde_json::json!({"seconds": seconds, "scores": scores}).to_string())?;
    Ok(())
}
