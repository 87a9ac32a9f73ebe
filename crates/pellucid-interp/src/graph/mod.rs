//! Attribution graphs: the neurons behind a word, and what each adds to each (Ameisen et al. 2025, "Circuit Tracing").
//!
//! A run is held still ([`pellucid_model::Frozen`]): attention probabilities, norm scales and each activation function's ratio are
//! what they were. Then every value is a sum over the nodes before it: neurons at a token, what the neurons that are
//! no nodes add in each layer and token (errors), and the input tokens. [`trace()`] computes that matrix, [`Graph`] says what in it
//! matters, [`mod@file`] reads and writes it, and [`check`] does what it predicts.
//!
//! What stands for an MLP is a [`Units`]: [`Neurons`] are, and whatever else reads before an MLP and writes after it may be.

pub mod check;
pub mod file;
mod influence;
mod trace;
mod units;

pub use influence::{Graph, Kinds, Pruned};
pub use trace::{MOST_NODES, Node, Outputs, Traced, What, steps, trace};
pub use units::{LayerUnits, Neurons, Placed, Units, foremost};
