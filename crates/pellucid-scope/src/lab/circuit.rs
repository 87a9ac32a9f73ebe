//! Which edges between heads and MLPs carry a behaviour, and what is left when only they are.

use super::shape::{
    AblationShape, ChoiceShape, CircuitMeasuredShape, GateShape, MeasureShape, ScoringShape, SkeletonShape,
};
use super::{Measured, Steps, Watch};
use crate::error::{Result, bad};
use pellucid_interp::behaviour::{Behaviour, Gate, Ready};
use pellucid_interp::circuit::{
    Ablation, Bench, Choice, Edges, Measure, SKELETON_STEPS, Scoring, Skeleton, first, node_scores, of_nodes,
    order, random_order, score, skeleton,
};
use pellucid_interp::circuit::{Measured as Kept, write};
use pellucid_model::Model;
use serde::Serialize;
use std::time::Instant;
use utoipa::ToSchema;

/// How edges are scored, chosen and cut.
#[derive(Clone, Debug)]
pub struct Cutting {
    /// How edges are scored.
    pub scoring: Scoring,
    /// What a cut edge carries.
    pub ablation: Ablation,
    /// How edges are chosen by their scores.
    pub by: Choice,
    /// The circuit that is listed; the smallest measured one that keeps four fifths if none.
    pub edges: Option<usize>,
    /// A behaviour that the circuit should not carry; capitals, or agreement where capitals are asked about, if none.
    pub off_task: Option<Behaviour>,
    /// Prune edges by truly cutting them (ACDC); not if none.
    pub prune: Option<Pruning>,
    /// Go on though the model does not show the behaviour.
    pub anyway: bool,
}

/// How edges are pruned by truly cutting them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pruning {
    /// An edge goes if the circuit without it is worse by less than this.
    pub threshold: f64,
    /// What it is worse by.
    pub measure: Measure,
    /// How many edges are begun with, the best by score; all of the model's if none.
    pub from: Option<usize>,
}

/// What pruning by truly cutting left.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct CircuitPruned {
    /// An edge went if the circuit without it was worse by less than this.
    pub threshold: f64,
    /// What it was worse by.
    #[schema(value_type = MeasureShape)]
    pub measure: Measure,
    /// Edges that were begun with.
    pub begun_with: usize,
    /// Edges that were cut and looked at.
    pub tested: usize,
    /// Edges that fell without a test, since nothing hears what they lead to.
    pub unheard: usize,
    /// The measure before, on the items that were pruned on.
    pub before: f64,
    /// The measure after.
    pub after: f64,
    /// How long it took.
    pub seconds: f64,
    /// What the pruned circuit keeps, on the other items.
    #[schema(value_type = CircuitMeasuredShape)]
    pub circuit: Kept,
    /// What as many edges keep that are chosen by score.
    #[schema(value_type = CircuitMeasuredShape)]
    pub by_score: Kept,
    /// What as many random edges keep.
    #[schema(value_type = CircuitMeasuredShape)]
    pub random: Kept,
    /// The edges that are left, the best by score first.
    pub edges: Vec<CircuitEdge>,
}

/// Edges scored, and circuits of them measured.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct CircuitReport {
    /// How well the model shows the behaviour.
    #[schema(value_type = GateShape)]
    pub gate: Gate,
    /// How well it shows the other behaviour.
    #[schema(value_type = GateShape)]
    pub off_task: Gate,
    /// Chose items and controls.
    pub seed: u64,
    /// None where the scores came from a file.
    #[schema(value_type = Option<ScoringShape>)]
    pub scoring: Option<Scoring>,
    /// How long scoring took.
    pub scoring_seconds: Option<f64>,
    /// What cut edges carried.
    #[schema(value_type = AblationShape)]
    pub ablation: Ablation,
    /// How edges were chosen.
    #[schema(value_type = ChoiceShape)]
    pub by: Choice,
    /// Edges of the model.
    pub edges: usize,
    /// Items that edges were scored on.
    pub fitted_on: usize,
    /// Items that circuits were measured on.
    pub tested_on: usize,
    /// Circuits of growing size, beside their controls.
    #[schema(value_type = SkeletonShape)]
    pub skeleton: Skeleton,
    /// The foremost nodes.
    pub nodes: Vec<CircuitNode>,
    /// The edges of the listed circuit, best first.
    pub circuit: Vec<CircuitEdge>,
    /// What pruning by truly cutting left; none where it was not asked for.
    pub pruned: Option<CircuitPruned>,
}

