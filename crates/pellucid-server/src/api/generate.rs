//! An answer as it comes, token by token, plain or with edits.

use super::sse::{self, Events};
use crate::App;
use crate::error::{ApiError, ApiResult};
use crate::work::{Asker, Body};
use axum::extract::State;
use axum::response::Response;
use pellucid_core::Edit;
use pellucid_model::{Ended, Generating, Generation, Step, sample};
use pellucid_scope::EditShape;
use pellucid_scope::{Placed, Scored, Text, TextSpec};
use serde::{Deserialize, Serialize};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;
use utoipa::ToSchema;

/// How tokens are drawn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Sampling {
    /// At most this many.
    pub(crate) max_tokens: usize,
    /// 0 always takes the likeliest.
    #[serde(default)]
    #[schema(required)]
    pub(crate) temperature: f32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) top_k: Option<usize>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) top_p: Option<f32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) min_p: Option<f32>,
    /// Penalty on tokens that are in the text already; 1 is none.
    #[serde(default = "one")]
    pub(crate) repetition: f32,
    #[serde(default)]
    #[schema(required)]
    pub(crate) seed: u64,
    /// Texts that end the answer.
    #[serde(default)]
    pub(crate) stop: Vec<String>,
}

fn one() -> f32 {
    1.0
}

impl Sampling {
    pub(crate) fn generating(&self, alternatives: usize) -> Generating {
        let sampling = sample::Sampling {
            repetition: self.repetition,
            temperature: self.temperature,
            top_k: self.top_k,
            top_p: self.top_p,
            min_p: self.min_p,
            seed: self.seed,
        };
        Generating { sampling, stop: self.stop.clone(), alternatives, ..Generating::greedy(self.max_tokens) }
    }

    pub(crate) fn check(&self, app: &App) -> ApiResult<()> {
        let most = app.limits.generated_tokens;
        if self.max_tokens > most {
            let asked = self.max_tokens;
            return Err(ApiError::large(format!("max_tokens is {asked}; this server writes {most} at most")));
        }
        if self.stop.len() > 16 {
            return Err(ApiError::bad(format!("{} stop texts; at most 16", self.stop.len())));
        }
        Ok(())
    }
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GenerateRequest {
    text: TextSpec,
    sampling: Sampling,
    #[serde(default)]
    #[schema(value_type = Vec<EditShape>)]
    edits: Vec<Edit>,
    /// How many of the likeliest tokens to report at each step.
    #[serde(default)]
    alternatives: usize,
}

/// Event `prompt`.
#[derive(Serialize, ToSchema)]
pub(crate) struct PromptEvent {
    prompt: Vec<Placed>,
}

/// Event `token`.
#[derive(Serialize, ToSchema)]
pub(crate) struct TokenEvent {
    position: usize,
    token: Scored,
    /// The text that became certain with it.
    shown: String,
    /// What it was chosen from, likeliest first.
    top: Vec<Scored>,
}

/// Event `done`.
#[derive(Serialize, ToSchema)]
pub(crate) struct DoneEvent {
    ended: &'static str,
    ended_by: Option<String>,
    text: String,
}

/// Most alternatives of a token.
const ALTERNATIVES: usize = 50;

pub(crate) async fn generate(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<GenerateRequest>,
) -> ApiResult<Response> {
    asked.sampling.check(&app)?;
    app.check_edits(asked.edits.len())?;
    let turn = app.turn(&asker.0).await?;
    let (events, response) = sse::channel();
    let of = Arc::clone(&app);
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        if let Err(error) = answer(&of, &asked, &events) {
            // nobody left to tell is no failure
            let _ = events.send("failed", &error.what());
        }
    });
    Ok(response)
}

fn answer(app: &App, asked: &GenerateRequest, events: &Events) -> ApiResult<()> {
    let text = app.text(&asked.text)?;
    if events.send("prompt", &PromptEvent { prompt: text.tokens.clone() }).is_err() {
        return Ok(());
    }
    let mut position = text.tokens.len();
    let how = asked.sampling.generating(asked.alternatives.min(ALTERNATIVES));
    let mut each = |step: &Step| {
        let top = step.alternatives.iter().map(|&(id, p)| Scored::new(app.loaded.token(id), p)).collect();
        let token = Scored::new(app.loaded.token(step.id), step.log_prob);
        let event = TokenEvent { position, token, shown: step.text.clone(), top };
        position += 1;
        events.send("token", &event).is_ok()
    };
    let generation = generated(app, &text, &asked.edits, &how, &mut each)?;
    let (ended, ended_by) = ended(app, &generation);
    let _ = events.send("done", &DoneEvent { ended, ended_by, text: generation.text });
    Ok(())
}

/// Generates until the end, the server's time limit, its stop, or until `each` has nobody to tell (false).
pub(crate) fn generated(
    app: &App,
    text: &Text,
    edits: &[Edit],
    how: &Generating,
    each: &mut dyn FnMut(&Step) -> bool,
) -> ApiResult<Generation> {
    let apply = text.edits(&app.loaded, edits)?;
    let (begun, mut late) = (Instant::now(), false);
    let mut step = |step: &Step| {
        app.counts.generated.fetch_add(1, Ordering::Relaxed);
        late = begun.elapsed() > app.limits.run;
        if late || *app.stopping.borrow() || !each(step) {
            return ControlFlow::Break(());
        }
        ControlFlow::Continue(())
    };
    let edits: Vec<Edit> = apply.iter().flat_map(|apply| apply.edits().cloned()).collect();
    let mut tap = pellucid_scope::tap(apply.as_ref());
    let model = &app.loaded.model;
    let generation = model.generate_with(&app.prefixes, &edits, &text.row, how, &mut *tap, &mut step)?;
    app.counts.reused.fetch_add(generation.reused as u64, Ordering::Relaxed);
    app.counts.runs.fetch_add(1, Ordering::Relaxed);
    app.counts.run_micros.fetch_add(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
    match late {
        true => Err(ApiError::late(app.limits.run.as_secs())),
        false => Ok(generation),
    }
}

pub(crate) fn ended(app: &App, generation: &Generation) -> (&'static str, Option<String>) {
    match &generation.ended {
        Ended::EndOfText(id) => ("end_of_text", Some(app.loaded.token(*id).text)),
        Ended::StopText(text) => ("stop_text", Some(text.clone())),
        Ended::Length => ("length", None),
        Ended::ContextFull => ("context_full", None),
        Ended::Cancelled => ("cancelled", None),
    }
}
