//! Our side of `cargo xtask bench --peers`: the same cases, inputs and output line as the peers' scripts in
//! `xtask/peers/` (`harness.py` states the contract).
//!
//!     bench CASE --model FILE --tokens tokens.json --runs N --threads T [--dtype f32|bf16|file] [--precision exact|fast]

use anyhow::{Context, Result, bail};
use pellucid::core::{Edit, Op, Point, Positions, Site, Target};
use pellucid::interp::{By, Method, Metric, attribute};
use pellucid::model::{Apply, Batch, Generating, Model, Plan, Precision, Record, Row, Storage};
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Instant;

struct Tokens {
    rows: Vec<Vec<u32>>,
    prompt: Vec<u32>,
    watched: Vec<usize>,
    target: u32,
    new_tokens: usize,
}

fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let flag = |name: &str| -> Result<&String> {
        let at = args.iter().position(|a| a == name).with_context(|| format!("{name} is missing"))?;
        args.get(at + 1).with_context(|| format!("{name} needs a value"))
    };
    let case = args.first().context("name a case")?.as_str();
    let path = Path::new(flag("--model")?);
    let runs: usize = flag("--runs")?.parse()?;
    pellucid::model::keep_freed_memory();
    let threads = flag("--threads")?.parse()?;
    rayon::ThreadPoolBuilder::new().num_threads(threads).use_current_thread().build_global()?;
    let tokens = read_tokens(flag("--tokens")?)?;
    let storage = match flag("--dtype").map_or("f32", |d| d.as_str()) {
        "f32" => Storage::F32,
        "bf16" => Storage::Bf16,
        "file" => Storage::File,
        other => bail!("--dtype {other}: expected f32, bf16 or file"),
    };
    let precision = match flag("--precision").map_or("exact", |p| p.as_str()) {
        "exact" => Precision::Exact,
        "fast" => Precision::Fast,
        other => bail!("--precision {other}: expected exact or fast"),
    };
    let load = || Ok::<_, anyhow::Error>(Model::open(path, storage, &mut |_| ())?.with_precision(precision));
    let idle = memory("VmRSS");
    let (seconds, check) = if case == "load" {
        (sample(runs, load)?.0, json!([]))
    } else {
        run_case(case, &load()?, &tokens, runs)?
    };
    let line = json!({
        "peer": "pellucid", "case": case, "seconds": seconds, "peak_rss_bytes": memory("VmHWM"),
        "idle_rss_bytes": idle, "check": check, "versions": {"pellucid": env!("CARGO_PKG_VERSION")},
    });
    println!("{line}");
    Ok(())
}

fn run_case(case: &str, model: &Model, tokens: &Tokens, runs: usize) -> Result<(Vec<f64>, Value)> {
    let batch = Batch::new(tokens.rows.clone());
    let act = |layer| Site::new(Point::MlpAct, layer);
    let sites: Vec<Site> = (0..model.spec().n_layers).map(act).collect();
    Ok(match case {
        "forward" => {
            let (seconds, output) = sample(runs, || Ok(model.run(&batch, &Plan::LAST, None, &mut ())?))?;
            let logits = output.logits.context("no logits")?.to_vec2::<f32>()?;
            let watched = logits.iter().flat_map(|row| tokens.watched.iter().map(|&i| row[i]));
            (seconds, json!(watched.collect::<Vec<f32>>()))
        }
        "capture" => {
            let (seconds, record) = sample(runs, || {
                let mut record = Record::new(sites.iter().copied());
                model.run(&batch, &Plan::LAST, None, &mut record)?;
                Ok(record)
            })?;
            let mean = |site: &Site| -> Result<f64> {
                let values = record.value(*site)?.flatten_all()?.to_vec1::<f32>()?;
                Ok(values.iter().map(|v| f64::from(v.abs())).sum::<f64>() / values.len() as f64)
            };
            (seconds, json!(sites.iter().map(mean).collect::<Result<Vec<f64>>>()?))
        }
        "attribute" => {
            let row = Row::new(tokens.rows[0].clone());
            let metric = Metric::last(&row, tokens.target, None);
            let sites = By::Unit.sites(model);
            let (seconds, effects) =
                sample(runs, || Ok(attribute(model, &row, metric, Method::GradAct, &sites, &mut ())?))?;
            let sum = |site: &Site| effects.summed(*site).map(|s| s.iter().sum::<f64>());
            (seconds, json!(sites.iter().map(sum).collect::<Vec<Option<f64>>>()))
        }
        "decode" => {
            let row = Row::new(tokens.prompt.clone());
            let target = Target::Units(vec![100]);
            let edit = Edit { site: act(15), target, positions: Positions::All, op: Op::Zero };
            let how = Generating { stop_at_end: false, ..Generating::greedy(tokens.new_tokens) };
            let (seconds, generation) = sample(runs, || {
                let mut tap = Apply::new(model, std::slice::from_ref(&edit))?;
                Ok(model.generate(&row, &how, &mut tap, &mut |_| ControlFlow::Continue(()))?)
            })?;
            (seconds, json!(generation.ids()))
        }
        other => bail!("unknown case {other:?}"),
    })
}

/// Seconds of each run after one warm-up, and what the last one gave.
fn sample<T>(runs: usize, mut run: impl FnMut() -> Result<T>) -> Result<(Vec<f64>, T)> {
    drop(run()?);
    let mut seconds = Vec::new();
    let mut last = None;
    for _ in 0..runs.max(1) {
        drop(last.take());
        let start = Instant::now();
        last = Some(run()?);
        seconds.push(start.elapsed().as_secs_f64());
    }
    Ok((seconds, last.context("no run")?))
}

fn read_tokens(path: &str) -> Result<Tokens> {
    let all: Value = serde_json::from_str(&std::fs::read_to_string(path)?)?;
    let list = |value: &Value| -> Result<Vec<u32>> { Ok(serde_json::from_value(value.clone())?) };
    let rows = all["rows"].as_array().context("rows")?.iter().map(list).collect::<Result<_>>()?;
    Ok(Tokens {
        rows,
        prompt: list(&all["prompt"])?,
        watched: list(&all["watched"])?.into_iter().map(|i| i as usize).collect(),
        target: all["target"].as_u64().context("target")? as u32,
        new_tokens: all["new_tokens"].as_u64().context("new_tokens")? as usize,
    })
}

/// Bytes of one field of the process's status; none where the system has no such file.
fn memory(field: &str) -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find(|l| l.split(':').next() == Some(field))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}
