//! Whose words stand: a language model's candidates against each other and against the description that was found
//! without one. All are simulated on the same validation examples, each by what it comes with: words by the language
//! model, patterns by themselves. The signed r decides. So a model that cannot tell when its words hold cannot push out
//! a description that is good by itself.

use super::explain::{Candidate, ExplainError, ExplainSettings, Rejected, explain};
use super::held_out::ScoreError;
use super::report::ScorerSettings;
use super::simulate::simulate;
use crate::measure::{Bootstrap, Score, Weighting, score, shifted_null, windows_hash};
use crate::{Evidence, Simulate};
use pellucid_core::{Chat, Split};
use thiserror::Error;

/// What decides a contest.
#[derive(Clone, Debug, PartialEq)]
pub struct ContestSettings {
    /// How candidates are asked for.
    pub explain: ExplainSettings,
    /// How they are simulated.
    pub scorer: ScorerSettings,
    /// The least signed r on validation, as for descriptions without a language model.
    pub least: f64,
    /// Draws of the null that a candidate must beat on validation.
    pub null_draws: usize,
}

impl ContestSettings {
    /// With the bar of [`crate::Settings`].
    pub fn new(explain: ExplainSettings, scorer: ScorerSettings) -> Self {
        let crate::Settings { least, null_draws, .. } = crate::Settings::default();
        Self { explain, scorer, least, null_draws }
    }
}

/// A candidate and how it did on validation.
#[derive(Clone, Debug, PartialEq)]
pub struct Entrant {
    /// The words.
    pub candidate: Candidate,
    /// Its score on validation; none where the model's answers could not be used.
    pub validation: Option<Score>,
    /// What chance gives to such a simulation there.
    pub bar: f64,
    /// A hash of the windows it was measured on.
    pub windows: [u8; 32],
}

impl Entrant {
    fn passes(&self) -> Option<f64> {
        self.validation.as_ref().map(|v| v.pearson.r).filter(|r| *r > self.bar)
    }
}

/// Whose words stand.
#[derive(Clone, Debug, PartialEq)]
pub enum Winner {
    /// The candidate at this place.
    Candidate(usize),
    /// The description that was there before.
    Rival,
    /// Nobody's, and why.
    Nobody(String),
}

/// What came of a contest.
#[derive(Clone, Debug, PartialEq)]
pub struct Contest {
    /// The candidates in the order in which they were made.
    pub entrants: Vec<Entrant>,
    /// Answers that were no description.
    pub rejected: Vec<Rejected>,
    /// The earlier description's score, on the examples of the best candidate.
    pub rival: Option<Score>,
    /// Whose words stand.
    pub winner: Winner,
}

/// Why there was no contest.
#[derive(Debug, Error)]
pub enum ContestError {
    /// No candidate could be made.
    #[error(transparent)]
    Explain(#[from] ExplainError),
    /// Candidates could not be judged.
    #[error(transparent)]
    Score(#[from] ScoreError),
}

/// Lets a language model describe a unit, and chooses on validation between its candidates and `rival`, what predicts
/// the earlier description.
///
/// # Errors
/// If the model cannot be asked or gives no description, or splits share a document.
pub fn contest(
    chat: &dyn Chat,
    evidence: &Evidence,
    rival: Option<&dyn Simulate>,
    settings: &ContestSettings,
) -> Result<Contest, ContestError> {
    let explained = explain(chat, evidence, &settings.explain)?;
    let mut entrants = Vec::new();
    let mut against = None;
    for candidate in explained.candidates {
        let (entrant, rival_here) = enter(chat, candidate, evidence, rival, settings)?;
        let best = entrants.iter().filter_map(Entrant::passes).fold(f64::NEG_INFINITY, f64::max);
        if against.is_none() || entrant.passes().is_some_and(|r| r > best) {
            against = rival_here.or(against);
        }
        entrants.push(entrant);
    }
    let winner = winner(&entrants, against.as_ref(), rival.is_some());
    Ok(Contest { entrants, rejected: explained.rejected, rival: against, winner })
}

/// A candidate's score on validation, and the rival's on the same examples.
fn enter(
    chat: &dyn Chat,
    candidate: Candidate,
    evidence: &Evidence,
    rival: Option<&dyn Simulate>,
    settings: &ContestSettings,
) -> Result<(Entrant, Option<Score>), ScoreError> {
    let bootstrap = Bootstrap { seed: settings.scorer.seed, resamples: settings.scorer.resamples };
    let how = settings.scorer.simulation(Split::Validation);
    let unjudged = |candidate| Entrant { candidate, validation: None, bar: settings.least, windows: [0; 32] };
    let simulation = match simulate(chat, &candidate.text, evidence, &how) {
        Ok(simulation) => simulation,
        Err(ScoreError::TooFew { .. }) => return Ok((unjudged(candidate), None)),
        Err(error) => return Err(error),
    };
    let validation = match simulation.score(evidence, &bootstrap) {
        Ok(score) => score,
        Err(ScoreError::NoAnswer { .. }) => return Ok((unjudged(candidate), None)),
        Err(error) => return Err(error),
    };
    let cut = simulation.cut(evidence);
    let chance = shifted_null(&cut.validation, &simulation.rows(), settings.scorer.seed, settings.null_draws);
    let rival =
        rival.map(|rival| score(&cut, Split::Validation, rival, Weighting::Even, &bootstrap)).transpose()?;
    let (bar, windows) = (settings.least.max(chance), windows_hash(&cut.validation));
    Ok((Entrant { candidate, validation: Some(validation), bar, windows }, rival))
}

fn winner(entrants: &[Entrant], rival: Option<&Score>, has_rival: bool) -> Winner {
    let passing = entrants.iter().enumerate().filter_map(|(i, e)| Some((i, e.passes()?)));
    // of equal ones the first
    let best = passing.max_by(|a, b| a.1.total_cmp(&b.1).then(b.0.cmp(&a.0)));
    match (best, rival) {
        (Some((_, r)), Some(rival)) if r <= rival.pearson.r => Winner::Rival,
        (Some((i, _)), _) => Winner::Candidate(i),
        (None, _) if has_rival => Winner::Rival,
        (None, _) => Winner::Nobody(why_none(entrants)),
    }
}

fn why_none(entrants: &[Entrant]) -> String {
    let judged = entrants.iter().filter_map(|e| Some((e.validation.as_ref()?.pearson.r, e.bar)));
    match judged.max_by(|a, b| a.0.total_cmp(&b.0)) {
        Some((best, bar)) => {
            format!("no candidate beats the null on validation (best {best:.2}, needed {bar:.2})")
        }
        None => "no candidate could be simulated on validation".to_owned(),
    }
}
