//! `pellucid atlas show`: all that is known of one unit.

use super::OfArgs;
use crate::atlas::describe::{INTERESTING, SINGLE_TOKEN};
use crate::atlas::open;
use crate::show::{BOLD, DIM, Out, heat, percent, tame};
use anyhow::{Context, Result};
use clap::Args;
use pellucid::core::{Polarity, Site, Split, UnitId};
use pellucid::scope::{Spot, place};
use pellucid::store::atlas::{Atlas, Description, DescriptionId, Score, ScoreKind, Written};
use pellucid::store::{Kind, UnitHarvest};
use serde::Serialize;
use std::collections::HashMap;

#[derive(Args)]
pub(super) struct ShowArgs {
    /// The unit.
    unit: UnitId,
    #[command(flatten)]
    of: OfArgs,
    /// Exemplars to show of each side.
    #[arg(long, default_value_t = 5, value_name = "N")]
    examples: usize,
}

/// One side of a unit on the wire.
#[derive(Serialize)]
struct Side {
    polarity: String,
    /// Size that it exceeds on one token in ten thousand.
    scale: f32,
    /// Share of tokens on which it is active: beyond half of that size.
    density: f64,
    descriptions: Vec<Words>,
    examples: Vec<Shown>,
}

#[derive(Serialize)]
struct Words {
    text: Option<String>,
    reason: Option<String>,
    explainer: String,
    chosen: bool,
    score: Option<f64>,
    interval: Option<(f64, f64)>,
    null: Option<f64>,
    interesting: Option<bool>,
    single_token: Option<f64>,
    scores: Vec<Judged>,
}

/// One score of a description.
#[derive(Serialize)]
struct Judged {
    kind: String,
    split: Option<&'static str>,
    /// The language model that judged; null where the description simulated itself.
    scorer: Option<String>,
    value: f64,
    interval: Option<(f64, f64)>,
    null: Option<f64>,
    n: Option<u64>,
    seed: Option<u64>,
    /// A hash of the windows that it was measured on.
    windows: Option<String>,
}

impl Judged {
    fn of(score: &Score) -> Self {
        let hex = |bytes: [u8; 32]| bytes.iter().map(|b| format!("{b:02x}")).collect();
        Judged {
            kind: score.kind.name().to_owned(),
            split: score.split.map(Split::name),
            scorer: (!score.scorer.is_empty()).then(|| score.scorer.clone()),
            value: score.value,
            interval: score.interval,
            null: score.null,
            n: score.n,
            seed: score.seed,
            windows: score.windows.map(hex),
        }
    }
}

#[derive(Serialize)]
struct Shown {
    kind: String,
    split: &'static str,
    value: f32,
    tokens: Vec<(String, f64)>,
}

impl ShowArgs {
    pub(super) fn run(&self, out: &mut Out) -> Result<()> {
        let (loaded, path) = self.of.load()?;
        let Spot { site, index, sides } = place(&loaded, &self.unit)?;
        let atlas = open(&loaded, Some(&path))?;
        let unit = atlas.unit(site, index)?;
        let unit = unit.with_context(|| format!("{} is not in {}", self.unit, atlas.path().display()))?;
        let sides = sides.iter().copied();
        let sides: Vec<Side> =
            sides.map(|p| self.side(&atlas, site, index, p, &unit)).collect::<Result<_>>()?;
        if out.json("atlas show", Some(&loaded), &sides)? {
            return Ok(());
        }
        let s = &unit.statistics;
        out.line(format!(
            "{BOLD}{}{BOLD:#}  mean {:.4}, deviation {:.4}, {:.3} to {:.3} over {} tokens",
            self.unit,
            s.mean,
            s.variance.sqrt(),
            s.min,
            s.max,
            s.count
        ))?;
        sides.iter().try_for_each(|side| show_side(side, out))
    }

    fn side(
        &self,
        atlas: &Atlas,
        site: Site,
        index: u32,
        polarity: Polarity,
        unit: &UnitHarvest,
    ) -> Result<Side> {
        let descriptions = atlas.descriptions(site, index, polarity)?;
        let descriptions =
            descriptions.into_iter().map(|(id, d)| words(atlas, id, d)).collect::<Result<_>>()?;
        Ok(Side {
            polarity: polarity.to_string(),
            scale: unit.scale(polarity),
            density: unit.firing_density(polarity),
            descriptions,
            examples: self.examples(atlas, site, index, polarity, unit)?,
        })
    }

