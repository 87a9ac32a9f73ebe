//! Which token must be seen, at which layers: attention cut edge by edge, beside a random other edge.

use super::behaviour::Measured;
use super::places::KnockedOutShape;
use super::shape::GateShape;
use super::{Watch, counted};
use crate::error::Result;
use crate::loaded::token_of;
use crate::wire::Token;
use pellucid_interp::behaviour::Gate;
use pellucid_interp::trace::{Cutting, KnockedOut};
use pellucid_model::Model;
use serde::Serialize;
use utoipa::ToSchema;

/// What is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Blinding {
    /// The position that may no longer look; negative counts from the end.
    pub query: i64,
    /// Layers that are cut together, from each layer on.
    pub window: usize,
    /// Go on though the model does not show the behaviour.
    pub anyway: bool,
}

/// What cutting each edge did.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct KnockoutReport {
    /// How well the model shows the behaviour.
    #[schema(value_type = GateShape)]
    pub gate: Gate,
    /// Chose items and controls.
    pub seed: u64,
    /// As asked.
    pub query: i64,
    /// As asked.
    pub window: usize,
    /// Items of one length that were cut.
    pub items: usize,
    /// Items that were not.
    pub left_out: usize,
    /// The first item's.
    pub tokens: Vec<Token>,
    /// Layer by layer, and within one key by key.
    #[schema(value_type = Vec<KnockedOutShape>)]
    pub cut: Vec<KnockedOut>,
}

/// Cuts every edge from one position, at every window of layers.
///
/// # Errors
/// If the model does not show the behaviour, the position sees nothing before it, or a run fails or is stopped.
pub fn knockout(model: &Model, of: &Measured, asked: Blinding, watch: Watch<'_>) -> Result<KnockoutReport> {
    of.gate.pass(asked.anyway)?;
    let what = Cutting { query: asked.query, window: asked.window, seed: of.seed };
    let ready = &of.ready;
    let (items, cut) =
        counted(watch, "edges cut", |p| pellucid_interp::trace::knockout(model, ready, what, p))?;
    let first = items.first().map_or(&[][..], |i| &i.row.tokens);
    Ok(KnockoutReport {
        gate: of.gate.clone(),
        seed: of.seed.0,
        query: asked.query,
        window: asked.window,
        items: items.len(),
        left_out: ready.left_out + ready.items.len() - items.len(),
        tokens: first.iter().map(|id| token_of(model, *id)).collect(),
        cut,
    })
}
