//! Applying rotary positions, and its backward (the same rotation the other way).

use super::{rows_per_task, tensor, with_slice};
use crate::Result;
use candle_core::Tensor;
use rayon::prelude::*;

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

/// Rotates the first `dim` coordinates of each head of `(tokens, heads, head_dim)`, pairing `i` with
/// `i + dim/2`; `back` turns the other way, which is the gradient.
pub(crate) fn rotate(x: &Tensor, angles: &Angles, back: bool) -> Result<Tensor> {
    let (_, heads, head_dim) = x.dims3()?;
    let half = angles.dim / 2;
    let sign = if back { -1.0 } else { 1.0 };
    let out = with_slice(x, |x| {
        let mut out = x.to_vec();
        let width = heads * head_dim;
        let tokens = rows_per_task(x.len() / width, width);
        out.par_chunks_mut(tokens * width).enumerate().for_each(|(i, out)| {
            for (t, token) in out.chunks_exact_mut(width).enumerate() {
                let at = (i * tokens + t) * half;
                let (cos, sin) = (&angles.cos[at..at + half], &angles.sin[at..at + half]);
                for head in token.chunks_exact_mut(head_dim) {
                    let (a, rest) = head.split_at_mut(half);
                    for (((a, b), c), s) in a.iter_mut().zip(rest).zip(cos).zip(sin) {
                        let (x, y) = (*a, *b);
                        *a = x * c - y * s * sign;
                        *b = y * c + x * s * sign;
                    }
                }
            }
        });
        out
    })?;
    tensor(out, x.shape())
}
