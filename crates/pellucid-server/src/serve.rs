//! Listening, and stopping without cutting anybody off.

use crate::error::{ApiError, ServeError};
use crate::{App, api, guard, openai, page};
use axum::Router;
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// The least length of an access token.
const TOKEN: usize = 16;

/// How long runs may go on after the server was told to stop.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server that listens.
pub struct Serving {
    /// Where.
    pub address: SocketAddr,
}

pub(crate) fn router(app: Arc<App>) -> Router {
    Router::new()
        .nest("/api", api::router())
        .nest("/v1", openai::router())
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/metrics", get(api::status::metrics))
        .route("/", get(page::index))
        .route("/{*path}", get(page::asset))
        .method_not_allowed_fallback(|| async { ApiError::method() })
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&app), guard::guard))
        .with_state(app)
}

/// Serves until `stop` comes; `ready` is told the address. Those who are being answered then have some seconds.
///
/// # Errors
/// If it would be open to other machines without a token, or the address cannot be used.
pub fn serve(
    app: &Arc<App>,
    bind: SocketAddr,
    token: Option<&str>,
    ready: impl FnOnce(Serving) + Send,
) -> Result<(), ServeError> {
    if !bind.ip().is_loopback() && !app.guard.asks_for_token() {
        return Err(ServeError::Open { address: bind.to_string() });
    }
    if let Some(token) = token.filter(|t| t.len() < TOKEN) {
        return Err(ServeError::WeakToken { found: token.len() });
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let failed = |source| ServeError::Bind { address: bind.to_string(), source };
        let listener = TcpListener::bind(bind).await.map_err(failed)?;
        ready(Serving { address: listener.local_addr()? });
        let stopping = Arc::clone(app);
        let told = async move {
            let mut asked = stopping.stopping.subscribe();
            tokio::select! { () = signal() => stopping.stop(), _ = asked.wait_for(|s| *s) => () }
        };
        let service = router(Arc::clone(app)).into_make_service_with_connect_info::<SocketAddr>();
        let serving = axum::serve(listener, service).with_graceful_shutdown(told);
        let mut stopped = app.stopping.subscribe();
        tokio::select! {
            done = async { serving.await } => done?,
            () = async {
                // whoever is still being answered after this long is cut off
                let _ = stopped.wait_for(|s| *s).await;
                tokio::time::sleep(PATIENCE).await;
            } => (),
        }
        Ok::<(), ServeError>(())
    })?;
    runtime.shutdown_timeout(Duration::from_secs(1));
    Ok(())
}

impl App {
    /// Tells the server to stop: nothing new is begun, streams end, jobs are asked to stop.
    pub fn stop(&self) {
        self.stopping.send_replace(true);
        self.jobs.stop_all();
    }
}

/// Waits until the process is asked to end.
async fn signal() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => {
                signal.recv().await;
            }
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! { () = interrupt => (), () = terminate => () }
}
