//! A request's way to the model: its body read, its turn waited for, and the work done on a thread that may block.

use crate::App;
use crate::error::{ApiError, ApiResult};
use axum::extract::{FromRequest, FromRequestParts, Request};
use axum::http::request::Parts;
use futures_core::Stream;
use serde::de::DeserializeOwned;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// How long a body that is refused is still read.
const DRAINING: Duration = Duration::from_secs(5);

/// All of a body of at most so many bytes. The rest of a larger one is read and thrown away for a while, because whoever is
/// cut off while sending sees a broken connection and not the reason.
async fn whole(body: axum::body::Body, most: usize) -> ApiResult<Vec<u8>> {
    let mut parts = body.into_data_stream();
    let mut next = async || std::future::poll_fn(|cx| Pin::new(&mut parts).poll_next(cx)).await;
    let mut bytes = Vec::new();
    while let Some(part) = next().await {
        let part = part.map_err(|e| ApiError::bad(format!("the request's body could not be read: {e}")))?;
        if bytes.len() + part.len() > most {
            let rest = async { while next().await.is_some_and(|part| part.is_ok()) {} };
            let _ = tokio::time::timeout(DRAINING, rest).await;
            let most = most >> 20;
            return Err(ApiError::large(format!(
                "the request is larger than the {most} MiB that this server takes"
            )));
        }
        bytes.extend_from_slice(&part);
    }
    Ok(bytes)
}

/// A JSON body, with our own words where it is none.
pub(crate) struct Body<T>(pub(crate) T);

impl<T: DeserializeOwned> FromRequest<Arc<App>> for Body<T> {
    type Rejection = ApiError;

    async fn from_request(request: Request, app: &Arc<App>) -> Result<Self, ApiError> {
        let bytes = whole(request.into_body(), app.limits.body).await?;
        let value = serde_json::from_slice(&bytes);
        value.map(Body).map_err(|e| ApiError::bad(format!("the request is not what was expected: {e}")))
    }
}

/// Query parameters, with our own words where they do not fit.
pub(crate) struct Query<T>(pub(crate) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let found = axum::extract::Query::<T>::from_request_parts(parts, state).await;
        found
            .map(|q| Query(q.0))
            .map_err(|e| ApiError::bad(format!("the address is not what was expected: {e}")))
    }
}

/// Who asks: the name that a page gives itself, so that turns can be shared out fairly.
pub(crate) struct Asker(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for Asker {
    type Rejection = std::convert::Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let named = parts.headers.get("x-pellucid-client").and_then(|v| v.to_str().ok());
        let named = named.filter(|n| n.len() <= 64).unwrap_or_default();
        let peer = parts.extensions.get::<axum::extract::ConnectInfo<std::net::SocketAddr>>();
        Ok(Asker(format!("{} {named}", peer.map_or_else(String::new, |p| p.0.ip().to_string()))))
    }
}

/// Waits for a turn, does the work on a thread that may block, and gives its answer. Work that takes longer than a run
/// may is given up waiting for; it keeps its turn until it ends.
pub(crate) async fn run<T: Send + 'static>(
    app: &Arc<App>,
    asker: &Asker,
    work: impl FnOnce(&App) -> ApiResult<T> + Send + 'static,
) -> ApiResult<T> {
    let turn = app.turn(&asker.0).await?;
    let of = Arc::clone(app);
    let done = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        let begun = Instant::now();
        let result = work(&of);
        of.counts.runs.fetch_add(1, Ordering::Relaxed);
        of.counts.run_micros.fetch_add(begun.elapsed().as_micros() as u64, Ordering::Relaxed);
        result
    });
    match tokio::time::timeout(app.limits.run, done).await {
        Ok(Ok(result)) => result,
        Ok(Err(failure)) => {
            tracing::error!(%failure, "a run ended without an answer");
            Err(ApiError::internal("the run ended without an answer; please report this"))
        }
        Err(_) => Err(ApiError::late(app.limits.run.as_secs())),
    }
}
