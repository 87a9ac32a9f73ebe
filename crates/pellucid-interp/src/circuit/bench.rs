//! A behaviour's items with what every writer adds to the stream, and what stands in its place where an edge is cut.

use crate::behaviour::{Prepared, Ready, batches_of, last_rows, odds_of};
use crate::error::tensor;
use crate::{Error, Result};
use pellucid_core::{Point, Site};
use pellucid_model::{Batch, CPU, Logits, Model, Plan, Record, Row, Tensor};
use serde::Serialize;
use std::ops::Range;
use std::sync::OnceLock;

use super::edges::Edges;

/// What a reader gets from a writer where their edge is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Ablation {
    /// What the writer adds in the counterfactual, token by token.
    Counterfactual,
    /// The writer's mean over the items' tokens but the first; the first token keeps its own.
    Mean,
    /// Nothing; the first token keeps its own.
    Zero,
}

/// Items that run together.
pub(super) struct Part {
    pub(super) range: Range<usize>,
    pub(super) batch: Batch,
    /// What each writer adds where its edges are cut: `(writers, tokens, d_model)`.
    pub(super) other: Tensor,
    /// Whether each token is the first of its text and keeps its own.
    pub(super) held: Vec<bool>,
    /// The stream before the first block: of the items, and of what replaces them.
    pub(super) input: [Tensor; 2],
    /// The final stream at each item's last token where everything is cut, and where nothing is.
    pub(super) last: [Tensor; 2],
}

impl Part {
    /// `other − now` for neighbouring writers from the `first` on, which add `now`, `(n, tokens, d_model)`: `(n, tokens · d_model)`, zero
    /// at tokens that keep their own.
    pub(super) fn differences(&self, first: usize, now: &Tensor) -> pellucid_model::Result<Tensor> {
        let mut difference = (self.other.narrow(0, first, now.dim(0)?)? - now)?;
        if self.held.contains(&true) {
            let keep: Vec<f32> = self.held.iter().map(|h| if *h { 0.0 } else { 1.0 }).collect();
            difference = difference.broadcast_mul(&Tensor::from_vec(keep, (1, self.held.len(), 1), &CPU)?)?;
        }
        Ok(difference.flatten_from(1)?.contiguous()?)
    }
}

/// A behaviour on a model, ready for circuits.
pub struct Bench<'a> {
    pub(super) model: &'a Model,
    pub(super) edges: Edges,
    pub(super) ready: &'a Ready,
    pub(super) parts: Vec<Part>,
    /// What cut edges carry.
    pub ablation: Ablation,
    whole: Vec<f64>,
    /// Log-probabilities of what the whole model says to each item, once they are asked for.
    pub(super) plain: OnceLock<Vec<Vec<f32>>>,
    none: Vec<f64>,
}

/// Tokens that run together: each writer's vector is kept for each token.
const TOKENS: usize = 384;

impl<'a> Bench<'a> {
    /// Runs the items and what replaces them.
    ///
    /// # Errors
    /// If an item lacks a counterfactual of its length and one is wanted, or a run fails.
    pub fn new(model: &'a Model, ready: &'a Ready, ablation: Ablation) -> Result<Self> {
        let edges = Edges::of(model)?;
        let mut bench = Bench {
            model,
            edges,
            ready,
            parts: Vec::new(),
            ablation,
            whole: Vec::new(),
            plain: OnceLock::new(),
            none: Vec::new(),
        };
        let mean = if ablation == Ablation::Mean { Some(bench.mean()?) } else { None };
        for range in batches_of(&ready.items, TOKENS) {
            let items = &ready.items[range.clone()];
            let batch = Batch { rows: items.iter().map(|i| i.row.clone()).collect() };
            let (writes, resid) = bench.writes(&batch)?;
            let other_rows = match ablation {
                Ablation::Counterfactual => Some(counterfactuals(items)?),
                _ => None,
            };
            let (other, end) = match (&other_rows, &mean) {
                (Some(rows), _) => bench.writes(&Batch { rows: rows.clone() })?,
                (None, Some(mean)) => {
                    (tensor(mean.broadcast_as(writes.shape()).and_then(|m| m.contiguous()))?, resid.clone())
                }
                (None, None) => (tensor(writes.zeros_like())?, resid.clone()),
            };
            let keeps = ablation != Ablation::Counterfactual;
            let held =
                items.iter().flat_map(|i| (0..i.row.tokens.len()).map(move |t| keeps && t == 0)).collect();
            let first = |w: &Tensor| tensor(w.get(0));
            let mut part = Part {
                range,
                input: [first(&writes)?, first(&other)?],
                last: [last_rows(&batch, &resid)?, last_rows(&batch, &end)?],
                batch,
                other,
                held,
            };
            if keeps {
                part.last[1] = bench.all_cut(&part)?;
            }
            bench.whole.extend(odds_of(model, items, &part.last[0])?);
            bench.none.extend(odds_of(model, items, &part.last[1])?);
            bench.parts.push(part);
        }
        Ok(bench)
    }

