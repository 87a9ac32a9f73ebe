//! What single neurons, and groups of them, do to a behaviour: predicted for all, measured for the foremost.
//!
//! Two predictions, each the mean over items of `activation · derivative` at `mlp_act`: the *direct* effect takes the one path
//! from the neuron's write to the stream through the final norm, whose scale is held (direct logit attribution); the *gradient*
//! effect takes every path. The truth is measured by [`Bench::without`]: the neuron's value is replaced at every token but the
//! first (where massive activations live) by zero, by its mean over the items, or by the counterfactual's value.

mod bench;
mod effects;
mod report;

pub use bench::{Bench, Swap};
pub use effects::{Effect, predict};
pub use report::{Changes, Dose, Group, Measured, doses, group_sizes, groups, measure};
