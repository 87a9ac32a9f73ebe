//! `pellucid atlas describe` and `pellucid atlas score`.

use super::OfArgs;
use crate::atlas::contest::{Asked, Contested, contest_all};
use crate::atlas::describe::{Described, describe};
use crate::atlas::open;
use crate::atlas::score::{ByName, Judging, ScoredReport, score_all};
use crate::atlas::service::{LlmArgs, Spent};
use crate::atlas::sides::{Side, UnitsArgs, all, described};
use crate::models::Loaded;
use crate::show::Out;
use anyhow::{Result, bail, ensure};
use clap::{Args, ValueEnum};
use pellucid::core::Embed;
use serde::Serialize;
use std::path::Path;

#[derive(Args)]
pub(super) struct DescribeArgs {
    #[command(flatten)]
    of: OfArgs,
    #[command(flatten)]
    units: UnitsArgs,
    /// Who describes: patterns (needs no language model), llm (see --llm), or both, in this order. A side's words are
    /// those that do best on validation.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "patterns")]
    explainer: Vec<Who>,
    /// Candidates that the language model writes for each side; by default 3 by the small prompts, 4 by the large.
    #[arg(long, value_name = "N")]
    candidates: Option<usize>,
    #[command(flatten)]
    llm: Box<LlmArgs>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Who {
    Patterns,
    Llm,
}

#[derive(Args)]
pub(super) struct ScoreArgs {
    #[command(flatten)]
    atlas: OfArgs,
    #[command(flatten)]
    units: UnitsArgs,
    /// How to judge; several with commas.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "simulate")]
    by: Vec<ByName>,
    /// Judge this explainer's best description of each side (patterns, llm, …), chosen or not, instead of the chosen
    /// ones; llm is what the model of --llm wrote itself.
    #[arg(long, value_name = "EXPLAINER")]
    of: Option<String>,
    #[command(flatten)]
    llm: Box<LlmArgs>,
}

/// What describing came to, on the wire.
#[derive(Serialize)]
struct Report {
    patterns: Option<Described>,
    llm: Option<Contested>,
}

impl DescribeArgs {
    pub(super) fn run(&self, out: &mut Out) -> Result<()> {
        let by = |who| self.explainer.contains(&who);
        ensure!(
            by(Who::Llm) || !self.llm.is_given(),
            "--llm names a language model and nobody asks it; add --explainer llm (or patterns,llm)"
        );
        ensure!(self.candidates != Some(0), "--candidates 0: expected at least one");
        let (loaded, path) = self.of.load()?;
        // fails before anything is made or asked where there is no atlas, or another model's
        let chosen = self.units.chosen(&open(&loaded, Some(&path))?, self.of.seed)?;
        let service = if by(Who::Llm) { Some(self.llm.service(&path)?) } else { None };
        let encoder = self.of.encoder()?;
        let embedder = encoder.as_ref().map(|e| e as &dyn Embed);
        let patterns = by(Who::Patterns)
            .then(|| describe(&loaded, &path, self.of.seed, chosen.as_deref(), embedder))
            .transpose()?;
        let contested = match &service {
            Some(service) => {
                let sides = match chosen {
                    Some(sides) => sides,
                    None => all(&open(&loaded, Some(&path))?)?,
                };
                let (seed, candidates) = (self.of.seed, self.candidates);
                let asked = Asked { path: &path, sides, seed, candidates, embedder };
                Some((contest_all(&loaded, service, &asked)?, asked.sides.len()))
            }
            None => None,
        };
        let asked_for = contested.as_ref().map_or(0, |(_, sides)| *sides);
        let report = Report { patterns, llm: contested.map(|(done, _)| done) };
        report.say(&loaded, out)?;
        report.llm.as_ref().map_or(Ok(()), |done| complete(done, asked_for))
    }
}

impl Report {
    fn say(&self, loaded: &Loaded, out: &mut Out) -> Result<()> {
        if out.json("atlas describe", Some(loaded), self)? {
            return Ok(());
        }
        if let Some(done) = &self.patterns {
            say_described(done, out)?;
        }
        let Some(done) = &self.llm else { return Ok(()) };
        out.line(format!(
            "the language model looked at {} sides in {:.0} s: its words stand on {}, earlier words on {}, none on {}{}",
            done.sides,
            done.seconds,
            done.won,
            done.kept,
            done.without,
            if done.found > 0 { format!("; {} it had looked at before", done.found) } else { String::new() }
        ))?;
        done.spent.as_ref().map_or(Ok(()), |spent: &Spent| out.line(spent.line()))
    }
}

/// Refuses to call a run complete that left sides out; what was written stays.
fn complete(done: &Contested, asked_for: usize) -> Result<()> {
    let left = (asked_for as u64).saturating_sub(done.found + done.sides);
    if left > 0 {
        let why = done.failure.as_deref().unwrap_or("it was stopped");
        bail!(
            "{left} of {asked_for} sides are left: {why}. What was answered is kept; run the same command again to go on"
        );
    }
    Ok(())
}

pub(super) fn say_described(done: &Described, out: &mut Out) -> Result<()> {
    out.line(format!(
        "described {} sides of neurons in {:.0} s: {} with words, {} without (each with its reason)",
        done.units, done.seconds, done.with_words, done.without
    ))
}

impl ScoreArgs {
    pub(super) fn run(&self, out: &mut Out) -> Result<()> {
        let (loaded, path) = self.atlas.load()?;
        let sides = self.sides(&loaded, &path)?;
        let service = self.llm.service(&path)?;
        let mut by = self.by.clone();
        by.sort();
        by.dedup();
        let asked = Judging { sides: &sides, by: &by, of: self.of.as_deref(), seed: self.atlas.seed };
        let done = score_all(&loaded, &service, &path, &asked)?;
        if !out.json("atlas score", Some(&loaded), &done)? {
            say_scored(&done, out)?;
        }
        let expected = by.len() as u64 * (sides.len() as u64 - done.undescribed.min(sides.len() as u64));
        let left = expected.saturating_sub(done.scores + done.found + done.unjudged);
        if let Some(why) = done.failure.as_ref().filter(|_| left > 0) {
            bail!(
                "{left} scores are left: {why}. What was answered is kept; run the same command again to go on"
            );
        }
        Ok(())
    }

    fn sides(&self, loaded: &Loaded, path: &Path) -> Result<Vec<Side>> {
        let atlas = open(loaded, Some(path))?;
        match self.units.chosen(&atlas, self.atlas.seed)? {
            Some(sides) => Ok(sides),
            None => described(&atlas),
        }
    }
}

fn say_scored(done: &ScoredReport, out: &mut Out) -> Result<()> {
    out.line(format!(
        "{} scores stored in {:.0} s, {} were there already; {} could not be judged, {} sides have no description",
        done.scores, done.seconds, done.found, done.unjudged, done.undescribed
    ))?;
    for kind in &done.by {
        let number = |n: Option<f64>| n.map_or("–".to_owned(), |n| format!("{n:.2}"));
        out.line(format!(
            "{}: median {:.2}, another unit's words {}, above their null {}",
            kind.kind,
            kind.median,
            number(kind.null_median),
            kind.above_null.map_or("–".to_owned(), |share| format!("{:.0}%", 100.0 * share))
        ))?;
    }
    if let Some(why) = &done.why_unjudged {
        out.line(format!("the last that could not be judged: {why}"))?;
    }
    done.spent.as_ref().map_or(Ok(()), |spent| out.line(spent.line()))
}
