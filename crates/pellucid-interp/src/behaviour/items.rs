//! Items, and files of them.
//!
//! A file has one JSON object a line, empty lines aside:
//!
//! ```json
//! {"prompt": "The keys near the cabinet", "counterfactual": "The key near the cabinet",
//!  "right": [" are"], "wrong": [" is"], "class": "plural", "group": "key"}
//! ```
//!
//! `prompt`, `right` and `wrong` must be there; each answer is one token of the model, with its leading space if it has one.

use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// One question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// What the model reads.
    pub prompt: String,
    /// A prompt that differs in what decides the answer; best with as many tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub counterfactual: Option<String>,
    /// Next tokens that are right. The first stands for all where a method takes a single logit.
    pub right: Vec<String>,
    /// Next tokens that are wrong; as above.
    pub wrong: Vec<String>,
    /// Which of two kinds the item is of, for directions: `plural` or `singular`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub class: Option<String>,
    /// Whether `prompt` (and `counterfactual`) is what a user says to the model in a chat, whose answer's first token is asked for.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub chat: bool,
    /// Items of one group are never split between fitting and testing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
}

/// A named list of items.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Behaviour {
    /// A built-in name, or the file's.
    pub name: String,
    /// The questions.
    pub items: Vec<Item>,
    /// Whether items whose answers are no single tokens are left out instead of refused.
    pub(crate) lenient: bool,
    /// Where each item stands in its file, from 1; empty where there is no file.
    pub(crate) lines: Vec<usize>,
}

impl Behaviour {
    /// Reads lines of JSON.
    ///
    /// # Errors
    /// Names the line that is no item, has no answers, or has an answer that is both right and wrong.
    pub fn read(name: &str, text: &str) -> Result<Self> {
        let (mut items, mut lines) = (Vec::new(), Vec::new());
        for (number, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
            let bad = |why: String| Error::Line { line: number + 1, why };
            let item: Item = serde_json::from_str(line).map_err(|e| bad(e.to_string()))?;
            item.check().map_err(|why| bad(why.to_owned()))?;
            items.push(item);
            lines.push(number + 1);
        }
        if items.is_empty() {
            return Err(Error::Request(
                "the behaviour has no items; write one JSON object a line".to_owned(),
            ));
        }
        Ok(Behaviour { name: name.to_owned(), items, lenient: false, lines })
    }

    /// The items as lines of JSON, as [`Behaviour::read`] reads them.
    ///
    /// # Errors
    /// If an item cannot be written as JSON, which no item can.
    pub fn write(&self) -> Result<String> {
        let mut text = String::new();
        for item in &self.items {
            text.push_str(&serde_json::to_string(item).map_err(|e| Error::Request(e.to_string()))?);
            text.push('\n');
        }
        Ok(text)
    }
}

impl Item {
    fn check(&self) -> std::result::Result<(), &'static str> {
        if self.prompt.is_empty() {
            return Err("\"prompt\" is empty");
        }
        if self.right.is_empty() || self.wrong.is_empty() {
            return Err("\"right\" and \"wrong\" need an answer each");
        }
        if self.right.iter().any(|r| self.wrong.contains(r)) {
            return Err("an answer is both right and wrong");
        }
        Ok(())
    }
}
