//! The map of a dictionary's directions: made once, kept in a file under the dictionary's hash.
//!
//! The file: eight bytes that name it and its version, the dictionary's hash in 64 characters, the number of latents as u32,
//! then x and y of each as u16, all little-endian. It is read as a stranger's: what does not fit exactly is made anew.

use crate::{Error, Result};
use pellucid_dict::{MapSettings, Telling};
use pellucid_model::Attached;
use serde::Serialize;
use std::path::{Path, PathBuf};
use utoipa::ToSchema;

/// Where every latent lies, by index: near each other where their directions are. Both axes have one scale, from 0 to 65,535.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct LatentMap {
    /// From left to right.
    pub x: Vec<u16>,
    /// From below.
    pub y: Vec<u16>,
}

/// Most latents of a map: exact neighbours take time with the square of their number.
pub const MOST_MAPPED: usize = 1 << 17;

/// Another number wherever another map would come out.
const HEAD: &[u8; 8] = b"plucmap1";

/// Where the map of a dictionary is kept, in this folder.
pub fn map_file(folder: &Path, of: &Attached) -> PathBuf {
    let short: String = of.hash.chars().filter(char::is_ascii_alphanumeric).take(16).collect();
    folder.join(format!("{short}-{}.map", of.latents.count()))
}

/// The hash, in as many bytes whatever it is.
fn name(of: &Attached) -> [u8; 64] {
    let mut name = [b' '; 64];
    name.iter_mut().zip(of.hash.bytes()).for_each(|(to, from)| *to = from);
    name
}

/// The map of a dictionary that was made before; none where there is none.
pub fn kept_map(file: &Path, of: &Attached) -> Option<LatentMap> {
    let count = of.latents.count();
    let expected = HEAD.len() + 64 + 4 + 4 * count;
    if std::fs::metadata(file).ok()?.len() != expected as u64 {
        return None;
    }
    let bytes = std::fs::read(file).ok()?;
    let rest = bytes.strip_prefix(HEAD)?.strip_prefix(&name(of))?;
    let rest = rest.strip_prefix(&u32::try_from(count).ok()?.to_le_bytes())?;
    let numbers = |bytes: &[u8]| bytes.chunks_exact(2).map(|b| u16::from_le_bytes([b[0], b[1]])).collect();
    let (x, y) = rest.split_at_checked(2 * count)?;
    Some(LatentMap { x: numbers(x), y: numbers(y) })
}

/// Makes the map of a dictionary and keeps it in a file; none if it was stopped.
///
/// # Errors
/// If there are too many latents, or the file cannot be written.
pub fn make_map(file: &Path, of: &Attached, tell: &mut Telling<'_>) -> Result<Option<LatentMap>> {
    let (count, width) = (of.latents.count(), of.latents.width());
    if count > MOST_MAPPED {
        return Err(Error::Request(format!(
            "{} has {count} latents; a map is made of {MOST_MAPPED} at most, since exact neighbours take time with the square of \
             their number",
            of.name
        )));
    }
    let mut rows = Vec::with_capacity(count * width);
    (0..count as u32).for_each(|latent| rows.extend(of.latents.direction(latent)));
    let Some(points) = pellucid_dict::map(&rows, width, &MapSettings::default(), tell) else {
        return Ok(None);
    };
    let map = scaled(&points);
    let mut bytes = HEAD.to_vec();
    bytes.extend(name(of));
    bytes.extend((count as u32).to_le_bytes());
    map.x.iter().chain(&map.y).for_each(|v| bytes.extend(v.to_le_bytes()));
    write(file, &bytes).map_err(|e| Error::Keeping(format!("{}: {e}", file.display())))?;
    Ok(Some(map))
}

/// Written whole or not at all: two may make the same map at a time.
fn write(file: &Path, bytes: &[u8]) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let beside = file.with_extension(format!("{}.part", std::process::id()));
    std::fs::write(&beside, bytes)?;
    std::fs::rename(&beside, file)
}

/// Points in a square, with their proportions kept.
fn scaled(points: &[[f32; 2]]) -> LatentMap {
    let ends = |axis: usize| {
        let values = points.iter().map(|p| p[axis]);
        values.fold((f32::MAX, f32::MIN), |(low, high), v| (low.min(v), high.max(v)))
    };
    let both = [0, 1].map(ends);
    let widest = both.iter().fold(f32::MIN_POSITIVE, |most, (low, high)| most.max(high - low));
    let axis = |axis: usize| {
        let (low, high) = both[axis];
        // the shorter axis lies in the middle
        let margin = (widest - (high - low)) / 2.0;
        let place = |v: f32| ((v - low + margin) / widest * 65_535.0).round() as u16;
        points.iter().map(|p| place(p[axis])).collect()
    };
    LatentMap { x: axis(0), y: axis(1) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn points_fill_a_square_in_their_proportions() {
        let map = scaled(&[[-2.0, 1.0], [2.0, 1.0], [0.0, 3.0]]);
        assert_eq!((map.x, map.y), (vec![0, 65_535, 32_768], vec![16_384, 16_384, 49_151]));
        assert_eq!(scaled(&[]), LatentMap { x: vec![], y: vec![] });
        assert_eq!(scaled(&[[3.0, 3.0]]).x.len(), 1);
    }
}
