//! Our side of `cargo xtask bench --peers`: the same cases, inputs and output line as the peers' scripts in
//! `xtask/peers/` (`harness.py` states the contract).
//!
//!     bench CASE --model FILE --tokens TOKENS.json --runs N --threads T [--dtype f32|bf16|file] [--precision exact|fast]
//!
//! One case more than the peers have: `sweep`, an atlas's collectors at every neuron of 8 windows of 256 tokens, and by turns with
//! it the same forward without anybody who looks, whose seconds are `bare_seconds`.

use anyhow::{Context, Result, bail};
use pellucid::core::{Edit, Op, Point, Positions, Seed, Site, Split, Target};
use pellucid::interp::{By, Method, Metric, attribute, sweep, sweep_sites};
use pellucid::model::{Apply, Batch, Generating, Logits, Model, Plan, Precision, Record, Row, Storage, Tap};
use pellucid::store::collect::Keep;
use pellucid::store::{Document, Sweep, Window};
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
    let mut line = match case {
        "load" => Timed { seconds: sample(runs, load)?.0, check: json!([]), bare: None },
        "start" => {
            let (seconds, ids) = sample(runs, || generate(&load()?, &tokens, 1, &mut ()))?;
            Timed { seconds, check: json!(ids), bare: None }
        }
        "sweep" => sweep_by_turns(&load()?, &tokens, runs)?,
        other => run_case(other, &load()?, &tokens, runs)?,
    }
    .line();
    line["case"] = json!(case);
    line["peak_rss_bytes"] = json!(memory("VmHWM"));
    line["idle_rss_bytes"] = json!(idle);
    println!("{line}");
    Ok(())
}

/// What a case gives.
struct Timed {
    seconds: Vec<f64>,
    check: Value,
    /// Of the same without what the case is about.
    bare: Option<Vec<f64>>,
}

impl Timed {
    fn line(&self) -> Value {
        let mut line = json!({
            "peer": "pellucid", "seconds": self.seconds, "check": self.check,
            "versions": {"pellucid": env!("CARGO_PKG_VERSION")},
        });
        if let Some(bare) = &self.bare {
            line["bare_seconds"] = json!(bare);
        }
        line
    }
}

fn run_case(case: &str, model: &Model, tokens: &Tokens, runs: usize) -> Result<Timed> {
    let sites: Vec<Site> = (0..model.spec().n_layers).map(act).collect();
    let (seconds, check) = match case {
        "forward" => forward(model, &tokens.rows, &tokens.watched, runs)?,
        "row" => forward(model, &tokens.rows[..1], &tokens.watched, runs)?,
        "capture" => {
            let batch = Batch::new(tokens.rows.clone());
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
            // what units add, and what they take: as `halves` in the peers' harness.py
            let halves = |site: &Site| {
                let units = effects.summed(*site).unwrap_or_default();
                [f64::max, f64::min].map(|half| units.iter().map(|unit| half(*unit, 0.0)).sum::<f64>())
            };
            (seconds, json!(sites.iter().flat_map(halves).collect::<Vec<f64>>()))
        }
        "decode" => {
            let target = Target::Units(vec![100]);
            let edit = Edit { site: act(15), target, positions: Positions::All, op: Op::Zero };
            let (seconds, ids) = sample(runs, || {
                let mut tap = Apply::new(model, std::slice::from_ref(&edit))?;
                generate(model, tokens, tokens.new_tokens, &mut tap)
            })?;
            (seconds, json!(ids))
        }
        other => bail!("unknown case {other:?}"),
    };
    Ok(Timed { seconds, check, bare: None })
}

fn act(layer: usize) -> Site {
    Site::new(Point::MlpAct, layer)
}

fn forward(model: &Model, rows: &[Vec<u32>], watched: &[usize], runs: usize) -> Result<(Vec<f64>, Value)> {
    let batch = Batch::new(rows.to_vec());
    let (seconds, output) = sample(runs, || Ok(model.run(&batch, &Plan::LAST, None, &mut ())?))?;
    let logits = output.logits.context("no logits")?.to_vec2::<f32>()?;
    let watched = logits.iter().flat_map(|row| watched.iter().map(|&i| row[i]));
    Ok((seconds, json!(watched.collect::<Vec<f32>>())))
}

/// Greedy tokens after the prompt.
fn generate(model: &Model, tokens: &Tokens, count: usize, tap: &mut dyn Tap) -> Result<Vec<u32>> {
    let how = Generating { stop_at_end: false, ..Generating::greedy(count) };
    let row = Row::new(tokens.prompt.clone());
    Ok(model.generate(&row, &how, tap, &mut |_| ControlFlow::Continue(()))?.ids())
}

/// Batches that the collectors have seen before the clock starts. With empty lists of exemplars every window is a find, which is so
/// only at the beginning of a sweep; after so many batches as many are as in the mean over a sweep of 500,000 tokens, 244 batches,
/// of which an atlas is made: a list of `k` takes the `n`th window with a chance of `k / n`.
const SEEN: usize = 48;

fn sweep_by_turns(model: &Model, tokens: &Tokens, runs: usize) -> Result<Timed> {
    let sites: Vec<Site> = (0..model.spec().n_layers).map(act).collect();
    let plan = Plan { logits: Logits::None, start: None, stop_after: Some(sites.len() - 1) };
    let mut state = Sweep::new("bench", &sweep_sites(model, &sites)?, &Keep::for_sweep(Seed(0)))?;
    let (mut windows, mut seconds, mut bare) = (Vec::new(), Vec::new(), Vec::new());
    for turn in 0..SEEN + runs {
        let more = turned(&tokens.rows, turn);
        let batch = Batch::new(more.iter().map(|window| window.tokens.clone()));
        let all = more.iter().map(|window| window.tokens.len()).sum();
        windows.extend(more);
        let start = Instant::now();
        if turn + 1 >= SEEN {
            model.run(&batch, &plan, None, &mut ())?;
        }
        let alone = start.elapsed();
        let start = Instant::now();
        sweep(model, None, &windows, &mut state, all, &mut |_, _| ControlFlow::Continue(()))?;
        if turn >= SEEN {
            bare.push(alone.as_secs_f64());
            seconds.push(start.elapsed().as_secs_f64());
        }
    }
    let counts: Vec<u64> = state.collectors().iter().map(|collector| collector.count()).collect();
    Ok(Timed { seconds, check: json!(counts), bare: Some(bare) })
}

/// The rows as windows of documents of their own, each with its tokens turned so that no two batches are the same; a row's first
/// token, which may be a beginning of text, stays.
fn turned(rows: &[Vec<u32>], turn: usize) -> Vec<Window> {
    let window = |(at, row): (usize, &Vec<u32>)| {
        let mut tokens = row.clone();
        let rest = tokens.len() - 1;
        tokens[1..].rotate_left(turn * 31 % rest);
        let mut name = [0; 16];
        name[..2].copy_from_slice(&[turn as u8, at as u8]);
        name[15] = (turn + at) as u8;
        let counted = (0..tokens.len()).map(|position| position > 0).collect();
        Window { document: Document(name), split: Split::of(&name), index: 0, tokens, counted }
    };
    rows.iter().enumerate().map(window).collect()
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
