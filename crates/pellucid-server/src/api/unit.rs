//! One unit: what is known of it, what it does on a text, and what people say of it.

use super::ask::unit_id;
use crate::App;
use crate::error::{ApiError, ApiResult};
use crate::work::{Asker, Body, Query, run};
use axum::Json;
use axum::extract::State;
use pellucid_core::{Edit, UnitId};
use pellucid_scope as scope;
use pellucid_scope::EditShape;
use pellucid_scope::TextSpec;
use pellucid_store::atlas::{Atlas, AtlasError, Description, DescriptionId, Explainer, Written};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

#[derive(Deserialize, IntoParams)]
pub(crate) struct UnitQuery {
    /// Such as `mlp_act.3/1054`, or with a side, `mlp_act.3/1054+`, or a latent, `sae:NAME/7`.
    unit: String,
    /// Exemplars of each kind and side (8 if none).
    #[serde(default)]
    examples: Option<usize>,
}

/// The dictionary that a unit is a latent of.
fn dictionary_of(unit: &UnitId) -> Option<&str> {
    match unit {
        UnitId::Latent { dictionary, .. } => Some(dictionary),
        UnitId::Site { .. } => None,
    }
}

pub(crate) async fn unit(
    State(app): State<Arc<App>>,
    asker: Asker,
    Query(asked): Query<UnitQuery>,
) -> ApiResult<Json<scope::UnitReply>> {
    run(&app, &asker, move |app| {
        // a plus sign in an address is read as a space
        let unit = unit_id(asked.unit.trim_end_matches(' '))?;
        let how = scope::Showing { examples: asked.examples.unwrap_or(8).min(50), outputs: 12, nearest: 8 };
        let atlas = app.atlas_of(dictionary_of(&unit))?;
        Ok(Json(scope::unit(&app.loaded, atlas.as_deref(), &unit, how)?))
    })
    .await
}

/// A unit on the user's own text.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TestRequest {
    unit: String,
    text: TextSpec,
    #[serde(default)]
    #[schema(value_type = Vec<EditShape>)]
    edits: Vec<Edit>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct TestReply {
    prompt: Vec<scope::Placed>,
    /// The unit's activation at each token.
    values: Vec<f32>,
    /// Its typical strength on each side.
    scale: Option<Scale>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Scale {
    #[serde(rename = "+")]
    positive: f32,
    #[serde(rename = "-")]
    negative: f32,
}

pub(crate) async fn test(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<TestRequest>,
) -> ApiResult<Json<TestReply>> {
    run(&app, &asker, move |app| {
        app.check_edits(asked.edits.len())?;
        let (unit, text) = (unit_id(&asked.unit)?, app.text(&asked.text)?);
        let atlas = app.atlas_of(dictionary_of(&unit))?;
        let found = scope::test(&app.loaded, atlas.as_deref(), &unit, text, &asked.edits)?;
        let scale = found.scales.map(|[positive, negative]| Scale { positive, negative });
        Ok(Json(TestReply { prompt: found.prompt, values: found.values, scale }))
    })
    .await
}

/// A person's words for a unit's side.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct DescribeRequest {
    /// With its side: `mlp_act.3/1054+`; a latent, `sae:NAME/7`, has one.
    unit: String,
    text: String,
    author: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct DescribeReply {
    id: i64,
}

/// Most characters of a person's description, and of a name.
const TEXT: usize = 500;
const NAME: usize = 80;

fn said(what: &str, text: &str, most: usize) -> ApiResult<String> {
    let text = text.trim();
    match text.chars().count() {
        0 => Err(ApiError::bad(format!("{what} is empty"))),
        n if n > most => Err(ApiError::bad(format!("{what} has {n} characters; at most {most}"))),
        _ => Ok(text.to_owned()),
    }
}

pub(crate) async fn describe(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<DescribeRequest>,
) -> ApiResult<Json<DescribeReply>> {
    run(&app, &asker, move |app| {
        let unit = unit_id(&asked.unit)?;
        let scope::Spot { site, index, sides } = scope::place(&app.loaded, &unit)?;
        let &[polarity] = sides.as_slice() else {
            return Err(ApiError::bad(format!(
                "{}: expected a unit with its side of zero, such as mlp_act.3/1054+",
                asked.unit
            )));
        };
        let explainer = Explainer {
            name: "person".to_owned(),
            version: said("author", &asked.author, NAME)?,
            ..Explainer::default()
        };
        let text = said("text", &asked.text, TEXT)?;
        let mut atlas = writable(app, dictionary_of(&unit))?;
        // one person may say several things
        let before = atlas.descriptions(site, index, polarity)?;
        let candidate = before.iter().filter(|(_, d)| d.explainer == explainer).count() as u32;
        let written = Written::Text { text, short: None };
        let new = Description { site, index, polarity, explainer, candidate, written, chosen: false };
        Ok(Json(DescribeReply { id: atlas.add_description(&new)?.0 }))
    })
    .await
}

/// A vote on a description; a second one of the same voter takes the place of the first.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct VoteRequest {
    id: i64,
    /// The dictionary whose latent it describes, if it is one's.
    #[serde(default)]
    dictionary: Option<String>,
    voter: String,
    up: bool,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct VoteReply {
    up: u64,
    down: u64,
}

pub(crate) async fn vote(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<VoteRequest>,
) -> ApiResult<Json<VoteReply>> {
    run(&app, &asker, move |app| {
        let voter = said("voter", &asked.voter, NAME)?;
        let mut atlas = writable(app, asked.dictionary.as_deref())?;
        let id = DescriptionId(asked.id);
        atlas.vote(id, &voter, asked.up)?;
        let (up, down) = atlas.votes(id)?;
        Ok(Json(VoteReply { up, down }))
    })
    .await
}

/// The atlas to write one thing to. It has one writer at a time; while it is being built that is the builder.
fn writable(app: &App, dictionary: Option<&str>) -> ApiResult<Atlas> {
    let path = app.need_atlas_of(dictionary)?.atlas().path().to_owned();
    Atlas::open_write(&path).map_err(|error| match error {
        AtlasError::Busy { .. } => ApiError::conflict(
            "the atlas is being written by another program (perhaps it is being built); try again later",
        ),
        other => other.into(),
    })
}
