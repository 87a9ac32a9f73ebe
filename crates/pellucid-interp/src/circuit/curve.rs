//! The skeleton curve: how much of a behaviour circuits of growing size keep, and what they do to everything else.
//!
//! Faithfulness is `(m(C) − m(∅)) / (m(N) − m(∅))` with m the mean log-odds, N the whole model and ∅ with everything cut. Over the
//! fractions of edges of the MIB benchmark (Mueller et al. 2025, arXiv 2504.13151), by the trapezoid rule on a linear axis
//! from 0 to 1: CPR is the area below the curve (signed order; more is better, and it may pass 1), CMD the area between
//! the curve and 1 (order by size; 0 is best).

use super::bench::Bench;
use super::select::alive;
use crate::behaviour::accuracy;
use crate::error::tensor;
use crate::{Interval, Result};
use pellucid_model::Tensor;
use pellucid_model::sample::log_softmax;
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
        let amount: Vec<f32> = keep.iter().map(|k| if *k { 0.0 } else { 1.0 }).collect();
        let (mut odds, mut kl) = (Vec::new(), 0.0);
        for (part, last) in self.parts.iter().zip(self.run(&amount)?) {
            odds.extend(crate::behaviour::odds_of(self.model, &self.items()[part.range.clone()], &last)?);
            kl += self.divergence(&part.last[0], &last)?;
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

    /// Σ over rows of KL(model at `plain` ‖ model at `changed`), nats.
    fn divergence(&self, plain: &Tensor, changed: &Tensor) -> Result<f64> {
        let logits = |x: &Tensor| tensor(self.model.unembed(x)?.to_vec2::<f32>());
        let kl = |(p, q): (&Vec<f32>, &Vec<f32>)| -> f64 {
            let (p, q) = (log_softmax(p), log_softmax(q));
            p.iter().zip(&q).map(|(p, q)| f64::from(p.exp()) * (f64::from(*p) - f64::from(*q))).sum()
        };
        Ok(logits(plain)?.iter().zip(&logits(changed)?).map(kl).sum())
    }
}

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
