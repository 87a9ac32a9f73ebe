//! A value of one text put into another, where the model itself says what it means: one token at every layer, read four ways;
//! and a behaviour at every pair of layers, in a target text or back in its own.

use super::behaviour::Measured;
use super::places::{AtShape, BackGridShape, LadderShape, PatchGridShape};
use super::shape::GateShape;
use super::{Steps, Watch, counted};
use crate::Loaded;
use crate::error::{Result, bad};
use crate::text::Text;
use crate::wire::{Placed as PlacedToken, Token};
use pellucid_core::Site;
use pellucid_interp::behaviour::Gate;
use pellucid_interp::lens::Fitted;
use pellucid_interp::patchscope::{
    self, Ask, At, BackGrid, DESCRIPTION, Grid, IDENTITY, Ladder, Placed, Target, back_grid, grid,
};
use pellucid_interp::stream::{depth_of, site_at};
use pellucid_model::{Generating, Model};
use serde::Serialize;
use std::collections::BTreeMap;
use utoipa::ToSchema;

/// A built-in target's text (`identity`, `description`), or the text itself.
pub fn target(name: &str) -> &str {
    match name {
        "identity" => IDENTITY,
        "description" => DESCRIPTION,
        text => text,
    }
}

/// What is read of one token's value.
#[derive(Clone, Debug)]
pub struct Reads {
    /// The token; negative counts from the end, none is the last.
    pub position: Option<i64>,
    /// The target: `identity`, `description`, or a text in which `{}` is the place.
    pub target: String,
    /// The place in the target, if not where `{}` stands; negative counts from the end.
    pub target_position: Option<i64>,
    /// Read this place alone; the stream at every layer if none.
    pub from: Option<Site>,
    /// Put every value here; where it came from if none.
    pub into: Option<Site>,
    /// Tokens that are written.
    pub generate: usize,
}

/// What the target goes on with, for each value.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ScopeReadings {
    /// The text whose value was read.
    pub prompt: Vec<PlacedToken>,
    /// Which token's.
    pub position: usize,
    /// The target.
    pub target: Vec<Token>,
    /// Its place.
    pub target_position: usize,
    /// What the target says with nothing put into it: the control.
    pub unpatched: String,
    /// One for each value.
    pub readings: Vec<ScopeReading>,
}

/// What the target goes on with, given one value.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ScopeReading {
    /// Where the value came from.
    #[schema(value_type = String)]
    pub source: Site,
    /// Where it was put.
    #[schema(value_type = String)]
    pub target: Site,
    /// What the model wrote.
    pub text: String,
    /// The likeliest first token.
    pub next: Token,
    /// Its probability.
    pub probability: f64,
}

/// One token at every layer, read four ways.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct LadderReport {
    /// The text.
    pub prompt: Vec<PlacedToken>,
    /// Which token was read.
    pub position: usize,
    /// The readings, and their control.
    #[serde(flatten)]
    #[schema(value_type = LadderShape)]
    pub ladder: Ladder,
    /// Texts of the tokens that are named.
    pub texts: BTreeMap<u32, String>,
}

/// A behaviour through a patchscope.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct PatchGridReport {
    /// How well the model shows the behaviour.
    #[schema(value_type = GateShape)]
    pub gate: Gate,
    /// Chose the items.
    pub seed: u64,
    /// The target's text.
    pub target: Option<String>,
    /// Which token of an item gave the value.
    #[schema(value_type = AtShape)]
    pub from: At,
    /// Every pair of depths.
    #[serde(flatten)]
    #[schema(value_type = PatchGridShape)]
    pub grid: Grid,
}

/// A behaviour with values put back in their own text.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct BackGridReport {
    /// How well the model shows the behaviour.
    #[schema(value_type = GateShape)]
    pub gate: Gate,
    /// Chose the items.
    pub seed: u64,
    /// None: the target is the item itself.
    pub target: Option<String>,
    /// Which token of an item was put back.
    #[schema(value_type = AtShape)]
    pub from: At,
    /// Every pair of depths.
    #[serde(flatten)]
    #[schema(value_type = BackGridShape)]
    pub grid: BackGrid,
}

fn depth(model: &Model, site: Site) -> Result<usize> {
    model.check_site(site)?;
    match depth_of(site) {
        Some(depth) => Ok(depth),
        None => bad(format!("{site} is not the stream between blocks; name resid_pre.0 or a resid_post")),
    }
}

