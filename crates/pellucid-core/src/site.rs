//! Points and sites: the named places of a network.
//!
//! A *point* is a kind of place (`mlp_act`), a *site* is a point in a layer (`mlp_act.3`). The names are
//! the field's canonical ones; the spellings of TransformerLens and Hugging Face are accepted as input too
//! (see [`crate::transformer_lens_name`]).

use std::fmt;
use std::str::FromStr;

/// What the axes of a point's tensor mean, without the leading token axis.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// `(tokens, d_model)`: the residual stream's width.
    Stream,
    /// `(tokens, heads, head_dim)`.
    Heads,
    /// `(tokens, kv_heads, head_dim)`: keys and values may have fewer heads.
    KvHeads,
    /// `(heads, queries, keys)`, one row of a batch at a time.
    Attention,
    /// `(tokens, d_mlp)`.
    Mlp,
    /// `(tokens, vocabulary)`.
    Vocabulary,
}

macro_rules! points {
    ($($variant:ident $name:literal $shape:ident $doc:literal;)*) => {
        /// A named kind of place in a network.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Point { $(#[doc = $doc] $variant,)* }

        impl Point {
            /// Every point, in the order in which a forward pass reaches them.
            pub const ALL: &'static [Point] = &[$(Point::$variant,)*];

            /// The canonical name, e.g. `mlp_act`.
            pub fn name(self) -> &'static str {
                match self { $(Point::$variant => $name,)* }
            }

            /// What the axes of this point's tensor mean.
            pub fn shape(self) -> Shape {
                match self { $(Point::$variant => Shape::$shape,)* }
            }

            /// One sentence that says what stands here.
            pub fn doc(self) -> &'static str {
                match self { $(Point::$variant => $doc,)* }
            }
        }
    };
}

points! {
    Embeddings "embeddings" Stream "Token embeddings, after the model's embedding scale and before learned positions.";
    ResidPre "resid_pre" Stream "The residual stream as a block reads it.";
    AttnIn "attn_in" Stream "What the query, key and value projections read: the stream after the input norm.";
    QNormIn "q_norm_in" Heads "Queries before the query norm (only models that have one).";
    QNormOut "q_norm_out" Heads "Queries after the query norm, before rotary positions.";
    KNormIn "k_norm_in" KvHeads "Keys before the key norm (only models that have one).";
    KNormOut "k_norm_out" KvHeads "Keys after the key norm, before rotary positions.";
    Value "value" KvHeads "Value vectors.";
    AttnScores "attn_scores" Attention "Scaled (and soft-capped) query-key products before the mask and the softmax.";
    AttnProbs "attn_probs" Attention "Attention probabilities.";
    Z "z" Heads "Each head's mix of values: the output projection's input.";
    AttnOut "attn_out" Stream "The output projection's output.";
    AttnOutPost "attn_out_post" Stream "What attention adds to the stream: `attn_out` after the block's second norm where it has one.";
    ResidMid "resid_mid" Stream "The stream between attention and MLP (absent where the two run in parallel).";
    MlpIn "mlp_in" Stream "What the MLP's projections read: the stream after the MLP's norm.";
    MlpPre "mlp_pre" Mlp "The gate projection's output (in an ungated MLP the only one), before the nonlinearity.";
    MlpPreLinear "mlp_pre_linear" Mlp "The up projection's output in a gated MLP.";
    MlpAct "mlp_act" Mlp "Neurons: the down projection's input.";
    MlpOut "mlp_out" Stream "The down projection's output.";
    MlpOutPost "mlp_out_post" Stream "What the MLP adds to the stream: `mlp_out` after the block's second norm where it has one.";
    ResidPost "resid_post" Stream "The residual stream after the block.";
    FinalNorm "final_norm" Stream "The stream after the final norm: what the unembedding reads.";
    LmHead "lm_head" Vocabulary "Logits as the model returns them, after a final soft cap where it has one.";
}

