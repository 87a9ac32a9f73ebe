//! Failures on the wire: a status, a code for programs and a sentence for people.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use pellucid_store::atlas::AtlasError;
use serde::Serialize;
use utoipa::ToSchema;

/// A server that cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// It would be open to others without a token.
    #[error(
        "{address} can be reached from other machines, and there is no access token; set one with --token (or \
         --token-file), or serve on a loopback address such as 127.0.0.1"
    )]
    Open {
        /// The address.
        address: String,
    },
    /// The token is too easily guessed.
    #[error("the access token has {found} characters; expected at least 16")]
    WeakToken {
        /// Its length.
        found: usize,
    },
    /// The address cannot be used.
    #[error("cannot listen on {address}: {source}; name another with --bind or --port")]
    Bind {
        /// The address.
        address: String,
        /// Why not.
        source: std::io::Error,
    },
    /// The runtime failed.
    #[error("the server stopped: {0}")]
    Io(#[from] std::io::Error),
}

/// A failure as it is sent.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Failure {
    pub(crate) error: Reason,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub(crate) struct Reason {
    /// For programs: `bad_request`, `unauthorized`, `forbidden`, `not_found`, `too_large`, `busy`, `timeout`, `internal`
    /// or `stopping`.
    pub(crate) code: &'static str,
    /// For people.
    pub(crate) message: String,
}

/// A request that failed.
#[derive(Clone, Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<u32>,
}

pub(crate) type ApiResult<T> = Result<T, ApiError>;

impl ApiError {
    fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        ApiError { status, code, message: message.into(), retry_after: None }
    }

    pub(crate) fn bad(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_request", message)
    }

    pub(crate) fn unauthorized() -> Self {
        let message = "this server asks for an access token: send it as `Authorization: Bearer TOKEN`";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
    }

    pub(crate) fn forbidden(message: impl Into<String>) -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", message)
    }

    pub(crate) fn absent(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    pub(crate) fn method() -> Self {
        let message = "this path takes another method; /api/openapi.json lists them";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message)
    }

    pub(crate) fn large(message: impl Into<String>) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, "too_large", message)
    }

    pub(crate) fn busy(message: impl Into<String>, retry_after: u32) -> Self {
        let retry_after = Some(retry_after);
        ApiError { retry_after, ..Self::new(StatusCode::TOO_MANY_REQUESTS, "busy", message) }
    }

    pub(crate) fn conflict(message: impl Into<String>) -> Self {
        Self::new(StatusCode::CONFLICT, "conflict", message)
    }

    pub(crate) fn late(seconds: u64) -> Self {
        let message = format!("the run took longer than the {seconds} s that one may; ask for less");
        Self::new(StatusCode::REQUEST_TIMEOUT, "timeout", message)
    }

    pub(crate) fn stopping() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "stopping", "the server is stopping")
    }

    pub(crate) fn internal(message: impl Into<String>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", message)
    }

    pub(crate) fn what(&self) -> Failure {
        Failure { error: Reason { code: self.code, message: self.message.clone() } }
    }

    pub(crate) fn message(&self) -> &str {
        &self.message
    }
}

impl From<pellucid_scope::Error> for ApiError {
    fn from(error: pellucid_scope::Error) -> Self {
        let message = error.to_string();
        match &error {
            pellucid_scope::Error::Absent(_)
            | pellucid_scope::Error::Atlas(AtlasError::Absent { .. } | AtlasError::Missing { .. }) => {
                Self::absent(message)
            }
            pellucid_scope::Error::Atlas(AtlasError::Invalid { .. }) => Self::bad(message),
            pellucid_scope::Error::Atlas(AtlasError::Busy { .. }) => Self::conflict(message),
            _ if error.is_request() => Self::bad(message),
            _ => Self::internal(message),
        }
    }
}

impl From<pellucid_model::Error> for ApiError {
    fn from(error: pellucid_model::Error) -> Self {
        pellucid_scope::Error::from(error).into()
    }
}

impl From<AtlasError> for ApiError {
    fn from(error: AtlasError) -> Self {
        pellucid_scope::Error::from(error).into()
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.what())).into_response();
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
