//! Function vectors: a task is asked with and without examples, and where examples help its vector is found and tried.

use super::{most, streamed};
use crate::App;
use crate::error::{ApiError, ApiResult};
use crate::work::{Asker, Body};
use axum::Json;
use axum::extract::State;
use axum::response::Response;
use pellucid_core::Seed;
use pellucid_interp::function::Task;
use pellucid_scope::lab::{self, BuiltInTask, FunctionReport, Taught, Teaching};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// Most pairs of a task.
const PAIRS: usize = 200;
/// Longest side of a pair, bytes.
const SIDE: usize = 60;
/// Most examples before a question.
const SHOTS: usize = 16;
/// Most prompts that means and effects are taken over.
const PROMPTS: usize = 64;
/// Most heads whose means are summed.
const HEADS: usize = 64;
/// Most strengths.
const STRENGTHS: usize = 8;

/// Where pairs come from.
#[derive(Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LabPairs {
    /// A built-in task.
    Task(String),
    /// Pairs of one's own, a JSON object of `x` and `y` a line.
    Jsonl(String),
}

/// What do a few examples tell the model, as one vector?
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LabFunctionRequest {
    what: LabPairs,
    #[serde(default)]
    seed: u64,
    /// Examples before a question (10 if none).
    #[serde(default)]
    shots: Option<usize>,
    /// Heads whose means are summed (10 if none).
    #[serde(default)]
    heads: Option<usize>,
    /// Prompts that each head's mean is taken over (48 if none).
    #[serde(default)]
    means: Option<usize>,
    /// Prompts with shuffled answers that each head's effect is taken over (24 if none).
    #[serde(default)]
    trials: Option<usize>,
    /// How many times it is added; all are tried (1, 2, 4 and 8 if none).
    #[serde(default)]
    strengths: Option<Vec<f32>>,
}

/// Event `done` of `/api/lab/function`.
#[derive(Default, Serialize, ToSchema)]
pub(crate) struct LabFunctionReply {
    /// Whether examples help this model.
    shown: bool,
    /// None where they do not.
    report: Option<FunctionReport>,
}

pub(crate) async fn tasks() -> ApiResult<Json<Vec<BuiltInTask>>> {
    Ok(Json(lab::tasks()?))
}

fn task(what: &LabPairs) -> ApiResult<Task> {
    let refused = |e: pellucid_interp::Error| pellucid_scope::Error::from(e);
    match what {
        LabPairs::Task(name) => Ok(Task::built_in(name).map_err(refused)?),
        LabPairs::Jsonl(text) => {
            most("pasted pairs", text.lines().filter(|l| !l.trim().is_empty()).count(), PAIRS)?;
            let task = Task::read("the pasted task", text).map_err(refused)?;
            let longest = task.pairs.iter().map(|(x, y)| x.len().max(y.len())).max().unwrap_or(0);
            most("bytes of a pair's side", longest, SIDE)?;
            Ok(task)
        }
    }
}

fn teaching(app: &App, asked: &LabFunctionRequest) -> ApiResult<Teaching> {
    let spec = app.loaded.model.spec();
    let all = spec.n_layers * spec.n_heads;
    let teaching = Teaching {
        means: asked.means.unwrap_or(48),
        trials: asked.trials.unwrap_or(24),
        heads: asked.heads.unwrap_or_else(|| all.min(10)),
        strengths: asked.strengths.clone().unwrap_or_else(|| vec![1.0, 2.0, 4.0, 8.0]),
        anyway: false,
    };
    most("prompts", teaching.means.max(teaching.trials), PROMPTS)?;
    most("heads", teaching.heads, HEADS.min(all))?;
    most("strengths", teaching.strengths.len(), STRENGTHS)?;
    let none = teaching.means == 0 || teaching.trials == 0 || teaching.heads == 0;
    if none || teaching.strengths.is_empty() || teaching.strengths.iter().any(|s| !s.is_finite()) {
        return Err(ApiError::bad(
            "at least one prompt, one trial, one head and one strength are needed, and strengths are finite",
        ));
    }
    Ok(teaching)
}

pub(crate) async fn function(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<LabFunctionRequest>,
) -> ApiResult<Response> {
    let task = task(&asked.what)?;
    let teaching = teaching(&app, &asked)?;
    let (shots, seed) = (asked.shots.unwrap_or(10), Seed(asked.seed));
    most("examples before a question", shots, SHOTS)?;
    let prepare = move |app: &App| Ok(Taught::pairs(&app.loaded.model, &task, shots, seed)?);
    streamed(app, asker, prepare, move |telling, pairs| {
        let model = &telling.app.loaded.model;
        telling.gate("questions asked with and without examples");
        let taught = Taught::measure(model, pairs, shots, seed)?;
        if telling.events.send("gate", &taught.gate).is_err() {
            return Ok(());
        }
        telling.done(|watch| match taught.gate.learns {
            true => {
                let report = Some(taught.vector(model, &teaching, watch)?);
                Ok(LabFunctionReply { shown: true, report })
            }
            false => Ok(LabFunctionReply::default()),
        })
    })
    .await
}
