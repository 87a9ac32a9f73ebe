//! Which neurons carry a behaviour, and what is left of it when only they do what they do.

use super::{Measured, Steps, Watch};
use crate::error::Result;
use pellucid_core::{Point, Site, UnitId};
use pellucid_interp::behaviour::{Behaviour, Gate};
use pellucid_interp::circuit::{
    Ablation, FRACTIONS, NeuronBench, NeuronPoint, NeuronScoring, NeuronsKept, first, ranked,
};
use pellucid_model::Model;
use serde::Serialize;

/// Neurons scored, and circuits of them measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CircuitNeuronsReport {
    /// How well the model shows the behaviour.
    pub gate: Gate,
    /// How well it shows the other behaviour.
    pub off_task: Gate,
    /// Chose items and controls.
    pub seed: u64,
    /// How neurons were scored.
    pub scoring: NeuronScoring,
    /// What stands in the place of a neuron that is not kept.
    pub ablation: Ablation,
    /// Neurons of the model.
    pub neurons: usize,
    /// Items that neurons were scored on.
    pub fitted_on: usize,
    /// Items that circuits were measured on.
    pub tested_on: usize,
    /// Circuits of growing size, beside all others and random ones.
    pub points: Vec<NeuronPoint>,
    /// The same circuits on the other behaviour.
    pub off_task_points: Vec<NeuronsKept>,
    /// The foremost neurons.
    pub foremost: Vec<CircuitNeuron>,
}

/// A neuron and its score.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CircuitNeuron {
    /// Which.
    pub unit: UnitId,
    /// What replacing it alone is predicted to take from the log-odds.
    pub score: f64,
}

/// Scores every neuron on half of the items and measures circuits of them on the other half.
///
/// # Errors
/// If the model does not show the behaviour (unless it is to go on `anyway`), its items cannot be split, or a run fails or is stopped.
pub fn circuit_neurons(
    model: &Model,
    of: &Measured,
    (scoring, ablation): (NeuronScoring, Ablation),
    (off_task, anyway, top): (Option<&Behaviour>, bool, usize),
    watch: Watch<'_>,
) -> Result<CircuitNeuronsReport> {
    of.gate.pass(anyway)?;
    let [fit, test] = of.ready.halves()?;
    let other = of.off_task(model, off_task)?;
    let bench = NeuronBench::new(model, &fit, ablation)?;
    let scores = Steps::begin(watch, "neurons scored", bench.score_steps(scoring))?
        .each(|p| bench.scores(scoring, p))?;
    let order = ranked(&scores);
    let measured = NeuronBench::new(model, &test, ablation)?;
    let points = Steps::begin(watch, "circuits measured", FRACTIONS.len())?
        .each(|p| measured.curve(&scores, of.seed, p))?;
    let off = NeuronBench::new(model, &other, ablation)?;
    let off_task_points = points.iter().map(|p| off.measure(&first(&order, p.circuit.neurons)));
    let neuron = |&n: &usize| {
        let (layer, index) = bench.place(n);
        let unit = UnitId::coordinate(Site::new(Point::MlpAct, layer), index);
        CircuitNeuron { unit, score: scores[n] }
    };
    Ok(CircuitNeuronsReport {
        gate: of.gate.clone(),
        off_task: Gate::measure(model, &other)?,
        seed: of.seed.0,
        scoring,
        ablation,
        neurons: bench.len(),
        fitted_on: fit.items.len(),
        tested_on: test.items.len(),
        off_task_points: off_task_points.collect::<pellucid_interp::Result<_>>()?,
        points,
        foremost: order.iter().take(top).map(neuron).collect(),
    })
}
