//! `Spec`: an architecture as meanings, not as code.
//!
//! One block runs every model; what differs between families is said here, and `arch/` fills it from a
//! configuration file or GGUF metadata.

use crate::rope::Rope;
use pellucid_core::{HfFamily, Point, Shape, Site};

/// The kind of normalisation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NormKind {
    /// `x / sqrt(mean(x²) + ε) · w`.
    Rms,
    /// `(x − mean) / sqrt(var + ε) · w + b`.
    Layer,
}

/// Where a block normalises.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// Before attention and before the MLP.
    Pre,
    /// After attention and after the MLP, before the addition (OLMo 2).
    Post,
    /// Before and after both (Gemma 2 and 3).
    Sandwich,
}

impl Placement {
    /// Whether the block's parts read a normalised stream.
    pub fn before(self) -> bool {
        self != Placement::Post
    }
    /// Whether the block's parts are normalised before they are added.
    pub fn after(self) -> bool {
        self != Placement::Pre
    }
}

/// How queries and keys are normalised before rotary positions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum QkNorm {
    /// Each head by itself (Qwen 3, Gemma 3).
    PerHead,
    /// The whole projected vector (OLMo 2).
    Whole,
}

/// The MLP's nonlinearity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Activation {
    /// `x σ(x)`.
    Silu,
    /// `x Φ(x)`, by the error function.
    Gelu,
    /// `x Φ(x)`, by the usual tanh approximation.
    GeluTanh,
    /// `max(x, 0)`.
    Relu,
}

/// What attention in one layer may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LayerAttention {
    /// Which of the model's rotary tables it uses; none means no positions (NoPE).
    pub rope: Option<usize>,
    /// How many positions back it sees, itself included; none means all.
    pub window: Option<usize>,
}

/// A model's architecture.
#[derive(Clone, Debug, PartialEq)]
pub struct Spec {
    /// The family's name, as Hugging Face's `model_type` has it.
    pub architecture: String,
    /// Number of blocks.
    pub n_layers: usize,
    /// Width of the residual stream.
    pub d_model: usize,
    /// Query heads.
    pub n_heads: usize,
    /// Key and value heads.
    pub n_kv_heads: usize,
    /// Width of a head; not always `d_model / n_heads`.
    pub head_dim: usize,
    /// Neurons per layer.
    pub d_mlp: usize,
    /// Rows of the unembedding.
    pub vocabulary: usize,
    /// Longest text, in tokens.
    pub context: usize,
    /// Kind of the norms on the stream.
    pub norm: NormKind,
    /// ε of the norms.
    pub norm_eps: f64,
    /// Where the norms stand.
    pub placement: Placement,
    /// Attention and MLP both read the block's input.
    pub parallel: bool,
    /// Normalisation of queries and keys.
    pub qk_norm: Option<QkNorm>,
    /// Rotary tables.
    pub ropes: Vec<Rope>,
    /// What each layer's attention sees.
    pub attention: Vec<LayerAttention>,
    /// A learned vector is added for each position.
    pub learned_positions: bool,
    /// Factor on query-key products.
    pub attn_scale: f32,
    /// `c·tanh(x/c)` on attention scores.
    pub attn_softcap: Option<f32>,
    /// `c·tanh(x/c)` on logits.
    pub final_softcap: Option<f32>,
    /// The MLP's nonlinearity.
    pub activation: Activation,
    /// The MLP multiplies the nonlinearity by a second projection.
    pub gated: bool,
    /// Factor on token embeddings.
    pub embed_scale: f32,
    /// How Hugging Face names the modules.
    pub hf_family: HfFamily,
}

impl Spec {
    /// Whether the model has this point at all; if not, why.
    pub fn lacks(&self, point: Point) -> Option<&'static str> {
        match point {
            Point::QNormIn | Point::QNormOut | Point::KNormIn | Point::KNormOut if self.qk_norm.is_none() => {
                Some("it has no query and key norms")
            }
            Point::ResidMid if self.parallel => Some("its attention and MLP run in parallel"),
            Point::MlpPreLinear if !self.gated => Some("its MLP is not gated"),
            _ => None,
        }
    }

    /// Every site of the model, in the order in which a run reaches them.
    pub fn sites(&self) -> Vec<Site> {
        let has = |p: &Point| self.lacks(*p).is_none();
        let per_layer: Vec<Point> =
            Point::ALL.iter().copied().filter(|p| p.per_layer()).filter(has).collect();
        let layers = (0..self.n_layers).flat_map(|l| per_layer.iter().map(move |&p| Site::new(p, l)));
        std::iter::once(Site::new(Point::Embeddings, 0))
            .chain(layers)
            .chain([Site::new(Point::FinalNorm, 0), Site::new(Point::LmHead, 0)])
            .collect()
    }

    /// Number of heads at a point whose tensor has a head axis.
    pub fn heads_at(&self, point: Point) -> Option<usize> {
        match point.shape() {
            Shape::Heads | Shape::Attention => Some(self.n_heads),
            Shape::KvHeads => Some(self.n_kv_heads),
            _ => None,
        }
    }

    /// Number of coordinates per token at a point; none at the attention points, whose width is the text's.
    pub fn width_at(&self, point: Point) -> Option<usize> {
        match point.shape() {
            Shape::Stream => Some(self.d_model),
            Shape::Heads => Some(self.n_heads * self.head_dim),
            Shape::KvHeads => Some(self.n_kv_heads * self.head_dim),
            Shape::Mlp => Some(self.d_mlp),
            Shape::Vocabulary => Some(self.vocabulary),
            Shape::Attention => None,
        }
    }
}
