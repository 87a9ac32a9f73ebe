//! Attention knockout (Geva et al. 2023, arXiv 2304.14767): which token must be seen, from where, at which layers.
//!
//! The edge from a query's position to a key's is cut in a window of layers, in every head, and the log-odds are read. The
//! control cuts the same query from a random other key of the same item; the first token, where attention rests when it has
//! nothing to look at, is never the control.

use crate::behaviour::{Prepared, Ready, accuracy, batch_odds, batches};
use crate::patch::{Cut, Edge};
use crate::{Counted, Error, Interval, Result};
use pellucid_core::{Point, Seed, Site};
use pellucid_model::{Batch, Logits, Model, Plan, Record};
use serde::Serialize;
use std::collections::BTreeMap;
use std::ops::Range;

/// What is cut.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cutting {
    /// The position that looks; negative counts from the end of each item.
    pub query: i64,
    /// Layers that are cut together, from each layer on.
    pub window: usize,
    /// Of the random other keys.
    pub seed: Seed,
}

/// What cutting one edge did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct KnockedOut {
    /// The first layer of the window.
    pub layer: usize,
    /// The key's position.
    pub key: usize,
    /// Change of the log-odds of right against wrong.
    pub change: Interval,
    /// Share of right answers with the edge cut.
    pub accuracy: Interval,
    /// Change with a random other edge cut; none where there is no other.
    pub control: Option<Interval>,
}

/// Items of the commonest length.
fn same_length(ready: &Ready) -> Vec<Prepared> {
    let mut lengths: BTreeMap<usize, usize> = BTreeMap::new();
    ready.items.iter().for_each(|i| *lengths.entry(i.row.tokens.len()).or_default() += 1);
    let commonest = lengths.iter().max_by_key(|(l, n)| (**n, **l)).map_or(0, |(l, _)| *l);
    ready.items.iter().filter(|i| i.row.tokens.len() == commonest).cloned().collect()
}

/// Cuts every edge from one position, at every window of layers; the items that were used come first. Items of another
/// length than the commonest are left out.
///
/// # Errors
/// If the position does not exist or sees nothing before it, or a run fails or is stopped.
pub fn knockout(
    model: &Model,
    ready: &Ready,
    what: Cutting,
    progress: Counted<'_>,
) -> Result<(Vec<Prepared>, Vec<KnockedOut>)> {
    let items = same_length(ready);
    let (n, layers) = (items[0].row.tokens.len() as i64, model.spec().n_layers);
    let query = if what.query < 0 { what.query + n } else { what.query };
    if query < 1 || query >= n {
        let asked = what.query;
        return Err(Error::Request(format!(
            "position {asked} has no token before it or does not exist; the items have {n} tokens"
        )));
    }
    if what.window == 0 || what.window > layers {
        let w = what.window;
        return Err(Error::Request(format!("a window of {w} layers cannot be cut; take 1 to {layers}")));
    }
    let query = query as usize;
    let runs = Runs::new(model, &items)?;
    let mut draw = what.seed.for_purpose("random edges");
    let (mut out, all) = (Vec::new(), layers * query);
    for layer in 0..layers {
        let window = layer..(layer + what.window).min(layers);
        for key in 0..query {
            let odds = runs.cut(&window, |_| Some(Edge { query, key }))?;
            let others: Vec<usize> = (1..query).filter(|k| *k != key).collect();
            let picks: Vec<Option<usize>> =
                items.iter().map(|_| others.get(draw.below(others.len())).copied()).collect();
            let control = if others.is_empty() {
                None
            } else {
                let odds = runs.cut(&window, |i| picks[i].map(|key| Edge { query, key }))?;
                Some(runs.change(&odds))
            };
            out.push(KnockedOut {
                layer,
                key,
                change: runs.change(&odds),
                accuracy: accuracy(&odds),
                control,
            });
            progress(out.len(), all)?;
        }
    }
    Ok((items, out))
}

/// The plain runs, and where each layer starts.
struct Runs<'a> {
    model: &'a Model,
    items: &'a [Prepared],
    parts: Vec<(Range<usize>, Record)>,
    plain: Vec<f64>,
}

impl<'a> Runs<'a> {
    fn new(model: &'a Model, items: &'a [Prepared]) -> Result<Self> {
        let sites = (0..model.spec().n_layers).map(|l| Site::new(Point::ResidPre, l));
        let (mut parts, mut plain) = (Vec::new(), Vec::new());
        for range in batches(items) {
            let mut record = Record::new(sites.clone());
            let rows = items[range.clone()].iter().map(|i| i.row.clone()).collect();
            let plan = Plan { logits: Logits::None, start: None, stop_after: None };
            model.run(&Batch { rows }, &plan, None, &mut record)?;
            plain.extend(batch_odds(model, &items[range.clone()], None, &mut ())?);
            parts.push((range, record));
        }
        Ok(Runs { model, items, parts, plain })
    }

    fn cut(&self, layers: &Range<usize>, edge: impl Fn(usize) -> Option<Edge>) -> Result<Vec<f64>> {
        let mut odds = Vec::new();
        for (range, record) in &self.parts {
            let mut cut = Cut::default();
            for i in range.clone() {
                if let Some(edge) = edge(i) {
                    cut.add(layers.clone(), i - range.start, edge)?;
                }
            }
            let start = record.value(Site::new(Point::ResidPre, layers.start))?;
            odds.extend(batch_odds(
                self.model,
                &self.items[range.clone()],
                Some((layers.start, start)),
                &mut cut,
            )?);
        }
        Ok(odds)
    }

    fn change(&self, odds: &[f64]) -> Interval {
        let changes: Vec<f64> = odds.iter().zip(&self.plain).map(|(o, p)| o - p).collect();
        Interval::mean(&changes)
    }
}
