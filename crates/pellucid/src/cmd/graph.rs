//! `pellucid graph`: the neurons behind a word as a graph, with what each adds to each, and what zeroing the foremost truly does.

use crate::atlas::shelf;
use crate::models::{ModelArgs, in_file, read};
use crate::show::{BOLD, Bars, DIM, Out, Table, percent, quoted, signed, tame};
use crate::target::TargetArgs;
use crate::text::TextArgs;
use anyhow::{Context, Result, ensure};
use clap::Args;
use pellucid::interp::graph::Outputs;
use pellucid::interp::graph::file::GraphFile;
use pellucid::scope::lab::{GraphKind, GraphNode, GraphReport, Graphing, graph};
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    text: TextArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    target: TargetArgs,
    /// The model's atlas, if it is not the one in the cache.
    #[arg(long, value_name = "FILE")]
    atlas: Option<PathBuf>,
    /// How many neurons at tokens are nodes, those with the largest effects; the others of a layer are its error.
    #[arg(long, default_value_t = 400, value_name = "N")]
    neurons: usize,
    /// Keep the nodes that hold this share of all influence.
    #[arg(long, default_value_t = 0.8, value_name = "SHARE", allow_negative_numbers = true)]
    keep_nodes: f64,
    /// Keep the edges that hold this share of what is left.
    #[arg(long, default_value_t = 0.98, value_name = "SHARE", allow_negative_numbers = true)]
    keep_edges: f64,
    /// Zero this many of the foremost neurons one by one, and as many controls about as active.
    #[arg(long, default_value_t = 10, value_name = "N")]
    check: usize,
    /// Draws the controls.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How many nodes to show.
    #[arg(long, default_value_t = 20, value_name = "K")]
    top: usize,
    /// Write the graph, as circuit-tracer's and Neuronpedia's viewers read it.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Show what is in a graph's file (ours or circuit-tracer's) instead of making one.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["prompt", "out"])]
    read: Option<PathBuf>,
}

/// Most neurons that are nodes.
const NEURONS: usize = 2000;

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        if let Some(file) = &self.read {
            let graph = GraphFile::read(&read(file)?).with_context(|| in_file(file))?;
            return match out.json("graph", None, &graph)? {
                true => Ok(()),
                false => self.show_file(&graph, out),
            };
        }
        ensure!(
            self.neurons <= NEURONS,
            "--neurons {}: at most {NEURONS} neurons are nodes; those with the smallest effects say little",
            self.neurons
        );
        let (loaded, mut text) = self.text.read(&self.model)?;
        let metric = self.target.metric(&loaded, &mut text)?;
        // without a word that was asked about, all likely ones are explained together
        let outputs = match self.target.is_asked() {
            true => Outputs::Contrast { target: metric.target, foil: metric.foil },
            false => Outputs::USUAL,
        };
        let asked = Graphing {
            position: metric.position,
            outputs,
            neurons: self.neurons,
            nodes: self.keep_nodes,
            edges: self.keep_edges,
            check: self.check,
            seed: self.seed,
        };
        let opened = shelf(&loaded, self.atlas.as_deref());
        let opened = if self.atlas.is_some() { Some(opened.need(&loaded)?) } else { opened.get(&loaded)? };
        let mut bars = Bars::default();
        let (report, file) = graph(&loaded, opened.as_deref(), text, &asked, &mut |step| bars.show(step))?;
        bars.end();
        if let Some(path) = &self.out {
            std::fs::write(path, file.write()?)
                .with_context(|| format!("cannot write {}", path.display()))?;
        }
        if !out.json("graph", Some(&loaded), &report)? {
            self.show(&report, opened.is_some(), out)?;
        }
        Ok(())
    }

    fn show(&self, report: &GraphReport, atlas: bool, out: &mut Out) -> Result<()> {
        for o in &report.outputs {
            let foil = o.foil.as_ref().map_or_else(|| "the mean logit".to_owned(), |f| quoted(&f.text));
            out.line(format!(
                "{BOLD}{}{BOLD:#} above {foil} {:.3}, probability {}",
                quoted(&o.token.text),
                o.value,
                percent(o.probability)
            ))?;
        }
        out.line(format!(
            "{} neurons at tokens, {} nodes and {} edges in {:.1} s; {} nodes and {} edges kept ({} and {} of influence)",
            report.neurons,
            report.all_nodes,
            report.all_edges,
            report.seconds,
            report.nodes.len(),
            report.links.len(),
            percent(report.node_share),
            percent(report.edge_share)
        ))?;
        out.line(format!(
            "replacement {:.3} (influence that ends in tokens, not in errors), completeness {:.3} (inputs that are no errors)",
            report.replacement, report.completeness
        ))?;
        out.line(format!(
            "{DIM}of a node's value its sources miss at most {:.1e}: biases, or where there are none, rounding{DIM:#}",
            report.shifts
        ))?;
        self.nodes(report, out)?;
        if !atlas {
            out.line(format!(
                "{DIM}no atlas, so no words; `pellucid atlas build --model …` makes one{DIM:#}"
            ))?;
        }
        checks(report, out)
    }

    /// The foremost neurons, and where the influence that does not go through them ends.
    fn nodes(&self, report: &GraphReport, out: &mut Out) -> Result<()> {
        out.heading("neurons by influence")?;
        let mut table = Table::new(&[
            "neuron",
            "at",
            ">activation",
            ">influence",
            ">predicted without",
            "strongest source",
            "strongest target",
            "about",
        ]);
        for (i, node) in foremost(report, GraphKind::Unit).into_iter().take(self.top) {
            let strongest = |into: bool| {
                let ours = report.links.iter().filter(|l| if into { l.target == i } else { l.source == i });
                let best = ours.max_by(|a, b| a.weight.abs().total_cmp(&b.weight.abs()));
                best.map_or_else(String::new, |l| {
                    let other = &report.nodes[if into { l.source } else { l.target }];
                    format!("{} {}", label(other, report), signed(l.weight))
                })
            };
            let words = node.words.as_ref().map_or_else(String::new, |w| tame(&w.text));
            table.row(vec![
                node.name.clone(),
                place(node, report),
                node.value.map_or_else(String::new, signed),
                format!("{:.4}", node.influence),
                signed(node.predicted),
                strongest(true),
                strongest(false),
                words,
            ]);
        }
        out.table(table)?;
        out.heading("tokens and errors by influence")?;
        let mut table = Table::new(&["node", "at", ">influence", ">predicted without"]);
        let mut rest = foremost(report, GraphKind::Token);
        rest.extend(foremost(report, GraphKind::Error));
        rest.sort_by(|a, b| b.1.influence.total_cmp(&a.1.influence));
        for (_, node) in rest.into_iter().take(self.top.min(10)) {
            let name = if node.kind == GraphKind::Token { "token" } else { &node.name };
            table.row(vec![
                name.to_owned(),
                place(node, report),
                format!("{:.4}", node.influence),
                signed(node.predicted),
            ]);
        }
        out.table(table)
    }

    fn show_file(&self, file: &GraphFile, out: &mut Out) -> Result<()> {
        let m = &file.metadata;
        out.line(format!("{BOLD}{}{BOLD:#} ({}): {}", tame(&m.slug), tame(&m.scan), tame(&m.prompt)))?;
        out.line(format!(
            "{} nodes, {} edges, {} pinned, {} groups",
            file.nodes.len(),
            file.links.len(),
            file.view.pinned.len(),
            file.view.supernodes.len()
        ))?;
        let mut nodes: Vec<_> = file.nodes.iter().collect();
        nodes.sort_by(|a, b| a.influence.unwrap_or(1.0).total_cmp(&b.influence.unwrap_or(1.0)));
        let mut table =
            Table::new(&["node", "kind", ">at", ">influence held", ">activation", ">in", ">out", "about"]);
        for node in nodes.into_iter().take(self.top) {
            let count = |end: fn(&pellucid::interp::graph::file::Link) -> &String| {
                file.links.iter().filter(|l| *end(l) == node.node_id).count().to_string()
            };
            table.row(vec![
                tame(&node.node_id),
                tame(&node.feature_type),
                node.ctx_idx.to_string(),
                node.influence.map_or_else(|| "–".to_owned(), |i| format!("{i:.3}")),
                node.activation.map_or_else(|| "–".to_owned(), signed),
                count(|l| &l.target),
                count(|l| &l.source),
                tame(&node.clerp),
            ]);
        }
        out.table(table)
    }
}

