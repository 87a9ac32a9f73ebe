//! `attribute --verify`: predictions beside what happens when each unit is removed, for the units on top and
//! for as many random ones.

use crate::models::Loaded;
use crate::show::{BOLD, DIM, Out, Table, bar, signed};
use crate::text::Text;
use anyhow::Result;
use pellucid::core::{Index, Seed, Site, UnitId};
use pellucid::interp::{
    Ablation, By, Correlation, Effects, LatentEffects, Metric, Replacement, UnitEffect, ablate_each,
    random_units, rank_correlation,
};
use serde::Serialize;

/// Both groups.
#[derive(Serialize)]
pub(crate) struct Verified {
    seed: u64,
    top: Group,
    random: Group,
}

/// Some units: predicted change of the metric (minus the effect), and true changes.
#[derive(Serialize)]
struct Group {
    units: Vec<Tried>,
    /// Of the prediction with the change by zero.
    rank_correlation_zero: Option<Correlation>,
    /// Of the prediction with the change by the text's mean.
    rank_correlation_text_mean: Option<Correlation>,
}

#[derive(Serialize)]
struct Tried {
    unit: UnitId,
    predicted: f64,
    zero: f64,
    text_mean: f64,
}

/// What is removed, and what is measured then.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) metric: Metric,
    pub(crate) by: By,
    pub(crate) n: usize,
    pub(crate) seed: Seed,
}

/// Removes the `n` latents with the largest effects, and `n` random ones of those that were active anywhere.
pub(crate) fn latents(
    loaded: &Loaded,
    text: &Text,
    effects: &LatentEffects,
    asked: &Asked,
) -> Result<Verified> {
    let all = effects.ranked(usize::MAX);
    let drawn = asked.seed.for_purpose("random latents").choose(all.len(), asked.n);
    let random: Vec<UnitEffect> = drawn.into_iter().map(|i| all[i].clone()).collect();
    let group = |some: &[UnitEffect], what: &str| -> Result<Group> {
        let units: Vec<UnitId> = some.iter().filter_map(|e| e.unit.clone()).collect();
        tried(loaded, text, asked.metric, some.iter().map(|e| -e.effect).collect(), units, what)
    };
    Ok(Verified {
        seed: asked.seed.0,
        top: group(&all[..asked.n.min(all.len())], "removing the top latents")?,
        random: group(&random, "random latents")?,
    })
}

/// Removes the `n` units with the largest effects, and `n` random ones.
pub(crate) fn run(loaded: &Loaded, text: &Text, effects: &Effects, asked: &Asked) -> Result<Verified> {
    let Asked { metric, by, n, seed } = *asked;
    let top = effects.ranked(by, n).into_iter().filter_map(|e| e.unit).collect();
    let sites = by.sites(&loaded.model);
    let random = match by {
        By::Head => random_heads(loaded, &sites, n, seed),
        _ => random_units(&loaded.model, &sites, n, seed),
    };
    let group = |units: Vec<UnitId>, what: &str| group(loaded, text, metric, effects, units, what);
    Ok(Verified {
        seed: seed.0,
        top: group(top, "removing the top units")?,
        random: group(random, "random units")?,
    })
}

fn random_heads(loaded: &Loaded, sites: &[Site], n: usize, seed: Seed) -> Vec<UnitId> {
    let heads = loaded.model.spec().n_heads;
    let picks = seed.for_purpose("random heads").choose(sites.len() * heads, n);
    picks.into_iter().map(|i| UnitId::head(sites[i / heads], i % heads)).collect()
}

fn group(
    loaded: &Loaded,
    text: &Text,
    metric: Metric,
    effects: &Effects,
    units: Vec<UnitId>,
    what: &str,
) -> Result<Group> {
    let predicted = units.iter().map(|u| -effect(loaded, effects, u)).collect();
    tried(loaded, text, metric, predicted, units, what)
}

fn tried(
    loaded: &Loaded,
    text: &Text,
    metric: Metric,
    predicted: Vec<f64>,
    units: Vec<UnitId>,
    what: &str,
) -> Result<Group> {
    let zero = ablate(loaded, text, metric, &units, Replacement::Zero, what)?;
    let mean = ablate(loaded, text, metric, &units, Replacement::TextMean, what)?;
    let rank_correlation_zero = rank_correlation(&predicted, &zero);
    let rank_correlation_text_mean = rank_correlation(&predicted, &mean);
    let tried = units.into_iter().zip(predicted).zip(zero.into_iter().zip(mean));
    let units =
        tried.map(|((unit, predicted), (zero, text_mean))| Tried { unit, predicted, zero, text_mean });
    Ok(Group { units: units.collect(), rank_correlation_zero, rank_correlation_text_mean })
}

/// True changes of the metric, with a progress bar.
pub(crate) fn ablate(
    loaded: &Loaded,
    text: &Text,
    metric: Metric,
    units: &[UnitId],
    with: Replacement,
    what: &str,
) -> Result<Vec<f64>> {
    let bar = bar(what, units.len());
    let mut progress = |done, _| bar.set_position(done as u64);
    let done: Vec<Ablation> = ablate_each(&loaded.model, &text.row, metric, units, with, &mut progress)?;
    bar.finish_and_clear();
    Ok(done.into_iter().map(|a| a.change).collect())
}

/// The predicted effect of any unit or head, over all positions.
pub(crate) fn effect(loaded: &Loaded, effects: &Effects, unit: &UnitId) -> f64 {
    let UnitId::Site { site, index, .. } = unit else { return 0.0 };
    let sums = effects.summed(*site).unwrap_or_default();
    match index {
        Index::Coordinate(i) => sums.get(*i as usize).copied().unwrap_or(0.0),
        Index::Head(h) => {
            let dim = sums.len() / loaded.model.spec().heads_at(site.point).unwrap_or(1).max(1);
            sums.iter().skip(*h as usize * dim).take(dim).sum()
        }
    }
}

/// ρ with its interval, for a reader.
pub(crate) fn rho(c: Option<&Correlation>) -> String {
    c.map_or_else(
        || "none (too few or all alike)".to_owned(),
        |c| format!("{:+.2} [{:+.2}, {:+.2}], n = {}", c.rho, c.low, c.high, c.n),
    )
}

pub(crate) fn show(verified: &Verified, out: &mut Out) -> Result<()> {
    let random = format!("random units (seed {})", verified.seed);
    for (title, group) in [("top units", &verified.top), (random.as_str(), &verified.random)] {
        out.heading(format!("Removed one by one: {title}"))?;
        let mut table = Table::new(&["unit", ">predicted", ">set to zero", ">set to the text's mean"]);
        for t in &group.units {
            table.row(vec![t.unit.to_string(), signed(t.predicted), signed(t.zero), signed(t.text_mean)]);
        }
        out.table(table)?;
        let (zero, mean) = (group.rank_correlation_zero.as_ref(), group.rank_correlation_text_mean.as_ref());
        out.line(format!("{BOLD}rank correlation with the prediction{BOLD:#}: zero {}", rho(zero)))?;
        out.line(format!("{DIM}                                     mean {}{DIM:#}", rho(mean)))?;
    }
    Ok(())
}
