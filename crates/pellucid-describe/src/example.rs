//! The common currency of explainers and scorers: stretches of text with a unit's activation at each token, and
//! all that is known of one unit and polarity. The three splits are kept apart by document, and
//! [`Evidence::disjoint`] proves it before anything is scored.

use pellucid_core::UnitId;
use pellucid_store::{Document, Kind};
use std::collections::HashSet;
use std::sync::Arc;

/// A stretch of a window, with the unit's activation at each token. The four vectors have the same length.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Token ids.
    pub tokens: Vec<u32>,
    /// Display text of each token.
    pub texts: Vec<Arc<str>>,
    /// Activation at each token on the side of zero asked for: the positive part, or minus the negative part; never
    /// below 0.
    pub activations: Vec<f32>,
    /// Which tokens count for statistics and scores (no template, no beginning of text, no overlap).
    pub counted: Vec<bool>,
    /// The document it was cut from; it decides the split.
    pub document: Document,
    /// Which window of the document.
    pub window: u32,
    /// First token of the stretch in the window.
    pub start: u32,
    /// Why it was kept.
    pub kind: Kind,
}

impl Example {
    /// Largest activation at a counted token, and where; none if no counted token is active.
    pub fn peak(&self) -> Option<(usize, f32)> {
        let mut best: Option<(usize, f32)> = None;
        for (i, (&a, &c)) in self.activations.iter().zip(&self.counted).enumerate() {
            if c && a > 0.0 && best.is_none_or(|(_, b)| a > b) {
                best = Some((i, a));
            }
        }
        best
    }
}

/// All that explainers may know of one unit and polarity. Top, band and random examples stand in each split, told
/// apart by [`Example::kind`].
#[derive(Clone, Debug, PartialEq)]
pub struct Evidence {
    /// The unit, with its polarity.
    pub unit: UnitId,
    /// Its typical strength: the tail quantile of its activations on this side of zero.
    pub scale: f32,
    /// Share of the corpus's counted tokens on which it is active.
    pub density: f64,
    /// What explainers may see.
    pub train: Vec<Example>,
    /// What chooses between candidates.
    pub validation: Vec<Example>,
    /// What scores are reported on.
    pub test: Vec<Example>,
    /// Output tokens that it makes likelier, the strongest first, with their weights.
    pub promoted: Vec<(Arc<str>, f32)>,
    /// Output tokens that it makes less likely, the strongest first, with their weights.
    pub suppressed: Vec<(Arc<str>, f32)>,
}

/// A document that stands in two splits: a score on such evidence means nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unit {unit}: one document stands among the {first} and the {second} examples, expected each in one split only; \
     split examples by document hash (document {document:02x?})"
)]
pub struct Leak {
    /// The unit whose evidence it is.
    pub unit: UnitId,
    /// One split that holds the document.
    pub first: &'static str,
    /// The other.
    pub second: &'static str,
    /// The document's hash.
    pub document: [u8; 16],
}

impl Evidence {
    /// That no document stands in two splits. Every scoring asks this first.
    ///
    /// # Errors
    /// [`Leak`], naming the first document found in two splits.
    pub fn disjoint(&self) -> Result<(), Leak> {
        let documents = |examples: &[Example]| examples.iter().map(|e| e.document).collect::<HashSet<_>>();
        let (train, validation) = (documents(&self.train), documents(&self.validation));
        let clash = |seen: &HashSet<Document>, examples: &[Example], first, second| match examples
            .iter()
            .find(|e| seen.contains(&e.document))
        {
            Some(e) => Err(Leak { unit: self.unit.clone(), first, second, document: e.document.0 }),
            None => Ok(()),
        };
        clash(&train, &self.validation, "train", "validation")?;
        clash(&train, &self.test, "train", "test")?;
        clash(&validation, &self.test, "validation", "test")
    }
}
