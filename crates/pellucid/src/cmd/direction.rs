//! `pellucid direction`: the direction between two classes of a behaviour's items, and whether it acts.

use super::ablate::off_task;
use super::behaviour::{BehaviourArgs, verdict};
use crate::models::{in_file, read_bytes};
use crate::show::{BAD, DIM, Out, Table, bar, heat, signed};
use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use pellucid::core::{Point, Seed, Site};
use pellucid::interp::behaviour::{Gate, Ready};
use pellucid::interp::direction::{
    Candidate, ControlVector, Directions, Kind, MOST_KL, Method, Tested, candidates, choose, validate,
};
use pellucid::model::{Batch, Logits, Model, Plan, Record, Row};
use serde::Serialize;
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    of: BehaviourArgs,
    /// What finds the direction.
    #[arg(long, value_enum, default_value_t = By::Mean)]
    method: By,
    /// Clip each token's coordinates to this quantile of their sizes before a direction is found; 1 clips none.
    #[arg(long, default_value_t = 0.98, value_name = "Q")]
    winsorise: f64,
    /// How many positions from the end are tried.
    #[arg(long, default_value_t = 1, value_name = "N")]
    positions: usize,
    /// Test the direction of this layer (at the last position) instead of the one that the rule takes.
    #[arg(long, value_name = "LAYER")]
    layer: Option<usize>,
    /// How many times the direction is added.
    #[arg(long, default_value_t = 1.0, value_name = "X", allow_hyphen_values = true)]
    strength: f32,
    /// A behaviour that should stay as it is; capitals, or agreement where capitals are asked about.
    #[arg(long, value_name = "BEHAVIOUR")]
    off_task: Option<String>,
    /// Write the last position's directions of all layers as a control vector for llama.cpp (GGUF).
    #[arg(long, value_name = "FILE.gguf")]
    save: Option<PathBuf>,
    /// Test the directions of a control vector instead of finding some.
    #[arg(long, value_name = "FILE.gguf")]
    from: Option<PathBuf>,
    /// Show how far along the direction each token of this text lies.
    #[arg(long, value_name = "TEXT")]
    read: Option<String>,
    /// Go on though the model does not show the behaviour.
    #[arg(long)]
    anyway: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// The difference of the classes' means.
    Mean,
    /// The mean of each item less its counterfactual.
    Pairs,
    /// The first principal component of those differences.
    Pca,
    /// A logistic regression's normal.
    Logistic,
}

impl By {
    fn method(self) -> Method {
        match self {
            By::Mean => Method::Mean,
            By::Pairs => Method::Pairs,
            By::Pca => Method::Pca,
            By::Logistic => Method::Logistic,
        }
    }
}

/// The result on the wire.
#[derive(Serialize)]
struct Report {
    gate: Gate,
    seed: u64,
    /// From the second to the first.
    classes: [String; 2],
    /// None where the directions came from a file.
    method: Option<Method>,
    fitted_on: usize,
    chosen_on: usize,
    tested_on: usize,
    strength: f32,
    winsorise: f64,
    off_task: Gate,
    candidates: Vec<Candidate>,
    /// Whether a candidate passes the rule; where none does the one that leaves least under ablation is tested.
    rule_passed: bool,
    tested: Tested,
    read: Option<Reading>,
}

/// A text's tokens along the tested direction, layer by layer.
#[derive(Serialize)]
struct Reading {
    tokens: Vec<String>,
    /// `(x − μ) · r̂` with μ the text's own mean but for the first token; one row a layer.
    projections: Vec<Vec<f64>>,
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        ensure!(self.strength.is_finite(), "--strength is a number");
        let given = self.from.as_ref().map(|f| Ok::<_, anyhow::Error>((f, read_bytes(f)?))).transpose()?;
        let (loaded, ready, gate) = self.of.gated(self.anyway)?;
        let (model, seed) = (&loaded.model, Seed(self.of.seed));
        let n = model.spec().n_layers;
        if let Some(layer) = self.layer.filter(|l| *l >= n) {
            anyhow::bail!("there is no layer {layer}; the model's layers are 0 to {}", n - 1);
        }
        let other = off_task(model, self.off_task.as_deref(), &self.of.behaviour, seed)?;
        let [fit, rest] = ready.halves()?;
        let [choose_on, test] = rest.halves()?;
        let mut found = Directions::find(model, &fit, self.method.method(), self.positions, self.winsorise)?;
        if let Some((file, bytes)) = given {
            let vector = ControlVector::from_bytes(&bytes, file)?;
            found.replace(model, &vector).with_context(|| in_file(file))?;
        }
        if let Some(file) = &self.save {
            std::fs::write(file, found.control_vector(model).to_bytes()?)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        let progress = bar("directions tried", found.vectors.len());
        let tried = candidates(model, &found, &choose_on.items, &other.items, self.strength, &mut || {
            progress.inc(1);
        })?;
        progress.finish_and_clear();
        let by_rule = choose(&tried, n);
        let least = (0..tried.len()).min_by(|&a, &b| tried[a].ablation.total_cmp(&tried[b].ablation));
        let at = match self.layer {
            Some(layer) => tried.iter().position(|c| c.layer == layer && c.position == -1),
            None => by_rule.or(least),
        };
        let at = at.context("no direction was found at that layer")?;
        let place = (tried[at].position, tried[at].layer);
        let tested = validate(model, &found, place, &test.items, &other.items, self.strength, seed)?;
        let read =
            self.read.as_deref().map(|text| reading(model, text, &found.vectors[&place])).transpose()?;
        let report = Report {
            seed: self.of.seed,
            classes: found.classes.clone(),
            method: self.from.is_none().then(|| self.method.method()),
            fitted_on: fit.items.len(),
            chosen_on: choose_on.items.len(),
            tested_on: test.items.len(),
            strength: self.strength,
            winsorise: self.winsorise,
            off_task: gate_of(model, &other)?,
            candidates: tried,
            rule_passed: by_rule.is_some(),
            tested,
            read,
            gate,
        };
        if !out.json("direction", Some(&loaded), &report)? {
            show(&report, out)?;
        }
        Ok(())
    }
}

