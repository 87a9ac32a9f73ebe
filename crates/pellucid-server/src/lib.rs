//! The server: the live page, its API, and OpenAI-compatible endpoints, over one model that all runs share.
//!
//! Handlers are thin: they read a request, wait for their turn (`queue`), and call `pellucid-scope` on a thread of
//! their own. What is said on the wire is in `api/` and in the types of `pellucid-scope`; `/api/openapi.json` lists it.
//! Requests are untrusted: `guard` checks where they come from, and every limit is in [`Limits`].

mod api;
mod app;
mod error;
mod guard;
mod local;
mod openai;
mod openapi;
mod page;
mod queue;
mod serve;
mod stories;
mod work;

pub use app::{App, Build, Limits, Setup};
pub use error::ServeError;
pub use local::Local;
pub use openapi::document as openapi;
pub use serve::{Serving, serve};
