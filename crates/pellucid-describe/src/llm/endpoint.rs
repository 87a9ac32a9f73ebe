//! A language model behind an OpenAI-compatible server (vLLM, llama.cpp, Ollama, hosted ones):
//! `POST {base}/v1/chat/completions`. Blocking; many at once is the pool's work.

use super::failure::{EndpointError, ServiceFailure};
use super::http::{Client, Patience};
use pellucid_core::{Answer, Ask, Chat, Seed, ServiceError};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

/// How the beginning of an answer is given to a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PrefillBy {
    /// As a last line of the question, and taken off the answer again. Every server understands it.
    Asking,
    /// As an unfinished message of the assistant with `continue_final_message` (vLLM and servers like it).
    Continuing,
}

/// Where a language model is served, and how to talk to it.
#[derive(Clone, Debug, PartialEq)]
pub struct EndpointConfig {
    /// The server's address, such as `http://localhost:8000`, with or without `/v1`.
    pub base: String,
    /// The model's name on that server.
    pub model: String,
    /// The environment variable that holds the key, if the server wants one. The key itself is never kept in
    /// a file, shown or logged.
    pub key_variable: Option<String>,
    /// How the beginning of an answer is given.
    pub prefill: PrefillBy,
    /// Most alternatives per token that the server reports; OpenAI's limit is 20. Asks for more are cut to it.
    pub most_log_probs: usize,
    /// Timeouts, tries and limits.
    pub patience: Patience,
}

impl EndpointConfig {
    /// A server without a key, with the default patience.
    pub fn new(base: &str, model: &str) -> Self {
        Self {
            base: base.to_owned(),
            model: model.to_owned(),
            key_variable: None,
            prefill: PrefillBy::Asking,
            most_log_probs: 20,
            patience: Patience::default(),
        }
    }
}

/// A served language model.
#[derive(Clone, Debug)]
pub struct Endpoint {
    config: EndpointConfig,
    client: Client,
    name: String,
}

impl Endpoint {
    /// Prepares to talk; nothing is sent yet.
    ///
    /// # Errors
    /// If the address is none, or the variable of the key is unset.
    pub fn new(config: EndpointConfig) -> Result<Self, EndpointError> {
        let key = config.key_variable.as_deref();
        let client = Client::new(&config.base, "chat/completions", key, &config.patience)?;
        // Two servers may serve different weights under one name, so the name says where.
        let place = config.base.trim().trim_end_matches('/').trim_end_matches("/v1");
        let place = place.split_once("://").map_or(place, |(_, rest)| rest);
        let name = format!("{}@{place}", config.model);
        Ok(Self { config, client, name })
    }

    /// Gives up waiting between tries when the flag is set.
    #[must_use]
    pub fn stopped_by(mut self, stop: Arc<AtomicBool>) -> Self {
        self.client = self.client.stopped_by(stop);
        self
    }

    fn request(&self, ask: &Ask) -> Request {
        let mut messages: Vec<Said> = ask
            .messages
            .iter()
            .map(|m| Said { role: m.role.to_owned(), content: m.content.clone() })
            .collect();
        let mut continues = None;
        if !ask.prefill.is_empty() {
            match self.config.prefill {
                PrefillBy::Asking => ask_for_beginning(&mut messages, &ask.prefill),
                PrefillBy::Continuing => {
                    messages.push(Said { role: "assistant".to_owned(), content: ask.prefill.clone() });
                    continues = Some(true);
                }
            }
        }
        let top = ask.top_log_probs.min(self.config.most_log_probs);
        Request {
            model: self.config.model.clone(),
            messages,
            max_tokens: ask.max_tokens,
            temperature: ask.temperature,
            // Some servers take 32 bits only.
            seed: ask.seed & 0x7fff_ffff,
            logprobs: (top > 0).then_some(true),
            top_logprobs: (top > 0).then_some(top),
            continue_final_message: continues,
            add_generation_prompt: continues.map(|c| !c),
            stream: false,
        }
    }

