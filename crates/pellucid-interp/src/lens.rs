//! The logit lens (nostalgebraist 2020): what the model would say if it stopped here.
//!
//! Each inner value of the stream is read by the model's own final norm and unembedding.

use crate::error::tensor;
use crate::{Error, Result};
use pellucid_core::{Point, Site};
use pellucid_model::sample::{log_softmax, top_k};
use pellucid_model::{Batch, Logits, Model, Plan, Record, Row, Tap, Tensor};
use rayon::prelude::*;
use serde::Serialize;
use std::ops::Range;

/// What the lens shows at one site.
#[derive(Clone, Debug, Serialize)]
pub struct LensRow {
    /// Where.
    pub site: Site,
    /// The likeliest tokens.
    pub top: Vec<LensToken>,
    /// The watched tokens, in the order asked.
    pub watched: Vec<LensToken>,
    /// KL divergence from the final distribution to the lens's, in nats: Σ final · ln(final / lens).
    pub kl: f64,
    /// Entropy of the lens's distribution, in nats.
    pub entropy: f64,
}

/// A token in a lens's distribution.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct LensToken {
    /// The token.
    pub id: u32,
    /// Its probability.
    pub probability: f64,
    /// How many tokens are likelier, plus one.
    pub rank: usize,
}

/// Reads the stream after every block (and, with `sub_blocks`, after attention too) at one position.
///
/// # Errors
/// If the position or a watched token does not exist, or the run fails.
pub fn lens(
    model: &Model,
    row: &Row,
    position: usize,
    top: usize,
    watched: &[u32],
    sub_blocks: bool,
    tap: &mut dyn Tap,
) -> Result<Vec<LensRow>> {
    let rows = lens_grid(model, row, position..position + 1, top, watched, sub_blocks, tap)?;
    Ok(rows.into_iter().flatten().collect())
}

/// As [`lens`], at each of some neighbouring positions: for each site, first layer first, one row a position.
///
/// # Errors
/// As [`lens`].
pub fn lens_grid(
    model: &Model,
    row: &Row,
    positions: Range<usize>,
    top: usize,
    watched: &[u32],
    sub_blocks: bool,
    tap: &mut dyn Tap,
) -> Result<Vec<Vec<LensRow>>> {
    let (spec, n) = (model.spec(), row.tokens.len());
    if positions.is_empty() || positions.end > n {
        let last = positions.end.saturating_sub(1);
        return Err(Error::Request(format!("position {last} is beyond the text's {n} tokens")));
    }
    if let Some(id) = watched.iter().find(|id| **id as usize >= spec.vocabulary) {
        return Err(Error::Request(format!("token {id} is outside the vocabulary of {}", spec.vocabulary)));
    }
    let mut sites = vec![Site::new(Point::ResidPre, 0)];
    for layer in 0..spec.n_layers {
        if sub_blocks && !spec.parallel {
            sites.push(Site::new(Point::ResidMid, layer));
        }
        sites.push(Site::new(Point::ResidPost, layer));
    }
    let mut record = Record::new(sites.iter().copied());
    let plan = Plan { logits: Logits::At(positions.clone().collect()), start: None, stop_after: None };
    let output = model.run(&Batch::one(row.clone()), &plan, None, &mut (tap, &mut record))?;
    let missing = || Error::Request("the run gave no logits".to_owned());
    let last = log_probs(&output.logits.ok_or_else(missing)?)?;
    // the last layer's probabilities weigh every layer's divergence
    let weights: Vec<Vec<f32>> = last.par_iter().map(|row| row.iter().map(|l| l.exp()).collect()).collect();
    let at = |site| {
        let x = tensor(record.value(site)?.narrow(0, positions.start, positions.len()))?;
        let here = log_probs(&model.unembed(&x)?)?;
        let final_one = last.par_iter().zip(&weights);
        Ok(here.par_iter().zip(final_one).map(|(here, last)| read(site, here, last, top, watched)).collect())
    };
    sites.into_iter().map(at).collect()
}

/// One distribution for each row of logits.
fn log_probs(logits: &Tensor) -> Result<Vec<Vec<f32>>> {
    let rows: Vec<Vec<f32>> = tensor(logits.to_vec2())?;
    Ok(rows.par_iter().map(|row| log_softmax(row)).collect())
}

/// `last`: the final distribution's log-probabilities and probabilities.
fn read(
    site: Site,
    log_probs: &[f32],
    (last, weights): (&Vec<f32>, &Vec<f32>),
    top: usize,
    watched: &[u32],
) -> LensRow {
    let rank = |p: f32| 1 + log_probs.iter().filter(|q| **q > p).count();
    let token = |id: u32| {
        let p = log_probs[id as usize];
        LensToken { id, probability: f64::from(p).exp(), rank: rank(p) }
    };
    let likeliest = top_k(log_probs, top).into_iter().enumerate();
    let top = likeliest.map(|(i, (id, p))| LensToken {
        id: id as u32,
        probability: f64::from(p).exp(),
        rank: i + 1,
    });
    let (mut kl, mut entropy) = (0f64, 0f64);
    for ((&p, &l), &weight) in log_probs.iter().zip(last).zip(weights) {
        if weight > 0.0 {
            kl += f64::from(weight) * f64::from(l - p);
        }
        let here = p.exp();
        if here > 0.0 {
            entropy -= f64::from(here) * f64::from(p);
        }
    }
    LensRow { site, top: top.collect(), watched: watched.iter().map(|&id| token(id)).collect(), kl, entropy }
}
