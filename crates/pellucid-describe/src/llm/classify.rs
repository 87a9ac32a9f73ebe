//! Two yes-or-no scorers (Paulo et al. 2024). *Detection*: does this text fit the description, for held-out texts
//! in which the unit is active and for random ones in which it is not. *Fuzzing*: are the marked tokens the ones,
//! for active texts with the true tokens marked and with as many wrong ones. Outcomes are returned one by one;
//! balanced accuracy, area under the curve and intervals are made of them elsewhere.

use super::held_out::{HeldOut, ScoreError, answers};
use super::prompt::Prompt;
use super::reject::without_thinking;
use super::show::{highlighted, marks, plain};
use crate::{Evidence, Example};
use pellucid_core::{Answer, Ask, Chat, Seed, Split};

/// How the questions are asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ClassifySettings {
    /// The prompt; it has the places `description` and `passage`.
    pub prompt: Prompt,
    /// Which examples.
    pub held_out: HeldOut,
    /// How many alternatives to ask for at each token; with any, verdicts are graded.
    pub top_log_probs: usize,
    /// Longest answer, in tokens.
    pub max_tokens: usize,
    /// Questions at a time.
    pub concurrency: usize,
}

/// What was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Task {
    /// Which texts fit.
    Detection,
    /// Which tokens fit.
    Fuzzing,
}

/// One question's outcome.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verdict {
    /// The example, by its place in the split.
    pub example: usize,
    /// What is right.
    pub truth: bool,
    /// How sure the model is of yes, 0 to 1: P(yes) / (P(yes) + P(no)), or without log-probabilities 0 or 1.
    pub yes: f32,
}

/// A scorer's outcomes.
#[derive(Clone, Debug, PartialEq)]
pub struct Classified {
    /// What was asked.
    pub task: Task,
    /// The model that was asked.
    pub chat: String,
    /// The prompt's version.
    pub prompt: &'static str,
    /// The split that the examples are of.
    pub split: Split,
    /// One for each question that was answered, right answers yes and no mixed, by example.
    pub verdicts: Vec<Verdict>,
    /// Questions without a usable answer: the example and why.
    pub failed: Vec<(usize, String)>,
}

/// Asks of active and of inactive texts, as many of one as of the other, whether they fit.
///
/// # Errors
/// If splits share a document, the split lacks active or inactive examples, or the model cannot be asked.
pub fn detect(
    chat: &dyn Chat,
    description: &str,
    evidence: &Evidence,
    settings: &ClassifySettings,
) -> Result<Classified, ScoreError> {
    let held_out = &settings.held_out;
    let examples = held_out.examples(evidence)?;
    let mut active = held_out.draw_active(evidence, examples);
    let mut inactive = held_out.draw_inactive(evidence, examples);
    enough(&active, &inactive, held_out.split)?;
    let each = active.len().min(inactive.len());
    for (drawn, purpose) in [(&mut active, "fewer active"), (&mut inactive, "fewer inactive")] {
        let kept = held_out.seed.for_purpose(purpose).choose(drawn.len(), each);
        *drawn = kept.into_iter().map(|i| drawn[i]).collect();
    }
    let items = active.into_iter().map(|i| (i, true)).chain(inactive.into_iter().map(|i| (i, false)));
    let items = items.map(|(example, truth)| (example, truth, plain(&examples[example]))).collect();
    judge(chat, Task::Detection, description, items, settings)
}

/// Asks of active texts, once with the true tokens marked and once with as many wrong ones, whether they fit.
///
/// # Errors
/// If splits share a document, the split lacks active examples with quiet tokens, or the model cannot be asked.
pub fn fuzz(
    chat: &dyn Chat,
    description: &str,
    evidence: &Evidence,
    settings: &ClassifySettings,
) -> Result<Classified, ScoreError> {
    let held_out = &settings.held_out;
    let examples = held_out.examples(evidence)?;
    let active = held_out.draw_active(evidence, examples);
    let mut items = Vec::new();
    for i in active {
        let example = &examples[i];
        let truth = marks(example, held_out.active * evidence.scale);
        let quiet = held_out.inactive * evidence.scale;
        let Some(wrong) =
            wrong_marks(example, &truth, quiet, held_out.seed.for_purpose(&format!("wrong {i}")))
        else {
            continue;
        };
        items.push((i, true, highlighted(example, &truth, 0, usize::MAX)));
        items.push((i, false, highlighted(example, &wrong, 0, usize::MAX)));
    }
    if items.is_empty() {
        return Err(ScoreError::TooFew { active: 0, inactive: 0, split: held_out.split });
    }
    judge(chat, Task::Fuzzing, description, items, settings)
}

