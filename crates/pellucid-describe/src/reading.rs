//! Texts as explainers see them: each token's text is looked at once, whatever number of examples hold it, and
//! becomes a [`Word`] with the classes it belongs to. A [`Lexicon`] kept over many units makes describing a whole
//! model cheap, because a vocabulary is small beside a corpus.

use crate::example::Example;
use crate::proxy::{Bits, Form, classes_of, places_of};
use std::collections::HashMap;
use std::sync::Arc;

/// What is known of a token's text alone.
#[derive(Clone, Debug)]
pub struct Word {
    /// The text itself.
    pub text: Arc<str>,
    /// Without surrounding spaces and in lower case, so that " Month" and "month" are one; a text of white space
    /// alone stays as it is.
    pub folded: Arc<str>,
    /// The number that all texts of one folded form share in this lexicon.
    pub fold: u32,
    /// The classes it belongs to.
    pub classes: Bits,
    /// What decides the places of the tokens around it.
    pub(crate) form: Form,
}

/// All token texts seen so far. Numbers depend on the order of reading; no result does.
#[derive(Clone, Debug, Default)]
pub struct Lexicon {
    words: Vec<Word>,
    by_text: HashMap<Arc<str>, u32>,
    by_fold: HashMap<Arc<str>, u32>,
    folds: Vec<Arc<str>>,
}

/// A row of tokens, read: numbers of words, and the places they stand in.
#[derive(Clone, Debug)]
pub struct Reading {
    /// The word at each token.
    pub words: Vec<u32>,
    /// At each token the classes of its text and of its place.
    pub bits: Vec<Bits>,
}

impl Lexicon {
    /// An empty lexicon.
    pub fn new() -> Self {
        Self::default()
    }

    /// The number of a text.
    pub fn word_of(&mut self, text: &Arc<str>) -> u32 {
        if let Some(&found) = self.by_text.get(text) {
            return found;
        }
        let folded: Arc<str> = fold(text).into();
        let next = u32::try_from(self.by_fold.len()).unwrap_or(u32::MAX);
        let fold = *self.by_fold.entry(folded.clone()).or_insert(next);
        let number = u32::try_from(self.words.len()).unwrap_or(u32::MAX);
        if fold as usize == self.folds.len() {
            self.folds.push(folded.clone());
        }
        let classes = classes_of(text);
        self.words.push(Word { text: text.clone(), folded, fold, classes, form: Form::of(text) });
        self.by_text.insert(text.clone(), number);
        number
    }

    /// A word by its number.
    ///
    /// # Panics
    /// Not for numbers that this lexicon gave.
    pub fn word(&self, number: u32) -> &Word {
        &self.words[number as usize]
    }

    /// Reads a row of token texts. `begins` says that the row is the beginning of its text, not a stretch cut out
    /// of the middle.
    pub fn read(&mut self, texts: &[Arc<str>], begins: bool) -> Reading {
        let words: Vec<u32> = texts.iter().map(|t| self.word_of(t)).collect();
        let mut bits: Vec<Bits> = words.iter().map(|&w| self.word(w).classes).collect();
        places_of(&words, |w| self.word(w).form, begins, &mut bits);
        Reading { words, bits }
    }

    /// Reads an example.
    pub fn read_example(&mut self, example: &Example) -> Reading {
        self.read(&example.texts, example.start == 0 && example.window == 0)
    }

    /// The number of a text that has been read.
    pub(crate) fn known(&self, text: &str) -> Option<u32> {
        self.by_text.get(text).copied()
    }

    /// A folded text by its number.
    pub(crate) fn folded(&self, fold: u32) -> Option<&str> {
        self.folds.get(fold as usize).map(AsRef::as_ref)
    }

    /// The number of a folded text that has been read.
    pub(crate) fn known_fold(&self, folded: &str) -> Option<u32> {
        self.by_fold.get(folded).copied()
    }

    /// The classes of a text, whether it has been read or not.
    pub fn classes(&self, text: &str) -> Bits {
        match self.by_text.get(text) {
            Some(&number) => self.word(number).classes,
            None => classes_of(text),
        }
    }
}

/// The form in which texts are compared regardless of case and of spaces around them.
pub fn fold(text: &str) -> String {
    let trimmed = text.trim();
    if trimmed.is_empty() { text.to_owned() } else { trimmed.to_lowercase() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_word_in_other_clothes_is_one_fold() {
        let mut lexicon = Lexicon::new();
        let texts: Vec<Arc<str>> = [" Month", "month", " MONTH", " ", "\n"].map(Arc::from).to_vec();
        let reading = lexicon.read(&texts, false);
        let folds: Vec<u32> = reading.words.iter().map(|&w| lexicon.word(w).fold).collect();
        assert_eq!(folds[0], folds[1]);
        assert_eq!(folds[0], folds[2]);
        assert_ne!(folds[3], folds[4], "white space is told apart");
    }
}
