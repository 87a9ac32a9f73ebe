//! Building, describing and reading an atlas: the program's side of it.

pub(crate) mod build;
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
use pellucid::scope::{Meaning, Shelf, open_current};
use pellucid::store::atlas::Atlas;
use std::path::{Path, PathBuf};

pub(crate) use pellucid::scope::{ENCODER, check_model, default_path, latents_path};

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
    let atlas = open_current(&path)?;
    check_model(&atlas, loaded)?;
    Ok(atlas)
}

/// Where an atlas lies: where the user says, or in the cache under the model's hash; a dictionary that was given means the
/// atlas of its latents.
pub(crate) fn path_of(loaded: &Loaded, given: Option<&Path>) -> Result<PathBuf> {
    match (given, loaded.model.dictionaries()) {
        (Some(path), _) => Ok(path.to_owned()),
        (None, []) => Ok(default_path(loaded)),
        (None, [one]) => Ok(latents_path(loaded, one)),
        (None, _) => bail!("several dictionaries are given; name the atlas with --atlas"),
    }
}

/// A model's atlas for questions.
pub(crate) fn shelf(loaded: &Loaded, path: Option<&Path>) -> Shelf {
    Shelf::new(path.map_or_else(|| default_path(loaded), Path::to_owned))
}

/// What texts mean; the encoder is fetched now, with its progress shown, if it is not in the cache.
pub(crate) fn meaning() -> Result<Meaning> {
    let (meaning, mut shown) = (Meaning::default(), Shown::default());
    meaning.encoder(&mut |progress| shown.fetching(&progress))?;
    shown.done();
    Ok(meaning)
}

/// The encoder that finds by meaning; fetched once.
pub(crate) fn encoder() -> Result<Encoder> {
    let mut shown = Shown::default();
    let encoder = Encoder::load(ENCODER, &mut |progress| shown.fetching(&progress));
    shown.done();
    encoder.with_context(|| format!("cannot load the sentence encoder {ENCODER}"))
}
