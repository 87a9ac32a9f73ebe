//! The skeleton curve: how much of a behaviour circuits of growing size keep, and what they do to everything else.
//!
//! Faithfulness is `(m(C) − m(∅)) / (m(N) − m(∅))` with m the mean log-odds, N the whole model and ∅ with everything cut. Over the
//! fractions of edges of the MIB benchmark (Mueller et al. 2025, arXiv 2504.13151), by the trapezoid rule on a linear axis
//! from 0 to 1: CPR is the area below the curve (signed order; more is better, and it may pass 1), CMD the area between
//! the curve and 1 (order by size; 0 is best).

use super::bench::Bench;
use super::select::{Choice, alive, order, random_order};
use crate::behaviour::accuracy;
use crate::error::tensor;
use crate::{Interval, Progress, Result};
use pellucid_core::Seed;
use pellucid_model::Tensor;
use pellucid_model::sample::{divergence, log_softmax};
use serde::Serialize;

/// The fractions of edges at which MIB measures.
pub const FRACTIONS: [f64; 10] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0];

/// A circuit of some size, measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Measured {
    /// Edges kept.
    pub edges: usize,
    /// Of them, edges on a way from the input to the logits; the others do nothing that differs from the cut.
    pub alive: usize,
    /// Share of the behaviour kept; 1 is the whole model, 0 everything cut.
    pub faithfulness: f64,
    /// Mean log-odds over the items.
    pub log_odds: Interval,
    /// Share of right answers.
    pub accuracy: Interval,
    /// KL divergence from the whole model's next-token distribution, nats, mean over the items.
    pub kl: f64,
}

/// Faithfulness of mean log-odds.
pub fn faithfulness(circuit: f64, whole: f64, none: f64) -> f64 {
    (circuit - none) / (whole - none)
}

impl Bench<'_> {
    /// Keeps these edges alone and measures.
    ///
    /// # Errors
    /// If they are not as many as the model's edges, or the run fails.
    pub fn measure(&self, keep: &[bool]) -> Result<Measured> {
        // the two ends of the scale have been run
        let known = [true, false].into_iter().position(|end| keep.iter().all(|k| *k == end));
        let ends = match known {
            Some(end) if keep.len() == self.edges.len() => {
                self.parts.iter().map(|p| p.last[end].clone()).collect()
            }
            _ => self.run(&keep.iter().map(|k| if *k { 0.0 } else { 1.0 }).collect::<Vec<f32>>())?,
        };
        let (mut odds, mut kl) = (Vec::new(), 0.0);
        for (part, last) in self.parts.iter().zip(ends) {
            odds.extend(crate::behaviour::odds_of(self.model, &self.items()[part.range.clone()], &last)?);
            let plain = &self.plain()?[part.range.clone()];
            kl += plain.iter().zip(&self.said(&last)?).map(|(p, q)| divergence(p, q)).sum::<f64>();
        }
        let n = self.items().len();
        let mean = |odds: &[f64]| odds.iter().sum::<f64>() / n as f64;
        Ok(Measured {
            edges: keep.iter().filter(|k| **k).count(),
            alive: alive(&self.edges, keep).iter().filter(|k| **k).count(),
            faithfulness: faithfulness(mean(&odds), mean(self.whole()), mean(self.none())),
            log_odds: Interval::mean(&odds),
            accuracy: accuracy(&odds),
            kl: kl / n as f64,
        })
    }

    /// Log-probabilities of the next token at final streams, `(n, d_model)`.
    pub(super) fn said(&self, last: &Tensor) -> Result<Vec<Vec<f32>>> {
        let logits = tensor(self.model.unembed(last)?.to_vec2::<f32>())?;
        Ok(logits.iter().map(|l| log_softmax(l)).collect())
    }

    /// What the whole model says to each item, made once.
    pub(super) fn plain(&self) -> Result<&[Vec<f32>]> {
        if self.plain.get().is_none() {
            let mut said = Vec::with_capacity(self.items().len());
            for part in &self.parts {
                said.extend(self.said(&part.last[0])?);
            }
            let _ = self.plain.set(said);
        }
        Ok(self.plain.get().map_or(&[], Vec::as_slice))
    }
}

