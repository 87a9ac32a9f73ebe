//! A sweep in memory and in a file: one collector for each site, the windows they have seen, and where to go on.
//!
//! The file is written whole under another name and then renamed, so that a process killed at any moment leaves
//! the last complete one. Sweeps of disjoint slices of a corpus are joined by [`Sweep::merge`] and leave what one
//! sweep of the whole would have left.

use crate::collect::{CollectError, Collector, Keep, SiteCollector, memory};
use crate::harvest::SiteHarvest;
use crate::window::{Document, Window};
use pellucid_core::{Site, Split};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 8] = b"pellswep";
const VERSION: u32 = 1;

/// A sweep that cannot be kept, gone on with, or joined.
#[derive(Debug, thiserror::Error)]
pub enum SweepError {
    /// A collector refused.
    #[error("at {site}: {source}")]
    Collect {
        /// Where.
        site: Site,
        /// Why.
        source: CollectError,
    },
    /// The file holds a sweep of something else.
    #[error("{} holds another sweep:\n  expected {expected}\n  found    {found}\nname another file or give the same options", path.display())]
    Differs {
        /// The file.
        path: PathBuf,
        /// This sweep.
        expected: String,
        /// The one in the file.
        found: String,
    },
    /// The file is no sweep, or damaged.
    #[error("{} cannot be gone on with: {what}; remove it and start the sweep anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What was found.
        what: String,
    },
    /// Two sweeps have seen the same window.
    #[error("both sweeps hold window {window} of one document; slices that are joined must not overlap")]
    Overlap {
        /// Which window.
        window: u32,
    },
    /// The file cannot be read or written.
    #[error("cannot read or write {}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// What all sites' collectors have seen so far.
pub struct Sweep {
    /// In words: model, tokenizer, corpus and options. Sweeps are the same if these are.
    described: String,
    collectors: Vec<SiteCollector>,
    /// What they have seen, in the order of the corpus.
    windows: Vec<Window>,
}

impl Sweep {
    /// An empty sweep of `sites` with their widths. `described` names model, tokenizer, corpus and all options that
    /// make a difference, but not the slice.
    ///
    /// # Errors
    /// If `keep` cannot be worked with.
    pub fn new(described: &str, sites: &[(Site, usize)], keep: &Keep) -> Result<Self, SweepError> {
        let collector = |&(site, width): &(Site, usize)| {
            SiteCollector::new(site, width, keep).map_err(|source| SweepError::Collect { site, source })
        };
        let collectors = sites.iter().map(collector).collect::<Result<_, _>>()?;
        Ok(Sweep { described: described.to_owned(), collectors, windows: Vec::new() })
    }

    /// Bytes that a sweep takes, beside the model.
    pub fn memory(sites: &[(Site, usize)], keep: &Keep) -> u64 {
        sites.iter().map(|(_, width)| memory(*width, keep)).sum()
    }

    /// What it is a sweep of.
    pub fn described(&self) -> &str {
        &self.described
    }

    /// Windows that the sweep has seen.
    pub fn windows(&self) -> &[Window] {
        &self.windows
    }

    /// Counted tokens in them.
    pub fn counted(&self) -> u64 {
        self.windows.iter().map(|w| w.counted.iter().filter(|c| **c).count() as u64).sum()
    }

    /// The collectors, to be given activations of the windows that are then [`Sweep::seen`].
    pub fn collectors(&mut self) -> &mut [SiteCollector] {
        &mut self.collectors
    }

    /// Says that every collector has had the activations on these windows.
    pub fn seen(&mut self, windows: &[Window]) {
        self.windows.extend_from_slice(windows);
    }

    /// Takes in a sweep of another slice.
    ///
    /// # Errors
    /// If it is of something else, or has seen a window that this one has seen.
    pub fn merge(&mut self, other: Sweep, path: &Path) -> Result<(), SweepError> {
        if self.described != other.described {
            let (expected, found) = (self.described.clone(), other.described);
            return Err(SweepError::Differs { path: path.to_owned(), expected, found });
        }
        let mine: BTreeSet<(Document, u32)> = self.windows.iter().map(|w| (w.document, w.index)).collect();
        if let Some(w) = other.windows.iter().find(|w| mine.contains(&(w.document, w.index))) {
            return Err(SweepError::Overlap { window: w.index });
        }
        for (mine, theirs) in self.collectors.iter_mut().zip(other.collectors) {
            let site = mine.site();
            mine.merge(theirs).map_err(|source| SweepError::Collect { site, source })?;
        }
        self.windows.extend(other.windows);
        self.windows.sort_by_key(|w| (w.document, w.index));
        Ok(())
    }

    /// What is kept of each site, one after the other.
    pub fn harvest(self) -> (Vec<Window>, impl Iterator<Item = SiteHarvest>) {
        (self.windows, self.collectors.into_iter().map(Collector::harvest))
    }

    /// Writes the sweep so that it can go on from here.
    ///
    /// # Errors
    /// If it cannot be written; what stood there before still stands.
    pub fn save(&self, path: &Path) -> Result<(), SweepError> {
        let mut part = path.as_os_str().to_owned();
        part.push(".part");
        let part = PathBuf::from(part);
        self.save_as(&part, path).inspect_err(|_| {
            // half a state is of no use, and its room may be what is missing
            let _ = std::fs::remove_file(&part);
        })
    }

