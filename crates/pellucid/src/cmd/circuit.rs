//! `pellucid circuit`: which edges between heads and MLPs carry a behaviour, and what is left when only they are.

use super::behaviour::{BehaviourArgs, verdict};
use crate::models::{in_file, read};
use crate::show::{Bars, DIM, Out, Table, signed};
use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use pellucid::interp::circuit::{
    self, Ablation, Choice, Edges, FRACTIONS, Measure, NeuronScoring, Scoring, Skeleton,
};
use pellucid::scope::lab::{
    CircuitEdge, CircuitNeuronsReport, CircuitPruned, CircuitReport, Cutting, Pruning, circuit_neurons,
    scored,
};
use std::path::PathBuf;

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
    /// Prune by truly cutting edges, one by one from the logits to the input (ACDC): one goes if the circuit without it is
    /// worse by less than TAU.
    #[arg(long, value_name = "TAU", allow_negative_numbers = true)]
    acdc: Option<f64>,
    /// What an edge's loss is measured by.
    #[arg(long, value_enum, default_value_t = Worse::Kl, requires = "acdc")]
    acdc_by: Worse,
    /// Begin with this many edges, the best by score, and not with all.
    #[arg(long, value_name = "K", requires = "acdc")]
    acdc_from: Option<usize>,
    /// Circuits of single neurons instead of edges: all other neurons carry what --ablation says, attention is free. --method eap
    /// scores by one gradient, eap-ig while all neurons go from what replaces them to what they are.
    #[arg(long, conflicts_with_all = ["acdc", "scores", "save", "edges"])]
    neurons: bool,
    /// Go on though the model does not show the behaviour.
    #[arg(long)]
    anyway: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Worse {
    /// KL divergence from the whole model, nats.
    Kl,
    /// Log-odds of right against wrong that are lost.
    LogOdds,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Method {
    /// One gradient at the items.
    Eap,
    /// Gradients on the way from the counterfactuals.
    EapIg,
    /// Gradients on the way of each place alone: the input, each layer's heads, each MLP.
    EapIgActivations,
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

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        ensure!(self.steps > 0, "--steps needs at least 1");
        if let Some(tau) = self.acdc {
            ensure!(tau.is_finite(), "--acdc {tau}: expected a number, such as 0.01");
            ensure!(self.acdc_from != Some(0), "--acdc-from 0: pruning begins with at least one edge");
        }
        let given = self.scores.as_ref().map(|f| Ok::<_, anyhow::Error>((f, read(f)?))).transpose()?;
        if self.neurons {
            return self.of_neurons(out);
        }
        let (loaded, measured) = self.of.measured()?;
        let model = &loaded.model;
        let asked = Cutting {
            scoring: self.scoring(),
            ablation: self.ablation(),
            by: self.by.choice(),
            edges: self.edges,
            off_task: self.of.off_task(self.off_task.as_deref())?,
            prune: self.acdc.map(|threshold| Pruning {
                threshold,
                measure: if self.acdc_by == Worse::Kl { Measure::Kl } else { Measure::LogOdds },
                from: self.acdc_from,
            }),
            anyway: self.anyway,
        };
        let given = match given {
            Some((file, text)) => {
                Some(circuit::read(&Edges::of(model)?, &text).with_context(|| in_file(file))?.0)
            }
            None => None,
        };
        let mut bars = Bars::default();
        let weighed = scored(model, &measured, &asked, given, &mut |step| bars.show(step))?;
        let report = weighed.measured(model, &measured, &asked, &mut |step| bars.show(step))?;
        bars.end();
        if let Some(file) = &self.save {
            let text = match &report.pruned {
                Some(pruned) => weighed.file_of(model, &pruned.edges)?,
                None => weighed.file(model, asked.by, report.circuit.len(), false)?,
            };
            std::fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))?;
        }
        if !out.json("circuit", Some(&loaded), &report)? {
            show(&report, out)?;
        }
        Ok(())
    }

    fn of_neurons(&self, out: &mut Out) -> Result<()> {
        let scoring = match self.method {
            Method::Eap => NeuronScoring::Gradient,
            Method::EapIg => NeuronScoring::Integrated { steps: self.steps },
            _ => bail!("--neurons are scored by --method eap or eap-ig"),
        };
        let (loaded, measured) = self.of.measured()?;
        let off_task = self.of.off_task(self.off_task.as_deref())?;
        let mut bars = Bars::default();
        let how = (scoring, self.ablation());
        let which = (off_task.as_ref(), self.anyway, 20);
        let report = circuit_neurons(&loaded.model, &measured, how, which, &mut |step| bars.show(step))?;
        bars.end();
        if !out.json("circuit", Some(&loaded), &report)? {
            show_neurons(&report, out)?;
        }
        Ok(())
    }

    fn ablation(&self) -> Ablation {
        match self.ablation {
            Cut::Counterfactual => Ablation::Counterfactual,
            Cut::Mean => Ablation::Mean,
            Cut::Zero => Ablation::Zero,
        }
    }

    fn scoring(&self) -> Scoring {
        match self.method {
            Method::Eap => Scoring::Eap,
            Method::EapIg => Scoring::EapIg { steps: self.steps },
            Method::EapIgActivations => Scoring::EapIgActivations { steps: self.steps },
            Method::CleanCorrupted => Scoring::CleanCorrupted,
            Method::Exact => Scoring::Exact,
        }
    }
}

