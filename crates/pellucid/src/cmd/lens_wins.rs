//! `pellucid lens --behaviour`: the layer at which right answers win, on one model or several.

use super::behaviour::{BehaviourArgs, verdict};
use crate::models::ModelArgs;
use crate::show::{Bars, DIM, Out, Table, signed};
use anyhow::Result;
use pellucid::interp::lens::Fitted;
use pellucid::scope::lab::{LensReport, lens};
use serde::Serialize;
use std::path::Path;

/// What is asked of each model.
pub(super) struct Ask<'a> {
    pub(super) behaviour: &'a str,
    pub(super) items: usize,
    pub(super) seed: u64,
    pub(super) anyway: bool,
    pub(super) through: Option<&'a Path>,
}

/// The result on the wire, for one model.
#[derive(Serialize)]
struct Report {
    model: String,
    #[serde(flatten)]
    of: LensReport,
}

/// Asks each model in turn. The models' identities stand in the list; the envelope has the first one's.
pub(super) fn run(ask: &Ask<'_>, model: ModelArgs, also: &[String], out: &mut Out) -> Result<()> {
    let storage = model.storage;
    let mut first = None;
    let mut reports = Vec::new();
    let names = std::iter::once(model.model.clone()).chain(also.iter().cloned());
    for name in names {
        let of = BehaviourArgs {
            behaviour: ask.behaviour.to_owned(),
            model: ModelArgs { model: name.clone(), storage, dictionary: Vec::new() },
            items: ask.items,
            seed: ask.seed,
        };
        let (loaded, measured) = of.measured()?;
        let fitted = ask.through.map(|f| Fitted::load(f, &loaded.model)).transpose()?;
        let mut bars = Bars::default();
        let of = lens(&loaded.model, &measured, fitted.as_ref(), ask.anyway, &mut |step| bars.show(step))?;
        bars.end();
        reports.push(Report { model: name, of });
        first.get_or_insert(loaded);
    }
    if !out.json("lens", first.as_ref(), &reports)? {
        for report in &reports {
            show(report, out)?;
        }
    }
    Ok(())
}

fn show(report: &Report, out: &mut Out) -> Result<()> {
    out.heading(&report.model)?;
    let report = &report.of;
    verdict(&report.gate, out)?;
    let header = [
        "site",
        ">above wrong",
        ">from",
        ">to",
        ">top-1",
        ">from",
        ">to",
        ">another item's",
        ">log-odds",
        ">median rank",
        ">entropy",
    ];
    let mut table = Table::new(&header);
    for d in &report.depths {
        let mut row = vec![d.site.to_string()];
        for share in [d.above_wrong, d.top] {
            row.extend([share.value, share.low, share.high].map(|v| format!("{v:.2}")));
        }
        row.push(d.stranger_top.map_or("–".to_owned(), |s| format!("{:.2}", s.value)));
        row.extend([signed(d.log_odds.value), d.median_rank.to_string()]);
        row.push(format!("{:.2}", d.entropy.value));
        table.row(row);
    }
    out.table(table)?;
    let (n, won) = (report.wins_at.len(), report.wins_at.iter().filter(|w| w.site.is_some()).count());
    out.line(match report.median_wins_at {
        Some(site) => format!(
            "{won} of {n} right answers are the likeliest token at the end; half of them become it, and stay it, by {site}"
        ),
        None => format!("none of {n} right answers is the likeliest token at the end"),
    })?;
    out.line(format!(
        "{DIM}{} lens at the last token; chance of standing above the wrong answer is 0.50; another item's: its answer is the likeliest here; entropy in nats{DIM:#}",
        report.lens
    ))
}
