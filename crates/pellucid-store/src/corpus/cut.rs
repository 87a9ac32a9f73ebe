//! How a document becomes windows.
//!
//! With window length L, prefix length p and overlap o, the first window holds the prefix and the document's first
//! L − p tokens; each later one holds the prefix, the o document tokens before its own, and the next L − p − o. So a
//! document of n tokens has 1 + ⌈(n − (L − p)) / (L − p − o)⌉ windows (one if n ≤ L − p), and
//!
//! - every token of the document is counted in exactly one window (template tokens of a conversation in none);
//! - the prefix and the overlap are there for the model and are not counted;
//! - the last window may be shorter, and has at least one token of its own;
//! - a window that would count nothing (only template tokens) is left out; the indices of the others stay.

use super::CorpusError;
use crate::window::{Document, Window};
use pellucid_core::Split;

/// The rule by which documents are cut into windows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Tokens that a window has at most, prefix and overlap included.
    pub length: usize,
    /// How many document tokens a later window repeats from the one before, as context that is not counted.
    pub overlap: usize,
    /// What every window begins with (a beginning-of-text token); not counted. A document that begins with these
    /// tokens itself, as a conversation's template does, does not get them twice.
    pub prefix: Vec<u32>,
}

/// A document as tokens, without the prefix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tokens {
    /// Token ids.
    pub ids: Vec<u32>,
    /// Which of them are counted, as long as `ids`; `None` if all are.
    pub counted: Option<Vec<bool>>,
}

impl Tokens {
    /// How many tokens are counted.
    pub fn count(&self) -> u64 {
        match &self.counted {
            None => self.ids.len() as u64,
            Some(counted) => counted.iter().filter(|&&c| c).count() as u64,
        }
    }

    fn is_counted(&self, position: usize) -> bool {
        self.counted.as_ref().is_none_or(|counted| counted.get(position) == Some(&true))
    }

    /// Ends after the `most`-th counted token. Whether anything counted was cut off.
    pub(crate) fn shorten(&mut self, most: u64) -> bool {
        if self.count() <= most {
            return false;
        }
        let mut left = most;
        let end = (0..self.ids.len()).position(|i| {
            let stop = left == 0;
            left -= u64::from(!stop && self.is_counted(i));
            stop
        });
        let end = end.unwrap_or(self.ids.len());
        self.ids.truncate(end);
        if let Some(counted) = &mut self.counted {
            counted.truncate(end);
        }
        true
    }
}

impl Cut {
    /// Whether windows can hold their prefix, their overlap and at least one token of their own.
    ///
    /// # Errors
    /// If they cannot.
    pub fn check(&self) -> Result<(), CorpusError> {
        if self.length > self.prefix.len().saturating_add(self.overlap) {
            return Ok(());
        }
        Err(CorpusError::Cut { length: self.length, overlap: self.overlap, prefix: self.prefix.len() })
    }

    /// The windows of a document, in order. None if it counts no token, or if the rule fails [`Cut::check`].
    pub fn windows<'a>(
        &'a self,
        document: Document,
        tokens: &'a Tokens,
    ) -> impl Iterator<Item = Window> + 'a {
        let split = Split::of(&document.0);
        self.stretches(tokens).enumerate().filter_map(move |(index, (from, own, end))| {
            let index = u32::try_from(index).unwrap_or(u32::MAX);
            let window = self.window(tokens, from, own, end);
            let (tokens, counted) = window.filter(|(_, counted)| counted.contains(&true))?;
            Some(Window { document, split, index, tokens, counted })
        })
    }

    /// How many windows [`Cut::windows`] gives.
    pub fn count(&self, tokens: &Tokens) -> usize {
        self.stretches(tokens).filter(|&(_, own, end)| (own..end).any(|i| tokens.is_counted(i))).count()
    }

    /// (first repeated, first own, end) of each window, as positions in the document.
    fn stretches(&self, tokens: &Tokens) -> impl Iterator<Item = (usize, usize, usize)> {
        let (length, overlap, total) = (self.length, self.overlap, tokens.ids.len());
        let (first, prefix) = (self.prefix_before(tokens).len(), self.prefix.len());
        let valid = self.check().is_ok();
        let mut own = 0;
        std::iter::from_fn(move || {
            if own >= total || !valid {
                return None;
            }
            let from = own.saturating_sub(overlap);
            let room = if own == 0 { length - first } else { length - prefix - overlap };
            let stretch = (from, own, total.min(own + room));
            own = stretch.2;
            Some(stretch)
        })
    }

    /// The prefix that the first window needs.
    fn prefix_before(&self, tokens: &Tokens) -> &[u32] {
        let length = self.prefix.len();
        // Only template tokens: a plain text that happens to begin like this is a text without its prefix.
        let has = tokens.ids.starts_with(&self.prefix) && (0..length).all(|i| !tokens.is_counted(i));
        if has { &[] } else { &self.prefix }
    }

    fn window(&self, tokens: &Tokens, from: usize, own: usize, end: usize) -> Option<(Vec<u32>, Vec<bool>)> {
        let prefix = if own == 0 { self.prefix_before(tokens) } else { &self.prefix };
        let ids = [prefix, tokens.ids.get(from..end)?].concat();
        let counted = std::iter::repeat_n(false, prefix.len() + own - from);
        Some((ids, counted.chain((own..end).map(|i| tokens.is_counted(i))).collect()))
    }
}
