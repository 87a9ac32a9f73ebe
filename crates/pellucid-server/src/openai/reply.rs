//! What the two kinds of completions share: running, streaming, and the words of that wire.

use crate::App;
use crate::api::generate::generated;
use crate::api::sse;
use crate::error::ApiResult;
use crate::work::{Asker, run};
use axum::response::Response;
use pellucid_core::Edit;
use pellucid_model::{Ended, Generating, Generation, Step};
use pellucid_scope::Text;
use serde::Serialize;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Why an answer ended, in that API's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Finish {
    Stop,
    Length,
}

impl Finish {
    pub(super) fn of(ended: &Ended) -> Self {
        match ended {
            Ended::EndOfText(_) | Ended::StopText(_) => Finish::Stop,
            Ended::Length | Ended::ContextFull | Ended::Cancelled => Finish::Length,
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Finish::Stop => "stop",
            Finish::Length => "length",
        }
    }
}

#[derive(Clone, Copy, Serialize)]
pub(super) struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
    prompt_tokens_details: PromptTokens,
}

#[derive(Clone, Copy, Serialize)]
struct PromptTokens {
    /// Those that did not run, because an earlier text began with them.
    cached_tokens: usize,
}

impl Usage {
    fn of(text: &Text, made: &Generation) -> Self {
        let (prompt, written) = (text.tokens.len(), made.steps.len());
        Usage {
            prompt_tokens: prompt,
            completion_tokens: written,
            total_tokens: prompt + written,
            prompt_tokens_details: PromptTokens { cached_tokens: made.reused },
        }
    }
}

#[derive(Serialize)]
pub(super) struct Alternative {
    pub(super) token: String,
    pub(super) logprob: f32,
    pub(super) bytes: Vec<u8>,
}

impl Alternative {
    /// JSON has no infinities; the least number has the same exponential, 0.
    pub(super) fn new(token: String, logprob: f32) -> Self {
        let bytes = token.as_bytes().to_vec();
        Alternative { token, logprob: logprob.max(f32::MIN), bytes }
    }
}

#[derive(Serialize)]
pub(super) struct TokenLogProb {
    pub(super) token: String,
    pub(super) logprob: f32,
    pub(super) bytes: Vec<u8>,
    pub(super) top_logprobs: Vec<Alternative>,
}

#[derive(Serialize)]
pub(super) struct Envelope<C> {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    system_fingerprint: String,
    choices: Vec<C>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

/// Reads a request's text.
pub(super) type Make = Box<dyn FnOnce(&App) -> ApiResult<Text> + Send>;

/// What is to be run.
pub(super) struct Request {
    pub(super) make: Make,
    pub(super) how: Generating,
    pub(super) edits: Vec<Edit>,
}

impl Request {
    fn text(self, app: &App) -> ApiResult<(Text, Generating, Vec<Edit>)> {
        app.check_edits(self.edits.len())?;
        let text = (self.make)(app)?;
        app.check_length(&text)?;
        Ok((text, self.how, self.edits))
    }
}

/// What came of it.
pub(super) struct Done {
    pub(super) text: Text,
    pub(super) generation: Generation,
}

impl Done {
    pub(super) fn envelope<C>(&self, app: &App, object: &'static str, choice: C) -> Envelope<C> {
        let usage = Usage::of(&self.text, &self.generation);
        Head::new(app, object, &self.text).envelope(vec![choice], Some(usage))
    }
}

/// What all parts of one answer begin with.
struct Head {
    id: String,
    object: &'static str,
    created: u64,
    model: String,
    fingerprint: String,
}

impl Head {
    fn new(app: &App, object: &'static str, text: &Text) -> Self {
        let created = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
        let mut hash = Sha256::new();
        hash.update(created.to_le_bytes());
        text.row.tokens.iter().for_each(|t| hash.update(t.to_le_bytes()));
        let id: String = hash.finalize().iter().take(12).map(|b| format!("{b:02x}")).collect();
        let fingerprint = app.loaded.model.sha256().get(..16).unwrap_or_default().to_owned();
        Head { id: format!("cmpl-{id}"), object, created, model: app.loaded.name.clone(), fingerprint }
    }

    fn envelope<C>(&self, choices: Vec<C>, usage: Option<Usage>) -> Envelope<C> {
        Envelope {
            id: self.id.clone(),
            object: self.object,
            created: self.created,
            model: self.model.clone(),
            system_fingerprint: self.fingerprint.clone(),
            choices,
            usage,
        }
    }
}

/// Runs it whole.
pub(super) async fn answer(app: &Arc<App>, asker: &Asker, request: Request) -> ApiResult<Done> {
    run(app, asker, move |app| {
        let (text, how, edits) = request.text(app)?;
        let generation = generated(app, &text, &edits, &how, &mut |_| true)?;
        Ok(Done { text, generation })
    })
    .await
}

/// Runs it and sends each piece as it comes. `delta` makes the choice of a step, of the beginning (nothing) and of the
/// end (a finish).
pub(super) async fn stream<C: Serialize>(
    app: &Arc<App>,
    asker: &Asker,
    request: Request,
    object: &'static str,
    usage: bool,
    opens: bool,
    delta: impl Fn(&App, Option<&Step>, Option<Finish>) -> C + Send + 'static,
) -> ApiResult<Response> {
    let turn = app.turn(&asker.0).await?;
    let of = Arc::clone(app);
    // what is wrong with the request is said with a status, before the stream begins
    let ready = tokio::task::spawn_blocking(move || (request.text(&of), turn)).await;
    let (ready, turn) = ready.map_err(|e| crate::error::ApiError::internal(e.to_string()))?;
    let (text, how, edits) = ready?;
    text.edits(&app.loaded, &edits)?;
    let (events, response) = sse::channel();
    let of = Arc::clone(app);
    tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let head = Head::new(&of, object, &text);
        let send = |choice: C| events.send("", &head.envelope(vec![choice], None)).is_ok();
        if opens && !send(delta(&of, None, None)) {
            return;
        }
        let made = generated(&of, &text, &edits, &how, &mut |step| send(delta(&of, Some(step), None)));
        match made {
            Ok(made) => {
                send(delta(&of, None, Some(Finish::of(&made.ended))));
                if usage {
                    let count = Usage::of(&text, &made);
                    let _ = events.send("", &head.envelope(Vec::<C>::new(), Some(count)));
                }
                let _ = events.done();
            }
            Err(error) => {
                let _ = events.send("", &error.what());
            }
        }
    });
    Ok(response)
}
