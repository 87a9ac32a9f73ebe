//! What can go wrong between a file and a window: which file, which line, what was expected, what was found.

use std::path::{Path, PathBuf};

/// A corpus that cannot be read, or that would be empty.
#[derive(Debug, thiserror::Error)]
pub enum CorpusError {
    /// The system refused something.
    #[error("could not {doing}: {cause}: {}", path.display())]
    Io {
        /// What was tried.
        doing: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system said.
        #[source]
        cause: std::io::Error,
    },
    /// A line, row or record that holds no document.
    #[error("expected {expected}, found {found}; such records can be skipped and counted: {place}")]
    Record {
        /// What would have been a document.
        expected: String,
        /// What is there.
        found: String,
        /// `FILE, line N`.
        place: String,
    },
    /// Bytes that are not text.
    #[error(
        "expected UTF-8 text, found an invalid byte at offset {offset}; convert the file, or allow replacement \
         characters: {place}"
    )]
    Utf8 {
        /// Offset of the first wrong byte in the (uncompressed) file, from 0. In a table: of its row's first byte.
        offset: u64,
        /// Which file, and which line if it has any.
        place: String,
    },
    /// A file that is not what its name says.
    #[error("expected {expected}, found {found}: {place}")]
    Format {
        /// What the name promises.
        expected: String,
        /// What is there.
        found: String,
        /// Which file.
        place: String,
    },
    /// Nothing to run a model on.
    #[error("the corpus is empty: expected at least one document with a token, found {found}: {sources}")]
    Empty {
        /// What was there instead.
        found: String,
        /// The sources that were read.
        sources: String,
    },
    /// A window that cannot hold what it must.
    #[error(
        "expected windows longer than their prefix and overlap together ({prefix} + {overlap} tokens), found \
         a length of {length}; make the window longer or the overlap shorter"
    )]
    Cut {
        /// Tokens of a window.
        length: usize,
        /// Tokens repeated from the window before.
        overlap: usize,
        /// Tokens that every window begins with.
        prefix: usize,
    },
    /// A slice that does not exist.
    #[error("expected a slice k/n with 1 ≤ k ≤ n, such as 1/4, found {found}")]
    Slice {
        /// As it was given.
        found: String,
    },
    /// The tokenizer refused a document, or answered with something that cannot be.
    #[error("could not tokenise a document: {said}: {place}")]
    Tokenize {
        /// What the tokenizer said.
        said: String,
        /// Which document.
        place: String,
    },
    /// A file in the token cache that is not one of this tokenizer's.
    #[error(
        "expected the token cache of tokenizer {expected}, found {found}; delete the file and it is made again: {}",
        path.display()
    )]
    Cache {
        /// The tokenizer's hash.
        expected: String,
        /// What the file says.
        found: String,
        /// The file.
        path: PathBuf,
    },
}

impl CorpusError {
    /// For `map_err`: the system's error with what was tried on which path.
    pub(crate) fn io(doing: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |cause| CorpusError::Io { doing, path, cause }
    }
}
