//! Applying rotary positions, and its backward (the same rotation the other way).

use super::sheet::made;
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

/// Rotates the first `dim` coordinates of each head of `(tokens, heads, head_dim)`, pairing `i` with
/// `i + dim/2`; `back` turns the other way, which is the gradient.
pub(crate) fn rotate(x: &Tensor, angles: &Angles, back: bool) -> Result<Tensor> {
    let (_, heads, head_dim) = x.dims3()?;
    let half = angles.dim / 2;
    let sign = if back { -1.0 } else { 1.0 };
    let out = with_slice(x, |x| {
        let width = heads * head_dim;
        let tokens = rows_per_task(x.len() / width, width);
        made(x.len(), tokens * width, |from, out| {
            out.copy_from_slice(&x[from..from + out.len()]);
            for (t, token) in out.chunks_exact_mut(width).enumerate() {
                let at = (from / width + t) * half;
                let (cos, sin) = (&angles.cos[at..at + half], &angles.sin[at..at + half]);
                for head in token.chunks_exact_mut(head_dim) {
                    simd::turn(head, cos, sin, sign);
                }
            }
        })
    })?;
    tensor(out, x.shape())
}
