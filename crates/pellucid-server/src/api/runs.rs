//! Shared runs: a run is a file, and a link that shows it again. A file is kept under the hash of its content, so a link
//! cannot come to mean another run. Replaying draws the same tokens again and says whether they are the same.

use super::generate::{Sampling, generated};
use crate::App;
use crate::error::{ApiError, ApiResult};
use crate::work::{Asker, Body, run};
use axum::Json;
use axum::extract::{Path, State};
use pellucid_core::{Edit, Role};
use pellucid_scope::{EditShape, RoleShape};
use pellucid_scope::{Message, Steering, TextSpec};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::sync::Arc;
use utoipa::ToSchema;

/// A run that can be shared.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunFile {
    /// The version of the program that made it.
    pellucid: String,
    model: RunModel,
    /// The conversation, for a reader; the tokens are what is run.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    messages: Option<Vec<Message>>,
    /// The prompt's tokens.
    tokens: Vec<u32>,
    /// Who wrote each of them.
    #[schema(value_type = Vec<Option<RoleShape>>)]
    roles: Vec<Option<Role>>,
    sampling: Sampling,
    /// What was wanted.
    #[serde(default)]
    #[schema(required)]
    specs: Vec<Steering>,
    /// What was done.
    #[schema(value_type = Vec<EditShape>)]
    edits: Vec<Edit>,
    plain: RunAnswer,
    #[schema(required)]
    edited: Option<RunAnswer>,
}

#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunModel {
    name: String,
    sha256: String,
    tokenizer_hash: String,
}

/// What was answered.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunAnswer {
    tokens: Vec<u32>,
    text: String,
}

#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RunRequest {
    run: RunFile,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Kept {
    id: String,
}

#[derive(Serialize, ToSchema)]
pub(crate) struct Replayed {
    /// Whether every token is the same.
    same: bool,
    /// What differs, or why it could not be run.
    why: Option<String>,
    plain: RunAnswer,
    edited: Option<RunAnswer>,
}

/// Files kept at most; a server is no archive.
const FILES: usize = 10_000;

/// Hexadecimal digits of a run's name: 80 bits of its content's hash.
const DIGITS: usize = 20;

pub(crate) async fn keep(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<RunRequest>,
) -> ApiResult<Json<Kept>> {
    run(&app, &asker, move |app| {
        check(app, &asked.run)?;
        let failed = |e: std::io::Error| ApiError::internal(format!("the run could not be kept: {e}"));
        let bytes = serde_json::to_vec_pretty(&asked.run).map_err(|e| ApiError::internal(e.to_string()))?;
        // JSON may state a number that is infinite in 32 bits, and cannot state it again
        if serde_json::from_slice::<RunFile>(&bytes).is_err() {
            return Err(ApiError::bad("the run holds a number that 32 bits cannot hold"));
        }
        let hash = Sha256::digest(&bytes);
        let mut id: String = hash.iter().map(|b| format!("{b:02x}")).collect();
        id.truncate(DIGITS);
        std::fs::create_dir_all(&app.runs).map_err(failed)?;
        let path = app.runs.join(format!("{id}.json"));
        if !path.exists() {
            if std::fs::read_dir(&app.runs).map_err(failed)?.count() >= FILES {
                return Err(ApiError::large(format!(
                    "{FILES} runs are kept already; remove some from {}",
                    app.runs.display()
                )));
            }
            // whole or not at all
            let part = app.runs.join(format!("{id}.{}.part", std::process::id()));
            std::fs::write(&part, &bytes).and_then(|()| std::fs::rename(&part, &path)).map_err(failed)?;
        }
        Ok(Json(Kept { id }))
    })
    .await
}

pub(crate) async fn get(State(app): State<Arc<App>>, Path(id): Path<String>) -> ApiResult<Json<RunFile>> {
    let known = id.len() == DIGITS && id.bytes().all(|b| b.is_ascii_hexdigit());
    let absent = || ApiError::absent(format!("there is no run {id:?} on this server"));
    if !known {
        return Err(absent());
    }
    let path = app.runs.join(format!("{id}.json"));
    let bytes = tokio::task::spawn_blocking(move || std::fs::read(path)).await;
    let bytes = bytes.map_err(|e| ApiError::internal(e.to_string()))?.map_err(|_| absent())?;
    let run = serde_json::from_slice(&bytes);
    run.map(Json).map_err(|e| ApiError::internal(format!("the file of run {id} is damaged: {e}")))
}

fn check(app: &App, run: &RunFile) -> ApiResult<()> {
    run.sampling.check(app)?;
    app.check_edits(run.edits.len())?;
    app.text(&text(run))?;
    Ok(())
}

fn text(run: &RunFile) -> TextSpec {
    TextSpec::Tokens { tokens: run.tokens.clone(), prompt_tokens: run.tokens.len(), roles: run.roles.clone() }
}

pub(crate) async fn replay(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<RunRequest>,
) -> ApiResult<Json<Replayed>> {
    run(&app, &asker, move |app| {
        let run = asked.run;
        let (ours, theirs) = (app.loaded.model.sha256(), run.model.sha256.as_str());
        if ours != theirs {
            return Err(ApiError::bad(format!(
                "the run was made with another model: {} (sha256 {}…); this server has {} (sha256 {}…)",
                run.model.name,
                theirs.get(..12).unwrap_or(theirs),
                app.loaded.name,
                ours.get(..12).unwrap_or(ours),
            )));
        }
        check(app, &run)?;
        let plain = answer(app, &run, &[])?;
        let edited = match &run.edited {
            Some(_) => Some(answer(app, &run, &run.edits)?),
            None => None,
        };
        let differs = |name: &str, before: &RunAnswer, now: &RunAnswer| {
            let at = before.tokens.iter().zip(&now.tokens).take_while(|(a, b)| a == b).count();
            (before != now).then(|| format!("the {name} answer differs from token {at} on"))
        };
        let why = differs("plain", &run.plain, &plain).or_else(|| {
            let pair = run.edited.as_ref().zip(edited.as_ref());
            pair.and_then(|(before, now)| differs("edited", before, now))
        });
        Ok(Json(Replayed { same: why.is_none(), why, plain, edited }))
    })
    .await
}

fn answer(app: &App, run: &RunFile, edits: &[Edit]) -> ApiResult<RunAnswer> {
    let prompt = app.text(&text(run))?;
    let made = generated(app, &prompt, edits, &run.sampling.generating(0), &mut |_| true)?;
    Ok(RunAnswer { tokens: made.ids(), text: made.text })
}