fn gate_of(model: &Model, ready: &Ready) -> Result<Gate> {
    Ok(Gate::measure(model, ready)?)
}

fn reading(model: &Model, text: &str, direction: &[f32]) -> Result<Reading> {
    let encoded = model.tokenizer().encode_plain(text, true)?;
    ensure!(encoded.ids.len() > 1, "the text to read needs at least two tokens");
    let tokens = model.tokenizer().tokens(&encoded.ids)?.into_iter().map(|t| t.text.to_string()).collect();
    let sites: Vec<Site> = (0..model.spec().n_layers).map(|l| Site::new(Point::ResidPost, l)).collect();
    let mut record = Record::new(sites.iter().copied());
    let plan = Plan { logits: Logits::None, start: None, stop_after: None };
    model.run(&Batch::one(Row::new(encoded.ids)), &plan, None, &mut record)?;
    let length = direction.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let mut projections = Vec::new();
    for site in sites {
        let rows = record.value(site)?.to_vec2::<f32>()?;
        let along = |row: &Vec<f32>| -> f64 {
            row.iter().zip(direction).map(|(x, d)| f64::from(*x) * f64::from(*d)).sum::<f64>() / length
        };
        let along: Vec<f64> = rows.iter().map(along).collect();
        let mean = along[1..].iter().sum::<f64>() / (along.len() - 1) as f64;
        // the first token is far from all others in any direction
        projections
            .push(along.iter().enumerate().map(|(i, a)| if i == 0 { 0.0 } else { a - mean }).collect());
    }
    Ok(Reading { tokens, projections })
}

fn show(report: &Report, out: &mut Out) -> Result<()> {
    verdict(&report.gate, out)?;
    let [to, from] = &report.classes;
    let Report { fitted_on, chosen_on, tested_on, .. } = report;
    out.heading(format!(
        "directions from {from} to {to}: found on {fitted_on} items, chosen on {chosen_on}, tested on {tested_on} of other groups"
    ))?;
    let header =
        [">layer", ">position", ">left when ablated", ">other answer when added", ">off-task KL", "rule"];
    let mut table = Table::new(&header);
    let layers = report.candidates.iter().map(|c| c.layer).max().map_or(0, |l| l + 1);
    for c in &report.candidates {
        table.row(vec![
            c.layer.to_string(),
            c.position.to_string(),
            signed(c.ablation),
            signed(c.steering),
            format!("{:.3}", c.kl),
            if c.passes(layers) { "passes" } else { "" }.to_owned(),
        ]);
    }
    out.table(table)?;
    if !report.rule_passed {
        out.line(format!(
            "{BAD}no direction passes the rule (layer in the first four fifths, KL at most {MOST_KL}, the other answer above when added){BAD:#}"
        ))?;
    }
    let t = &report.tested;
    out.heading(format!(
        "tested: layer {}, position {}, length {:.2}; accuracy before {:.2}, log-odds {}",
        t.layer,
        t.position,
        t.length,
        t.before.value,
        signed(t.log_odds_before.value)
    ))?;
    show_outcomes(t, out)?;
    if let Some(reading) = &report.read {
        out.heading(format!("along the direction after layer {}", t.layer))?;
        let tokens: Vec<(String, f64)> =
            reading.tokens.iter().cloned().zip(reading.projections[t.layer].iter().copied()).collect();
        out.line(heat(&tokens))?;
    }
    let off = &report.off_task.behaviour;
    out.line(format!(
        "{DIM}adding and ablating should lower the log-odds; wrong way: share of items where they rise; KL and loss in nats on {off}{DIM:#}"
    ))
}

fn show_outcomes(tested: &Tested, out: &mut Out) -> Result<()> {
    let header =
        ["what", ">accuracy", ">from", ">to", ">log-odds", ">wrong way", ">off-task KL", ">off-task loss"];
    let mut table = Table::new(&header);
    for o in &tested.outcomes {
        let what = match o.kind {
            Kind::Add => "add",
            Kind::Affine => "ablate, affine",
            Kind::Raw => "ablate, raw",
        };
        table.row(vec![
            if o.random { format!("{what}, random") } else { what.to_owned() },
            format!("{:.2}", o.accuracy.value),
            format!("{:.2}", o.accuracy.low),
            format!("{:.2}", o.accuracy.high),
            signed(o.change.value),
            format!("{:.2}", o.wrong_way.value),
            format!("{:.3}", o.off_task_kl.value),
            signed(o.off_task_loss.value),
        ]);
    }
    out.table(table)
}
