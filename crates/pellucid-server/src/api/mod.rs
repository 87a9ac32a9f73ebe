//! The page's API. Paths and shapes are listed in the OpenAPI document, which the page's types are made from.

pub(crate) mod ask;
pub(crate) mod dictionary;
pub(crate) mod generate;
pub(crate) mod jobs;
pub(crate) mod lab;
pub(crate) mod runs;
pub(crate) mod sse;
pub(crate) mod status;
pub(crate) mod stories;
pub(crate) mod unit;

use crate::App;
use crate::error::ApiError;
use axum::Router;
use axum::routing::{delete, get, post};
use std::sync::Arc;

pub(crate) fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/status", get(status::status))
        .route("/openapi.json", get(crate::openapi::show))
        .route("/generate", post(generate::generate))
        .route("/score", post(ask::score))
        .route("/explain", post(ask::explain))
        .route("/ablate", post(ask::ablate))
        .route("/activations", post(ask::activations))
        .route("/compare", post(ask::compare))
        .route("/steer", post(ask::steer))
        .route("/find", post(ask::find))
        .route("/lens", post(ask::lens))
        .route("/lab/behaviours", get(lab::behaviours))
        .route("/lab/behaviour", post(lab::behaviour))
        .route("/lab/neurons", post(lab::neurons))
        .route("/lab/direction", post(lab::direction))
        .route("/lab/circuit", post(lab::circuit))
        .route("/lab/graph", post(lab::graph::graph))
        .route("/lab/graph/zero", post(lab::graph::zero))
        .route("/lab/read", post(lab::read))
        .route("/lab/lens", post(lab::places::lens))
        .route("/lab/trace", post(lab::places::trace))
        .route("/lab/knockout", post(lab::places::knockout))
        .route("/lab/patchscope", post(lab::places::patchscope))
        .route("/lab/ladder", post(lab::places::ladder))
        .route("/lab/tasks", get(lab::task::tasks))
        .route("/lab/function", post(lab::task::function))
        .route("/unit", get(unit::unit))
        .route("/unit/test", post(unit::test))
        .route("/unit/describe", post(unit::describe))
        .route("/unit/vote", post(unit::vote))
        .route("/dictionary", get(dictionary::dictionary))
        .route("/dictionary/latents", get(dictionary::latents))
        .route("/dictionary/words", post(dictionary::words))
        .route("/dictionary/map", post(dictionary::map))
        .route("/stories", get(stories::list))
        .route("/stories/gate", post(stories::gate))
        .route("/guide", post(stories::guide))
        .route("/runs", post(runs::keep))
        .route("/runs/replay", post(runs::replay))
        .route("/runs/{id}", get(runs::get))
        .route("/jobs", get(jobs::list))
        .route("/jobs/atlas", post(jobs::atlas))
        .route("/jobs/{id}", delete(jobs::cancel))
        .route("/jobs/{id}/events", get(jobs::events))
        .fallback(|| async { ApiError::absent("there is no such path; /api/openapi.json lists them") })
        .method_not_allowed_fallback(|| async { ApiError::method() })
}
