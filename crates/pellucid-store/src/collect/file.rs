//! A collector in a file, so that a sweep that was stopped goes on where it was.
//!
//! Eight letters, a version, the configuration in words, the number of counted tokens, then for each chunk of
//! units its length and content, and the SHA-256 of all that. Numbers are little-endian. Only what is occupied
//! is written, lists best first, so that equal harvests have equal files. Nothing is allocated by what a file
//! says: the reader makes an empty collector from its own configuration and fills it.

use super::bins::BINS;
use super::chunk::{Chunk, Moments};
use super::exact::Exact;
use super::keep::Keep;
use super::shelf::Place;
use super::{CollectError, SiteCollector};
use crate::window::Document;
use pellucid_core::Site;
use rayon::prelude::*;
use sha2::{Digest, Sha256};
use std::io::{ErrorKind, Read, Write};

/// How a collector's file begins.
pub(super) const MAGIC: &[u8; 8] = b"pellcoll";

/// Version of the format and of what the numbers in it mean.
const VERSION: u32 = 1;

/// Longest description of a configuration that is read, in bytes.
const LONGEST: u32 = 1024;

impl SiteCollector {
    /// Writes the collector; the same bytes for the same harvest. Several may follow one another in a file.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn save(&self, to: &mut impl Write) -> Result<(), CollectError> {
        let mut hash = Sha256::new();
        let mut put = |bytes: &[u8]| {
            hash.update(bytes);
            to.write_all(bytes)
        };
        let described = self.described();
        put(MAGIC)?;
        put(&VERSION.to_le_bytes())?;
        put(&(described.len() as u32).to_le_bytes())?;
        put(described.as_bytes())?;
        put(&self.count.to_le_bytes())?;
        // A few chunks at a time, so that their copies stay small beside the state.
        for some in self.chunks.chunks(8) {
            let encoded: Vec<Vec<u8>> = some.par_iter().map(encode).collect();
            for bytes in encoded {
                put(&(bytes.len() as u32).to_le_bytes())?;
                put(&bytes)?;
            }
        }
        to.write_all(&hash.finalize())?;
        Ok(())
    }

    /// Reads a collector of this site, width and configuration. Reads its bytes and no further.
    ///
    /// # Errors
    /// If the file is something else, of another version or configuration, torn or damaged.
    pub fn load(from: &mut impl Read, site: Site, width: usize, keep: &Keep) -> Result<Self, CollectError> {
        let mut collector = SiteCollector::new(site, width, keep)?;
        let mut from = Hashed { from, hash: Sha256::new() };
        let magic: [u8; 8] = from.array("its first letters")?;
        if &magic != MAGIC {
            return Err(CollectError::Foreign { found: magic.escape_ascii().to_string() });
        }
        let found = u32::from_le_bytes(from.array("its version")?);
        if found != VERSION {
            return Err(CollectError::Version { expected: VERSION, found });
        }
        let length = u32::from_le_bytes(from.array("its configuration")?);
        let described = from.bytes(length, LONGEST, "its configuration")?;
        let (expected, found) = (collector.described(), String::from_utf8_lossy(&described).into_owned());
        if expected != found {
            return Err(CollectError::Differs { expected, found });
        }
        collector.count = u64::from_le_bytes(from.array("the number of tokens")?);
        let per_unit = Chunk::bytes(keep).saturating_mul(2);
        for chunk in &mut collector.chunks {
            let most = per_unit.saturating_mul(chunk.moments.len() as u64).min(u64::from(u32::MAX)) as u32;
            let length = u32::from_le_bytes(from.array("its units")?);
            let bytes = from.bytes(length, most, "its units")?;
            decode(chunk, &mut Cursor(&bytes))?;
        }
        let expected: [u8; 32] = from.hash.clone().finalize().into();
        if from.array::<32>("its checksum")? != expected {
            return Err(damaged("its checksum is not that of its content"));
        }
        collector.with(0)?;
        Ok(collector)
    }
}

fn damaged(what: &str) -> CollectError {
    CollectError::Damaged { what: what.to_owned() }
}

/// A reader that hashes what it reads.
struct Hashed<'a, R> {
    from: &'a mut R,
    hash: Sha256,
}

impl<R: Read> Hashed<'_, R> {
    fn fill(&mut self, bytes: &mut [u8], part: &'static str) -> Result<(), CollectError> {
        self.from.read_exact(bytes).map_err(|error| match error.kind() {
            ErrorKind::UnexpectedEof => CollectError::Torn { part },
            _ => CollectError::Io(error),
        })?;
        self.hash.update(bytes);
        Ok(())
    }

    fn array<const N: usize>(&mut self, part: &'static str) -> Result<[u8; N], CollectError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes, part)?;
        Ok(bytes)
    }

    fn bytes(&mut self, length: u32, most: u32, part: &'static str) -> Result<Vec<u8>, CollectError> {
        if length > most {
            return Err(CollectError::Damaged {
                what: format!("{part} would be {length} bytes, at most {most}"),
            });
        }
        let mut bytes = vec![0; length as usize];
        self.fill(&mut bytes, part)?;
        Ok(bytes)
    }
}

