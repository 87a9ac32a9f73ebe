//! How the same places are called in TransformerLens and in Hugging Face `transformers`.
//!
//! TransformerLens names are those of its hook points (`blocks.3.mlp.hook_post`). Hugging Face has no names
//! for tensors, only for modules, so a place is a module with `.input` or `.output`
//! (`model.layers.3.mlp.down_proj.input`); module names differ by family, hence [`HfFamily`].

use crate::{Point, Site};

/// How a family of Hugging Face models names its modules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HfFamily {
    /// `model.layers.N.self_attn…`: llama and everything shaped after it.
    Llama,
    /// The llama names with Gemma 2's and 3's four norms, where `post_attention_layernorm` stands after
    /// attention's output and not before the MLP.
    Sandwich,
    /// `transformer.h.N…`: GPT-2.
    Gpt2,
    /// `gpt_neox.layers.N…`: GPT-NeoX and Pythia.
    NeoX,
}

impl HfFamily {
    const ALL: [HfFamily; 4] = [HfFamily::Llama, HfFamily::Sandwich, HfFamily::Gpt2, HfFamily::NeoX];

    fn layers(self) -> &'static str {
        match self {
            HfFamily::Llama | HfFamily::Sandwich => "model.layers",
            HfFamily::Gpt2 => "transformer.h",
            HfFamily::NeoX => "gpt_neox.layers",
        }
    }
}

/// The TransformerLens hook name of a site, where it has one.
pub fn transformer_lens_name(site: Site) -> Option<String> {
    let suffix = match site.point {
        Point::Embeddings => return Some("hook_embed".to_owned()),
        Point::FinalNorm => return Some("unembed.hook_in".to_owned()),
        Point::LmHead => return Some("unembed.hook_out".to_owned()),
        point => transformer_lens_suffix(point)?,
    };
    Some(format!("blocks.{}.{suffix}", site.layer))
}

fn transformer_lens_suffix(point: Point) -> Option<&'static str> {
    Some(match point {
        Point::ResidPre => "hook_resid_pre",
        Point::AttnIn => "attn.hook_in",
        Point::QNormIn => "attn.q_norm.hook_in",
        Point::QNormOut => "attn.q_norm.hook_out",
        Point::KNormIn => "attn.k_norm.hook_in",
        Point::KNormOut => "attn.k_norm.hook_out",
        Point::Value => "attn.hook_v",
        Point::AttnScores => "attn.hook_attn_scores",
        Point::AttnProbs => "attn.hook_pattern",
        Point::Z => "attn.hook_z",
        Point::AttnOut => "attn.hook_out",
        Point::AttnOutPost => "hook_attn_out",
        Point::ResidMid => "hook_resid_mid",
        Point::MlpIn => "mlp.hook_in",
        Point::MlpPre => "mlp.hook_pre",
        Point::MlpPreLinear => "mlp.hook_pre_linear",
        Point::MlpAct => "mlp.hook_post",
        Point::MlpOut => "mlp.hook_out",
        Point::MlpOutPost => "hook_mlp_out",
        Point::ResidPost => "hook_resid_post",
        Point::Embeddings | Point::FinalNorm | Point::LmHead => return None,
    })
}

/// The Hugging Face module and side of a site, where one module's input or output is exactly that tensor.
pub fn hugging_face_name(site: Site, family: HfFamily) -> Option<String> {
    let once = match (site.point, family) {
        (Point::Embeddings, HfFamily::Llama | HfFamily::Sandwich) => Some("model.embed_tokens.output"),
        (Point::Embeddings, HfFamily::Gpt2) => Some("transformer.wte.output"),
        (Point::Embeddings, HfFamily::NeoX) => Some("gpt_neox.embed_in.output"),
        (Point::FinalNorm, HfFamily::NeoX) => Some("embed_out.input"),
        (Point::FinalNorm, _) => Some("lm_head.input"),
        (Point::LmHead, HfFamily::NeoX) => Some("embed_out.output"),
        (Point::LmHead, _) => Some("lm_head.output"),
        _ => None,
    };
    if let Some(name) = once {
        return Some(name.to_owned());
    }
    let suffix = hugging_face_suffix(site.point, family)?;
    Some(format!("{}.{}{suffix}", family.layers(), site.layer))
}

