//! Which part of the data a text belongs to.

use std::fmt;

/// Explanations are made from the first part, chosen on the second and judged on the third.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Split {
    /// What an explainer may see.
    Train,
    /// What chooses between explanations.
    Validation,
    /// What a reported score is measured on.
    Test,
}

impl Split {
    /// All three.
    pub const ALL: [Split; 3] = [Split::Train, Split::Validation, Split::Test];

    /// The split of a document by its hash: half train, a quarter each validation and test. It depends on the
    /// document alone, so that a document never changes sides when a corpus grows.
    pub fn of(hash: &[u8]) -> Split {
        match hash.last().copied().unwrap_or(0) & 3 {
            0 | 1 => Split::Train,
            2 => Split::Validation,
            _ => Split::Test,
        }
    }

    /// The split's name in files and JSON.
    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Validation => "validation",
            Split::Test => "test",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
