//! Every operation of the forward and backward pass, on f32 tensors on the CPU.
//!
//! Each has a plain definition in `plain.rs`, written with tensor primitives, and a fast form here that the
//! tests hold equal to it; each backward is checked against automatic differentiation of the plain form and
//! against finite differences. The loops that know no tensors are in `pellucid-kernels`.

pub(crate) mod attention;
mod attention_back;
pub(crate) mod attention_text;
mod attention_tiled;
pub(crate) mod blocks;
pub(crate) mod linear;
pub(crate) mod mlp;
pub(crate) mod norm;
pub(crate) mod packed;
#[cfg(test)]
mod plain;
mod products;
pub(crate) mod rotary;
pub(crate) mod simd;
pub(crate) mod tiled;
pub(crate) mod tiled_back;

use crate::Result;
use candle_core::{CpuStorage, Device, Layout, Shape, Storage, Tensor};
pub use pellucid_kernels::{Precision, fast_is_quicker};
pub(crate) use pellucid_kernels::{kernel, pages, sheet};
use rayon::prelude::*;

/// How a backward pass treats the parts that are not linear.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// Norm scales are held constant.
    pub hold_norm_scale: bool,
    /// Attention probabilities are held constant.
    pub hold_attention: bool,
    /// `f(x)` is read as `x · (f(x)/x)` with the ratio held constant.
    pub ratio_activation: bool,
    /// A product's gradient is shared half and half between its factors.
    pub half_products: bool,
}

impl Rules {
    /// The true gradient.
    pub const EXACT: Rules = Rules {
        hold_norm_scale: false,
        hold_attention: false,
        ratio_activation: false,
        half_products: false,
    };
    /// RelP (Jafari et al. 2025, arXiv 2508.21258; the rules of layer-wise relevance propagation as a
    /// modified gradient): the model becomes homogeneous of degree one in its embeddings.
    pub const RELP: Rules =
        Rules { hold_norm_scale: true, hold_attention: true, ratio_activation: true, half_products: true };

    /// How much of a product's gradient each factor gets.
    fn half(self) -> f32 {
        if self.half_products { 0.5 } else { 1.0 }
    }
}

/// Memory that the layers of a backward pass use one after the other.
#[derive(Debug, Default)]
pub(crate) struct Rooms {
    heads: Vec<attention_back::HeadRoom>,
    parts: Vec<attention_back::Part>,
    pairs: Vec<Vec<kernel::Pairs>>,
}

/// Runs `f` on an f32 tensor's numbers, row-major; copies only if they do not lie so.
///
/// # Errors
/// If the tensor is of another type or not on the CPU.
pub fn with_slice<R>(x: &Tensor, f: impl FnOnce(&[f32]) -> R) -> Result<R> {
    with_slices([x], |[x]| f(x))
}

/// As [`with_slice`], of several tensors.
pub(crate) fn with_slices<const N: usize, R>(
    all: [&Tensor; N],
    f: impl FnOnce([&[f32]; N]) -> R,
) -> Result<R> {
    let mut held = all.map(Tensor::clone);
    for x in held.iter_mut().filter(|x| !x.is_contiguous()) {
        *x = x.contiguous()?;
    }
    let guards = held.each_ref().map(Tensor::storage_and_layout);
    let mut slices = [&[][..]; N];
    for (slice, (storage, layout)) in slices.iter_mut().zip(&guards) {
        *slice = numbers(storage, layout)?;
    }
    Ok(f(slices))
}

/// The numbers of a tensor that lies in a row from its start on.
fn numbers<'a>(storage: &'a Storage, layout: &Layout) -> Result<&'a [f32]> {
    match (storage, layout.contiguous_offsets()) {
        (Storage::Cpu(CpuStorage::F32(all)), Some((from, to))) => Ok(&all[from..to]),
        _ => Err(candle_core::Error::msg("expected f32 on the CPU").into()),
    }
}

/// A tensor from numbers.
pub(crate) fn tensor(values: Vec<f32>, shape: impl Into<Shape>) -> Result<Tensor> {
    let shape: Shape = shape.into();
    Ok(Tensor::from_vec(values, shape, &Device::Cpu)?)
}

/// Numbers that one task makes, where each is made of those at the same place.
pub(crate) const CHUNK: usize = 4 * 1024;

/// Rows of a matrix that one task works on: enough to be worth a task, few enough to share.
pub(crate) fn rows_per_task(rows: usize, width: usize) -> usize {
    let worth = (16 * 1024 / width.max(1)).max(1);
    rows.div_ceil(4 * rayon::current_num_threads()).max(worth).max(1)
}

/// `a + b`, same shape.
pub(crate) fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    let out = with_slice(a, |a| {
        with_slice(b, |b| sheet::changed(a, CHUNK, |from, out| simd::plus(out, &b[from..])))
    })??;
    tensor(out, a.shape())
}

/// `a · b`, number by number, row-major; both of the same shape.
///
/// # Errors
/// If they are not, or not f32 on the CPU.
pub fn times(a: &Tensor, b: &Tensor) -> Result<Vec<f32>> {
    if a.dims() != b.dims() {
        let why = format!("a product number by number of shapes {:?} and {:?}", a.dims(), b.dims());
        return Err(candle_core::Error::msg(why).into());
    }
    with_slice(a, |a| with_slice(b, |b| sheet::changed(a, CHUNK, |from, out| simd::times(out, &b[from..]))))?
}

/// `c · tanh(x / c)`: a soft cap.
pub(crate) fn soft_cap(x: &Tensor, cap: f32) -> Result<Tensor> {
    let mut out = with_slice(x, <[f32]>::to_vec)?;
    out.par_chunks_mut(8192).for_each(|o| o.iter_mut().for_each(|v| *v = cap * (*v / cap).tanh()));
    tensor(out, x.shape())
}

/// Gradient of [`soft_cap`] by its output `y` (and, for the ratio rule, its input `x`).
pub(crate) fn soft_cap_back(x: &Tensor, y: &Tensor, g: &Tensor, cap: f32, rules: Rules) -> Result<Tensor> {
    let out = with_slice(x, |x| {
        with_slice(y, |y| {
            with_slice(g, |g| {
                let slope = |(x, y): (&f32, &f32)| {
                    if rules.ratio_activation {
                        if x.abs() < 1e-6 { 1.0 } else { y / x }
                    } else {
                        1.0 - (y / cap) * (y / cap)
                    }
                };
                g.iter().zip(x.iter().zip(y)).map(|(g, xy)| g * slope(xy)).collect::<Vec<_>>()
            })
        })
    })???;
    tensor(out, x.shape())
}

/// Rows `ids` of a table (any storage type), times `scale`, as `(ids, d)` f32.
pub(crate) fn embed(table: &packed::Packed, ids: &[u32], scale: f32) -> Result<Tensor> {
    let mut rows = table.rows(ids);
    if scale != 1.0 {
        rows.iter_mut().for_each(|v| *v *= scale);
    }
    tensor(rows, (ids.len(), table.inner()))
}
