//! The page, embedded: every file under `/`, and the page itself for addresses that are none of the API's.

use crate::error::ApiError;
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use rust_embed::RustEmbed;

#[derive(RustEmbed)]
#[folder = "$PELLUCID_PAGE"]
struct Page;

pub(crate) async fn index(headers: HeaderMap) -> Response {
    file("index.html", &headers)
}

pub(crate) async fn asset(Path(path): Path<String>, headers: HeaderMap) -> Response {
    file(&path, &headers)
}

fn file(path: &str, headers: &HeaderMap) -> Response {
    let Some(found) = Page::get(path) else {
        return ApiError::absent(format!("there is nothing at /{path}; the page is at /")).into_response();
    };
    let hash: String = found.metadata.sha256_hash().iter().take(16).map(|b| format!("{b:02x}")).collect();
    let tag = format!("\"{hash}\"");
    if headers.get(header::IF_NONE_MATCH).is_some_and(|sent| sent.as_bytes() == tag.as_bytes()) {
        return StatusCode::NOT_MODIFIED.into_response();
    }
    let kind = mime_guess::from_path(path).first_or_octet_stream();
    // files under assets/ have their content's hash in their names
    let keep = if path.starts_with("assets/") { "public, max-age=31536000, immutable" } else { "no-cache" };
    let mut response = found.data.into_owned().into_response();
    let of = response.headers_mut();
    if let Ok(kind) = HeaderValue::from_str(kind.essence_str()) {
        of.insert(header::CONTENT_TYPE, kind);
    }
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        of.insert(header::ETAG, tag);
    }
    of.insert(header::CACHE_CONTROL, HeaderValue::from_static(keep));
    response
}
