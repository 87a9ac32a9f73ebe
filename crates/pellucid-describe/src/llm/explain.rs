//! The highlighted-exemplar explainer (Bills et al. 2023; Choi et al. 2024): a language model sees training
//! passages with the active tokens marked and says what they have in common. Several candidates by different draws
//! of passages and temperatures; choosing between them is validation's work, not ours.

use super::failure::ServiceFailure;
use super::prompt::{Prompt, PromptError};
use super::reject::{self, Reject};
use super::show::{Levels, highlighted, marks};
use crate::{Evidence, Example, Leak};
use pellucid_core::{Ask, Chat, Message, Seed, ServiceError};
use pellucid_store::Kind;
use std::ops::RangeInclusive;
use thiserror::Error;

/// How candidates are asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct ExplainSettings {
    /// The prompt; it has the place `examples`.
    pub prompt: Prompt,
    /// The beginning of the answer; it becomes part of the description.
    pub prefill: String,
    /// How many passages a candidate sees, drawn uniformly; cut to what there is.
    pub passages: RangeInclusive<usize>,
    /// Tokens shown before and after a passage's peak.
    pub context: (usize, usize),
    /// Which tokens are marked.
    pub levels: Levels,
    /// One candidate for each temperature.
    pub temperatures: Vec<f32>,
    /// How often a candidate is asked for, with new passages and a new seed each time, until it is usable.
    pub attempts: usize,
    /// Longest description, in characters.
    pub longest: usize,
    /// Longest answer, in tokens.
    pub max_tokens: usize,
    /// Decides draws and sampling.
    pub seed: Seed,
}

impl ExplainSettings {
    /// For a model that follows instructions: four candidates of 10 to 20 passages.
    pub fn large(seed: Seed) -> Self {
        Self {
            prompt: Prompt::EXPLAIN,
            prefill: String::new(),
            passages: 10..=20,
            context: (24, 8),
            levels: Levels { levels: vec![1.0, 0.7, 0.5, 0.3], distinct: 3 },
            temperatures: vec![0.0, 0.5, 0.8, 1.0],
            attempts: 3,
            longest: 300,
            max_tokens: 200,
            seed,
        }
    }

    /// For a chat model of some hundred million parameters: few and short passages, a begun answer.
    pub fn small(seed: Seed) -> Self {
        Self {
            prompt: Prompt::EXPLAIN_SMALL,
            prefill: "words about".to_owned(),
            passages: 4..=6,
            context: (5, 2),
            temperatures: vec![0.0, 0.7, 0.7],
            max_tokens: 16,
            longest: 80,
            ..Self::large(seed)
        }
    }
}

/// A description that nobody has judged yet.
#[derive(Clone, Debug, PartialEq)]
pub struct Candidate {
    /// The words.
    pub text: String,
    /// The model that wrote them.
    pub chat: String,
    /// The prompt's version.
    pub prompt: &'static str,
    /// The sampling's temperature.
    pub temperature: f32,
    /// The seed of the answer.
    pub seed: u64,
    /// Which training examples it saw, by place in [`Evidence::train`].
    pub passages: Vec<usize>,
}

/// An answer that was no description.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejected {
    /// Why.
    pub why: Reject,
    /// The sampling's temperature.
    pub temperature: f32,
    /// The seed of the answer.
    pub seed: u64,
}

/// What an explainer came up with.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// At least one, the first of equal words only.
    pub candidates: Vec<Candidate>,
    /// Answers that were thrown away.
    pub rejected: Vec<Rejected>,
}

