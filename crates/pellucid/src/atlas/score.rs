//! `pellucid atlas score`: a language model judges descriptions on text that their authors never saw: the chosen ones, or
//! the best of one explainer, chosen or not.

use super::check_model;
use super::contest::{other, reported};
use super::describe::Sight;
use super::service::{Service, Spent, each};
use super::sides::Side;
use super::texts::vocabulary;
use crate::models::Loaded;
use crate::show::bar;
use anyhow::{Result, bail};
use clap::ValueEnum;
use pellucid::core::{Chat, Seed, Split};
use pellucid::describe::Evidence;
use pellucid::describe::llm::{By, Judged, ScoreError, ScorerSettings, judge};
use pellucid::store::atlas::{Atlas, DescriptionId, Score, ScoreKind, Written};
use serde::Serialize;
use std::path::Path;

/// Questions' owners in a row that get no answer before the rest is left.
const IN_A_ROW: usize = 3;

/// How to judge, on the command line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum ByName {
    /// How strong is the unit at each token? Signed correlation.
    Simulate,
    /// Which texts fit? Balanced accuracy.
    Detect,
    /// Which marked tokens fit? Balanced accuracy.
    Fuzz,
}

impl ByName {
    fn by(self) -> By {
        match self {
            ByName::Simulate => By::Simulation,
            ByName::Detect => By::Detection,
            ByName::Fuzz => By::Fuzzing,
        }
    }

    fn kind(self) -> ScoreKind {
        match self {
            ByName::Simulate => ScoreKind::Simulation,
            ByName::Detect => ScoreKind::Detection,
            ByName::Fuzz => ScoreKind::Fuzzing,
        }
    }
}

/// What was judged, on the wire.
#[derive(Debug, Default, Serialize)]
pub(crate) struct ScoredReport {
    /// Scores stored in this call.
    pub(crate) scores: u64,
    /// Scores that stood there already.
    pub(crate) found: u64,
    /// Sides without a description.
    pub(crate) undescribed: u64,
    /// Judgements for which there were too few examples or no usable answer; no score is stored.
    pub(crate) unjudged: u64,
    /// Why the last of them was none.
    pub(crate) why_unjudged: Option<String>,
    /// Judgements about which the model could not be asked; the next call asks again.
    pub(crate) failed: u64,
    pub(crate) failure: Option<String>,
    /// Of the scores stored in this call, by kind.
    pub(crate) by: Vec<Kind>,
    pub(crate) seconds: f64,
    pub(crate) spent: Option<Spent>,
}

/// How the scores of a kind lie.
#[derive(Debug, Serialize)]
pub(crate) struct Kind {
    pub(crate) kind: String,
    pub(crate) scores: usize,
    pub(crate) median: f64,
    pub(crate) null_median: Option<f64>,
    /// Share of scores above their null, of those that have one.
    pub(crate) above_null: Option<f64>,
}

/// A description to judge in one way.
struct Task<'a> {
    id: DescriptionId,
    by: ByName,
    text: String,
    other: Option<String>,
    evidence: &'a Evidence,
}

/// Whose words are judged, and how.
pub(crate) struct Judging<'a> {
    pub(crate) sides: &'a [Side],
    pub(crate) by: &'a [ByName],
    /// An explainer by name; without one, the chosen words, whoever wrote them.
    pub(crate) of: Option<&'a str>,
    pub(crate) seed: u64,
}

/// A side's description and what is left to judge of it.
struct Subject {
    id: DescriptionId,
    text: String,
    other: Option<String>,
    evidence: Evidence,
    left: Vec<ByName>,
}

pub(crate) fn score_all(
    loaded: &Loaded,
    service: &Service,
    path: &Path,
    asked: &Judging<'_>,
) -> Result<ScoredReport> {
    let begun = std::time::Instant::now();
    let &Judging { sides, by, seed, .. } = asked;
    let mut atlas = Atlas::open_write(path)?;
    check_model(&atlas, loaded)?;
    let meter = service.meter();
    let judging = service.judging(Seed(seed));
    let texts = vocabulary(loaded)?;
    let (mut done, mut stored, mut in_a_row) = (ScoredReport::default(), Vec::new(), 0);
    let shown = bar("scoring: sides", sides.len());
    for few in sides.chunks(2 * service.concurrency()) {
        let mut subjects = Vec::new();
        for &side in few {
            let sight = Sight { site: side.site, texts: &texts, outputs: &[] };
            subjects.extend(left(&atlas, sight, side, asked, service.name(), &mut done)?);
        }
        let tasks: Vec<Task<'_>> = subjects.iter().flat_map(tasks).collect();
        let outcomes = each(&tasks, service.concurrency(), |task| ask(&meter, task, &judging));
        let mut rows: Vec<(DescriptionId, Score)> = Vec::new();
        for (task, outcome) in tasks.iter().zip(outcomes) {
            match outcome {
                Ok(judged) => {
                    in_a_row = 0;
                    rows.push((task.id, reported(&judged, service.name(), seed)));
                }
                Err(error @ (ScoreError::TooFew { .. } | ScoreError::NoAnswer { .. })) => {
                    done.unjudged += 1;
                    done.why_unjudged = Some(error.to_string());
                }
                Err(ScoreError::Service(error)) => {
                    in_a_row += 1;
                    done.failed += 1;
                    done.failure = Some(error.to_string());
                }
                Err(error) => bail!(error),
            }
        }
        atlas.add_scores(&rows)?;
        stored.extend(rows);
        shown.inc(few.len() as u64);
        if in_a_row >= IN_A_ROW || meter.stopped().is_some() {
            break;
        }
    }
    shown.finish_and_clear();
    done.scores = stored.len() as u64;
    done.by = by.iter().filter_map(|by| kind(*by, &stored)).collect();
    done.seconds = begun.elapsed().as_secs_f64();
    done.spent = Some(service.spent(meter.cost()));
    Ok(done)
}

