//! Generation: one token at a time with a key–value cache, taps and edits active at the prompt and at every
//! generated token, so that the result equals the one computed without a cache.

use crate::ops::with_slice;
use crate::prefix::{Edited, Prefixes};
use crate::sample::{Mass, Sampling, log_softmax, top_k};
use crate::tap::Tap;
use crate::{Batch, Cache, Logits, Model, Plan, Result, Row, Tensor};
use pellucid_core::{Edit, Seed};
use std::ops::ControlFlow;

/// How to generate.
#[derive(Clone, Debug, PartialEq)]
pub struct Generating {
    /// At most this many tokens.
    pub max_tokens: usize,
    /// How each is drawn.
    pub sampling: Sampling,
    /// Texts that end the generation; they are not part of the result.
    pub stop: Vec<String>,
    /// Whether the model's end-of-text tokens end the generation.
    pub stop_at_end: bool,
    /// For each step, this many likeliest tokens with their log-probabilities.
    pub alternatives: usize,
    /// Whether to keep keys and values; without, every step runs the whole text again (the definition).
    pub cached: bool,
}

impl Generating {
    /// Greedily, at most so many tokens.
    pub fn greedy(max_tokens: usize) -> Self {
        Generating {
            max_tokens,
            sampling: Sampling::GREEDY,
            stop: Vec::new(),
            stop_at_end: true,
            alternatives: 0,
            cached: true,
        }
    }
}

/// One generated token.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The token.
    pub id: u32,
    /// The text that became certain with it: whole characters, and nothing that may yet be a stop text.
    pub text: String,
    /// Its log-probability, of the logits as they are (after edits, before temperature and cuts).
    pub log_prob: f32,
    /// The likeliest tokens here, with log-probabilities.
    pub alternatives: Vec<(u32, f32)>,
}

/// Why a generation ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// The model said so, with this token (which is not part of the result).
    EndOfText(u32),
    /// A stop text appeared.
    StopText(String),
    /// The most tokens asked for.
    Length,
    /// The context is full.
    ContextFull,
    /// The caller stopped it.
    Cancelled,
}

/// What was generated.
#[derive(Clone, Debug, PartialEq)]
pub struct Generation {
    /// The text, without stop text and end-of-text token.
    pub text: String,
    /// The steps in order.
    pub steps: Vec<Step>,
    /// Why it ended.
    pub ended: Ended,
    /// Tokens of the prompt that did not run, because an earlier text began with them.
    pub reused: usize,
}

impl Generation {
    /// The generated tokens.
    pub fn ids(&self) -> Vec<u32> {
        self.steps.iter().map(|s| s.id).collect()
    }
}

impl Model {
    /// Generates from a prompt; `each` sees every step as it comes and may stop the generation.
    ///
    /// # Errors
    /// If the prompt does not fit, sampling values are meaningless, or the tap fails.
    pub fn generate(
        &self,
        prompt: &Row,
        how: &Generating,
        tap: &mut dyn Tap,
        each: &mut dyn FnMut(&Step) -> ControlFlow<()>,
    ) -> Result<Generation> {
        how.sampling.check()?;
        let row = self.with_horizon(prompt, how);
        let mut cache = if how.cached { Some(self.cache(1, row.horizon)?) } else { None };
        self.generated(row, how, cache.as_mut(), tap, each)
    }

    /// As [`Model::generate`], bit for bit, with what earlier texts of this model left in `prefixes`. `tap` must be what `edits` make:
    /// [`crate::Apply`] of them, or nothing where there are none.
    ///
    /// # Errors
    /// As [`Model::generate`].
    pub fn generate_with(
        &self,
        prefixes: &Prefixes,
        edits: &[Edit],
        prompt: &Row,
        how: &Generating,
        tap: &mut dyn Tap,
        each: &mut dyn FnMut(&Step) -> ControlFlow<()>,
    ) -> Result<Generation> {
        how.sampling.check()?;
        let row = self.with_horizon(prompt, how);
        let text = Edited::new(row.clone(), edits);
        let mut cache = prefixes.begin(self, &text)?;
        let generation = self.generated(row, how, Some(&mut cache), tap, each)?;
        prefixes.keep(self, text, cache)?;
        Ok(generation)
    }

    /// The prompt, with the length that its text will have at most.
    fn with_horizon(&self, prompt: &Row, how: &Generating) -> Row {
        let horizon = prompt.tokens.len().saturating_add(how.max_tokens).min(self.spec.context);
        Row { horizon: horizon.max(prompt.tokens.len()), ..prompt.clone() }
    }

