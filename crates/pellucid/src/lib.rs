//! Pellucid as a library: the crates under one name.
//!
//! - [`core`]: the words: sites, units, edits;
//! - [`model`]: load, run, tap, edit, differentiate, generate;
//! - [`interp`]: attribution, ablation, lenses, sweeps;
//! - [`store`]: corpora, collectors, the atlas file;
//! - [`dict`]: sparse autoencoders: what they compute, their files and training;
//! - [`train`]: a one-layer transformer from text;
//! - [`describe`]: what units mean, in words, with scores;
//! - [`scope`]: a model with its atlas: explain, ablate, compare, steer, find, as plain data;
//! - [`server`]: the live page and its API.

pub use pellucid_core as core;
pub use pellucid_describe as describe;
pub use pellucid_dict as dict;
pub use pellucid_interp as interp;
pub use pellucid_model as model;
pub use pellucid_scope as scope;
pub use pellucid_server as server;
pub use pellucid_store as store;
pub use pellucid_train as train;
