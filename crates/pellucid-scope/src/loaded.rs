//! A model with the name that the user gave it.

use crate::DictionaryFiles;
use crate::error::{Result, bad};
use crate::wire::Token;
use pellucid_model::{Attached, Model};
use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};

/// A loaded model.
#[derive(Debug)]
pub struct Loaded {
    /// What the user wrote.
    pub name: String,
    /// The model.
    pub model: Model,
    texts: OnceLock<Vec<Arc<str>>>,
    files: BTreeMap<String, DictionaryFiles>,
}

impl Loaded {
    /// A model under a name.
    pub fn new(name: &str, model: Model) -> Self {
        Loaded { name: name.to_owned(), model, texts: OnceLock::new(), files: BTreeMap::new() }
    }

    /// Keeps what the files of a dictionary say of it, under its name.
    pub fn keep_files(&mut self, name: &str, files: DictionaryFiles) {
        self.files.insert(name.to_owned(), files);
    }

    /// What the files of a dictionary say of it; none where nobody told.
    pub fn files(&self, name: &str) -> Option<&DictionaryFiles> {
        self.files.get(name)
    }

    /// The dictionary of this name, or the only one.
    ///
    /// # Errors
    /// If there is none, or there are several and none is named.
    pub fn dictionary(&self, name: Option<&str>) -> Result<&Attached> {
        match (name, self.model.dictionaries()) {
            (Some(name), _) => Ok(self.model.dictionary(name)?),
            (None, [one]) => Ok(one),
            (None, []) => bad("no dictionary is loaded; start with --dictionary NAME=PATH"),
            (None, many) => {
                let names: Vec<&str> = many.iter().map(|d| d.name.as_str()).collect();
                bad(format!("there are several dictionaries; name one of {}", names.join(", ")))
            }
        }
    }

    /// A token for a reader. An embedding may be padded beyond the vocabulary; such an id has no text.
    pub fn token(&self, id: u32) -> Token {
        token_of(&self.model, id)
    }

    /// The display text of every token of the vocabulary, made once.
    pub fn vocabulary(&self) -> &[Arc<str>] {
        self.texts.get_or_init(|| {
            (0..self.model.tokenizer().vocab_size() as u32).map(|id| Arc::from(self.token(id).text)).collect()
        })
    }
}

/// A token of a model for a reader, as [`Loaded::token`].
pub(crate) fn token_of(model: &Model, id: u32) -> Token {
    let known = model.tokenizer().tokens(&[id]).ok();
    let text = known.and_then(|t| t.into_iter().next()).map(|t| t.text);
    Token { id, text: text.unwrap_or_else(|| format!("⟨id {id}⟩")) }
}
