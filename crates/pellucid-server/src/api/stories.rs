//! Stories, their gates, and the guide's language model where there is one.

use super::generate::{Sampling, generated};
use crate::App;
use crate::error::{ApiError, ApiResult};
pub(crate) use crate::stories::Story;
use crate::stories::{Probe, all};
use crate::work::{Asker, Body, run};
use axum::Json;
use axum::extract::State;
use pellucid_core::{Ask, Message};
use pellucid_scope::lab::{Entry, Subject};
use pellucid_scope::{Message as Said, TextSpec};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

pub(crate) async fn list() -> Json<&'static [Story]> {
    Json(all())
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GateRequest {
    id: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct GateReply {
    id: String,
    /// Whether this model shows the behaviour that the story is about.
    shows: bool,
    sentence: String,
    evidence: Vec<Evidence>,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Evidence {
    prompt: String,
    answer: String,
    holds: bool,
}

pub(crate) async fn gate(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<GateRequest>,
) -> ApiResult<Json<GateReply>> {
    let story = all().iter().find(|s| s.id == asked.id);
    let story = story.ok_or_else(|| ApiError::absent(format!("there is no story {:?}", asked.id)))?;
    run(&app, &asker, move |app| {
        if let Some((name, items)) = &story.gate.behaviour {
            return measured(app, story, name, *items).map(Json);
        }
        let evidence = story.gate.probes.iter().map(|p| probe(app, p)).collect::<ApiResult<Vec<_>>>()?;
        let held = evidence.iter().filter(|e| e.holds).count();
        let shows = held >= story.gate.need;
        let words = if shows { &story.gate.shows } else { &story.gate.not };
        let sentence = format!("{words} ({held} of {} answers are so)", evidence.len());
        Ok(Json(GateReply { id: story.id.clone(), shows, sentence, evidence }))
    })
    .await
}

/// Items that are shown of a behaviour that was measured.
const SHOWN: usize = 4;

/// The laboratory's own gate.
fn measured(app: &App, story: &Story, name: &str, items: usize) -> ApiResult<GateReply> {
    let report = Subject::built_in(name, items, 0)?.measure(&app.loaded.model)?.report();
    let shows = report.gate.shown;
    let words = if shows { &story.gate.shows } else { &story.gate.not };
    let one = |e: &Entry| {
        let (right, wrong) = (e.item.right.join("/"), e.item.wrong.join("/"));
        let answer = format!("{right} against {wrong}: log-odds {:+.2}", e.log_odds);
        Evidence { prompt: e.item.prompt.clone(), answer, holds: e.log_odds > 0.0 }
    };
    Ok(GateReply {
        id: story.id.clone(),
        shows,
        sentence: format!("{words} In numbers: {}.", report.sentence),
        evidence: report.items.iter().take(SHOWN).map(one).collect(),
    })
}

/// Asks the model, greedily. One without a chat template reads the question as a plain text.
fn probe(app: &App, probe: &Probe) -> ApiResult<Evidence> {
    let chat = !probe.plain && app.loaded.model.tokenizer().chat_template().is_some();
    let spec = if chat {
        let message = Said { role: "user".to_owned(), content: probe.ask.clone() };
        TextSpec::Chat { messages: vec![message], prefill: None }
    } else {
        TextSpec::Plain { prompt: probe.ask.clone() }
    };
    let sampling = Sampling {
        max_tokens: probe.max_tokens,
        temperature: 0.0,
        top_k: None,
        top_p: None,
        min_p: None,
        repetition: 1.0,
        seed: 0,
        stop: Vec::new(),
    };
    let made = generated(app, &app.text(&spec)?, &[], &sampling.generating(0), &mut |_| true)?;
    Ok(Evidence { prompt: probe.ask.clone(), holds: probe.holds(&made.text), answer: made.text })
}

/// A question about what is on the page.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct GuideRequest {
    question: String,
    /// What the page shows, in words.
    state: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct GuideReply {
    answer: String,
    by: String,
}

const GUIDE: &str = "You help a person use Pellucid, a microscope for language models. The page shows a chat with a small \
     model; clicking a token of its answer explains it: clusters of neurons that made the model say it, each of which can be \
     checked (removed, beside random neurons) and turned off; the steered answer then stands beside the plain one. Answer \
     in at most four sentences, only from what the page shows, and say what to click next.";

pub(crate) async fn guide(
    State(app): State<Arc<App>>,
    Body(asked): Body<GuideRequest>,
) -> ApiResult<Json<GuideReply>> {
    let Some(llm) = app.llm.clone() else {
        return Err(ApiError::absent(
            "no language model stands behind the guide; start the server with --llm",
        ));
    };
    if asked.question.len() > 4_000 || asked.state.len() > 40_000 {
        return Err(ApiError::large("the question has at most 4,000 characters and the state 40,000"));
    }
    let message = |role, content| Message { role, content };
    let content = format!("The page shows:\n{}\n\nThe person asks: {}", asked.state, asked.question);
    let ask = Ask {
        messages: vec![message("system", GUIDE.to_owned()), message("user", content)],
        prefill: String::new(),
        max_tokens: 300,
        temperature: 0.0,
        seed: 0,
        top_log_probs: 0,
    };
    let answered =
        tokio::task::spawn_blocking(move || llm.answer(&ask).map(|a| (a.text, llm.name().to_owned())));
    match answered.await {
        Ok(Ok((answer, by))) => Ok(Json(GuideReply { answer, by })),
        Ok(Err(error)) => {
            Err(ApiError::conflict(format!("the guide's language model did not answer: {error}")))
        }
        Err(error) => Err(ApiError::internal(error.to_string())),
    }
}
