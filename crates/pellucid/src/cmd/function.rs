//! `pellucid function-vector`: what a few examples tell a model, as one vector, added to bare questions.

use crate::models::{ModelArgs, in_file, read};
use crate::show::{BAD, DIM, GOOD, Out, Table, bar, signed};
use anyhow::{Context, Result, ensure};
use clap::Args;
use pellucid::core::Seed;
use pellucid::interp::Interval;
use pellucid::interp::function::{Asked, HeadEffect, Pairs, Settings, Task, Tried, find, measure};
use pellucid::model::Model;
use serde::Serialize;
use std::path::Path;
use std::process::ExitCode;

#[derive(Args)]
pub(crate) struct Arguments {
    /// past, plural, capital, antonym, or a .jsonl file of lines like {"x": "walk", "y": "walked"}.
    task: String,
    #[command(flatten)]
    model: ModelArgs,
    /// Examples before a question.
    #[arg(long, default_value_t = 10, value_name = "N")]
    shots: usize,
    /// Heads whose means are summed.
    #[arg(long, default_value_t = 10, value_name = "N")]
    heads: usize,
    /// Prompts that each head's mean is taken over.
    #[arg(long, default_value_t = 48, value_name = "N")]
    means: usize,
    /// Prompts with shuffled answers that each head's effect is taken over.
    #[arg(long, default_value_t = 24, value_name = "N")]
    trials: usize,
    /// How many times the vector is added: all are tried.
    #[arg(long, value_delimiter = ',', default_values_t = [1.0, 2.0, 4.0, 8.0], value_name = "X,…")]
    strengths: Vec<f32>,
    /// Chooses pairs, examples and controls.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Go on though examples do not help this model.
    #[arg(long)]
    anyway: bool,
}

/// The result on the wire.
#[derive(Serialize)]
struct Report {
    task: String,
    seed: u64,
    settings: Settings,
    shown: usize,
    asked: usize,
    left_out: usize,
    /// Share of questions answered behind examples, behind shuffled ones, and bare.
    with_examples: Interval,
    with_shuffled: Interval,
    bare: Interval,
    /// Whether examples help: the interval with them lies above the bare share.
    learns: bool,
    heads: Vec<HeadEffect>,
    /// Chosen on pairs that were shown.
    layer: usize,
    strength: f32,
    tried: Vec<Tried>,
    /// On the held-out questions, bare but for the vector.
    with_vector: Interval,
    /// As many random heads' sum at the same length, layer and strength.
    with_random_heads: Interval,
    /// A random vector of its length.
    with_random: Interval,
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<ExitCode> {
        ensure!(self.shots > 0, "--shots needs at least 1");
        ensure!(
            self.strengths.iter().all(|s| s.is_finite()) && !self.strengths.is_empty(),
            "--strengths are numbers"
        );
        let path = Path::new(&self.task);
        let task = if path.is_file() || self.task.ends_with(".jsonl") {
            Task::read(&self.task, &read(path)?).with_context(|| in_file(path))?
        } else {
            Task::built_in(&self.task)?
        };
        let loaded = self.model.load()?;
        let (model, seed) = (&loaded.model, Seed(self.seed));
        let pairs = Pairs::of(model, &task, self.shots, seed)?;
        let ask = |shots, shuffled| pairs.questions(model, shots, shuffled, seed);
        let bare = ask(0, false)?;
        let with_examples = measure(model, &ask(self.shots, false)?, None)?;
        let with_shuffled = measure(model, &ask(self.shots, true)?, None)?;
        let plain = measure(model, &bare, None)?;
        let learns = with_examples.low > plain.value;
        if !learns && !self.anyway {
            let (e, p, n) = (with_examples.value, plain.value, plain.n);
            out.line(format!(
                "{BAD}examples do not help this model at {}: {e:.2} of {n} questions are answered with {} of them, {p:.2} without{BAD:#}",
                task.name, self.shots
            ))?;
            return Ok(ExitCode::FAILURE);
        }
        let settings =
            Settings { shots: self.shots, means: self.means, trials: self.trials, heads: self.heads };
        let progress = bar("heads tried", model.spec().n_layers * model.spec().n_heads);
        let found = find(model, &pairs, settings, seed, &mut || progress.inc(1))?;
        progress.finish_and_clear();
        // layer and strength are chosen on questions from the shown pairs
        let choose_on = pairs.examples(model, 0, 32, false, seed.for_purpose("choose"))?;
        let tried = scan(model, &choose_on, &found.vector, &self.strengths)?;
        let best = tried
            .iter()
            .max_by(|a, b| {
                a.accuracy.value.total_cmp(&b.accuracy.value).then(b.strength.total_cmp(&a.strength))
            })
            .context("no strength was tried")?;
        let (layer, strength) = (best.layer, best.strength);
        let at = |vector: &[f32]| measure(model, &bare, Some((layer, vector, strength)));
        let length = norm(&found.vector);
        let random_heads = resized(&found.random_heads, length);
        let mut drawn = seed.for_purpose("random vector");
        let random: Vec<f32> = found.vector.iter().map(|_| drawn.normal() as f32).collect();
        let report = Report {
            task: task.name.clone(),
            seed: self.seed,
            settings,
            shown: pairs.shown.len(),
            asked: pairs.asked.len(),
            left_out: pairs.left_out,
            with_examples,
            with_shuffled,
            bare: plain,
            learns,
            with_vector: at(&found.vector)?,
            with_random_heads: at(&random_heads)?,
            with_random: at(&resized(&random, length))?,
            heads: found.heads,
            layer,
            strength,
            tried,
        };
        if !out.json("function-vector", Some(&loaded), &report)? {
            show(&report, out)?;
        }
        Ok(ExitCode::SUCCESS)
    }
}

