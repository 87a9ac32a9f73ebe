//! What can go wrong in an explanation.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The runtime refused.
    #[error(transparent)]
    Model(#[from] pellucid_model::Error),
    /// A line of a behaviour's file is wrong.
    #[error("line {line}: {why}")]
    Line {
        /// Which, from 1.
        line: usize,
        /// What is wrong with it.
        why: String,
    },
    /// The model does not show what was to be explained.
    #[error("{0}; nothing is explained that is not there (--anyway goes on)")]
    NotShown(String),
    /// A request that cannot be met.
    #[error("{0}")]
    Request(String),
    /// Whoever was told how far it is asked for it to end.
    #[error("stopped before it was done")]
    Stopped,
}

/// Told after each step of something long; what it returns as an error ends the work, [`Error::Stopped`] by request.
pub type Progress<'a> = &'a mut dyn FnMut() -> Result<()>;

/// As [`Progress`], told steps done and steps in all.
pub type Counted<'a> = &'a mut dyn FnMut(usize, usize) -> Result<()>;

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Tensor operations that can only fail by a bug of ours.
pub(crate) fn tensor<T, E>(result: std::result::Result<T, E>) -> Result<T>
where
    pellucid_model::Error: From<E>,
{
    result.map_err(|e| Error::Model(e.into()))
}
