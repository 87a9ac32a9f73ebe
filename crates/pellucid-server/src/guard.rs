//! Who may ask. A browser sends requests of any page it shows, so a page elsewhere must not be able to drive a server on
//! this machine: the `Host` must be an address of ours (against DNS rebinding), an `Origin` must be the same place, and
//! where the server can be reached from other machines, every request carries the access token.

use crate::App;
use crate::error::ApiError;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use sha2::{Digest, Sha256};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What a request must bring.
#[derive(Debug)]
pub(crate) struct Guard {
    /// SHA-256 of the token, so that comparing takes the same time whatever was sent and no log can hold it.
    token: Option<[u8; 32]>,
    /// Names that this server may be called by, besides loopback ones.
    names: Vec<String>,
}

impl Guard {
    pub(crate) fn new(token: Option<&str>, names: Vec<String>) -> Self {
        Guard { token: token.map(digest), names }
    }

    pub(crate) fn asks_for_token(&self) -> bool {
        self.token.is_some()
    }

    /// Whether a request may go on.
    fn check(&self, path: &str, headers: &HeaderMap) -> Result<(), ApiError> {
        let text = |name| headers.get(name).map(|v: &HeaderValue| v.to_str().unwrap_or("\u{fffd}"));
        let host = text(header::HOST).unwrap_or_default();
        if !self.knows(host) {
            let hint = "start the server with --allow-host NAME if it is served under that name";
            return Err(ApiError::forbidden(format!("the Host {host:?} is none of this server's; {hint}")));
        }
        if let Some(origin) = text(header::ORIGIN) {
            let theirs = origin.split_once("://").map_or(origin, |(_, rest)| rest);
            if theirs != host {
                return Err(ApiError::forbidden(format!(
                    "a page at {origin:?} may not use this server; open the server's own page"
                )));
            }
        }
        match &self.token {
            Some(expected) if needs_token(path) => {
                let sent = text(header::AUTHORIZATION).and_then(|v| v.strip_prefix("Bearer "));
                if sent.is_some_and(|sent| digest(sent.trim()) == *expected) {
                    Ok(())
                } else {
                    Err(ApiError::unauthorized())
                }
            }
            _ => Ok(()),
        }
    }

    fn knows(&self, host: &str) -> bool {
        let name = without_port(host);
        if self.names.iter().any(|n| n.eq_ignore_ascii_case(name)) {
            return true;
        }
        let address = name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        match address {
            Ok(ip) => ip.is_loopback() || self.token.is_some(),
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        }
    }
}

/// The page's own files hold nothing to protect, and a browser cannot send a token with them.
fn needs_token(path: &str) -> bool {
    path.starts_with("/api/") || path.starts_with("/v1/") || path == "/metrics"
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
            if port.bytes().all(|b| b.is_ascii_digit()) { name } else { host }
        }
        _ => host,
    }
}

fn digest(text: &str) -> [u8; 32] {
    Sha256::digest(text.as_bytes()).into()
}

/// The layer in front of everything.
pub(crate) async fn guard(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    app.counts.requests.fetch_add(1, Ordering::Relaxed);
    let checked = app.guard.check(request.uri().path(), request.headers());
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(error) => error.into_response(),
    };
    if response.status().is_server_error() {
        app.counts.failed.fetch_add(1, Ordering::Relaxed);
    } else if response.status().is_client_error() {
        app.counts.refused.fetch_add(1, Ordering::Relaxed);
    }
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data: blob:; frame-ancestors 'none'; \
             base-uri 'none'; form-action 'none'",
        ),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(n, v)| (n.parse().unwrap(), HeaderValue::from_str(v).unwrap())).collect()
    }

    #[test]
    fn a_page_elsewhere_cannot_drive_it() {
        let guard = Guard::new(None, vec!["lab.example".to_owned()]);
        let ok = |pairs: &[(&'static str, &str)]| guard.check("/api/run", &headers(pairs)).is_ok();
        for host in
            ["127.0.0.1:7171", "localhost:7171", "localhost", "[::1]:7171", "lab.example", "LAB.example:80"]
        {
            assert!(ok(&[("host", host)]), "{host}");
        }
        for host in
            ["evil.example", "127.0.0.1.evil.example:7171", "10.0.0.5:7171", "", "localhost.evil.example"]
        {
            assert!(!ok(&[("host", host)]), "{host}");
        }
        assert!(ok(&[("host", "127.0.0.1:7171"), ("origin", "http://127.0.0.1:7171")]));
        for origin in ["http://evil.example", "null", "http://127.0.0.1:8080", "http://localhost:7171"] {
            assert!(!ok(&[("host", "127.0.0.1:7171"), ("origin", origin)]), "{origin}");
        }
    }

    #[test]
    fn a_token_is_asked_for_where_there_is_one() {
        let guard = Guard::new(Some("correct horse battery"), Vec::new());
        let check = |path: &str, pairs: &[(&'static str, &str)]| {
            let mut all = vec![("host", "10.0.0.5:7171")];
            all.extend(pairs);
            guard.check(path, &headers(&all)).is_ok()
        };
        assert!(check("/api/status", &[("authorization", "Bearer correct horse battery")]));
        assert!(!check("/api/status", &[("authorization", "Bearer wrong")]));
        assert!(!check("/v1/models", &[("authorization", "correct horse battery")]));
        assert!(!check("/metrics", &[]));
        assert!(check("/", &[]) && check("/healthz", &[]));
    }
}
