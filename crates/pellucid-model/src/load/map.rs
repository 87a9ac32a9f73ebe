//! A weight file in the address space: the one place where `load` needs `unsafe`.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;

use super::error::LoadError;

/// The bytes of a file, paged in by the operating system as they are read.
#[derive(Debug)]
pub(super) struct Map(Mmap);

impl Map {
    /// Maps a regular, non-empty file read-only.
    pub(super) fn open(path: &Path) -> Result<Self, LoadError> {
        let file = File::open(path).map_err(LoadError::io("open the file", path))?;
        let about = file.metadata().map_err(LoadError::io("look at the file", path))?;
        // A pipe or device has no length to check offsets against, and an empty map is an error on some
        // systems.
        if !about.is_file() || about.len() == 0 {
            let found =
                if about.is_file() { "an empty file" } else { "something that is not a regular file" };
            let expected = "a file with weights";
            return Err(LoadError::NotACheckpoint { expected, found: found.into(), path: path.into() });
        }
        // SAFETY: the map is private and read-only, it covers exactly the open file, and only `&[u8]` of its
        // lifetime leaves this module, so no Rust code can write through it or outlive it. What remains is
        // another process changing the file under us. No byte pattern is invalid for `u8`, header values are
        // copied out once and checked on the copy, and every later use of the data is bounds-checked
        // arithmetic on floats, so changed bytes give other numbers, never a bad reference; a file cut short
        // ends the process with SIGBUS. Every loader that maps weights takes this on; `cache` files are
        // replaced by rename, never rewritten.
        #[allow(unsafe_code)]
        let map = unsafe { Mmap::map(&file) }.map_err(LoadError::io("map the file", path))?;
        Ok(Self(map))
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}
