//! At which layers a behaviour's answer wins: what each depth would say if the model stopped there.

use super::behaviour::Measured;
use super::places::{WinsAtShape, WinsShape};
use super::shape::GateShape;
use super::{Watch, counted};
use crate::error::Result;
use pellucid_core::Site;
use pellucid_interp::behaviour::Gate;
use pellucid_interp::lens::{Fitted, Wins, WinsAt, wins};
use pellucid_interp::stream::depth_of;
use pellucid_model::Model;
use serde::Serialize;
use utoipa::ToSchema;

/// A behaviour through a lens, depth by depth.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct LensReport {
    /// `logit`, or `fitted` where values were mapped first.
    #[schema(value_type = String)]
    pub lens: &'static str,
    /// Chose the items.
    pub seed: u64,
    /// How well the model shows the behaviour.
    #[schema(value_type = GateShape)]
    pub gate: Gate,
    /// All items at each depth, the embedding first.
    #[schema(value_type = Vec<WinsShape>)]
    pub depths: Vec<Wins>,
    /// By item.
    #[schema(value_type = Vec<WinsAtShape>)]
    pub wins_at: Vec<WinsAt>,
    /// Median over the items that are answered right at the end.
    #[schema(value_type = Option<String>)]
    pub median_wins_at: Option<Site>,
}

/// Reads every item at its last token, at every depth.
///
/// # Errors
/// If the model does not show the behaviour, the lens does not belong to the model, or a run fails or is stopped.
pub fn lens(
    model: &Model,
    of: &Measured,
    fitted: Option<&Fitted>,
    anyway: bool,
    watch: Watch<'_>,
) -> Result<LensReport> {
    of.gate.pass(anyway)?;
    let (depths, wins_at) = counted(watch, "depths read", |p| wins(model, &of.ready, fitted, p))?;
    let mut won: Vec<Site> = wins_at.iter().filter_map(|w| w.site).collect();
    won.sort_by_key(|s| depth_of(*s));
    Ok(LensReport {
        lens: if fitted.is_some() { "fitted" } else { "logit" },
        seed: of.seed.0,
        gate: of.gate.clone(),
        depths,
        wins_at,
        median_wins_at: won.get(won.len() / 2).copied(),
    })
}