/// A circuit of one size beside its controls.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Share of all edges.
    pub fraction: f64,
    /// The circuit.
    pub circuit: Measured,
    /// Everything but the circuit: what it keeps, the circuit lacks.
    pub complement: Measured,
    /// As many random edges.
    pub random: Measured,
    /// The same edges on another behaviour.
    pub off_task: Option<Measured>,
}

/// Circuits of growing size.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Skeleton {
    /// In the order that was asked for.
    pub points: Vec<Point>,
    /// Area below the faithfulness of the signed order (MIB's CPR).
    pub cpr: f64,
    /// Area between the faithfulness of the order by size and 1 (MIB's CMD).
    pub cmd: f64,
}

/// The first `k` edges of an order.
pub fn first(order: &[usize], k: usize) -> Vec<bool> {
    let mut keep = vec![false; order.len()];
    order.iter().take(k).for_each(|&e| keep[e] = true);
    keep
}

/// Measures circuits at MIB's fractions of all edges; `progress` is told after each of [`SKELETON_STEPS`] steps.
///
/// # Errors
/// If a run fails.
pub fn skeleton(
    bench: &Bench<'_>,
    off_task: Option<&Bench<'_>>,
    scores: &[f64],
    by: Choice,
    seed: Seed,
    progress: Progress<'_>,
) -> Result<Skeleton> {
    let edges = bench.edges();
    let chosen = order(edges, scores, by);
    let random = random_order(edges, seed);
    let size = |fraction: f64| (fraction * edges.len() as f64).round() as usize;
    let mut points = Vec::new();
    for fraction in FRACTIONS {
        let keep = first(&chosen, size(fraction));
        let rest: Vec<bool> = keep.iter().map(|k| !k).collect();
        points.push(Point {
            fraction,
            circuit: bench.measure(&keep)?,
            complement: bench.measure(&rest)?,
            random: bench.measure(&first(&random, size(fraction)))?,
            off_task: off_task.map(|off| off.measure(&keep)).transpose()?,
        });
        progress()?;
    }
    let mut along = |wanted: Choice| -> Result<Vec<(f64, f64)>> {
        let order = order(edges, scores, wanted);
        let mut line = vec![(0.0, 0.0)];
        for (fraction, point) in FRACTIONS.into_iter().zip(&points) {
            let faithfulness = if wanted == by {
                point.circuit.faithfulness
            } else {
                bench.measure(&first(&order, size(fraction)))?.faithfulness
            };
            line.push((fraction, faithfulness));
            progress()?;
        }
        Ok(line)
    };
    let (signed, sized) = (along(Choice::Signed)?, along(Choice::Size)?);
    Ok(Skeleton { points, cpr: cpr(&signed), cmd: cmd(&sized) })
}

/// Steps of [`skeleton`].
pub const SKELETON_STEPS: usize = 3 * FRACTIONS.len();

/// The area below the faithfulness of circuits at fractions of all edges, with nothing kept at 0.
pub fn cpr(points: &[(f64, f64)]) -> f64 {
    area(points, |f| f)
}

/// The area between the faithfulness and 1.
pub fn cmd(points: &[(f64, f64)]) -> f64 {
    area(points, |f| (1.0 - f).abs())
}

fn area(points: &[(f64, f64)], of: impl Fn(f64) -> f64) -> f64 {
    points.windows(2).map(|w| (w[1].0 - w[0].0) * (of(w[0].1) + of(w[1].1)) / 2.0).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn areas_are_those_of_trapezoids() {
        let line = [(0.0, 0.0), (0.5, 0.5), (1.0, 1.0)];
        assert!((cpr(&line) - 0.5).abs() < 1e-12 && (cmd(&line) - 0.5).abs() < 1e-12);
        let over = [(0.0, 1.0), (0.1, 2.0), (1.0, 1.0)];
        assert!((cpr(&over) - 1.5).abs() < 1e-12 && (cmd(&over) - 0.5).abs() < 1e-12);
    }
}
