//! The laboratory: a behaviour is measured, and where the model shows it a method explains it beside its controls.
//!
//! [`Subject::measure`] is the gate. [`neurons`], [`doses`], [`direction`] and [`circuit`] take what it measured, refuse what
//! the model does not do, and give a report as plain data. The commands print these reports and the page draws them.

mod behaviour;
mod circuit;
mod circuit_neurons;
mod direction;
mod graph;
mod neurons;
mod shape;

pub use behaviour::{BehaviourReport, BuiltIn, Entry, Measured, OFF_TASK, Subject, built_in};
pub use circuit::{
    CircuitEdge, CircuitNode, CircuitPruned, CircuitReport, Cutting, Pruning, Weighed, circuit, scored,
};
pub use circuit_neurons::{CircuitNeuron, CircuitNeuronsReport, circuit_neurons};
pub use direction::{Directed, DirectionReport, Leading, Reading, direction, directions, reading};
pub use graph::{
    GraphCheck, GraphKind, GraphLink, GraphLogit, GraphNode, GraphOutput, GraphReport, GraphZeroed, Graphing,
    graph, graph_zeroed,
};
pub use neurons::{NeuronsReport, Ranking, RankingBy, doses, neurons};
pub use shape::*;

use pellucid_interp::{Error, Progress};
use serde::Serialize;
use utoipa::ToSchema;

/// How far a method is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = LabStep)]
pub struct Step {
    /// What is done, in words.
    #[schema(value_type = String)]
    pub what: &'static str,
    /// How much of it.
    pub done: usize,
    /// Of how much.
    pub total: usize,
}

/// Told how far a method is; false asks it to end, which it then does with [`Error::Stopped`].
pub type Watch<'a> = &'a mut dyn FnMut(Step) -> bool;

/// Counts one kind of step on a watch.
struct Steps<'a> {
    watch: Watch<'a>,
    at: Step,
}

impl<'a> Steps<'a> {
    /// Begins, with nothing done.
    fn begin(watch: Watch<'a>, what: &'static str, total: usize) -> pellucid_interp::Result<Self> {
        let mut steps = Steps { watch, at: Step { what, done: 0, total } };
        steps.tell()?;
        Ok(steps)
    }

    fn tell(&mut self) -> pellucid_interp::Result<()> {
        if (self.watch)(self.at) { Ok(()) } else { Err(Error::Stopped) }
    }

    /// Works while one more step is counted each time that it is told.
    fn each<T>(mut self, work: impl FnOnce(Progress<'_>) -> T) -> T {
        work(&mut || {
            self.at.done += 1;
            self.tell()
        })
    }
}
