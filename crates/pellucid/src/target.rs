//! What a command explains: a token that the model says, against another one or against all.

use crate::models::Loaded;
use crate::text::Text;
use anyhow::Result;
use clap::Args;
use pellucid::interp::Metric;
use pellucid::model::{Batch, Logits, Plan, sample};

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
    /// The number to explain. What stands after the explained position cannot act on it and is cut off the text.
    pub(crate) fn metric(&self, loaded: &Loaded, text: &mut Text) -> Result<Metric> {
        let tokenizer = loaded.model.tokenizer();
        let position = text.position(self.position)?;
        let target = match &self.target {
            Some(target) => tokenizer.single_token(target)?,
            None => likeliest(loaded, text, position)?,
        };
        let foil = self.foil.as_ref().map(|f| tokenizer.single_token(f)).transpose()?;
        text.cut(position + 1);
        Ok(Metric { position, target, foil })
    }
}

/// The token that the model is likeliest to say after a position.
fn likeliest(loaded: &Loaded, text: &Text, position: usize) -> Result<u32> {
    let plan = Plan { logits: Logits::At(vec![position]), start: None, stop_after: None };
    let output = loaded.model.run(&Batch::one(text.row.clone()), &plan, None, &mut ())?;
    let logits = output.logits.map(|l| l.flatten_all().and_then(|l| l.to_vec1::<f32>())).transpose();
    let logits = logits.map_err(pellucid::model::Error::from)?.unwrap_or_default();
    Ok(sample::top_k(&logits, 1).first().map_or(0, |t| t.0 as u32))
}
