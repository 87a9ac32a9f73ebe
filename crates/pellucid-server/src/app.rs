//! What all requests share: the model, its atlas, turns, limits and counts.

use crate::api::jobs::Jobs;
use crate::error::ApiError;
use crate::guard::Guard;
use crate::queue::{Full, Queue, Turn};
use pellucid_core::Chat;
use pellucid_model::{Attached, Prefixes};
use pellucid_scope::{self as scope, Loaded, Meaning, Opened, Shelf, Text, TextSpec, latents_path};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// How much one request may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Tokens of a text.
    pub prompt_tokens: usize,
    /// Tokens of an answer.
    pub generated_tokens: usize,
    /// Edits of a run.
    pub edits: usize,
    /// Bytes of a request.
    pub body: usize,
    /// How long a run may take.
    pub run: Duration,
    /// Runs at a time.
    pub at_a_time: usize,
    /// Requests that may wait for a turn.
    pub waiting: usize,
    /// The same of one client.
    pub waiting_each: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            prompt_tokens: 2048,
            generated_tokens: 1024,
            edits: 4096,
            body: 8 << 20,
            run: Duration::from_secs(120),
            at_a_time: 2,
            waiting: 64,
            waiting_each: 16,
        }
    }
}

/// What a server is made of.
pub struct Setup {
    /// The model.
    pub loaded: Loaded,
    /// Where its atlases are, or will be; the one with the most descriptions is used.
    pub atlases: Vec<PathBuf>,
    /// Where shared runs are kept.
    pub runs: PathBuf,
    /// Where maps of dictionaries are kept.
    pub maps: PathBuf,
    /// The access token, without which it serves on loopback addresses only.
    pub token: Option<String>,
    /// Names that the server may be called by, besides loopback ones.
    pub names: Vec<String>,
    /// Limits.
    pub limits: Limits,
    /// How atlases are built, if that may be asked for.
    pub build: Option<Build>,
    /// A language model that the guide may ask.
    pub llm: Option<Arc<dyn Chat>>,
}

/// Builds an atlas of so many tokens: told how far it is (what, done, of all), and asked to stop by the flag.
pub type Build = Arc<
    dyn Fn(u64, &mut dyn FnMut(&str, u64, u64), &std::sync::atomic::AtomicBool) -> Result<(), String>
        + Send
        + Sync,
>;

/// Bytes that beginnings of texts may take where a quarter of the model's weights is less.
const KEPT: u64 = 128 << 20;

/// Counts since the start, for `/metrics`.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) requests: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) failed: AtomicU64,
    pub(crate) busy: AtomicU64,
    pub(crate) runs: AtomicU64,
    pub(crate) run_micros: AtomicU64,
    pub(crate) generated: AtomicU64,
    pub(crate) reused: AtomicU64,
}

/// The state of the server.
pub struct App {
    pub(crate) loaded: Loaded,
    /// Beginnings of texts that were answered.
    pub(crate) prefixes: Prefixes,
    pub(crate) shelf: Shelf,
    /// Atlases of the model's dictionaries, by name.
    latents: BTreeMap<String, Shelf>,
    pub(crate) meaning: Meaning,
    pub(crate) runs: PathBuf,
    pub(crate) maps: PathBuf,
    pub(crate) queue: Queue,
    pub(crate) limits: Limits,
    pub(crate) guard: Guard,
    pub(crate) counts: Counts,
    pub(crate) jobs: Jobs,
    pub(crate) llm: Option<Arc<dyn Chat>>,
    pub(crate) stopping: tokio::sync::watch::Sender<bool>,
}

