//! The model that comes with the program: one layer, 512 neurons, a dictionary of them, and what is known of both. It needs no network and
//! nothing in the cache; it is unpacked there once, since models and atlases are files.
//!
//! `cargo xtask embed` makes the archive again from text and seeds; everything that it learned from is in the public domain or generated.

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use zip::ZipArchive;

/// What a user calls it.
pub(crate) const NAME: &str = "one-layer";
/// What its dictionary is called.
pub(crate) const DICTIONARY: &str = "latents";
/// The folders in the archive, and in the cache: of the model, of the dictionary, and of files that belong to the cache's atlases.
pub(crate) const FOLDERS: [&str; 3] = ["model", "dictionary", "atlases"];

static ARCHIVE: &[u8] = include_bytes!("../embedded/one-layer.zip");

/// Unpacks what is not there yet into the cache; the model's folder.
pub(crate) fn unpacked() -> Result<PathBuf> {
    let cache = pellucid::model::load::cache_dir();
    unpack(ARCHIVE, &cache)
        .with_context(|| format!("cannot unpack the embedded model into {}", cache.display()))
}

/// Its dictionary, of the model where it was unpacked.
pub(crate) fn dictionary_beside(model: &Path) -> PathBuf {
    model.with_file_name(FOLDERS[1])
}

fn unpack(archive: &[u8], cache: &Path) -> Result<PathBuf> {
    let hash: String = Sha256::digest(archive).iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let folder = cache.join("embedded").join(hash);
    let [model, _, atlases] = FOLDERS;
    if !folder.exists() {
        std::fs::create_dir_all(cache.join("embedded"))?;
        // beside it, and then in place by one rename: half of it is never found
        let beside = tempfile::Builder::new().prefix(".unpacking").tempdir_in(cache.join("embedded"))?;
        write(archive, beside.path())?;
        match std::fs::rename(beside.path(), &folder) {
            // another process was quicker
            Err(_) if folder.exists() => {}
            moved => moved?,
        }
    }
    copy_missing(&folder.join(atlases), &cache.join(atlases))?;
    Ok(folder.join(model))
}

fn write(archive: &[u8], folder: &Path) -> Result<()> {
    let mut archive = ZipArchive::new(Cursor::new(archive))?;
    for i in 0..archive.len() {
        let mut member = archive.by_index(i)?;
        // the archive is ours, and still no member leaves the folder
        let name = member.enclosed_name().context("a member without a name of its own")?;
        let path = folder.join(name);
        if let Some(parent) = path.parent() {
            std::fs::create_dir_all(parent)?;
        }
        let mut bytes = Vec::new();
        member.read_to_end(&mut bytes)?;
        std::fs::write(&path, bytes)?;
    }
    Ok(())
}

/// Atlases that were unpacked belong where atlases are looked for; one that is there already stays.
fn copy_missing(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let place = to.join(entry.file_name());
        if !place.exists() {
            let beside = tempfile::NamedTempFile::new_in(to)?;
            std::fs::copy(entry.path(), beside.path())?;
            beside.persist(&place).map_err(|e| e.error)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_unpacks_once_and_opens() {
        let cache = tempfile::tempdir().unwrap();
        let first = unpack(ARCHIVE, cache.path()).unwrap();
        let stamp = |path: &Path| std::fs::metadata(path.join("config.json")).unwrap().modified().unwrap();
        let before = stamp(&first);
        let again = unpack(ARCHIVE, cache.path()).unwrap();
        assert_eq!((&first, before), (&again, stamp(&again)));
        let model = pellucid::model::Model::open(&first, pellucid::model::Storage::F32, &mut |_| ()).unwrap();
        let opened = pellucid::dict::open(&dictionary_beside(&first)).unwrap();
        assert_eq!((model.spec().n_layers, model.spec().d_mlp), (1, opened.dictionary.shape.d_in));
        // its atlases are found under the names that the cache gives them
        let short = &model.sha256()[..16];
        let latents = &opened.dictionary.fingerprint()[..16];
        for name in [format!("{short}.atlas"), format!("{short}-{latents}.atlas")] {
            assert!(cache.path().join("atlases").join(&name).exists(), "{name}");
        }
    }

    #[test]
    fn a_damaged_archive_leaves_nothing() {
        let cache = tempfile::tempdir().unwrap();
        assert!(unpack(&ARCHIVE[..ARCHIVE.len() / 2], cache.path()).is_err());
        let left: Vec<_> = std::fs::read_dir(cache.path().join("embedded")).unwrap().collect();
        assert!(left.is_empty(), "{left:?}");
    }
}
