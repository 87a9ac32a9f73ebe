//! `pellucid direction`: the direction between two classes of a behaviour's items, and whether it acts.

use super::behaviour::{BehaviourArgs, verdict};
use crate::models::{in_file, read_bytes};
use crate::show::{BAD, Bars, DIM, Out, Table, heat, signed};
use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use pellucid::interp::direction::{ControlVector, Kind, MOST_KL, Method, Tested, orthogonalise};
use pellucid::scope::lab::{DirectionReport, Leading, directions};
use std::collections::BTreeMap;
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
    /// Write the model again without what it writes along the direction that was tested (GGUF in, GGUF out): what ablating it raw does, for good.
    #[arg(long, value_name = "FILE.gguf")]
    weights: Option<PathBuf>,
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

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        ensure!(self.strength.is_finite(), "--strength is a number");
        let given = self.from.as_ref().map(|f| Ok::<_, anyhow::Error>((f, read_bytes(f)?))).transpose()?;
        let (loaded, measured) = self.of.measured()?;
        let model = &loaded.model;
        let asked = Leading {
            method: self.method.method(),
            winsorise: self.winsorise,
            positions: self.positions,
            layer: self.layer,
            strength: self.strength,
            off_task: self.of.off_task(self.off_task.as_deref())?,
            read: self.read.clone(),
            anyway: self.anyway,
        };
        let mut found = directions(model, &measured, &asked)?;
        if let Some((file, bytes)) = given {
            let vector = ControlVector::from_bytes(&bytes, file)?;
            found.directions.replace(model, &vector).with_context(|| in_file(file))?;
            found.from_file = true;
        }
        if let Some(file) = &self.save {
            std::fs::write(file, found.directions.control_vector(model).to_bytes()?)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
        let vectors = if self.weights.is_some() { found.directions.vectors.clone() } else { BTreeMap::new() };
        let mut bars = Bars::default();
        let report = found.tried(model, &measured, &asked, &mut |step| bars.show(step))?;
        bars.end();
        let written = self.weights.as_ref().map(|file| {
            let at = (report.tested.position, report.tested.layer);
            let direction = vectors.get(&at).context("the direction that was tested is gone")?;
            Ok::<_, anyhow::Error>((file, orthogonalise(model.path(), direction, file)?))
        });
        let written = written.transpose()?;
        if !out.json("direction", Some(&loaded), &report)? {
            show(&report, out)?;
            if let Some((file, changed)) = written {
                out.line(format!("{} ({changed} tensors without the direction, in f32)", file.display()))?;
            }
        }
        Ok(())
    }
}

fn show(report: &DirectionReport, out: &mut Out) -> Result<()> {
    verdict(&report.gate, out)?;
    let [to, from] = &report.classes;
    let DirectionReport { fitted_on, chosen_on, tested_on, .. } = report;
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
