//! Questions about a text. Each takes the text, the edits that the run is under, and what is asked.

use crate::App;
use crate::error::{ApiError, ApiResult};
use crate::work::{Asker, Body, run};
use axum::Json;
use axum::extract::State;
use pellucid_core::{Edit, UnitId};
use pellucid_scope as scope;
use pellucid_scope::{Aim, Placed, ReadToken, Steered, Steering, Sum, TextSpec};
use pellucid_scope::{EditShape, PolarityShape};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

type Answer<T> = ApiResult<Json<T>>;

/// What was likely at each place of a text.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ScoreRequest {
    text: TextSpec,
    #[serde(default)]
    #[schema(value_type = Vec<EditShape>)]
    edits: Vec<Edit>,
    /// How many next tokens at each place.
    #[serde(default)]
    top: usize,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ScoreReply {
    prompt: Vec<Placed>,
    tokens: Vec<ReadToken>,
}

/// Most next tokens at a place.
const TOP: usize = 50;

pub(crate) async fn score(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<ScoreRequest>,
) -> Answer<ScoreReply> {
    run(&app, &asker, move |app| {
        app.check_edits(asked.edits.len())?;
        let text = app.text(&asked.text)?;
        let apply = text.edits(&app.loaded, &asked.edits)?;
        let tokens = scope::read(&app.loaded, &text, apply.as_ref(), asked.top.min(TOP))?;
        Ok(Json(ScoreReply { prompt: text.tokens, tokens }))
    })
    .await
}

/// Why a token?
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ExplainRequest {
    text: TextSpec,
    #[serde(default)]
    #[schema(value_type = Vec<EditShape>)]
    edits: Vec<Edit>,
    metric: Aim,
    /// Only effects at these positions, from the first to before the second.
    #[serde(default)]
    positions: Option<(usize, usize)>,
    #[serde(default)]
    by: Sum,
    /// The dictionary whose latents are meant; where there is one only, that.
    #[serde(default)]
    dictionary: Option<String>,
    /// How many units (300 if none).
    #[serde(default)]
    units: Option<usize>,
    /// The least score of a description that is clustered (0.2 if none).
    #[serde(default)]
    score: Option<f64>,
    #[serde(default)]
    seed: u64,
}

/// Most units of an answer: clustering takes time and memory with the square.
const UNITS: usize = 2000;

fn at_most(what: &str, asked: usize, most: usize) -> ApiResult<usize> {
    match asked <= most {
        true => Ok(asked),
        false => Err(ApiError::large(format!("{what} is {asked}; at most {most}"))),
    }
}

pub(crate) async fn explain(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<ExplainRequest>,
) -> Answer<scope::ExplainReply> {
    run(&app, &asker, move |app| {
        app.check_edits(asked.edits.len())?;
        let mut question = scope::Explaining::new(asked.metric);
        question.positions = asked.positions;
        question.by = asked.by;
        question.units = at_most("units", asked.units.unwrap_or(question.units), UNITS)?;
        question.score = asked.score.unwrap_or(question.score);
        question.seed = asked.seed;
        let dictionary = match asked.by {
            Sum::Latent => Some(app.loaded.dictionary(asked.dictionary.as_deref())?.name.clone()),
            _ => None,
        };
        let (text, atlas) = (app.text(&asked.text)?, app.atlas_of(dictionary.as_deref())?);
        question.dictionary = dictionary;
        let reply =
            scope::explain(&app.loaded, atlas.as_deref(), &app.meaning, text, &asked.edits, &question)?;
        Ok(Json(reply))
    })
    .await
}

/// Do it and look.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AblateRequest {
    text: TextSpec,
    #[serde(default)]
    #[schema(value_type = Vec<EditShape>)]
    edits: Vec<Edit>,
    metric: Aim,
    /// Neurons or heads.
    units: Vec<String>,
    /// How many random groups (5 if none).
    #[serde(default)]
    draws: Option<usize>,
    #[serde(default)]
    seed: u64,
}

pub(crate) async fn ablate(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<AblateRequest>,
) -> Answer<scope::AblateReply> {
    run(&app, &asker, move |app| {
        app.check_edits(asked.edits.len() + asked.units.len())?;
        let units = asked.units.iter().map(|u| unit_id(u)).collect::<ApiResult<Vec<_>>>()?;
        let draws = asked.draws.unwrap_or(5);
        let question = scope::Ablating { metric: asked.metric, units, draws, seed: asked.seed };
        Ok(Json(scope::ablate(&app.loaded, app.text(&asked.text)?, &asked.edits, &question)?))
    })
    .await
}

/// Reads a unit's name.
pub(crate) fn unit_id(name: &str) -> ApiResult<UnitId> {
    name.parse().map_err(|e: pellucid_core::NameError| ApiError::bad(e.to_string()))
}

