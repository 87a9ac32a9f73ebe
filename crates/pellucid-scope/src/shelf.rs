//! The atlas of a model: the file, and what of it every question needs in memory. The file may be written to or replaced
//! by another process while questions are asked; what is in memory then follows it.

use crate::error::{Result, bad};
use crate::{Error, Loaded};
use pellucid_core::{Polarity, Site};
use pellucid_describe::evidence::TAIL;
use pellucid_model::Attached;
use pellucid_store::atlas::{Atlas, AtlasError, Provenance, Summary};
use pellucid_store::collect::bins;
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// Where a model's atlas lies unless the user says otherwise: in the cache, under the model's hash.
pub fn default_path(loaded: &Loaded) -> PathBuf {
    let hash = loaded.model.sha256();
    let short = &hash[..hash.len().min(16)];
    pellucid_model::load::cache_dir().join("atlases").join(format!("{short}.atlas"))
}

/// The same for the latents of a dictionary: beside it, under both hashes.
pub fn latents_path(loaded: &Loaded, dictionary: &Attached) -> PathBuf {
    let short = |hash: &str| hash[..hash.len().min(16)].to_owned();
    let name = format!("{}-{}.atlas", short(loaded.model.sha256()), short(&dictionary.hash));
    pellucid_model::load::cache_dir().join("atlases").join(name)
}

/// An atlas to read. One of an earlier schema is brought up to date first, for which it is opened for writing once.
///
/// # Errors
/// If there is no file, it is no atlas or a later program's, or it is older and cannot be written to.
pub fn open_current(path: &Path) -> Result<Atlas> {
    match Atlas::open_read(path) {
        Err(AtlasError::Older { .. }) => {
            drop(Atlas::open_write(path)?);
            Ok(Atlas::open_read(path)?)
        }
        opened => Ok(opened?),
    }
}

/// Refuses an atlas of another model: its units would mean something else.
///
/// # Errors
/// If it is one, or does not say what it is of.
pub fn check_model(atlas: &Atlas, loaded: &Loaded) -> Result<()> {
    let Some(made) = atlas.provenance()?.into_iter().next() else {
        return bad(format!("{} does not say what it was made of", atlas.path().display()));
    };
    let (expected, found) = (loaded.model.sha256(), made.model_hash.as_str());
    if expected != found {
        return bad(format!(
            "{} is the atlas of another model: expected one of {} (sha256 {}…), found {} (sha256 {}…); name the right \
             one with --atlas",
            atlas.path().display(),
            loaded.name,
            &expected[..expected.len().min(12)],
            made.model_name,
            &found[..found.len().min(12)]
        ));
    }
    Ok(())
}

/// A model's atlas, for many questions at a time. There may be several files, of which a better one may still be in the
/// making: the one with the most descriptions is used.
#[derive(Debug)]
pub struct Shelf {
    paths: Vec<PathBuf>,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    looked: Option<Instant>,
    open: HashMap<PathBuf, (Stamp, Arc<Opened>)>,
    best: Option<Arc<Opened>>,
}

/// What tells one file at a path from another, and from what it was before.
#[derive(Clone, Debug, PartialEq)]
struct Stamp {
    created: Option<SystemTime>,
    file: u64,
    sites: usize,
}

/// How long a choice of the best file stands.
const BELIEVED: Duration = Duration::from_secs(3);

/// An atlas that is open.
pub struct Opened {
    atlas: Mutex<Atlas>,
    scales: HashMap<Site, Vec<[f32; 2]>>,
    counted: u64,
    /// With what it was made.
    pub provenance: Vec<Provenance>,
}

impl std::fmt::Debug for Opened {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Opened").field("sites", &self.scales.len()).finish_non_exhaustive()
    }
}

impl Shelf {
    /// The place of an atlas; nothing need be there yet.
    pub fn new(path: PathBuf) -> Self {
        Shelf::of(vec![path])
    }

    /// Places of atlases of one model, of which the one with the most descriptions is used.
    pub fn of(paths: Vec<PathBuf>) -> Self {
        Shelf { paths, kept: Mutex::new(Kept::default()) }
    }

