//! Back-patching over a behaviour (Biran et al. 2024, arXiv 2406.12775): a token's stream at a later depth is put back at an
//! earlier one, and the layers between run again. Does the model then answer what it did not?

use super::behaviour::{At, depths, strangers};
use super::ladder::likeliest;
use crate::behaviour::{Prepared, Ready};
use crate::error::tensor;
use crate::patch::Put;
use crate::stream::{Streams, site_at};
use crate::{Counted, Error, Interval, Result};
use pellucid_core::Site;
use pellucid_model::{Batch, Logits, Model, Plan, Tensor};
use serde::Serialize;

/// One pair of depths.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackCell {
    /// Where the value comes from.
    pub source: Site,
    /// Where it is put, earlier in the same text.
    pub target: Site,
    /// Share of items whose right answer is then the likeliest token.
    pub right: Interval,
    /// Of the items that were wrong before, the share that is right.
    pub corrected: Interval,
    /// Of those that were right, the share that stays so.
    pub kept: Interval,
    /// Of the items that were wrong before, the share that another item's value makes right.
    pub control: f64,
}

/// Back-patching at every pair of depths.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct BackGrid {
    /// Items that were asked.
    pub items: usize,
    /// Share that the model answers as it is.
    pub plain: Interval,
    /// Share of the items that were wrong before that some pair of depths makes right: the figure of Biran et al.
    pub some_pair: Interval,
    /// The same with another item's value, which has as many pairs to try.
    pub some_pair_control: Interval,
    /// All pairs.
    pub cells: Vec<BackCell>,
}

/// Puts each item's value back, from every depth to every earlier one. `progress` is told cells done and cells in all.
///
/// # Errors
/// If an item has no subject, or a run fails or is stopped.
pub fn back_grid(
    model: &Model,
    ready: &Ready,
    at: At,
    every: usize,
    progress: Counted<'_>,
) -> Result<BackGrid> {
    let items = &ready.items;
    let rows: Vec<_> = items.iter().map(|i| i.row.clone()).collect();
    let streams = Streams::new(model, &rows)?;
    let layers = model.spec().n_layers;
    let positions: Vec<usize> = items.iter().map(|i| at.position(i)).collect::<Result<_>>()?;
    let runs = Runs { model, items, streams, positions };
    let before = runs.right(None)?;
    let others = strangers(items);
    let own: Vec<usize> = (0..items.len()).collect();
    let depths = depths(layers, every);
    let pairs: Vec<(usize, usize)> =
        depths.iter().flat_map(|&a| depths.iter().filter(move |b| **b < a).map(move |&b| (a, b))).collect();
    let (mut some, mut some_other) = (vec![false; items.len()], vec![false; items.len()]);
    let mut cells = Vec::new();
    for &(from, to) in &pairs {
        let after = runs.right(Some((from, to, &own)))?;
        let control = runs.right(Some((from, to, &others)))?;
        some.iter_mut().zip(&after).for_each(|(s, a)| *s |= a);
        some_other.iter_mut().zip(&control).for_each(|(s, a)| *s |= a);
        cells.push(BackCell {
            source: site_at(from),
            target: site_at(to),
            right: share(&after, |_| true),
            corrected: share(&after, |i| !before[i]),
            kept: share(&after, |i| before[i]),
            control: share(&control, |i| !before[i]).value,
        });
        progress(cells.len(), pairs.len())?;
    }
    Ok(BackGrid {
        items: items.len(),
        plain: share(&before, |_| true),
        some_pair: share(&some, |i| !before[i]),
        some_pair_control: share(&some_other, |i| !before[i]),
        cells,
    })
}

fn share(right: &[bool], of: impl Fn(usize) -> bool) -> Interval {
    let counted: Vec<bool> = right.iter().enumerate().filter(|(i, _)| of(*i)).map(|(_, r)| *r).collect();
    Interval::share(counted.iter().filter(|r| **r).count(), counted.len())
}

/// The items with their plain streams.
struct Runs<'a> {
    model: &'a Model,
    items: &'a [Prepared],
    streams: Streams,
    positions: Vec<usize>,
}

impl Runs<'_> {
    /// Whether each item is answered right, with a value from a depth put at another: `give[i]` says whose value item `i` gets.
    fn right(&self, put: Option<(usize, usize, &[usize])>) -> Result<Vec<bool>> {
        let batch = Batch { rows: self.items.iter().map(|i| i.row.clone()).collect() };
        let ranges = batch.ranges();
        let last: Vec<u32> = ranges.iter().map(|r| r.end as u32 - 1).collect();
        let layers = self.model.spec().n_layers;
        let resid = match put {
            None => self.streams.all(layers)?,
            Some((from, to, give)) => {
                let mut fills = Put::default();
                for (i, &giver) in give.iter().enumerate() {
                    let value = self.streams.at(from, giver, self.positions[giver])?;
                    // the run begins at `to`, so the value is put where that block reads
                    let site = Site::new(pellucid_core::Point::ResidPre, to);
                    fills.add(site, (i, self.positions[i]), 0, value);
                }
                let start = Some((to, self.streams.all(to)?));
                let plan = Plan { logits: Logits::None, start, stop_after: None };
                self.model.run(&batch, &plan, None, &mut fills)?.resid
            }
        };
        let picked = tensor(Tensor::new(last, resid.device()).and_then(|l| resid.index_select(&l, 0)))?;
        let said = likeliest(self.model, &picked)?;
        if said.len() != self.items.len() {
            return Err(Error::Request("an item was not answered".to_owned()));
        }
        Ok(self.items.iter().zip(said).map(|(i, s)| i.right.contains(&s)).collect())
    }
}