    /// Token after token behind a prompt, whose first ones may be in the cache.
    fn generated(
        &self,
        prompt: Row,
        how: &Generating,
        mut cache: Option<&mut Cache>,
        tap: &mut dyn Tap,
        each: &mut dyn FnMut(&Step) -> ControlFlow<()>,
    ) -> Result<Generation> {
        let most = prompt.horizon - prompt.tokens.len();
        let reused = cache.as_ref().map_or(0, |cache| cache.used(0));
        let mut text: Vec<u32> = prompt.tokens.clone();
        let mut row = Row { tokens: text[reused..].to_vec(), start: reused, ..prompt };
        let mut seed = Seed(how.sampling.seed).for_purpose("sampling");
        let mut held = Held::new(self, &how.stop);
        let mut steps: Vec<Step> = Vec::new();
        let mut ended = if most < how.max_tokens { Ended::ContextFull } else { Ended::Length };
        while steps.len() < most {
            let output = self.run(&Batch::one(row.clone()), &Plan::LAST, cache.as_deref_mut(), tap)?;
            let (id, log_prob, alternatives) = with_slice(&last(output.logits)?, |logits| {
                let id = how.sampling.draw(logits, &text, &mut seed);
                let mass = Mass::of(logits);
                let likeliest = top_k(logits, how.alternatives).into_iter();
                let alternatives = likeliest.map(|(i, logit)| (i as u32, mass.log_prob(logit)));
                (id, mass.log_prob(logits[id as usize]), alternatives.collect())
            })?;
            if how.stop_at_end && self.tokenizer().eos().contains(&id) {
                ended = Ended::EndOfText(id);
                break;
            }
            let (shown, stopped) = held.push(id)?;
            steps.push(Step { id, text: shown, log_prob, alternatives });
            text.push(id);
            let goes_on = steps.last().map_or(ControlFlow::Continue(()), &mut *each);
            if let Some(stop) = stopped {
                ended = Ended::StopText(stop);
                break;
            }
            if goes_on.is_break() {
                ended = Ended::Cancelled;
                break;
            }
            row = match cache.is_some() {
                true => Row { tokens: vec![id], start: text.len() - 1, ..row },
                false => Row { tokens: text.clone(), ..row },
            };
        }
        let rest = if matches!(ended, Ended::StopText(_)) { String::new() } else { held.finish() };
        if let (Some(last), false) = (steps.last_mut(), rest.is_empty()) {
            last.text.push_str(&rest);
        }
        let text = steps.iter().map(|s| s.text.as_str()).collect();
        Ok(Generation { text, steps, ended, reused })
    }

    /// The log-probability of each token of a text given what stands before it; none for the first.
    ///
    /// # Errors
    /// If the text does not fit the model, or the tap fails.
    pub fn log_probs(&self, row: &Row, tap: &mut dyn Tap) -> Result<Vec<Option<f32>>> {
        let logits = self.forward(&Batch::one(row.clone()), tap)?;
        let mut out = vec![None];
        for (i, &next) in row.tokens.iter().enumerate().skip(1) {
            let before = logits.get(i - 1)?.to_vec1::<f32>()?;
            out.push(Some(log_softmax(&before)[next as usize]));
        }
        Ok(out)
    }

    /// The logits after a text, `(vocabulary)`.
    ///
    /// # Errors
    /// As [`Model::run`].
    pub fn next_logits(&self, row: &Row, tap: &mut dyn Tap) -> Result<Vec<f32>> {
        let plan = Plan { logits: Logits::Last, start: None, stop_after: None };
        Ok(last(self.run(&Batch::one(row.clone()), &plan, None, tap)?.logits)?.flatten_all()?.to_vec1()?)
    }
}

fn last(logits: Option<Tensor>) -> Result<Tensor> {
    logits.ok_or_else(|| crate::Error::Request("the run gave no logits".to_owned()))
}

/// Text that is decoded but not yet shown, because it may be the beginning of a stop text.
struct Held<'a> {
    stream: crate::tokens::StreamDecoder<'a>,
    stops: &'a [String],
    waiting: String,
}

impl<'a> Held<'a> {
    fn new(model: &'a Model, stops: &'a [String]) -> Self {
        Held { stream: model.tokenizer().stream(), stops, waiting: String::new() }
    }

    /// Takes a token; gives what can be shown now, and the stop text if one is complete.
    fn push(&mut self, id: u32) -> Result<(String, Option<String>)> {
        if let Some(piece) = self.stream.push(id)? {
            self.waiting.push_str(&piece);
        }
        let found =
            self.stops.iter().filter(|s| !s.is_empty()).filter_map(|s| Some((self.waiting.find(s)?, s)));
        if let Some((at, stop)) = found.min_by_key(|(at, _)| *at) {
            self.waiting.truncate(at);
            return Ok((std::mem::take(&mut self.waiting), Some(stop.clone())));
        }
        let keep = self.stops.iter().map(|s| overlap(&self.waiting, s)).max().unwrap_or(0);
        let shown = self.waiting.len() - keep;
        let rest = self.waiting.split_off(shown);
        Ok((std::mem::replace(&mut self.waiting, rest), None))
    }

    fn finish(mut self) -> String {
        if let Some(piece) = self.stream.finish() {
            self.waiting.push_str(&piece);
        }
        self.waiting
    }
}

/// Length of the longest end of `text` that begins `stop`.
fn overlap(text: &str, stop: &str) -> usize {
    let starts = stop.char_indices().map(|(i, _)| i).skip(1);
    starts.filter(|&n| text.ends_with(&stop[..n])).max().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::overlap;

    #[test]
    fn what_may_become_a_stop_text_is_held_back() {
        assert_eq!(overlap("one\n", "\n\n"), 1);
        assert_eq!(overlap("abc", "bcd"), 2);
        assert_eq!(overlap("abc", "xyz"), 0);
        assert_eq!(overlap("é", "éa"), 2);
    }
}
