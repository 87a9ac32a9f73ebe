//! Building, describing and reading an atlas: the program's side of it.

pub(crate) mod build;
pub(crate) mod concept;
pub(crate) mod contest;
pub(crate) mod describe;
pub(crate) mod find;
pub(crate) mod score;
pub(crate) mod service;
pub(crate) mod sides;
pub(crate) mod texts;

use crate::models::{Loaded, Shown};
use anyhow::{Context, Result, bail};
use pellucid::model::embed::Encoder;
use pellucid::store::atlas::{Atlas, AtlasError};
use std::path::{Path, PathBuf};

/// The encoder of descriptions.
pub(crate) const ENCODER: &str = "minilm";

/// Where a model's atlas lies unless the user says otherwise: in the cache, under the model's hash.
pub(crate) fn default_path(loaded: &Loaded) -> PathBuf {
    let hash = loaded.model.sha256();
    let short = &hash[..hash.len().min(16)];
    pellucid::model::load::cache_dir().join("atlases").join(format!("{short}.atlas"))
}

/// The atlas of a model, to read.
pub(crate) fn open(loaded: &Loaded, path: Option<&Path>) -> Result<Atlas> {
    let path = path.map_or_else(|| default_path(loaded), Path::to_owned);
    if !path.exists() {
        bail!(
            "there is no atlas of {} at {}; make one with `pellucid atlas build --model {}`",
            loaded.name,
            path.display(),
            loaded.name
        );
    }
    let atlas = match Atlas::open_read(&path) {
        // an earlier program's file: once opened for writing it is up to date
        Err(AtlasError::Older { .. }) => {
            drop(Atlas::open_write(&path)?);
            Atlas::open_read(&path)?
        }
        opened => opened?,
    };
    check_model(&atlas, loaded)?;
    Ok(atlas)
}

/// Refuses an atlas of another model: its units would mean something else.
pub(crate) fn check_model(atlas: &Atlas, loaded: &Loaded) -> Result<()> {
    let made =
        atlas.provenance()?.into_iter().next().context("the atlas does not say what it was made of")?;
    let (expected, found) = (loaded.model.sha256(), made.model_hash.as_str());
    if expected != found {
        bail!(
            "{} is the atlas of another model: expected one of {} (sha256 {}…), found {} (sha256 {}…); name the right \
             one with --atlas",
            atlas.path().display(),
            loaded.name,
            &expected[..expected.len().min(12)],
            made.model_name,
            &found[..found.len().min(12)]
        );
    }
    Ok(())
}

/// The encoder that finds by meaning; fetched once.
pub(crate) fn encoder() -> Result<Encoder> {
    let mut shown = Shown::default();
    let encoder = Encoder::load(ENCODER, &mut |progress| shown.fetching(&progress));
    shown.done();
    encoder.with_context(|| format!("cannot load the sentence encoder {ENCODER}"))
}
