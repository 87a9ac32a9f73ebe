//! The truth beside its controls: random neurons of the same layers, another behaviour, and three replacements.

use super::{Bench, Swap};
use crate::behaviour::accuracy;
use crate::{Interval, Progress, Result};
use pellucid_core::{Index, Seed, UnitId};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// The mean change of the log-odds under each replacement, with intervals over items.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Changes {
    /// By zero.
    pub zero: Interval,
    /// By the mean.
    pub mean: Interval,
    /// By the counterfactual's value; none where there is none.
    pub resample: Option<Interval>,
    /// Accuracy under zero.
    pub accuracy: Interval,
}

/// What replacing one neuron did, and what a random one of its layer did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// The neuron.
    pub unit: UnitId,
    /// What it did to the behaviour.
    pub change: Changes,
    /// What zero did to the other behaviour.
    pub off_task: Interval,
    /// The random neuron.
    pub random: UnitId,
    /// What it did.
    pub random_change: Changes,
}

/// What replacing a group did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Group {
    /// How many of the foremost neurons.
    pub k: usize,
    /// What they did together.
    pub change: Changes,
    /// What zero did to the other behaviour.
    pub off_task: Interval,
    /// What as many random neurons of the same layers did.
    pub random_change: Changes,
}

/// The log-odds at one factor on a neuron's activation.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Dose {
    /// The factor; 1 is the model as it is.
    pub factor: f32,
    /// Mean log-odds of right against wrong.
    pub log_odds: Interval,
    /// The same for the items of each class.
    pub by_class: BTreeMap<String, f64>,
    /// Share of right answers.
    pub accuracy: Interval,
}

fn change(bench: &Bench<'_>, odds: &[f64]) -> Interval {
    let gone: Vec<f64> = odds.iter().zip(bench.plain()).map(|(o, p)| o - p).collect();
    Interval::mean(&gone)
}

fn under(bench: &Bench<'_>, units: &[UnitId], swap: Swap) -> Result<Vec<f64>> {
    Ok(bench.without(units, swap)?.unwrap_or_default())
}

fn changes(bench: &Bench<'_>, units: &[UnitId]) -> Result<Changes> {
    let zero = under(bench, units, Swap::Zero)?;
    let resample = bench.without(units, Swap::Resample)?;
    Ok(Changes {
        zero: change(bench, &zero),
        mean: change(bench, &under(bench, units, Swap::Mean)?),
        resample: resample.map(|odds| change(bench, &odds)),
        accuracy: accuracy(&zero),
    })
}

/// A different random neuron of the same layer for each of `units`, none of them among `units`.
fn partners(bench: &Bench<'_>, units: &[UnitId], seed: Seed) -> Vec<UnitId> {
    let mut seed = seed.for_purpose("random neurons");
    let mut taken: BTreeSet<UnitId> = units.iter().cloned().collect();
    let width = bench.model.spec().d_mlp;
    let mut partner = |unit: &UnitId| {
        let UnitId::Site { site, index: Index::Coordinate(_), .. } = unit else { return unit.clone() };
        let order = seed.choose(width, width);
        let found = order.into_iter().map(|i| UnitId::coordinate(*site, i)).find(|u| !taken.contains(u));
        let found = found.unwrap_or_else(|| unit.clone());
        taken.insert(found.clone());
        found
    };
    units.iter().map(&mut partner).collect()
}

/// Replaces each neuron alone; `progress` is told after each.
///
/// # Errors
/// If a unit is no neuron, or a run fails.
pub fn measure(
    bench: &Bench<'_>,
    off_task: &Bench<'_>,
    units: &[UnitId],
    seed: Seed,
    progress: Progress<'_>,
) -> Result<Vec<Measured>> {
    let mut out = Vec::new();
    for (unit, random) in units.iter().zip(partners(bench, units, seed)) {
        let one = std::slice::from_ref(unit);
        out.push(Measured {
            unit: unit.clone(),
            change: changes(bench, one)?,
            off_task: change(off_task, &under(off_task, one, Swap::Zero)?),
            random_change: changes(bench, std::slice::from_ref(&random))?,
            random,
        });
        progress()?;
    }
    Ok(out)
}

/// The sizes of the groups that [`groups`] makes of `n` units: 1, 2, 4, … and n.
pub fn group_sizes(n: usize) -> Vec<usize> {
    let doubled = std::iter::successors(Some(1), |k| Some(k * 2)).take_while(|k| *k < n);
    doubled.chain([n]).collect()
}

/// Replaces the first 1, 2, 4, … and all of `units` together; `progress` is told after each.
///
/// # Errors
/// If a unit is no neuron, or a run fails.
pub fn groups(
    bench: &Bench<'_>,
    off_task: &Bench<'_>,
    units: &[UnitId],
    seed: Seed,
    progress: Progress<'_>,
) -> Result<Vec<Group>> {
    let random = partners(bench, units, seed);
    let mut out = Vec::new();
    for k in group_sizes(units.len()) {
        out.push(Group {
            k,
            change: changes(bench, &units[..k])?,
            off_task: change(off_task, &under(off_task, &units[..k], Swap::Zero)?),
            random_change: changes(bench, &random[..k])?,
        });
        progress()?;
    }
    Ok(out)
}

/// Multiplies one neuron's activation by each factor; `progress` is told after each.
///
/// # Errors
/// If the unit is no neuron, or a run fails.
pub fn doses(bench: &Bench<'_>, unit: &UnitId, factors: &[f32], progress: Progress<'_>) -> Result<Vec<Dose>> {
    let mut out = Vec::new();
    for &factor in factors {
        let odds = under(bench, std::slice::from_ref(unit), Swap::Scale(factor))?;
        let mut by_class: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for (item, odds) in bench.items().iter().zip(&odds) {
            if let Some(class) = &item.item.class {
                by_class.entry(class.clone()).or_default().push(*odds);
            }
        }
        let mean = |(class, odds): (String, Vec<f64>)| (class, Interval::mean(&odds).value);
        out.push(Dose {
            factor,
            log_odds: Interval::mean(&odds),
            by_class: by_class.into_iter().map(mean).collect(),
            accuracy: accuracy(&odds),
        });
        progress()?;
    }
    Ok(out)
}