impl Point {
    /// Whether there is one such place per layer (all but `embeddings`, `final_norm` and `lm_head`).
    pub fn per_layer(self) -> bool {
        !matches!(self, Point::Embeddings | Point::FinalNorm | Point::LmHead)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that should have named a point, a site or a unit, and did not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The point's name is unknown.
    #[error("unknown point {found:?}; points are: {}", point_list())]
    Point {
        /// What was written.
        found: String,
    },
    /// A layer number is missing or is no number.
    #[error("{found:?} names no layer; write the point and the layer, e.g. {}.3", point)]
    Layer {
        /// What was written.
        found: String,
        /// The point that was recognised.
        point: Point,
    },
    /// A point that exists once was given a layer.
    #[error("{point} exists once, not per layer; write it without a number (found {found:?})")]
    NotPerLayer {
        /// What was written.
        found: String,
        /// The point that was recognised.
        point: Point,
    },
    /// A unit's index is malformed.
    #[error(
        "{found:?} is not a unit; write site/index, e.g. mlp_act.3/1054, mlp_act.3/1054+ or z.3/h5 for a head"
    )]
    Unit {
        /// What was written.
        found: String,
    },
}

fn point_list() -> String {
    Point::ALL.iter().map(|p| p.name()).collect::<Vec<_>>().join(" ")
}

impl FromStr for Point {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let found = Point::ALL.iter().copied().find(|p| p.name() == text);
        found.ok_or_else(|| NameError::Point { found: text.to_owned() })
    }
}

/// A point in a layer, written `mlp_act.3`; the three points that exist once are written without a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Site {
    /// Layer, counted from 0; 0 for the points that exist once.
    pub layer: u32,
    /// What stands there.
    pub point: Point,
}

impl Site {
    /// A site; the layer of a point that exists once is ignored.
    pub fn new(point: Point, layer: usize) -> Self {
        let layer = if point.per_layer() { u32::try_from(layer).unwrap_or(u32::MAX) } else { 0 };
        Self { layer, point }
    }
}

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.point.per_layer() { write!(f, "{}.{}", self.point, self.layer) } else { self.point.fmt(f) }
    }
}

impl FromStr for Site {
    type Err = NameError;

    /// Reads `mlp_act.3`, a TransformerLens name such as `blocks.3.mlp.hook_post`, or a Hugging Face
    /// module with `.input` or `.output`, such as `model.layers.3.mlp.down_proj.input`.
    fn from_str(text: &str) -> Result<Self, NameError> {
        if let Some(site) = crate::names::site_from_foreign(text) {
            return Ok(site);
        }
        let (name, layer) = match text.split_once('.') {
            Some((name, layer)) => (name, Some(layer)),
            None => (text, None),
        };
        let point: Point =
            name.parse().map_err(|_: NameError| NameError::Point { found: text.to_owned() })?;
        match (point.per_layer(), layer) {
            (false, None) => Ok(Site::new(point, 0)),
            (false, Some(_)) => Err(NameError::NotPerLayer { found: text.to_owned(), point }),
            (true, layer) => {
                let number = layer.and_then(|l| l.parse::<u32>().ok());
                let layer = number.ok_or_else(|| NameError::Layer { found: text.to_owned(), point })?;
                Ok(Self { layer, point })
            }
        }
    }
}

impl serde::Serialize for Site {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

impl<'de> serde::Deserialize<'de> for Site {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        let text = String::deserialize(from)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_site_survives_its_own_spelling() {
        for &point in Point::ALL {
            let site = Site::new(point, 7);
            assert_eq!(site.to_string().parse::<Site>(), Ok(site));
        }
    }

    #[test]
    fn wrong_names_say_what_was_expected() {
        assert!("mlp_act".parse::<Site>().unwrap_err().to_string().contains("names no layer"));
        assert!("mlp_akt.3".parse::<Site>().unwrap_err().to_string().contains("mlp_act"));
        assert!("lm_head.3".parse::<Site>().unwrap_err().to_string().contains("exists once"));
        assert!("mlp_act.-1".parse::<Site>().is_err());
    }
}
