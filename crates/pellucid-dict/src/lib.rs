//! Sparse autoencoders and transcoders: what they compute, the files they are kept in, how they are trained and judged, and
//! how their directions lie to each other.
//! This crate knows no model: activations arrive as rows of numbers. Nothing here keeps a dense tokens × latents array.

#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod dictionary;
mod encode;
mod error;
mod files;
mod map;
mod metrics;
mod product;
mod select;
mod sparse;
mod tiles;
mod train;
mod twins;
mod units;

pub use dictionary::{Activation, Dictionary, Normalisation, Shape};
pub use error::{Error, Result};
pub use files::{
    Format, Opened, open, read_circuit_tracer, read_dictionary_learning, read_gemma_scope, read_llama_scope,
    read_openai, read_saelens, read_sparsify, write_circuit_tracer, write_dictionary_learning,
    write_gemma_scope, write_llama_scope, write_saelens, write_saelens_transcoder, write_sparsify,
};
pub use map::{MapSettings, Telling, largest_cosines, map};
pub use metrics::{Density, Fidelity};
pub use pellucid_kernels::Precision;
pub use sparse::{Frame, Sparse};
pub use train::{
    Adam, Auxiliary, Config, ErrorScale, Recipe, Sparsity, Step, Trainer, automatic_rate, geometric_median,
    haste,
};
pub use twins::Twins;
