//! `/v1/embeddings`: what texts mean, by the sentence encoder that atlases are searched with.

use super::{OneOrMany, not_served};
use crate::App;
use crate::error::{ApiError, ApiResult};
use crate::work::{Asker, Body, run};
use axum::Json;
use axum::extract::State;
use base64::Engine;
use pellucid_scope::ENCODER;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Deserialize)]
pub(super) struct EmbedRequest {
    #[serde(default)]
    model: String,
    input: OneOrMany,
    #[serde(default)]
    encoding_format: Option<String>,
    #[serde(default)]
    dimensions: Option<usize>,
}

#[derive(Serialize)]
pub(super) struct Embeddings {
    object: &'static str,
    data: Vec<Embedding>,
    model: &'static str,
    usage: Used,
}

#[derive(Serialize)]
struct Embedding {
    object: &'static str,
    index: usize,
    embedding: Vector,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Vector {
    Numbers(Vec<f32>),
    Base64(String),
}

#[derive(Serialize)]
struct Used {
    prompt_tokens: usize,
    total_tokens: usize,
}

/// Most texts of one request.
const TEXTS: usize = 512;

pub(super) async fn embeddings(
    State(app): State<Arc<App>>,
    asker: Asker,
    Body(asked): Body<EmbedRequest>,
) -> ApiResult<Json<Embeddings>> {
    if !asked.model.is_empty() && asked.model != ENCODER {
        return Err(not_served(&app, &asked.model));
    }
    let texts = asked.input.into_vec();
    if texts.is_empty() || texts.len() > TEXTS || texts.iter().any(|t| t.is_empty()) {
        return Err(ApiError::bad(format!("input: expected 1 to {TEXTS} texts, none of them empty")));
    }
    if texts.iter().map(String::len).sum::<usize>() > 1 << 20 {
        return Err(ApiError::large("the texts have more than 1 MiB together"));
    }
    let packed = match asked.encoding_format.as_deref() {
        None | Some("float") => false,
        Some("base64") => true,
        Some(other) => {
            return Err(ApiError::bad(format!("encoding_format {other:?}: expected float or base64")));
        }
    };
    if asked.dimensions.is_some() {
        return Err(ApiError::bad("dimensions is not supported by this server"));
    }
    run(&app, &asker, move |app| {
        let all: Vec<&str> = texts.iter().map(String::as_str).collect();
        let vectors = app.meaning.all(&all)?;
        let one = |(index, vector): (usize, Vec<f32>)| {
            let embedding = match packed {
                false => Vector::Numbers(vector),
                true => {
                    let bytes: Vec<u8> = vector.iter().flat_map(|v| v.to_le_bytes()).collect();
                    Vector::Base64(base64::engine::general_purpose::STANDARD.encode(bytes))
                }
            };
            Embedding { object: "embedding", index, embedding }
        };
        // counted at four bytes a token: the encoder's own count is nobody's bill
        let used = texts.iter().map(|t| t.len().div_ceil(4)).sum();
        Ok(Json(Embeddings {
            object: "list",
            data: vectors.into_iter().enumerate().map(one).collect(),
            model: ENCODER,
            usage: Used { prompt_tokens: used, total_tokens: used },
        }))
    })
    .await
}