fn norm(v: &[f32]) -> f64 {
    v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}

fn resized(v: &[f32], length: f64) -> Vec<f32> {
    let by = length / norm(v).max(f64::MIN_POSITIVE);
    v.iter().map(|v| (f64::from(*v) * by) as f32).collect()
}

/// Layers from a sixth to two thirds of the model, six of them, with every strength.
fn scan(model: &Model, asked: &[Asked], vector: &[f32], strengths: &[f32]) -> Result<Vec<Tried>> {
    let n = model.spec().n_layers;
    let mut layers: Vec<usize> = (1..=6).map(|i| (n * (1 + i) / 10).min(n - 1)).collect();
    layers.dedup();
    let mut tried = Vec::new();
    for layer in layers {
        for &strength in strengths {
            let accuracy = measure(model, asked, Some((layer, vector, strength)))?;
            tried.push(Tried { layer, strength, accuracy });
        }
    }
    Ok(tried)
}

fn interval(i: Interval) -> String {
    format!("{:.2} ({:.2} to {:.2})", i.value, i.low, i.high)
}

fn show(report: &Report, out: &mut Out) -> Result<()> {
    let style = if report.learns { GOOD } else { BAD };
    let n = report.asked;
    out.line(format!(
        "{style}{}: {} of {n} held-out questions are answered behind {} examples, {} behind shuffled ones, {} bare{style:#}",
        report.task,
        interval(report.with_examples),
        report.settings.shots,
        interval(report.with_shuffled),
        interval(report.bare)
    ))?;
    out.heading("heads by causal effect: what their mean does to the right answer's probability behind shuffled examples")?;
    let mut table = Table::new(&["head", ">effect"]);
    for h in report.heads.iter().take(report.settings.heads) {
        table.row(vec![format!("a{}.h{}", h.layer, h.head), signed(h.effect)]);
    }
    out.table(table)?;
    out.heading(format!(
        "bare questions with the vector added {} times after layer {} at the last token",
        report.strength, report.layer
    ))?;
    let mut table = Table::new(&["what is added", ">answered"]);
    for (what, share) in [
        ("nothing", report.bare),
        ("the function vector", report.with_vector),
        ("as many random heads, at its length", report.with_random_heads),
        ("a random vector of its length", report.with_random),
    ] {
        table.row(vec![what.to_owned(), interval(share)]);
    }
    out.table(table)?;
    out.line(format!(
        "{DIM}answered: the likeliest next token is the answer; layer and strength were chosen on other pairs{DIM:#}"
    ))
}
