//! What a unit responds to, in words, and how far the words can be believed. Explainers read training examples
//! ([`Evidence`]) and offer candidates; validation chooses one; the test split says how good it is. No tensors: a
//! language model arrives as [`pellucid_core::Chat`], an embedder as [`pellucid_core::Embed`].

pub mod cluster;
pub mod evidence;
mod example;
mod explain;
pub mod llm;
pub mod measure;
pub mod pattern;
pub mod phrase;
pub mod proxy;
pub mod reading;
mod simulate;

pub use example::{Evidence, Example, Leak};
pub use explain::{Candidate, Missing, Outcome, Settings, Source, explain, explain_with};
pub use reading::Lexicon;
pub use simulate::{Simulate, Simulator};
