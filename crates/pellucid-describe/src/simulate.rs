//! Simulators: what a description says a unit should do on a text, so that it can be held against what it did.

use crate::pattern::Trie;
use crate::proxy::Proxy;
use crate::reading::{Lexicon, Reading};
use std::sync::Arc;

/// Predicts a unit's activation at each token, in units of its typical strength.
pub trait Simulate: Send + Sync {
    /// One prediction for each token of a row. `begins` says that the row begins its text.
    fn predict(&self, tokens: &[u32], texts: &[Arc<str>], begins: bool) -> Vec<f32>;
}

/// The simulators that need no language model. Plain data: it can be stored beside the description.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Simulator {
    /// Token patterns read backwards.
    Pattern(Trie),
    /// A predicate over texts and places.
    Proxy(Proxy),
}

impl Simulator {
    /// One prediction for each token of a row that has been read.
    pub fn predict_reading(&self, lexicon: &Lexicon, reading: &Reading) -> Vec<f32> {
        match self {
            Simulator::Pattern(trie) => trie.predict_reading(lexicon, reading),
            Simulator::Proxy(proxy) => proxy.predict_reading(lexicon, reading),
        }
    }
}

impl Simulator {
    /// The same for many rows.
    pub(crate) fn predict_readings(&self, lexicon: &Lexicon, readings: &[Reading]) -> Vec<Vec<f32>> {
        match self {
            Simulator::Pattern(trie) => trie.predict_readings(lexicon, readings),
            Simulator::Proxy(proxy) => proxy.predict_readings(lexicon, readings),
        }
    }
}

impl Simulate for Simulator {
    fn predict(&self, _: &[u32], texts: &[Arc<str>], begins: bool) -> Vec<f32> {
        let mut lexicon = Lexicon::new();
        let reading = lexicon.read(texts, begins);
        self.predict_reading(&lexicon, &reading)
    }
}