impl App {
    /// The state of a server that is to start.
    pub fn new(setup: Setup) -> Arc<App> {
        let limits = setup.limits;
        let dictionaries = setup.loaded.model.dictionaries().iter();
        let shelf = |d: &Attached| (d.name.clone(), Shelf::new(latents_path(&setup.loaded, d)));
        Arc::new(App {
            latents: dictionaries.map(shelf).collect(),
            prefixes: Prefixes::new((setup.loaded.model.weight_bytes() as u64 / 4).max(KEPT)),
            loaded: setup.loaded,
            shelf: Shelf::of(setup.atlases),
            meaning: Meaning::default(),
            runs: setup.runs,
            maps: setup.maps,
            queue: Queue::new(limits.at_a_time, limits.waiting, limits.waiting_each),
            limits,
            guard: Guard::new(setup.token.as_deref(), setup.names),
            counts: Counts::default(),
            jobs: Jobs::new(setup.build),
            llm: setup.llm,
            stopping: tokio::sync::watch::Sender::new(false),
        })
    }

    /// Reads the atlas and the encoder before they are first asked for; what fails is said when it is.
    pub fn warm_up(self: &Arc<Self>) {
        let app = Arc::clone(self);
        std::thread::spawn(move || {
            if let Ok(Some(opened)) = app.atlas() {
                let _ = app.meaning.of("warm up");
                let _ = opened.atlas().vectors(pellucid_scope::ENCODER);
            }
        });
    }

    /// The atlas, if there is one.
    pub(crate) fn atlas(&self) -> Result<Option<Arc<Opened>>, ApiError> {
        self.atlas_of(None)
    }

    /// The atlas of a dictionary's latents, or without a name the model's own; none if there is none.
    pub(crate) fn atlas_of(&self, dictionary: Option<&str>) -> Result<Option<Arc<Opened>>, ApiError> {
        Ok(self.shelf_of(dictionary)?.get(&self.loaded)?)
    }

    /// The same, for what cannot do without.
    pub(crate) fn need_atlas_of(&self, dictionary: Option<&str>) -> Result<Arc<Opened>, ApiError> {
        let shelf = self.shelf_of(dictionary)?;
        let Some(name) = dictionary else { return Ok(shelf.need(&self.loaded)?) };
        match shelf.get(&self.loaded)? {
            Some(opened) => Ok(opened),
            None => {
                let build = scope::build_command(&self.loaded, self.loaded.dictionary(dictionary)?);
                Err(ApiError::absent(format!("the latents of {name} have no atlas; make one with `{build}`")))
            }
        }
    }

    fn shelf_of(&self, dictionary: Option<&str>) -> Result<&Shelf, ApiError> {
        let Some(name) = dictionary else { return Ok(&self.shelf) };
        self.latents.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.latents.keys().map(String::as_str).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            ApiError::bad(format!("no dictionary is named {name:?}; this server has {known}"))
        })
    }

    /// A text of the wire, within the limits.
    pub(crate) fn text(&self, spec: &TextSpec) -> Result<Text, ApiError> {
        let text = Text::read(&self.loaded, spec)?;
        self.check_length(&text)?;
        Ok(text)
    }

    /// Refuses a text that is longer than this server or the model takes.
    pub(crate) fn check_length(&self, text: &Text) -> Result<(), ApiError> {
        let (found, most) = (text.tokens.len(), self.limits.prompt_tokens);
        match found > most {
            true => {
                Err(ApiError::large(format!("the text has {found} tokens; this server takes {most} at most")))
            }
            false => Ok(()),
        }
    }

    /// Refuses more edits than a run may have.
    pub(crate) fn check_edits(&self, edits: usize) -> Result<(), ApiError> {
        match edits > self.limits.edits {
            true => Err(ApiError::large(format!(
                "{edits} edits; this server takes {} at most",
                self.limits.edits
            ))),
            false => Ok(()),
        }
    }

    /// Waits for a turn.
    pub(crate) async fn turn(&self, client: &str) -> Result<Turn, ApiError> {
        if *self.stopping.borrow() {
            return Err(ApiError::stopping());
        }
        self.queue.turn(client).await.map_err(|Full { yours }| {
            self.counts.busy.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let why = match yours {
                true => format!(
                    "you have {} requests waiting already; wait for their answers",
                    self.limits.waiting_each
                ),
                false => {
                    format!("{} requests are waiting for the model; try again shortly", self.limits.waiting)
                }
            };
            ApiError::busy(why, 2)
        })
    }
}
