//! `--explainer llm`: a language model describes sides of units, and its words stand where they do better on validation
//! than what stood there. A few sides at a time are written; answers are kept as they come, so a run that was stopped
//! asks nothing twice.

use super::describe::{Sight, embedded, explainer, facts, outputs, settings};
use super::service::{Service, Spent, each};
use super::sides::{POLARITIES, Side};
use super::texts::vocabulary;
use super::{ENCODER, check_model};
use crate::models::Loaded;
use crate::show::bar;
use anyhow::{Result, bail};
use pellucid::core::{Chat, Embed, Seed, ServiceError, Split};
use pellucid::describe::llm::{
    By, Contest, ContestError, ContestSettings, ExplainError, Judged as OnTest, Reject, Rejected, ScoreError,
    Winner, contest, judge,
};
use pellucid::describe::measure::Score as Measured;
use pellucid::describe::{Evidence, Lexicon, Simulator, explain_with};
use pellucid::store::atlas::{
    Atlas, Description, DescriptionId, Explainer, Judged, Score, ScoreKind, SiteRow, Written,
};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::Path;

/// The explainer's name and version.
const EXPLAINER: (&str, &str) = ("llm", "1");

/// Units in a row that get no answer before the rest is left.
const IN_A_ROW: usize = 3;

/// How the sides fared, on the wire.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Contested {
    /// Sides looked at in this call.
    pub(crate) sides: u64,
    /// Sides that this explainer had looked at before.
    pub(crate) found: u64,
    /// Where the language model's words stand now.
    pub(crate) won: u64,
    /// Where the earlier words stand.
    pub(crate) kept: u64,
    /// Where there are no words.
    pub(crate) without: u64,
    /// Sides about which the model could not be asked; the next call asks again.
    pub(crate) failed: u64,
    /// The last failure.
    pub(crate) failure: Option<String>,
    pub(crate) seconds: f64,
    pub(crate) spent: Option<Spent>,
}

/// What the user asked for.
pub(crate) struct Asked<'a> {
    pub(crate) path: &'a Path,
    pub(crate) sides: Vec<Side>,
    pub(crate) seed: u64,
    pub(crate) candidates: Option<usize>,
    pub(crate) embedder: Option<&'a dyn Embed>,
}

/// A side ready to be asked about.
struct Task {
    side: Side,
    evidence: Evidence,
    rival: Option<Rival>,
    /// Another unit's description, for the null.
    other: Option<String>,
}

/// The words that stand there.
enum Rival {
    /// The pattern explainer's, with what simulates them.
    Patterns(DescriptionId, Box<Simulator>),
    /// Somebody's, with their score on validation where it is known.
    Words(Option<f64>),
}

/// What came of a task.
enum Outcome {
    Contest(Box<(Contest, Option<OnTest>)>),
    /// There is no description, and why.
    None(String),
}

