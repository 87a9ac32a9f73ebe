//! `pellucid lint`: what was the model thinking of? The neurons behind a word, in clusters of what they are about.

use super::attribute::DEFAULT_METHOD;
use crate::atlas::{encoder, open};
use crate::json::Token;
use crate::models::{Loaded, ModelArgs};
use crate::show::{BOLD, DIM, Out, Table, percent, quoted, signed, tame};
use crate::target::TargetArgs;
use crate::text::TextArgs;
use anyhow::{Result, ensure};
use clap::Args;
use pellucid::core::{Embed, Index, Polarity, Seed, UnitId};
use pellucid::describe::cluster::{Cluster, ClusterSettings, Item, cluster};
use pellucid::interp::{By, UnitEffect, attribute};
use pellucid::store::atlas::{Atlas, ScoreKind, Written};
use serde::Serialize;
use std::collections::HashMap;
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
    unit: UnitId,
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
        let atlas = open(&loaded, self.atlas.as_deref())?;
        let sites = By::Unit.sites(&loaded.model);
        let effects =
            attribute(&loaded.model, &text.row, metric, DEFAULT_METHOD.method(16), &sites, &mut ())?;
        let ranked = effects.ranked(By::Unit, self.units);
        let mut members = Vec::new();
        for effect in &ranked {
            let peak = text.tokens[effect.position].text.clone();
            members.extend(member(&atlas, effect, peak)?.filter(|m| m.score >= self.score));
        }
        let clusters = self.clusters(&members)?;
        let by_unit: HashMap<&UnitId, &Member> = members.iter().map(|m| (&m.unit, m)).collect();
        let groups: Vec<Group> = clusters.iter().map(|c| group(c, &by_unit)).collect();
        let grouped = |m: &&Member| clusters.iter().any(|c| c.members.contains(&m.unit));
        let alone = members.iter().filter(|m| !grouped(m)).take(10).cloned().collect();
        let report = Report {
            target: loaded.token(metric.target),
            foil: metric.foil.map(|f| loaded.token(f)),
            metric: effects.metric,
            units: ranked.len(),
            described: members.len(),
            clusters: groups,
            alone,
        };
        if out.json("lint", Some(&loaded), &report)? {
            return Ok(());
        }
        show(&report, &loaded, out)
    }

    fn clusters(&self, members: &[Member]) -> Result<Vec<Cluster>> {
        if members.is_empty() {
            return Ok(Vec::new());
        }
        let texts: Vec<&str> = members.iter().map(|m| m.description.as_str()).collect();
        let vectors =
            encoder()?.embed(&texts).map_err(|e| anyhow::anyhow!("cannot embed descriptions: {e}"))?;
        let item = |(m, vector): (&Member, Vec<f32>)| Item {
            unit: m.unit.clone(),
            vector,
            effect: m.effect as f32,
            text: m.description.clone(),
        };
        let items: Vec<Item> = members.iter().zip(vectors).map(item).collect();
        Ok(cluster(&items, &ClusterSettings { seed: Seed(self.seed), ..ClusterSettings::default() })?)
    }
}

/// A neuron with the side of zero that it was on where it acted most; none if that side has no description.
fn member(atlas: &Atlas, effect: &UnitEffect, peak: String) -> Result<Option<Member>> {
    let Some(UnitId::Site { site, index: Index::Coordinate(index), .. }) = effect.unit else {
        return Ok(None);
    };
    let negative = effect.activation.is_some_and(|a| a < 0.0);
    let polarity = if negative { Polarity::Negative } else { Polarity::Positive };
    let Some((id, chosen)) = atlas.descriptions(site, index, polarity)?.into_iter().find(|(_, d)| d.chosen)
    else {
        return Ok(None);
    };
    let Written::Text { text, .. } = chosen.written else { return Ok(None) };
    let score =
        atlas.scores(id)?.into_iter().find(|s| s.kind == ScoreKind::Simulation).map_or(0.0, |s| s.value);
    let unit = UnitId::Site { site, index: Index::Coordinate(index), polarity: Some(polarity) };
    Ok(Some(Member { unit, effect: effect.effect, peak, description: text, score }))
}

fn group(cluster: &Cluster, by_unit: &HashMap<&UnitId, &Member>) -> Group {
    let mut members: Vec<Member> =
        cluster.members.iter().filter_map(|u| by_unit.get(u)).map(|m| (*m).clone()).collect();
    members.sort_by(|a, b| b.effect.abs().total_cmp(&a.effect.abs()));
    Group {
        label: cluster.label.clone(),
        effect: cluster.effect,
        coherence: cluster.coherence,
        chance: cluster.chance,
        members,
    }
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
            m.unit.to_string(),
            signed(m.effect),
            quoted(&m.peak),
            format!("{:.2}", m.score),
            tame(&m.description).replace('\n', "⏎"),
        ]);
    }
    table
}
