//! What can go wrong, and whose fault it is: a request that cannot be met is told from a failure of ours.

/// An error of this crate.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The request cannot be met as it stands.
    #[error("{0}")]
    Request(String),
    /// What is asked for does not exist.
    #[error("{0}")]
    Absent(String),
    /// The runtime refused or failed.
    #[error(transparent)]
    Model(#[from] pellucid_model::Error),
    /// An explanation refused or failed.
    #[error(transparent)]
    Interp(#[from] pellucid_interp::Error),
    /// The atlas refused or failed.
    #[error(transparent)]
    Atlas(#[from] pellucid_store::atlas::AtlasError),
    /// Descriptions could not be grouped.
    #[error(transparent)]
    Cluster(#[from] pellucid_describe::cluster::ClusterError),
    /// The sentence encoder could not be loaded or run.
    #[error("cannot work with the sentence encoder: {0}")]
    Encoder(String),
    /// What was made could not be kept.
    #[error("cannot write {0}")]
    Keeping(String),
}

/// This crate's result.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Whether the request is at fault, and not this program or its machine.
    pub fn is_request(&self) -> bool {
        use pellucid_model::Error as Model;
        let of_model = |e: &Model| {
            !matches!(e, Model::Load(_) | Model::Tensor(_) | Model::Memory { .. } | Model::Shape { .. })
        };
        match self {
            Error::Request(_) | Error::Absent(_) => true,
            Error::Model(e) | Error::Interp(pellucid_interp::Error::Model(e)) => of_model(e),
            Error::Interp(_) => true,
            Error::Atlas(_) | Error::Cluster(_) | Error::Encoder(_) | Error::Keeping(_) => false,
        }
    }
}

impl From<pellucid_model::tokens::TokenError> for Error {
    fn from(error: pellucid_model::tokens::TokenError) -> Self {
        Error::Model(error.into())
    }
}

impl From<pellucid_core::NameError> for Error {
    fn from(error: pellucid_core::NameError) -> Self {
        Error::Model(error.into())
    }
}

impl From<pellucid_core::EditError> for Error {
    fn from(error: pellucid_core::EditError) -> Self {
        Error::Model(error.into())
    }
}

/// Tensor operations that can only fail by a bug of ours.
pub(crate) fn tensor<T, E>(result: std::result::Result<T, E>) -> Result<T>
where
    pellucid_model::Error: From<E>,
{
    result.map_err(|e| Error::Model(e.into()))
}

/// A request that cannot be met.
pub(crate) fn bad<T>(what: impl Into<String>) -> Result<T> {
    Err(Error::Request(what.into()))
}
