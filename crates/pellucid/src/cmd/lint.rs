//! `pellucid lint`: what was the model thinking of? The neurons behind a word, in clusters of what they are about.

use super::attribute::DEFAULT_METHOD;
use crate::atlas::{meaning, shelf};
use crate::json::{Placed, Token};
use crate::models::{Loaded, ModelArgs};
use crate::show::{BOLD, DIM, Out, Table, percent, quoted, signed, tame};
use crate::target::TargetArgs;
use crate::text::TextArgs;
use anyhow::{Result, ensure};
use clap::Args;
use pellucid::scope::{Aim, Cluster, ExplainReply, Explaining, UnitEffect, explain};
use serde::Serialize;
use std::collections::{HashMap, HashSet};
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
    /// How many neurons to look at, those with the largest effects.
    #[arg(long, default_value_t = 300, value_name = "N")]
    units: usize,
    /// Only neurons whose description has at least this score on held-out text.
    #[arg(long, default_value_t = 0.2, value_name = "R", allow_hyphen_values = true)]
    score: f64,
    /// Chooses the random groups that a cluster's coherence is held against.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// The result on the wire.
#[derive(Serialize)]
struct Report {
    target: Token,
    foil: Option<Token>,
    /// What is explained: the target's logit above the foil's, or above the mean.
    metric: f64,
    /// Neurons looked at, and those of them with a description that is good enough.
    units: usize,
    described: usize,
    clusters: Vec<Group>,
    /// The described neurons that are in no cluster, the largest effects first.
    alone: Vec<Member>,
}

#[derive(Serialize)]
struct Group {
    label: String,
    /// Sum of its members' predicted effects on the metric.
    effect: f64,
    coherence: f64,
    /// Share of random groups as coherent.
    chance: Option<f64>,
    members: Vec<Member>,
}

#[derive(Clone, Serialize)]
struct Member {
    unit: String,
    effect: f64,
    /// The token where it acts most.
    peak: String,
    description: String,
    score: f64,
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        ensure!(self.units > 0, "--units 0: expected at least one");
        let (loaded, mut text) = self.text.read(&self.model)?;
        let metric = self.target.metric(&loaded, &mut text)?;
        let opened = shelf(&loaded, self.atlas.as_deref()).need(&loaded)?;
        let aim = Aim { position: metric.position, target: Some(metric.target), foil: metric.foil };
        let question = Explaining {
            method: DEFAULT_METHOD.method(16),
            units: self.units,
            score: self.score,
            seed: self.seed,
            ..Explaining::new(aim)
        };
        let reply = explain(&loaded, Some(&opened), &meaning()?, text, &[], &question)?;
        let report = self.report(&reply);
        if out.json("lint", Some(&loaded), &report)? {
            return Ok(());
        }
        show(&report, &loaded, out)
    }

    fn report(&self, reply: &ExplainReply) -> Report {
        let good = |u: &&UnitEffect| u.words.as_ref().is_some_and(|w| w.score.unwrap_or(0.0) >= self.score);
        let members: Vec<Member> =
            reply.units.iter().filter(good).filter_map(|u| member(u, &reply.prompt)).collect();
        let by_unit: HashMap<&str, &Member> = members.iter().map(|m| (m.unit.as_str(), m)).collect();
        let group = |c: &Cluster| Group {
            label: c.label.clone(),
            effect: c.effect,
            coherence: c.coherence,
            chance: c.chance,
            members: c.members.iter().filter_map(|u| by_unit.get(u.as_str())).map(|m| (*m).clone()).collect(),
        };
        let grouped: HashSet<&str> =
            reply.clusters.iter().flat_map(|c| &c.members).map(String::as_str).collect();
        let alone = members.iter().filter(|m| !grouped.contains(m.unit.as_str()));
        Report {
            target: reply.metric.target.clone(),
            foil: reply.metric.foil.clone(),
            metric: reply.metric.value,
            units: reply.looked_at,
            described: reply.described,
            clusters: reply.clusters.iter().map(group).collect(),
            alone: alone.take(10).cloned().collect(),
        }
    }
}

/// A unit with words.
fn member(u: &UnitEffect, prompt: &[Placed]) -> Option<Member> {
    let words = u.words.as_ref()?;
    Some(Member {
        unit: u.unit.clone()?,
        effect: u.effect,
        peak: prompt.get(u.peak)?.text.clone(),
        description: words.text.clone(),
        score: words.score.unwrap_or(0.0),
    })
}

fn show(report: &Report, loaded: &Loaded, out: &mut Out) -> Result<()> {
    let foil = report.foil.as_ref().map_or_else(|| "the mean logit".to_owned(), |f| quoted(&f.text));
    out.line(format!(
        "{BOLD}{}{BOLD:#}: logit above {foil} {:.3}; of the {} neurons with the largest effects {} are described",
        quoted(&report.target.text),
        report.metric,
        report.units,
        report.described
    ))?;
    for g in &report.clusters {
        let chance =
            g.chance.map_or_else(String::new, |c| format!(", random groups as coherent: {}", percent(c)));
        out.heading(format!(
            "{} {DIM}{} neurons, {}{chance}{DIM:#}",
            tame(&g.label),
            g.members.len(),
            signed(g.effect)
        ))?;
        out.table(table(&g.members, 6))?;
    }
    if report.clusters.is_empty() {
        out.line(format!("{DIM}no group of three or more neurons is about the same thing{DIM:#}"))?;
    }
    if !report.alone.is_empty() {
        out.heading("in no cluster")?;
        out.table(table(&report.alone, 10))?;
    }
    out.line(format!(
        "\n{DIM}predicted effects; check one with `pellucid run --model {} --edit UNIT=0 …`{DIM:#}",
        loaded.name
    ))
}

fn table(members: &[Member], most: usize) -> Table {
    let mut table = Table::new(&["unit", ">effect", "acts at", ">score", "responds to"]);
    for m in members.iter().take(most) {
        table.row(vec![
            m.unit.clone(),
            signed(m.effect),
            quoted(&m.peak),
            format!("{:.2}", m.score),
            tame(&m.description).replace('\n', "⏎"),
        ]);
    }
    table
}