/// A node, and the circuit of the foremost nodes up to it.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct CircuitNode {
    /// Its name.
    pub node: String,
    /// What replacing it everywhere is predicted to take away.
    pub score: f64,
    /// This and the nodes before it, with everything that they write.
    #[schema(value_type = CircuitMeasuredShape)]
    pub together: Kept,
}

/// An edge and its score.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct CircuitEdge {
    /// Its name: writer, then reader.
    pub edge: String,
    /// What cutting it alone is predicted to take from the log-odds.
    pub score: f64,
}

/// Every edge with its score, and the items that circuits are measured on.
#[derive(Clone, Debug)]
pub struct Weighed {
    edges: Edges,
    scores: Vec<f64>,
    scoring: Option<(Scoring, f64)>,
    fit: Ready,
    test: Ready,
}

/// Nodes that are listed.
const NODES: usize = 10;

/// Scores every edge on half of the items. Scores that are `given` stand instead.
///
/// # Errors
/// If the model does not show the behaviour, its items cannot be split, the given scores are not as many as its edges, or a
/// run fails or is stopped.
pub fn scored(
    model: &Model,
    of: &Measured,
    asked: &Cutting,
    given: Option<Vec<f64>>,
    watch: Watch<'_>,
) -> Result<Weighed> {
    of.gate.pass(asked.anyway)?;
    // a circuit is not judged on what it was found on
    let [fit, test] = of.ready.halves()?;
    let edges = Edges::of(model)?;
    let (scores, scoring) = match given {
        Some(scores) => (scores, None),
        None => {
            let began = Instant::now();
            let bench = Bench::new(model, &fit, asked.ablation)?;
            let scores = Steps::begin(watch, "edges scored", bench.score_steps(asked.scoring))?
                .each(|p| score(&bench, asked.scoring, p))?;
            (scores, Some((asked.scoring, began.elapsed().as_secs_f64())))
        }
    };
    if scores.len() != edges.len() {
        return bad(format!("{} scores were given for {} edges", scores.len(), edges.len()));
    }
    Ok(Weighed { edges, scores, scoring, fit, test })
}

/// Scores edges and measures circuits of them.
///
/// # Errors
/// As [`scored`] and [`Weighed::measured`].
pub fn circuit(model: &Model, of: &Measured, asked: &Cutting, watch: Watch<'_>) -> Result<CircuitReport> {
    scored(model, of, asked, None, watch)?.measured(model, of, asked, watch)
}

impl Weighed {
    /// Measures circuits of growing size on the other half of the items, beside their controls.
    ///
    /// # Errors
    /// If the off-task behaviour is the same, or a run fails or is stopped.
    pub fn measured(
        &self,
        model: &Model,
        of: &Measured,
        asked: &Cutting,
        watch: Watch<'_>,
    ) -> Result<CircuitReport> {
        let other = of.off_task(model, asked.off_task.as_ref())?;
        let bench = Bench::new(model, &self.test, asked.ablation)?;
        let off = Bench::new(model, &other, asked.ablation)?;
        let skeleton = Steps::begin(watch, "circuits measured", SKELETON_STEPS)?
            .each(|p| skeleton(&bench, Some(&off), &self.scores, asked.by, of.seed, p))?;
        let ranked = order(&self.edges, &self.scores, asked.by);
        let pruned =
            asked.prune.map(|p| self.pruned(model, of, asked, p, (&bench, &ranked), watch)).transpose()?;
        let size = asked.edges.unwrap_or_else(|| enough(&skeleton)).min(self.edges.len());
        let edge = |&e: &usize| CircuitEdge { edge: self.edges.name(e), score: self.scores[e] };
        Ok(CircuitReport {
            gate: of.gate.clone(),
            off_task: Gate::measure(model, &other)?,
            seed: of.seed.0,
            scoring: self.scoring.map(|s| s.0),
            scoring_seconds: self.scoring.map(|s| s.1),
            ablation: asked.ablation,
            by: asked.by,
            edges: self.edges.len(),
            fitted_on: self.fit.items.len(),
            tested_on: self.test.items.len(),
            skeleton,
            nodes: nodes(&bench, &self.scores, watch)?,
            circuit: ranked[..size].iter().map(edge).collect(),
            pruned,
        })
    }

