//! OLMo 2: norms after attention and MLP instead of before, and norms on the whole query and key vectors.

use super::config::Config;
use super::llama::llama;
use super::{Design, Layout};
use crate::Result;
use crate::spec::{Placement, QkNorm};

pub(super) fn olmo2(config: &Config<'_>) -> Result<Design> {
    let mut design = llama(config)?;
    design.layout = Layout::default();
    design.spec.placement = Placement::Post;
    design.spec.qk_norm = Some(QkNorm::Whole);
    Ok(design)
}
