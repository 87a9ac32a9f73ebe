//! What can go wrong with a dictionary: what was expected, what was found, where, what to do.

use std::path::PathBuf;

/// The result of everything here that can fail.
pub type Result<T> = std::result::Result<T, Error>;

/// A fault of a dictionary, its file or its training.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A list of numbers has the wrong length for the dictionary's shape.
    #[error(
        "{what} must hold {expected} numbers and holds {found}; is this dictionary for another site or model?"
    )]
    Length {
        /// What was measured.
        what: String,
        /// How long it must be.
        expected: usize,
        /// How long it is.
        found: usize,
    },
    /// A number that is not finite.
    #[error(
        "{what} holds {value} at position {at}; the values must be finite, so find out where it comes from"
    )]
    NotFinite {
        /// Where the number stands.
        what: String,
        /// Its position there.
        at: usize,
        /// The number.
        value: f32,
    },
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
    /// A tensor that a format needs is missing.
    #[error("no tensor `{name}` (a {format} file holds it); found: {found}. In {path}", path = .path.display())]
    Missing {
        /// The tensor's name.
        name: String,
        /// The format.
        format: &'static str,
        /// What the file does hold.
        found: String,
        /// The file.
        path: PathBuf,
    },
    /// A tensor with another shape than its neighbours or the configuration say.
    #[error("tensor `{name}` is {found:?} and must be {expected:?}. In {path}", path = .path.display())]
    Extents {
        /// The tensor's name.
        name: String,
        /// Its shape as the others imply it.
        expected: Vec<usize>,
        /// Its shape as the file says it.
        found: Vec<usize>,
        /// The file.
        path: PathBuf,
    },
    /// A file that is cut off, damaged or of another kind.
    #[error("not a readable {format} file: {why}. In {path}", path = .path.display())]
    Malformed {
        /// The format.
        format: &'static str,
        /// What is wrong.
        why: String,
        /// The file.
        path: PathBuf,
    },
    /// A variant that exists elsewhere and is not read here.
    #[error("{what} is not supported: {instead}. In {path}", path = .path.display())]
    Unsupported {
        /// What the file asks for.
        what: String,
        /// What to do.
        instead: String,
        /// The file.
        path: PathBuf,
    },
    /// A path with nothing in it that is known.
    #[error(
        "no dictionary of a known format; found: {found}. Known are SAELens (cfg.json, sae_weights.safetensors), sparsify \
         (cfg.json, sae.safetensors), Gemma Scope (params.npz or params.safetensors), Llama Scope (hyperparams.json, \
         checkpoints/final.safetensors; or config.json, sae_weights.safetensors), dictionary_learning (ae.pt, config.json), \
         OpenAI (one .pt) and circuit-tracer (layer_N.safetensors). In {path}", path = .path.display()
    )]
    Unknown {
        /// What is there.
        found: String,
        /// The folder or file.
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

/// Refuses a list of the wrong length.
pub(crate) fn expect_length(what: &str, expected: usize, found: usize) -> Result<()> {
    match expected == found {
        true => Ok(()),
        false => Err(Error::Length { what: what.to_owned(), expected, found }),
    }
}

/// Refuses numbers that are not finite.
pub(crate) fn expect_finite(what: &str, values: &[f32]) -> Result<()> {
    if pellucid_kernels::rows::finite(values) {
        return Ok(());
    }
    match values.iter().position(|v| !v.is_finite()) {
        None => Ok(()),
        Some(at) => Err(Error::NotFinite { what: what.to_owned(), at, value: values[at] }),
    }
}

/// Refuses a setting, in words.
pub(crate) fn setting(what: &str, expected: &str, found: impl ToString) -> Error {
    Error::Setting { what: what.to_owned(), expected: expected.to_owned(), found: found.to_string() }
}