    /// The graph.
    pub fn edges(&self) -> &Edges {
        &self.edges
    }

    /// The items.
    pub fn items(&self) -> &[Prepared] {
        &self.ready.items
    }

    /// The log-odds of each item as the model has them.
    pub fn whole(&self) -> &[f64] {
        &self.whole
    }

    /// The log-odds of each item where every edge is cut.
    pub fn none(&self) -> &[f64] {
        &self.none
    }

    /// What each writer adds to the stream, `(writers, tokens, d_model)`, and the final stream.
    pub(super) fn writes(&self, batch: &Batch) -> Result<(Tensor, Tensor)> {
        let (layers, d) = (self.edges.layers(), self.model.spec().d_model);
        let points = [Point::Z, Point::AttnOut, Point::MlpOutPost];
        let sites = (0..layers).flat_map(|l| points.map(|p| Site::new(p, l)));
        let input = Site::new(Point::ResidPre, 0);
        let mut record = Record::new(sites.chain([input]));
        let plan = Plan { logits: Logits::None, start: None, stop_after: None };
        let resid = self.model.run(batch, &plan, None, &mut record)?.resid;
        let writes =
            tensor(Tensor::zeros((self.edges.writers(), batch.tokens(), d), pellucid_model::F32, &CPU))?;
        let put = |x: &Tensor, at: usize| tensor(writes.slice_set(x, 0, at));
        put(&tensor(record.value(input)?.unsqueeze(0))?, 0)?;
        for layer in 0..layers {
            let value = |point| record.value(Site::new(point, layer));
            let heads = self.model.head_writes(layer, &value(Point::Z)?, &value(Point::AttnOut)?)?;
            put(&heads, self.edges.before(layer))?;
            let mlp = tensor(value(Point::MlpOutPost)?.unsqueeze(0))?;
            put(&mlp, self.edges.before(layer) + self.edges.heads())?;
        }
        Ok((writes, resid))
    }

    /// Each writer's mean over all tokens that are not the first of their text: `(writers, 1, d_model)`.
    fn mean(&self) -> Result<Tensor> {
        let mut sum: Option<Tensor> = None;
        let mut count = 0;
        for range in batches_of(&self.ready.items, TOKENS) {
            let batch = Batch { rows: self.ready.items[range].iter().map(|i| i.row.clone()).collect() };
            let (writes, _) = self.writes(&batch)?;
            for tokens in batch.ranges().into_iter().filter(|r| r.len() > 1) {
                count += tokens.len() - 1;
                let part = tensor(
                    writes.narrow(1, tokens.start + 1, tokens.len() - 1).and_then(|w| w.sum_keepdim(1)),
                )?;
                sum = Some(match sum {
                    None => part,
                    Some(sum) => tensor(sum + part)?,
                });
            }
        }
        let sum = sum.ok_or_else(|| {
            Error::Request("a mean needs items of more than one token; say --ablation zero".to_owned())
        })?;
        tensor(sum / count as f64)
    }
}

fn counterfactuals(items: &[Prepared]) -> Result<Vec<Row>> {
    let rows: Option<Vec<Row>> = items.iter().map(|i| i.counterfactual.clone()).collect();
    rows.ok_or_else(|| {
        Error::Request(
            "an item has no counterfactual of its length in this model's tokens; give each one, or cut edges to \
             their mean or to zero"
                .to_owned(),
        )
    })
}
