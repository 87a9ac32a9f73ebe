//! A weight file in the address space: the one place where `load` needs `unsafe`.

use std::fs::File;
use std::ops::Deref;
use std::path::Path;

use memmap2::Mmap;
#[cfg(unix)]
use memmap2::UncheckedAdvice;

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

    /// Lets the system take back the memory of a part that has been read: what is read again is fetched again. Only a
    /// wish; pages that the part shares with its neighbours stay.
    pub(super) fn forget(&self, part: &[u8]) {
        #[cfg(unix)]
        {
            const PAGE: usize = 4096;
            let Some(from) = (part.as_ptr() as usize).checked_sub(self.0.as_ptr() as usize) else { return };
            let (from, end) = (from.next_multiple_of(PAGE), (from + part.len()) / PAGE * PAGE);
            if from < end && end <= self.0.len() {
                // SAFETY: the map is read-only and of a file, so that pages which are dropped hold the same bytes again
                // when they are next read; references into it stay valid.
                #[allow(unsafe_code)]
                let _ = unsafe { self.0.unchecked_advise_range(UncheckedAdvice::DontNeed, from, end - from) };
            }
        }
        #[cfg(not(unix))]
        let _ = part;
    }
}

impl Deref for Map {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_forgotten_is_read_again_as_it_was() {
        let path = std::env::temp_dir().join(format!("pellucid-map-{}", std::process::id()));
        let bytes: Vec<u8> = (0..50_000u32).map(|i| (i % 251) as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let map = Map::open(&path).unwrap();
        for part in [0..0, 3..9, 0..50_000, 4096..12_288, 40_000..50_000] {
            map.forget(&map[part.clone()]);
            assert!(map[..] == bytes[..], "{part:?}");
        }
        map.forget(&[1, 2, 3]);
        std::fs::remove_file(path).unwrap();
    }
}