    /// Prunes on the items that edges were scored on, and measures what is left on the others.
    fn pruned(
        &self,
        model: &Model,
        of: &Measured,
        asked: &Cutting,
        by: Pruning,
        (test, ranked): (&Bench<'_>, &[usize]),
        watch: Watch<'_>,
    ) -> Result<CircuitPruned> {
        let begun = Instant::now();
        let fit = Bench::new(model, &self.fit, asked.ablation)?;
        let start = first(ranked, by.from.unwrap_or(usize::MAX));
        let begun_with = start.iter().filter(|k| **k).count();
        let found = Steps::begin(watch, "edges cut", begun_with)?
            .each(|told| fit.acdc(&start, by.measure, by.threshold, told))?;
        let seconds = begun.elapsed().as_secs_f64();
        let n = found.keep.iter().filter(|k| **k).count();
        let kept = ranked.iter().filter(|e| found.keep[**e]);
        let edge = |&e: &usize| CircuitEdge { edge: self.edges.name(e), score: self.scores[e] };
        Ok(CircuitPruned {
            threshold: by.threshold,
            measure: by.measure,
            begun_with,
            tested: found.tested,
            unheard: found.unheard,
            before: found.before,
            after: found.after,
            seconds,
            circuit: test.measure(&found.keep)?,
            by_score: test.measure(&first(ranked, n))?,
            random: test.measure(&first(&random_order(&self.edges, of.seed), n))?,
            edges: kept.map(edge).collect(),
        })
    }

    /// A circuit's file of the edges with these names.
    ///
    /// # Errors
    /// If a name is none of this model's edges, or a score is no number JSON can hold.
    pub fn file_of(&self, model: &Model, edges: &[CircuitEdge]) -> Result<String> {
        let mut keep = vec![false; self.edges.len()];
        for edge in edges {
            keep[self.edges.parse(&edge.edge)?] = true;
        }
        Ok(write(&self.edges, model.spec().d_model, &self.scores, &keep, false)?)
    }

    /// The circuit of the first `size` edges as a file, as EAP-IG and MIB read it: with every edge's score, or with those that
    /// are kept alone.
    ///
    /// # Errors
    /// If a score is no number JSON can hold.
    pub fn file(&self, model: &Model, by: Choice, size: usize, kept_alone: bool) -> Result<String> {
        let keep = first(&order(&self.edges, &self.scores, by), size);
        Ok(write(&self.edges, model.spec().d_model, &self.scores, &keep, kept_alone)?)
    }
}

/// The smallest measured circuit that keeps four fifths of the behaviour; all edges if none does.
fn enough(skeleton: &Skeleton) -> usize {
    let mut points = skeleton.points.iter();
    points.find(|p| p.circuit.faithfulness >= 0.8).map_or(usize::MAX, |p| p.circuit.edges)
}

/// The foremost nodes, and what they keep together.
fn nodes(bench: &Bench<'_>, scores: &[f64], watch: Watch<'_>) -> Result<Vec<CircuitNode>> {
    let edges = bench.edges();
    let of_each = node_scores(edges, scores);
    let mut ranked: Vec<usize> = (0..of_each.len()).collect();
    ranked.sort_by(|&a, &b| of_each[b].abs().total_cmp(&of_each[a].abs()).then(a.cmp(&b)));
    ranked.truncate(NODES);
    let mut kept = vec![false; of_each.len()];
    let mut nodes = Vec::new();
    Steps::begin(watch, "nodes measured", ranked.len())?.each(|told| {
        for &n in &ranked {
            kept[n] = true;
            let together = bench.measure(&of_nodes(edges, &kept))?;
            nodes.push(CircuitNode { node: edges.writer(n).to_string(), score: of_each[n], together });
            told()?;
        }
        Ok::<(), pellucid_interp::Error>(())
    })?;
    Ok(nodes)
}
