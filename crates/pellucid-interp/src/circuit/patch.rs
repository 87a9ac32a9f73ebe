//! Running a model with edges cut: every reader reads the stream with the writers it is cut from replaced.
//!
//! A reader r that keeps the writers C(r) reads `x + Σ_{u ∉ C(r)} (other_u − now_u)`, where `now_u` is what writer u adds in
//! this very run, itself with its inputs cut, and `other_u` what stands in its place (Hanna et al. 2024, arXiv 2403.17806).

use super::bench::{Bench, Part};
use super::edges::Edges;
use crate::behaviour::{last_rows, odds_of};
use crate::error::tensor;
use crate::{Error, Result};
use pellucid_core::{Point, Site};
use pellucid_model::{CPU, F32, Logits, Model, Place, Plan, Readers, Tap, Tensor};

/// Cuts edges.
pub(super) struct Cut<'a> {
    model: &'a Model,
    edges: &'a Edges,
    part: &'a Part,
    /// How much of each edge is cut: 0 leaves it, 1 cuts it.
    amount: &'a [f32],
    /// `other − now` for each writer so far: `(writers, tokens · d_model)`.
    differences: Tensor,
    z: Option<Tensor>,
}

impl<'a> Cut<'a> {
    pub(super) fn new(bench: &'a Bench<'_>, part: &'a Part, amount: &'a [f32]) -> Result<Self> {
        let size = part.batch.tokens() * bench.model.spec().d_model;
        let differences = tensor(Tensor::zeros((bench.edges.writers(), size), F32, &CPU))?;
        Ok(Cut { model: bench.model, edges: &bench.edges, part, amount, differences, z: None })
    }

    /// Starts behind writers whose differences are known.
    pub(super) fn with(mut self, known: &Tensor) -> Result<Self> {
        self.differences = tensor(known.copy())?;
        Ok(self)
    }

    /// `other − now` of each writer as the run left it: `(writers, tokens · d_model)`.
    pub(super) fn into_differences(self) -> Tensor {
        self.differences
    }

    /// Notes what neighbouring writers add in this run: `(n, tokens, d_model)`.
    fn note(&mut self, first: usize, now: &Tensor) -> pellucid_model::Result<()> {
        let rows = self.part.differences(first, now)?;
        self.differences.slice_set(&rows, 0, first)?;
        Ok(())
    }

    /// What neighbouring readers, who see the same writers, read in place of `x`, `(tokens, d_model)`.
    fn readers(&self, readers: std::ops::Range<usize>, x: &Tensor) -> pellucid_model::Result<Tensor> {
        let (seen, n) = (self.edges.seen_by(readers.start), readers.len());
        let edges = self.edges.reads(readers.start).start..self.edges.reads(readers.end - 1).end;
        let amount = &self.amount[edges];
        let (tokens, d) = x.dims2()?;
        if amount.iter().all(|a| *a == 0.0) {
            return Ok(Tensor::cat(&vec![x; n], 0)?);
        }
        let amount = Tensor::from_slice(amount, (n, seen), &CPU)?;
        let change = amount.matmul(&self.differences.narrow(0, 0, seen)?)?.reshape((n, tokens, d))?;
        Ok(change.broadcast_add(&x.unsqueeze(0)?)?.reshape((n * tokens, d))?)
    }

    /// The final stream at each item's last token as the logits read it.
    fn last(&self, resid: &Tensor) -> Result<Tensor> {
        let logits = self.edges.logits();
        let read = self.readers(logits..logits + 1, resid)?;
        last_rows(&self.part.batch, &read)
    }
}

impl Tap for Cut<'_> {
    fn wants(&self, site: Site) -> bool {
        matches!(site.point, Point::Z | Point::AttnOut | Point::MlpOutPost)
            || site == Site::new(Point::ResidPre, 0)
    }

    fn visit(&mut self, at: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        let layer = at.site.layer as usize;
        match at.site.point {
            Point::ResidPre => self.note(0, &x.unsqueeze(0)?)?,
            Point::Z => self.z = Some(x.clone()),
            Point::AttnOut => {
                if let Some(z) = self.z.take() {
                    let heads = self.model.head_writes(layer, &z, &x)?;
                    self.note(self.edges.before(layer), &heads)?;
                }
            }
            _ => self.note(self.edges.before(layer) + self.edges.heads(), &x.unsqueeze(0)?)?,
        }
        Ok(x)
    }

    fn splits(&self, _layer: usize) -> bool {
        true
    }

    fn read(
        &mut self,
        at: Place<'_>,
        readers: Readers,
        x: &Tensor,
        _: usize,
    ) -> pellucid_model::Result<Tensor> {
        let layer = at.site.layer as usize;
        match readers {
            Readers::Attention => self.readers(self.edges.attention(layer), x),
            Readers::Mlp => self.readers(self.edges.mlp(layer)..self.edges.mlp(layer) + 1, x),
        }
    }
}

impl Bench<'_> {
    /// Log-odds of each item with this much of each edge cut (0 leaves it, 1 cuts it).
    ///
    /// # Errors
    /// If the amounts are not as many as the edges, or the run fails.
    pub fn odds(&self, amount: &[f32]) -> Result<Vec<f64>> {
        let mut odds = Vec::with_capacity(self.items().len());
        for (part, last) in self.parts.iter().zip(self.run(amount)?) {
            odds.extend(odds_of(self.model, &self.items()[part.range.clone()], &last)?);
        }
        Ok(odds)
    }

    /// The final stream at every item's last token with edges cut, part by part.
    pub(super) fn run(&self, amount: &[f32]) -> Result<Vec<Tensor>> {
        if amount.len() != self.edges.len() {
            let (found, expected) = (amount.len(), self.edges.len());
            return Err(Error::Request(format!("{found} edges were given, and this model has {expected}")));
        }
        self.parts.iter().map(|part| self.run_part(part, amount)).collect()
    }

    fn run_part(&self, part: &Part, amount: &[f32]) -> Result<Tensor> {
        let mut cut = Cut::new(self, part, amount)?;
        let plan = Plan { logits: Logits::None, start: None, stop_after: None };
        let resid = self.model.run(&part.batch, &plan, None, &mut cut)?.resid;
        cut.last(&resid)
    }

    pub(super) fn all_cut(&self, part: &Part) -> Result<Tensor> {
        self.run_part(part, &vec![1.0; self.edges.len()])
    }

    /// As [`Bench::odds`] from a layer on, below which nothing is cut.
    pub(super) fn odds_from(
        &self,
        part: &Part,
        amount: &[f32],
        start: (usize, &Tensor),
        known: &Tensor,
    ) -> Result<Vec<f64>> {
        let last = self.last_from(part, amount, start, known)?;
        odds_of(self.model, &self.items()[part.range.clone()], &last)
    }

    /// The final stream at each item's last token, from a layer on whose stream and lower writers' differences are known.
    pub(super) fn last_from(
        &self,
        part: &Part,
        amount: &[f32],
        start: (usize, &Tensor),
        known: &Tensor,
    ) -> Result<Tensor> {
        let mut cut = Cut::new(self, part, amount)?.with(known)?;
        let start = Some((start.0, start.1.clone()));
        let plan = Plan { logits: Logits::None, start, stop_after: None };
        let resid = self.model.run(&part.batch, &plan, None, &mut cut)?.resid;
        cut.last(&resid)
    }
}
