//! Qwen 2 (biases on query, key and value) and Qwen 3 (query and key norms instead).

use super::config::Config;
use super::llama::layer_windows;
use super::{Design, Layout, names};
use crate::Result;
use crate::spec::{LayerAttention, QkNorm};
use pellucid_core::HfFamily;

pub(super) fn qwen2(config: &Config<'_>) -> Result<Design> {
    let mut spec = config.base(HfFamily::Llama)?;
    spec.ropes = vec![config.rope(&spec)?];
    for (attention, window) in spec.attention.iter_mut().zip(layer_windows(config, spec.n_layers)?) {
        *attention = LayerAttention { rope: Some(0), window };
    }
    let names = if config.is_gguf() { names::GGUF } else { names::LLAMA };
    Ok(Design { spec, names, layout: Layout::default() })
}

pub(super) fn qwen3(config: &Config<'_>) -> Result<Design> {
    let mut design = qwen2(config)?;
    design.spec.qk_norm = Some(QkNorm::PerHead);
    Ok(design)
}
