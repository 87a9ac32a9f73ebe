//! `pellucid ablate`: every neuron's predicted effect on a behaviour, and what removing the foremost truly does.

use super::behaviour::{BehaviourArgs, verdict};
use crate::show::{Bars, DIM, Out, Table, signed};
use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use pellucid::core::UnitId;
use pellucid::interp::neuron::{Changes, Dose};
use pellucid::scope::lab::{NeuronsReport, Ranking, RankingBy, doses, neurons};

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
        let (loaded, measured) = self.of.measured()?;
        let by = match self.by {
            By::Direct => RankingBy::Direct,
            By::Gradient => RankingBy::Gradient,
        };
        let (model, mut bars) = (&loaded.model, Bars::default());
        let report = match &self.unit {
            Some(unit) => {
                let what = (unit, factors.as_slice());
                doses(model, &measured, what, (by, self.anyway), &mut |step| bars.show(step))?
            }
            None => {
                let off_task = self.of.off_task(self.off_task.as_deref())?;
                let asked = Ranking { top: self.top, by, off_task, anyway: self.anyway };
                neurons(model, &measured, &asked, &mut |step| bars.show(step))?
            }
        };
        bars.end();
        if !out.json("ablate", Some(&loaded), &report)? {
            show(&report, out)?;
        }
        Ok(())
    }
}

fn three(c: &Changes) -> [String; 3] {
    let resample = c.resample.map_or_else(|| "–".to_owned(), |r| signed(r.value));
    [signed(c.zero.value), signed(c.mean.value), resample]
}

fn show(report: &NeuronsReport, out: &mut Out) -> Result<()> {
    verdict(&report.gate, out)?;
    if let Some(unit) = &report.unit {
        out.heading(format!("{unit}: factor on its activation, and log-odds"))?;
        return show_doses(&report.doses, out);
    }
    let by = match report.by {
        RankingBy::Direct => "direct",
        RankingBy::Gradient => "gradient",
    };
    out.heading(format!("neurons by {by} effect; what replacing each does to the log-odds"))?;
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
