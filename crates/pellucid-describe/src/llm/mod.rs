//! Explainers and scorers that ask a language model, and the ways to reach one. Anything that answers
//! ([`pellucid_core::Chat`]) will do: a served model ([`Endpoint`]) or the runtime in this process. Prompts are
//! files in `prompts/`, and a result names the file's version.

mod cache;
mod classify;
mod contest;
mod embeddings;
mod endpoint;
mod explain;
mod failure;
mod held_out;
mod http;
mod pool;
mod prompt;
mod reject;
mod report;
mod show;
mod simulate;

pub use cache::{AnswerCache, AskHash, CacheError};
pub use classify::{Classified, ClassifySettings, Task, Verdict, detect, fuzz};
pub use contest::{Contest, ContestError, ContestSettings, Entrant, Winner, contest};
pub use embeddings::EmbeddingEndpoint;
pub use endpoint::{Endpoint, EndpointConfig, PrefillBy};
pub use explain::{Candidate, ExplainError, ExplainSettings, Explained, Rejected, explain};
pub use failure::{EndpointError, ServiceFailure};
pub use held_out::{HeldOut, ScoreError};
pub use http::Patience;
pub use pool::{Cost, Limits, Meter, Price, Stopped, ask_all};
pub use prompt::{Prompt, PromptError};
pub use reject::Reject;
pub use report::{By, Judged, ScorerSettings, judge};
pub use show::{Levels, highlighted, plain};
pub use simulate::{Pace, SimulateSettings, Simulated, Simulation, simulate};
