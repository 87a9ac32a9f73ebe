//! `/v1/completions`: a plain text and how it goes on.

use super::chat::StreamOptions;
use super::reply::{Alternative, Finish, Request, answer, stream};
use super::{OneOrMany, check_model, refuse};
use crate::App;
use crate::api::generate::Sampling;
use crate::error::{ApiError, ApiResult};
use crate::work::{Asker, Body};
use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use pellucid_core::Edit;
use pellucid_model::Step;
use pellucid_scope::{Text, TextSpec};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::sync::Arc;

#[derive(Deserialize)]
pub(super) struct CompleteRequest {
    #[serde(default)]
    model: String,
    prompt: Prompt,
    #[serde(default)]
    max_tokens: Option<usize>,
    #[serde(default)]
    temperature: Option<f32>,
    #[serde(default)]
    top_p: Option<f32>,
    #[serde(default)]
    top_k: Option<usize>,
    #[serde(default)]
    min_p: Option<f32>,
    #[serde(default)]
    repetition_penalty: Option<f32>,
    #[serde(default)]
    seed: Option<u64>,
    #[serde(default)]
    stop: Option<OneOrMany>,
    #[serde(default)]
    stream: bool,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
    #[serde(default)]
    logprobs: Option<usize>,
    #[serde(default)]
    n: Option<usize>,
    #[serde(default)]
    best_of: Option<usize>,
    #[serde(default)]
    echo: bool,
    #[serde(default)]
    suffix: Option<String>,
    #[serde(default)]
    logit_bias: Value,
    #[serde(default)]
    frequency_penalty: f32,
    #[serde(default)]
    presence_penalty: f32,
    #[serde(default)]
    edits: Vec<Edit>,
}

/// A text, or its tokens.
#[derive(Deserialize)]
#[serde(untagged)]
enum Prompt {
    Text(String),
    Tokens(Vec<u32>),
    Texts(Vec<String>),
    Batch(Vec<Vec<u32>>),
}

#[derive(Serialize)]
struct Choice {
    index: u32,
    text: String,
    logprobs: Option<LogProbs>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize, Default)]
struct LogProbs {
    tokens: Vec<String>,
    token_logprobs: Vec<f32>,
    top_logprobs: Vec<Map<String, Value>>,
    text_offset: Vec<usize>,
}

impl LogProbs {
    fn push(&mut self, app: &App, step: &Step, alternatives: usize, offset: usize) {
        let text = |id: u32| app.loaded.model.tokenizer().decode_with_special(&[id]).unwrap_or_default();
        let one = |&(id, p): &(u32, f32)| {
            let a = Alternative::new(text(id), p);
            (a.token, Value::from(a.logprob))
        };
        self.tokens.push(text(step.id));
        self.token_logprobs.push(step.log_prob.max(f32::MIN));
        self.top_logprobs.push(step.alternatives.iter().take(alternatives).map(one).collect());
        self.text_offset.push(offset);
    }
}

/// Tokens of an answer where none are asked for: that API's default.
const DEFAULT_TOKENS: usize = 16;

pub(super) async fn complete(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<CompleteRequest>,
) -> ApiResult<Response> {
    check_model(&app, &asked.model)?;
    refuse(&[
        ("n above 1", asked.n.is_some_and(|n| n != 1)),
        ("best_of above 1", asked.best_of.is_some_and(|n| n != 1)),
        ("echo", asked.echo),
        ("suffix", asked.suffix.is_some_and(|s| !s.is_empty())),
        ("logit_bias", asked.logit_bias.as_object().is_some_and(|t| !t.is_empty())),
        ("frequency_penalty", asked.frequency_penalty != 0.0),
        ("presence_penalty", asked.presence_penalty != 0.0),
    ])?;
    let spec = match asked.prompt {
        Prompt::Text(prompt) => TextSpec::Plain { prompt },
        Prompt::Tokens(tokens) => TextSpec::Tokens { prompt_tokens: tokens.len(), tokens, roles: Vec::new() },
        Prompt::Texts(mut texts) if texts.len() == 1 => TextSpec::Plain { prompt: texts.remove(0) },
        Prompt::Batch(mut all) if all.len() == 1 => {
            let tokens = all.remove(0);
            TextSpec::Tokens { prompt_tokens: tokens.len(), tokens, roles: Vec::new() }
        }
        Prompt::Texts(_) | Prompt::Batch(_) => {
            return Err(ApiError::bad(
                "several prompts in one request are not supported by this server; send them one by one",
            ));
        }
    };
    let sampling = Sampling {
        max_tokens: asked.max_tokens.unwrap_or(DEFAULT_TOKENS),
        temperature: asked.temperature.unwrap_or(1.0),
        top_k: asked.top_k,
        top_p: asked.top_p,
        min_p: asked.min_p,
        repetition: asked.repetition_penalty.unwrap_or(1.0),
        seed: asked.seed.unwrap_or(0),
        stop: asked.stop.map(OneOrMany::into_vec).unwrap_or_default(),
    };
    sampling.check(&app)?;
    let alternatives = asked.logprobs.unwrap_or(0);
    if alternatives > 50 {
        return Err(ApiError::bad(format!("logprobs is {alternatives}; at most 50")));
    }
    let wants = asked.logprobs.is_some();
    let how = sampling.generating(alternatives);
    let make = move |app: &App| Ok(Text::read(&app.loaded, &spec)?);
    let request = Request { make: Box::new(make), how, edits: asked.edits };
    if asked.stream {
        let usage = asked.stream_options.is_some_and(|o| o.include_usage);
        let delta = move |app: &App, step: Option<&Step>, finish: Option<Finish>| {
            let logprobs = step.filter(|_| wants).map(|step| {
                let mut one = LogProbs::default();
                one.push(app, step, alternatives, 0);
                one
            });
            let text = step.map(|s| s.text.clone()).unwrap_or_default();
            Choice { index: 0, text, logprobs, finish_reason: finish.map(Finish::name) }
        };
        return stream(&app, &asker, request, "text_completion", usage, false, delta).await;
    }
    let done = answer(&app, &asker, request).await?;
    let logprobs = wants.then(|| {
        let (mut all, mut offset) = (LogProbs::default(), 0);
        for step in &done.generation.steps {
            all.push(&app, step, alternatives, offset);
            offset += step.text.chars().count();
        }
        all
    });
    let finish_reason = Some(Finish::of(&done.generation.ended).name());
    let choice = Choice { index: 0, text: done.generation.text.clone(), logprobs, finish_reason };
    Ok(Json(done.envelope(&app, "text_completion", choice)).into_response())
}
