//! The program's cache directory, and the hashes of weight files kept there.
//!
//! Every result names the hash of its model. Hashing a large file takes seconds, so the hash is kept with the
//! file's size, times and inode; a file that differs in any of these is hashed again.

use std::fs::{self, Metadata};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use sha2::{Digest, Sha256};

use super::error::LoadError;

/// `$PELLUCID_CACHE`, else `$XDG_CACHE_HOME/pellucid`, else `~/.cache/pellucid`.
#[must_use]
pub fn cache_dir() -> PathBuf {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    set("PELLUCID_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|dir| dir.join("pellucid")))
        .or_else(|| std::env::home_dir().map(|home| home.join(".cache").join("pellucid")))
        .unwrap_or_else(|| std::env::temp_dir().join("pellucid"))
}

/// Lower-case hexadecimal sha256.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

pub(super) fn hex(digest: &[u8]) -> String {
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The hash of a file whose content is `bytes`, from `cache` if the file is the one that was hashed before.
pub(super) fn cached_sha256(path: &Path, bytes: &[u8], cache: &Path) -> Result<String, LoadError> {
    let about = fs::metadata(path).map_err(LoadError::io("look at the file", path))?;
    let stamp = stamp(&about);
    let entry = entry_path(path, cache);
    if let Some(known) = recall(&entry, &stamp) {
        return Ok(known);
    }
    let hash = sha256(bytes);
    remember(&entry, &stamp, &hash);
    Ok(hash)
}

/// Records a hash that was computed while the file was written.
pub(super) fn record_sha256(path: &Path, hash: &str, cache: &Path) {
    if let Ok(about) = fs::metadata(path) {
        remember(&entry_path(path, cache), &stamp(&about), hash);
    }
}

fn entry_path(path: &Path, cache: &Path) -> PathBuf {
    let full = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    cache.join("hashes").join(sha256(full.as_os_str().as_encoded_bytes()))
}

/// What tells one state of a file from another without reading it. Copying with preserved times can forge the
/// modification time; on Unix the change time and the inode cannot be set by a program.
fn stamp(about: &Metadata) -> String {
    let modified = about.modified().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
    let modified = modified.map_or(0, |time| time.as_nanos());
    let stamp = format!("{} {modified}", about.len());
    #[cfg(unix)]
    let stamp = {
        use std::os::unix::fs::MetadataExt;
        format!("{stamp} {}.{} {}:{}", about.ctime(), about.ctime_nsec(), about.dev(), about.ino())
    };
    stamp
}

fn recall(entry: &Path, stamp: &str) -> Option<String> {
    let text = fs::read_to_string(entry).ok()?;
    let (hash, known) = text.trim_end().split_once(' ')?;
    let whole = hash.len() == 64 && hash.bytes().all(|byte| byte.is_ascii_hexdigit());
    (whole && known == stamp).then(|| hash.to_owned())
}

/// Best effort: a cache that cannot be written costs time, not the run.
fn remember(entry: &Path, stamp: &str, hash: &str) {
    let written = || -> std::io::Result<()> {
        if let Some(dir) = entry.parent() {
            fs::create_dir_all(dir)?;
        }
        let part = entry.with_extension(std::process::id().to_string());
        fs::File::create(&part)?.write_all(format!("{hash} {stamp}\n").as_bytes())?;
        fs::rename(&part, entry)
    };
    let _ = written();
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_kept_until_the_file_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (file, cache) = (dir.path().join("w"), dir.path().join("cache"));
        fs::write(&file, b"abc").unwrap();
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(cached_sha256(&file, b"abc", &cache).unwrap(), abc);
        // The content passed is not looked at while the stamp holds: this is what makes a second start quick.
        assert_eq!(cached_sha256(&file, b"never read", &cache).unwrap(), abc);
        fs::write(&file, b"abcd").unwrap();
        assert_ne!(cached_sha256(&file, b"abcd", &cache).unwrap(), abc);
        assert_eq!(fs::read_dir(cache.join("hashes")).unwrap().count(), 1);
    }

    #[test]
    fn a_cache_that_cannot_be_written_costs_only_time() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("w");
        fs::write(&file, b"abc").unwrap();
        // A file where the directory should be.
        assert!(cached_sha256(&file, b"abc", &file).unwrap().starts_with("ba7816bf"));
    }
}
