//! Simulation (Bills et al. 2023): a language model that knows only the description says at every held-out token
//! how strong the unit is, 0 to 9. With log-probabilities the value is the expectation `Σ v·p(v) / Σ p(v)` over the
//! digits among the reported alternatives, without them the digit itself. The score is the raw Pearson
//! correlation of [`Simulation::series`], signed: nothing is fitted first, because a fit would make a description
//! of the opposite look good.

use super::held_out::{HeldOut, ScoreError, answers};
use super::prompt::Prompt;
use super::show::{harmless, highlighted};
use crate::{Evidence, Example};
use pellucid_core::{Answer, Ask, Chat, Split};

/// How many tokens one question asks about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// All tokens of an example, as numbered lines. For models that follow instructions.
    Example,
    /// One token a question, one token an answer. For small models; as many questions as tokens that count.
    Token,
}

/// How the questions are asked.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SimulateSettings {
    /// How many tokens one question asks about.
    pub pace: Pace,
    /// Which examples: [`HeldOut::each`] active and as many random ones, the latter whatever the unit does there.
    pub held_out: HeldOut,
    /// Alternatives to ask for at each token.
    pub top_log_probs: usize,
    /// Largest share of an example's counted tokens that may lack an answer; beyond it the example has failed.
    pub most_missing: f64,
    /// Questions at a time.
    pub concurrency: usize,
}

/// One example's simulation.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulated {
    /// The example, by its place in the split.
    pub example: usize,
    /// For each token the simulated strength, 0 to 9; none where it does not count or the model said nothing.
    pub strengths: Vec<Option<f32>>,
}

/// All examples' simulations.
#[derive(Clone, Debug, PartialEq)]
pub struct Simulation {
    /// The model that was asked.
    pub chat: String,
    /// The prompt's version.
    pub prompt: &'static str,
    /// The split that the examples are of.
    pub split: Split,
    /// One for each example that was simulated.
    pub simulated: Vec<Simulated>,
    /// Examples without a usable answer, and why.
    pub failed: Vec<(usize, String)>,
}

impl Simulation {
    /// Simulated and true strengths of each simulated example, over the tokens that count and have an answer. One
    /// entry an example, so that a bootstrap can draw whole examples; join them for the score over all tokens.
    pub fn series(&self, evidence: &Evidence) -> Vec<(Vec<f32>, Vec<f32>)> {
        let examples = match self.split {
            Split::Train => &evidence.train,
            Split::Validation => &evidence.validation,
            Split::Test => &evidence.test,
        };
        let pairs = |simulated: &Simulated| {
            let example = examples.get(simulated.example)?;
            let both = simulated.strengths.iter().zip(&example.activations);
            Some(both.filter_map(|(s, &a)| s.map(|s| (s, a))).unzip())
        };
        self.simulated.iter().filter_map(pairs).collect()
    }
}

/// Simulates a description on held-out examples.
///
/// # Errors
/// If splits share a document, the split lacks active or random examples, or the model cannot be asked.
pub fn simulate(
    chat: &dyn Chat,
    description: &str,
    evidence: &Evidence,
    settings: &SimulateSettings,
) -> Result<Simulation, ScoreError> {
    let held_out = &settings.held_out;
    let examples = held_out.examples(evidence)?;
    let mut drawn = held_out.draw_active(evidence, examples);
    let random = held_out.draw_random(examples);
    if drawn.is_empty() || random.is_empty() {
        let (active, inactive, split) = (drawn.len(), random.len(), held_out.split);
        return Err(ScoreError::TooFew { active, inactive, split });
    }
    drawn.extend(random);
    drawn.sort_unstable();
    let prompt = match settings.pace {
        Pace::Example => Prompt::SIMULATE,
        Pace::Token => Prompt::SIMULATE_TOKEN,
    };
    let (asks, owners) = questions(prompt, description, examples, &drawn, settings)?;
    let answers = answers(chat, &asks, settings.concurrency)?;
    let (mut simulated, mut failed) = (Vec::new(), Vec::new());
    for &example in &drawn {
        let of = owners.iter().zip(&answers).filter(|((owner, _), _)| *owner == example);
        let read = strengths(&examples[example], of.map(|((_, token), answer)| (*token, answer)));
        match read.and_then(|strengths| complete(&examples[example], strengths, settings.most_missing)) {
            Ok(strengths) => simulated.push(Simulated { example, strengths }),
            Err(why) => failed.push((example, why)),
        }
    }
    let split = held_out.split;
    Ok(Simulation { chat: chat.name().to_owned(), prompt: prompt.name, split, simulated, failed })
}

/// Which example a question is about, and which token if it is about one.
type Owner = (usize, Option<usize>);

fn questions(
    prompt: Prompt,
    description: &str,
    examples: &[Example],
    drawn: &[usize],
    settings: &SimulateSettings,
) -> Result<(Vec<Ask>, Vec<Owner>), ScoreError> {
    let (mut asks, mut owners) = (Vec::new(), Vec::new());
    let mut push = |owner: Owner, place, text: &str, max_tokens| -> Result<(), ScoreError> {
        owners.push(owner);
        asks.push(Ask {
            messages: prompt.fill(&[("description", description), (place, text)])?,
            prefill: String::new(),
            max_tokens,
            temperature: 0.0,
            seed: settings.held_out.seed.0,
            top_log_probs: settings.top_log_probs,
        });
        Ok(())
    };
    for &i in drawn {
        let example = &examples[i];
        let length = example.texts.len();
        match settings.pace {
            // A number, a colon, a digit and a line end: at most six tokens a line.
            Pace::Example => push((i, None), "numbered", &numbered(example), 6 * length + 8)?,
            Pace::Token => {
                for token in (0..length).filter(|&t| example.counted[t]) {
                    push((i, Some(token)), "passage", &up_to(example, token), 2)?;
                }
            }
        }
    }
    Ok((asks, owners))
}

