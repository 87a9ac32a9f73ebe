//! From what the user wants changed to plain edits: by concept, by unit, or edits as they are.

use crate::error::{Result, bad};
use crate::find::find;
use crate::shape::{EditShape, PositionsShape};
use crate::shelf::Opened;
use crate::unit::Spot;
use crate::{Finding, Found, Loaded, Meaning};
use pellucid_core::{Edit, Index, Op, Polarity, Positions, Site, Target, UnitId};
use pellucid_store::atlas::Hit;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// What is to be changed, and how.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Steering {
    /// The user's name for it.
    pub name: String,
    /// Which units.
    pub what: What,
    /// What becomes of them.
    pub change: Change,
    /// At which tokens: `"all"`, `{"at": […]}`, `{"range": [from, to]}` or `{"role": …}`.
    #[serde(default)]
    #[schema(value_type = PositionsShape, required)]
    pub positions: Positions,
}

/// Which units are changed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// The units whose descriptions are nearest to some words.
    Concept {
        /// What they are about.
        text: String,
        /// How many.
        k: usize,
        /// The least score of their descriptions on held-out text (0.2 if none).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        score: Option<f64>,
        /// Latents of this dictionary instead of the model's own units.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[schema(nullable = false)]
        dictionary: Option<String>,
    },
    /// These units: `mlp_act.3/1054+`, `z.3/h5`, `sae:NAME/7`.
    Units(Vec<String>),
    /// These edits, as they are; the change and the positions are not looked at.
    #[schema(value_type = Vec<EditShape>)]
    Edits(Vec<Edit>),
}

/// What becomes of the units.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Set to this times the unit's typical strength, on its side of zero; 0 turns it off.
    Strength(f32),
    /// Multiplied by this.
    Scale(f32),
}

/// What became of a steering.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Steered {
    /// Its name.
    pub name: String,
    /// The edits.
    #[schema(value_type = Vec<EditShape>)]
    pub edits: Vec<Edit>,
    /// The units that were taken (empty where edits were given).
    pub units: Vec<Found>,
}

/// The score that descriptions of a concept's units have at least, unless the user says otherwise.
const SCORE: f64 = 0.2;

/// Which dictionary's latents a steering is of; none where it is of the model's own units or of edits.
///
/// # Errors
/// If it names units of both, or of several dictionaries.
pub fn steered_dictionary(asked: &Steering) -> Result<Option<String>> {
    let units = match &asked.what {
        What::Units(units) => units,
        What::Concept { dictionary, .. } => return Ok(dictionary.clone()),
        What::Edits(_) => return Ok(None),
    };
    let of = |name: &String| match name.parse() {
        Ok(UnitId::Latent { dictionary, .. }) => Some(dictionary),
        _ => None,
    };
    let all: BTreeSet<Option<String>> = units.iter().map(of).collect();
    match all.len() {
        0 | 1 => Ok(all.into_iter().next().flatten()),
        _ => bad(format!("{}: name the model's own units or one dictionary's latents, not both", asked.name)),
    }
}

/// Turns what is wanted into edits, one for each site. `opened` is the atlas of the units that are meant
/// ([`steered_dictionary`]).
///
/// # Errors
/// If a unit does not exist, nothing fits a concept, or a strength is asked of a unit without a typical one.
pub fn steer(
    loaded: &Loaded,
    opened: Option<&Opened>,
    meaning: &Meaning,
    asked: &Steering,
) -> Result<Steered> {
    let name = asked.name.clone();
    match &asked.what {
        What::Edits(edits) => Ok(Steered { name, edits: edits.clone(), units: Vec::new() }),
        What::Units(units) => {
            let units = units.iter().map(|u| place(loaded, u)).collect::<Result<Vec<_>>>()?;
            let edits = edits(opened, &units, asked)?;
            Ok(Steered { name, edits, units: shown(opened, &units)? })
        }
        What::Concept { text, k, score, .. } => {
            let Some(opened) = opened else {
                return bad("steering by concept takes an atlas, and this model has none yet");
            };
            let finding = Finding {
                query: text.clone(),
                words: false,
                k: *k,
                layers: None,
                polarity: None,
                dictionary: None,
                site: None,
                point: None,
                score: Some(score.unwrap_or(SCORE)),
                sort: crate::Order::Nearest,
            };
            let hits = find(opened, meaning, &finding)?;
            if hits.is_empty() {
                return bad(format!(
                    "no unit of the atlas is described well enough for {text:?}; lower the least score"
                ));
            }
            let edits = edits(Some(opened), &once(&hits), asked)?;
            Ok(Steered { name, edits, units: hits.iter().map(Found::of).collect() })
        }
    }
}

/// A unit to be changed.
#[derive(Clone)]
struct Unit {
    site: Site,
    /// The dictionary that it is a latent of.
    dictionary: Option<String>,
    index: Index,
    polarity: Option<Polarity>,
}

