//! A directory's files, in an order that is the same on every machine.

use super::{Format, Input, Kind, buffered};
use crate::corpus::CorpusError;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

/// How much of a file is looked at to tell text from other things.
const LOOK: u64 = 8192;

/// The readable files below a directory, sorted by path, and how many were left out as binary.
pub(super) fn files(root: &Path) -> Result<(Vec<Input>, u64), CorpusError> {
    let (mut found, mut folders) = (Vec::new(), vec![root.to_owned()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).map_err(CorpusError::io("list the directory", &folder))? {
            let entry = entry.map_err(CorpusError::io("list the directory", &folder))?;
            if entry.file_name().as_encoded_bytes().starts_with(b".") {
                continue;
            }
            let path = entry.path();
            let kind = entry.file_type().map_err(CorpusError::io("look at the file", &path))?;
            // A link to a directory could lead back here.
            if kind.is_dir() {
                folders.push(path);
            } else if kind.is_file() || path.is_file() {
                found.push(path);
            }
        }
    }
    found.sort_by_cached_key(|path| sort_key(root, path));
    let (mut inputs, mut binary) = (Vec::new(), 0);
    for path in found {
        let kind = Kind::of(&path);
        if kind.format == Format::Unknown && !is_text(&path, kind.compressed)? {
            binary += 1;
        } else {
            inputs.push(Input::File(path, kind));
        }
    }
    Ok((inputs, binary))
}

/// Names below the root, folder by folder, so that separators of the system do not decide the order.
fn sort_key(root: &Path, path: &Path) -> Vec<Vec<u8>> {
    let below = path.strip_prefix(root).map_or_else(|_| path.to_owned(), PathBuf::from);
    below.iter().map(|part| part.as_encoded_bytes().to_vec()).collect()
}

/// Whether a file begins as UTF-8 text does: no zero byte, nothing invalid.
pub(super) fn is_text(path: &Path, compressed: bool) -> Result<bool, CorpusError> {
    let file = File::open(path).map_err(CorpusError::io("open the file", path))?;
    let mut start = Vec::new();
    match buffered(file, compressed).take(LOOK).read_to_end(&mut start) {
        // A `.gz` that is none is no text either.
        Err(_) if compressed => return Ok(false),
        read => read.map_err(CorpusError::io("read the file", path))?,
    };
    // The look may have ended inside a character.
    let valid = std::str::from_utf8(&start).map_or_else(|error| error.error_len().is_none(), |_| true);
    Ok(valid && !start.contains(&0))
}
