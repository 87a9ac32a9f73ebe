//! Methods that explain a run: which units made the model say a word, and whether that is so.
//!
//! [`attribute`] predicts, from one forward and one backward pass, what each unit does to a [`Metric`];
//! [`ablate_each`] does it and looks. [`lens`] reads inner values with the model's own unembedding.
//! [`behaviour`] holds what a model is asked to do, and the gate that every method passes first;
//! [`neuron`] explains it by single neurons and groups of them, beside controls. [`dictionary`] gives a
//! sparse autoencoder its rows, and says what the model loses with it. [`trace`] patches one run with values of another,
//! and [`patchscope`] has the model itself say what a value means.

mod ablate;
mod attribute;
pub mod behaviour;
pub mod circuit;
pub mod dictionary;
pub mod direction;
mod error;
pub mod flow;
pub mod function;
pub mod graph;
mod interval;
mod latents;
pub mod lens;
mod metric;
pub mod neuron;
pub mod patch;
pub mod patchscope;
mod rank;
pub mod steered;
pub mod stream;
mod sweep;
pub mod trace;

pub use ablate::{Ablation, Replacement, ablate_each, random_units};
pub use attribute::{By, Completeness, Effects, Method, UnitEffect, attribute};
pub use error::{Counted, Error, Progress, Result};
pub use interval::{Interval, wilson};
pub use latents::{LatentEffect, LatentEffects, RowSums, latent_effects};
pub use lens::{LensRow, LensToken, lens_grid};
pub use metric::Metric;
pub use rank::{Correlation, rank_correlation};
pub use sweep::{
    Promoted, Swept, leads_to_stream, promoted, promoted_latents, promoted_of, sweep, sweep_latents,
    sweep_sites,
};
