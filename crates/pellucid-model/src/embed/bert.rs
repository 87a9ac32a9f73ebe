//! The encoder of BERT (Devlin et al. 2018, arXiv 1810.04805), forward only: embeddings of word, position and
//! segment, then layers of `x = LN(x + Attn(x))`, `x = LN(x + W₂ gelu(W₁ x))`, where every token attends to every
//! token of its own row: `softmax(Q Kᵀ / √d_head) V`.

use candle_core::{D, DType, Tensor};
use rayon::prelude::*;
use serde_json::Value;

use crate::load::Checkpoint;
use crate::ops;
use crate::ops::linear::{Linear, linear};
use crate::ops::mlp::activate;
use crate::ops::norm::{Norm, norm};
use crate::ops::packed::Packed;
use crate::spec::{Activation, NormKind};
use crate::{Error, Result};

/// What `config.json` says.
#[derive(Clone, Debug)]
struct Shape {
    width: usize,
    inner: usize,
    heads: usize,
    layers: usize,
    vocabulary: usize,
    positions: usize,
    segments: usize,
    eps: f32,
}

/// The parameters.
#[derive(Debug)]
pub(super) struct Bert {
    shape: Shape,
    /// `(vocabulary, width)`.
    words: Packed,
    /// `(positions, width)`, with the first segment's vector in every row: a single text has no other segment.
    places: Packed,
    norm: Norm,
    layers: Vec<Layer>,
}

#[derive(Debug)]
struct Layer {
    /// Queries, keys and values below each other: `(3 · width, width)`.
    qkv: Linear,
    out: Linear,
    attn_norm: Norm,
    up: Linear,
    down: Linear,
    mlp_norm: Norm,
}

impl Shape {
    fn read(config: &Value) -> Result<Self> {
        let bad = |what: String| Error::Config { what };
        let word = |key: &str, absent: &'static str| match config.get(key) {
            None | Some(Value::Null) => absent.to_owned(),
            Some(value) => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
        };
        let wanted = [("model_type", "none", "bert"), ("hidden_act", "none", "gelu")];
        for (key, absent, want) in wanted.into_iter().chain([(POSITIONS, "absolute", "absolute")]) {
            let found = word(key, absent);
            if found != want {
                return Err(bad(format!("{key:?} is {found:?}, expected {want:?} for a text encoder")));
            }
        }
        let count = |key: &str| {
            let found = config.get(key).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
            found
                .filter(|n| *n > 0)
                .ok_or_else(|| bad(format!("{key:?} is missing or not a positive whole number")))
        };
        let eps = config.get("layer_norm_eps").and_then(Value::as_f64).filter(|eps| *eps >= 0.0);
        let shape = Shape {
            width: count("hidden_size")?,
            inner: count("intermediate_size")?,
            heads: count("num_attention_heads")?,
            layers: count("num_hidden_layers")?,
            vocabulary: count("vocab_size")?,
            positions: count("max_position_embeddings")?,
            segments: count("type_vocab_size")?,
            eps: eps.ok_or_else(|| bad("\"layer_norm_eps\" is missing or not a number ≥ 0".to_owned()))?
                as f32,
        };
        if !shape.width.is_multiple_of(shape.heads) {
            return Err(bad(format!(
                "\"hidden_size\" {} does not divide into {} heads",
                shape.width, shape.heads
            )));
        }
        Ok(shape)
    }
}

const POSITIONS: &str = "position_embedding_type";

/// Reads tensors and holds them against the configuration.
struct Reader<'a> {
    checkpoint: &'a Checkpoint,
    eps: f32,
}

impl Reader<'_> {
    fn shaped(&self, name: &str, shape: &[usize]) -> Result<Tensor> {
        // The header is asked first, so that nothing is converted that does not fit.
        if let Some(info) = self.checkpoint.info(name).filter(|info| info.shape != shape) {
            let (expected, found) = (shape.to_vec(), info.shape.clone());
            return Err(Error::Shape { name: name.to_owned(), expected, found });
        }
        Ok(self.checkpoint.tensor(name, DType::F32)?)
    }

    fn vector(&self, name: &str, width: usize) -> Result<Vec<f32>> {
        Ok(self.shaped(name, &[width])?.to_vec1()?)
    }

    fn norm(&self, stem: &str, width: usize) -> Result<Norm> {
        let weight = self.vector(&format!("{stem}.weight"), width)?;
        let bias = Some(self.vector(&format!("{stem}.bias"), width)?);
        Ok(Norm { kind: NormKind::Layer, weight, bias, eps: self.eps })
    }

    fn linear(&self, stem: &str, out: usize, inner: usize) -> Result<Linear> {
        let (weight, bias) = self.dense(stem, out, inner)?;
        Linear::new(&weight, Some(bias))
    }

    fn dense(&self, stem: &str, out: usize, inner: usize) -> Result<(Tensor, Vec<f32>)> {
        let weight = self.shaped(&format!("{stem}.weight"), &[out, inner])?;
        Ok((weight, self.vector(&format!("{stem}.bias"), out)?))
    }

    fn layer(&self, shape: &Shape, layer: usize) -> Result<Layer> {
        let at = |part: &str| format!("encoder.layer.{layer}.{part}");
        let (d, inner) = (shape.width, shape.inner);
        let mut weights = Vec::new();
        let mut biases = Vec::new();
        for part in ["query", "key", "value"] {
            let (weight, bias) = self.dense(&at(&format!("attention.self.{part}")), d, d)?;
            weights.push(weight);
            biases.extend(bias);
        }
        Ok(Layer {
            qkv: Linear::new(&Tensor::cat(&weights, 0)?, Some(biases))?,
            out: self.linear(&at("attention.output.dense"), d, d)?,
            attn_norm: self.norm(&at("attention.output.LayerNorm"), d)?,
            up: self.linear(&at("intermediate.dense"), inner, d)?,
            down: self.linear(&at("output.dense"), d, inner)?,
            mlp_norm: self.norm(&at("output.LayerNorm"), d)?,
        })
    }
}