/// What is left of a chunk's content.
struct Cursor<'a>(&'a [u8]);

impl Cursor<'_> {
    fn array<const N: usize>(&mut self) -> Result<[u8; N], CollectError> {
        let (first, rest) = self.0.split_first_chunk().ok_or_else(|| damaged("a unit ends too early"))?;
        self.0 = rest;
        Ok(*first)
    }

    fn u16(&mut self) -> Result<u16, CollectError> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32, CollectError> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn f32(&mut self) -> Result<f32, CollectError> {
        Ok(f32::from_le_bytes(self.array()?))
    }

    fn exact<const LIMBS: usize>(&mut self) -> Result<Exact<LIMBS>, CollectError> {
        let mut limbs = [0; LIMBS];
        for limb in &mut limbs {
            *limb = u64::from_le_bytes(self.array()?);
        }
        Ok(Exact(limbs))
    }
}

fn encode(chunk: &Chunk) -> Vec<u8> {
    let mut out = Vec::new();
    for unit in 0..chunk.moments.len() {
        let Moments { sum, squares, most, least } = chunk.moments[unit];
        for limb in sum.0.iter().chain(&squares.0) {
            out.extend(limb.to_le_bytes());
        }
        out.extend([most, least].iter().flat_map(|x| x.to_le_bytes()));
        for side in 0..2 {
            let filled: Vec<(u16, u32)> = chunk.filled(unit, side).collect();
            out.extend((filled.len() as u16).to_le_bytes());
            for (bin, count) in filled {
                out.extend(bin.to_le_bytes());
                out.extend(count.to_le_bytes());
            }
            out.extend(chunk.shelf.highest[unit][side].to_le_bytes());
        }
        for list in chunk.shelf.layout.all() {
            let held = chunk.shelf.sorted(unit, list);
            out.extend((held.len() as u16).to_le_bytes());
            for index in held {
                let Place { document, window, start, value, peak, length } = chunk.shelf.places[index];
                out.extend(document.0);
                out.extend([window, start].iter().flat_map(|x| x.to_le_bytes()));
                out.extend(value.to_le_bytes());
                out.extend([peak, length].iter().flat_map(|x| x.to_le_bytes()));
                out.extend(chunk.shelf.stretch(index).iter().flat_map(|x| x.to_le_bytes()));
            }
        }
    }
    out
}

/// Fills an empty chunk.
fn decode(chunk: &mut Chunk, from: &mut Cursor<'_>) -> Result<(), CollectError> {
    for unit in 0..chunk.moments.len() {
        chunk.moments[unit] =
            Moments { sum: from.exact()?, squares: from.exact()?, most: from.f32()?, least: from.f32()? };
        for side in 0..2 {
            for _ in 0..from.u16()? {
                let (bin, count) = (from.u16()?, from.u32()?);
                if usize::from(bin) >= BINS {
                    return Err(damaged("a bin that does not exist"));
                }
                chunk.fill(unit, side, bin, count);
            }
            let highest = i16::from_le_bytes(from.array()?);
            if highest != i16::MIN && !(-127..=127).contains(&highest) {
                return Err(damaged("an octave that no activation has"));
            }
            chunk.shelf.highest[unit][side] = highest;
        }
        decode_lists(chunk, unit, from)?;
    }
    if from.0.is_empty() { Ok(()) } else { Err(damaged("more than its units")) }
}

fn decode_lists(chunk: &mut Chunk, unit: usize, from: &mut Cursor<'_>) -> Result<(), CollectError> {
    let shelf = &mut chunk.shelf;
    let room = shelf.activations.len().checked_div(shelf.places.len()).unwrap_or(0);
    for list in shelf.layout.all() {
        let number = shelf.layout.number(list);
        let held = from.u16()?;
        if usize::from(held) > shelf.layout.room(number) {
            return Err(damaged("a list with more windows than it keeps"));
        }
        let first = shelf.first_place(unit, number);
        shelf.taken[unit * shelf.layout.lists() + number] = held;
        for index in first..first + usize::from(held) {
            let place = Place {
                document: Document(from.array()?),
                window: from.u32()?,
                start: from.u32()?,
                value: from.f32()?,
                peak: from.u16()?,
                length: from.u16()?,
            };
            let inside = place.peak < place.length && usize::from(place.length) <= room;
            if !inside || place.start.checked_add(place.length.into()).is_none() || !place.value.is_finite() {
                return Err(damaged("an exemplar that is none"));
            }
            if !shelf.belongs(unit, list, place.value) {
                return Err(damaged("an exemplar in another octave's list"));
            }
            shelf.places[index] = place;
            for token in 0..usize::from(place.length) {
                shelf.activations[index * room + token] = from.u16()?;
            }
        }
        shelf.settle(unit, list);
    }
    Ok(())
}