/// Which neurons were active.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ActivationsRequest {
    text: TextSpec,
    #[serde(default)]
    #[schema(value_type = Vec<EditShape>)]
    edits: Vec<Edit>,
    /// Only activations at these positions, from the first to before the second.
    #[serde(default)]
    positions: Option<(usize, usize)>,
    /// Only these layers, from the first to the last.
    #[serde(default)]
    layers: Option<(u32, u32)>,
    /// Only one side of zero.
    #[serde(default)]
    #[schema(value_type = Option<PolarityShape>)]
    polarity: Option<String>,
    /// The description must hold these words.
    #[serde(default)]
    words: Option<String>,
    /// The least activation by typical strength (1 if none).
    #[serde(default)]
    least: Option<f32>,
    /// How many units (300 if none).
    #[serde(default)]
    top: Option<usize>,
}

pub(crate) async fn activations(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<ActivationsRequest>,
) -> Answer<scope::ActivationsReply> {
    run(&app, &asker, move |app| {
        app.check_edits(asked.edits.len())?;
        let question = scope::Looking {
            positions: asked.positions,
            layers: asked.layers,
            polarity: asked.polarity,
            words: asked.words,
            least: asked.least.unwrap_or(1.0),
            top: at_most("top", asked.top.unwrap_or(300), UNITS)?,
        };
        let (text, atlas) = (app.text(&asked.text)?, app.atlas()?);
        Ok(Json(scope::activations(&app.loaded, atlas.as_deref(), text, &asked.edits, &question)?))
    })
    .await
}

/// One text, plain and edited.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct CompareRequest {
    text: TextSpec,
    #[schema(value_type = Vec<EditShape>)]
    edits: Vec<Edit>,
    /// Only neurons that changed at these positions, from the first to before the second.
    #[serde(default)]
    positions: Option<(usize, usize)>,
    /// How many units (100 if none).
    #[serde(default)]
    top: Option<usize>,
}

pub(crate) async fn compare(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<CompareRequest>,
) -> Answer<scope::CompareReply> {
    run(&app, &asker, move |app| {
        app.check_edits(asked.edits.len())?;
        let top = at_most("top", asked.top.unwrap_or(100), UNITS)?;
        let question = scope::Comparing { positions: asked.positions, top };
        let (text, atlas) = (app.text(&asked.text)?, app.atlas()?);
        Ok(Json(scope::compare(&app.loaded, atlas.as_deref(), text, &asked.edits, &question)?))
    })
    .await
}

/// What is to be changed, in words or by unit.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SteerRequest {
    specs: Vec<Steering>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct SteerReply {
    specs: Vec<Steered>,
}

/// Most steerings of a run, and most units of one.
const SPECS: usize = 64;

pub(crate) async fn steer(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<SteerRequest>,
) -> Answer<SteerReply> {
    run(&app, &asker, move |app| {
        at_most("the number of specs", asked.specs.len(), SPECS)?;
        let one = |spec: &Steering| {
            let dictionary = scope::steered_dictionary(spec)?;
            let atlas = app.atlas_of(dictionary.as_deref())?;
            let units = match &spec.what {
                scope::What::Concept { k, .. } => *k,
                scope::What::Units(units) => units.len(),
                scope::What::Edits(edits) => edits.len(),
            };
            at_most("the number of units of a spec", units, app.limits.edits)?;
            let steered = scope::steer(&app.loaded, atlas.as_deref(), &app.meaning, spec)?;
            // an edit that does not fit the model is said now, and not when it is used
            pellucid_model::Apply::new(&app.loaded.model, &steered.edits)?;
            Ok(steered)
        };
        let specs = asked.specs.iter().map(one).collect::<ApiResult<_>>()?;
        Ok(Json(SteerReply { specs }))
    })
    .await
}

pub(crate) async fn find(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<scope::Finding>,
) -> Answer<Vec<scope::Found>> {
    run(&app, &asker, move |app| {
        at_most("k", asked.k, UNITS)?;
        let atlas = app.need_atlas_of(asked.dictionary.as_deref())?;
        let hits = scope::find(&atlas, &app.meaning, &asked)?;
        Ok(Json(hits.iter().map(scope::Found::of).collect()))
    })
    .await
}

/// What the model would say if it stopped at each layer.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LensRequest {
    text: TextSpec,
    #[serde(default)]
    #[schema(value_type = Vec<EditShape>)]
    edits: Vec<Edit>,
    /// From the first to before the second; 128 at most.
    positions: (usize, usize),
    /// Tokens whose rank is followed.
    #[serde(default)]
    watch: Vec<u32>,
    /// How many top tokens.
    top: usize,
    /// Also between attention and MLP.
    #[serde(default)]
    sub_blocks: bool,
}

pub(crate) async fn lens(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<LensRequest>,
) -> Answer<scope::LensGrid> {
    run(&app, &asker, move |app| {
        app.check_edits(asked.edits.len())?;
        at_most("the number of watched tokens", asked.watch.len(), TOP)?;
        let (from, to) = asked.positions;
        let (text, top) = (app.text(&asked.text)?, asked.top.clamp(1, TOP));
        let (watch, edits) = (&asked.watch, &asked.edits);
        Ok(Json(scope::lens(&app.loaded, text, edits, from..to, top, watch, asked.sub_blocks)?))
    })
    .await
}