impl Bert {
    /// Reads all parameters as f32; the pooler that some checkpoints carry is not used.
    pub(super) fn read(checkpoint: &Checkpoint) -> Result<Self> {
        let missing = || Error::Config { what: "there is no config.json beside the weights".to_owned() };
        let shape = Shape::read(checkpoint.config().ok_or_else(missing)?)?;
        let reader = Reader { checkpoint, eps: shape.eps };
        let d = shape.width;
        let words = reader.shaped("embeddings.word_embeddings.weight", &[shape.vocabulary, d])?;
        let places = reader.shaped("embeddings.position_embeddings.weight", &[shape.positions, d])?;
        let segments = reader.shaped("embeddings.token_type_embeddings.weight", &[shape.segments, d])?;
        let places = places.broadcast_add(&segments.narrow(0, 0, 1)?)?;
        let norm = reader.norm("embeddings.LayerNorm", d)?;
        // One by one: a configuration with a billion layers ends at the first that is not there.
        let mut layers = Vec::new();
        for layer in 0..shape.layers {
            layers.push(reader.layer(&shape, layer)?);
        }
        Ok(Bert { shape, words: Packed::new(&words)?, places: Packed::new(&places)?, norm, layers })
    }

    /// Length of a token's vector.
    pub(super) fn width(&self) -> usize {
        self.shape.width
    }

    /// Longest row.
    pub(super) fn positions(&self) -> usize {
        self.shape.positions
    }

    /// Rows of the word embedding.
    pub(super) fn vocabulary(&self) -> usize {
        self.shape.vocabulary
    }

    /// The last hidden states of several rows of token ids, below each other without padding: `(tokens, width)`.
    /// No row may be empty or longer than [`Bert::positions`].
    pub(super) fn forward(&self, rows: &[&[u32]]) -> Result<Tensor> {
        let ids = rows.concat();
        if let Some(id) = ids.iter().copied().find(|id| *id as usize >= self.shape.vocabulary) {
            return Err(Error::TokenId { id, vocabulary: self.shape.vocabulary });
        }
        // (tokens, width)
        let x = ops::add(&ops::embed(&self.words, &ids, 1.0)?, &self.places(rows)?)?;
        let mut x = norm(&x, &self.norm)?;
        let lengths: Vec<usize> = rows.iter().map(|row| row.len()).collect();
        for layer in &self.layers {
            x = layer.forward(&x, &lengths, self.shape.heads)?;
        }
        Ok(x)
    }

    /// The position vectors of all rows.
    fn places(&self, rows: &[&[u32]]) -> Result<Tensor> {
        let places: Vec<u32> = rows.iter().flat_map(|row| (0..).take(row.len())).collect();
        ops::embed(&self.places, &places, 1.0)
    }
}

impl Layer {
    /// `x`: `(tokens, width)`, rows of `lengths` tokens below each other.
    fn forward(&self, x: &Tensor, lengths: &[usize], heads: usize) -> Result<Tensor> {
        let qkv = linear(x, &self.qkv)?;
        let mut from = 0;
        let spans: Vec<(usize, usize)> = lengths
            .iter()
            .map(|length| {
                from += length;
                (from - length, *length)
            })
            .collect();
        let rows = spans.par_iter().map(|(from, length)| attention(&qkv.narrow(0, *from, *length)?, heads));
        let z = Tensor::cat(&rows.collect::<Result<Vec<_>>>()?, 0)?;
        let x = norm(&ops::add(x, &linear(&z, &self.out)?)?, &self.attn_norm)?;
        let act = activate(&linear(&x, &self.up)?, None, Activation::Gelu)?;
        norm(&ops::add(&x, &linear(&act, &self.down)?)?, &self.mlp_norm)
    }
}

/// Attention of one row to itself, all heads: `(tokens, 3 · width)` to `(tokens, width)`.
fn attention(qkv: &Tensor, heads: usize) -> Result<Tensor> {
    let (tokens, three) = qkv.dims2()?;
    let width = three / 3;
    let head = width / heads;
    // (3, heads, tokens, head)
    let parts = qkv.reshape((tokens, 3, heads, head))?.permute((1, 2, 0, 3))?.contiguous()?;
    let (q, k, v) = (parts.get(0)?, parts.get(1)?, parts.get(2)?);
    // (heads, tokens, tokens)
    let scores = (q.matmul(&k.t()?)? * (1.0 / (head as f64).sqrt()))?;
    let weights = scores.broadcast_sub(&scores.max_keepdim(D::Minus1)?)?.exp()?;
    let probs = weights.broadcast_div(&weights.sum_keepdim(D::Minus1)?)?;
    // (heads, tokens, head) to (tokens, width)
    Ok(probs.matmul(&v)?.transpose(0, 1)?.contiguous()?.reshape((tokens, width))?)
}
