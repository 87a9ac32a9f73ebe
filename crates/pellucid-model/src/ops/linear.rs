//! Linear layers with frozen weights: `x Wᵀ + b`, and the gradient with respect to `x` alone.
//!
//! Weights are stored as f32, bf16 or f16; the arithmetic is f32 whatever they are stored as.

use super::matmul::{Matrix, product};
use super::{simd, tensor, with_slice};
use crate::Result;
use candle_core::{CpuStorage, Storage, Tensor};
use rayon::prelude::*;

/// A linear layer's parameters.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    /// `(out, in)`, contiguous.
    pub(crate) weight: Tensor,
    /// `(out)`.
    pub(crate) bias: Option<Vec<f32>>,
}

/// Up to this many rows, each output is an inner product read straight from the stored weights; beyond, a
/// matrix product. Decoding is bound by reading the weights once.
const FEW_ROWS: usize = 4;

/// `(tokens, in)` to `(tokens, out)`.
pub(crate) fn linear(x: &Tensor, layer: &Linear) -> Result<Tensor> {
    let (rows, inner) = x.dims2()?;
    let (outer, _) = layer.weight.dims2()?;
    let mut y = if rows <= FEW_ROWS {
        few_rows(x, &layer.weight)?
    } else {
        let weight = widened(&layer.weight)?;
        with_slice(x, |x| {
            with_slice(&weight, |w| product(Matrix::rows(x, inner), Matrix::rows(w, inner).transposed()))
        })??
    };
    if let Some(bias) = &layer.bias {
        y.par_chunks_mut(outer).for_each(|row| row.iter_mut().zip(bias).for_each(|(o, b)| *o += b));
    }
    tensor(y, (rows, outer))
}

/// Gradient of [`linear`] with respect to its input: `g W`.
pub(crate) fn linear_back(g: &Tensor, layer: &Linear) -> Result<Tensor> {
    let (rows, outer) = g.dims2()?;
    let inner = layer.weight.dim(1)?;
    let weight = widened(&layer.weight)?;
    let out =
        with_slice(g, |g| with_slice(&weight, |w| product(Matrix::rows(g, outer), Matrix::rows(w, inner))))??;
    tensor(out, (rows, inner))
}

/// The weight as f32; a copy only where it is stored narrower.
fn widened(weight: &Tensor) -> Result<Tensor> {
    let (storage, layout) = weight.storage_and_layout();
    let count = layout.shape().elem_count();
    let start = layout.start_offset();
    let values = match &*storage {
        Storage::Cpu(CpuStorage::BF16(w)) => widen(&w[start..start + count]),
        Storage::Cpu(CpuStorage::F16(w)) => widen(&w[start..start + count]),
        _ => return Ok(weight.clone()),
    };
    tensor(values, layout.shape())
}

fn widen<T: Narrow>(w: &[T]) -> Vec<f32> {
    let mut out = vec![0f32; w.len()];
    out.par_chunks_mut(1 << 16).zip(w.par_chunks(1 << 16)).for_each(|(o, w)| T::widen_into(w, o));
    out
}

/// A type that weights are stored as.
trait Narrow: Sync {
    fn widen_into(from: &[Self], to: &mut [f32])
    where
        Self: Sized;
}

impl Narrow for half::bf16 {
    fn widen_into(from: &[Self], to: &mut [f32]) {
        for (t, f) in to.iter_mut().zip(from) {
            *t = f.to_f32();
        }
    }
}

impl Narrow for half::f16 {
    fn widen_into(from: &[Self], to: &mut [f32]) {
        half::slice::HalfFloatSliceExt::convert_to_f32_slice(from, to);
    }
}

/// `(rows, outer)`.
fn few_rows(x: &Tensor, weight: &Tensor) -> Result<Vec<f32>> {
    let (rows, inner) = x.dims2()?;
    let (outer, _) = weight.dims2()?;
    let (storage, layout) = weight.storage_and_layout();
    let (start, count) = (layout.start_offset(), outer * inner);
    let by_row = with_slice(x, |x| match &*storage {
        Storage::Cpu(CpuStorage::F32(w)) => Ok(products(x, &w[start..start + count], rows, inner)),
        Storage::Cpu(CpuStorage::BF16(w)) => Ok(narrow_products(x, &w[start..start + count], rows, inner)),
        Storage::Cpu(CpuStorage::F16(w)) => Ok(narrow_products(x, &w[start..start + count], rows, inner)),
        _ => Err(candle_core::Error::msg("expected f32, bf16 or f16 weights on the CPU")),
    })??;
    // (outer, rows) to (rows, outer)
    let mut out = vec![0f32; by_row.len()];
    for (j, values) in by_row.chunks_exact(rows).enumerate() {
        for (r, v) in values.iter().enumerate() {
            out[r * outer + j] = *v;
        }
    }
    Ok(out)
}

/// Weight rows that one task reads.
const BLOCK: usize = 64;

fn products(x: &[f32], w: &[f32], rows: usize, inner: usize) -> Vec<f32> {
    let mut out = vec![0f32; w.len() / inner * rows];
    out.par_chunks_mut(BLOCK * rows).zip(w.par_chunks(BLOCK * inner)).for_each(|(out, w)| {
        for (out, w) in out.chunks_exact_mut(rows).zip(w.chunks_exact(inner)) {
            for (o, x) in out.iter_mut().zip(x.chunks_exact(inner)) {
                *o = simd::dot(x, w);
            }
        }
    });
    out
}

fn narrow_products<T: Narrow>(x: &[f32], w: &[T], rows: usize, inner: usize) -> Vec<f32> {
    let mut out = vec![0f32; w.len() / inner * rows];
    out.par_chunks_mut(BLOCK * rows).zip(w.par_chunks(BLOCK * inner)).for_each(|(out, w)| {
        let mut wide = vec![0f32; inner];
        for (out, w) in out.chunks_exact_mut(rows).zip(w.chunks_exact(inner)) {
            T::widen_into(w, &mut wide);
            for (o, x) in out.iter_mut().zip(x.chunks_exact(inner)) {
                *o = simd::dot(x, &wide);
            }
        }
    });
    out
}
