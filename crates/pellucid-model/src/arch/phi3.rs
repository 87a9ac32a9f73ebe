//! Phi-3: llama with fused projections, an optional sliding window, and long rope in the long models.

use super::config::Config;
use super::llama::mistral;
use super::{Design, Layout};
use crate::Result;

pub(super) fn phi3(config: &Config<'_>) -> Result<Design> {
    let mut design = mistral(config)?;
    design.layout = Layout::default();
    Ok(design)
}
