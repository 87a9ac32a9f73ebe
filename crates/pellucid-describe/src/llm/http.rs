//! One JSON request to a service, tried again while that may help: exponential back-off with jitter
//! (wait = min(longest, first·2ⁿ)·u, u uniform in [½, 1)), or as long as the server's `Retry-After` says.

use super::failure::{EndpointError, ServiceFailure};
use pellucid_core::Seed;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};
use ureq::http::{HeaderMap, Uri};

/// How patient to be with a service. None of it changes an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Patience {
    /// Longest time for one request, from connecting to the last byte.
    pub timeout: Duration,
    /// How often to try in all, at least 1.
    pub attempts: usize,
    /// The wait before the second try; it doubles for each further one.
    pub first_wait: Duration,
    /// Longest wait between tries; a server that asks for more is not waited for.
    pub longest_wait: Duration,
    /// Longest answer that is read, in bytes.
    pub body_limit: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(120),
            attempts: 5,
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(60),
            body_limit: 16 << 20,
        }
    }
}

/// A key that no debug output shows.
#[derive(Clone)]
struct Key(String);

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("[key]")
    }
}

/// An address that takes JSON and gives JSON.
#[derive(Clone, Debug)]
pub(super) struct Client {
    agent: ureq::Agent,
    url: String,
    key: Option<Key>,
    patience: Patience,
    stop: Option<Arc<AtomicBool>>,
}

/// A failed try: why, and how long the server asked us to wait.
struct Failed {
    why: ServiceFailure,
    retry_after: Option<Duration>,
}

impl From<ServiceFailure> for Failed {
    fn from(why: ServiceFailure) -> Self {
        Self { why, retry_after: None }
    }
}

impl Client {
    /// A client of `{base}/v1/{path}`; a base that already ends in `/v1` is taken as it is.
    pub(super) fn new(
        base: &str,
        path: &str,
        key_variable: Option<&str>,
        patience: &Patience,
    ) -> Result<Self, EndpointError> {
        let (base, host) = checked(base)?;
        let version = if base.ends_with("/v1") { "" } else { "/v1" };
        let mut config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(patience.timeout))
            // A redirect would carry the question elsewhere; it is reported instead.
            .max_redirects(0)
            .max_redirects_will_error(false);
        if matches!(host.as_str(), "localhost" | "127.0.0.1" | "[::1]" | "::1") {
            config = config.proxy(None);
        }
        Ok(Self {
            agent: config.build().new_agent(),
            url: format!("{base}{version}/{path}"),
            key: key_variable.map(read_key).transpose()?,
            patience: patience.clone(),
            stop: None,
        })
    }

    /// Stops waiting when the flag is set.
    pub(super) fn stopped_by(mut self, stop: Arc<AtomicBool>) -> Self {
        self.stop = Some(stop);
        self
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// Sends `body` until `read` understands what came back, or until trying again is of no use.
    pub(super) fn post<T>(
        &self,
        body: &[u8],
        seed: Seed,
        read: impl Fn(&[u8]) -> Result<T, ServiceFailure>,
    ) -> Result<T, ServiceFailure> {
        let mut jitter = seed.for_purpose("back-off");
        let mut attempt = 0;
        loop {
            let failed = match self.send(body).and_then(|bytes| read(&bytes).map_err(Failed::from)) {
                Ok(value) => return Ok(value),
                Err(failed) => failed,
            };
            attempt += 1;
            let wait = self.wait(attempt, failed.retry_after, &mut jitter);
            match wait {
                Some(wait) if failed.why.worth_retrying() && attempt < self.patience.attempts => {
                    self.sleep(wait)?;
                }
                _ => return Err(with_attempts(failed.why, attempt)),
            }
        }
    }

    /// One try.
    fn send(&self, body: &[u8]) -> Result<Vec<u8>, Failed> {
        if self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
            return Err(ServiceFailure::Interrupted.into());
        }
        let mut request = self.agent.post(&self.url).header("content-type", "application/json");
        if let Some(Key(key)) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        let mut response = request.send(body).map_err(|e| self.network(e))?;
        let status = response.status().as_u16();
        let retry_after = retry_after(response.headers());
        let reader = response.body_mut().with_config().limit(self.patience.body_limit);
        let bytes = reader.read_to_vec().map_err(|e| self.network(e));
        if status == 200 {
            return bytes.map_err(Failed::from);
        }
        // What an unsuccessful answer says is welcome but not needed.
        let said = self.shown(&bytes.unwrap_or_default());
        Err(Failed { why: self.unsuccessful(status, said), retry_after })
    }

    fn unsuccessful(&self, status: u16, said: String) -> ServiceFailure {
        let url = self.url.clone();
        match status {
            401 | 403 => ServiceFailure::Refused { status, said, url },
            429 => ServiceFailure::RateLimited { attempts: 1, said, url },
            500.. => ServiceFailure::Server { status, said, url },
            _ => ServiceFailure::Request { status, said, url },
        }
    }

    fn network(&self, error: ureq::Error) -> ServiceFailure {
        let url = self.url.clone();
        match error {
            ureq::Error::Timeout(_) => {
                ServiceFailure::Timeout { seconds: self.patience.timeout.as_secs_f64(), url }
            }
            ureq::Error::BodyExceedsLimit(limit) => ServiceFailure::TooLarge { limit, url },
            ureq::Error::Io(e) if e.kind() == std::io::ErrorKind::TimedOut => {
                ServiceFailure::Timeout { seconds: self.patience.timeout.as_secs_f64(), url }
            }
            other => ServiceFailure::Unreachable { reason: other.to_string(), url },
        }
    }

    /// The beginning of what a server sent, on one line, without our key.
    pub(super) fn shown(&self, bytes: &[u8]) -> String {
        const LONGEST: usize = 300;
        let mut text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * LONGEST)]).into_owned();
        if let Some(Key(key)) = &self.key {
            text = text.replace(key.as_str(), "[key]");
        }
        let line: Vec<&str> = text.split_whitespace().collect();
        let line = line.join(" ");
        if line.is_empty() { "nothing".to_owned() } else { line.chars().take(LONGEST).collect() }
    }

    /// How long to wait before the next try; none if the server asks for longer than we would wait.
    fn wait(&self, attempt: usize, asked: Option<Duration>, jitter: &mut Seed) -> Option<Duration> {
        let Patience { first_wait, longest_wait, .. } = self.patience;
        if let Some(asked) = asked {
            return (asked <= longest_wait).then_some(asked);
        }
        let doublings = u32::try_from(attempt.saturating_sub(1)).unwrap_or(u32::MAX).min(20);
        let wait = first_wait.saturating_mul(1 << doublings).min(longest_wait);
        Some(wait.mul_f64(0.5 + jitter.uniform() / 2.0))
    }

    /// Sleeps in short naps, so that an interruption is heard.
    fn sleep(&self, wait: Duration) -> Result<(), ServiceFailure> {
        let end = Instant::now() + wait;
        loop {
            if self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                return Err(ServiceFailure::Interrupted);
            }
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(());
            }
            std::thread::sleep(left.min(Duration::from_millis(50)));
        }
    }
}

