//! A model's tokenizer as the corpus and the explainers see it.

use crate::models::Loaded;
use anyhow::Result;
use pellucid::model::tokens::{Message, Tokenizer};
use pellucid::store::corpus::Tokenize;
use std::sync::Arc;

/// The tokenizer of a loaded model.
pub(super) struct Texts<'a>(pub(super) &'a Tokenizer);

impl Tokenize for Texts<'_> {
    fn plain(&self, text: &str) -> Result<Vec<u32>, String> {
        // a text that spells a control token is text
        Ok(self.0.encode_plain(text, false).map_err(|e| e.to_string())?.ids)
    }

    fn chat(&self, messages: &[(String, String)]) -> Result<(Vec<u32>, Vec<bool>), String> {
        let message =
            |(role, content): &(String, String)| Message { role: role.clone(), content: content.clone() };
        let messages: Vec<Message> = messages.iter().map(message).collect();
        let encoding = self.0.encode_chat(&messages, false).map_err(|e| e.to_string())?;
        let counted = encoding.roles.iter().map(Option::is_some).collect();
        Ok((encoding.ids, counted))
    }

    fn hash(&self) -> [u8; 32] {
        let hash = self.0.hash();
        let digit =
            |i: usize| hash.get(i..i + 2).and_then(|pair| u8::from_str_radix(pair, 16).ok()).unwrap_or(0);
        std::array::from_fn(|i| digit(2 * i))
    }
}

/// The display text of every token of the vocabulary.
pub(crate) fn vocabulary(loaded: &Loaded) -> Result<Vec<Arc<str>>> {
    Ok(loaded.vocabulary().to_vec())
}
