//! A dictionary as a whole: its facts, a few numbers of every latent, their words, and a map of them.

use crate::App;
use crate::api::jobs::Job;
use crate::error::{ApiError, ApiResult};
use crate::work::{Asker, Body, Query, run};
use axum::Json;
use axum::extract::State;
use pellucid_model::Attached;
use pellucid_scope as scope;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use utoipa::{IntoParams, ToSchema};

#[derive(Deserialize, IntoParams)]
pub(crate) struct DictionaryQuery {
    /// The dictionary, as in `sae:NAME/7`; where there is one only it need not be named.
    #[serde(default)]
    name: Option<String>,
}

/// The dictionary of this name, or the only one.
fn of<'a>(app: &'a App, name: Option<&str>) -> ApiResult<&'a Attached> {
    app.loaded.dictionary(name).map_err(|error| ApiError::absent(error.to_string()))
}

pub(crate) async fn dictionary(
    State(app): State<Arc<App>>,
    asker: Asker,
    Query(asked): Query<DictionaryQuery>,
) -> ApiResult<Json<scope::DictionaryReply>> {
    run(&app, &asker, move |app| {
        let of = of(app, asked.name.as_deref())?;
        let atlas = app.atlas_of(Some(&of.name));
        let opened = match &atlas {
            Ok(opened) => Ok(opened.as_deref()),
            Err(fault) => Err(scope::Error::Request(fault.message().to_owned())),
        };
        Ok(Json(scope::dictionary(&app.loaded, of, opened)?))
    })
    .await
}

pub(crate) async fn latents(
    State(app): State<Arc<App>>,
    asker: Asker,
    Query(asked): Query<DictionaryQuery>,
) -> ApiResult<Json<scope::LatentsReply>> {
    run(&app, &asker, move |app| {
        let of = of(app, asked.name.as_deref())?;
        let atlas = app.need_atlas_of(Some(&of.name))?;
        Ok(Json(scope::latents(of, &atlas)?))
    })
    .await
}

/// Latents whose words are asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LatentWordsRequest {
    /// The dictionary.
    name: String,
    /// Their numbers; 1,000 at most.
    latents: Vec<u32>,
}

/// Their words, in the order in which they were asked for.
#[derive(Serialize, ToSchema)]
pub(crate) struct LatentWordsReply {
    /// None for a latent that has no words.
    words: Vec<Option<scope::Words>>,
}

/// Most latents whose words one request may ask for.
const WORDS: usize = 1000;

pub(crate) async fn words(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<LatentWordsRequest>,
) -> ApiResult<Json<LatentWordsReply>> {
    run(&app, &asker, move |app| {
        let found = asked.latents.len();
        if found > WORDS {
            return Err(ApiError::large(format!("{found} latents; this server takes {WORDS} at most")));
        }
        let of = of(app, Some(&asked.name))?;
        let atlas = app.need_atlas_of(Some(&of.name))?;
        Ok(Json(LatentWordsReply { words: scope::latent_words(of, &atlas, &asked.latents)? }))
    })
    .await
}

/// The dictionary whose map is asked for.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LatentMapRequest {
    /// Its name.
    name: String,
}

/// One of the two: a map takes seconds to minutes, and is kept once it is made.
#[derive(Serialize, ToSchema)]
pub(crate) struct LatentMapReply {
    /// The map, if it is there.
    map: Option<scope::LatentMap>,
    /// The job that makes it, if it is not; ask again when it is done.
    job: Option<Job>,
}

pub(crate) async fn map(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<LatentMapRequest>,
) -> ApiResult<Json<LatentMapReply>> {
    run(&app, &asker, move |app| {
        let of = of(app, Some(&asked.name))?;
        // who is writing it has not written it yet
        if let Some(job) = app.jobs.running("map", &of.name) {
            return Ok(Json(LatentMapReply { map: None, job: Some(job) }));
        }
        let file = scope::map_file(&app.maps, of);
        if let Some(map) = scope::kept_map(&file, of) {
            return Ok(Json(LatentMapReply { map: Some(map), job: None }));
        }
        let count = of.latents.count();
        if count > scope::MOST_MAPPED {
            let most = scope::MOST_MAPPED;
            return Err(ApiError::bad(format!(
                "{} has {count} latents; a map is made of {most} at most",
                of.name
            )));
        }
        let of = of.clone();
        let begun = app.jobs.begin("map", Some(of.name.clone()), move |tell, stop| {
            let mut going = |what: &'static str, done: usize, all: usize| {
                tell(what, done as u64, all as u64);
                !stop.load(Ordering::Relaxed)
            };
            scope::make_map(&file, &of, &mut going).map(|_| ()).map_err(|e| e.to_string())
        });
        let (Ok(job) | Err(job)) = begun;
        Ok(Json(LatentMapReply { map: None, job: Some(job) }))
    })
    .await
}