    fn read(&self, bytes: &[u8], ask: &Ask) -> Result<Answer, ServiceFailure> {
        let url = || self.client.url().to_owned();
        let response: Response = serde_json::from_slice(bytes).map_err(|e| ServiceFailure::NotJson {
            said: self.client.shown(bytes),
            why: e.to_string(),
            url: url(),
        })?;
        if response.error.is_some_and(|e| !e.is_null()) {
            return Err(ServiceFailure::Server { status: 200, said: self.client.shown(bytes), url: url() });
        }
        let Some(choices) = response.choices else {
            let why = "it has no `choices`".to_owned();
            return Err(ServiceFailure::NotJson { said: self.client.shown(bytes), why, url: url() });
        };
        let choice = choices.into_iter().next().ok_or_else(|| ServiceFailure::NoChoices { url: url() })?;
        let text = choice.message.and_then(|m| m.content).unwrap_or_default();
        let text = without_beginning(&text, &ask.prefill);
        if text.trim().is_empty() {
            let reason = choice.finish_reason.unwrap_or_else(|| "none".to_owned());
            return Err(ServiceFailure::Empty { reason, url: url() });
        }
        let usage = response.usage.unwrap_or_default();
        let asked: usize = ask.messages.iter().map(|m| m.content.len()).sum();
        Ok(Answer {
            // A server that does not count is counted for, at four bytes a token.
            prompt_tokens: usage.prompt_tokens.unwrap_or(asked.div_ceil(4)),
            answer_tokens: usage.completion_tokens.unwrap_or(text.len().div_ceil(4)),
            text: text.to_owned(),
            top_log_probs: choice.logprobs.and_then(|l| l.content).map_or_else(Vec::new, alternatives),
        })
    }
}

impl Chat for Endpoint {
    fn name(&self) -> &str {
        &self.name
    }

    /// The errors are [`ServiceFailure`]s.
    fn answer(&self, ask: &Ask) -> Result<Answer, ServiceError> {
        let body = serde_json::to_vec(&self.request(ask))?;
        Ok(self.client.post(&body, Seed(ask.seed), |bytes| self.read(bytes, ask))?)
    }
}

/// Puts the wish for a beginning into the last message of the user.
fn ask_for_beginning(messages: &mut Vec<Said>, beginning: &str) {
    let wish = format!("Answer beginning with: {beginning}");
    match messages.last_mut() {
        Some(last) if last.role == "user" => {
            last.content.push_str("\n\n");
            last.content.push_str(&wish);
        }
        _ => messages.push(Said { role: "user".to_owned(), content: wish }),
    }
}

/// The answer without the beginning that it was asked for, if it has it; case does not matter.
fn without_beginning<'a>(text: &'a str, beginning: &str) -> &'a str {
    let (trimmed, beginning) = (text.trim_start(), beginning.trim());
    match trimmed.get(..beginning.len()) {
        Some(head) if !beginning.is_empty() && head.eq_ignore_ascii_case(beginning) => {
            &trimmed[beginning.len()..]
        }
        _ => text,
    }
}

/// Alternatives of each token; those whose log-probability is no number are left out.
fn alternatives(tokens: Vec<Token>) -> Vec<Vec<(String, f32)>> {
    let usable = |a: &Alternative| a.logprob.is_some_and(|p| p.is_finite() && p <= 0.1);
    tokens
        .into_iter()
        .map(|t| {
            let kept = t.top_logprobs.into_iter().filter(usable);
            kept.map(|a| (a.token, a.logprob.unwrap_or(f32::MIN).min(0.0))).collect()
        })
        .collect()
}

#[derive(Serialize)]
struct Said {
    role: String,
    content: String,
}

#[derive(Serialize)]
struct Request {
    model: String,
    messages: Vec<Said>,
    max_tokens: usize,
    temperature: f32,
    seed: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    logprobs: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    top_logprobs: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    continue_final_message: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    add_generation_prompt: Option<bool>,
    stream: bool,
}

#[derive(Deserialize)]
struct Response {
    choices: Option<Vec<Choice>>,
    usage: Option<Usage>,
    error: Option<serde_json::Value>,
}

#[derive(Deserialize)]
struct Choice {
    message: Option<Content>,
    finish_reason: Option<String>,
    logprobs: Option<LogProbs>,
}

#[derive(Deserialize)]
struct Content {
    content: Option<String>,
}

#[derive(Deserialize)]
struct LogProbs {
    content: Option<Vec<Token>>,
}

#[derive(Deserialize)]
struct Token {
    #[serde(default)]
    top_logprobs: Vec<Alternative>,
}

#[derive(Deserialize)]
struct Alternative {
    token: String,
    logprob: Option<f32>,
}

#[derive(Deserialize, Default)]
struct Usage {
    prompt_tokens: Option<usize>,
    completion_tokens: Option<usize>,
}
