//! The endpoints of OpenAI's API that language tools speak, over the served model: `/v1/models`, `/v1/chat/completions`,
//! `/v1/completions` and `/v1/embeddings`, with one field more: `edits`, the edits that the run is under.
//!
//! Streaming, log-probabilities, seeds and stop texts are as there. `continue_final_message` (vLLM's) takes the last
//! message of the assistant as the beginning of the answer. What is not understood (`tools`, more than one choice) is
//! refused and not passed over in silence; what cannot change the answer (`user`, `metadata`) is accepted.

mod chat;
mod complete;
mod embed;
mod reply;

use crate::App;
use crate::error::{ApiError, ApiResult};
use axum::extract::{Path, State};
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/models", get(models))
        .route("/models/{*id}", get(model))
        .route("/chat/completions", post(chat::chat))
        .route("/completions", post(complete::complete))
        .route("/embeddings", post(embed::embeddings))
        .fallback(|| async { ApiError::absent("there is no such path; this server has /v1/models, /v1/chat/completions, /v1/completions and /v1/embeddings") })
        .method_not_allowed_fallback(|| async { ApiError::method() })
}

#[derive(Serialize)]
struct Models {
    object: &'static str,
    data: Vec<ModelCard>,
}

#[derive(Serialize)]
struct ModelCard {
    id: String,
    object: &'static str,
    created: u64,
    owned_by: &'static str,
}

fn cards(app: &App) -> Vec<ModelCard> {
    let card = |id: &str| ModelCard { id: id.to_owned(), object: "model", created: 0, owned_by: "pellucid" };
    vec![card(&app.loaded.name), card(pellucid_scope::ENCODER)]
}

async fn models(State(app): State<Arc<App>>) -> Json<Models> {
    Json(Models { object: "list", data: cards(&app) })
}

async fn model(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<ModelCard>> {
    let found = cards(&app).into_iter().find(|card| card.id == id);
    found.map(Json).ok_or_else(|| not_served(&app, &id))
}

fn not_served(app: &App, id: &str) -> ApiError {
    let all: Vec<String> = cards(app).into_iter().map(|c| c.id).collect();
    ApiError::absent(format!("the model {id:?} is not served here; there are {}", all.join(" and ")))
}

/// Refuses a model that is not the one that is served; an empty name is any.
fn check_model(app: &App, id: &str) -> ApiResult<()> {
    match id.is_empty() || id == app.loaded.name {
        true => Ok(()),
        false => Err(not_served(app, id)),
    }
}

/// One text or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl OneOrMany {
    fn into_vec(self) -> Vec<String> {
        match self {
            OneOrMany::One(text) => vec![text],
            OneOrMany::Many(all) => all,
        }
    }
}

/// Refuses what would change the answer and is not understood.
fn refuse(what: &[(&str, bool)]) -> ApiResult<()> {
    match what.iter().find(|(_, present)| *present) {
        Some((name, _)) => Err(ApiError::bad(format!("{name} is not supported by this server"))),
        None => Ok(()),
    }
}
