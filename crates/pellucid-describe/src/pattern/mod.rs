//! Token patterns, after Neuron2Graph (Foote et al. 2023): what a unit responds to is a set of tokens, each with as
//! much of the text before it as it takes to tell activation from none. Learning needs training examples alone;
//! [`refine`] runs the model on altered texts for a unit that is worth it.

mod learn;
mod refine;
mod trie;

pub(crate) use learn::{ACTIVE, learn};
pub use refine::{Probe, RefineError, RefineSettings, Refined, Role, refine};
pub use trie::{ClassStep, Node, Pattern, Step, Trie};
