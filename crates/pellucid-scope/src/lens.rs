//! The logit lens over a stretch of text: for each layer and position what the model would say if it stopped there.

use crate::error::{Result, bad};
use crate::wire::{self, Placed};
use crate::{Loaded, Text};
use pellucid_core::Edit;
use pellucid_interp::{LensToken, lens_grid};
use serde::Serialize;
use std::ops::Range;
use utoipa::ToSchema;

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct LensGrid {
    /// The text.
    pub prompt: Vec<Placed>,
    /// The positions looked at.
    pub positions: Vec<usize>,
    /// One for each site, first layer first.
    pub rows: Vec<LensGridRow>,
}

/// One site at all positions.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct LensGridRow {
    /// The site.
    pub site: String,
    /// One for each position.
    pub cells: Vec<Cell>,
}

/// One site at one position.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Cell {
    /// The likeliest tokens.
    pub top: Vec<Ranked>,
    /// The watched tokens, in the order asked.
    pub watched: Vec<Ranked>,
    /// KL divergence from the final distribution to this one, in nats.
    pub kl: f64,
    /// Entropy, in nats.
    pub entropy: f64,
}

/// A token in a cell's distribution.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Ranked {
    /// Its id.
    pub id: u32,
    /// Its text.
    pub text: String,
    /// Its probability.
    pub probability: f64,
    /// 1 for the likeliest.
    pub rank: usize,
}

/// Most positions of one question: each takes the unembedding once for each layer.
const POSITIONS: usize = 128;

/// Reads every layer at some positions, in the run with the edits applied.
///
/// # Errors
/// If positions, tokens or edits do not fit.
pub fn lens(
    loaded: &Loaded,
    text: Text,
    edits: &[Edit],
    positions: Range<usize>,
    top: usize,
    watched: &[u32],
    sub_blocks: bool,
) -> Result<LensGrid> {
    let positions = text.range(Some((positions.start, positions.end)))?;
    if positions.len() > POSITIONS {
        return bad(format!("{} positions asked for; at most {POSITIONS} at a time", positions.len()));
    }
    let apply = text.edits(loaded, edits)?;
    let mut tap = wire::tap(apply.as_ref());
    let (model, row) = (&loaded.model, &text.row);
    let rows = lens_grid(model, row, positions.clone(), top, watched, sub_blocks, &mut *tap)?;
    let ranked = |t: &LensToken| {
        let token = loaded.token(t.id);
        Ranked { id: token.id, text: token.text, probability: t.probability, rank: t.rank }
    };
    let rows = rows.iter().filter_map(|row| {
        let site = row.first()?.site.to_string();
        let cell = |r: &pellucid_interp::LensRow| Cell {
            top: r.top.iter().map(ranked).collect(),
            watched: r.watched.iter().map(ranked).collect(),
            kl: r.kl,
            entropy: r.entropy,
        };
        Some(LensGridRow { site, cells: row.iter().map(cell).collect() })
    });
    Ok(LensGrid { rows: rows.collect(), prompt: text.tokens, positions: positions.collect() })
}
