//! The models that are measured.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::peer::folder;
use crate::paths;

/// A model, with what the report needs to know of it.
#[derive(Debug)]
pub(super) struct Subject {
    /// What the program fetches it by.
    pub(super) name: &'static str,
    pub(super) title: &'static str,
    /// Numbers in its weights, one that stands twice counted once.
    parameters: u32,
    layers: u32,
    /// Neurons of a layer.
    width: u32,
}

pub(super) const SUBJECTS: [Subject; 2] = [
    Subject {
        name: "smollm2",
        title: "SmolLM2-135M-Instruct (Q4_1 GGUF)",
        parameters: 134_515_008,
        layers: 30,
        width: 1536,
    },
    Subject {
        name: "gemma3-270m",
        title: "Gemma 3 270M (Q4_K_M GGUF)",
        parameters: 268_098_176,
        layers: 18,
        width: 2048,
    },
];

impl Subject {
    /// Bytes of its weights with so many to a number.
    pub(super) fn weights(&self, each: u32) -> f64 {
        f64::from(self.parameters) * f64::from(each)
    }

    /// Bytes that the case `capture` is asked to keep: f32 of every neuron at 8 rows of 256 tokens.
    pub(super) fn captured(&self) -> f64 {
        f64::from(self.layers) * f64::from(self.width) * 2048.0 * 4.0
    }

    pub(super) fn tokens(&self) -> PathBuf {
        folder().join(format!("tokens-{}.json", self.name))
    }

    pub(super) fn gguf(&self) -> Result<PathBuf> {
        paths::gguf(self.name)
    }

    /// Where things that were made of it are kept.
    pub(super) fn made(&self, ending: &str) -> Result<PathBuf> {
        Ok(paths::cache()?.join("bench").join(format!("{}-{ending}", self.name)))
    }
}

/// Bytes of a file.
pub(super) fn size(file: &Path) -> Result<f64> {
    let about = std::fs::metadata(file).with_context(|| format!("looking at {}", file.display()))?;
    Ok(about.len() as f64)
}
