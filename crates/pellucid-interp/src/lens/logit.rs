//! The logit lens (nostalgebraist 2020): what the model would say if it stopped here.
//!
//! Each inner value of the stream is read by the model's own final norm and unembedding.

use super::file::Fitted;
use crate::error::tensor;
use crate::stream::site_at;
use crate::{Error, Result};
use pellucid_core::{Point, Site};
use pellucid_model::sample::{Mass, expectation, log_softmax, top_k};
use pellucid_model::{Batch, Logits, Model, Plan, Record, Row, Tap, Tensor};
use rayon::prelude::*;
use serde::Serialize;
use std::ops::Range;

/// What the lens shows at one site.
#[derive(Clone, Debug, PartialEq, Serialize)]
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
    let spec = model.spec();
    let mut sites = vec![Site::new(Point::ResidPre, 0)];
    for layer in 0..spec.n_layers {
        if sub_blocks && !spec.parallel {
            sites.push(Site::new(Point::ResidMid, layer));
        }
        sites.push(Site::new(Point::ResidPost, layer));
    }
    read_sites(model, row, positions, top, watched, &sites, None, tap)
}

/// As [`lens_grid`], through a fitted lens: at the sites that it has a map of, and at the last one.
///
/// # Errors
/// As [`lens`]; also if the lens does not belong to the model or does not lead to the final stream.
pub fn lens_through(
    model: &Model,
    fitted: &Fitted,
    row: &Row,
    positions: Range<usize>,
    top: usize,
    watched: &[u32],
    tap: &mut dyn Tap,
) -> Result<Vec<Vec<LensRow>>> {
    fitted.check_final(model)?;
    let last = site_at(model.spec().n_layers);
    let sites: Vec<Site> = fitted.sites().chain([last]).collect();
    read_sites(model, row, positions, top, watched, &sites, Some(fitted), tap)
}

fn read_sites(
    model: &Model,
    row: &Row,
    positions: Range<usize>,
    top: usize,
    watched: &[u32],
    sites: &[Site],
    fitted: Option<&Fitted>,
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
    let mut record = Record::new(sites.iter().copied());
    let plan = Plan { logits: Logits::At(positions.clone().collect()), start: None, stop_after: None };
    let output = model.run(&Batch::one(row.clone()), &plan, None, &mut (tap, &mut record))?;
    let missing = || Error::Request("the run gave no logits".to_owned());
    let last = rows_of(&output.logits.ok_or_else(missing)?)?;
    let last: Vec<Final> = last.par_iter().map(|row| Final::of(row)).collect();
    // several sites at a time: the unembedding is read once for all of them
    let at_once = (LOGITS / (spec.vocabulary * positions.len())).max(1);
    let mut rows = Vec::with_capacity(sites.len());
    for sites in sites.chunks(at_once) {
        let value = |&site: &Site| {
            let x = tensor(record.value(site)?.narrow(0, positions.start, positions.len()))?;
            fitted.map_or_else(|| Ok(x.clone()), |f| f.through(site, &x))
        };
        let x = tensor(Tensor::cat(&sites.iter().map(value).collect::<Result<Vec<_>>>()?, 0))?;
        let logits = rows_of(&model.unembed(&x)?)?;
        let cell = |(i, logits): (usize, &Vec<f32>)| {
            read(sites[i / positions.len()], logits, &last[i % positions.len()], top, watched)
        };
        let cells: Vec<LensRow> = logits.par_iter().enumerate().map(cell).collect();
        rows.extend(cells.chunks(positions.len()).map(<[LensRow]>::to_vec));
    }
    Ok(rows)
}

/// Logits that are held at a time: 256 MiB.
pub(super) const LOGITS: usize = 64 << 20;

pub(super) fn rows_of(logits: &Tensor) -> Result<Vec<Vec<f32>>> {
    tensor(logits.to_vec2())
}

/// The final distribution at a position: its probabilities, their sum, and Σ p · ln p.
pub(super) struct Final {
    weights: Vec<f32>,
    total: f64,
    negative_entropy: f64,
}

impl Final {
    pub(super) fn of(logits: &[f32]) -> Self {
        let log_probs = log_softmax(logits);
        let weights: Vec<f32> = log_probs.iter().map(|l| l.exp()).collect();
        let total = weights.iter().map(|w| f64::from(*w)).sum();
        Final { negative_entropy: expectation(&weights, &log_probs), weights, total }
    }

    /// KL divergence from this distribution to that of other logits, in nats.
    pub(super) fn kl_to(&self, logits: &[f32], log_total: f64) -> f64 {
        // Σ p · (ln p − (logit − log_total)), term by term summed apart
        self.negative_entropy - expectation(&self.weights, logits) + self.total * log_total
    }
}

fn read(site: Site, logits: &[f32], last: &Final, top: usize, watched: &[u32]) -> LensRow {
    let Mass { log_total, entropy } = Mass::of(logits);
    let probability = |logit: f32| (f64::from(logit) - log_total).exp();
    let rank = |logit: f32| 1 + logits.iter().filter(|other| **other > logit).count();
    let token = |id: u32| {
        let logit = logits[id as usize];
        LensToken { id, probability: probability(logit), rank: rank(logit) }
    };
    let likeliest = top_k(logits, top).into_iter().enumerate();
    let top = likeliest.map(|(i, (id, logit))| LensToken {
        id: id as u32,
        probability: probability(logit),
        rank: i + 1,
    });
    let kl = last.kl_to(logits, log_total);
    LensRow { site, top: top.collect(), watched: watched.iter().map(|&id| token(id)).collect(), kl, entropy }
}
