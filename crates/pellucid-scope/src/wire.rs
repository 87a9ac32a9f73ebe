//! Words of the wire that more than one answer uses.

use crate::error::{Result, bad};
use crate::shape::{MessageRoleShape, RoleShape};
use crate::{Loaded, Text};
use pellucid_core::Role;
use pellucid_interp::Metric;
use pellucid_model::{Apply, Batch, Logits, Plan, Tap, sample};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One message of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Message {
    /// `system`, `user` or `assistant`.
    #[schema(value_type = MessageRoleShape)]
    pub role: String,
    /// What was said.
    pub content: String,
}

/// A token of the vocabulary.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Token {
    /// Its id.
    pub id: u32,
    /// Its text, for a reader.
    pub text: String,
}

/// A token of a text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct Placed {
    /// Where it stands, from 0.
    pub position: usize,
    /// Its id.
    pub id: u32,
    /// Its text, for a reader.
    pub text: String,
    /// Who wrote it; missing where nobody is known to have.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<RoleShape>, nullable = false)]
    pub role: Option<Role>,
}

/// A token with its probability.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Scored {
    /// The token.
    #[serde(flatten)]
    pub token: Token,
    /// Natural logarithm of the probability.
    pub log_prob: f32,
    /// The probability.
    pub probability: f64,
}

impl Scored {
    /// A token with its log-probability.
    pub fn new(token: Token, log_prob: f32) -> Self {
        Scored { token, log_prob, probability: f64::from(log_prob).exp() }
    }

    /// The likeliest tokens of a distribution.
    pub fn likeliest(loaded: &Loaded, log_probs: &[f32], k: usize) -> Vec<Scored> {
        let top = sample::top_k(log_probs, k).into_iter();
        top.map(|(id, p)| Scored::new(loaded.token(id as u32), p)).collect()
    }
}

/// Which token is explained, where, and instead of what.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Explaining {
    /// The token after which the target is said.
    pub position: usize,
    /// The token to explain; the likeliest if none.
    #[serde(default)]
    pub target: Option<u32>,
    /// Explain why the target and not this one.
    #[serde(default)]
    pub foil: Option<u32>,
}

impl Explaining {
    /// The number to explain, with the text cut to what can act on it.
    ///
    /// # Errors
    /// If the position is outside the text, or the model cannot run it.
    pub fn metric(&self, loaded: &Loaded, text: &mut Text, apply: Option<&Apply>) -> Result<Metric> {
        if self.position >= text.tokens.len() {
            return bad(format!(
                "position {} is outside the text; its {} tokens are 0 to {}",
                self.position,
                text.tokens.len(),
                text.tokens.len().saturating_sub(1)
            ));
        }
        text.cut(self.position + 1);
        let target = match self.target {
            Some(target) => target,
            None => {
                let plan = Plan { logits: Logits::At(vec![self.position]), start: None, stop_after: None };
                let mut tap = tap(apply);
                let output = loaded.model.run(&Batch::one(text.row.clone()), &plan, None, &mut *tap)?;
                let logits = output.logits.map(|l| l.flatten_all().and_then(|l| l.to_vec1::<f32>()));
                let logits = crate::error::tensor(logits.transpose())?.unwrap_or_default();
                sample::top_k(&logits, 1).first().map_or(0, |t| t.0 as u32)
            }
        };
        Ok(Metric { position: self.position, target, foil: self.foil })
    }
}

/// What is explained: `logit[target] − logit[foil]`, or without a foil minus the mean logit.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Explained {
    /// The token after which the target is said.
    pub position: usize,
    /// The token that is explained.
    pub target: Token,
    /// What it is compared with.
    pub foil: Option<Token>,
    /// The number.
    pub value: f64,
    /// The target's probability.
    pub probability: f64,
}

impl Explained {
    /// The metric of a run's logits.
    pub fn new(loaded: &Loaded, metric: Metric, value: f64, logits: &[f32]) -> Self {
        let log_probs = sample::log_softmax(logits);
        Explained {
            position: metric.position,
            target: loaded.token(metric.target),
            foil: metric.foil.map(|f| loaded.token(f)),
            value,
            probability: log_probs.get(metric.target as usize).map_or(0.0, |p| f64::from(*p).exp()),
        }
    }
}

/// A token as the model read it: how likely it was, and what it thought came next.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ReadToken {
    /// Where it stands.
    pub position: usize,
    /// Its log-probability given what is before it; none for the first.
    pub log_prob: Option<f32>,
    /// The likeliest tokens after it.
    pub next: Vec<Scored>,
}

/// The text read once, with the edits applied: what was likely at each place.
///
/// # Errors
/// If the model cannot run the text.
pub fn read(loaded: &Loaded, text: &Text, apply: Option<&Apply>, top: usize) -> Result<Vec<ReadToken>> {
    let mut before = None;
    let mut all = Vec::with_capacity(text.tokens.len());
    distributions(loaded, text, apply, &mut |position, log_probs| {
        let id = text.row.tokens.get(position).copied().unwrap_or(0) as usize;
        let log_prob = before.replace(log_probs.to_vec()).and_then(|b: Vec<f32>| b.get(id).copied());
        all.push(ReadToken { position, log_prob, next: Scored::likeliest(loaded, log_probs, top) });
    })?;
    Ok(all)
}

/// Positions whose distributions stand in memory together: 64 rows of a vocabulary of 262,144 are 67 MB.
const ROWS: usize = 64;

/// Hands each position's next-token log-probabilities to `each`, in order.
pub(crate) fn distributions(
    loaded: &Loaded,
    text: &Text,
    apply: Option<&Apply>,
    each: &mut dyn FnMut(usize, &[f32]),
) -> Result<()> {
    let plan = Plan { logits: Logits::None, start: None, stop_after: None };
    let mut tap = tap(apply);
    let after_norm = |p| apply.is_some_and(|_| tap_at(&*tap, p));
    // an edit of the last two points must act on the logits themselves
    if after_norm(pellucid_core::Point::FinalNorm) || after_norm(pellucid_core::Point::LmHead) {
        let logits = loaded.model.forward(&Batch::one(text.row.clone()), &mut *tap)?;
        for position in 0..text.tokens.len() {
            let row: Vec<f32> = crate::error::tensor(logits.get(position).and_then(|l| l.to_vec1()))?;
            each(position, &sample::log_softmax(&row));
        }
        return Ok(());
    }
    let resid = loaded.model.run(&Batch::one(text.row.clone()), &plan, None, &mut *tap)?.resid;
    let n = text.tokens.len();
    for from in (0..n).step_by(ROWS) {
        let rows = crate::error::tensor(resid.narrow(0, from, ROWS.min(n - from)))?;
        let logits: Vec<Vec<f32>> = crate::error::tensor(loaded.model.unembed(&rows)?.to_vec2())?;
        for (i, row) in logits.iter().enumerate() {
            each(from + i, &sample::log_softmax(row));
        }
    }
    Ok(())
}

fn tap_at(tap: &dyn Tap, point: pellucid_core::Point) -> bool {
    tap.wants(pellucid_core::Site::new(point, 0))
}

/// A fresh tap for one run: the edits, or nobody.
pub fn tap(apply: Option<&Apply>) -> Box<dyn Tap> {
    match apply {
        Some(apply) => Box::new(apply.clone()),
        None => Box::new(()),
    }
}
