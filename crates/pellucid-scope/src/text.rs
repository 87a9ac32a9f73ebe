//! The text that a question is about: a plain prompt, a conversation in the model's own template, or exact tokens.

use crate::Loaded;
use crate::error::{Result, bad};
use crate::shape::RoleShape;
use crate::wire::{Message, Placed};
use pellucid_core::{Edit, Role};
use pellucid_model::{Apply, Row, tokens};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// How a text is given on the wire.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(untagged)]
pub enum TextSpec {
    /// Exact tokens: a prompt and what was generated after it.
    Tokens {
        /// All tokens.
        tokens: Vec<u32>,
        /// How many of them are the prompt.
        prompt_tokens: usize,
        /// Who wrote each token of the prompt; empty where nobody asked.
        #[serde(default)]
        #[schema(value_type = Vec<Option<RoleShape>>)]
        roles: Vec<Option<Role>>,
    },
    /// A conversation.
    Chat {
        /// The messages.
        messages: Vec<Message>,
        /// The beginning of the answer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prefill: Option<String>,
    },
    /// A plain text.
    Plain {
        /// The text.
        prompt: String,
    },
}

/// A text made ready to run.
#[derive(Clone, Debug)]
pub struct Text {
    /// As the model takes it.
    pub row: Row,
    /// As a reader takes it.
    pub tokens: Vec<Placed>,
}

impl Text {
    /// Reads a text of the wire.
    ///
    /// # Errors
    /// If it has no tokens, the model has no chat template, or tokens are outside the vocabulary.
    pub fn read(loaded: &Loaded, spec: &TextSpec) -> Result<Text> {
        match spec {
            TextSpec::Plain { prompt } => Text::plain(loaded, prompt),
            TextSpec::Chat { messages, prefill } => Text::chat(loaded, messages, prefill.as_deref()),
            TextSpec::Tokens { tokens, prompt_tokens, roles } => {
                Text::exact(loaded, tokens, *prompt_tokens, roles)
            }
        }
    }

    /// A plain text, with what the model expects around one.
    ///
    /// # Errors
    /// If it has no tokens.
    pub fn plain(loaded: &Loaded, prompt: &str) -> Result<Text> {
        let encoding = loaded.model.tokenizer().encode(prompt, true)?;
        Text::of(loaded, Row::new(encoding.ids))
    }

    /// A conversation, ending where the model is to speak (or, where the last message is the model's, with it).
    ///
    /// # Errors
    /// If the model has no chat template, or it refuses the messages.
    pub fn chat(loaded: &Loaded, messages: &[Message], prefill: Option<&str>) -> Result<Text> {
        if !messages.iter().any(|m| m.role != "system") {
            return bad("the chat has no message; write one");
        }
        let tokenizer = loaded.model.tokenizer();
        let answer_is_next = messages.last().is_none_or(|m| m.role != "assistant");
        let of = |m: &Message| tokens::Message { role: m.role.clone(), content: m.content.clone() };
        let messages: Vec<tokens::Message> = messages.iter().map(of).collect();
        let encoding = tokenizer.encode_chat(&messages, answer_is_next)?;
        let mut ids = encoding.ids;
        let role = |r: &Option<String>| r.as_deref().and_then(|r| r.parse().ok());
        let mut roles: Vec<Option<Role>> = encoding.roles.iter().map(role).collect();
        if let Some(prefill) = prefill {
            if !answer_is_next {
                return bad("a prefill begins an answer, and the last message is one already");
            }
            ids.extend(tokenizer.encode_plain(prefill, false)?.ids);
            roles.resize(ids.len(), Some(Role::Assistant));
        }
        Text::of(loaded, Row::new(ids).with_roles(roles))
    }

    /// Exact tokens, of which the first `prompt` were given and the rest generated.
    ///
    /// # Errors
    /// If lengths or tokens do not fit.
    pub fn exact(loaded: &Loaded, ids: &[u32], prompt: usize, roles: &[Option<Role>]) -> Result<Text> {
        if prompt > ids.len() {
            return bad(format!("prompt_tokens is {prompt}, and there are {} tokens", ids.len()));
        }
        if !roles.is_empty() && roles.len() != prompt {
            return bad(format!(
                "expected a role for each of the prompt's {prompt} tokens, found {}",
                roles.len()
            ));
        }
        let vocabulary = loaded.model.spec().vocabulary;
        if let Some(&id) = ids.iter().find(|id| **id as usize >= vocabulary) {
            return Err(pellucid_model::Error::TokenId { id, vocabulary }.into());
        }
        let row = Row { prompt, ..Row::new(ids.to_vec()) };
        Text::of(loaded, row.with_roles(roles.to_vec()))
    }

    /// A row with its tokens for a reader.
    ///
    /// # Errors
    /// If the row is empty.
    pub fn of(loaded: &Loaded, row: Row) -> Result<Text> {
        if row.tokens.is_empty() {
            return Err(pellucid_model::Error::Empty.into());
        }
        let at = |(position, &id): (usize, &u32)| {
            let known = row.roles.get(position).copied().flatten();
            let role = if position >= row.prompt { Some(Role::Generated) } else { known };
            Placed { position, id, text: loaded.token(id).text, role }
        };
        let tokens = row.tokens.iter().enumerate().map(at).collect();
        Ok(Text { row, tokens })
    }

    /// The text followed by generated tokens.
    #[must_use]
    pub fn followed_by(&self, loaded: &Loaded, ids: &[u32]) -> Text {
        let mut text = self.clone();
        for &id in ids {
            let position = text.tokens.len();
            let role = Some(Role::Generated);
            text.tokens.push(Placed { position, id, text: loaded.token(id).text, role });
            text.row.tokens.push(id);
        }
        text.row.horizon = text.row.horizon.max(text.row.tokens.len());
        text
    }

    /// Keeps the first `length` tokens: what stands after an explained position cannot act on it.
    pub fn cut(&mut self, length: usize) {
        self.row.tokens.truncate(length);
        self.tokens.truncate(length);
    }

    /// The position that the user means: from the start, or if negative from the end; the last if none.
    ///
    /// # Errors
    /// If it is outside the text.
    pub fn position(&self, asked: Option<i64>) -> Result<usize> {
        let n = self.tokens.len() as i64;
        let asked = asked.unwrap_or(-1);
        let position = if asked < 0 { asked + n } else { asked };
        if !(0..n).contains(&position) {
            return bad(format!("position {asked} is outside the text; its {n} tokens are 0 to {}", n - 1));
        }
        Ok(position as usize)
    }

    /// Edits made ready for this text; none if there are none.
    ///
    /// # Errors
    /// If an edit does not fit the model or the prompt.
    pub fn edits(&self, loaded: &Loaded, edits: &[Edit]) -> Result<Option<Apply>> {
        if edits.is_empty() {
            return Ok(None);
        }
        let apply = Apply::new(&loaded.model, edits)?;
        apply.check_prompt(&self.row)?;
        Ok(Some(apply))
    }

    /// A range of positions, clipped to the text; the whole text if none.
    ///
    /// # Errors
    /// If it is empty or backwards.
    pub(crate) fn range(&self, asked: Option<(usize, usize)>) -> Result<std::ops::Range<usize>> {
        let n = self.tokens.len();
        match asked {
            None => Ok(0..n),
            Some((from, to)) if from < to.min(n) => Ok(from..to.min(n)),
            Some((from, to)) => bad(format!(
                "positions {from} to {to} hold no token; the text's {n} tokens are 0 to {}",
                n - 1
            )),
        }
    }
}