/// What is left to judge of a side; none where there is nothing.
fn left(
    atlas: &Atlas,
    sight: Sight<'_>,
    side: Side,
    asked: &Judging<'_>,
    scorer: &str,
    done: &mut ScoredReport,
) -> Result<Option<Subject>> {
    let Some((id, text, scores)) = words(atlas, side, asked.of, scorer)? else {
        done.undescribed += 1;
        return Ok(None);
    };
    let there = |by: &ByName| {
        let same = |s: &Score| s.kind == by.kind() && s.scorer == scorer && s.seed == Some(asked.seed);
        scores.iter().any(|s| same(s) && s.split == Some(Split::Test))
    };
    let left: Vec<ByName> = asked.by.iter().copied().filter(|by| !there(by)).collect();
    done.found += (asked.by.len() - left.len()) as u64;
    if left.is_empty() {
        return Ok(None);
    }
    let other = other(atlas, &atlas.sites()?, side, asked.seed)?;
    let sides = sight.sides(atlas, side.index)?.into_iter();
    let evidence = sides.filter(|(polarity, _)| *polarity == side.polarity).map(|(_, e)| e).next();
    Ok(evidence.map(|evidence| Subject { id, text, other, evidence, left }))
}

/// A description, its text and its scores.
type Words = (DescriptionId, String, Vec<Score>);

/// The words to judge: a side's chosen ones, or an explainer's best on validation (of the language
/// model that is asked now, where a language model wrote them).
fn words(atlas: &Atlas, side: Side, of: Option<&str>, model: &str) -> Result<Option<Words>> {
    let mut best: Option<(f64, Words)> = None;
    for (id, d) in atlas.descriptions(side.site, side.index, side.polarity)? {
        let by = &d.explainer;
        let wanted = match of {
            None => d.chosen,
            Some(name) => by.name == name && (by.model.is_empty() || by.model == model),
        };
        let Written::Text { text, .. } = d.written else { continue };
        if !wanted {
            continue;
        }
        let scores = atlas.scores(id)?;
        let simulated = |s: &&Score| s.kind == ScoreKind::Simulation && s.split == Some(Split::Validation);
        let value = scores.iter().find(simulated).map_or(f64::NEG_INFINITY, |s| s.value);
        if best.as_ref().is_none_or(|(before, _)| value > *before) {
            best = Some((value, (id, text, scores)));
        }
    }
    Ok(best.map(|(_, words)| words))
}

fn tasks(subject: &Subject) -> impl Iterator<Item = Task<'_>> {
    let Subject { id, text, other, evidence, left } = subject;
    left.iter().map(|&by| Task { id: *id, by, text: text.clone(), other: other.clone(), evidence })
}

fn ask(chat: &dyn Chat, task: &Task<'_>, how: &ScorerSettings) -> Result<Judged, ScoreError> {
    judge(chat, task.by.by(), &task.text, task.other.as_deref(), task.evidence, how)
}

fn kind(by: ByName, stored: &[(DescriptionId, Score)]) -> Option<Kind> {
    let ours: Vec<&Score> = stored.iter().map(|(_, s)| s).filter(|s| s.kind == by.kind()).collect();
    summary(by.kind().name(), &ours)
}

/// How scores of one kind lie; none of none.
pub(crate) fn summary(kind: &str, scores: &[&Score]) -> Option<Kind> {
    let nulls: Vec<(f64, f64)> = scores.iter().filter_map(|s| Some((s.value, s.null?))).collect();
    let above = nulls.iter().filter(|(value, null)| value > null).count();
    Some(Kind {
        kind: kind.to_owned(),
        scores: scores.len(),
        median: median(scores.iter().map(|s| s.value).collect())?,
        null_median: median(nulls.iter().map(|n| n.1).collect()),
        above_null: (!nulls.is_empty()).then(|| above as f64 / nulls.len() as f64),
    })
}

/// The middle value, the lower of two; none of none.
pub(crate) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_counts_scores_above_their_own_null() {
        let score = |value, null| Score { null, ..Score::plain(ScoreKind::Detection, value) };
        let all = [score(0.9, Some(0.5)), score(0.5, Some(0.6)), score(0.7, None)];
        let kind = summary("detection", &all.iter().collect::<Vec<_>>());
        assert!(kind.is_some_and(|k| {
            (k.scores, k.median, k.null_median, k.above_null) == (3, 0.7, Some(0.5), Some(0.5))
        }));
        assert!(summary("detection", &[]).is_none());
    }
}
