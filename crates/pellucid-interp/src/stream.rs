//! The residual stream between blocks, by depth: depth `k` is the stream after `k` blocks, from 0 (what the first block reads)
//! to the number of layers (what the final norm reads).

use crate::error::tensor;
use crate::{Error, Result};
use pellucid_core::{Point, Site};
use pellucid_model::{Batch, Logits, Model, Plan, Record, Row, Tensor, with_numbers};
use std::ops::Range;

/// Where the stream of a depth stands: `resid_pre.0`, then each block's `resid_post`.
pub fn site_at(depth: usize) -> Site {
    match depth.checked_sub(1) {
        None => Site::new(Point::ResidPre, 0),
        Some(layer) => Site::new(Point::ResidPost, layer),
    }
}

/// The depth of a site of the stream between blocks; none for other sites.
pub fn depth_of(site: Site) -> Option<usize> {
    match site.point {
        Point::ResidPre => Some(site.layer as usize),
        Point::ResidPost => Some(site.layer as usize + 1),
        _ => None,
    }
}

/// The stream of some texts at every depth.
pub(crate) struct Streams {
    record: Record,
    ranges: Vec<Range<usize>>,
    width: usize,
}

impl Streams {
    /// Runs the texts once.
    pub(crate) fn new(model: &Model, rows: &[Row]) -> Result<Self> {
        let mut record = Record::new((0..=model.spec().n_layers).map(site_at));
        let batch = Batch { rows: rows.to_vec() };
        let plan = Plan { logits: Logits::None, start: None, stop_after: None };
        model.run(&batch, &plan, None, &mut record)?;
        Ok(Streams { record, ranges: batch.ranges(), width: model.spec().d_model })
    }

    /// All tokens of all texts, `(tokens, d_model)`.
    pub(crate) fn all(&self, depth: usize) -> Result<Tensor> {
        Ok(self.record.value(site_at(depth))?)
    }

    /// One token's vector.
    pub(crate) fn at(&self, depth: usize, row: usize, position: usize) -> Result<Vec<f32>> {
        let token = self.ranges.get(row).map(|r| r.start + position).filter(|t| *t < self.ranges[row].end);
        let missing = || Error::Request(format!("the text has no position {position}"));
        let token = token.ok_or_else(missing)?;
        let all = self.all(depth)?;
        Ok(with_numbers(&all, |v| v[token * self.width..][..self.width].to_vec())?)
    }

    /// One token of one text, `(1, d_model)`.
    pub(crate) fn row_at(&self, depth: usize, row: usize, position: usize) -> Result<Tensor> {
        let values = self.at(depth, row, position)?;
        matrix(vec![values])
    }
}

/// Vectors below each other.
pub(crate) fn matrix(rows: Vec<Vec<f32>>) -> Result<Tensor> {
    let (n, width) = (rows.len(), rows.first().map_or(0, Vec::len));
    tensor(Tensor::from_vec(rows.concat(), (n, width), &pellucid_model::CPU))
}
