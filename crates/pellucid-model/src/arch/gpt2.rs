//! GPT-2: layer norm with biases, learned positions, one ungated tanh-GELU MLP, `(in, out)` weights.

use super::config::Config;
use super::{Design, Layout, names};
use crate::Result;
use crate::spec::{Activation, NormKind};
use pellucid_core::HfFamily;

pub(super) fn gpt2(config: &Config<'_>) -> Result<Design> {
    let mut spec = config.base(HfFamily::Gpt2)?;
    spec.norm = NormKind::Layer;
    spec.norm_eps = config.number(&["layer_norm_epsilon"], "attention.layer_norm_epsilon")?.unwrap_or(1e-5);
    spec.activation = config.activation(Activation::GeluTanh)?;
    spec.gated = false;
    spec.learned_positions = true;
    let layout = Layout { transposed: !config.is_gguf(), ..Layout::default() };
    Ok(Design { spec, names: if config.is_gguf() { names::GGUF } else { names::GPT2 }, layout })
}