fn with_attempts(why: ServiceFailure, attempts: usize) -> ServiceFailure {
    match why {
        ServiceFailure::RateLimited { said, url, .. } => ServiceFailure::RateLimited { attempts, said, url },
        other => other,
    }
}

/// `Retry-After` in seconds. The other form, a date, needs a clock that agrees with the server's, and is left
/// to the back-off.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds: f64 = headers.get("retry-after")?.to_str().ok()?.trim().parse().ok()?;
    Duration::try_from_secs_f64(seconds).ok()
}

fn read_key(variable: &str) -> Result<Key, EndpointError> {
    let key = std::env::var(variable).unwrap_or_default();
    let key = key.trim();
    if key.is_empty() {
        return Err(EndpointError::NoKey { variable: variable.to_owned() });
    }
    if !key.chars().all(|c| c.is_ascii_graphic()) {
        return Err(EndpointError::BadKey { variable: variable.to_owned() });
    }
    Ok(Key(key.to_owned()))
}

/// The base without a slash at its end, and its host. An address with a password in it is refused: it would be
/// shown in messages.
fn checked(base: &str) -> Result<(String, String), EndpointError> {
    let bad = || EndpointError::Address { found: base.to_owned() };
    let trimmed = base.trim().trim_end_matches('/');
    let uri: Uri = trimmed.parse().map_err(|_| bad())?;
    let authority = uri.authority().ok_or_else(bad)?;
    let web = matches!(uri.scheme_str(), Some("http" | "https"));
    if !web || authority.as_str().contains('@') || uri.query().is_some() || authority.host().is_empty() {
        return Err(bad());
    }
    Ok((trimmed.to_owned(), authority.host().to_owned()))
}
