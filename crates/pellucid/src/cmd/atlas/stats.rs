//! `pellucid atlas stats`: how much an atlas holds, and how its scores lie against their null.

use super::OfArgs;
use crate::atlas::describe::INTERESTING;
use crate::atlas::open;
use crate::show::{Out, Table, percent};
use anyhow::Result;
use indicatif::HumanBytes;
use serde::Serialize;

/// How an atlas's scores lie.
#[derive(Serialize)]
struct Stats {
    units: u64,
    chosen: u64,
    missing: u64,
    embeddings: u64,
    bytes: u64,
    /// Deciles of the simulation score on held-out text, from the least to the largest, 11 numbers.
    scores: Vec<f64>,
    /// The same of another unit's words.
    nulls: Vec<f64>,
    /// Share of descriptions whose score is above their null's.
    above_null: f64,
    interesting: u64,
}

pub(super) fn stats(of: &OfArgs, out: &mut Out) -> Result<()> {
    let (loaded, path) = of.load()?;
    let atlas = open(&loaded, Some(&path))?;
    let summary = atlas.summary()?;
    let (mut scores, mut nulls, mut above, mut interesting) = (Vec::new(), Vec::new(), 0usize, 0u64);
    for judged in atlas.judgements(INTERESTING)? {
        scores.push(judged.score);
        nulls.extend(judged.null);
        above += usize::from(judged.null.is_some_and(|null| judged.score > null));
        interesting += u64::from(judged.other.is_some_and(|worth| worth > 0.5));
    }
    let stats = Stats {
        units: summary.units,
        chosen: summary.chosen,
        missing: summary.missing,
        embeddings: summary.embeddings,
        bytes: summary.bytes,
        above_null: above as f64 / nulls.len().max(1) as f64,
        scores: deciles(scores),
        nulls: deciles(nulls),
        interesting,
    };
    if out.json("atlas stats", Some(&loaded), &stats)? {
        return Ok(());
    }
    out.line(format!(
        "{} units; {} sides described, {} not; {} interesting to a person; {} embedded; {}",
        stats.units,
        stats.chosen,
        stats.missing,
        stats.interesting,
        stats.embeddings,
        HumanBytes(stats.bytes)
    ))?;
    if stats.scores.is_empty() {
        return Ok(());
    }
    let mut table =
        Table::new(&["held-out r", ">least", ">10%", ">20%", ">median", ">80%", ">90%", ">largest"]);
    for (name, d) in [("description", &stats.scores), ("another unit's", &stats.nulls)] {
        let at = |i: usize| d.get(i).map_or("–".to_owned(), |v| format!("{v:.2}"));
        table.row(vec![name.to_owned(), at(0), at(1), at(2), at(5), at(8), at(9), at(10)]);
    }
    out.table(table)?;
    out.line(format!("above their null: {}", percent(stats.above_null)))
}

/// From the least to the largest in ten steps; nothing of nothing.
pub(crate) fn deciles(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    if values.is_empty() { Vec::new() } else { (0..=10).map(|d| values[d * last / 10]).collect() }
}

#[cfg(test)]
mod tests {
    use super::deciles;

    #[test]
    fn deciles_run_from_the_least_to_the_largest() {
        assert!(deciles(Vec::new()).is_empty());
        assert_eq!(deciles(vec![3.0]), [3.0; 11]);
        let d = deciles((0..=100).rev().map(f64::from).collect());
        assert_eq!((d[0], d[1], d[5], d[10]), (0.0, 10.0, 50.0, 100.0));
    }
}
