//! `pellucid ablate`: every neuron's predicted effect on a behaviour, and what removing the foremost truly does.

use super::behaviour::{BehaviourArgs, named, verdict};
use crate::show::{DIM, Out, Table, bar, signed};
use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use pellucid::core::{Seed, UnitId};
use pellucid::interp::behaviour::{Gate, Ready};
use pellucid::interp::neuron::{
    Bench, Changes, Dose, Effect, Group, Measured, doses, groups, measure, predict,
};
use pellucid::interp::{Correlation, rank_correlation};
use pellucid::model::Model;
use serde::Serialize;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    of: BehaviourArgs,
    /// How many neurons are truly removed, alone and together.
    #[arg(long, default_value_t = 8, value_name = "K")]
    top: usize,
    /// Which prediction chooses them.
    #[arg(long, value_enum, default_value_t = By::Direct)]
    by: By,
    /// A behaviour that they should leave alone; capitals, or agreement where capitals are asked about.
    #[arg(long, value_name = "BEHAVIOUR")]
    off_task: Option<String>,
    /// Instead of ranking: this neuron's dose and response.
    #[arg(long, value_name = "UNIT")]
    unit: Option<UnitId>,
    /// Whole factors on its activation, FROM..TO, both included.
    #[arg(long, default_value = "-2..3", value_name = "FROM..TO", allow_hyphen_values = true)]
    doses: String,
    /// Go on though the model does not show the behaviour.
    #[arg(long)]
    anyway: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// The path from the neuron to the logits.
    Direct,
    /// All paths, to first order.
    Gradient,
}

/// The result on the wire.
#[derive(Serialize)]
struct Report {
    gate: Gate,
    seed: u64,
    off_task: Option<Gate>,
    by: &'static str,
    ranked: Vec<Effect>,
    measured: Vec<Measured>,
    /// Of predicted with true effect (zero) over the measured neurons and their random partners.
    direct_rank_correlation: Option<Correlation>,
    gradient_rank_correlation: Option<Correlation>,
    groups: Vec<Group>,
    unit: Option<UnitId>,
    doses: Vec<Dose>,
}

/// Items of the behaviour that serves as a control; fewer do.
const OFF_TASK: usize = 16;

/// Another behaviour's items: the one that was named, or the default.
pub(crate) fn off_task(model: &Model, asked: Option<&str>, of: &str, seed: Seed) -> Result<Ready> {
    let name = asked.unwrap_or(if of == "capitals" { "agreement" } else { "capitals" });
    ensure!(name != of, "--off-task must be another behaviour than {of}");
    Ok(named(name, seed, OFF_TASK)?.prepare(model, OFF_TASK)?)
}

fn range(text: &str) -> Result<Vec<f32>> {
    let ends =
        text.split_once("..").and_then(|(a, b)| Some((a.parse::<i32>().ok()?, b.parse::<i32>().ok()?)));
    let Some((from, to)) = ends.filter(|(a, b)| a <= b && i64::from(*b) - i64::from(*a) <= 100) else {
        anyhow::bail!(
            "{text:?} is no range of doses; write FROM..TO with whole numbers, at most 100 apart, e.g. -2..3"
        );
    };
    Ok((from..=to).map(|f| f as f32).collect())
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        let factors = range(&self.doses)?;
        ensure!(self.top > 0, "--top needs at least 1");
        let (loaded, ready, gate) = self.of.gated(self.anyway)?;
        let bench = Bench::new(&loaded.model, &ready)?;
        let mut report = Report {
            gate,
            seed: self.of.seed,
            off_task: None,
            by: if self.by == By::Direct { "direct" } else { "gradient" },
            ranked: Vec::new(),
            measured: Vec::new(),
            direct_rank_correlation: None,
            gradient_rank_correlation: None,
            groups: Vec::new(),
            unit: self.unit.clone(),
            doses: Vec::new(),
        };
        match &self.unit {
            Some(unit) => report.doses = doses(&bench, unit, &factors)?,
            None => self.rank(&loaded.model, &bench, &mut report)?,
        }
        if !out.json("ablate", Some(&loaded), &report)? {
            show(&report, out)?;
        }
        Ok(())
    }

    fn rank(&self, model: &Model, bench: &Bench<'_>, report: &mut Report) -> Result<()> {
        let seed = Seed(self.of.seed);
        let other = off_task(model, self.off_task.as_deref(), &self.of.behaviour, seed)?;
        report.off_task = Some(Gate::measure(model, &other)?);
        let off_task = Bench::new(model, &other)?;
        let all = predict(bench)?;
        let size = |e: &Effect| if self.by == By::Direct { e.direct.abs() } else { e.gradient.abs() };
        let mut order: Vec<&Effect> = all.iter().collect();
        order.sort_by(|a, b| size(b).total_cmp(&size(a)).then_with(|| a.unit.cmp(&b.unit)));
        report.ranked = order.into_iter().take(self.top).cloned().collect();
        let units: Vec<UnitId> = report.ranked.iter().map(|e| e.unit.clone()).collect();
        let progress = bar("neurons removed", units.len());
        report.measured = measure(bench, &off_task, &units, seed, &mut || progress.inc(1))?;
        report.groups = groups(bench, &off_task, &units, seed, &mut || ())?;
        progress.finish_and_clear();
        let mut truth = Vec::new();
        let (mut direct, mut gradient) = (Vec::new(), Vec::new());
        for m in &report.measured {
            for (unit, change) in [(&m.unit, &m.change), (&m.random, &m.random_change)] {
                if let Some(e) = all.iter().find(|e| e.unit == *unit) {
                    truth.push(-change.zero.value);
                    direct.push(e.direct);
                    gradient.push(e.gradient);
                }
            }
        }
        report.direct_rank_correlation = rank_correlation(&direct, &truth);
        report.gradient_rank_correlation = rank_correlation(&gradient, &truth);
        Ok(())
    }
}

