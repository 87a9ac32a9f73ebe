//! Real models for the tests that need them.

use pellucid_model::load::{cache_dir, named};
use std::path::PathBuf;

/// The file of a named model; none, with a word about it, where it was not fetched (`pellucid fetch NAME`).
pub(crate) fn fetched(name: &str) -> Option<PathBuf> {
    let model = named::find(name).unwrap();
    let path = cache_dir().join("models").join(model.name).join(model.file);
    if !path.exists() {
        eprintln!("skipped: {name} was not fetched");
    }
    path.exists().then_some(path)
}
