//! The wire types of `--json`, documented in `docs/json.md`. Field names are part of the schema.

use crate::models::Loaded;
use pellucid::core::{Edit, Site, UnitId};
use pellucid::model::{Ended, Generation};
pub(crate) use pellucid::scope::{Placed, Scored, Token};
use serde::Serialize;

/// What every command prints.
#[derive(Serialize)]
pub(crate) struct Envelope<'a, T> {
    pub(crate) pellucid: &'a str,
    pub(crate) command: &'a str,
    pub(crate) model: Option<ModelId>,
    pub(crate) result: &'a T,
}

/// Which weights and which tokenizer a result was made with.
#[derive(Serialize)]
pub(crate) struct ModelId {
    name: String,
    path: String,
    sha256: String,
    tokenizer_hash: String,
    architecture: String,
    storage: &'static str,
}

impl ModelId {
    pub(crate) fn of(loaded: &Loaded) -> Self {
        let model = &loaded.model;
        ModelId {
            name: loaded.name.clone(),
            path: model.path().display().to_string(),
            sha256: model.sha256().to_owned(),
            tokenizer_hash: model.tokenizer().hash(),
            architecture: model.spec().architecture.clone(),
            storage: model.storage().name(),
        }
    }
}

/// `pellucid run`.
#[derive(Serialize)]
pub(crate) struct Run {
    pub(crate) prompt: Vec<Placed>,
    pub(crate) sampling: Option<Sampling>,
    pub(crate) edits: Vec<Edit>,
    pub(crate) plain: Answer,
    pub(crate) edited: Option<Answer>,
}

/// How tokens were drawn.
#[derive(Serialize)]
pub(crate) struct Sampling {
    pub(crate) max_tokens: usize,
    pub(crate) temperature: f32,
    pub(crate) top_k: Option<usize>,
    pub(crate) top_p: Option<f32>,
    pub(crate) min_p: Option<f32>,
    pub(crate) repetition: f32,
    pub(crate) seed: u64,
    pub(crate) stop: Vec<String>,
}

/// What one run of the model gave.
#[derive(Default, Serialize)]
pub(crate) struct Answer {
    pub(crate) next: Option<Vec<Scored>>,
    pub(crate) generation: Option<Generated>,
    pub(crate) score: Option<Score>,
    pub(crate) watch: Vec<Watched>,
    /// Of every next token, to set two runs side by side; not on the wire.
    #[serde(skip)]
    pub(crate) log_probs: Vec<f32>,
}

/// Generated text.
#[derive(Serialize)]
pub(crate) struct Generated {
    pub(crate) text: String,
    pub(crate) tokens: Vec<Scored>,
    pub(crate) ended: &'static str,
    pub(crate) ended_by: Option<String>,
}

impl Generated {
    pub(crate) fn new(generation: &Generation, token: impl Fn(u32) -> Token) -> Self {
        let (ended, ended_by) = match &generation.ended {
            Ended::EndOfText(id) => ("end_of_text", Some(token(*id).text)),
            Ended::StopText(text) => ("stop_text", Some(text.clone())),
            Ended::Length => ("length", None),
            Ended::ContextFull => ("context_full", None),
            Ended::Cancelled => ("cancelled", None),
        };
        let tokens = generation.steps.iter().map(|s| Scored::new(token(s.id), s.log_prob)).collect();
        Generated { text: generation.text.clone(), tokens, ended, ended_by }
    }
}

/// Log-probability of a given text.
#[derive(Serialize)]
pub(crate) struct Score {
    pub(crate) log_prob: f64,
    pub(crate) tokens: Vec<Scored>,
}

/// What was seen at a site or unit.
#[derive(Serialize)]
#[serde(untagged)]
pub(crate) enum Watched {
    Site { site: Site, shape: Vec<usize>, tokens: Vec<SiteToken> },
    Unit { unit: UnitId, tokens: Vec<UnitToken> },
}

/// One token's vector in short.
#[derive(Serialize)]
pub(crate) struct SiteToken {
    #[serde(flatten)]
    pub(crate) at: Placed,
    pub(crate) norm: f64,
    pub(crate) largest: String,
    pub(crate) value: f32,
}

/// One unit's value at a token (a head's length).
#[derive(Serialize)]
pub(crate) struct UnitToken {
    #[serde(flatten)]
    pub(crate) at: Placed,
    pub(crate) value: f32,
}
