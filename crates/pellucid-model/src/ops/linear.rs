//! Linear layers with frozen weights: `x Wᵀ + b`, and the gradient with respect to `x` alone.
//!
//! Weights are stored as f32, bf16, f16 or as in the file; the arithmetic is f32 whatever they are stored as, unless
//! [`Precision::Fast`] is asked for.

use super::packed::Packed;
use super::products::{multiply_activated, on_tiles_back, product_back, products};
use super::tiled_back::multiply_back;
use super::{Precision, tensor, tiled, with_slice, with_slices};
use crate::Result;
use crate::spec::Activation;
use candle_core::Tensor;
use rayon::prelude::*;
use std::ops::Range;
use std::sync::Arc;

/// A linear layer's parameters.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    /// `(out, in)`.
    pub(crate) weight: Arc<Packed>,
    /// `(out)`.
    pub(crate) bias: Option<Vec<f32>>,
    /// Of the product, forward and backward.
    pub(crate) precision: Precision,
}

impl Linear {
    /// From `(out, in)` weights.
    pub(crate) fn new(weight: &Tensor, bias: Option<Vec<f32>>) -> Result<Self> {
        Ok(Linear::packed(Arc::new(Packed::new(weight)?), bias))
    }

    /// From weights that are packed already.
    pub(crate) fn packed(weight: Arc<Packed>, bias: Option<Vec<f32>>) -> Self {
        Linear { weight, bias, precision: Precision::Exact }
    }

    /// Some of the outputs alone.
    pub(crate) fn only(&self, outputs: &[u32]) -> Result<Self> {
        let weight = tensor(self.weight.rows(outputs), (outputs.len(), self.weight.inner()))?;
        let bias = self.bias.as_ref().map(|b| outputs.iter().map(|&o| b[o as usize]).collect());
        Linear::new(&weight, bias)
    }

    /// The layer without its shift, in f32.
    pub(crate) fn unbiased(&self) -> Self {
        Linear { bias: None, precision: Precision::Exact, ..self.clone() }
    }
}

/// `(tokens, in)` to `(tokens, out)`.
pub(crate) fn linear(x: &Tensor, layer: &Linear) -> Result<Tensor> {
    shifted(tiled::only(products(x, &[&layer.weight], layer.precision)?), x.dim(0)?, layer)
}

/// [`linear`] of several layers that read the same; those of one precision are taken together.
pub(crate) fn linears(x: &Tensor, layers: &[&Linear]) -> Result<Vec<Tensor>> {
    let mut precisions = layers.iter().map(|layer| layer.precision);
    let Some(precision) = precisions.next().filter(|first| precisions.all(|other| other == *first)) else {
        return layers.iter().map(|layer| linear(x, layer)).collect();
    };
    let weights: Vec<&Packed> = layers.iter().map(|l| &*l.weight).collect();
    let made = products(x, &weights, precision)?;
    made.into_iter().zip(layers).map(|(y, layer)| shifted(y, x.dim(0)?, layer)).collect()
}

/// Whether so many rows go through an MLP's layers before its activation and that itself at once ([`activated`]).
pub(crate) fn activates(rows: usize, layers: &[&Linear]) -> bool {
    let apart = |l: &&Linear| (rows == 1 && l.weight.takes_a_row(l.precision)) || l.precision.rounds();
    !layers.iter().any(|layer| apart(layer) || layer.bias.is_some())
}

/// An MLP's activations, `(tokens, in)` to `(tokens, neurons)`, without the values before them: the bits of [`linears`] and
/// [`activate`](super::mlp::activate). For layers in f32 that shift nothing ([`activates`]).
pub(crate) fn activated(x: &Tensor, pre: &Linear, linear: Option<&Linear>, f: Activation) -> Result<Tensor> {
    let second = linear.map(|l| &*l.weight);
    let act = multiply_activated(x, &pre.weight, second, f)?;
    tensor(act, (x.dim(0)?, pre.weight.outer()))
}

/// Adds a layer's shift to each of its rows.
fn shifted(mut y: Vec<f32>, rows: usize, layer: &Linear) -> Result<Tensor> {
    if let Some(bias) = &layer.bias {
        let add = |row: &mut [f32]| row.iter_mut().zip(bias).for_each(|(o, b)| *o += b);
        y.par_chunks_mut(bias.len().max(1)).for_each(add);
    }
    tensor(y, (rows, layer.weight.outer()))
}

/// Gradient of [`linear`] with respect to its input: `g W`.
pub(crate) fn linear_back(g: &Tensor, layer: &Linear) -> Result<Tensor> {
    product_back(g, &layer.weight, layer.precision)
}

/// The sum of [`linear_back`] over three layers that read the same, in order: of each its gradient.
pub(crate) fn linears_back(all: [(&Tensor, &Linear); 3]) -> Result<Tensor> {
    let rows = all[0].0.dim(0)?;
    if on_tiles_back(rows) && all.iter().all(|(_, layer)| layer.precision.rounds()) {
        let back = with_slices(all.map(|(g, _)| g), |g| {
            let layers: Vec<(&Packed, &[f32])> =
                all.iter().zip(g).map(|((_, layer), g)| (&*layer.weight, g)).collect();
            multiply_back(&layers)
        })?;
        return tensor(back, (rows, all[0].1.weight.inner()));
    }
    let [first, second, third] = all.map(|(g, layer)| linear_back(g, layer));
    super::add(&super::add(&first?, &second?)?, &third?)
}

/// Some neighbouring outputs of [`linear`], in f32: `(tokens, in)` to `(tokens, outputs)`.
pub(crate) fn linear_outputs(x: &Tensor, layer: &Linear, outputs: Range<usize>) -> Result<Tensor> {
    let (rows, inner) = x.dims2()?;
    let mut y = with_slice(x, |x| layer.weight.multiply_part(x, outputs.clone(), 0..inner))?;
    if let Some(bias) = &layer.bias {
        let bias = &bias[outputs.clone()];
        y.chunks_exact_mut(bias.len().max(1))
            .for_each(|row| row.iter_mut().zip(bias).for_each(|(o, b)| *o += b));
    }
    tensor(y, (rows, outputs.len()))
}

/// Gradient of [`linear_outputs`] with respect to the input.
pub(crate) fn linear_outputs_back(g: &Tensor, layer: &Linear, outputs: Range<usize>) -> Result<Tensor> {
    let rows = g.dim(0)?;
    let back = with_slice(g, |g| layer.weight.multiply_back_part(g, outputs))?;
    tensor(back, (rows, layer.weight.inner()))
}

/// What some neighbouring inputs alone, `(tokens, inputs)`, add to every output, without the shift: `(tokens, out)`.
pub(crate) fn linear_inputs(x: &Tensor, layer: &Linear, inputs: Range<usize>) -> Result<Tensor> {
    let (rows, outer) = (x.dim(0)?, layer.weight.outer());
    tensor(with_slice(x, |x| layer.weight.multiply_part(x, 0..outer, inputs))?, (rows, outer))
}
