//! Taps: who looks during a run, and who changes it.
//!
//! A tap is passed to a run and never registered on the model, so a run leaves no trace. The runtime asks
//! first (`wants`): where nobody wants a point and no gradient is asked, it may fuse across it.
//!
//! In a backward pass the same taps are met in reverse: [`Tap::pullback`] receives the gradient of the
//! metric with respect to the value that left [`Tap::visit`] and returns the gradient with respect to the
//! value that entered. A tap that only looks keeps the default. A tap that changes values must override it.

use crate::batch::Row;
use crate::ops::kernel::LANES;
use crate::{Error, Result};
use candle_core::Tensor;
use pellucid_core::Site;
use std::collections::BTreeMap;

/// Where a tensor stands: its site, and the rows whose tokens it holds, one after the other. At the
/// attention points there is exactly one row, and the tensor is `(heads, queries, keys)`.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// Point and layer.
    pub site: Site,
    /// The rows in the tensor.
    pub rows: &'a [Row],
    /// Which row of the batch the first of them is.
    pub first_row: usize,
}

/// Who reads the stream in a block. Their inputs are copies of one value, unless a tap splits them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Readers {
    /// The query of every head, then the key of every head, then the value of every head: `3 · heads` readers. Query heads
    /// that share a key and value head read through it each for itself.
    Attention,
    /// The MLP.
    Mlp,
}

/// Looks at a run, or changes it.
pub trait Tap {
    /// Whether this tap wants to see a site.
    fn wants(&self, site: Site) -> bool;

