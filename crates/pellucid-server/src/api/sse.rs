//! Server-sent events from a thread that computes: a bounded channel, so that a reader who stops reading stops the run.

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse, Response};
use futures_core::Stream;
use serde::Serialize;
use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use tokio::sync::mpsc;

/// Where events are put in.
#[derive(Clone)]
pub(crate) struct Events(mpsc::Sender<Bytes>);

/// The other end has gone.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Gone;

/// Events and the response they go out with.
pub(crate) fn channel() -> (Events, Response) {
    let (sender, receiver) = mpsc::channel(64);
    let mut response = Body::from_stream(Outgoing(receiver)).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    (Events(sender), response)
}

impl Events {
    /// Sends an event from a thread that may wait. An empty name is left out (the wire of OpenAI has none).
    pub(crate) fn send(&self, name: &str, data: &impl Serialize) -> Result<(), Gone> {
        self.0.blocking_send(event(name, data)).map_err(|_| Gone)
    }

    /// The same from a task.
    pub(crate) async fn send_from_task(&self, name: &str, data: &impl Serialize) -> Result<(), Gone> {
        self.0.send(event(name, data)).await.map_err(|_| Gone)
    }

    /// The end of a stream on the wire of OpenAI.
    pub(crate) fn done(&self) -> Result<(), Gone> {
        self.0.blocking_send(Bytes::from_static(b"data: [DONE]\n\n")).map_err(|_| Gone)
    }

    /// Whether nobody reads any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.0.is_closed()
    }
}

fn event(name: &str, data: &impl Serialize) -> Bytes {
    // our own types always serialise; JSON has no line ends outside strings, and none unescaped inside
    let data = serde_json::to_string(data).unwrap_or_else(|_| "null".to_owned());
    match name {
        "" => format!("data: {data}\n\n").into(),
        name => format!("event: {name}\ndata: {data}\n\n").into(),
    }
}

struct Outgoing(mpsc::Receiver<Bytes>);

impl Stream for Outgoing {
    type Item = Result<Bytes, Infallible>;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_recv(context).map(|next| next.map(Ok))
    }
}
