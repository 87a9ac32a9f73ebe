//! Long work that goes on while the page is in use: its progress, and stopping it.

use super::sse;
use crate::App;
use crate::app::Build;
use crate::error::{ApiError, ApiResult};
use crate::work::Body;
use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;
use utoipa::ToSchema;

/// How far some work is.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Job {
    id: u64,
    /// `atlas` or `map`.
    kind: &'static str,
    /// The dictionary that it is about; none for the model itself.
    dictionary: Option<String>,
    state: Phase,
    /// What it is doing, or why it failed.
    message: String,
    done: u64,
    total: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    Running,
    Done,
    Failed,
    Cancelled,
}

/// All jobs since the start.
pub(crate) struct Jobs {
    build: Option<Build>,
    all: Mutex<BTreeMap<u64, Entry>>,
}

struct Entry {
    progress: watch::Sender<Job>,
    stop: Arc<AtomicBool>,
}

impl Jobs {
    pub(crate) fn new(build: Option<Build>) -> Self {
        Jobs { build, all: Mutex::new(BTreeMap::new()) }
    }

    pub(crate) fn can_build(&self) -> bool {
        self.build.is_some()
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn stop_all(&self) {
        self.entries().values().for_each(|e| e.stop.store(true, Ordering::Relaxed));
    }
}

impl App {
    /// Begins to build atlases of so many tokens, one after the other.
    ///
    /// # Errors
    /// If that cannot be done, with the words to show.
    pub fn build_atlases(&self, tokens: &[u64]) -> Result<(), String> {
        self.begin_build(tokens).map(|_| ()).map_err(|e| e.message().to_owned())
    }

    /// Waits until jobs that were asked to stop have done so, `most` long.
    pub fn wait_for_jobs(&self, most: std::time::Duration) {
        let begun = std::time::Instant::now();
        let running = || self.jobs.entries().values().any(|e| e.progress.borrow().runs());
        while running() && begun.elapsed() < most {
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
    }

    fn begin_build(&self, tokens: &[u64]) -> ApiResult<Job> {
        let build = self.jobs.build.clone();
        let build =
            build.ok_or_else(|| ApiError::bad("this server was started without building of atlases"))?;
        let tokens = tokens.to_vec();
        let begun = self.jobs.begin("atlas", None, move |tell, stop| {
            tokens.iter().try_for_each(|&tokens| build(tokens, tell, stop))
        });
        begun.map_err(|_| ApiError::conflict("an atlas is being built already"))
    }
}

impl Jobs {
    /// Begins work on a thread of its own; where the same is being done already, that job as the error. What it says last is
    /// why it failed.
    pub(crate) fn begin(
        &self,
        kind: &'static str,
        dictionary: Option<String>,
        work: impl FnOnce(&mut dyn FnMut(&str, u64, u64), &AtomicBool) -> Result<(), String> + Send + 'static,
    ) -> Result<Job, Job> {
        let mut all = self.entries();
        let same = |job: &Job| job.kind == kind && job.dictionary == dictionary;
        let running = all.values().map(|e| e.progress.borrow().clone()).find(|j| same(j) && j.runs());
        if let Some(running) = running {
            return Err(running);
        }
        let id = all.last_key_value().map_or(1, |(id, _)| id + 1);
        let (state, message) = (Phase::Running, String::new());
        let job = Job { id, kind, dictionary, state, message, done: 0, total: 0 };
        let (progress, stop) = (watch::Sender::new(job.clone()), Arc::new(AtomicBool::new(false)));
        all.insert(id, Entry { progress: progress.clone(), stop: Arc::clone(&stop) });
        std::thread::spawn(move || {
            let mut tell = |message: &str, done: u64, total: u64| {
                progress.send_modify(|job| {
                    message.clone_into(&mut job.message);
                    (job.done, job.total) = (done, total);
                });
            };
            let result = work(&mut tell, &stop);
            progress.send_modify(|job| match result {
                _ if stop.load(Ordering::Relaxed) => job.state = Phase::Cancelled,
                Ok(()) => job.state = Phase::Done,
                Err(why) => (job.state, job.message) = (Phase::Failed, why),
            });
        });
        Ok(job)
    }

    /// The job of this kind that is running for a dictionary.
    pub(crate) fn running(&self, kind: &str, dictionary: &str) -> Option<Job> {
        let all = self.entries();
        let mut jobs = all.values().map(|e| e.progress.borrow().clone());
        jobs.find(|j| j.kind == kind && j.dictionary.as_deref() == Some(dictionary) && j.runs())
    }
}

impl Job {
    fn runs(&self) -> bool {
        self.state == Phase::Running
    }
}

/// Builds an atlas of the model from this many tokens of the default corpus.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AtlasRequest {
    tokens: u64,
}

pub(crate) async fn atlas(
    State(app): State<Arc<App>>,
    Body(asked): Body<AtlasRequest>,
) -> ApiResult<Json<Job>> {
    if !(1_000..=100_000_000).contains(&asked.tokens) {
        return Err(ApiError::bad(format!("tokens is {}; expected 1,000 to 100,000,000", asked.tokens)));
    }
    app.begin_build(&[asked.tokens]).map(Json)
}

pub(crate) async fn list(State(app): State<Arc<App>>) -> Json<Vec<Job>> {
    Json(app.jobs.entries().values().map(|e| e.progress.borrow().clone()).collect())
}

fn absent(id: u64) -> ApiError {
    ApiError::absent(format!("there is no job {id}"))
}

fn number(id: &str) -> ApiResult<u64> {
    id.parse().map_err(|_| ApiError::absent(format!("there is no job {id:?}")))
}

pub(crate) async fn cancel(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<Job>> {
    let id = number(&id)?;
    let all = app.jobs.entries();
    let entry = all.get(&id).ok_or_else(|| absent(id))?;
    entry.stop.store(true, Ordering::Relaxed);
    Ok(Json(entry.progress.borrow().clone()))
}

/// The job each time it moves, until it ends.
pub(crate) async fn events(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Response> {
    let id = number(&id)?;
    let mut watched = {
        let all = app.jobs.entries();
        all.get(&id).ok_or_else(|| absent(id))?.progress.subscribe()
    };
    let (events, response) = sse::channel();
    let mut stopping = app.stopping.subscribe();
    tokio::spawn(async move {
        loop {
            let job = watched.borrow_and_update().clone();
            let ended = job.state != Phase::Running;
            if events.send_from_task("job", &job).await.is_err() || ended {
                return;
            }
            tokio::select! {
                moved = watched.changed() => if moved.is_err() { return },
                _ = stopping.changed() => return,
                () = tokio::time::sleep(std::time::Duration::from_secs(15)) => if events.is_gone() { return },
            }
        }
    });
    Ok(response)
}
