//! `pellucid dict steer`: latents switched on one by one, and whether the model then writes what they stand for.

use crate::atlas::describe::INTERESTING;
use crate::atlas::{path_of, shelf};
use crate::models::{Loaded, ModelArgs};
use crate::show::{BOLD, DIM, Out, Table, bar, percent, tame};
use anyhow::{Result, ensure};
use clap::Args;
use pellucid::core::{Polarity, Seed};
use pellucid::interp::Interval;
use pellucid::interp::steered::{Arm, Trial, Tried, steer_latent, write};
use pellucid::model::{Attached, Row};
use pellucid::scope::{Opened, Text};
use pellucid::store::atlas::{Hit, Query, ScoreKind, Sort};
use serde::Serialize;
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct SteerArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// The dictionary whose latents are meant, where several are given.
    #[arg(long, value_name = "NAME")]
    of: Option<String>,
    /// The atlas of its latents, if it is not the one in the cache.
    #[arg(long, value_name = "FILE")]
    atlas: Option<PathBuf>,
    /// These latents; otherwise those whose descriptions do best on held-out text.
    #[arg(long, value_name = "N", value_delimiter = ',')]
    latent: Vec<u32>,
    /// How many are taken where none are named: the best that are worth a person's time.
    #[arg(long, default_value_t = 10, value_name = "N")]
    top: usize,
    /// What a latent is set to, in times of its typical strength.
    #[arg(long, default_value_t = 2.0)]
    strength: f32,
    /// A file with a text a line that is gone on with; by default eight openings that say nothing yet.
    #[arg(long, value_name = "FILE")]
    prompts: Option<PathBuf>,
    /// Tokens that are written to each.
    #[arg(long, default_value_t = 24, value_name = "N")]
    tokens: usize,
    /// Other latents beside each.
    #[arg(long, default_value_t = 3, value_name = "N")]
    controls: usize,
    /// Draws them.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Openings that could go anywhere.
const OPENINGS: [&str; 8] = [
    "I would like to tell you about",
    "The most interesting thing is",
    "Yesterday we talked about",
    "Here is what I found:",
    "She opened the door and saw",
    "In this chapter we look at",
    "People often ask me about",
    "It all started with",
];

/// All trials, on the wire.
#[derive(Serialize)]
struct Report {
    dictionary: String,
    site: String,
    strength: f32,
    prompts: Vec<String>,
    tokens: usize,
    seed: u64,
    /// How many did what they stand for.
    held: usize,
    trials: Vec<Named>,
}

#[derive(Serialize)]
struct Named {
    unit: String,
    description: Option<String>,
    score: Option<f64>,
    holds: bool,
    #[serde(flatten)]
    tried: Tried,
}

