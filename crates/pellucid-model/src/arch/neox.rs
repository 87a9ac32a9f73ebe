//! GPT-NeoX and Pythia: layer norm with biases, rotary positions on a part of each head, attention and MLP
//! in parallel (in most), one ungated GELU MLP.

use super::config::Config;
use super::{Design, Layout, names};
use crate::Result;
use crate::spec::{Activation, LayerAttention, NormKind};
use pellucid_core::HfFamily;

pub(super) fn neox(config: &Config<'_>) -> Result<Design> {
    let mut spec = config.base(HfFamily::NeoX)?;
    spec.norm = NormKind::Layer;
    spec.norm_eps = config.number(&["layer_norm_eps"], "attention.layer_norm_epsilon")?.unwrap_or(1e-5);
    spec.activation = config.activation(Activation::Gelu)?;
    spec.gated = false;
    spec.parallel = config.flag("use_parallel_residual", "use_parallel_residual").unwrap_or(true);
    spec.ropes = vec![config.rope(&spec)?];
    spec.attention.fill(LayerAttention { rope: Some(0), window: None });
    let layout = Layout { qkv_by_head: !config.is_gguf(), ..Layout::default() };
    Ok(Design { spec, names: if config.is_gguf() { names::GGUF } else { names::NEOX }, layout })
}