/// `1: The` … one token a line. Spaces at the ends are kept, a line end is shown as ↵.
fn numbered(example: &Example) -> String {
    let line = |(i, text): (usize, &std::sync::Arc<str>)| format!("{}: {}", i + 1, harmless(text));
    let lines: Vec<String> = example.texts.iter().enumerate().map(line).collect();
    lines.join("\n")
}

/// The text up to a token, which is marked. What follows is left out, since it cannot matter.
fn up_to(example: &Example, token: usize) -> String {
    let mut marks = vec![false; example.texts.len()];
    marks[token] = true;
    highlighted(example, &marks, 0, token + 1)
}

/// The strengths that an example's answers state.
fn strengths<'a>(
    example: &Example,
    answers: impl Iterator<Item = (Option<usize>, &'a Result<Answer, String>)>,
) -> Result<Vec<Option<f32>>, String> {
    let mut strengths = vec![None; example.texts.len()];
    for (token, answer) in answers {
        let answer = match (answer, token) {
            (Ok(answer), _) => answer,
            (Err(why), None) => return Err(why.clone()),
            (Err(_), Some(_)) => continue, // one token of many; the missing are counted later
        };
        match token {
            Some(token) => strengths[token] = first_digit(answer),
            None => numbered_digits(answer, &mut strengths),
        }
    }
    for (strength, counted) in strengths.iter_mut().zip(&example.counted) {
        *strength = strength.filter(|_| *counted);
    }
    Ok(strengths)
}

fn complete(
    example: &Example,
    strengths: Vec<Option<f32>>,
    most_missing: f64,
) -> Result<Vec<Option<f32>>, String> {
    let counted = example.counted.iter().filter(|&&c| c).count();
    let found = strengths.iter().filter(|s| s.is_some()).count();
    if (counted - found) as f64 > most_missing * counted as f64 || found == 0 {
        return Err(format!("expected a digit for {counted} tokens, found {found}"));
    }
    Ok(strengths)
}

/// The digit in a one-token answer.
fn first_digit(answer: &Answer) -> Option<f32> {
    let graded = answer.top_log_probs.iter().find_map(|alternatives| expectation(alternatives));
    graded.or_else(|| digit(answer.text.trim().chars().next()?.to_string().as_str()))
}

/// The digits in an answer of lines `12: 0`. A line's first number is the token's, its last the digit; a line that
/// is not like that is passed over, and of two lines for one token the first holds.
fn numbered_digits(answer: &Answer, strengths: &mut [Option<f32>]) {
    let starts = token_starts(answer);
    let mut at = 0;
    for line in answer.text.split_inclusive('\n') {
        if let Some((number, place)) = number_and_digit(line)
            && let Some(slot) = number.checked_sub(1).and_then(|i| strengths.get_mut(i))
        {
            let token = starts.iter().rposition(|&start| start <= at + place);
            let graded = token.and_then(|t| expectation(answer.top_log_probs.get(t)?));
            let value = graded.or_else(|| digit(&line[place..=place]));
            *slot = slot.or(value);
        }
        at += line.len();
    }
}

/// Where each answered token starts in the text, if that can be told: the likeliest tokens joined must be the text,
/// as they are in a greedy answer. Empty otherwise, and then the digits count as they stand.
fn token_starts(answer: &Answer) -> Vec<usize> {
    let mut joined = String::new();
    let mut starts = Vec::with_capacity(answer.top_log_probs.len());
    for alternatives in &answer.top_log_probs {
        starts.push(joined.len());
        let best = alternatives.iter().max_by(|a, b| a.1.total_cmp(&b.1));
        joined.push_str(best.map_or("", |(token, _)| token));
    }
    // A server may leave out the spaces around, or report the token that ends the answer.
    let Some(skipped) = joined.find(answer.text.trim()) else { return Vec::new() };
    let lead = answer.text.len() - answer.text.trim_start().len();
    if skipped > lead + joined.len() - joined.trim_start().len() {
        return Vec::new();
    }
    starts.iter().map(|start| (start + lead).saturating_sub(skipped)).collect()
}

/// A line's first number, and the byte where its last number stands, if that is one digit and not the first.
fn number_and_digit(line: &str) -> Option<(usize, usize)> {
    let body = line.trim_end();
    let from = body.find(|c: char| c.is_ascii_digit())?;
    let to = body[from..].find(|c: char| !c.is_ascii_digit())? + from;
    let place = body.len().checked_sub(1)?;
    let bytes = body.as_bytes();
    let single = place > to && bytes[place].is_ascii_digit() && !bytes[place - 1].is_ascii_digit();
    single.then_some((body[from..to].parse().ok()?, place))
}

/// `Σ v·p(v) / Σ p(v)` over the digits among the alternatives; none if they hold next to nothing of the
/// probability.
fn expectation(alternatives: &[(String, f32)]) -> Option<f32> {
    let (mut weighted, mut total) = (0.0, 0.0);
    for (token, log_prob) in alternatives {
        if let Some(value) = digit(token.trim()) {
            let p = f64::from(*log_prob).exp();
            weighted += f64::from(value) * p;
            total += p;
        }
    }
    (total > 0.01).then(|| (weighted / total) as f32)
}

fn digit(token: &str) -> Option<f32> {
    match token.as_bytes() {
        [byte @ b'0'..=b'9'] => Some(f32::from(byte - b'0')),
        _ => None,
    }
}