impl SteerArgs {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        ensure!(self.tokens > 0 && self.top > 0, "--tokens and --top need at least 1");
        let loaded = self.model.load()?;
        let dictionary = loaded.dictionary(self.of.as_deref())?;
        let opened = shelf(&loaded, Some(&path_of(&loaded, self.atlas.as_deref())?)).need(&loaded)?;
        let of = opened.atlas().dictionary()?;
        ensure!(
            of.as_ref() == Some(&dictionary.name),
            "{} is the atlas of {}, not of the latents of {}; build one with `pellucid atlas build --latents {}`",
            opened.atlas().path().display(),
            of.as_deref().unwrap_or("the model's own units"),
            dictionary.name,
            dictionary.name
        );
        let prompts = self.prompts()?;
        let report = self.try_all(&loaded, dictionary, &opened, prompts)?;
        if !out.json("dict steer", Some(&loaded), &report)? {
            report.show(out)?;
        }
        Ok(())
    }

    fn prompts(&self) -> Result<Vec<String>> {
        let Some(file) = &self.prompts else { return Ok(OPENINGS.map(str::to_owned).to_vec()) };
        let text = crate::models::read(file)?;
        let lines: Vec<String> =
            text.lines().map(str::trim).filter(|l| !l.is_empty()).map(str::to_owned).collect();
        ensure!(!lines.is_empty(), "{} holds no text", file.display());
        Ok(lines)
    }

    fn try_all(
        &self,
        loaded: &Loaded,
        dictionary: &Attached,
        opened: &Opened,
        prompts: Vec<String>,
    ) -> Result<Report> {
        let rows = prompts.iter().map(|text| Ok(Text::plain(loaded, text)?.row));
        let rows = rows.collect::<Result<Vec<Row>>>()?;
        let scales: Vec<f32> = (0..dictionary.latents.count() as u32)
            .map(|latent| opened.scale(dictionary.site, latent, Polarity::Positive))
            .collect();
        let others: Vec<u32> =
            (0u32..).zip(&scales).filter(|(_, scale)| **scale > 0.0).map(|(l, _)| l).collect();
        let hits = self.chosen(opened)?;
        let latents =
            if self.latent.is_empty() { hits.iter().map(|h| h.index).collect() } else { self.latent.clone() };
        let shown = bar("writing: texts", (1 + latents.len() * (1 + self.controls)) * rows.len());
        let mut told = || {
            shown.inc(1);
            Ok(())
        };
        let plain = write(&loaded.model, &rows, self.tokens, &[], &mut told)?;
        let mut trials = Vec::new();
        for latent in latents {
            let trial = Trial {
                dictionary,
                latent,
                typical: scales.get(latent as usize).copied().unwrap_or(0.0),
                strength: self.strength,
                prompts: &rows,
                plain: &plain,
                tokens: self.tokens,
                others: &others,
                controls: self.controls,
                seed: Seed(self.seed),
            };
            let tried = steer_latent(&loaded.model, &trial, &mut told)?;
            let hit = hits.iter().find(|h| h.index == latent);
            trials.push(Named {
                unit: format!("sae:{}/{latent}", dictionary.name),
                description: hit.map(|h| h.text.clone()),
                score: hit.and_then(|h| h.score),
                holds: tried.holds(),
                tried,
            });
        }
        shown.finish_and_clear();
        Ok(Report {
            dictionary: dictionary.name.clone(),
            site: dictionary.site.to_string(),
            strength: self.strength,
            prompts,
            tokens: self.tokens,
            seed: self.seed,
            held: trials.iter().filter(|t| t.holds).count(),
            trials,
        })
    }

    /// The descriptions of the latents that are named, or the best ones that are worth a person's time.
    fn chosen(&self, opened: &Opened) -> Result<Vec<Hit>> {
        let atlas = opened.atlas();
        let mut hits = atlas.find(&Query { sort: Sort::Score, ..Query::all(usize::MAX >> 1) })?;
        if !self.latent.is_empty() {
            hits.retain(|hit| self.latent.contains(&hit.index));
            return Ok(hits);
        }
        let mut best = Vec::new();
        for hit in hits {
            let worth = ScoreKind::Other(INTERESTING.to_owned());
            if best.len() < self.top && atlas.scores(hit.id)?.iter().any(|s| s.kind == worth && s.value > 0.5)
            {
                best.push(hit);
            }
        }
        ensure!(
            !best.is_empty(),
            "no description of {} is worth trying; name latents with --latent",
            atlas.path().display()
        );
        Ok(best)
    }
}

impl Report {
    fn show(&self, out: &mut Out) -> Result<()> {
        let share = |i: &Interval| format!("{} [{}, {}]", percent(i.value), percent(i.low), percent(i.high));
        let mut table = Table::new(&[
            "latent",
            "what it responds to",
            ">written with it",
            ">without",
            ">with another",
            ">loss",
            ">plain",
        ]);
        for t in &self.trials {
            let best = t.tried.random.iter().max_by(|a, b| a.prompts.value.total_cmp(&b.prompts.value));
            let words = t.description.as_deref().map_or("–".to_owned(), tame);
            table.row(vec![
                format!("{}{}", if t.holds { "✓ " } else { "  " }, t.unit),
                words.chars().take(60).collect(),
                share(&t.tried.steered.prompts),
                percent(t.tried.plain.prompts.value),
                best.map_or("–".to_owned(), |arm: &Arm| percent(arm.prompts.value)),
                format!("{:.2}", t.tried.steered.loss),
                format!("{:.2}", t.tried.plain.loss),
            ]);
        }
        out.table(table)?;
        for t in self.trials.iter().filter(|t| t.holds) {
            let Some(w) = t.tried.steered.written.iter().max_by_key(|w| w.active) else { continue };
            let prompt = self.prompts.get(w.prompt).map_or("", String::as_str);
            out.line(format!("{} {DIM}{}{DIM:#}{}", t.unit, tame(prompt), tame(&w.text).replace('\n', "⏎")))?;
        }
        out.line(format!(
            "{BOLD}{} of {}{BOLD:#} {DIM}latents, set to {} times their typical strength, are active on what the model then writes \
             (read without any edit) for more of {} openings than without, and than with the best of other latents{DIM:#}",
            self.held,
            self.trials.len(),
            self.strength,
            self.prompts.len()
        ))
    }
}