fn place(loaded: &Loaded, name: &str) -> Result<Unit> {
    let (site, index, polarity) = match name.parse()? {
        UnitId::Site { site, index, polarity } => (site, index, polarity),
        unit @ UnitId::Latent { .. } => {
            let Spot { site, index, .. } = crate::place(loaded, &unit)?;
            let UnitId::Latent { dictionary, .. } = unit else { return bad("no latent") };
            let polarity = Some(Polarity::Positive);
            return Ok(Unit {
                site,
                dictionary: Some(dictionary),
                index: Index::Coordinate(index),
                polarity,
            });
        }
    };
    loaded.model.check_site(site)?;
    let spec = loaded.model.spec();
    let (i, count) = match index {
        Index::Coordinate(i) => (i as usize, spec.width_at(site.point)),
        Index::Head(h) => (h as usize, spec.heads_at(site.point)),
    };
    match count {
        Some(count) if i < count => Ok(Unit { site, dictionary: None, index, polarity }),
        Some(count) => bad(format!("{name} does not exist: {site} has {count}, counted from 0")),
        None => bad(format!("{name} is no value of a token")),
    }
}

/// Hits as units, each once: both sides of one unit can fit a concept; the nearer stands.
fn once(hits: &[Hit]) -> Vec<Unit> {
    let mut seen = BTreeSet::new();
    let new = hits.iter().filter(|hit| seen.insert((hit.site, hit.index)));
    let unit = |h: &Hit| Unit {
        site: h.site,
        dictionary: h.dictionary.clone(),
        index: Index::Coordinate(h.index),
        polarity: Some(h.polarity),
    };
    new.map(unit).collect()
}

fn edits(opened: Option<&Opened>, units: &[Unit], asked: &Steering) -> Result<Vec<Edit>> {
    // by site (and dictionary): coordinates with their values, and heads
    type Parts = (BTreeMap<u32, f32>, BTreeSet<u32>);
    let mut by_site: BTreeMap<(Site, Option<String>), Parts> = BTreeMap::new();
    for unit in units {
        let entry = by_site.entry((unit.site, unit.dictionary.clone())).or_default();
        match unit.index {
            Index::Coordinate(i) => {
                entry.0.insert(i, value(opened, unit, i, asked.change)?);
            }
            Index::Head(h) => {
                if matches!(asked.change, Change::Strength(s) if s != 0.0) {
                    return bad(format!(
                        "{}/h{h}: a head has no typical strength; scale it, or turn it off",
                        unit.site
                    ));
                }
                entry.1.insert(h);
            }
        }
    }
    let mut all = Vec::new();
    for ((site, dictionary), (coordinates, heads)) in by_site {
        let edit = |target, op| Edit { site, target, positions: asked.positions.clone(), op };
        let plain = match asked.change {
            Change::Strength(_) => Op::Zero,
            Change::Scale(factor) => Op::Scale(factor),
        };
        if !coordinates.is_empty() {
            let indices = coordinates.keys().copied().collect();
            let target = match dictionary {
                Some(dictionary) => Target::Latents { dictionary, indices },
                None => Target::Units(indices),
            };
            let op = match asked.change {
                Change::Strength(s) if s != 0.0 => Op::Set(coordinates.into_values().collect()),
                _ => plain.clone(),
            };
            all.push(edit(target, op));
        }
        if !heads.is_empty() {
            all.push(edit(Target::Heads(heads.into_iter().collect()), plain));
        }
    }
    Ok(all)
}

/// What a coordinate is set to; of no account where it is turned off or scaled.
fn value(opened: Option<&Opened>, unit: &Unit, index: u32, change: Change) -> Result<f32> {
    let strength = match change {
        Change::Strength(s) if s != 0.0 => s,
        _ => return Ok(0.0),
    };
    if !strength.is_finite() {
        return bad("a strength must be a finite number");
    }
    let side = unit.polarity.unwrap_or(Polarity::Positive);
    let scale = opened.map_or(0.0, |o| o.scale(unit.site, index, side));
    if scale == 0.0 {
        return bad(format!(
            "{}/{index}{side} has no typical strength in an atlas; scale it, or turn it off",
            unit.site
        ));
    }
    let sign = if side == Polarity::Positive { 1.0 } else { -1.0 };
    Ok(sign * strength * scale)
}

/// Units for a reader: those with a description as in a search, the others by name.
fn shown(opened: Option<&Opened>, units: &[Unit]) -> Result<Vec<Found>> {
    let Some(opened) = opened else { return Ok(Vec::new()) };
    let mut all = Vec::new();
    for unit in units {
        let Index::Coordinate(index) = unit.index else { continue };
        let mut query = pellucid_store::atlas::Query::all(2);
        (query.site, query.index, query.polarity) = (Some(unit.site), Some(index), unit.polarity);
        all.extend(opened.atlas().find(&query)?.iter().map(Found::of));
    }
    Ok(all)
}
