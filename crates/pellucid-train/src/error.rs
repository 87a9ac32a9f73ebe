//! What can go wrong in training a model: what was expected, what was found, what to do.

use std::path::PathBuf;

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// A fault of a setting, of text, or of a file.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A setting outside its range.
    #[error("{what} is {found}; it must be {expected}")]
    Setting {
        /// The setting's name.
        what: String,
        /// Its range.
        expected: String,
        /// Its value.
        found: String,
    },
    /// A text of which no vocabulary can be made.
    #[error("no vocabulary of {wanted} pieces can be learned: {why}")]
    Vocabulary {
        /// How many pieces were asked for.
        wanted: usize,
        /// What is in the way.
        why: String,
    },
    /// A file that is cut off, damaged or of another kind.
    #[error("not a readable training checkpoint: {why}. In {path}", path = .path.display())]
    Malformed {
        /// What is wrong.
        why: String,
        /// The file.
        path: PathBuf,
    },
    /// The operating system refused.
    #[error("cannot {action}: {source}. {path}", path = .path.display())]
    File {
        /// What was tried.
        action: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

/// Refuses a setting, in words.
pub(crate) fn setting(what: &str, expected: &str, found: impl ToString) -> Error {
    Error::Setting { what: what.to_owned(), expected: expected.to_owned(), found: found.to_string() }
}
