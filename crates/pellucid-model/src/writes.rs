//! What a neuron writes to the stream, and which output tokens that speaks for: the direct path from weights alone.

use crate::model::Model;
use crate::ops::linear::linear;
use crate::ops::{tensor, with_slice};
use crate::readers::head_writes;
use crate::spec::NormKind;
use crate::{Error, Result};
use candle_core::Tensor;

impl Model {
    /// The vector that each neuron of a layer adds to the stream for an activation of 1: `(d_mlp, d_model)`. Where
    /// the MLP's output is normalised again before it is added (Gemma, OLMo 2) that norm's weights are in it and
    /// its scale, which depends on the text, is not.
    ///
    /// # Errors
    /// If there is no such layer.
    pub fn neuron_writes(&self, layer: usize) -> Result<Tensor> {
        let block = self.weights.blocks.get(layer).ok_or_else(|| {
            let n = self.spec.n_layers;
            Error::Request(format!("there is no layer {layer}; the model's layers are 0 to {}", n - 1))
        })?;
        let down = &block.down.weight;
        let writes = tensor(down.transposed(), (down.inner(), down.outer()))?;
        let Some(norm) = &block.mlp_post_norm else { return Ok(writes) };
        scaled(&writes, &norm.weight, false)
    }

    /// Each head's part of what attention adds to the stream in a layer, `(heads, tokens, d_model)`, from the values at
    /// `z`, `(tokens, heads, head_dim)`, and at `attn_out`, `(tokens, d_model)`. Where attention's output is normalised
    /// again before it is added, a head's part takes the scale of the whole. The parts sum to `attn_out_post`, shifts aside.
    ///
    /// # Errors
    /// If there is no such layer, or the shapes are others.
    pub fn head_writes(&self, layer: usize, z: &Tensor, attn_out: &Tensor) -> Result<Tensor> {
        let n = self.spec.n_layers;
        let Some(block) = self.weights.blocks.get(layer) else {
            return Err(Error::Request(format!(
                "there is no layer {layer}; the model's layers are 0 to {}",
                n - 1
            )));
        };
        head_writes(block, &self.spec, z, attn_out)
    }

    /// What directions in the stream `(n, d_model)` add to the logits directly, `(n, vocabulary)`: through the final
    /// norm's weights and the unembedding, without that norm's scale (a positive number that depends on the text),
    /// its shift and the soft cap.
    pub fn direct_logits(&self, directions: &Tensor) -> Result<Tensor> {
        let norm = &self.weights.final_norm;
        let normed = scaled(&directions.contiguous()?, &norm.weight, norm.kind == NormKind::Layer)?;
        linear(&normed, &self.weights.head.unbiased())
    }
}

/// Rows times `weight`, coordinate by coordinate, each row's mean taken away first if `centred`.
fn scaled(rows: &Tensor, weight: &[f32], centred: bool) -> Result<Tensor> {
    let out = with_slice(rows, |rows| {
        let mut out = rows.to_vec();
        for row in out.chunks_exact_mut(weight.len().max(1)) {
            let mean = if centred { row.iter().sum::<f32>() / weight.len() as f32 } else { 0.0 };
            row.iter_mut().zip(weight).for_each(|(v, w)| *v = (*v - mean) * w);
        }
        out
    })?;
    tensor(out, rows.shape())
}
