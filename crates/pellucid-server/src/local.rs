//! Requests answered in this process, without a socket, by everything that answers those from one. Tests of hostile
//! requests ask it thousands of times a second.

use crate::error::ServeError;
use crate::{App, serve};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use std::sync::Arc;
use tower_service::Service;

/// A server without a socket.
pub struct Local {
    router: Router,
    runtime: tokio::runtime::Runtime,
}

impl Local {
    /// A server over a state.
    ///
    /// # Errors
    /// If there is no thread for it.
    pub fn new(app: &Arc<App>) -> Result<Local, ServeError> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
        Ok(Local { router: serve::router(Arc::clone(app)), runtime })
    }

    /// The status and the whole body of the answer to a request; none if that is no request of HTTP.
    pub fn ask(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: Vec<u8>,
    ) -> Option<(u16, Vec<u8>)> {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Body::from(body)).ok()?;
        let mut router = self.router.clone();
        self.runtime.block_on(async {
            let Ok(response) = router.call(request).await;
            let status = response.status().as_u16();
            let body = to_bytes(response.into_body(), usize::MAX).await.ok()?;
            Some((status, body.to_vec()))
        })
    }
}
