//! A language model's judgement of a description as one number with all that makes it believable: on examples that the
//! explainer never saw, with a 95% interval, and held against another unit's description on the same examples.

use super::classify::{Classified, ClassifySettings, detect, fuzz};
use super::held_out::{HeldOut, ScoreError};
use super::prompt::Prompt;
use super::simulate::{Pace, SimulateSettings, Simulation, simulate};
use crate::measure::{
    Bootstrap, Judgement, Score, Weighting, balanced_accuracy, score_predictions, windows_hash,
};
use crate::{Evidence, Example};
use pellucid_core::{Chat, Seed, Split};
use std::collections::BTreeSet;

/// How a language model judges.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum By {
    /// It says at each token how strong the unit is: signed Pearson.
    Simulation,
    /// It says which texts fit: balanced accuracy.
    Detection,
    /// It says which marks are right: balanced accuracy.
    Fuzzing,
}

/// What decides a judgement.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ScorerSettings {
    /// How many tokens a simulation asks about at once.
    pub pace: Pace,
    /// Most active and most other examples of a simulation, each.
    pub simulated: usize,
    /// The same of detection and fuzzing.
    pub classified: usize,
    /// An example is active if its peak is at least so many times [`Evidence::scale`].
    pub active: f32,
    /// A random example is inactive, and a token quiet, below so many times [`Evidence::scale`].
    pub inactive: f32,
    /// Alternatives to ask for at each answered token.
    pub top_log_probs: usize,
    /// Largest share of an example's tokens that may lack an answer.
    pub most_missing: f64,
    /// Questions at a time.
    pub concurrency: usize,
    /// Resamples of the interval.
    pub resamples: usize,
    /// Decides draws.
    pub seed: Seed,
}

impl ScorerSettings {
    /// For a model that follows instructions: five active and five random examples, one question each.
    pub fn large(seed: Seed) -> Self {
        Self {
            pace: Pace::Example,
            simulated: 5,
            classified: 5,
            active: 0.5,
            inactive: 0.25,
            top_log_probs: 20,
            most_missing: 0.2,
            concurrency: 1,
            resamples: 200,
            seed,
        }
    }

    /// For a chat model of some hundred million parameters: one token a question, two and two examples of a simulation.
    pub fn small(seed: Seed) -> Self {
        Self { pace: Pace::Token, simulated: 2, most_missing: 0.5, ..Self::large(seed) }
    }

    fn held_out(&self, split: Split, each: usize) -> HeldOut {
        HeldOut { split, each, active: self.active, inactive: self.inactive, seed: self.seed }
    }

    fn bootstrap(&self) -> Bootstrap {
        Bootstrap { seed: self.seed, resamples: self.resamples }
    }

    pub(super) fn simulation(&self, split: Split) -> SimulateSettings {
        SimulateSettings {
            pace: self.pace,
            held_out: self.held_out(split, self.simulated),
            top_log_probs: self.top_log_probs,
            most_missing: self.most_missing,
            concurrency: self.concurrency,
        }
    }

    fn classification(&self, prompt: Prompt) -> ClassifySettings {
        ClassifySettings {
            prompt,
            held_out: self.held_out(Split::Test, self.classified),
            top_log_probs: self.top_log_probs,
            max_tokens: 3,
            concurrency: self.concurrency,
        }
    }
}

/// A judgement.
#[derive(Clone, Debug, PartialEq)]
pub struct Judged {
    /// How it was judged.
    pub by: By,
    /// Signed Pearson, or balanced accuracy.
    pub value: f64,
    /// Its 95% interval.
    pub interval: (f64, f64),
    /// The same of the other description on the same examples, where there was one and it could be judged.
    pub null: Option<f64>,
    /// Tokens of a simulation, or questions.
    pub n: usize,
    /// A hash of the windows that were asked about.
    pub windows: [u8; 32],
    /// Questions or examples without a usable answer.
    pub failed: usize,
}

/// Judges a description on test examples, and `other`, a description of another unit, on the same.
///
/// # Errors
/// If splits share a document, the test split lacks examples of either kind, no answer could be used
/// ([`ScoreError::NoAnswer`]), or the model cannot be asked.
pub fn judge(
    chat: &dyn Chat,
    by: By,
    description: &str,
    other: Option<&str>,
    evidence: &Evidence,
    settings: &ScorerSettings,
) -> Result<Judged, ScoreError> {
    let mut judged = one(chat, by, description, evidence, settings)?;
    judged.null = match other.map(|other| one(chat, by, other, evidence, settings)) {
        Some(Ok(null)) => Some(null.value),
        // that nothing is known of the null does not take away what is known of the description
        None | Some(Err(ScoreError::NoAnswer { .. })) => None,
        Some(Err(error)) => return Err(error),
    };
    Ok(judged)
}