/// The nodes of one kind with their places, the largest influence first.
fn foremost(report: &GraphReport, kind: GraphKind) -> Vec<(usize, &GraphNode)> {
    let mut all: Vec<_> = report.nodes.iter().enumerate().filter(|(_, n)| n.kind == kind).collect();
    all.sort_by(|a, b| b.1.influence.total_cmp(&a.1.influence));
    all
}

fn place(node: &GraphNode, report: &GraphReport) -> String {
    let text = report.prompt.get(node.position).map_or("", |t| t.text.as_str());
    format!("{} {}", node.position, quoted(text))
}

fn label(node: &GraphNode, report: &GraphReport) -> String {
    match node.kind {
        GraphKind::Token => place(node, report),
        GraphKind::Logit => tame(&node.name),
        GraphKind::Unit | GraphKind::Error => format!("{} @{}", node.name, node.position),
    }
}

fn checks(report: &GraphReport, out: &mut Out) -> Result<()> {
    let Some(first) = report.outputs.first().filter(|_| !report.checks.is_empty()) else { return Ok(()) };
    let foil = first.foil.as_ref().map_or_else(|| "the mean".to_owned(), |f| quoted(&f.text));
    out.heading(format!(
        "zeroed one by one: the change of {}'s logit above {foil}",
        quoted(&first.token.text)
    ))?;
    let mut table =
        Table::new(&["neuron", ">at", ">predicted", ">measured", "control", ">its activation", ">measured"]);
    for c in &report.checks {
        let node = &report.nodes[c.node];
        let (name, value, change) = c
            .control
            .as_ref()
            .map_or_else(Default::default, |k| (k.unit.to_string(), signed(k.value), signed(k.change)));
        let (predicted, measured) = (signed(c.predicted), signed(c.unit.change));
        table.row(vec![
            node.name.clone(),
            node.position.to_string(),
            predicted,
            measured,
            name,
            value,
            change,
        ]);
    }
    out.table(table)?;
    let rho = report.agreement.map_or_else(String::new, |a| {
        format!("; predicted and measured agree by rank with ρ {:.2} ({:.2} to {:.2})", a.rho, a.low, a.high)
    });
    out.line(format!(
        "{DIM}mean size of change {:.3}, of the controls' {:.3}{rho}{DIM:#}",
        report.mean_change, report.mean_control
    ))
}