/// Has the target go on from each value; values are mapped first where there is a map.
///
/// # Errors
/// If a position or place does not exist, the map does not belong to the model, or a run fails or is stopped.
pub fn readings(
    loaded: &Loaded,
    text: &Text,
    asked: &Reads,
    map: Option<&Fitted>,
    watch: Watch<'_>,
) -> Result<ScopeReadings> {
    let model = &loaded.model;
    if asked.generate == 0 {
        return bad("at least one token must be written");
    }
    let position = text.position(asked.position)?;
    if let Some(map) = map {
        map.check(model)?;
    }
    let mut place = Placed::new(model, target(&asked.target))?;
    if let Some(p) = asked.target_position {
        place = Placed::at(place.row, p)?;
    }
    let from: Vec<usize> = match asked.from {
        Some(site) => vec![depth(model, site)?],
        None => (0..=model.spec().n_layers).collect(),
    };
    let into = match (map, asked.into) {
        (Some(map), _) => Some(depth(model, map.card.to)?),
        (None, into) => into.map(|site| depth(model, site)).transpose()?,
    };
    let scope = Target::new(model, place)?;
    let source = Target::new(model, Placed::at(text.row.clone(), position as i64)?)?;
    let how = Generating { stop: vec!["\n".to_owned()], ..Generating::greedy(asked.generate) };
    let one = |from: usize| -> pellucid_interp::Result<ScopeReading> {
        let mut value = source.own(from)?;
        if let Some(map) = map {
            value = map.vector(site_at(from), value)?;
        }
        let into = into.unwrap_or(from);
        let written = scope.write(into, value, &how)?;
        let first = written.steps.first();
        Ok(ScopeReading {
            source: site_at(from),
            target: site_at(into),
            text: written.text.clone(),
            next: loaded.token(first.map_or(0, |s| s.id)),
            probability: first.map_or(0.0, |s| f64::from(s.log_prob).exp()),
        })
    };
    let unpatched = scope.write(0, scope.own(0)?, &how)?.text;
    let readings = Steps::begin(watch, "values read", from.len())?.each(|p| {
        let step = |depth| {
            let reading = one(depth)?;
            p().map(|()| reading)
        };
        from.into_iter().map(step).collect::<pellucid_interp::Result<Vec<_>>>()
    })?;
    let place = scope.place();
    Ok(ScopeReadings {
        prompt: text.tokens.clone(),
        position,
        target: place.row.tokens.iter().map(|id| loaded.token(*id)).collect(),
        target_position: place.position,
        unpatched,
        readings,
    })
}

/// Reads one token at every depth, by the logit lens, a fitted lens, the identity prompt, and put back in its own text. It
/// follows a token, by default the one that the model says.
///
/// # Errors
/// If the position or token does not exist, the lens does not belong to the model, or a run fails or is stopped.
pub fn ladder(
    loaded: &Loaded,
    text: &Text,
    (position, watched): (Option<i64>, Option<u32>),
    fitted: Option<&Fitted>,
    back_by: usize,
    watch: Watch<'_>,
) -> Result<LadderReport> {
    let position = text.position(position)?;
    let source = Placed { row: text.row.clone(), position };
    let model = &loaded.model;
    let ladder =
        counted(watch, "depths read", |p| patchscope::ladder(model, &source, watched, fitted, back_by, p))?;
    let mut texts = BTreeMap::new();
    let said = ladder.rungs.iter().flat_map(|r| {
        [Some(&r.logit), r.fitted.as_ref(), Some(&r.patchscope), r.back.as_ref()].into_iter().flatten()
    });
    for id in said.map(|s| s.top).chain([ladder.watched, ladder.unpatched.top]) {
        texts.entry(id).or_insert_with(|| loaded.token(id).text);
    }
    Ok(LadderReport { prompt: text.tokens.clone(), position, ladder, texts })
}

/// A behaviour at every pair of depths: how often does the target say the right answer?
///
/// # Errors
/// If the model does not show the behaviour, the target has no place, an item no subject, or a run fails or is stopped.
pub fn patch_grid(
    model: &Model,
    of: &Measured,
    ask: &Ask,
    map: Option<&Fitted>,
    anyway: bool,
    watch: Watch<'_>,
) -> Result<PatchGridReport> {
    of.gate.pass(anyway)?;
    let ask = Ask { target: target(&ask.target).to_owned(), every: ask.every.max(1), ..*ask };
    let grid = counted(watch, "pairs of layers tried", |p| grid(model, &of.ready, &ask, map, p))?;
    let (gate, seed) = (of.gate.clone(), of.seed.0);
    Ok(PatchGridReport { gate, seed, target: Some(ask.target), from: ask.at, grid })
}

/// Values of later layers put back at earlier ones of the same text, at every `every`th layer.
///
/// # Errors
/// If the model does not show the behaviour, an item has no subject, or a run fails or is stopped.
pub fn put_back(
    model: &Model,
    of: &Measured,
    (from, every): (At, usize),
    anyway: bool,
    watch: Watch<'_>,
) -> Result<BackGridReport> {
    of.gate.pass(anyway)?;
    let every = every.max(1);
    let grid = counted(watch, "pairs of layers tried", |p| back_grid(model, &of.ready, from, every, p))?;
    Ok(BackGridReport { gate: of.gate.clone(), seed: of.seed.0, target: None, from, grid })
}
