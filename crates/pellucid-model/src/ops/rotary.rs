//! Applying rotary positions, and its backward (the same rotation the other way).

use super::sheet::changed;
use super::{rows_per_task, simd, tensor, with_slice};
use crate::Result;
use candle_core::Tensor;

/// Cosines and sines for each token, `(tokens, dim / 2)` each.
#[derive(Clone, Debug)]
pub(crate) struct Angles {
    /// Cosines times the table's factor.
    pub(crate) cos: Vec<f32>,
    /// Sines times the table's factor.
    pub(crate) sin: Vec<f32>,
    /// Rotated coordinates of each head.
    pub(crate) dim: usize,
}

impl Angles {
    /// Turns a token's heads, the other way if `sign` is −1.
    pub(super) fn turn(&self, token: usize, heads: &mut [f32], head_dim: usize, sign: f32) {
        let half = self.dim / 2;
        let here = token * half..(token + 1) * half;
        for head in heads.chunks_exact_mut(head_dim) {
            simd::turn(head, &self.cos[here.clone()], &self.sin[here.clone()], sign);
        }
    }
}

/// Rotates the first `dim` coordinates of each head of `(tokens, heads, head_dim)`, pairing `i` with
/// `i + dim/2`; `back` turns the other way, which is the gradient. The angles of the first token are those of token `first`.
pub(crate) fn rotate(x: &Tensor, angles: &Angles, first: usize, back: bool) -> Result<Tensor> {
    let (_, heads, head_dim) = x.dims3()?;
    let sign = if back { -1.0 } else { 1.0 };
    let out = with_slice(x, |x| {
        let width = heads * head_dim;
        let tokens = rows_per_task(x.len() / width, width);
        changed(x, tokens * width, |from, out| {
            for (t, token) in out.chunks_exact_mut(width).enumerate() {
                angles.turn(first + from / width + t, token, head_dim, sign);
            }
        })
    })?;
    tensor(out, x.shape())
}
