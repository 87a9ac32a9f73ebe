//! `pellucid circuit`: which edges between heads and MLPs carry a behaviour, and what is left when only they are.

use super::ablate::off_task;
use super::behaviour::{BehaviourArgs, verdict};
use crate::models::{in_file, read};
use crate::show::{DIM, Out, Table, bar, signed};
use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use pellucid::core::Seed;
use pellucid::interp::behaviour::Gate;
use pellucid::interp::circuit::{
    self, Ablation, Bench, Choice, Edges, FRACTIONS, Measured, SKELETON_STEPS, Scoring, Skeleton, first,
    node_scores, of_nodes, order, score, skeleton,
};
use serde::Serialize;
use std::path::PathBuf;
use std::time::Instant;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    of: BehaviourArgs,
    /// How edges are scored.
    #[arg(long, value_enum, default_value_t = Method::EapIg)]
    method: Method,
    /// Points on the way of integrated gradients.
    #[arg(long, default_value_t = 5, value_name = "N")]
    steps: usize,
    /// What a cut edge carries.
    #[arg(long, value_enum, default_value_t = Cut::Counterfactual)]
    ablation: Cut,
    /// How edges are chosen by their scores.
    #[arg(long, value_enum, default_value_t = By::Size)]
    by: By,
    /// The circuit that is listed and written; the smallest measured one that keeps four fifths if not said.
    #[arg(long, value_name = "K")]
    edges: Option<usize>,
    /// A behaviour that the circuit should not carry; capitals, or agreement where capitals are asked about.
    #[arg(long, value_name = "BEHAVIOUR")]
    off_task: Option<String>,
    /// Take the scores from a circuit's file instead.
    #[arg(long, value_name = "FILE")]
    scores: Option<PathBuf>,
    /// Write every edge's score and the circuit, as EAP-IG and MIB read them.
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Go on though the model does not show the behaviour.
    #[arg(long)]
    anyway: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// One gradient at the items.
    Eap,
    /// Gradients on the way from the counterfactuals.
    EapIg,
    /// Gradients at both ends.
    CleanCorrupted,
    /// Every edge truly cut: one run each.
    Exact,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Cut {
    /// What the writer adds in the counterfactual.
    Counterfactual,
    /// The writer's mean over the items.
    Mean,
    /// Nothing.
    Zero,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum By {
    /// Largest by size.
    Size,
    /// Those that help most.
    Signed,
    /// From the logits on.
    Greedy,
}

impl By {
    fn choice(self) -> Choice {
        match self {
            By::Size => Choice::Size,
            By::Signed => Choice::Signed,
            By::Greedy => Choice::Greedy,
        }
    }
}

/// The result on the wire.
#[derive(Serialize)]
struct Report {
    gate: Gate,
    off_task: Gate,
    seed: u64,
    /// None where the scores came from a file.
    scoring: Option<Scoring>,
    scoring_seconds: Option<f64>,
    ablation: Ablation,
    by: Choice,
    edges: usize,
    fitted_on: usize,
    tested_on: usize,
    skeleton: Skeleton,
    nodes: Vec<Node>,
    circuit: Vec<Edge>,
}

/// The circuit of the foremost nodes.
#[derive(Serialize)]
struct Node {
    node: String,
    score: f64,
    /// This and the nodes before it, with everything that they write.
    together: Measured,
}

#[derive(Serialize)]
struct Edge {
    edge: String,
    score: f64,
}

/// Nodes that are listed.
const NODES: usize = 10;

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        ensure!(self.steps > 0, "--steps needs at least 1");
        let given = self.scores.as_ref().map(|f| Ok::<_, anyhow::Error>((f, read(f)?))).transpose()?;
        let of = &self.of;
        let (loaded, ready, gate) = of.gated(self.anyway)?;
        let model = &loaded.model;
        // a circuit is not judged on what it was found on
        let [fit, test] = ready.halves()?;
        let ablation = match self.ablation {
            Cut::Counterfactual => Ablation::Counterfactual,
            Cut::Mean => Ablation::Mean,
            Cut::Zero => Ablation::Zero,
        };
        let edges = Edges::of(model)?;
        let mut scoring = None;
        let began = Instant::now();
        let scores = match given {
            Some((file, text)) => circuit::read(&edges, &text).with_context(|| in_file(file))?.0,
            None => {
                let by = self.scoring();
                scoring = Some(by);
                let bench = Bench::new(model, &fit, ablation)?;
                let steps = if by == Scoring::Exact { edges.len() } else { self.steps };
                let progress = bar("edges scored", steps);
                let scores = score(&bench, by, &mut || progress.inc(1))?;
                progress.finish_and_clear();
                scores
            }
        };
        let scoring_seconds = scoring.map(|_| began.elapsed().as_secs_f64());
        let seed = Seed(of.seed);
        let other = off_task(model, self.off_task.as_deref(), &of.behaviour, seed)?;
        let (bench, off) = (Bench::new(model, &test, ablation)?, Bench::new(model, &other, ablation)?);
        let by = self.by.choice();
        let progress = bar("circuits measured", SKELETON_STEPS);
        let skeleton = skeleton(&bench, Some(&off), &scores, by, seed, &mut || progress.inc(1))?;
        progress.finish_and_clear();
        let ranked = order(&edges, &scores, by);
        let size = self.edges.unwrap_or_else(|| enough(&skeleton)).min(edges.len());
        let keep = first(&ranked, size);
        if let Some(file) = &self.save {
            let text = circuit::write(&edges, model.spec().d_model, &scores, &keep)?;
            std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
        let report = Report {
            gate,
            off_task: Gate::measure(model, &other)?,
            seed: of.seed,
            scoring,
            scoring_seconds,
            ablation,
            by,
            edges: edges.len(),
            fitted_on: fit.items.len(),
            tested_on: test.items.len(),
            skeleton,
            nodes: nodes(&bench, &scores)?,
            circuit: ranked[..size].iter().map(|&e| Edge { edge: edges.name(e), score: scores[e] }).collect(),
        };
        if !out.json("circuit", Some(&loaded), &report)? {
            show(&report, out)?;
        }
        Ok(())
    }

    fn scoring(&self) -> Scoring {
        match self.method {
            Method::Eap => Scoring::Eap,
            Method::EapIg => Scoring::EapIg { steps: self.steps },
            Method::CleanCorrupted => Scoring::CleanCorrupted,
            Method::Exact => Scoring::Exact,
        }
    }
}