fn show(report: &CircuitReport, out: &mut Out) -> Result<()> {
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
    if let Some(p) = &report.pruned {
        pruned(p, out)?;
    }
    out.heading(format!("the circuit of {} edges; the foremost", report.circuit.len()))?;
    out.table(foremost("edge", &report.circuit))?;
    out.line(format!(
        "{DIM}off-task: the same edges on {}; an edge's score is what cutting it is predicted to take from the log-odds{DIM:#}",
        report.off_task.behaviour
    ))
}

/// The first edges of a list.
fn foremost(what: &str, edges: &[CircuitEdge]) -> Table {
    let mut table = Table::new(&[what, ">score"]);
    edges.iter().take(20).for_each(|e| table.row(vec![e.edge.clone(), signed(e.score)]));
    table
}

fn pruned(p: &CircuitPruned, out: &mut Out) -> Result<()> {
    let by = if p.measure == Measure::Kl { "KL" } else { "log-odds lost" };
    out.heading(format!(
        "pruned by truly cutting (ACDC, {by}, threshold {}): {} of {} edges left",
        p.threshold,
        p.edges.len(),
        p.begun_with
    ))?;
    let mut table = Table::new(&["kept", ">edges", ">alive", ">faithfulness", ">accuracy", ">KL"]);
    for (name, m) in
        [("pruned", &p.circuit), ("as many by score", &p.by_score), ("as many random", &p.random)]
    {
        table.row(vec![
            name.to_owned(),
            m.edges.to_string(),
            m.alive.to_string(),
            signed(m.faithfulness),
            format!("{:.2}", m.accuracy.value),
            format!("{:.3}", m.kl),
        ]);
    }
    out.table(table)?;
    out.table(foremost("edge left", &p.edges))?;
    out.line(format!(
        "{DIM}{} edges cut and looked at, {} fell unheard, in {:.1} s; {by} {} before, {} after, on the items pruned on{DIM:#}",
        p.tested,
        p.unheard,
        p.seconds,
        signed(p.before),
        signed(p.after)
    ))
}

fn show_neurons(report: &CircuitNeuronsReport, out: &mut Out) -> Result<()> {
    verdict(&report.gate, out)?;
    out.line(format!(
        "{} neurons scored on {} items; circuits measured on {} others",
        report.neurons, report.fitted_on, report.tested_on
    ))?;
    out.heading("circuits of neurons of growing size (1 is the model, 0 every neuron replaced)")?;
    let header = [">neurons", ">faithfulness", ">accuracy", ">KL", ">all but these", ">random", ">off-task"];
    let mut table = Table::new(&header);
    for (p, off) in report.points.iter().zip(&report.off_task_points) {
        table.row(vec![
            p.circuit.neurons.to_string(),
            signed(p.circuit.faithfulness),
            format!("{:.2}", p.circuit.accuracy.value),
            format!("{:.3}", p.circuit.kl),
            signed(p.complement.faithfulness),
            signed(p.random.faithfulness),
            signed(off.faithfulness),
        ]);
    }
    out.table(table)?;
    out.heading("the foremost neurons")?;
    let mut table = Table::new(&["neuron", ">score"]);
    for n in &report.foremost {
        table.row(vec![n.unit.to_string(), signed(n.score)]);
    }
    out.table(table)?;
    out.line(format!(
        "{DIM}off-task: the same neurons on {}; a score is what replacing the neuron is predicted to take from the log-odds{DIM:#}",
        report.off_task.behaviour
    ))
}
