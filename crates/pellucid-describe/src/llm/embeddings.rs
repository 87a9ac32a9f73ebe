//! An embedding model behind an OpenAI-compatible server: `POST {base}/v1/embeddings`.

use super::failure::ServiceFailure;
use super::http::{Client, Patience};
use pellucid_core::{Embed, Seed, ServiceError};
use serde::{Deserialize, Serialize};

/// Most texts sent in one request.
const BATCH: usize = 64;

/// A served embedding model.
#[derive(Clone, Debug)]
pub struct EmbeddingEndpoint {
    client: Client,
    model: String,
    name: String,
    width: usize,
}

impl EmbeddingEndpoint {
    /// Connects, and embeds one word to learn how long a vector is.
    ///
    /// # Errors
    /// [`EndpointError`](super::EndpointError) for an address or key that cannot be used, [`ServiceFailure`] if the service fails.
    pub fn connect(
        base: &str,
        model: &str,
        key_variable: Option<&str>,
        patience: &Patience,
    ) -> Result<Self, ServiceError> {
        let client = Client::new(base, "embeddings", key_variable, patience)?;
        let place = base.trim().trim_end_matches('/').trim_end_matches("/v1");
        let place = place.split_once("://").map_or(place, |(_, rest)| rest);
        let name = format!("{model}@{place}");
        let mut endpoint = Self { client, model: model.to_owned(), name, width: 0 };
        endpoint.width = endpoint.request(&["word"])?.first().map_or(0, Vec::len);
        Ok(endpoint)
    }

    fn request(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ServiceFailure> {
        let request = Request { model: &self.model, input: texts };
        let unusable = |said: String, why: String| {
            let url = self.client.url().to_owned();
            ServiceFailure::NotJson { said, why, url }
        };
        let body = serde_json::to_vec(&request).map_err(|e| unusable(String::new(), e.to_string()))?;
        self.client.post(&body, Seed(texts.len() as u64), |bytes| {
            let fail = |why: String| unusable(self.client.shown(bytes), why);
            let response: Response = serde_json::from_slice(bytes).map_err(|e| fail(e.to_string()))?;
            in_order(response.data, texts.len(), self.width).map_err(fail)
        })
    }
}

impl Embed for EmbeddingEndpoint {
    fn name(&self) -> &str {
        &self.name
    }

    fn width(&self) -> usize {
        self.width
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ServiceError> {
        let mut vectors = Vec::with_capacity(texts.len());
        for batch in texts.chunks(BATCH) {
            vectors.extend(self.request(batch)?);
        }
        Ok(vectors)
    }
}

/// The vectors in the order of the texts, each of length 1; `width` 0 means that it is not known yet.
fn in_order(data: Vec<Item>, texts: usize, width: usize) -> Result<Vec<Vec<f32>>, String> {
    let mut vectors: Vec<Option<Vec<f32>>> = vec![None; texts];
    for (place, item) in data.into_iter().enumerate() {
        let index = item.index.unwrap_or(place);
        let slot = vectors.get_mut(index).ok_or_else(|| format!("a vector for text {index} of {texts}"))?;
        if width != 0 && item.embedding.len() != width {
            return Err(format!("a vector of {} numbers, expected {width}", item.embedding.len()));
        }
        *slot = Some(unit(item.embedding).ok_or("a vector that is zero or not finite")?);
    }
    let all: Option<Vec<_>> = vectors.into_iter().collect();
    all.ok_or_else(|| format!("fewer vectors than the {texts} texts sent"))
}

fn unit(mut vector: Vec<f32>) -> Option<Vec<f32>> {
    let norm = vector.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    if !norm.is_finite() || norm < 1e-12 {
        return None;
    }
    vector.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
    Some(vector)
}

#[derive(Serialize)]
struct Request<'a> {
    model: &'a str,
    input: &'a [&'a str],
}

#[derive(Deserialize)]
struct Response {
    data: Vec<Item>,
}

#[derive(Deserialize)]
struct Item {
    embedding: Vec<f32>,
    index: Option<usize>,
}
