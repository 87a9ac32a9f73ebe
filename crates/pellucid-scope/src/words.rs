//! The words that stand for a unit: its chosen description with what makes it believable.

use crate::Result;
use pellucid_core::{Polarity, Site};
use pellucid_store::atlas::{Atlas, Description, DescriptionId, Explainer, ScoreKind, Written};
use serde::Serialize;
use utoipa::ToSchema;

/// The kind of score that says whether a unit is worth a person's time, 1 or 0.
pub const INTERESTING: &str = "interesting";

/// The kind of score that is the share of active mass on one token.
pub const SINGLE_TOKEN: &str = "single_token";

/// A description and how it was judged.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Words {
    /// What the unit responds to.
    pub text: String,
    /// Who wrote it.
    pub explainer: String,
    /// Correlation of simulated with real activations on held-out text.
    pub score: Option<f64>,
    /// Its 95% interval.
    pub interval: Option<(f64, f64)>,
    /// The same with another unit's words.
    pub null: Option<f64>,
    /// Whether the unit is worth a person's time, by the documented rule.
    pub interesting: Option<bool>,
}

/// Who wrote a description, for a reader.
pub(crate) fn author(e: &Explainer) -> String {
    let model = if e.model.is_empty() { String::new() } else { format!(" ({})", e.model) };
    format!("{} {}{model}", e.name, e.version).trim_end().to_owned()
}

/// The chosen description of a unit's side; none if it has none.
pub(crate) fn chosen(
    atlas: &Atlas,
    site: Site,
    index: u32,
    polarity: Polarity,
) -> Result<Option<(DescriptionId, Words)>> {
    let found = atlas.descriptions(site, index, polarity)?.into_iter().find(|(_, d)| d.chosen);
    let Some((id, Description { written: Written::Text { text, .. }, explainer, .. })) = found else {
        return Ok(None);
    };
    let scores = atlas.scores(id)?;
    let simulation = scores.iter().find(|s| s.kind == ScoreKind::Simulation);
    let interesting = scores.iter().find(|s| s.kind.name() == INTERESTING).map(|s| s.value > 0.5);
    Ok(Some((
        id,
        Words {
            text,
            explainer: author(&explainer),
            score: simulation.map(|s| s.value),
            interval: simulation.and_then(|s| s.interval),
            null: simulation.and_then(|s| s.null),
            interesting,
        },
    )))
}
