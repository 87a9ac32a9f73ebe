//! The model's widths, and where each tensor lies among its parameters.

use crate::error::{Result, setting};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// Widths of a transformer of one layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Tokens of the vocabulary.
    pub vocabulary: usize,
    /// Longest text, in tokens: each position has a learned vector.
    pub context: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Attention heads; they share the stream's width equally.
    pub heads: usize,
    /// Neurons.
    pub d_mlp: usize,
}

/// The most parameters that a model may have: this is for small ones.
const MOST: u128 = 1 << 30;

impl Shape {
    /// Fails where a width is 0, heads do not divide the stream, or the model is not small.
    pub fn check(&self) -> Result<()> {
        let Shape { vocabulary, context, d_model, heads, d_mlp } = *self;
        for (what, width) in [
            ("the vocabulary", vocabulary),
            ("the context", context),
            ("d_model", d_model),
            ("the number of heads", heads),
            ("d_mlp", d_mlp),
        ] {
            if width == 0 {
                return Err(setting(what, "at least 1", width));
            }
        }
        if !d_model.is_multiple_of(heads) {
            return Err(setting("d_model", &format!("a multiple of the {heads} heads"), d_model));
        }
        let [v, c, d, m] = [vocabulary, context, d_model, d_mlp].map(|n| n as u128);
        let parameters = d.saturating_mul(2 * v + c + 4 * d + 2 * m);
        if parameters > MOST {
            return Err(setting("the model", &format!("at most {MOST} parameters"), parameters));
        }
        Ok(())
    }

    /// Width of a head.
    pub(crate) fn head(&self) -> usize {
        self.d_model / self.heads
    }

    /// Numbers that the parameters take.
    pub(crate) fn parameters(&self) -> usize {
        Places::new(self).head.end
    }

    /// Every tensor with GPT-2's name, its extents (weights are (in, out), as GPT-2's are), and its place.
    pub(crate) fn tensors(&self) -> [(&'static str, Vec<usize>, Range<usize>); 17] {
        let Shape { vocabulary: v, context: c, d_model: d, d_mlp: m, .. } = *self;
        let p = Places::new(self);
        [
            ("transformer.wte.weight", vec![v, d], p.tokens),
            ("transformer.wpe.weight", vec![c, d], p.positions),
            ("transformer.h.0.ln_1.weight", vec![d], p.norm1.weight),
            ("transformer.h.0.ln_1.bias", vec![d], p.norm1.bias),
            ("transformer.h.0.attn.c_attn.weight", vec![d, 3 * d], p.qkv.weight),
            ("transformer.h.0.attn.c_attn.bias", vec![3 * d], p.qkv.bias),
            ("transformer.h.0.attn.c_proj.weight", vec![d, d], p.mixed.weight),
            ("transformer.h.0.attn.c_proj.bias", vec![d], p.mixed.bias),
            ("transformer.h.0.ln_2.weight", vec![d], p.norm2.weight),
            ("transformer.h.0.ln_2.bias", vec![d], p.norm2.bias),
            ("transformer.h.0.mlp.c_fc.weight", vec![d, m], p.up.weight),
            ("transformer.h.0.mlp.c_fc.bias", vec![m], p.up.bias),
            ("transformer.h.0.mlp.c_proj.weight", vec![m, d], p.down.weight),
            ("transformer.h.0.mlp.c_proj.bias", vec![d], p.down.bias),
            ("transformer.ln_f.weight", vec![d], p.final_norm.weight),
            ("transformer.ln_f.bias", vec![d], p.final_norm.bias),
            ("lm_head.weight", vec![v, d], p.head),
        ]
    }
}

/// A weight and its bias.
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) weight: Range<usize>,
    pub(crate) bias: Range<usize>,
}

/// Where each tensor lies in one list of numbers.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    pub(crate) tokens: Range<usize>,
    pub(crate) positions: Range<usize>,
    pub(crate) norm1: Pair,
    pub(crate) qkv: Pair,
    pub(crate) mixed: Pair,
    pub(crate) norm2: Pair,
    pub(crate) up: Pair,
    pub(crate) down: Pair,
    pub(crate) final_norm: Pair,
    pub(crate) head: Range<usize>,
}

impl Places {
    pub(crate) fn new(shape: &Shape) -> Self {
        let Shape { vocabulary: v, context: c, d_model: d, d_mlp: m, .. } = *shape;
        let mut end = 0;
        let mut next = |length: usize| {
            let start = end;
            end += length;
            start..end
        };
        let tokens = next(v * d);
        let positions = next(c * d);
        let mut pair = |weight: usize, bias: usize| Pair { weight: next(weight), bias: next(bias) };
        let (norm1, qkv, mixed) = (pair(d, d), pair(d * 3 * d, 3 * d), pair(d * d, d));
        let (norm2, up, down) = (pair(d, d), pair(d * m, m), pair(m * d, d));
        let final_norm = pair(d, d);
        Places { tokens, positions, norm1, qkv, mixed, norm2, up, down, final_norm, head: next(v * d) }
    }
}
