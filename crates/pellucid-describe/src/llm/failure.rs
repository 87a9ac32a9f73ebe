//! What can go wrong with a service on the network, in words a person can act on. A failure is never text in
//! the place of an answer.

use thiserror::Error;

/// Why a service gave no answer. `said` is the beginning of what the server sent, with the key blotted out.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum ServiceFailure {
    /// Nobody listens there, the name is unknown, or the connection broke.
    #[error("could not talk to the service: {reason}; is it running, and is the address right? ({url})")]
    Unreachable {
        /// What the network said.
        reason: String,
        /// Where.
        url: String,
    },
    /// It did not answer in time.
    #[error("no answer within {seconds} s; the limit is `timeout` ({url})")]
    Timeout {
        /// The limit.
        seconds: f64,
        /// Where.
        url: String,
    },
    /// It knows us not, or lets us not (401, 403).
    #[error("the service refused with status {status}: {said}; check the key and its rights ({url})")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// What it said.
        said: String,
        /// Where.
        url: String,
    },
    /// Too many requests (429), and still after all attempts, or it asked for a longer wait than allowed.
    #[error(
        "the service asked to slow down, {attempts} times; lower the concurrency or wait: {said} ({url})"
    )]
    RateLimited {
        /// How often it was asked.
        attempts: usize,
        /// What it said.
        said: String,
        /// Where.
        url: String,
    },
    /// It failed inside (5xx), or sent an error in the place of an answer.
    #[error("the service failed with status {status}: {said} ({url})")]
    Server {
        /// The HTTP status.
        status: u16,
        /// What it said.
        said: String,
        /// Where.
        url: String,
    },
    /// It did not understand the request (other 3xx and 4xx): an unknown model, too long a prompt, a wrong path.
    #[error("the service did not take the request, status {status}: {said} ({url})")]
    Request {
        /// The HTTP status.
        status: u16,
        /// What it said.
        said: String,
        /// Where.
        url: String,
    },
    /// It answered something that is not the JSON expected.
    #[error("expected JSON of an OpenAI-compatible server, found: {said} ({why}; {url})")]
    NotJson {
        /// What it said.
        said: String,
        /// What is wrong with it.
        why: String,
        /// Where.
        url: String,
    },
    /// It answered with more bytes than allowed.
    #[error("the answer is longer than {limit} bytes; not read ({url})")]
    TooLarge {
        /// The limit.
        limit: u64,
        /// Where.
        url: String,
    },
    /// It answered with no choice.
    #[error("the service answered with an empty list of choices ({url})")]
    NoChoices {
        /// Where.
        url: String,
    },
    /// It answered with no text.
    #[error("the service answered with no text (reason given: {reason}; {url})")]
    Empty {
        /// Its `finish_reason`.
        reason: String,
        /// Where.
        url: String,
    },
    /// The user asked to stop while it waited.
    #[error("interrupted while waiting for the service")]
    Interrupted,
}

impl ServiceFailure {
    /// Whether another try, a little later, may do better.
    pub fn worth_retrying(&self) -> bool {
        match self {
            Self::Unreachable { .. }
            | Self::Timeout { .. }
            | Self::RateLimited { .. }
            | Self::NotJson { .. } => true,
            // 501 and the like do not pass; a status below 500 here is an error object in a good answer.
            Self::Server { status, .. } => !matches!(status, 501 | 505),
            _ => false,
        }
    }

    /// Whether the next request will most likely fail too, whatever it asks.
    pub fn is_down(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. } | Self::Refused { .. })
    }

    /// Whether the service works and it was this question that got no answer: asking it otherwise may help.
    pub fn is_no_answer(&self) -> bool {
        matches!(self, Self::NoChoices { .. } | Self::Empty { .. })
    }
}

/// An endpoint's settings that cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// The variable that should hold the key is not set.
    #[error(
        "expected the service's key in the environment variable `{variable}`, found it unset or empty; set it, or name another"
    )]
    NoKey {
        /// Its name.
        variable: String,
    },
    /// The key has characters that a header cannot carry.
    #[error(
        "the key in the environment variable `{variable}` has characters that a key cannot have (a line end?); set it again"
    )]
    BadKey {
        /// Its name.
        variable: String,
    },
    /// Not an address.
    #[error("expected an address such as http://localhost:8000, found `{found}`")]
    Address {
        /// What was given.
        found: String,
    },
}
