//! What a text means, as a vector: the sentence encoder, loaded when it is first needed.

use crate::error::bad;
use crate::{Error, Result};
use pellucid_core::Embed;
use pellucid_model::embed::Encoder;
use pellucid_model::load::Progress;
use std::sync::{Arc, Mutex, PoisonError};

/// The name under which the encoder's vectors stand in atlases.
pub const ENCODER: &str = "minilm";

/// The encoder, once for everybody.
#[derive(Default)]
pub struct Meaning(Mutex<Option<Arc<Encoder>>>);

impl std::fmt::Debug for Meaning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Meaning")
    }
}

impl Meaning {
    /// The encoder; the first call loads it (and fetches it, where it is not in the cache).
    ///
    /// # Errors
    /// If it cannot be fetched or read.
    pub fn encoder(&self, progress: &mut dyn FnMut(Progress)) -> Result<Arc<Encoder>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(encoder) = &*kept {
            return Ok(Arc::clone(encoder));
        }
        let loaded = Encoder::load(ENCODER, progress).map_err(|e| Error::Encoder(e.to_string()))?;
        let encoder = Arc::new(loaded);
        *kept = Some(Arc::clone(&encoder));
        Ok(encoder)
    }

    /// What a text means.
    ///
    /// # Errors
    /// If there is no text, or the encoder cannot be loaded.
    pub fn of(&self, text: &str) -> Result<Vec<f32>> {
        if text.trim().is_empty() {
            return bad("there is nothing to look for; write what the units should be about");
        }
        let found = self.all(&[text])?;
        found.into_iter().next().ok_or_else(|| Error::Encoder("it gave no vector".to_owned()))
    }

    /// What texts mean.
    ///
    /// # Errors
    /// If the encoder cannot be loaded.
    pub fn all(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let encoder = self.encoder(&mut |_| ())?;
        encoder.embed(texts).map_err(|e| Error::Encoder(e.to_string()))
    }
}