/// Lets the language model describe what it has not described yet.
pub(crate) fn contest_all(loaded: &Loaded, service: &Service, asked: &Asked<'_>) -> Result<Contested> {
    let begun = std::time::Instant::now();
    let mut atlas = Atlas::open_write(asked.path)?;
    check_model(&atlas, loaded)?;
    let meter = service.meter();
    let (explaining, judging) =
        (service.explaining(Seed(asked.seed), asked.candidates), service.judging(Seed(asked.seed)));
    let how = ContestSettings::new(explaining, judging);
    let who = Explainer {
        name: EXPLAINER.0.to_owned(),
        version: EXPLAINER.1.to_owned(),
        model: service.name().to_owned(),
        prompt: how.explain.prompt.name.to_owned(),
    };
    let texts = vocabulary(loaded)?;
    let sites = atlas.sites()?;
    let lacking: BTreeSet<Side> = atlas
        .lacking(Some(&who))?
        .into_iter()
        .map(|m| Side { site: m.site, index: m.index, polarity: m.polarity })
        .collect();
    let left: Vec<Side> = asked.sides.iter().copied().filter(|side| lacking.contains(side)).collect();
    let mut done = Contested { found: (asked.sides.len() - left.len()) as u64, ..Contested::default() };
    let shown = bar("asking: sides", left.len());
    let mut lexicon = Lexicon::new();
    let mut in_a_row = 0;
    for (row, sides) in by_site(&sites, &left) {
        let promoted = outputs(loaded, row.site, atlas.dictionary()?.as_deref())?;
        let sight = Sight { site: row.site, texts: &texts, outputs: &promoted };
        for few in sides.chunks(2 * service.concurrency()) {
            let tasks = tasks(&atlas, &sites, sight, few, asked.seed, &mut lexicon)?;
            let outcomes = each(&tasks, service.concurrency(), |task| ask(&meter, task, &how));
            let mut rows = Vec::new();
            for (task, outcome) in tasks.iter().zip(outcomes) {
                match outcome {
                    Ok(outcome) => {
                        in_a_row = 0;
                        rows.push(Row::of(task, outcome, &who, service.name(), asked.seed));
                    }
                    Err(error) => {
                        in_a_row += 1;
                        done.failed += 1;
                        done.failure = Some(failure(error)?.to_string());
                    }
                }
            }
            write(&mut atlas, &rows, asked.embedder)?;
            rows.iter().for_each(|row| row.count(&mut done));
            shown.inc(few.len() as u64);
            if in_a_row >= IN_A_ROW || meter.stopped().is_some() {
                break;
            }
        }
        if in_a_row >= IN_A_ROW || meter.stopped().is_some() {
            break;
        }
    }
    shown.finish_and_clear();
    done.seconds = begun.elapsed().as_secs_f64();
    done.spent = Some(service.spent(meter.cost()));
    Ok(done)
}

/// The sides of each site, in order.
fn by_site<'a>(sites: &'a [SiteRow], sides: &[Side]) -> Vec<(&'a SiteRow, Vec<Side>)> {
    let here = |row: &'a SiteRow| {
        let of: Vec<Side> = sides.iter().copied().filter(|s| s.site == row.site).collect();
        (!of.is_empty()).then_some((row, of))
    };
    sites.iter().filter_map(here).collect()
}

fn tasks(
    atlas: &Atlas,
    sites: &[SiteRow],
    sight: Sight<'_>,
    sides: &[Side],
    seed: u64,
    lexicon: &mut Lexicon,
) -> Result<Vec<Task>> {
    let mut tasks = Vec::new();
    for &side in sides {
        let both = sight.sides(atlas, side.index)?;
        for (polarity, evidence) in both.into_iter().filter(|(p, _)| *p == side.polarity) {
            let rival = rival(atlas, side, &evidence, seed, lexicon)?;
            let other = other(atlas, sites, side, seed)?;
            tasks.push(Task { side: Side { polarity, ..side }, evidence, rival, other });
        }
    }
    Ok(tasks)
}

/// What stands there, ready to be held against.
fn rival(
    atlas: &Atlas,
    side: Side,
    evidence: &Evidence,
    seed: u64,
    lexicon: &mut Lexicon,
) -> Result<Option<Rival>> {
    let all = atlas.descriptions(side.site, side.index, side.polarity)?;
    let Some((id, chosen)) = all.into_iter().find(|(_, d)| d.chosen) else { return Ok(None) };
    if chosen.explainer == explainer() {
        // found again rather than stored: patterns are cheap, and the same seed gives the same
        let outcome = explain_with(evidence, &settings(seed), lexicon)?;
        if let Some(found) = outcome.description()
            && matches!(&chosen.written, Written::Text { text, .. } if *text == found.phrase)
        {
            return Ok(Some(Rival::Patterns(id, Box::new(found.simulator.clone()))));
        }
    }
    let scores = atlas.scores(id)?;
    let simulated = |s: &&Score| s.kind == ScoreKind::Simulation && s.split == Some(Split::Validation);
    Ok(Some(Rival::Words(scores.iter().find(simulated).map(|s| s.value))))
}

/// Draws of a unit before the null goes without.
const DRAWS: usize = 200;

