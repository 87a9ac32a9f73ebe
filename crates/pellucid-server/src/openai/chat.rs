//! `/v1/chat/completions`.

use super::reply::{Alternative, Finish, Request, TokenLogProb, answer, stream};
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
use pellucid_scope::{Message, Text};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::sync::Arc;

/// What is asked, as far as it is understood.
#[derive(Deserialize)]
pub(super) struct ChatRequest {
    #[serde(default)]
    model: String,
    messages: Vec<Said>,
    #[serde(default)]
    max_tokens: Option<usize>,
    #[serde(default)]
    max_completion_tokens: Option<usize>,
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
    logprobs: bool,
    #[serde(default)]
    top_logprobs: Option<usize>,
    #[serde(default)]
    n: Option<usize>,
    #[serde(default)]
    continue_final_message: bool,
    #[serde(default)]
    edits: Vec<Edit>,
    #[serde(default)]
    tools: Value,
    #[serde(default)]
    functions: Value,
    #[serde(default)]
    response_format: Value,
    #[serde(default)]
    logit_bias: Value,
    #[serde(default)]
    frequency_penalty: f32,
    #[serde(default)]
    presence_penalty: f32,
}

#[derive(Clone, Copy, Deserialize)]
pub(super) struct StreamOptions {
    #[serde(default)]
    pub(super) include_usage: bool,
}

/// A message, whose content may come in parts.
#[derive(Deserialize)]
struct Said {
    role: String,
    content: Content,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Parts(Vec<Part>),
}

#[derive(Deserialize)]
struct Part {
    r#type: String,
    #[serde(default)]
    text: Option<String>,
}

impl Said {
    fn message(self) -> ApiResult<Message> {
        let role = if self.role == "developer" { "system".to_owned() } else { self.role };
        if !["system", "user", "assistant"].contains(&role.as_str()) {
            return Err(ApiError::bad(format!("role {role:?}: expected system, user or assistant")));
        }
        let content = match self.content {
            Content::Text(text) => text,
            Content::Parts(parts) => parts
                .into_iter()
                .map(|p| match (p.r#type.as_str(), p.text) {
                    ("text", Some(text)) => Ok(text),
                    (other, _) => {
                        Err(ApiError::bad(format!("content of type {other:?}: this model reads text")))
                    }
                })
                .collect::<ApiResult<Vec<_>>>()?
                .concat(),
        };
        Ok(Message { role, content })
    }
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    message: Answered<'a>,
    logprobs: Option<LogProbs>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Answered<'a> {
    role: &'static str,
    content: &'a str,
}

#[derive(Serialize)]
struct LogProbs {
    content: Vec<TokenLogProb>,
}

#[derive(Serialize)]
struct Delta {
    index: u32,
    delta: Piece,
    logprobs: Option<LogProbs>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
struct Piece {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<String>,
}

/// Tokens of an answer where none are asked for.
const DEFAULT_TOKENS: usize = 256;

pub(super) async fn chat(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<ChatRequest>,
) -> ApiResult<Response> {
    check_model(&app, &asked.model)?;
    refuse(&[
        ("n above 1", asked.n.is_some_and(|n| n != 1)),
        ("tools", asked.tools.as_array().is_some_and(|t| !t.is_empty())),
        ("functions", asked.functions.as_array().is_some_and(|t| !t.is_empty())),
        ("response_format", asked.response_format.get("type").is_some_and(|t| t != "text")),
        ("logit_bias", asked.logit_bias.as_object().is_some_and(|t| !t.is_empty())),
        ("frequency_penalty", asked.frequency_penalty != 0.0),
        ("presence_penalty", asked.presence_penalty != 0.0),
    ])?;
    let most = app.limits.generated_tokens;
    let sampling = Sampling {
        max_tokens: asked.max_completion_tokens.or(asked.max_tokens).unwrap_or(DEFAULT_TOKENS.min(most)),
        temperature: asked.temperature.unwrap_or(1.0),
        top_k: asked.top_k,
        top_p: asked.top_p,
        min_p: asked.min_p,
        repetition: asked.repetition_penalty.unwrap_or(1.0),
        seed: asked.seed.unwrap_or(0),
        stop: asked.stop.map(OneOrMany::into_vec).unwrap_or_default(),
    };
    sampling.check(&app)?;
    let wants = asked.logprobs || asked.top_logprobs.is_some_and(|n| n > 0);
    let alternatives = asked.top_logprobs.unwrap_or(0);
    if alternatives > 50 {
        return Err(ApiError::bad(format!("top_logprobs is {alternatives}; at most 50")));
    }
    let mut messages = asked.messages.into_iter().map(Said::message).collect::<ApiResult<Vec<_>>>()?;
    let mut prefill = None;
    if asked.continue_final_message
        && let Some(last) = messages.pop_if(|m| m.role == "assistant")
    {
        prefill = Some(last.content);
    }
    let make = move |app: &App| {
        let text = Text::chat(&app.loaded, &messages, prefill.as_deref())?;
        Ok(text)
    };
    let how = sampling.generating(if wants { alternatives.max(1) } else { 0 });
    let request = Request { make: Box::new(make), how, edits: asked.edits };
    let tokens = move |app: &App, step: &Step| {
        wants.then(|| LogProbs { content: vec![TokenLogProb::of(app, step, alternatives)] })
    };
    if asked.stream {
        let usage = asked.stream_options.is_some_and(|o| o.include_usage);
        let delta = move |app: &App, step: Option<&Step>, finish: Option<Finish>| match (step, finish) {
            (Some(step), _) => Delta {
                index: 0,
                delta: Piece { role: None, content: Some(step.text.clone()) },
                logprobs: tokens(app, step),
                finish_reason: None,
            },
            (None, None) => Delta {
                index: 0,
                delta: Piece { role: Some("assistant"), content: Some(String::new()) },
                logprobs: None,
                finish_reason: None,
            },
            (None, Some(finish)) => Delta {
                index: 0,
                delta: Piece { role: None, content: None },
                logprobs: None,
                finish_reason: Some(finish.name()),
            },
        };
        return stream(&app, &asker, request, "chat.completion.chunk", usage, true, delta).await;
    }
    let done = answer(&app, &asker, request).await?;
    let content = wants.then(|| LogProbs {
        content: done.generation.steps.iter().map(|s| TokenLogProb::of(&app, s, alternatives)).collect(),
    });
    let choice = Choice {
        index: 0,
        message: Answered { role: "assistant", content: &done.generation.text },
        logprobs: content,
        finish_reason: Finish::of(&done.generation.ended).name(),
    };
    Ok(Json(done.envelope(&app, "chat.completion", choice)).into_response())
}

impl TokenLogProb {
    fn of(app: &App, step: &Step, alternatives: usize) -> Self {
        let text = |id: u32| app.loaded.model.tokenizer().decode_with_special(&[id]).unwrap_or_default();
        let one = |&(id, p): &(u32, f32)| Alternative::new(text(id), p);
        let top = step.alternatives.iter().take(alternatives).map(one).collect();
        let Alternative { token, logprob, bytes } = Alternative::new(text(step.id), step.log_prob);
        TokenLogProb { token, logprob, bytes, top_logprobs: top }
    }
}