/// As many marks as in `truth`, on counted tokens with a letter or digit where the unit is quiet; none if there
/// are not so many. Tokens without either are left out because their marks could be told by their look.
fn wrong_marks(example: &Example, truth: &[bool], quiet: f32, mut seed: Seed) -> Option<Vec<bool>> {
    let number = truth.iter().filter(|&&mark| mark).count();
    let fits = |&i: &usize| {
        let readable = example.texts[i].chars().any(char::is_alphanumeric);
        !truth[i] && example.counted[i] && example.activations[i] < quiet && readable
    };
    let pool: Vec<usize> = (0..truth.len()).filter(fits).collect();
    if pool.len() < number {
        return None;
    }
    let mut wrong = vec![false; truth.len()];
    seed.choose(pool.len(), number).into_iter().for_each(|i| wrong[pool[i]] = true);
    Some(wrong)
}

fn enough(active: &[usize], inactive: &[usize], split: Split) -> Result<(), ScoreError> {
    if active.is_empty() || inactive.is_empty() {
        return Err(ScoreError::TooFew { active: active.len(), inactive: inactive.len(), split });
    }
    Ok(())
}

fn judge(
    chat: &dyn Chat,
    task: Task,
    description: &str,
    mut items: Vec<(usize, bool, String)>,
    settings: &ClassifySettings,
) -> Result<Classified, ScoreError> {
    items.sort();
    let ask = |(_, _, passage): &(usize, bool, String)| {
        Ok(Ask {
            messages: settings.prompt.fill(&[("description", description), ("passage", passage)])?,
            prefill: String::new(),
            max_tokens: settings.max_tokens,
            temperature: 0.0,
            seed: settings.held_out.seed.0,
            top_log_probs: settings.top_log_probs,
        })
    };
    let asks = items.iter().map(ask).collect::<Result<Vec<Ask>, ScoreError>>()?;
    let (mut verdicts, mut failed) = (Vec::new(), Vec::new());
    for ((example, truth, _), answer) in items.into_iter().zip(answers(chat, &asks, settings.concurrency)?) {
        match answer.and_then(|answer| certainty(&answer)) {
            Ok(yes) => verdicts.push(Verdict { example, truth, yes }),
            Err(why) => failed.push((example, why)),
        }
    }
    let (chat, prompt, split) = (chat.name().to_owned(), settings.prompt.name, settings.held_out.split);
    Ok(Classified { task, chat, prompt, split, verdicts, failed })
}

/// How sure an answer is of yes. The first answered token with a yes or a no among its alternatives decides; the
/// spellings of each word are added up. Without alternatives the first word of the text decides.
fn certainty(answer: &Answer) -> Result<f32, String> {
    for alternatives in &answer.top_log_probs {
        let sum = |wanted: &str| -> f64 {
            let of = |(token, p): &(String, f32)| (word(token) == wanted).then(|| f64::from(*p).exp());
            alternatives.iter().filter_map(of).sum()
        };
        let (yes, no) = (sum("yes"), sum("no"));
        if yes + no > 0.01 {
            return Ok((yes / (yes + no)) as f32);
        }
    }
    let text = without_thinking(&answer.text);
    match word(text.split(|c: char| c.is_whitespace() || c == ',' || c == '.').next().unwrap_or_default())
        .as_str()
    {
        "yes" => Ok(1.0),
        "no" => Ok(0.0),
        _ => Err(format!("expected yes or no, found `{}`", text.chars().take(60).collect::<String>())),
    }
}

fn word(token: &str) -> String {
    token.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase()
}