/// Another unit's description by the pattern explainer, drawn with the seed: what a language model writes changes while
/// it runs, and a run that goes on must find the same null.
pub(super) fn other(atlas: &Atlas, sites: &[SiteRow], side: Side, seed: u64) -> Result<Option<String>> {
    let mut seed = Seed(seed).for_purpose(&format!("null of {side}"));
    let own: BTreeSet<String> = words(atlas, side)?.into_iter().collect();
    for _ in 0..DRAWS {
        let Some(row) = sites.get(seed.below(sites.len())) else { return Ok(None) };
        let (index, polarity) = (seed.below(row.width as usize) as u32, POLARITIES[seed.below(2)]);
        if (row.site, index) == (side.site, side.index) {
            continue;
        }
        let drawn = words(atlas, Side { site: row.site, index, polarity })?;
        if let Some(text) = drawn.into_iter().find(|text| !own.contains(text)) {
            return Ok(Some(text));
        }
    }
    Ok(None)
}

/// The pattern explainer's words for a side.
fn words(atlas: &Atlas, side: Side) -> Result<Vec<String>> {
    let all = atlas.descriptions(side.site, side.index, side.polarity)?;
    let text = |(_, d): (DescriptionId, Description)| match d.written {
        Written::Text { text, .. } if d.explainer == explainer() => Some(text),
        _ => None,
    };
    Ok(all.into_iter().filter_map(text).collect())
}

fn ask(chat: &dyn Chat, task: &Task, how: &ContestSettings) -> Result<Outcome, ContestError> {
    let simulator = match &task.rival {
        Some(Rival::Patterns(_, simulator)) => Some(simulator.as_ref() as _),
        _ => None,
    };
    let mut held = match contest(chat, &task.evidence, simulator, how) {
        Ok(held) => held,
        Err(ContestError::Explain(error)) if is_none(&error) => return Ok(Outcome::None(error.to_string())),
        Err(error) => return Err(error),
    };
    if let Some(Rival::Words(score)) = &task.rival {
        held.winner = against_words(&held, *score);
    }
    let Winner::Candidate(i) = held.winner else { return Ok(Outcome::Contest(Box::new((held, None)))) };
    let text = held.entrants.get(i).map_or("", |e| e.candidate.text.as_str());
    let other = task.other.as_deref();
    match judge(chat, By::Simulation, text, other, &task.evidence, &how.scorer) {
        Ok(on_test) => Ok(Outcome::Contest(Box::new((held, Some(on_test))))),
        // words that cannot be reported on test are not chosen
        Err(error @ (ScoreError::TooFew { .. } | ScoreError::NoAnswer { .. })) => {
            held.winner = match task.rival {
                Some(_) => Winner::Rival,
                None => Winner::Nobody(error.to_string()),
            };
            Ok(Outcome::Contest(Box::new((held, None))))
        }
        Err(error) => Err(error.into()),
    }
}

/// Words of another language model keep their place unless they are known to have done worse on validation.
fn against_words(held: &Contest, score: Option<f64>) -> Winner {
    let value = |i: usize| held.entrants.get(i)?.validation.as_ref().map(|v| v.pearson.r);
    match (&held.winner, score) {
        (Winner::Candidate(i), Some(score)) if value(*i).is_some_and(|r| r > score) => Winner::Candidate(*i),
        _ => Winner::Rival,
    }
}

/// Whether an error says that there is no description; a service that answered with nothing has not said so.
fn is_none(error: &ExplainError) -> bool {
    match error {
        ExplainError::NoExamples => true,
        ExplainError::NoneUsable(all) => {
            !all.iter().any(|Rejected { why, .. }| matches!(why, Reject::NoAnswer(_)))
        }
        _ => false,
    }
}

/// What the model's failure was; an error that is not its failure ends the run.
fn failure(error: ContestError) -> Result<ServiceError> {
    match error {
        ContestError::Explain(ExplainError::Service(error))
        | ContestError::Score(ScoreError::Service(error)) => Ok(error),
        ContestError::Explain(error @ ExplainError::NoneUsable(_)) => Ok(error.into()),
        other => bail!(other),
    }
}

/// What is written of a side.
struct Row {
    new: Vec<(Description, Vec<Score>)>,
    earlier: Option<(DescriptionId, Score)>,
    winner: Winner,
}