/// Why there is no description.
#[derive(Debug, Error)]
pub enum ExplainError {
    /// A document in two splits.
    #[error(transparent)]
    Leak(#[from] Leak),
    /// A prompt that cannot be filled.
    #[error(transparent)]
    Prompt(#[from] PromptError),
    /// Nothing to look at.
    #[error("no training example in which the unit is active; there is nothing to explain")]
    NoExamples,
    /// Every answer was thrown away.
    #[error("none of {} answers was a description; the last: {}", .0.len(), .0.last().map_or_else(String::new, |r| r.why.to_string()))]
    NoneUsable(Vec<Rejected>),
    /// The model could not be asked.
    #[error("the explainer could not be asked: {0}")]
    Service(#[source] ServiceError),
}

/// Candidates for a unit, from its training examples alone.
///
/// # Errors
/// If splits share a document, no training example is active, the model cannot be asked, or no answer is usable.
pub fn explain(
    chat: &dyn Chat,
    evidence: &Evidence,
    settings: &ExplainSettings,
) -> Result<Explained, ExplainError> {
    evidence.disjoint()?;
    let pool = active(evidence);
    if pool.is_empty() {
        return Err(ExplainError::NoExamples);
    }
    let (mut candidates, mut rejected): (Vec<Candidate>, Vec<Rejected>) = (Vec::new(), Vec::new());
    for (number, &temperature) in settings.temperatures.iter().enumerate() {
        for attempt in 0..settings.attempts.max(1) {
            let seed = settings.seed.for_purpose(&format!("{}/{number}/{attempt}", evidence.unit));
            let outcome = one(chat, evidence, settings, &pool, temperature, seed)?;
            match outcome {
                Ok(candidate) => {
                    if candidates.iter().all(|c| c.text != candidate.text) {
                        candidates.push(candidate);
                    }
                    break;
                }
                Err(why) => rejected.push(Rejected { why, temperature, seed: seed.0 }),
            }
        }
    }
    if candidates.is_empty() {
        return Err(ExplainError::NoneUsable(rejected));
    }
    Ok(Explained { candidates, rejected })
}

/// One answer: a candidate, or why not.
fn one(
    chat: &dyn Chat,
    evidence: &Evidence,
    settings: &ExplainSettings,
    pool: &[usize],
    temperature: f32,
    seed: Seed,
) -> Result<Result<Candidate, Reject>, ExplainError> {
    let passages = draw(pool, settings, seed.for_purpose("passages"));
    let messages = settings.prompt.fill(&[("examples", &shown(evidence, settings, &passages))])?;
    let question: Vec<&str> = messages.iter().map(|m: &Message| m.content.as_str()).collect();
    let question = question.join("\n");
    let ask = Ask {
        messages,
        prefill: settings.prefill.clone(),
        max_tokens: settings.max_tokens,
        temperature,
        seed: seed.0,
        top_log_probs: 0,
    };
    let answer = match chat.answer(&ask) {
        Ok(answer) => answer,
        Err(error) => match error.downcast_ref::<ServiceFailure>() {
            Some(failure) if failure.is_no_answer() => return Ok(Err(Reject::NoAnswer(failure.to_string()))),
            _ => return Err(ExplainError::Service(error)),
        },
    };
    let marked = settings.prompt.text.contains("[DESCRIPTION]:");
    let begun = !settings.prefill.is_empty();
    // The beginning is ours, so by itself it says nothing.
    if answer.text.chars().filter(|c| c.is_alphanumeric()).count() < 2 {
        return Ok(Err(Reject::Empty));
    }
    let text = if begun { format!("{} {}", settings.prefill, answer.text.trim()) } else { answer.text };
    Ok(reject::phrase(&text, &question, marked, settings.longest).map(|text| Candidate {
        text,
        chat: chat.name().to_owned(),
        prompt: settings.prompt.name,
        temperature,
        seed: seed.0,
        passages,
    }))
}

/// Training examples worth showing: top ones, and bands in which the unit is at least half as strong as usual.
fn active(evidence: &Evidence) -> Vec<usize> {
    let strong = |example: &Example| match (example.kind, example.peak()) {
        (Kind::Top, Some(_)) => true,
        (Kind::Band(_), Some((_, peak))) => peak >= 0.5 * evidence.scale,
        _ => false,
    };
    (0..evidence.train.len()).filter(|&i| strong(&evidence.train[i])).collect()
}

fn draw(pool: &[usize], settings: &ExplainSettings, mut seed: Seed) -> Vec<usize> {
    let (least, most) = (*settings.passages.start(), *settings.passages.end());
    let number = least.max(1) + seed.below(most.saturating_sub(least) + 1);
    seed.choose(pool.len(), number).into_iter().map(|i| pool[i]).collect()
}

fn shown(evidence: &Evidence, settings: &ExplainSettings, passages: &[usize]) -> String {
    let examples: Vec<&Example> = passages.iter().map(|&i| &evidence.train[i]).collect();
    let threshold = settings.levels.choose(evidence, &examples);
    let (before, after) = settings.context;
    let passage = |example: &Example| {
        let peak = example.peak().map_or(0, |(i, _)| i);
        highlighted(example, &marks(example, threshold), peak.saturating_sub(before), peak + after + 1)
    };
    let lines: Vec<String> = if settings.prompt == Prompt::EXPLAIN_SMALL {
        examples.into_iter().map(passage).collect()
    } else {
        let number = |(i, e): (usize, &Example)| format!("Passage {}: {}", i + 1, passage(e));
        examples.into_iter().enumerate().map(number).collect()
    };
    lines.join("\n")
}
