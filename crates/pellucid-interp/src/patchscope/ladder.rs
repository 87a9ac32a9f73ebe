//! The lens ladder: what one token's stream says at every depth, read four ways.
//!
//! The logit lens asks what the unembedding can read; a fitted lens, what an affine map can; a patchscope, what the model
//! itself can say of it; back-patching, what the model answers when the value gets some of its layers again. Where the last two
//! know what the first two do not, it is there but not (linearly) decodable.

use super::target::{IDENTITY, Placed, Target};
use crate::error::tensor;
use crate::lens::Fitted;
use crate::stream::{Streams, site_at};
use crate::{Counted, Error, Result};
use pellucid_core::Site;
use pellucid_model::sample::{Mass, top_k};
use pellucid_model::{Model, Tensor, with_numbers};
use serde::Serialize;

/// What one reading says.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Said {
    /// The likeliest token.
    pub top: u32,
    /// Its probability.
    pub top_probability: f64,
    /// Probability of the followed token.
    pub probability: f64,
    /// Its rank, 1 for the likeliest.
    pub rank: usize,
}

/// One depth.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Rung {
    /// Where the value stands.
    pub site: Site,
    /// By the logit lens.
    pub logit: Said,
    /// By a fitted lens; none without one, or where it has no map.
    pub fitted: Option<Said>,
    /// By the identity prompt, at the same depth.
    pub patchscope: Said,
    /// Put back the given number of layers earlier in its own text; none where there are not so many.
    pub back: Option<Said>,
}

/// All depths, and the controls.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ladder {
    /// The followed token.
    pub watched: u32,
    /// How many layers back.
    pub back_by: usize,
    /// What the identity prompt says with nothing put into it.
    pub unpatched: Said,
    /// Depth by depth.
    pub rungs: Vec<Rung>,
}

/// Reads a token's stream at every depth in four ways; follows `watched`, or what the model says in the end.
///
/// # Errors
/// If the watched token does not exist, the lens does not belong to the model, or a run fails or is stopped.
pub fn ladder(
    model: &Model,
    source: &Placed,
    watched: Option<u32>,
    fitted: Option<&Fitted>,
    back_by: usize,
    progress: Counted<'_>,
) -> Result<Ladder> {
    if let Some(fitted) = fitted {
        fitted.check_final(model)?;
    }
    let (layers, vocabulary) = (model.spec().n_layers, model.spec().vocabulary);
    if let Some(id) = watched.filter(|id| *id as usize >= vocabulary) {
        return Err(Error::Request(format!("token {id} is outside the vocabulary of {vocabulary}")));
    }
    let streams = Streams::new(model, std::slice::from_ref(&source.row))?;
    let identity = Target::new(model, Placed::new(model, IDENTITY)?)?;
    // the text up to the token, so that what is read is said after it
    let mut cut = source.clone();
    cut.row = pellucid_model::Row::new(source.row.tokens[..=source.position].to_vec());
    let own = Target::new(model, cut)?;
    let mut rows: Vec<Tensor> = Vec::new();
    for depth in 0..=layers {
        let value = streams.at(depth, 0, source.position)?;
        let x = streams.row_at(depth, 0, source.position)?;
        rows.push(x.clone());
        if let Some(fitted) = fitted {
            rows.push(fitted.through(site_at(depth), &x)?);
        }
        rows.push(identity.run(depth, std::slice::from_ref(&value))?);
        if let Some(earlier) = depth.checked_sub(back_by) {
            rows.push(own.run(earlier, &[value])?);
        }
        progress(depth + 1, layers + 1)?;
    }
    rows.push(identity.run(0, &[identity.own(0)?])?);
    let logits = model.unembed(&tensor(Tensor::cat(&rows, 0))?)?;
    let logits = tensor(logits.to_vec2::<f32>())?;
    let watched = match watched {
        Some(id) => id,
        None => {
            let end = streams.row_at(layers, 0, source.position)?;
            likeliest(model, &end)?.first().copied().unwrap_or(0)
        }
    };
    let mut said = logits.iter().map(|l| say(l, watched));
    let missing = || Error::Request("a reading is missing".to_owned());
    let mut rungs = Vec::new();
    for depth in 0..=layers {
        let mut next = || said.next().ok_or_else(missing);
        rungs.push(Rung {
            site: site_at(depth),
            logit: next()?,
            fitted: if fitted.is_some() { Some(next()?) } else { None },
            patchscope: next()?,
            back: if depth >= back_by { Some(next()?) } else { None },
        });
    }
    Ok(Ladder { watched, back_by, unpatched: said.next().ok_or_else(missing)?, rungs })
}

/// What a row of logits says, with a followed token.
pub(super) fn say(logits: &[f32], watched: u32) -> Said {
    let total = Mass::of(logits).log_total;
    let probability = |l: f32| (f64::from(l) - total).exp();
    let (top, best) = top_k(logits, 1).first().copied().unwrap_or((0, 0.0));
    let mine = logits[watched as usize];
    Said {
        top: top as u32,
        top_probability: probability(best),
        probability: probability(mine),
        rank: 1 + logits.iter().filter(|l| **l > mine).count(),
    }
}

/// The likeliest token after each row of final stream values.
pub(super) fn likeliest(model: &Model, resid: &Tensor) -> Result<Vec<u32>> {
    let (rows, width) = (tensor(resid.dim(0))?, model.spec().vocabulary);
    let at_once = ((64 << 20) / width).max(1);
    let mut out = Vec::with_capacity(rows);
    for first in (0..rows).step_by(at_once) {
        let part = tensor(resid.narrow(0, first, at_once.min(rows - first)))?;
        let logits = model.unembed(&part)?;
        with_numbers(&logits, |l| {
            out.extend(l.chunks_exact(width).map(|l| top_k(l, 1).first().map_or(0, |t| t.0 as u32)));
        })?;
    }
    Ok(out)
}