impl Row {
    fn of(task: &Task, outcome: Outcome, who: &Explainer, scorer: &str, seed: u64) -> Self {
        let Side { site, index, polarity } = task.side;
        let description = |candidate: usize, written, chosen| Description {
            site,
            index,
            polarity,
            explainer: who.clone(),
            candidate: candidate as u32,
            written,
            chosen,
        };
        let (held, on_test) = match outcome {
            Outcome::Contest(both) => *both,
            Outcome::None(reason) => {
                let winner =
                    if task.rival.is_some() { Winner::Rival } else { Winner::Nobody(reason.clone()) };
                let none = description(0, Written::None { reason }, false);
                return Row { new: vec![(none, Vec::new())], earlier: None, winner };
            }
        };
        let by_model = |score: &Measured, windows| validation(score, windows, scorer, seed);
        let mut new = Vec::new();
        for (i, entrant) in held.entrants.iter().enumerate() {
            let mut scores: Vec<Score> =
                entrant.validation.iter().map(|v| by_model(v, entrant.windows)).collect();
            let chosen = held.winner == Winner::Candidate(i);
            if let (true, Some(on_test)) = (chosen, &on_test) {
                scores.push(reported(on_test, scorer, seed));
                let only_form = !entrant.candidate.text.chars().any(char::is_alphanumeric);
                scores.extend(facts(&task.evidence, on_test.interval.0, on_test.null, only_form));
            }
            let written = Written::Text { text: entrant.candidate.text.clone(), short: None };
            new.push((description(i, written, chosen), scores));
        }
        let windows = held.entrants.first().map_or([0; 32], |e| e.windows);
        let earlier = match (&task.rival, &held.rival) {
            (Some(Rival::Patterns(id, _)), Some(score)) => Some((*id, validation(score, windows, "", seed))),
            _ => None,
        };
        Row { new, earlier, winner: held.winner }
    }

    fn count(&self, done: &mut Contested) {
        done.sides += 1;
        match self.winner {
            Winner::Candidate(_) => done.won += 1,
            Winner::Rival => done.kept += 1,
            Winner::Nobody(_) => done.without += 1,
        }
    }
}

fn validation(score: &Measured, windows: [u8; 32], scorer: &str, seed: u64) -> Score {
    Score {
        interval: Some((score.low, score.high)),
        split: Some(Split::Validation),
        n: Some(score.tokens as u64),
        seed: Some(seed),
        windows: Some(windows),
        scorer: scorer.to_owned(),
        ..Score::plain(ScoreKind::Simulation, score.pearson.r)
    }
}

/// A language model's judgement on test, as it is stored.
pub(super) fn reported(judged: &OnTest, scorer: &str, seed: u64) -> Score {
    let kind = match judged.by {
        By::Simulation => ScoreKind::Simulation,
        By::Detection => ScoreKind::Detection,
        By::Fuzzing => ScoreKind::Fuzzing,
    };
    Score {
        interval: Some(judged.interval),
        null: judged.null,
        split: Some(Split::Test),
        n: Some(judged.n as u64),
        seed: Some(seed),
        windows: Some(judged.windows),
        scorer: scorer.to_owned(),
        ..Score::plain(kind, judged.value)
    }
}

fn write(atlas: &mut Atlas, rows: &[Row], embedder: Option<&dyn Embed>) -> Result<()> {
    let all = || rows.iter().flat_map(|row| &row.new);
    let text = |d: &'_ Description| match &d.written {
        Written::Text { text, .. } => Some(text.clone()),
        Written::None { .. } => None,
    };
    let texts: Vec<String> = all().filter_map(|(d, _)| text(d)).collect();
    let vectors = embedded(texts.iter().map(String::as_str), embedder)?;
    let judged: Vec<Judged<'_>> = all()
        .map(|(d, scores)| Judged {
            description: d.clone(),
            scores: scores.clone(),
            embedding: text(d).and_then(|text| vectors.get(text.as_str())).map(Vec::as_slice),
        })
        .collect();
    let earlier: Vec<(DescriptionId, Score)> = rows.iter().filter_map(|row| row.earlier.clone()).collect();
    Ok(atlas.add_judged(ENCODER, &judged, &earlier)?)
}
