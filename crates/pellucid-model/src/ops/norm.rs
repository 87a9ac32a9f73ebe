//! Root-mean-square norm (Zhang & Sennrich 2019) and layer norm (Ba et al. 2016), with their backward.

use super::{Rules, rows_per_task, sheet, simd, tensor, with_slice, with_slices};
use crate::Result;
use crate::spec::NormKind;
use candle_core::Tensor;
use rayon::prelude::*;

/// A norm's parameters.
#[derive(Clone, Debug)]
pub(crate) struct Norm {
    /// Which norm.
    pub(crate) kind: NormKind,
    /// Scale, `(width)`; a family's "+1" is already in it.
    pub(crate) weight: Vec<f32>,
    /// Shift, `(width)`; layer norm only.
    pub(crate) bias: Option<Vec<f32>>,
    /// Added to the mean square.
    pub(crate) eps: f32,
}

/// Mean and `1 / sqrt(spread + ε)` of one row.
fn moments(x: &[f32], norm: &Norm) -> (f32, f32) {
    let n = x.len() as f32;
    match norm.kind {
        NormKind::Rms => (0.0, 1.0 / (simd::dot(x, x) / n + norm.eps).sqrt()),
        NormKind::Layer => {
            let mean = simd::sum(x) / n;
            let variance = x.iter().map(|v| (v - mean) * (v - mean)).sum::<f32>() / n;
            (mean, 1.0 / (variance + norm.eps).sqrt())
        }
    }
}

/// Normalises each row of the last axis; `width = weight.len()` must divide the tensor.
pub(crate) fn norm(x: &Tensor, norm: &Norm) -> Result<Tensor> {
    let d = norm.weight.len();
    let out = with_slice(x, |x| {
        sheet::changed(x, rows_per_task(x.len() / d, d) * d, |_, rows| norm_rows(rows, norm))
    })?;
    tensor(out, x.shape())
}

/// Some rows, on this thread, in their place.
pub(super) fn norm_rows(rows: &mut [f32], norm: &Norm) {
    for row in rows.chunks_exact_mut(norm.weight.len()) {
        let (mean, scale) = moments(row, norm);
        simd::standardise(row, mean, scale, &norm.weight);
        if let Some(bias) = &norm.bias {
            simd::plus(row, bias);
        }
    }
}

/// What parts of a sum add to the norm of the sum: `parts` is `(parts, tokens, width)`, and each token's scale is that of
/// `whole`, `(tokens, width)`. Together with the shift the parts make the norm of the whole, if they sum to it.
pub(crate) fn part_of(parts: &Tensor, whole: &Tensor, norm: &Norm) -> Result<Vec<f32>> {
    let d = norm.weight.len();
    let scales: Vec<f32> = with_slice(whole, |w| w.chunks_exact(d).map(|x| moments(x, norm).1).collect())?;
    with_slice(parts, |parts| {
        let mut out = parts.to_vec();
        out.par_chunks_mut(d).enumerate().for_each(|(i, part)| {
            let scale = scales[i % scales.len()];
            let mean = if norm.kind == NormKind::Layer { simd::sum(part) / d as f32 } else { 0.0 };
            part.iter_mut().zip(&norm.weight).for_each(|(v, w)| *v = (*v - mean) * scale * w);
        });
        out
    })
}

/// Gradient of [`norm`] at input `x`: with u = g·w and x̂ the normalised input, `s (u − mean(u)·[layer] −
/// x̂ mean(u x̂))`; the last term falls away when the scale is held constant.
pub(crate) fn norm_back(x: &Tensor, norm: &Norm, g: &Tensor, rules: Rules) -> Result<Tensor> {
    norm_back_onto(x, norm, g, None, rules)
}

/// As [`norm_back`], added to another gradient where there is one.
pub(crate) fn norm_back_onto(
    x: &Tensor,
    norm: &Norm,
    g: &Tensor,
    onto: Option<&Tensor>,
    rules: Rules,
) -> Result<Tensor> {
    let d = norm.weight.len();
    let out = with_slices([x, g, onto.unwrap_or(g)], |[x, g, base]| {
        sheet::changed(g, rows_per_task(x.len() / d, d) * d, |from, out| {
            let rows = x[from..].chunks_exact(d).zip(base[from..].chunks_exact(d));
            for (g, (x, base)) in out.chunks_exact_mut(d).zip(rows) {
                row_back(g, x, norm, rules);
                if onto.is_some() {
                    simd::plus(g, base);
                }
            }
        })
    })?;
    tensor(out, x.shape())
}

/// One row's gradient, in place.
fn row_back(g: &mut [f32], x: &[f32], norm: &Norm, rules: Rules) {
    let n = x.len() as f32;
    let (mean, scale) = moments(x, norm);
    simd::times(g, &norm.weight);
    let centre = if norm.kind == NormKind::Layer { simd::sum(g) / n } else { 0.0 };
    let along = if rules.hold_norm_scale { 0.0 } else { simd::dot_centred(g, x, mean) * scale * scale / n };
    simd::centred_back(g, x, [mean, scale, centre, along]);
}
