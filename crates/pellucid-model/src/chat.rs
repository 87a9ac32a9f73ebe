//! A model in this process that answers questions: [`pellucid_core::Chat`] over our own runtime.
//!
//! Questions of one kind begin alike (instructions, worked examples), so the keys and values of the last question's
//! beginning are kept. A prompt is run in pieces of [`PIECE`] tokens, counted from its start, and only whole pieces are
//! kept: each piece is then the same computation on the same numbers whether what stands before it was run or kept, and
//! an answer has the same bits in whatever order questions are asked.
//!
//! A model with a chat template is asked in it. A base model without one sees the contents of the messages one below the
//! other, without roles, and goes on from there until an empty line.

use crate::sample::{Sampling, log_softmax, top_k};
use crate::tokens::Message;
use crate::{Batch, Cache, Error, Logits, Model, Plan, Result, Row, Storage};
use pellucid_core::{Answer, Ask, Chat, Seed, ServiceError};
use std::sync::{Mutex, PoisonError};

/// Tokens of a prompt that run together. At this size reading the weights and multiplying by them take about the same
/// time, so that smaller pieces would save nothing.
const PIECE: usize = 32;

/// What ends an answer of a model without a chat template.
const BASE_STOP: &str = "\n\n";

/// A loaded model that answers questions, one at a time.
pub struct LocalChat {
    model: Model,
    name: String,
    kept: Mutex<Option<Kept>>,
}

/// The last question's prompt with its keys and values.
struct Kept {
    tokens: Vec<u32>,
    cache: Cache,
    horizon: usize,
}