/// The smallest measured circuit that keeps four fifths of the behaviour; all edges if none does.
fn enough(skeleton: &Skeleton) -> usize {
    let mut points = skeleton.points.iter();
    points.find(|p| p.circuit.faithfulness >= 0.8).map_or(usize::MAX, |p| p.circuit.edges)
}

/// The foremost nodes, and what they keep together.
fn nodes(bench: &Bench<'_>, scores: &[f64]) -> Result<Vec<Node>> {
    let edges = bench.edges();
    let of_each = node_scores(edges, scores);
    let mut ranked: Vec<usize> = (0..of_each.len()).collect();
    ranked.sort_by(|&a, &b| of_each[b].abs().total_cmp(&of_each[a].abs()).then(a.cmp(&b)));
    let mut kept = vec![false; of_each.len()];
    let mut nodes = Vec::new();
    for n in ranked.into_iter().take(NODES) {
        kept[n] = true;
        let together = bench.measure(&of_nodes(edges, &kept))?;
        nodes.push(Node { node: edges.writer(n).to_string(), score: of_each[n], together });
    }
    Ok(nodes)
}

fn show(report: &Report, out: &mut Out) -> Result<()> {
    verdict(&report.gate, out)?;
    let (fit, test) = (report.fitted_on, report.tested_on);
    let seconds = report.scoring_seconds.map_or_else(String::new, |s| format!(" in {s:.1} s"));
    out.line(format!(
        "{} edges scored on {fit} items{seconds}; circuits measured on {test} others",
        report.edges
    ))?;
    out.heading("skeleton: what circuits of growing size keep (1 is the model, 0 everything cut)")?;
    let header =
        [">edges", ">alive", ">faithfulness", ">accuracy", ">KL", ">all but these", ">random", ">off-task"];
    let mut table = Table::new(&header);
    for p in &report.skeleton.points {
        table.row(vec![
            p.circuit.edges.to_string(),
            p.circuit.alive.to_string(),
            signed(p.circuit.faithfulness),
            format!("{:.2}", p.circuit.accuracy.value),
            format!("{:.3}", p.circuit.kl),
            signed(p.complement.faithfulness),
            signed(p.random.faithfulness),
            p.off_task.as_ref().map_or_else(|| "–".to_owned(), |o| signed(o.faithfulness)),
        ]);
    }
    out.table(table)?;
    let Skeleton { cpr, cmd, .. } = report.skeleton;
    let n = FRACTIONS.len();
    out.line(format!(
        "CPR {cpr:.3} (signed order), CMD {cmd:.3} (order by size): areas over {n} fractions of edges, linear axis, trapezoids"
    ))?;
    out.heading("nodes by score, each with those above it and everything they write")?;
    let mut table = Table::new(&["node", ">score", ">faithfulness", ">accuracy"]);
    for n in &report.nodes {
        let t = &n.together;
        table.row(vec![
            n.node.clone(),
            signed(n.score),
            signed(t.faithfulness),
            format!("{:.2}", t.accuracy.value),
        ]);
    }
    out.table(table)?;
    out.heading(format!("the circuit of {} edges; the foremost", report.circuit.len()))?;
    let mut table = Table::new(&["edge", ">score"]);
    for e in report.circuit.iter().take(20) {
        table.row(vec![e.edge.clone(), signed(e.score)]);
    }
    out.table(table)?;
    out.line(format!(
        "{DIM}off-task: the same edges on {}; an edge's score is what cutting it is predicted to take from the log-odds{DIM:#}",
        report.off_task.behaviour
    ))
}
