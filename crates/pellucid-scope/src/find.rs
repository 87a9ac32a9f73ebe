//! Units by what their descriptions mean or say.

use crate::shape::PolarityShape;
use crate::shelf::Opened;
use crate::{ENCODER, Meaning, Result};
use pellucid_core::{Point, Polarity, Site};
use pellucid_store::atlas::{Hit, Query, ScoreKind, Sort};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which units.
#[derive(Clone, Debug, PartialEq, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What they should be about; with nothing, all of them.
    #[serde(default)]
    pub query: String,
    /// The description must hold these words, instead of meaning the same.
    #[serde(default)]
    pub words: bool,
    /// How many at most.
    #[serde(default = "twenty")]
    pub k: usize,
    /// Only these layers, from the first to the last.
    #[serde(default)]
    pub layers: Option<(u32, u32)>,
    /// Only one side of zero: `+` or `-`.
    #[serde(default)]
    #[schema(value_type = Option<PolarityShape>)]
    pub polarity: Option<String>,
    /// Latents of this dictionary instead of the model's own units: whoever opens the atlas looks at it.
    #[serde(default)]
    pub dictionary: Option<String>,
    /// Only units at this site.
    #[serde(default, skip_deserializing)]
    #[schema(ignore)]
    pub site: Option<Site>,
    /// Only units at this point.
    #[serde(default, skip_deserializing)]
    #[schema(ignore)]
    pub point: Option<Point>,
    /// The least simulation score on held-out text.
    #[serde(default)]
    pub score: Option<f64>,
    /// In which order.
    #[serde(default)]
    pub sort: Order,
}

fn twenty() -> usize {
    20
}

/// The order of hits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// The nearest in meaning first.
    #[default]
    Nearest,
    /// The best score first.
    Score,
    /// The rarest first.
    Density,
    /// By layer and index.
    Unit,
}

/// A unit that was found.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Found {
    /// The unit with its side of zero.
    pub unit: String,
    /// Its layer.
    pub layer: u32,
    /// What it responds to.
    pub description: String,
    /// Cosine with what was looked for.
    pub similarity: Option<f32>,
    /// Simulation score on held-out text.
    pub score: Option<f64>,
    /// How often it is active, as a share of tokens.
    pub density: f64,
}

impl Found {
    /// A hit for the wire.
    pub fn of(hit: &Hit) -> Self {
        Found {
            unit: unit_name(hit),
            layer: hit.site.layer,
            description: hit.text.clone(),
            similarity: hit.cosine,
            score: hit.score,
            density: hit.density,
        }
    }
}

/// A hit's unit with its side.
pub fn unit_name(hit: &Hit) -> String {
    hit.unit().to_string()
}

/// Reads `+` or `-`.
pub(crate) fn side(polarity: Option<&str>) -> Result<Option<Polarity>> {
    match polarity {
        None => Ok(None),
        Some("+") => Ok(Some(Polarity::Positive)),
        Some("-") => Ok(Some(Polarity::Negative)),
        Some(other) => crate::error::bad(format!("polarity {other:?}: expected \"+\" or \"-\"")),
    }
}

/// The units that fit.
///
/// # Errors
/// If the request contradicts itself, or the atlas or encoder cannot be read.
pub fn find(opened: &Opened, meaning: &Meaning, asked: &Finding) -> Result<Vec<Hit>> {
    let mut query = Query::all(asked.k);
    query.layers = asked.layers.map(|(from, to)| from..=to);
    query.polarity = side(asked.polarity.as_deref())?;
    query.site = asked.site;
    query.point = asked.point;
    query.score = asked.score.map(|least| (ScoreKind::Simulation, least));
    query.sort = match asked.sort {
        Order::Nearest => Sort::Nearest,
        Order::Score => Sort::Score,
        Order::Density => Sort::Density,
        Order::Unit => Sort::Unit,
    };
    let wanted = asked.query.trim();
    if asked.words && !wanted.is_empty() {
        query.text = Some(wanted.to_owned());
    } else if !wanted.is_empty() {
        query.vector = Some((ENCODER.to_owned(), meaning.of(wanted)?));
    }
    Ok(opened.atlas().find(&query)?)
}
