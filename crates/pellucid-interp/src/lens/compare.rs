//! Two texts under one lens: at each depth, how far apart is what they say next?

use super::file::Fitted;
use super::logit::rows_of;
use crate::error::tensor;
use crate::stream::{Streams, site_at};
use crate::{Error, Result};
use pellucid_core::Site;
use pellucid_model::sample::log_softmax;
use pellucid_model::{Model, Row, Tensor};
use serde::Serialize;

/// Distances of two distributions, in nats.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Compared {
    /// Where.
    pub site: Site,
    /// KL divergence from the first text's distribution to the second's: Σ p₁ · ln(p₁ / p₂).
    pub kl_first: f64,
    /// From the second's to the first's.
    pub kl_second: f64,
    /// Jensen–Shannon divergence, at most ln 2.
    pub js: f64,
    /// The likeliest token of each.
    pub top: [u32; 2],
}

/// Compares two texts at positions counted from their ends: 0 is the last token.
///
/// # Errors
/// If a text is too short, or the lens does not belong to the model.
pub fn compare(
    model: &Model,
    texts: [&Row; 2],
    from_end: usize,
    fitted: Option<&Fitted>,
) -> Result<Vec<Compared>> {
    if let Some(fitted) = fitted {
        fitted.check_final(model)?;
    }
    let mut at = [0; 2];
    for (at, text) in at.iter_mut().zip(texts) {
        let n = text.tokens.len();
        *at = n.checked_sub(from_end + 1).ok_or_else(|| {
            Error::Request(format!("a text of {n} tokens has no position {from_end} before its last"))
        })?;
    }
    let streams = Streams::new(model, &texts.map(Clone::clone))?;
    let mut out = Vec::new();
    for depth in 0..=model.spec().n_layers {
        let site = site_at(depth);
        let rows = [streams.row_at(depth, 0, at[0])?, streams.row_at(depth, 1, at[1])?];
        let mut x = tensor(Tensor::cat(&rows, 0))?;
        if let Some(fitted) = fitted {
            x = fitted.through(site, &x)?;
        }
        let logits = rows_of(&model.unembed(&x)?)?;
        out.push(distances(site, &log_softmax(&logits[0]), &log_softmax(&logits[1])));
    }
    Ok(out)
}

fn distances(site: Site, a: &[f32], b: &[f32]) -> Compared {
    let (mut kl_first, mut kl_second, mut js) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (f64::from(*a), f64::from(*b));
        let (p, q) = (a.exp(), b.exp());
        kl_first += p * (a - b);
        kl_second += q * (b - a);
        let mid = ((p + q) / 2.0).ln();
        // where both have underflowed there is nothing to add
        if mid.is_finite() {
            js += (p * (a - mid) + q * (b - mid)) / 2.0;
        }
    }
    let top = |l: &[f32]| pellucid_model::sample::top_k(l, 1).first().map_or(0, |t| t.0 as u32);
    Compared { site, kl_first, kl_second, js: js.max(0.0), top: [top(a), top(b)] }
}