impl LocalChat {
    /// A model under the name that the user gave it. Answers are remembered by [`Chat::name`], so that also says which
    /// weights these are.
    pub fn new(model: Model, name: &str) -> Self {
        let hash = model.sha256();
        let storage = match model.storage() {
            Storage::F32 | Storage::File => String::new(),
            other => format!(" {}", other.name()),
        };
        let name = format!("{name}{storage}@{}", &hash[..hash.len().min(12)]);
        LocalChat { model, name, kept: Mutex::new(None) }
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The tokens of a question, as far as the answer begins.
    fn prompt(&self, ask: &Ask) -> Result<Vec<u32>> {
        let tokenizer = self.model.tokenizer();
        let mut ids = if tokenizer.chat_template().is_some() {
            let message =
                |m: &pellucid_core::Message| Message { role: m.role.to_owned(), content: m.content.clone() };
            let messages: Vec<Message> = ask.messages.iter().map(message).collect();
            tokenizer.encode_chat(&messages, true)?.ids
        } else {
            let text: String = ask.messages.iter().map(|m| format!("{}\n", m.content)).collect();
            tokenizer.encode_plain(&text, true)?.ids
        };
        if !ask.prefill.is_empty() {
            ids.extend(tokenizer.encode_plain(&ask.prefill, false)?.ids);
        }
        if ids.is_empty() { Err(Error::Empty) } else { Ok(ids) }
    }

    /// Takes what is kept if the new prompt begins like it, with room for `horizon` tokens.
    fn begin(&self, prompt: &[u32], horizon: usize) -> Result<Kept> {
        let mut slot = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(mut kept) = slot.take().filter(|k| k.cache.capacity(0) >= horizon)
            && self.same_angles(kept.horizon, horizon)
        {
            let same = kept.tokens.iter().zip(prompt).take_while(|(a, b)| a == b).count();
            // the last token is run in any case: its logits are the answer's first
            let whole = same.min(kept.cache.used(0)).min(prompt.len() - 1) / PIECE * PIECE;
            kept.cache.truncate(0, whole);
            return Ok(Kept { tokens: prompt.to_vec(), cache: kept.cache, horizon });
        }
        // rounded up, so that a slightly longer question finds room
        let room = horizon.next_multiple_of(8 * PIECE).min(self.model.spec().context);
        Ok(Kept { tokens: prompt.to_vec(), cache: self.model.cache(1, room)?, horizon })
    }

    /// Whether positions turn by the same angles in texts of these lengths (long rope has two sets).
    fn same_angles(&self, one: usize, other: usize) -> bool {
        let table = |rope: &crate::Rope, horizon| rope.table(1..2, horizon);
        self.model.spec().ropes.iter().all(|rope| table(rope, one) == table(rope, other))
    }

    /// The logits after the prompt; what is kept grows to all of it.
    fn read(&self, kept: &mut Kept) -> Result<Vec<f32>> {
        let prompt = kept.tokens.len();
        loop {
            let from = kept.cache.used(0);
            let to = (from + PIECE).min(prompt);
            let last = to == prompt;
            let logits = if last { Logits::Last } else { Logits::None };
            let out = self.step(kept, from..to, prompt, logits)?;
            if last {
                return Ok(out);
            }
        }
    }

    fn step(
        &self,
        kept: &mut Kept,
        range: std::ops::Range<usize>,
        prompt: usize,
        logits: Logits,
    ) -> Result<Vec<f32>> {
        let start = range.start;
        let tokens = kept.tokens.get(range).unwrap_or_default().to_vec();
        let row = Row { tokens, start, prompt, roles: [].into(), horizon: kept.horizon };
        let plan = Plan { logits, start: None, stop_after: None };
        let output = self.model.run(&Batch::one(row), &plan, Some(&mut kept.cache), &mut ())?;
        output.logits.map_or_else(|| Ok(Vec::new()), |l| Ok(l.flatten_all()?.to_vec1()?))
    }

    fn write(&self, ask: &Ask) -> Result<Answer> {
        let prompt = self.prompt(ask)?;
        let sampling = Sampling { temperature: ask.temperature, seed: ask.seed, ..Sampling::GREEDY };
        sampling.check()?;
        let context = self.model.spec().context;
        let most = ask.max_tokens.min(context.saturating_sub(prompt.len()));
        if most == 0 {
            return Err(Error::TooLong { found: prompt.len() + ask.max_tokens.max(1), context });
        }
        let mut kept = self.begin(&prompt, prompt.len() + most)?;
        let mut logits = self.read(&mut kept)?;
        let mut seed = Seed(ask.seed).for_purpose("sampling");
        let (mut written, mut top) = (Vec::new(), Vec::new());
        let mut text = String::new();
        let base = self.model.tokenizer().chat_template().is_none();
        loop {
            let id = sampling.draw(&logits, &kept.tokens, &mut seed);
            if self.model.tokenizer().eos().contains(&id) {
                break;
            }
            if ask.top_log_probs > 0 {
                top.push(self.alternatives(&logits, ask.top_log_probs)?);
            }
            written.push(id);
            text = self.model.tokenizer().decode(&written)?;
            let stop = base.then(|| text.find(BASE_STOP)).flatten();
            if let Some(at) = stop {
                text.truncate(at);
            }
            if stop.is_some() || written.len() == most {
                break;
            }
            kept.tokens.push(id);
            let end = kept.tokens.len();
            logits = self.step(&mut kept, end - 1..end, prompt.len(), Logits::Last)?;
        }
        // the answer's own tokens were not run in whole pieces
        kept.tokens.truncate(prompt.len());
        kept.cache.truncate(0, prompt.len());
        *self.kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(kept);
        Ok(Answer { text, top_log_probs: top, prompt_tokens: prompt.len(), answer_tokens: written.len() })
    }

    /// The likeliest tokens with their log-probabilities, as they are before temperature.
    fn alternatives(&self, logits: &[f32], count: usize) -> Result<Vec<(String, f32)>> {
        let tokenizer = self.model.tokenizer();
        let one = |(id, p): (usize, f32)| {
            let bytes = tokenizer.tokens(&[id as u32]).map(|t| t.into_iter().next().map(|t| t.bytes));
            // embeddings are often padded beyond the vocabulary: such a token has no text
            let bytes = bytes.ok().flatten().unwrap_or_default();
            (String::from_utf8_lossy(&bytes).into_owned(), p)
        };
        Ok(top_k(&log_softmax(logits), count).into_iter().map(one).collect())
    }
}

impl Chat for LocalChat {
    fn name(&self) -> &str {
        &self.name
    }

    /// The errors are [`Error`]s. An answer that is nothing but the end of the text is an empty one.
    fn answer(&self, ask: &Ask) -> Result<Answer, ServiceError> {
        Ok(self.write(ask)?)
    }
}