    /// Sees the value at a site and returns what the run goes on with (the value itself to leave it alone).
    /// Shapes are those of [`pellucid_core::Shape`], f32. The shape must not change.
    fn visit(&mut self, at: Place<'_>, x: Tensor) -> Result<Tensor>;

    /// Whether this tap always gives back a site's value as it was. A run may then go on with it before the tap has seen it.
    fn only_looks(&self, _site: Site) -> bool {
        false
    }

    /// Who looks at a site's values piece by piece, while they are made, in place of [`Tap::visit`]: asked only where a run makes them
    /// so and nobody needs them as a whole. A tap that changes values has none.
    fn watch(&mut self, _at: Place<'_>) -> Option<Box<dyn Watch + '_>> {
        None
    }

    /// Whether this tap wants the gradient at a site in a backward pass.
    fn wants_gradient(&self, _site: Site) -> bool {
        false
    }

    /// Takes ∂metric/∂(value after `visit`) and returns ∂metric/∂(value before it).
    fn pullback(&mut self, _at: Place<'_>, gradient: Tensor) -> Result<Tensor> {
        Ok(gradient)
    }

    /// Whether all that this tap wants of the gradient at a site is its product with the value there, number by number. A run may
    /// then give it to [`Tap::product`] in place of [`Tap::pullback`].
    fn wants_product(&self, _site: Site) -> bool {
        false
    }

    /// The product of a site's value with the gradient, row-major.
    fn product(&mut self, _at: Place<'_>, _product: Vec<f32>) -> Result<()> {
        Ok(())
    }

    /// Whether every reader of the stream in a layer gets a copy of its own from [`Tap::read`]. The points
    /// `attn_in`, `mlp_in`, and those of queries, keys and values have no one value then, and are not offered.
    fn splits(&self, _layer: usize) -> bool {
        false
    }

    /// What each reader reads in place of the stream `x`, `(tokens, d_model)`, before any norm: `(readers · tokens,
    /// d_model)`, reader after reader.
    fn read(&mut self, _at: Place<'_>, readers: Readers, x: &Tensor, n_readers: usize) -> Result<Tensor> {
        Ok(match readers {
            Readers::Mlp => x.clone(),
            Readers::Attention => Tensor::cat(&vec![x; n_readers], 0)?,
        })
    }

    /// Whether a backward pass shall take the gradient of each reader's copy apart for [`Tap::read_gradient`]; the forward
    /// pass may have been split or not.
    fn wants_reads(&self, _layer: usize) -> bool {
        false
    }

    /// ∂metric/∂(what each reader read), shaped as [`Tap::read`]'s.
    fn read_gradient(&mut self, _at: Place<'_>, _readers: Readers, _gradient: &Tensor) -> Result<()> {
        Ok(())
    }

    /// Sites that must be reached; a run that cannot reach one is an error instead of an empty result.
    fn expects(&self) -> Vec<Site> {
        Vec::new()
    }
}

/// Columns that a [`Watch`] sees at a time.
pub const PANEL: usize = LANES;

/// Looks at a site's values where they were just made, in a core's own cache.
pub trait Watch: Sync {
    /// Values of one of the place's rows at the [`PANEL`] columns from `first` on, `(tokens, PANEL)`; what stands beyond the last column
    /// means nothing. Each row's every column is seen once, in any order and from any thread.
    fn see(&self, row: usize, first: usize, values: &[f32]);

    /// All was seen.
    ///
    /// # Errors
    /// Whatever the tap found wrong.
    fn end(self: Box<Self>) -> Result<()>;
}

/// Nobody looks.
impl Tap for () {
    fn wants(&self, _: Site) -> bool {
        false
    }
    fn visit(&mut self, _: Place<'_>, x: Tensor) -> Result<Tensor> {
        Ok(x)
    }
}

/// First the one, then the other: `(edits, record)` records the edited values.
impl<A: Tap, B: Tap> Tap for (A, B) {
    fn wants(&self, site: Site) -> bool {
        self.0.wants(site) || self.1.wants(site)
    }
    fn visit(&mut self, at: Place<'_>, mut x: Tensor) -> Result<Tensor> {
        if self.0.wants(at.site) {
            x = self.0.visit(at, x)?;
        }
        if self.1.wants(at.site) {
            x = self.1.visit(at, x)?;
        }
        Ok(x)
    }
    fn only_looks(&self, site: Site) -> bool {
        let (first, second) = (!self.0.wants(site), !self.1.wants(site));
        (first || self.0.only_looks(site)) && (second || self.1.only_looks(site))
    }
    /// Of the one that alone looks there.
    fn watch(&mut self, at: Place<'_>) -> Option<Box<dyn Watch + '_>> {
        match (self.0.wants(at.site), self.1.wants(at.site)) {
            (true, false) => self.0.watch(at),
            (false, true) => self.1.watch(at),
            _ => None,
        }
    }
    fn wants_gradient(&self, site: Site) -> bool {
        self.0.wants_gradient(site) || self.1.wants_gradient(site)
    }
    fn pullback(&mut self, at: Place<'_>, g: Tensor) -> Result<Tensor> {
        let g = self.1.pullback(at, g)?;
        self.0.pullback(at, g)
    }
    /// Of the one that alone wants a gradient there.
    fn wants_product(&self, site: Site) -> bool {
        match (self.0.wants_gradient(site), self.1.wants_gradient(site)) {
            (true, false) => self.0.wants_product(site),
            (false, true) => self.1.wants_product(site),
            _ => false,
        }
    }
    fn product(&mut self, at: Place<'_>, product: Vec<f32>) -> Result<()> {
        match self.0.wants_gradient(at.site) {
            true => self.0.product(at, product),
            false => self.1.product(at, product),
        }
    }
    fn splits(&self, layer: usize) -> bool {
        self.0.splits(layer) || self.1.splits(layer)
    }
    /// Only one of the two may split a layer; where both would, the second one's copies stand.
    fn read(&mut self, at: Place<'_>, readers: Readers, x: &Tensor, n_readers: usize) -> Result<Tensor> {
        if self.1.splits(at.site.layer as usize) {
            return self.1.read(at, readers, x, n_readers);
        }
        self.0.read(at, readers, x, n_readers)
    }
    fn wants_reads(&self, layer: usize) -> bool {
        self.0.wants_reads(layer) || self.1.wants_reads(layer)
    }
    fn read_gradient(&mut self, at: Place<'_>, readers: Readers, g: &Tensor) -> Result<()> {
        self.0.read_gradient(at, readers, g)?;
        self.1.read_gradient(at, readers, g)
    }
    fn expects(&self) -> Vec<Site> {
        let mut sites = self.0.expects();
        sites.extend(self.1.expects());
        sites
    }
}

impl<T: Tap + ?Sized> Tap for &mut T {
    fn wants(&self, site: Site) -> bool {
        (**self).wants(site)
    }
    fn visit(&mut self, at: Place<'_>, x: Tensor) -> Result<Tensor> {
        (**self).visit(at, x)
    }
    fn only_looks(&self, site: Site) -> bool {
        (**self).only_looks(site)
    }
    fn watch(&mut self, at: Place<'_>) -> Option<Box<dyn Watch + '_>> {
        (**self).watch(at)
    }
    fn wants_gradient(&self, site: Site) -> bool {
        (**self).wants_gradient(site)
    }
    fn pullback(&mut self, at: Place<'_>, g: Tensor) -> Result<Tensor> {
        (**self).pullback(at, g)
    }
    fn wants_product(&self, site: Site) -> bool {
        (**self).wants_product(site)
    }
    fn product(&mut self, at: Place<'_>, product: Vec<f32>) -> Result<()> {
        (**self).product(at, product)
    }
    fn splits(&self, layer: usize) -> bool {
        (**self).splits(layer)
    }
    fn read(&mut self, at: Place<'_>, readers: Readers, x: &Tensor, n_readers: usize) -> Result<Tensor> {
        (**self).read(at, readers, x, n_readers)
    }
    fn wants_reads(&self, layer: usize) -> bool {
        (**self).wants_reads(layer)
    }
    fn read_gradient(&mut self, at: Place<'_>, readers: Readers, g: &Tensor) -> Result<()> {
        (**self).read_gradient(at, readers, g)
    }
    fn expects(&self) -> Vec<Site> {
        (**self).expects()
    }
}

/// Keeps the values (and, in a backward pass, the gradients) at the sites it is given.
///
/// Over several passes of one run (a generation), values are kept one after the other, as they came.
#[derive(Debug, Default)]
pub struct Record {
    values: BTreeMap<Site, Vec<Tensor>>,
    gradients: BTreeMap<Site, Vec<Tensor>>,
    with_gradients: bool,
}

impl Record {
    /// Keeps the values at these sites.
    pub fn new(sites: impl IntoIterator<Item = Site>) -> Self {
        let values = sites.into_iter().map(|s| (s, Vec::new())).collect();
        Record { values, ..Record::default() }
    }

    /// Keeps values and gradients at these sites.
    pub fn with_gradients(sites: impl IntoIterator<Item = Site>) -> Self {
        Record { with_gradients: true, ..Record::new(sites) }
    }

    /// The recorded sites, in order of layer.
    pub fn sites(&self) -> impl Iterator<Item = Site> + '_ {
        self.values.keys().copied()
    }

    /// The value at a site: `(tokens, …)` over all rows and passes together; at the attention points use
    /// [`Record::parts`], since each row has its own shape.
    ///
    /// # Errors
    /// If the site was not recorded or not reached.
    pub fn value(&self, site: Site) -> Result<Tensor> {
        joined(&self.values, site)
    }

    /// The values at a site as they came: one tensor a pass, and one a row at the attention points.
    pub fn parts(&self, site: Site) -> &[Tensor] {
        self.values.get(&site).map_or(&[], Vec::as_slice)
    }

    /// The gradient at a site, shaped as the value.
    ///
    /// # Errors
    /// If no backward pass reached the site.
    pub fn gradient(&self, site: Site) -> Result<Tensor> {
        joined(&self.gradients, site)
    }
}

fn joined(parts: &BTreeMap<Site, Vec<Tensor>>, site: Site) -> Result<Tensor> {
    match parts.get(&site).map(Vec::as_slice) {
        Some([one]) => Ok(one.clone()),
        Some(many) if !many.is_empty() => Ok(Tensor::cat(many, 0)?),
        _ => Err(Error::NotReached { site, why: "nothing was recorded there".to_owned() }),
    }
}

impl Tap for Record {
    fn wants(&self, site: Site) -> bool {
        self.values.contains_key(&site)
    }
    fn visit(&mut self, at: Place<'_>, x: Tensor) -> Result<Tensor> {
        if let Some(kept) = self.values.get_mut(&at.site) {
            kept.push(x.clone());
        }
        Ok(x)
    }
    fn only_looks(&self, _: Site) -> bool {
        true
    }
    fn wants_gradient(&self, site: Site) -> bool {
        self.with_gradients && self.wants(site)
    }
    fn pullback(&mut self, at: Place<'_>, g: Tensor) -> Result<Tensor> {
        if self.wants_gradient(at.site) {
            self.gradients.entry(at.site).or_default().push(g.clone());
        }
        Ok(g)
    }
    fn expects(&self) -> Vec<Site> {
        self.values.keys().copied().collect()
    }
}
