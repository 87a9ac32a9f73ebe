//! A model in this process that answers questions: [`pellucid_core::Chat`] over our own runtime.
//!
//! Questions of one kind begin alike (instructions, worked examples), so the last question's beginning is kept ([`Prefixes`]): an
//! answer has the same bits in whatever order questions are asked.
//!
//! A model with a chat template is asked in it. A base model without one sees the contents of the messages one below the
//! other, without roles, and goes on from there until an empty line.

use crate::sample::Sampling;
use crate::tokens::Message;
use crate::{Error, Generating, Model, Prefixes, Result, Row, Step, Storage};
use pellucid_core::{Answer, Ask, Chat, ServiceError};
use std::ops::ControlFlow;

/// What ends an answer of a model without a chat template.
const BASE_STOP: &str = "\n\n";

/// A loaded model that answers questions, one at a time.
pub struct LocalChat {
    model: Model,
    name: String,
    prefixes: Prefixes,
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
        LocalChat { model, name, prefixes: Prefixes::new(0) }
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

    fn write(&self, ask: &Ask) -> Result<Answer> {
        let prompt = self.prompt(ask)?;
        let context = self.model.spec().context;
        if ask.max_tokens == 0 || prompt.len() >= context {
            return Err(Error::TooLong { found: prompt.len() + ask.max_tokens.max(1), context });
        }
        let base = self.model.tokenizer().chat_template().is_none();
        let how = Generating {
            sampling: Sampling { temperature: ask.temperature, seed: ask.seed, ..Sampling::GREEDY },
            stop: base.then(|| BASE_STOP.to_owned()).into_iter().collect(),
            alternatives: ask.top_log_probs,
            ..Generating::greedy(ask.max_tokens)
        };
        let row = Row::new(prompt);
        let made = self
            .model
            .generate_with(&self.prefixes, &[], &row, &how, &mut (), &mut |_| ControlFlow::Continue(()))?;
        let given = if ask.top_log_probs > 0 { made.steps.as_slice() } else { &[] };
        Ok(Answer {
            text: made.text,
            top_log_probs: given.iter().map(|step| self.alternatives(step)).collect(),
            prompt_tokens: row.tokens.len(),
            answer_tokens: made.steps.len(),
        })
    }

    /// The likeliest tokens with their log-probabilities, as they are before temperature.
    fn alternatives(&self, step: &Step) -> Vec<(String, f32)> {
        let tokenizer = self.model.tokenizer();
        let one = |&(id, p): &(u32, f32)| {
            let bytes = tokenizer.tokens(&[id]).map(|t| t.into_iter().next().map(|t| t.bytes));
            // embeddings are often padded beyond the vocabulary: such a token has no text
            let bytes = bytes.ok().flatten().unwrap_or_default();
            (String::from_utf8_lossy(&bytes).into_owned(), p)
        };
        step.alternatives.iter().map(one).collect()
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