    fn examples(
        &self,
        atlas: &Atlas,
        site: Site,
        index: u32,
        polarity: Polarity,
        unit: &UnitHarvest,
    ) -> Result<Vec<Shown>> {
        let windows: HashMap<_, _> =
            atlas.windows_of(site, index)?.into_iter().map(|w| ((w.document, w.index), w)).collect();
        let ours = unit.exemplars.iter().filter(|e| e.kind == Kind::Top && e.polarity == Some(polarity));
        let mut ours: Vec<_> = ours.collect();
        ours.sort_by(|a, b| b.value.abs().total_cmp(&a.value.abs()));
        let mut shown = Vec::new();
        for e in ours.into_iter().take(self.examples) {
            let window =
                windows.get(&(e.document, e.window)).context("an exemplar's window is not in the atlas")?;
            let mut tokens = Vec::new();
            for (i, bits) in e.activations.iter().enumerate() {
                let id = window.tokens.get(e.start as usize + i).copied().unwrap_or(0);
                let text =
                    atlas.token(id)?.map_or_else(String::new, |b| String::from_utf8_lossy(&b).into_owned());
                tokens.push((text, f64::from(half::f16::from_bits(*bits).to_f32())));
            }
            shown.push(Shown { kind: "top".to_owned(), split: e.split.name(), value: e.value, tokens });
        }
        Ok(shown)
    }
}

fn words(atlas: &Atlas, id: DescriptionId, d: Description) -> Result<Words> {
    let scores = atlas.scores(id)?;
    let other = |name: &str| scores.iter().find(|s| s.kind.name() == name).map(|s| s.value);
    let on_test = |s: &&Score| s.kind == ScoreKind::Simulation && s.split == Some(Split::Test);
    let simulation = scores.iter().find(on_test);
    let (text, reason) = match d.written {
        Written::Text { text, .. } => (Some(text), None),
        Written::None { reason } => (None, Some(reason)),
    };
    let e = d.explainer;
    let model = if e.model.is_empty() { String::new() } else { format!(" ({})", e.model) };
    Ok(Words {
        text,
        reason,
        explainer: format!("{} {}{model}", e.name, e.version),
        chosen: d.chosen,
        score: simulation.map(|s| s.value),
        interval: simulation.and_then(|s| s.interval),
        null: simulation.and_then(|s| s.null),
        interesting: other(INTERESTING).map(|v| v > 0.5),
        single_token: other(SINGLE_TOKEN),
        scores: scores.iter().filter(|s| s.split.is_some()).map(Judged::of).collect(),
    })
}

fn show_side(side: &Side, out: &mut Out) -> Result<()> {
    out.heading(format!(
        "{} side: beyond {:.3} on one token in 10,000; active (beyond half of that) on {} of tokens",
        side.polarity,
        side.scale,
        percent(side.density)
    ))?;
    for w in &side.descriptions {
        match (&w.text, &w.reason) {
            (Some(text), _) => {
                let number = |n: Option<f64>| n.map_or("–".to_owned(), |n| format!("{n:.2}"));
                let interval = w.interval.map_or(String::new(), |(l, h)| format!(" [{l:.2}, {h:.2}]"));
                let mark = if w.chosen { "" } else { "not chosen: " };
                out.line(format!(
                    "{mark}{}  {DIM}({}; held-out r {}{interval}, another unit's words {}){DIM:#}",
                    tame(text),
                    w.explainer,
                    number(w.score),
                    number(w.null)
                ))?;
                let others = w.scores.iter().filter(|s| s.scorer.is_some() && s.split == Some("test"));
                for s in others {
                    let scorer = s.scorer.as_deref().unwrap_or_default();
                    let null = number(s.null);
                    let line =
                        format!("    {} by {scorer}: {:.2}, another unit's words {null}", s.kind, s.value);
                    out.line(format!("{DIM}{line}{DIM:#}"))?;
                }
            }
            (None, reason) => {
                let reason = reason.as_deref().unwrap_or("no reason given");
                out.line(format!("{DIM}not described: {} ({}){DIM:#}", tame(reason), w.explainer))?;
            }
        }
    }
    for example in &side.examples {
        out.line(format!("{DIM}{:>8.3}{DIM:#} {}", example.value, heat(&example.tokens)))?;
    }
    Ok(())
}
