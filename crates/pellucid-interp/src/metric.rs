//! The number that an explanation explains.

use crate::error::tensor;
use crate::{Error, Result};
use pellucid_core::{Point, Site};
use pellucid_model::{Batch, Logits, Model, Plan, Row, Rules, Tap, Tensor};
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

    /// Where it is taken in a packed batch of `tokens` tokens in `rows` equally long rows.
    pub(crate) fn in_rows(&self, tokens: usize, rows: usize) -> Vec<usize> {
        (0..rows).map(|row| row * (tokens / rows) + self.position).collect()
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

/// The metric of each row of a batch of equally long texts. With a foil only the two logits are computed, not the
/// whole vocabulary's.
pub(crate) fn of_rows(
    model: &Model,
    metric: Metric,
    batch: &Batch,
    start: Option<(usize, Tensor)>,
    tap: &mut dyn Tap,
) -> Result<Vec<f64>> {
    let rows = |x: &Tensor| tensor(x.to_vec2::<f32>());
    if let Some(foil) = metric.foil.filter(|_| !needs_logits(metric, tap)) {
        let resid =
            model.run(batch, &Plan { logits: Logits::None, start, stop_after: None }, None, tap)?.resid;
        let (_, picked) = picked(metric, &resid, batch.rows.len())?;
        let two = rows(&model.unembed_tokens(&picked, &[metric.target, foil])?)?;
        return Ok(two.iter().map(|l| f64::from(l[0]) - f64::from(l[1])).collect());
    }
    let at = metric.in_rows(batch.tokens(), batch.rows.len());
    let plan = Plan { logits: Logits::At(at), start, stop_after: None };
    let missing = || Error::Request("the run gave no logits".to_owned());
    let logits = model.run(batch, &plan, None, tap)?.logits.ok_or_else(missing)?;
    Ok(rows(&logits)?.iter().map(|l| metric.value(l)).collect())
}

/// Whether a metric takes the whole vocabulary: without a foil, or where a tap stands at the last two points.
pub(crate) fn needs_logits(metric: Metric, tap: &dyn Tap) -> bool {
    metric.foil.is_none() || watched_last(tap)
}

/// Whether a tap stands at the last two points.
fn watched_last(tap: &dyn Tap) -> bool {
    let last = [Point::FinalNorm, Point::LmHead].map(|p| Site::new(p, 0));
    last.iter().any(|s| tap.wants(*s) || tap.wants_gradient(*s))
}

/// ∂(sum of the rows' metrics)/∂(the stream after the last block), `(rows · tokens, d_model)`, without a gradient for the whole
/// vocabulary; none where that must be taken.
pub(crate) fn stream_gradient(
    model: &Model,
    metric: Metric,
    resid: &Tensor,
    rows: usize,
    rules: Rules,
    tap: &dyn Tap,
) -> Result<Option<Tensor>> {
    if watched_last(tap) {
        return Ok(None);
    }
    let (asked, picked) = picked(metric, resid, rows)?;
    let g = match metric.foil {
        Some(foil) => Some(model.contrast_gradient(&picked, metric.target, foil, rules)?),
        None => model.deviation_gradient(&picked, metric.target, rules)?,
    };
    let Some(g) = g else { return Ok(None) };
    let nothing = tensor(resid.zeros_like())?;
    Ok(Some(tensor(nothing.index_add(&asked, &g, 0))?))
}

/// Where the metric is taken in the packed rows, and the stream there.
fn picked(metric: Metric, resid: &Tensor, rows: usize) -> Result<(Tensor, Tensor)> {
    let at = metric.in_rows(tensor(resid.dim(0))?, rows).into_iter().map(|t| t as u32);
    let asked = tensor(Tensor::new(at.collect::<Vec<u32>>(), resid.device()))?;
    let values = tensor(resid.index_select(&asked, 0))?;
    Ok((asked, values))
}
