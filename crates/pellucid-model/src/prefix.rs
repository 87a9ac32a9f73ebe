//! Beginnings of texts that were run, with their keys and values, for texts that begin alike.
//!
//! What is taken over changes no bit. It is whole blocks of queries ([`BLOCK`] tokens) of a prompt that ran in [`Precision::Exact`]: a linear
//! layer's sums do not depend on the number of rows, and what attention multiplies for a block does not depend on what stands
//! before it in the same pass. Tokens that were generated ran one at a time and are not kept. In `Fast` nothing is.
//!
//! Two texts begin alike as far as their tokens and the edits that cover them are the same.

use crate::ops::attention::BLOCK;
use crate::{Cache, Model, Precision, Result, Rope, Row};
use pellucid_core::{Edit, Positions};
use sha2::{Digest, Sha256};
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Beginnings of one model's texts: the latest, and others as far as so many bytes hold them all.
#[derive(Debug)]
pub struct Prefixes {
    bytes: u64,
    /// The one used last stands last.
    kept: Mutex<VecDeque<Arc<Kept>>>,
}

#[derive(Debug)]
struct Kept {
    text: Edited,
    cache: Cache,
}

/// A text with what is done to it: where each edit applies, and a digest of the edit.
#[derive(Debug)]
pub(crate) struct Edited {
    row: Row,
    edits: Vec<(Positions, [u8; 32])>,
}

impl Edited {
    /// `row` must state the text's horizon.
    pub(crate) fn new(row: Row, edits: &[Edit]) -> Self {
        let digest = |edit: &Edit| {
            // an edit's JSON states every number so that it is read back to the bit
            let json = serde_json::to_vec(edit).unwrap_or_default();
            (edit.positions.clone(), Sha256::digest(json).into())
        };
        Edited { row, edits: edits.iter().map(digest).collect() }
    }

    /// Edits and the positions that they list one by one.
    fn conditions(&self) -> usize {
        let listed = |(positions, _): &(Positions, _)| match positions {
            Positions::At(list) => list.len(),
            _ => 0,
        };
        self.edits.len() + self.edits.iter().map(listed).sum::<usize>()
    }

    /// What changes the token at a position, in order.
    fn covering(&self, at: usize) -> impl Iterator<Item = &[u8; 32]> {
        let here = move |(positions, _): &&(Positions, _)| self.row.covers(positions, at);
        self.edits.iter().filter(here).map(|(_, digest)| digest)
    }

    /// Tokens with which two texts begin alike.
    fn shared(&self, other: &Edited) -> usize {
        let tokens = self.row.tokens.iter().zip(&other.row.tokens).enumerate();
        tokens.take_while(|(at, (a, b))| a == b && self.covering(*at).eq(other.covering(*at))).count()
    }
}

/// Of a text with more [conditions](Edited::conditions) than these nothing is kept: to compare it may take as long as to run it.
const CONDITIONS: usize = 256;

/// Tokens in whole blocks.
fn whole(tokens: usize) -> usize {
    tokens / BLOCK * BLOCK
}

impl Prefixes {
    /// None yet. Keys and values will take at most so many bytes, or as many as the latest text's; 0 keeps the latest alone.
    pub fn new(bytes: u64) -> Self {
        Prefixes { bytes, kept: Mutex::default() }
    }

    /// A cache for a text of at most `row.horizon` tokens, in which some of its first ones may be already: never all.
    pub(crate) fn begin(&self, model: &Model, text: &Edited) -> Result<Cache> {
        let mut cache = model.cache(1, text.row.horizon)?;
        if text.conditions() <= CONDITIONS
            && let Some((kept, used)) = self.find(model, text)
        {
            cache.take_over(&kept.cache, used)?;
        }
        Ok(cache)
    }

    /// The kept text that shares most with a new one, which counts as its use.
    fn find(&self, model: &Model, text: &Edited) -> Option<(Arc<Kept>, usize)> {
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        // the last token is run in any case: its logits are the answer's first
        let most = text.row.tokens.len().saturating_sub(1);
        let shared = |kept: &Kept| whole(kept.text.shared(text).min(kept.cache.used(0)).min(most));
        let same_angles = |kept: &Kept| alike(&model.spec().ropes, kept.text.row.horizon, text.row.horizon);
        let usable = all.iter().enumerate().filter(|(_, kept)| same_angles(kept));
        let (index, used) = usable
            .map(|(i, kept)| (i, shared(kept)))
            .filter(|(_, used)| *used > 0)
            .max_by_key(|(_, used)| *used)?;
        let kept = all.remove(index)?;
        all.push_back(Arc::clone(&kept));
        Some((kept, used))
    }

    /// Keeps a prompt that ran, as far as that changes no bit, and forgets what it begins with and what was not used for longest.
    pub(crate) fn keep(&self, model: &Model, text: Edited, mut cache: Cache) -> Result<()> {
        let used = whole(text.row.tokens.len().min(cache.used(0)));
        if model.precision() != Precision::Exact || used == 0 || text.conditions() > CONDITIONS {
            return Ok(());
        }
        cache.truncate(0, used);
        if cache.capacity(0) > used + BLOCK {
            let mut exact = model.cache(1, used)?;
            exact.take_over(&cache, used)?;
            cache = exact;
        }
        let mut all = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|kept| {
            let within = kept.text.shared(&text) >= kept.cache.used(0);
            !(within && alike(&model.spec().ropes, kept.text.row.horizon, text.row.horizon))
        });
        all.push_back(Arc::new(Kept { text, cache }));
        let taken = |all: &VecDeque<Arc<Kept>>| all.iter().map(|kept| kept.cache.bytes()).sum::<u64>();
        while all.len() > 1 && taken(&all) > self.bytes {
            all.pop_front();
        }
        Ok(())
    }
}

/// Whether positions turn by the same angles in texts of these lengths (long rope has two sets).
fn alike(ropes: &[Rope], one: usize, other: usize) -> bool {
    ropes.iter().all(|rope| rope.table(1..2, one) == rope.table(1..2, other))
}
