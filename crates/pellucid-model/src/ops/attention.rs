//! Causal attention of one row with grouped heads (Vaswani et al. 2017; Ainslie et al. 2023), in three
//! steps so that a tap can stand between them: scores, probabilities, mix; with the backward of each.
//!
//! Query heads that share a key head lie below each other: `(kv_heads, group · queries, …)`. That makes
//! each step one batched matrix product without repeating keys or values.

use super::{simd, tensor, with_slice};
use crate::Result;
use candle_core::Tensor;
use rayon::prelude::*;

/// What one query may see, and how scores become probabilities.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mask {
    /// Position of the first query; keys start at position 0.
    pub(crate) start: usize,
    /// Positions back that a query sees, itself included.
    pub(crate) window: Option<usize>,
}

impl Mask {
    /// The keys that query `i` of this pass may see, of `keys` there are.
    fn allowed(self, i: usize, keys: usize) -> std::ops::Range<usize> {
        let end = (self.start + i + 1).min(keys);
        let from = self.window.map_or(0, |w| (self.start + i + 1).saturating_sub(w));
        from.min(end)..end
    }
}

/// `(queries, heads, head_dim)` to `(kv_heads, group · queries, head_dim)`.
fn by_key_head(x: &Tensor, kv_heads: usize) -> Result<Tensor> {
    let (queries, heads, dim) = x.dims3()?;
    Ok(x.transpose(0, 1)?.contiguous()?.reshape((kv_heads, heads / kv_heads * queries, dim))?)
}

/// The way back.
fn by_token(x: &Tensor, heads: usize, queries: usize) -> Result<Tensor> {
    let dim = x.dim(2)?;
    Ok(x.reshape((heads, queries, dim))?.transpose(0, 1)?.contiguous()?)
}

/// Scores `(heads, queries, keys)`: `scale · q·k`, soft-capped where the model does that; not yet masked.
/// `q` is `(queries, heads, head_dim)` and `k` is `(keys, kv_heads, head_dim)`, both after rotation.
pub(crate) fn scores(q: &Tensor, k: &Tensor, scale: f32, cap: Option<f32>) -> Result<Tensor> {
    let products = products(q, k)?;
    let mut out = with_slice(&products, <[f32]>::to_vec)?;
    out.par_chunks_mut(8192).for_each(|out| match cap {
        None => out.iter_mut().for_each(|s| *s *= scale),
        Some(cap) => out.iter_mut().for_each(|s| *s = cap * (*s * scale / cap).tanh()),
    });
    tensor(out, products.shape())
}

/// `q·k`, `(heads, queries, keys)`.
fn products(q: &Tensor, k: &Tensor) -> Result<Tensor> {
    let (queries, heads, _) = q.dims3()?;
    let (keys, kv_heads, _) = k.dims3()?;
    let grouped = by_key_head(q, kv_heads)?.matmul(&k.permute((1, 2, 0))?)?;
    Ok(grouped.reshape((heads, queries, keys))?)
}

/// Masked softmax of scores; keys that a query may not see get 0.
pub(crate) fn probabilities(scores: &Tensor, mask: Mask) -> Result<Tensor> {
    softmax(scores, mask, |seen| seen)
}

/// [`probabilities`] of [`scores`], number for number, in one pass over the part of the scores that is seen.
pub(crate) fn scores_to_probabilities(
    q: &Tensor,
    k: &Tensor,
    scale: f32,
    cap: Option<f32>,
    mask: Mask,
) -> Result<Tensor> {
    let products = products(q, k)?;
    match cap {
        None => softmax(&products, mask, |s| s * scale),
        Some(cap) => softmax(&products, mask, |s| cap * (s * scale / cap).tanh()),
    }
}

