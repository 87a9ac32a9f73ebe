//! The number that an explanation explains.

use crate::{Error, Result};
use pellucid_model::{Model, Row};
use serde::Serialize;

/// A contrast of logits at one token: `logit[target] − logit[foil]`, or without a foil
/// `logit[target] − mean(logits)`. Probability is not used: its gradient dies when the model is sure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Metric {
    /// Position of the token whose next token is explained.
    pub position: usize,
    /// The token that is explained.
    pub target: u32,
    /// The token it is compared with.
    pub foil: Option<u32>,
}

impl Metric {
    /// A metric at the last token of a text.
    pub fn last(row: &Row, target: u32, foil: Option<u32>) -> Self {
        Metric { position: row.tokens.len().saturating_sub(1), target, foil }
    }

    /// Refuses positions and tokens that do not exist.
    pub(crate) fn check(&self, model: &Model, row: &Row) -> Result<()> {
        let (n, vocabulary) = (row.tokens.len(), model.spec().vocabulary);
        if self.position >= n {
            let what = format!("position {} is beyond the text's {n} tokens", self.position);
            return Err(Error::Request(what));
        }
        for id in [Some(self.target), self.foil].into_iter().flatten() {
            if id as usize >= vocabulary {
                return Err(Error::Request(format!("token {id} is outside the vocabulary of {vocabulary}")));
            }
        }
        if self.foil == Some(self.target) {
            return Err(Error::Request("target and foil are the same token".to_owned()));
        }
        Ok(())
    }

    /// The metric of one row of logits.
    pub fn value(&self, logits: &[f32]) -> f64 {
        let target = f64::from(logits[self.target as usize]);
        match self.foil {
            Some(foil) => target - f64::from(logits[foil as usize]),
            None => target - logits.iter().map(|l| f64::from(*l)).sum::<f64>() / logits.len() as f64,
        }
    }

    /// ∂metric/∂logits, `(vocabulary)`.
    pub fn gradient(&self, vocabulary: usize) -> Vec<f32> {
        let rest = if self.foil.is_some() { 0.0 } else { -1.0 / vocabulary as f32 };
        let mut g = vec![rest; vocabulary];
        g[self.target as usize] += 1.0;
        if let Some(foil) = self.foil {
            g[foil as usize] -= 1.0;
        }
        g
    }
}