    fn save_as(&self, part: &Path, path: &Path) -> Result<(), SweepError> {
        let io = |source| SweepError::Io { path: path.to_owned(), source };
        let mut to = BufWriter::with_capacity(1 << 20, File::create(part).map_err(io)?);
        let mut head = Vec::new();
        head.extend_from_slice(&(self.described.len() as u32).to_le_bytes());
        head.extend_from_slice(self.described.as_bytes());
        head.extend_from_slice(&(self.windows.len() as u64).to_le_bytes());
        self.windows.iter().for_each(|w| put_window(&mut head, w));
        to.write_all(MAGIC).map_err(io)?;
        to.write_all(&VERSION.to_le_bytes()).map_err(io)?;
        to.write_all(&(head.len() as u64).to_le_bytes()).map_err(io)?;
        to.write_all(&Sha256::digest(&head)).map_err(io)?;
        to.write_all(&head).map_err(io)?;
        for collector in &self.collectors {
            let site = collector.site();
            collector.save(&mut to).map_err(|source| SweepError::Collect { site, source })?;
        }
        let file = to.into_inner().map_err(|e| io(e.into_error()))?;
        file.sync_all().map_err(io)?;
        drop(file);
        std::fs::rename(part, path).map_err(io)
    }

    /// Reads a sweep of these sites, or none where there is no file. With `described` it must be that sweep.
    ///
    /// # Errors
    /// If the file is of another sweep, no sweep, damaged, or cannot be read.
    pub fn load(
        path: &Path,
        described: Option<&str>,
        sites: &[(Site, usize)],
        keep: &Keep,
    ) -> Result<Option<Self>, SweepError> {
        let io = |source| SweepError::Io { path: path.to_owned(), source };
        let damaged = |what: &str| SweepError::Damaged { path: path.to_owned(), what: what.to_owned() };
        let file = match File::open(path) {
            Ok(file) => file,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(io(e)),
        };
        let size = file.metadata().map_err(io)?.len();
        let mut from = BufReader::with_capacity(1 << 20, file);
        let mut start = [0u8; 52];
        from.read_exact(&mut start).map_err(|_| damaged("it is too short for a sweep"))?;
        if &start[..8] != MAGIC {
            return Err(damaged("it is no sweep of this program"));
        }
        if start[8..12] != VERSION.to_le_bytes() {
            return Err(damaged("it was written by another version of this program"));
        }
        let length = start[12..20].iter().rev().fold(0u64, |n, b| n << 8 | u64::from(*b));
        if length > size {
            return Err(damaged("it ends in the middle of its windows"));
        }
        let mut head = vec![0u8; length as usize];
        from.read_exact(&mut head).map_err(|_| damaged("it ends in the middle of its windows"))?;
        if Sha256::digest(&head)[..] != start[20..52] {
            return Err(damaged("its content does not have its checksum"));
        }
        let (found, windows) = read_head(&head).ok_or_else(|| damaged("its windows are malformed"))?;
        if let Some(expected) = described.filter(|d| *d != found) {
            let expected = expected.to_owned();
            return Err(SweepError::Differs { path: path.to_owned(), expected, found });
        }
        let mut collectors = Vec::new();
        for &(site, width) in sites {
            let collector = SiteCollector::load(&mut from, site, width, keep);
            collectors.push(collector.map_err(|source| SweepError::Collect { site, source })?);
        }
        Ok(Some(Sweep { described: found, collectors, windows }))
    }
}

fn put_window(to: &mut Vec<u8>, w: &Window) {
    to.extend_from_slice(&w.document.0);
    to.extend_from_slice(&w.index.to_le_bytes());
    to.extend_from_slice(&(w.tokens.len() as u32).to_le_bytes());
    for (token, counted) in w.tokens.iter().zip(&w.counted) {
        to.extend_from_slice(&token.to_le_bytes());
        to.push(u8::from(*counted));
    }
}

/// The description and the windows; none if the bytes do not make sense.
fn read_head(mut bytes: &[u8]) -> Option<(String, Vec<Window>)> {
    let length = u32::from_le_bytes(*bytes.split_off(..4)?.first_chunk()?) as usize;
    let described = String::from_utf8(bytes.split_off(..length)?.to_vec()).ok()?;
    let count = u64::from_le_bytes(*bytes.split_off(..8)?.first_chunk()?);
    let mut windows = Vec::new();
    for _ in 0..count {
        let document = Document(*bytes.split_off(..16)?.first_chunk()?);
        let index = u32::from_le_bytes(*bytes.split_off(..4)?.first_chunk()?);
        let length = u32::from_le_bytes(*bytes.split_off(..4)?.first_chunk()?) as usize;
        let entries = bytes.split_off(..length.checked_mul(5)?)?;
        let token = |e: &[u8]| e.first_chunk().map_or(0, |id| u32::from_le_bytes(*id));
        windows.push(Window {
            document,
            split: Split::of(&document.0),
            index,
            tokens: entries.chunks_exact(5).map(token).collect(),
            counted: entries.chunks_exact(5).map(|e| e[4] != 0).collect(),
        });
    }
    bytes.is_empty().then_some((described, windows))
}
