//! Circuits: the few edges between heads and MLPs that carry a behaviour.
//!
//! [`Edges`] numbers every edge of a model; a [`Bench`] runs a behaviour with edges cut; [`score`] predicts what each edge
//! carries; [`order`] and [`alive`] make circuits of the scores, [`Bench::acdc`] prunes by truly cutting, and [`Bench::measure`] says
//! what a circuit keeps. A [`NeuronBench`] does the same for single neurons.

mod acdc;
mod bench;
mod curve;
mod edges;
mod file;
mod neurons;
mod patch;
mod roc;
mod score;
mod select;

pub use acdc::{Acdc, Measure};
pub use bench::{Ablation, Bench};
pub use curve::{
    FRACTIONS, Measured, Point, SKELETON_STEPS, Skeleton, cmd, cpr, faithfulness, first, skeleton,
};
pub use edges::{Edges, Input, Reader, Writer};
pub use file::{read, write};
pub use neurons::{NeuronBench, NeuronPoint, NeuronScoring, NeuronsKept, ranked};
pub use roc::pessimistic_auc;
pub use score::{Scoring, score};
pub use select::{Choice, alive, node_scores, of_nodes, order, random_order};
