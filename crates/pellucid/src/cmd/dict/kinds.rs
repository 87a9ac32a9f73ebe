//! Which kind of text a token is in: the source that its document is counted under.

use anyhow::Result;
use pellucid::dict::Sparse;
use pellucid::store::corpus::{Options, Source};
use pellucid::store::{Document, Window};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Kinds of text, and which one each document is.
pub(crate) struct Kinds {
    pub(crate) of: HashMap<Document, u32>,
    pub(crate) names: Vec<String>,
}

impl Kinds {
    /// Reads the sources again, for where each document is from.
    pub(crate) fn read(sources: &[String]) -> Result<Self> {
        let mut found = Vec::new();
        for source in sources {
            for text in Source::open(source, &Options::default())?.texts() {
                let text = text?;
                found.push((text.content.document(), text.from));
            }
        }
        let names: BTreeSet<String> = found.iter().map(|(_, from)| from.clone()).collect();
        let number: BTreeMap<&String, u32> = names.iter().zip(0..).collect();
        let of = found.iter().map(|(document, from)| (*document, number[from])).collect();
        Ok(Kinds { of, names: names.into_iter().collect() })
    }

    /// One active unit a token, but for each window's first: its kind.
    pub(crate) fn rows(&self, windows: &[Window]) -> Sparse {
        let mut sparse = Sparse::default();
        for window in windows {
            let kind = self.of.get(&window.document).map(|kind| (*kind, 1.0));
            (1..window.tokens.len()).for_each(|_| sparse.push(kind));
        }
        sparse
    }
}
