//! What a command explains: a token that the model says, against another one or against all.

use crate::models::Loaded;
use crate::text::Text;
use anyhow::Result;
use clap::Args;
use pellucid::interp::Metric;
use pellucid::scope::Aim;

/// Which token, where, and instead of what.
#[derive(Args)]
pub(crate) struct TargetArgs {
    /// The token to explain, with its leading space if it has one; by default the likeliest.
    #[arg(long, value_name = "TOK", allow_hyphen_values = true)]
    target: Option<String>,
    /// Explain why the target and not this one.
    #[arg(long, value_name = "TOK", allow_hyphen_values = true)]
    foil: Option<String>,
    /// The token after which the target is said; negative counts from the end.
    #[arg(long, value_name = "P", allow_hyphen_values = true)]
    position: Option<i64>,
}

impl TargetArgs {
    /// Whether a token was named.
    pub(crate) fn is_asked(&self) -> bool {
        self.target.is_some() || self.foil.is_some()
    }

    /// The number to explain. What stands after the explained position cannot act on it and is cut off the text.
    pub(crate) fn metric(&self, loaded: &Loaded, text: &mut Text) -> Result<Metric> {
        let tokenizer = loaded.model.tokenizer();
        let position = text.position(self.position)?;
        let one = |text: &Option<String>| text.as_ref().map(|t| tokenizer.single_token(t)).transpose();
        let aim = Aim { position, target: one(&self.target)?, foil: one(&self.foil)? };
        Ok(aim.metric(loaded, text, None)?)
    }
}