    /// The atlas; none if there is no file.
    ///
    /// # Errors
    /// If a file is no atlas, of another model, or damaged, and there is no other.
    pub fn get(&self, loaded: &Loaded) -> Result<Option<Arc<Opened>>> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.best.is_some() && kept.looked.is_some_and(|at| at.elapsed() < BELIEVED) {
            return Ok(kept.best.clone());
        }
        let (mut best, mut failure) = (None::<(u64, Arc<Opened>)>, None);
        for path in &self.paths {
            match kept.look(path, loaded) {
                Ok(None) => {
                    kept.open.remove(path);
                }
                Ok(Some((described, opened))) => {
                    if best.as_ref().is_none_or(|(most, _)| described > *most) {
                        best = Some((described, opened));
                    }
                }
                Err(error) => failure = Some(error),
            }
        }
        if let (None, Some(failure)) = (&best, failure) {
            return Err(failure);
        }
        kept.best = best.map(|b| b.1);
        kept.looked = Some(Instant::now());
        Ok(kept.best.clone())
    }

    /// The atlas, which must be there.
    ///
    /// # Errors
    /// As [`Shelf::get`], and if there is none.
    pub fn need(&self, loaded: &Loaded) -> Result<Arc<Opened>> {
        self.get(loaded)?.ok_or_else(|| {
            let place = self.paths.first().map_or_else(String::new, |p| p.display().to_string());
            let name = &loaded.name;
            Error::Absent(format!(
                "there is no atlas of {name} at {place}; make one with `pellucid atlas build --model {name}`"
            ))
        })
    }
}

impl Kept {
    /// An atlas and how many sides it describes; none if there is no file yet, or nothing in it.
    fn look(&mut self, path: &Path, loaded: &Loaded) -> Result<Option<(u64, Arc<Opened>)>> {
        if !path.exists() {
            return Ok(None);
        }
        if let Some((stamp, opened)) = self.open.get(path)
            && stamp_of(path, &opened.atlas())? == *stamp
        {
            let described = opened.atlas().described()?;
            return Ok(Some((described, Arc::clone(opened))));
        }
        let atlas = open_current(path)?;
        check_model(&atlas, loaded)?;
        let stamp = stamp_of(path, &atlas)?;
        if stamp.sites == 0 {
            return Ok(None);
        }
        let described = atlas.described()?;
        let opened = Arc::new(Opened::new(atlas)?);
        self.open.insert(path.to_owned(), (stamp, Arc::clone(&opened)));
        Ok(Some((described, opened)))
    }
}

fn stamp_of(path: &Path, atlas: &Atlas) -> Result<Stamp> {
    let meta = std::fs::metadata(path)
        .map_err(|e| Error::Absent(format!("cannot look at {}: {e}", path.display())))?;
    Ok(Stamp { created: meta.created().ok(), file: identity(&meta), sites: atlas.sites()?.len() })
}

#[cfg(unix)]
fn identity(meta: &std::fs::Metadata) -> u64 {
    std::os::unix::fs::MetadataExt::ino(meta)
}

#[cfg(not(unix))]
fn identity(_: &std::fs::Metadata) -> u64 {
    0
}

impl Opened {
    fn new(atlas: Atlas) -> Result<Self> {
        let (mut scales, mut counted) = (HashMap::new(), 0);
        for row in atlas.sites()? {
            let sketches = atlas.sketches(row.site)?;
            counted = counted.max(sketches.first().map_or(0, |s| s.0));
            let of = |(count, sketches): (u64, [pellucid_store::Sketch; 2])| {
                sketches.map(|s| bins::quantile(&s, count, TAIL).unwrap_or(0.0))
            };
            scales.insert(row.site, sketches.into_iter().map(of).collect());
        }
        let provenance = atlas.provenance()?;
        Ok(Opened { atlas: Mutex::new(atlas), scales, counted, provenance })
    }

    /// The file, for one question at a time.
    pub fn atlas(&self) -> MutexGuard<'_, Atlas> {
        // reading leaves nothing half done
        self.atlas.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Typical strengths at a site: for each unit on the positive and on the negative side, 0 where it never was.
    pub fn scales(&self, site: Site) -> Option<&[[f32; 2]]> {
        self.scales.get(&site).map(Vec::as_slice)
    }

    /// A unit's typical strength on one side of zero; 0 if it was never there or is not in the atlas.
    pub fn scale(&self, site: Site, index: u32, polarity: Polarity) -> f32 {
        let of = self.scales(site).and_then(|s| s.get(index as usize));
        of.map_or(0.0, |s| s[usize::from(polarity == Polarity::Negative)])
    }

    /// Tokens that the sweep counted.
    pub fn counted(&self) -> u64 {
        self.counted
    }

    /// How much the file holds.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn summary(&self) -> Result<Summary> {
        Ok(self.atlas().summary()?)
    }
}

/// A value by its unit's typical strength on its side of zero, signed; 0 where the unit was never on that side.
pub(crate) fn relative(value: f32, scales: [f32; 2]) -> f32 {
    let scale = scales[usize::from(value < 0.0)];
    if scale > 0.0 { value / scale } else { 0.0 }
}
