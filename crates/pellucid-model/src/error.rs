//! What can go wrong in a run, each with what was expected, what was found and what to do.

use pellucid_core::{EditError, NameError, Site};

/// An error of the runtime.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The checkpoint could not be opened or read.
    #[error(transparent)]
    Load(#[from] crate::load::LoadError),
    /// Text could not be turned into tokens or back.
    #[error(transparent)]
    Token(#[from] crate::tokens::TokenError),
    /// A site or unit name is malformed.
    #[error(transparent)]
    Name(#[from] NameError),
    /// An edit is malformed.
    #[error(transparent)]
    EditSyntax(#[from] EditError),
    /// The tensor library refused an operation; a bug in Pellucid if it ever shows.
    #[error("tensor operation failed: {0}")]
    Tensor(#[from] candle_core::Error),
    /// The architecture is not one of those supported.
    #[error("architecture {found:?} is not supported; supported are {known}")]
    Architecture {
        /// What the file says.
        found: String,
        /// The supported ones.
        known: String,
    },
    /// The configuration lacks a value or has an impossible one.
    #[error("the model's configuration is unusable: {what}")]
    Config {
        /// What is wrong, with the key.
        what: String,
    },
    /// A tensor has the wrong shape.
    #[error("tensor {name:?} has shape {found:?}, expected {expected:?} from the model's configuration")]
    Shape {
        /// The tensor's name.
        name: String,
        /// The shape the configuration implies.
        expected: Vec<usize>,
        /// The shape in the file.
        found: Vec<usize>,
    },
    /// Not enough memory for the weights.
    #[error(
        "the weights need {needed_mib} MiB as {dtype} and {available_mib} MiB of memory are free; \
         use --dtype bf16, a smaller model, or close other programs"
    )]
    Memory {
        /// What the weights would take.
        needed_mib: u64,
        /// What is free.
        available_mib: u64,
        /// The storage type asked for.
        dtype: &'static str,
    },
    /// This model has no such place.
    #[error("{site} does not exist in this model: {why}; `pellucid points MODEL` lists what does")]
    NoSuchSite {
        /// The site asked for.
        site: Site,
        /// Why not.
        why: String,
    },
    /// A site was asked for that this run does not reach.
    #[error("{site} was asked for but this run does not reach it: {why}")]
    NotReached {
        /// The site asked for.
        site: Site,
        /// Why not.
        why: String,
    },
    /// An edit does not fit the model or the run.
    #[error("the edit at {site} does not fit: {why}")]
    Edit {
        /// Where the edit stands.
        site: Site,
        /// What is wrong.
        why: String,
    },
    /// A token id outside the vocabulary.
    #[error("token id {id} is outside the vocabulary of {vocabulary}")]
    TokenId {
        /// The id.
        id: u32,
        /// The vocabulary's size.
        vocabulary: usize,
    },
    /// The text is longer than the model's context.
    #[error("the text has {found} tokens and the model's context is {context}; shorten it")]
    TooLong {
        /// Tokens, generated ones included.
        found: usize,
        /// The context.
        context: usize,
    },
    /// There is nothing to run on.
    #[error("the prompt has no tokens; write at least one word")]
    Empty,
    /// A request that contradicts itself.
    #[error("{0}")]
    Request(String),
}

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;