fn softmax(scores: &Tensor, mask: Mask, score: impl Fn(f32) -> f32 + Sync) -> Result<Tensor> {
    let (_, queries, keys) = scores.dims3()?;
    let out = with_slice(scores, |scores| {
        let mut out = vec![0f32; scores.len()];
        out.par_chunks_mut(keys).zip(scores.par_chunks(keys)).enumerate().for_each(|(row, (out, scores))| {
            let allowed = mask.allowed(row % queries, keys);
            let seen = &mut out[allowed.clone()];
            seen.iter_mut().zip(&scores[allowed]).for_each(|(o, s)| *o = score(*s));
            let max = seen.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let total = simd::exp_shifted(seen, max);
            seen.iter_mut().for_each(|p| *p /= total);
        });
        out
    })?;
    tensor(out, scores.shape())
}

/// Mixes values: `(heads, queries, keys)` with `(keys, kv_heads, head_dim)` to `(queries, heads, head_dim)`.
pub(crate) fn mix(probs: &Tensor, v: &Tensor) -> Result<Tensor> {
    let (heads, queries, keys) = probs.dims3()?;
    let kv_heads = v.dim(1)?;
    let grouped = probs.reshape((kv_heads, heads / kv_heads * queries, keys))?;
    by_token(&grouped.matmul(&v.transpose(0, 1)?)?, heads, queries)
}

/// Gradients of [`mix`]: with respect to the values always, to the probabilities if `need_probs`.
pub(crate) fn mix_back(
    probs: &Tensor,
    v: &Tensor,
    g: &Tensor,
    need_probs: bool,
) -> Result<(Option<Tensor>, Tensor)> {
    let (heads, queries, keys) = probs.dims3()?;
    let kv_heads = v.dim(1)?;
    let grouped = probs.reshape((kv_heads, heads / kv_heads * queries, keys))?;
    let g = by_key_head(g, kv_heads)?;
    let d_v = grouped.transpose(1, 2)?.matmul(&g)?.transpose(0, 1)?.contiguous()?;
    let d_probs = if need_probs {
        Some(g.matmul(&v.permute((1, 2, 0))?)?.reshape((heads, queries, keys))?)
    } else {
        None
    };
    Ok((d_probs, d_v))
}

/// Gradient of [`probabilities`]: `p (g − Σ g p)`; 0 where masked, since p is 0 there.
pub(crate) fn probabilities_back(probs: &Tensor, g: &Tensor) -> Result<Tensor> {
    let keys = probs.dim(2)?;
    let out = with_slice(probs, |p| {
        with_slice(g, |g| {
            let mut out = vec![0f32; p.len()];
            out.par_chunks_mut(keys).zip(p.par_chunks(keys)).zip(g.par_chunks(keys)).for_each(
                |((o, p), g)| {
                    let along = simd::dot(p, g);
                    for ((o, p), g) in o.iter_mut().zip(p).zip(g) {
                        *o = p * (g - along);
                    }
                },
            );
            out
        })
    })??;
    tensor(out, probs.shape())
}

/// Gradients of [`scores`] with respect to `q` and `k`; `capped` are the scores themselves, needed with a cap.
pub(crate) fn scores_back(
    q: &Tensor,
    k: &Tensor,
    capped: Option<&Tensor>,
    g: &Tensor,
    scale: f32,
    cap: Option<f32>,
) -> Result<(Tensor, Tensor)> {
    let (queries, heads, _) = q.dims3()?;
    let (keys, kv_heads, _) = k.dims3()?;
    let mut d = with_slice(g, <[f32]>::to_vec)?;
    match cap.zip(capped) {
        None => d.par_chunks_mut(8192).for_each(|d| d.iter_mut().for_each(|d| *d *= scale)),
        Some((cap, capped)) => with_slice(capped, |s| {
            d.par_iter_mut().zip(s).for_each(|(d, s)| *d *= scale * (1.0 - (s / cap) * (s / cap)));
        })?,
    }
    let d = tensor(d, (kv_heads, heads / kv_heads * queries, keys))?;
    let d_q = by_token(&d.matmul(&k.transpose(0, 1)?)?, heads, queries)?;
    let d_k = d.transpose(1, 2)?.matmul(&by_key_head(q, kv_heads)?)?.transpose(0, 1)?.contiguous()?;
    Ok((d_q, d_k))
}
