//! Llama 1–3, Mistral and SmolLM3: pre-norm RMS, SiLU-gated MLP, rotary positions, grouped heads.

use super::config::Config;
use super::{Design, Layout, names};
use crate::Result;
use crate::spec::LayerAttention;
use pellucid_core::HfFamily;
use serde_json::Value;

pub(super) fn llama(config: &Config<'_>) -> Result<Design> {
    let mut spec = config.base(HfFamily::Llama)?;
    spec.ropes = vec![config.rope(&spec)?];
    spec.attention.fill(LayerAttention { rope: Some(0), window: None });
    let (names, layout) = if config.is_gguf() {
        (names::GGUF, Layout { permuted_qk: true, ..Layout::default() })
    } else {
        (names::LLAMA, Layout::default())
    };
    Ok(Design { spec, names, layout })
}

/// Llama with a sliding window in every layer, where the configuration sets one (GGUF files call it llama).
pub(super) fn mistral(config: &Config<'_>) -> Result<Design> {
    let mut design = llama(config)?;
    let window = config.count(&["sliding_window"], "attention.sliding_window")?.filter(|w| *w > 0);
    design.spec.attention.fill(LayerAttention { rope: Some(0), window });
    Ok(design)
}

/// Llama without rotary positions in some layers (NoPE): a 0 in `no_rope_layers` means none; GGUF files
/// imply every fourth.
pub(super) fn smollm3(config: &Config<'_>) -> Result<Design> {
    let mut design = llama(config)?;
    let listed = config.json("no_rope_layers").and_then(Value::as_array);
    let interval = config.count(&["no_rope_layer_interval"], "")?.filter(|i| *i > 0).unwrap_or(4);
    let windows = layer_windows(config, design.spec.n_layers)?;
    for (layer, attention) in design.spec.attention.iter_mut().enumerate() {
        let rotates = match listed.and_then(|list| list.get(layer)) {
            Some(value) => value.as_u64() != Some(0) && value.as_bool() != Some(false),
            None => (layer + 1) % interval != 0,
        };
        attention.rope = rotates.then_some(0);
        attention.window = windows.get(layer).copied().flatten();
    }
    Ok(design)
}

/// Sliding windows by layer, as `layer_types` or `use_sliding_window`/`max_window_layers` say.
pub(super) fn layer_windows(config: &Config<'_>, n_layers: usize) -> Result<Vec<Option<usize>>> {
    let window = config.count(&["sliding_window"], "attention.sliding_window")?;
    let listed = config.sliding_layers();
    let in_use = config.flag("use_sliding_window", "").unwrap_or(false);
    let first = config.count(&["max_window_layers"], "")?.unwrap_or(n_layers);
    Ok((0..n_layers)
        .map(|layer| match listed.as_ref().and_then(|k| k.get(layer)) {
            Some(&slides) => window.filter(|_| slides),
            None => window.filter(|_| in_use && layer >= first),
        })
        .collect())
}
