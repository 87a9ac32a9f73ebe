//! The laboratory: a behaviour is measured, and where the model shows it a method explains it beside its controls.
//!
//! [`Subject::measure`] is the gate. [`lens`], [`trace`], [`knockout`], [`patch_grid`], [`put_back`], [`neurons`], [`doses`],
//! [`direction`] and [`circuit`] take what it measured, refuse what the model does not do, and give a report as plain data;
//! [`ladder`] and [`readings`] read one token of a text, and [`Taught`] is both the gate and the method of function vectors. The
//! commands print these reports and the page draws them.

mod behaviour;
mod circuit;
mod circuit_neurons;
mod direction;
mod function;
mod graph;
mod knockout;
mod lens;
mod neurons;
mod patchscope;
mod places;
mod shape;
mod trace;

pub use behaviour::{BehaviourReport, BuiltIn, Entry, Measured, OFF_TASK, Subject, built_in};
pub use circuit::{
    CircuitEdge, CircuitNode, CircuitPruned, CircuitReport, Cutting, Pruning, Weighed, circuit, scored,
};
pub use circuit_neurons::{CircuitNeuron, CircuitNeuronsReport, circuit_neurons};
pub use direction::{Directed, DirectionReport, Leading, Reading, direction, directions, reading};
pub use function::{BuiltInTask, FunctionReport, TaskGate, Taught, Teaching, tasks};
pub use graph::{
    GraphCheck, GraphKind, GraphLink, GraphLogit, GraphNode, GraphOutput, GraphReport, GraphZeroed, Graphing,
    graph, graph_zeroed,
};
pub use knockout::{Blinding, KnockoutReport, knockout};
pub use lens::{LensReport, lens};
pub use neurons::{NeuronsReport, Ranking, RankingBy, doses, neurons};
pub use patchscope::{
    BackGridReport, LadderReport, PatchGridReport, Reads, ScopeReading, ScopeReadings, ladder, patch_grid,
    put_back, readings, target,
};
pub use places::*;
pub use shape::*;
pub use trace::{Ends, Taking, TraceGrid, TracePosition, TraceReport, Tracing, trace};

use pellucid_interp::{Counted, Error, Progress};
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
    /// Of how much; 0 where that is not known yet.
    pub total: usize,
}

/// Told how far a method is; false asks it to end, which it then does with [`Error::Stopped`].
pub type Watch<'a> = &'a mut dyn FnMut(Step) -> bool;

/// Works while a watch is told steps done and steps in all, which are not known (0) before the first.
fn counted<T>(
    watch: Watch<'_>,
    what: &'static str,
    work: impl FnOnce(Counted<'_>) -> pellucid_interp::Result<T>,
) -> pellucid_interp::Result<T> {
    let mut tell = |done, total| if watch(Step { what, done, total }) { Ok(()) } else { Err(Error::Stopped) };
    tell(0, 0)?;
    work(&mut tell)
}

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
