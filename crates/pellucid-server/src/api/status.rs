//! What is served, how busy it is, and the same for machines that watch.

use crate::App;
use crate::error::ApiResult;
use axum::Json;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use serde::Serialize;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub(crate) struct Status {
    /// The program's version.
    pellucid: &'static str,
    model: ModelStatus,
    /// None where this model has no atlas yet.
    atlas: Option<AtlasStatus>,
    /// Dictionaries whose latents are units too.
    dictionaries: Vec<DictionaryStatus>,
    /// Whether a language model stands behind the guide.
    llm: bool,
    /// Whether an atlas can be built from here.
    builds: bool,
    limits: LimitsStatus,
    load: LoadStatus,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct ModelStatus {
    name: String,
    path: String,
    sha256: String,
    tokenizer_hash: String,
    architecture: String,
    storage: &'static str,
    layers: usize,
    d_model: usize,
    d_mlp: usize,
    heads: usize,
    vocabulary: usize,
    context: usize,
    /// It has a usable chat template.
    chat: bool,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct AtlasStatus {
    path: String,
    units: u64,
    /// Sides of units: two each.
    sides: u64,
    described: u64,
    /// Tokens that it was made of.
    tokens: u64,
    corpus: String,
    /// Not everything is described yet, or it was made of few tokens.
    partial: bool,
    /// Search by meaning works.
    embeddings: bool,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct DictionaryStatus {
    name: String,
    site: String,
    latents: usize,
    /// How many of them have words; none where they have no atlas yet.
    described: Option<u64>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct LimitsStatus {
    prompt_tokens: usize,
    generated_tokens: usize,
    edits: usize,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct LoadStatus {
    running: usize,
    waiting: usize,
    capacity: usize,
}

pub(crate) async fn status(State(app): State<Arc<App>>) -> ApiResult<Json<Status>> {
    let of = Arc::clone(&app);
    let made = tokio::task::spawn_blocking(move || look(&of)).await;
    made.map_err(|e| crate::error::ApiError::internal(e.to_string()))?.map(Json)
}

/// An atlas of fewer tokens than this is called partial: rare words are not in it.
const FEW: u64 = 200_000;

fn look(app: &App) -> ApiResult<Status> {
    let model = &app.loaded.model;
    let spec = model.spec();
    let atlas = match app.atlas()? {
        None => None,
        Some(opened) => {
            let summary = opened.summary()?;
            let first = opened.provenance.first();
            let tokens = opened.counted();
            Some(AtlasStatus {
                path: opened.atlas().path().display().to_string(),
                units: summary.units,
                sides: 2 * summary.units,
                described: summary.chosen,
                tokens,
                corpus: first.map(|p| p.corpus.clone()).unwrap_or_default(),
                partial: tokens < FEW || summary.missing > summary.units,
                embeddings: summary.embeddings > 0,
            })
        }
    };
    let dictionary = |d: &pellucid_model::Attached| -> ApiResult<DictionaryStatus> {
        let atlas = app.atlas_of(Some(&d.name))?;
        let described = atlas.map(|opened| opened.summary().map(|s| s.chosen)).transpose()?;
        let (name, site, latents) = (d.name.clone(), d.site.to_string(), d.latents.count());
        Ok(DictionaryStatus { name, site, latents, described })
    };
    let dictionaries = model.dictionaries().iter().map(dictionary).collect::<ApiResult<_>>()?;
    let load = app.queue.load();
    Ok(Status {
        pellucid: env!("CARGO_PKG_VERSION"),
        model: ModelStatus {
            name: app.loaded.name.clone(),
            path: model.path().display().to_string(),
            sha256: model.sha256().to_owned(),
            tokenizer_hash: model.tokenizer().hash(),
            architecture: spec.architecture.clone(),
            storage: model.storage().name(),
            layers: spec.n_layers,
            d_model: spec.d_model,
            d_mlp: spec.d_mlp,
            heads: spec.n_heads,
            vocabulary: spec.vocabulary,
            context: spec.context,
            chat: model.tokenizer().chat_template().is_some(),
        },
        atlas,
        dictionaries,
        llm: app.llm.is_some(),
        builds: app.jobs.can_build(),
        limits: LimitsStatus {
            prompt_tokens: app.limits.prompt_tokens.min(spec.context),
            generated_tokens: app.limits.generated_tokens,
            edits: app.limits.edits,
        },
        load: LoadStatus { running: load.running, waiting: load.waiting, capacity: load.capacity },
    })
}

/// Counts in the text form that Prometheus reads.
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let mut text = String::new();
    let counts = &app.counts;
    let mut counter = |name: &str, help: &str, value: &AtomicU64| {
        let value = value.load(Ordering::Relaxed);
        // writing to a string cannot fail
        let _ = write!(
            text,
            "# HELP pellucid_{name} {help}\n# TYPE pellucid_{name} counter\npellucid_{name} {value}\n"
        );
    };
    counter("requests_total", "Requests.", &counts.requests);
    counter("refused_total", "Requests answered with 4xx.", &counts.refused);
    counter("failed_total", "Requests answered with 5xx.", &counts.failed);
    counter("busy_total", "Requests refused because too many waited.", &counts.busy);
    counter("runs_total", "Runs of the model.", &counts.runs);
    counter("run_microseconds_total", "Time in runs.", &counts.run_micros);
    counter("generated_tokens_total", "Tokens generated.", &counts.generated);
    counter("reused_tokens_total", "Tokens of prompts that earlier texts began with.", &counts.reused);
    let load = app.queue.load();
    for (name, value) in [("running", load.running), ("waiting", load.waiting)] {
        let _ = write!(text, "# TYPE pellucid_{name} gauge\npellucid_{name} {value}\n");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
