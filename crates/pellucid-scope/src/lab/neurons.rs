//! Which neurons a behaviour hangs on: predicted for all, done with the foremost, beside controls.

use super::shape::{CorrelationShape, DoseShape, EffectShape, GateShape, GroupShape, MeasuredShape};
use super::{Measured, Steps, Watch};
use crate::error::{Result, bad};
use pellucid_core::UnitId;
use pellucid_interp::behaviour::{Behaviour, Gate};
use pellucid_interp::neuron::{self, Bench, Dose, Effect, Group};
use pellucid_interp::{Correlation, rank_correlation};
use pellucid_model::Model;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Which prediction chooses the neurons that are truly removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum RankingBy {
    /// The path from the neuron to the logits.
    #[default]
    Direct,
    /// All paths, to first order.
    Gradient,
}

/// How neurons are ranked.
#[derive(Clone, Debug)]
pub struct Ranking {
    /// How many are truly removed, alone and together.
    pub top: usize,
    /// Which prediction chooses them.
    pub by: RankingBy,
    /// A behaviour that they should leave alone; capitals, or agreement where capitals are asked about, if none.
    pub off_task: Option<Behaviour>,
    /// Go on though the model does not show the behaviour.
    pub anyway: bool,
}

/// What neurons do to a behaviour. With `unit`, one neuron's dose and response; else the ranking.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct NeuronsReport {
    /// How well the model shows the behaviour.
    #[schema(value_type = GateShape)]
    pub gate: Gate,
    /// Chose items and controls.
    pub seed: u64,
    /// How well it shows the other behaviour.
    #[schema(value_type = Option<GateShape>)]
    pub off_task: Option<Gate>,
    /// Which prediction chose.
    pub by: RankingBy,
    /// The foremost neurons by prediction.
    #[schema(value_type = Vec<EffectShape>)]
    pub ranked: Vec<Effect>,
    /// The same, truly replaced.
    #[schema(value_type = Vec<MeasuredShape>)]
    pub measured: Vec<neuron::Measured>,
    /// Of predicted with true effect (zero) over the measured neurons and their random partners.
    #[schema(value_type = Option<CorrelationShape>)]
    pub direct_rank_correlation: Option<Correlation>,
    /// The same of the other prediction.
    #[schema(value_type = Option<CorrelationShape>)]
    pub gradient_rank_correlation: Option<Correlation>,
    /// The first 1, 2, 4, … and all of them together.
    #[schema(value_type = Vec<GroupShape>)]
    pub groups: Vec<Group>,
    /// The neuron whose doses follow.
    #[schema(value_type = Option<String>)]
    pub unit: Option<UnitId>,
    /// Its response to each factor.
    #[schema(value_type = Vec<DoseShape>)]
    pub doses: Vec<Dose>,
}

fn empty(of: &Measured, by: RankingBy) -> NeuronsReport {
    NeuronsReport {
        gate: of.gate.clone(),
        seed: of.seed.0,
        off_task: None,
        by,
        ranked: Vec::new(),
        measured: Vec::new(),
        direct_rank_correlation: None,
        gradient_rank_correlation: None,
        groups: Vec::new(),
        unit: None,
        doses: Vec::new(),
    }
}

/// Ranks every neuron and replaces the foremost.
///
/// # Errors
/// If the model does not show the behaviour, the other behaviour is the same, or a run fails or is stopped.
pub fn neurons(model: &Model, of: &Measured, asked: &Ranking, watch: Watch<'_>) -> Result<NeuronsReport> {
    of.gate.pass(asked.anyway)?;
    if asked.top == 0 {
        return bad("at least one neuron must be removed");
    }
    let mut report = empty(of, asked.by);
    let other = of.off_task(model, asked.off_task.as_ref())?;
    report.off_task = Some(Gate::measure(model, &other)?);
    let (bench, off_task) = (Bench::new(model, &of.ready)?, Bench::new(model, &other)?);
    let passes = bench.batches() * model.spec().n_layers;
    let all = Steps::begin(watch, "effects predicted", passes)?.each(|p| neuron::predict(&bench, p))?;
    let size = |e: &Effect| match asked.by {
        RankingBy::Direct => e.direct.abs(),
        RankingBy::Gradient => e.gradient.abs(),
    };
    let mut order: Vec<&Effect> = all.iter().collect();
    order.sort_by(|a, b| size(b).total_cmp(&size(a)).then_with(|| a.unit.cmp(&b.unit)));
    report.ranked = order.into_iter().take(asked.top).cloned().collect();
    let units: Vec<UnitId> = report.ranked.iter().map(|e| e.unit.clone()).collect();
    report.measured = Steps::begin(watch, "neurons removed", units.len())?
        .each(|p| neuron::measure(&bench, &off_task, &units, of.seed, p))?;
    let sizes = neuron::group_sizes(units.len()).len();
    report.groups = Steps::begin(watch, "groups removed", sizes)?
        .each(|p| neuron::groups(&bench, &off_task, &units, of.seed, p))?;
    correlate(&all, &mut report);
    Ok(report)
}

/// Predictions against the truth, over the measured neurons and their random partners.
fn correlate(all: &[Effect], report: &mut NeuronsReport) {
    let (mut truth, mut direct, mut gradient) = (Vec::new(), Vec::new(), Vec::new());
    for m in &report.measured {
        for (unit, change) in [(&m.unit, &m.change), (&m.random, &m.random_change)] {
            if let Some(e) = all.iter().find(|e| e.unit == *unit) {
                truth.push(-change.zero.value);
                direct.push(e.direct);
                gradient.push(e.gradient);
            }
        }
    }
    report.direct_rank_correlation = rank_correlation(&direct, &truth);
    report.gradient_rank_correlation = rank_correlation(&gradient, &truth);
}

/// Multiplies one neuron's activation by each factor; `by` is carried into the report.
///
/// # Errors
/// If the model does not show the behaviour, the unit is no neuron, or a run fails or is stopped.
pub fn doses(
    model: &Model,
    of: &Measured,
    (unit, factors): (&UnitId, &[f32]),
    (by, anyway): (RankingBy, bool),
    watch: Watch<'_>,
) -> Result<NeuronsReport> {
    of.gate.pass(anyway)?;
    let bench = Bench::new(model, &of.ready)?;
    let doses = Steps::begin(watch, "doses given", factors.len())?
        .each(|p| neuron::doses(&bench, unit, factors, p))?;
    Ok(NeuronsReport { unit: Some(unit.clone()), doses, ..empty(of, by) })
}
