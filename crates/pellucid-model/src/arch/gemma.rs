//! Gemma 1, 2 and 3 (text): scaled embeddings, tanh-GELU gate, norm weights stored as `w − 1` in
//! safetensors; 2 adds sandwich norms, soft caps and alternating windows; 3 swaps the caps for query and key
//! norms and gives local layers their own rotary base.

use super::config::Config;
use super::{Design, Layout, names};
use crate::Result;
use crate::rope::{Rope, Scaling};
use crate::spec::{Activation, LayerAttention, Placement, QkNorm, Spec};
use pellucid_core::HfFamily;
use serde_json::Value;

pub(super) fn gemma(config: &Config<'_>) -> Result<Design> {
    let mut spec = config.base(HfFamily::Llama)?;
    spec.ropes = vec![config.rope(&spec)?];
    spec.attention.fill(LayerAttention { rope: Some(0), window: None });
    spec.embed_scale = (spec.d_model as f32).sqrt();
    // the configuration of Gemma 1 says "gelu" and its code uses the tanh form
    spec.activation = Activation::GeluTanh;
    let (names, norm_offset) = if config.is_gguf() { (names::GGUF, 0.0) } else { (names::LLAMA, 1.0) };
    Ok(Design { spec, names, layout: Layout { norm_offset, ..Layout::default() } })
}

fn sandwich(config: &Config<'_>) -> Result<Design> {
    let mut design = gemma(config)?;
    design.spec.placement = Placement::Sandwich;
    design.spec.hf_family = HfFamily::Sandwich;
    design.spec.activation = config.activation(Activation::GeluTanh)?;
    if !config.is_gguf() {
        design.names = names::SANDWICH;
    }
    let spec = &mut design.spec;
    if let Some(scalar) = config.number(&["query_pre_attn_scalar"], "")? {
        spec.attn_scale = 1.0 / (scalar as f32).sqrt();
    } else if let Some(scale) = config.number(&[], "attention.scale")? {
        spec.attn_scale = scale as f32;
    } else if matches!(spec.n_layers, 46 | 62) {
        // Most GGUF files do not say it: the 27B models divide by d_model / n_heads, not by head_dim.
        spec.attn_scale = 1.0 / (spec.d_model as f32 / spec.n_heads as f32).sqrt();
    }
    Ok(design)
}

pub(super) fn gemma2(config: &Config<'_>) -> Result<Design> {
    let mut design = sandwich(config)?;
    let spec = &mut design.spec;
    let cap = |json: &str, gguf: &str| config.number(&[json], gguf).map(|c| c.map(|c| c as f32));
    spec.attn_softcap = cap("attn_logit_softcapping", "attn_logit_softcapping")?;
    spec.final_softcap = cap("final_logit_softcapping", "final_logit_softcapping")?;
    windows(config, spec, 2, 4096, |window| LayerAttention { rope: Some(0), window })?;
    Ok(design)
}

pub(super) fn gemma3(config: &Config<'_>) -> Result<Design> {
    let mut design = sandwich(config)?;
    let spec = &mut design.spec;
    spec.qk_norm = Some(QkNorm::PerHead);
    let full = "full_attention";
    let theta = match config.rope_value("rope_theta", Some(full)).and_then(Value::as_f64) {
        Some(theta) => theta,
        None => config.number(&[], "rope.freq_base")?.unwrap_or(1e6),
    };
    let local = config.json("rope_parameters").and_then(|p| p.get("sliding_attention"));
    let local = match local.and_then(|p| p.get("rope_theta")).and_then(Value::as_f64) {
        Some(theta) => theta,
        None => config.number(&["rope_local_base_freq"], "rope.freq_base_swa")?.unwrap_or(1e4),
    };
    spec.ropes = vec![
        Rope::new(spec.head_dim, theta, &config.scaling(spec, Some(full))?),
        Rope::new(spec.head_dim, local, &Scaling::None),
    ];
    windows(config, spec, 6, 512, |window| LayerAttention {
        rope: Some(usize::from(window.is_some())),
        window,
    })?;
    Ok(design)
}

/// Sets each layer's attention: `layer_types` where given, else every `period`-th layer sees everything.
fn windows(
    config: &Config<'_>,
    spec: &mut Spec,
    period: usize,
    window: usize,
    make: impl Fn(Option<usize>) -> LayerAttention,
) -> Result<()> {
    let window = config.count(&["sliding_window"], "attention.sliding_window")?.unwrap_or(window);
    let listed = config.sliding_layers();
    let period = match &listed {
        Some(_) => period,
        None => {
            let json = ["sliding_window_pattern", "_sliding_window_pattern"];
            config.count(&json, "attention.sliding_window_pattern")?.unwrap_or(period)
        }
    };
    for (layer, attention) in spec.attention.iter_mut().enumerate() {
        let slides = match listed.as_ref().and_then(|k| k.get(layer)) {
            Some(&slides) => slides,
            None => (layer + 1) % period.max(1) != 0,
        };
        *attention = make(slides.then_some(window));
    }
    Ok(())
}
