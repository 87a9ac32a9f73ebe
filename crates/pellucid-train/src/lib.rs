//! A small language model from text: a byte-pair vocabulary, and a transformer of one layer trained from nothing.
//!
//! It exists so that what Bricken et al. 2023 ("Towards Monosemanticity") did can be done again from the text on: their model has one
//! layer, a stream of 128 and 512 ReLU neurons. Ours has GPT-2's block, so the folder that [`write()`] leaves is opened by
//! every program that opens GPT-2, and by `pellucid-model`, which a test of the program holds to the same numbers.
//!
//! This is the only place where gradients of a language model's weights are computed.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod attention;
mod checkpoint;
mod error;
mod file;
mod loss;
mod norm;
mod pass;
mod shape;
mod tokens;
mod trainer;

pub use error::{Error, Result};
pub use file::write;
pub use shape::Shape;
pub use tokens::{END, Vocabulary, learn};
pub use trainer::{Adam, Config, Step, Trainer};

#[cfg(test)]
mod tests;
