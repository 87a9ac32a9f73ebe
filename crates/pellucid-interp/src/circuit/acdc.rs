//! ACDC's greedy pruning (Conmy et al. 2023, arXiv 2304.14997): from the logits to the input, each edge is cut for good if the circuit
//! without it is worse by less than a threshold.
//!
//! Readers go from the last to the first, and of each the edges from the latest writer to the earliest. Every test is a true run with
//! the edge cut, none is predicted. A reader whose node nothing hears any more loses its edges without a test. What lies below a
//! reader has not been touched when its turn comes, so a test runs from the reader's layer on.

use super::bench::{Bench, Part};
use super::edges::Writer;
use super::patch::Cut;
use crate::behaviour::odds_of;
use crate::{Error, Progress, Result};
use pellucid_core::{Point, Site};
use pellucid_model::sample::divergence;
use pellucid_model::{Logits, Plan, Record, Tensor};
use serde::Serialize;

/// What a circuit without an edge is worse by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Measure {
    /// KL divergence from the whole model's next-token distribution, nats, mean over the items.
    Kl,
    /// Mean log-odds of right against wrong, lost.
    LogOdds,
}

/// What pruning left.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Acdc {
    /// By edge, whether it is kept.
    #[serde(skip)]
    pub keep: Vec<bool>,
    /// Edges that were cut and looked at.
    pub tested: usize,
    /// Edges that fell without a test, since nothing hears what they lead to.
    pub unheard: usize,
    /// The measure of the edges that were begun with.
    pub before: f64,
    /// The measure of what is left.
    pub after: f64,
}

/// A part's run with what was cut from the beginning on: the stream before each layer, and `other − now` of each writer.
struct Begun {
    resid: Vec<Tensor>,
    known: Tensor,
}

impl Bench<'_> {
    /// Prunes the edges of `start` by this threshold; the others are cut all the while. `progress` is told once for each edge of `start`.
    ///
    /// # Errors
    /// If the edges are not as many as the model's, the threshold is no number, a run fails, or the work is stopped.
    pub fn acdc(
        &self,
        start: &[bool],
        measure: Measure,
        threshold: f64,
        progress: Progress<'_>,
    ) -> Result<Acdc> {
        if start.len() != self.edges.len() || !threshold.is_finite() {
            let (found, expected) = (start.len(), self.edges.len());
            return Err(Error::Request(format!(
                "pruning needs {expected} edges and a finite threshold; found {found} and {threshold}"
            )));
        }
        let mut amount: Vec<f32> = start.iter().map(|k| if *k { 0.0 } else { 1.0 }).collect();
        let begun = self.parts.iter().map(|p| self.begun(p, &amount)).collect::<Result<Vec<_>>>()?;
        let last = self.edges.layers() - 1;
        let before = self.value(&begun, &amount, last, measure)?;
        let mut found = Acdc { keep: start.to_vec(), tested: 0, unheard: 0, before, after: before };
        let mut heard = vec![0usize; self.edges.writers()];
        for edge in (0..start.len()).filter(|&e| start[e]) {
            heard[self.edges.ends(edge).0] += 1;
        }
        for reader in (0..self.edges.readers()).rev() {
            let layer = self.edges.layer_of(reader).min(last);
            for edge in self.edges.reads(reader).rev().filter(|&e| start[e]) {
                let speaks = self.edges.node_of(reader).is_none_or(|node| self.speaks(node, &heard));
                amount[edge] = 1.0;
                let without = match speaks {
                    true => Some(self.value(&begun, &amount, layer, measure)?),
                    false => None,
                };
                match without {
                    Some(without) if without - found.after >= threshold => amount[edge] = 0.0,
                    _ => {
                        found.keep[edge] = false;
                        heard[self.edges.ends(edge).0] -= 1;
                        found.after = without.unwrap_or(found.after);
                    }
                }
                if speaks {
                    found.tested += 1
                } else {
                    found.unheard += 1
                }
                progress()?;
            }
        }
        Ok(found)
    }

    /// Whether anything hears a node. Where what a layer's heads add is normalised together, each head moves the scale of the others,
    /// and so speaks as long as one of them is heard.
    fn speaks(&self, node: usize, heard: &[usize]) -> bool {
        match self.edges.writer(node) {
            Writer::Head { layer, .. } if self.model.spec().placement.after() => {
                let first = self.edges.before(layer);
                heard[first..first + self.edges.heads()].iter().any(|h| *h > 0)
            }
            _ => heard[node] > 0,
        }
    }

    fn begun(&self, part: &Part, amount: &[f32]) -> Result<Begun> {
        let layers = self.edges.layers();
        let mut record = Record::new((0..layers).map(|l| Site::new(Point::ResidPre, l)));
        let mut cut = Cut::new(self, part, amount)?;
        let plan = Plan { logits: Logits::None, start: None, stop_after: None };
        self.model.run(&part.batch, &plan, None, &mut (&mut cut, &mut record))?;
        let resid = (0..layers).map(|l| record.value(Site::new(Point::ResidPre, l)));
        Ok(Begun { resid: resid.collect::<pellucid_model::Result<_>>()?, known: cut.into_differences() })
    }

    /// The measure of a circuit, worse where it is larger, with everything below a layer as it was begun.
    fn value(&self, begun: &[Begun], amount: &[f32], layer: usize, measure: Measure) -> Result<f64> {
        let mut sum = 0.0;
        for (part, begun) in self.parts.iter().zip(begun) {
            let last = self.last_from(part, amount, (layer, &begun.resid[layer]), &begun.known)?;
            sum += match measure {
                Measure::LogOdds => {
                    -odds_of(self.model, &self.items()[part.range.clone()], &last)?.iter().sum::<f64>()
                }
                Measure::Kl => {
                    let plain = &self.plain()?[part.range.clone()];
                    plain.iter().zip(&self.said(&last)?).map(|(p, q)| divergence(p, q)).sum::<f64>()
                }
            };
        }
        Ok(sum / self.items().len() as f64)
    }
}