fn one(
    chat: &dyn Chat,
    by: By,
    description: &str,
    evidence: &Evidence,
    settings: &ScorerSettings,
) -> Result<Judged, ScoreError> {
    match by {
        By::Simulation => {
            let simulation = simulate(chat, description, evidence, &settings.simulation(Split::Test))?;
            let score = simulation.score(evidence, &settings.bootstrap())?;
            Ok(Judged {
                by,
                value: score.pearson.r,
                interval: (score.low, score.high),
                null: None,
                n: score.tokens,
                windows: windows_hash(simulation.cut(evidence).split(Split::Test)),
                failed: simulation.failed.len(),
            })
        }
        By::Detection => {
            let settings_of = settings.classification(Prompt::DETECT);
            accuracy(by, &detect(chat, description, evidence, &settings_of)?, evidence, settings)
        }
        By::Fuzzing => {
            let settings_of = settings.classification(Prompt::FUZZ);
            accuracy(by, &fuzz(chat, description, evidence, &settings_of)?, evidence, settings)
        }
    }
}

fn accuracy(
    by: By,
    classified: &Classified,
    evidence: &Evidence,
    settings: &ScorerSettings,
) -> Result<Judged, ScoreError> {
    let judgement =
        |v: &super::Verdict| Judgement { example: v.example, truth: v.truth, answer: v.yes > 0.5 };
    let judgements: Vec<Judgement> = classified.verdicts.iter().map(judgement).collect();
    let balanced = balanced_accuracy(&judgements, &settings.bootstrap());
    if balanced.one_sided {
        return Err(no_answer(classified.failed.first().map(|f| f.1.as_str())));
    }
    let asked: BTreeSet<usize> = judgements.iter().map(|j| j.example).collect();
    let examples = evidence.split(classified.split);
    Ok(Judged {
        by,
        value: balanced.value,
        interval: (balanced.low, balanced.high),
        null: None,
        n: judgements.len(),
        windows: windows_hash(asked.into_iter().filter_map(|i| examples.get(i))),
        failed: classified.failed.len(),
    })
}

fn no_answer(last: Option<&str>) -> ScoreError {
    ScoreError::NoAnswer { why: last.unwrap_or("no question was asked").to_owned() }
}

impl Simulation {
    /// The evidence cut to the simulated examples; tokens without an answer do not count there.
    pub fn cut(&self, evidence: &Evidence) -> Evidence {
        let examples = evidence.split(self.split);
        let one = |simulated: &super::Simulated| -> Option<Example> {
            let mut example = examples.get(simulated.example)?.clone();
            for (counted, strength) in example.counted.iter_mut().zip(&simulated.strengths) {
                *counted &= strength.is_some();
            }
            Some(example)
        };
        let cut: Vec<Example> = self.simulated.iter().filter_map(one).collect();
        let mut evidence = evidence.clone();
        match self.split {
            Split::Train => evidence.train = cut,
            Split::Validation => evidence.validation = cut,
            Split::Test => evidence.test = cut,
        }
        evidence
    }

    /// What was simulated at each token of [`Simulation::cut`]; 0 where that does not count.
    pub fn rows(&self) -> Vec<Vec<f32>> {
        let row = |s: &super::Simulated| s.strengths.iter().map(|s| s.unwrap_or(0.0)).collect();
        self.simulated.iter().map(row).collect()
    }

    /// Signed Pearson over all simulated tokens laid end to end, with its interval over documents.
    ///
    /// # Errors
    /// If splits share a document, or nothing was simulated ([`ScoreError::NoAnswer`]).
    pub fn score(&self, evidence: &Evidence, bootstrap: &Bootstrap) -> Result<Score, ScoreError> {
        if self.simulated.is_empty() {
            return Err(no_answer(self.failed.first().map(|f| f.1.as_str())));
        }
        let cut = self.cut(evidence);
        Ok(score_predictions(&cut, self.split, &self.rows(), Weighting::Even, bootstrap)?)
    }
}