fn three(c: &Changes) -> [String; 3] {
    let resample = c.resample.map_or_else(|| "–".to_owned(), |r| signed(r.value));
    [signed(c.zero.value), signed(c.mean.value), resample]
}

fn show(report: &Report, out: &mut Out) -> Result<()> {
    verdict(&report.gate, out)?;
    if let Some(unit) = &report.unit {
        out.heading(format!("{unit}: factor on its activation, and log-odds"))?;
        return show_doses(&report.doses, out);
    }
    out.heading(format!("neurons by {} effect; what replacing each does to the log-odds", report.by))?;
    let header = [
        "unit",
        ">direct",
        ">gradient",
        ">zero",
        ">mean",
        ">resample",
        ">off-task",
        ">random: zero",
        ">mean",
        ">resample",
    ];
    let mut table = Table::new(&header);
    for (e, m) in report.ranked.iter().zip(&report.measured) {
        let mut row = vec![e.unit.to_string(), signed(e.direct), signed(e.gradient)];
        row.extend(three(&m.change));
        row.push(signed(m.off_task.value));
        row.extend(three(&m.random_change));
        table.row(row);
    }
    out.table(table)?;
    out.heading("together")?;
    let header = [
        ">top",
        ">zero",
        ">mean",
        ">resample",
        ">accuracy",
        ">off-task",
        ">random: zero",
        ">mean",
        ">resample",
        ">accuracy",
    ];
    let mut table = Table::new(&header);
    for g in &report.groups {
        let mut row = vec![g.k.to_string()];
        row.extend(three(&g.change));
        row.extend([format!("{:.2}", g.change.accuracy.value), signed(g.off_task.value)]);
        row.extend(three(&g.random_change));
        row.push(format!("{:.2}", g.random_change.accuracy.value));
        table.row(row);
    }
    out.table(table)?;
    for (name, rho) in
        [("direct", report.direct_rank_correlation), ("gradient", report.gradient_rank_correlation)]
    {
        if let Some(c) = rho {
            let (rho, low, high, n) = (c.rho, c.low, c.high, c.n);
            out.line(format!("{name} effect against truth (zero): rank correlation {rho:+.2} ({low:+.2} to {high:+.2}, {n} neurons)"))?;
        }
    }
    let off = report.off_task.as_ref().map_or("", |g| g.behaviour.as_str());
    out.line(format!(
        "{DIM}off-task: zero's change of the log-odds of {off}; random neurons are of the same layers{DIM:#}"
    ))
}

fn show_doses(doses: &[Dose], out: &mut Out) -> Result<()> {
    let classes: Vec<String> =
        doses.first().map(|d| d.by_class.keys().cloned().collect()).unwrap_or_default();
    let names: Vec<String> = classes.iter().map(|c| format!(">{c}")).collect();
    let mut header = vec![">factor", ">log-odds", ">from", ">to", ">accuracy"];
    header.extend(names.iter().map(String::as_str));
    let mut table = Table::new(&header);
    for d in doses {
        let o = d.log_odds;
        let mut row = vec![d.factor.to_string(), signed(o.value), signed(o.low), signed(o.high)];
        row.push(format!("{:.2}", d.accuracy.value));
        row.extend(classes.iter().map(|c| d.by_class.get(c).map_or(String::new(), |v| signed(*v))));
        table.row(row);
    }
    out.table(table)
}