fn hugging_face_suffix(point: Point, family: HfFamily) -> Option<&'static str> {
    use HfFamily::{Gpt2, Llama, NeoX, Sandwich};
    Some(match (point, family) {
        (Point::ResidPre, _) => ".input",
        (Point::ResidPost, _) => ".output",
        (Point::AttnIn, Llama | Sandwich) => ".self_attn.q_proj.input",
        (Point::AttnIn, Gpt2) => ".attn.c_attn.input",
        (Point::AttnIn, NeoX) => ".attention.query_key_value.input",
        (Point::QNormIn, Llama | Sandwich) => ".self_attn.q_norm.input",
        (Point::QNormOut, Llama | Sandwich) => ".self_attn.q_norm.output",
        (Point::KNormIn, Llama | Sandwich) => ".self_attn.k_norm.input",
        (Point::KNormOut, Llama | Sandwich) => ".self_attn.k_norm.output",
        (Point::Value, Llama | Sandwich) => ".self_attn.v_proj.output",
        (Point::Z, Llama | Sandwich) => ".self_attn.o_proj.input",
        (Point::Z, Gpt2) => ".attn.c_proj.input",
        (Point::Z, NeoX) => ".attention.dense.input",
        (Point::AttnOut, Llama | Sandwich) => ".self_attn.o_proj.output",
        (Point::AttnOut, Gpt2) => ".attn.c_proj.output",
        (Point::AttnOut, NeoX) => ".attention.dense.output",
        (Point::AttnOutPost, Sandwich) => ".post_attention_layernorm.output",
        (Point::ResidMid, Llama) => ".post_attention_layernorm.input",
        (Point::ResidMid, Sandwich) => ".pre_feedforward_layernorm.input",
        (Point::ResidMid, Gpt2) => ".ln_2.input",
        (Point::MlpIn, Llama | Sandwich) => ".mlp.gate_proj.input",
        (Point::MlpIn, Gpt2) => ".mlp.c_fc.input",
        (Point::MlpIn, NeoX) => ".mlp.dense_h_to_4h.input",
        (Point::MlpPre, Llama | Sandwich) => ".mlp.gate_proj.output",
        (Point::MlpPre, Gpt2) => ".mlp.c_fc.output",
        (Point::MlpPre, NeoX) => ".mlp.dense_h_to_4h.output",
        (Point::MlpPreLinear, Llama | Sandwich) => ".mlp.up_proj.output",
        (Point::MlpAct, Llama | Sandwich) => ".mlp.down_proj.input",
        (Point::MlpAct, Gpt2) => ".mlp.c_proj.input",
        (Point::MlpAct, NeoX) => ".mlp.dense_4h_to_h.input",
        (Point::MlpOut, Llama | Sandwich) => ".mlp.down_proj.output",
        (Point::MlpOut, Gpt2) => ".mlp.c_proj.output",
        (Point::MlpOut, NeoX) => ".mlp.dense_4h_to_h.output",
        (Point::MlpOutPost, Sandwich) => ".post_feedforward_layernorm.output",
        _ => return None,
    })
}

/// Reads a TransformerLens or Hugging Face spelling; none if it is neither.
pub(crate) fn site_from_foreign(text: &str) -> Option<Site> {
    // The layer is the first path part that is a number; names without one are compared with layer 0.
    let layer = text.split('.').find_map(|part| part.parse::<u32>().ok()).unwrap_or(0);
    Point::ALL.iter().map(|&point| Site { layer: if point.per_layer() { layer } else { 0 }, point }).find(
        |&site| {
            transformer_lens_name(site).as_deref() == Some(text)
                || HfFamily::ALL.iter().any(|&f| hugging_face_name(site, f).as_deref() == Some(text))
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_names_are_read_back() {
        let cases = [
            ("blocks.3.mlp.hook_post", Site::new(Point::MlpAct, 3)),
            ("blocks.11.hook_resid_pre", Site::new(Point::ResidPre, 11)),
            ("model.layers.3.mlp.down_proj.input", Site::new(Point::MlpAct, 3)),
            ("transformer.h.2.attn.c_proj.input", Site::new(Point::Z, 2)),
            ("gpt_neox.layers.5.mlp.dense_4h_to_h.input", Site::new(Point::MlpAct, 5)),
            ("lm_head.output", Site::new(Point::LmHead, 0)),
        ];
        for (text, site) in cases {
            assert_eq!(text.parse::<Site>(), Ok(site), "{text}");
        }
    }

    #[test]
    fn no_two_points_share_a_name() {
        let mut seen = std::collections::BTreeMap::new();
        for &point in Point::ALL {
            let site = Site::new(point, 1);
            if let Some(name) = transformer_lens_name(site) {
                assert_eq!(seen.insert(name.clone(), site), None, "{name}");
            }
        }
    }
}
