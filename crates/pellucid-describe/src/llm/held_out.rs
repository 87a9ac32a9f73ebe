//! What scorers share: held-out examples, drawn so that as many active as inactive ones are asked about, and the
//! answers to a list of questions.

use super::failure::ServiceFailure;
use super::pool::ask_all;
use super::prompt::PromptError;
use crate::measure::MeasureError;
use crate::{Evidence, Example, Leak};
use pellucid_core::{Answer, Ask, Chat, Seed, ServiceError, Split};
use pellucid_store::Kind;
use thiserror::Error;

/// Why a description could not be scored.
#[derive(Debug, Error)]
pub enum ScoreError {
    /// A document in two splits.
    #[error(transparent)]
    Leak(#[from] Leak),
    /// A prompt that cannot be filled.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// The explainer has seen the training split.
    #[error("expected the validation or the test split, found train: the explainer has seen it")]
    Train,
    /// Nothing to tell apart.
    #[error("expected held-out examples with and without activity, found {active} and {inactive} ({split})")]
    TooFew {
        /// Active ones.
        active: usize,
        /// Inactive ones.
        inactive: usize,
        /// Where.
        split: Split,
    },
    /// A measurement that would mean nothing.
    #[error(transparent)]
    Measure(#[from] MeasureError),
    /// The model answered, but nothing that could be used.
    #[error("no answer of the scorer could be used; the first: {why}")]
    NoAnswer {
        /// What was wrong with the first answer.
        why: String,
    },
    /// The model could not be asked.
    #[error("the scorer could not be asked: {0}")]
    Service(#[source] ServiceError),
}

/// Which held-out examples are asked about.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HeldOut {
    /// Validation or test.
    pub split: Split,
    /// Most active and most random examples, each.
    pub each: usize,
    /// An example counts as active if its peak is at least so many times [`Evidence::scale`].
    pub active: f32,
    /// A random example counts as inactive if its peak is below so many times [`Evidence::scale`].
    pub inactive: f32,
    /// Decides the draw.
    pub seed: Seed,
}

impl HeldOut {
    /// The split's examples, after the proof that the explainer saw none of their documents.
    pub(super) fn examples<'a>(&self, evidence: &'a Evidence) -> Result<&'a [Example], ScoreError> {
        evidence.disjoint()?;
        match self.split {
            Split::Train => Err(ScoreError::Train),
            Split::Validation => Ok(&evidence.validation),
            Split::Test => Ok(&evidence.test),
        }
    }

    /// Places of active examples (top and band ones), at most [`HeldOut::each`].
    pub(super) fn draw_active(&self, evidence: &Evidence, examples: &[Example]) -> Vec<usize> {
        let threshold = self.active * evidence.scale;
        self.draw("active", examples, |e| {
            e.kind != Kind::Random && e.peak().is_some_and(|(_, p)| p >= threshold)
        })
    }

    /// Places of random examples in which the unit is quiet, at most [`HeldOut::each`].
    pub(super) fn draw_inactive(&self, evidence: &Evidence, examples: &[Example]) -> Vec<usize> {
        let threshold = self.inactive * evidence.scale;
        self.draw("inactive", examples, |e| {
            e.kind == Kind::Random && e.peak().is_none_or(|(_, peak)| peak < threshold)
        })
    }

    /// Places of random examples, whatever the unit does in them.
    pub(super) fn draw_random(&self, examples: &[Example]) -> Vec<usize> {
        self.draw("random", examples, |e| e.kind == Kind::Random)
    }

    fn draw(&self, purpose: &str, examples: &[Example], fits: impl Fn(&Example) -> bool) -> Vec<usize> {
        let pool: Vec<usize> = (0..examples.len()).filter(|&i| fits(&examples[i])).collect();
        let mut seed = self.seed.for_purpose(purpose);
        let mut drawn: Vec<usize> = seed.choose(pool.len(), self.each).into_iter().map(|i| pool[i]).collect();
        drawn.sort_unstable();
        drawn
    }
}

/// The answer to each question, or in words why the model gave none. A failure that is not the question's own
/// ends the scoring: a score over the questions that happened to get through would be another score.
pub(super) fn answers(
    chat: &dyn Chat,
    asks: &[Ask],
    concurrency: usize,
) -> Result<Vec<Result<Answer, String>>, ScoreError> {
    let outcome = |outcome: Result<Answer, ServiceError>| match outcome {
        Ok(answer) => Ok(Ok(answer)),
        Err(error) => match error.downcast_ref::<ServiceFailure>() {
            Some(failure) if failure.is_no_answer() => Ok(Err(failure.to_string())),
            _ => Err(ScoreError::Service(error)),
        },
    };
    ask_all(chat, asks, concurrency, &|_| {}).into_iter().map(outcome).collect()
}
