//! What a sweep leaves: provenance, windows, vocabulary and units, in and out.

use super::exemplars::{self, Precision};
use super::{Atlas, AtlasError, Provenance, blob};
use crate::harvest::{Exemplar, SiteHarvest, Sketch, Statistics, UnitHarvest};
use crate::window::{Document, Window};
use pellucid_core::{Polarity, Site};
use rayon::prelude::*;
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::{BTreeSet, HashMap};

/// A site of the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SiteRow {
    /// Where.
    pub site: Site,
    /// Its number of units.
    pub width: u32,
    pub(super) id: i64,
}

/// How much a file holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Sites.
    pub sites: u64,
    /// Units over all sites.
    pub units: u64,
    /// Windows that exemplars may lie in.
    pub windows: u64,
    /// Words of the vocabulary.
    pub tokens: u64,
    /// Descriptions, candidates included.
    pub descriptions: u64,
    /// Units and polarities with a chosen description.
    pub chosen: u64,
    /// Units and polarities that an explainer had nothing to say about.
    pub missing: u64,
    /// Scores.
    pub scores: u64,
    /// Embedded descriptions, over all embedders.
    pub embeddings: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// A unit's blobs and densities, ready to be written.
struct Row {
    densities: [f64; 2],
    sketches: [Vec<u8>; 2],
    exemplars: Vec<u8>,
}

pub(super) fn unit_id(site: i64, index: u32) -> i64 {
    site << 32 | i64::from(index)
}

pub(super) fn polarity_code(polarity: Polarity) -> i64 {
    if polarity == Polarity::Positive { 1 } else { -1 }
}

pub(super) fn polarity_from(code: i64) -> Polarity {
    if code < 0 { Polarity::Negative } else { Polarity::Positive }
}

/// Counts every unit's firing densities anew from its sketches.
pub(super) fn count_firing(db: &Connection) -> Result<(), AtlasError> {
    let mut all = db.prepare("SELECT id, count FROM units")?;
    let all = all.query_map([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)? as u64)))?;
    let all = all.collect::<Result<Vec<_>, _>>()?;
    let mut step =
        db.prepare("UPDATE units SET positive_density = ?2, negative_density = ?3 WHERE id = ?1")?;
    for (id, count) in all {
        let [positive, negative] = sketches(db, id, &format!("unit {id}"))?;
        step.execute(params![id, positive.firing_density(count), negative.firing_density(count)])?;
    }
    Ok(())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Every site of the file, by layer and point.
pub(super) fn sites(db: &Connection) -> Result<Vec<SiteRow>, AtlasError> {
    let mut step = db.prepare("SELECT id, name, width FROM sites")?;
    let mut rows = step.query([])?;
    let mut sites = Vec::new();
    while let Some(row) = rows.next()? {
        let (id, name, width): (i64, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
        let site = name.parse::<Site>().map_err(|error| AtlasError::corrupt("sites", id, error))?;
        let width = u32::try_from(width).ok().filter(|_| (1..1 << 31).contains(&id));
        let width =
            width.ok_or_else(|| AtlasError::corrupt("sites", &name, "a width or key out of range"))?;
        sites.push(SiteRow { site, width, id });
    }
    sites.sort_by_key(|row| row.site);
    Ok(sites)
}

/// The settings of the first run; null where they are no JSON.
pub(super) fn settings(db: &Connection) -> Result<serde_json::Value, AtlasError> {
    let settings = db.query_row("SELECT settings FROM provenance ORDER BY id LIMIT 1", [], |row| row.get(0));
    let settings: Option<String> = settings.optional()?;
    Ok(settings.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default())
}

/// The dictionary that the sweep was of, by name.
pub(super) fn dictionary(db: &Connection) -> Result<Option<String>, AtlasError> {
    Ok(settings(db)?["dictionary"]["name"].as_str().map(str::to_owned))
}

pub(super) fn site_id(db: &Connection, site: Site) -> Result<Option<i64>, AtlasError> {
    let mut step = db.prepare_cached("SELECT id FROM sites WHERE name = ?1")?;
    Ok(step.query_row([site.to_string()], |row| row.get(0)).optional()?)
}

/// The unit's key.
///
/// # Errors
/// If the file holds no such unit.
pub(super) fn known_unit(db: &Connection, site: Site, index: u32) -> Result<i64, AtlasError> {
    let absent = || AtlasError::absent(format!("unit {site}/{index}"));
    let id = unit_id(site_id(db, site)?.ok_or_else(absent)?, index);
    let mut step = db.prepare_cached("SELECT 1 FROM units WHERE id = ?1")?;
    let found = step.query_row([id], |_| Ok(())).optional()?;
    found.map(|()| id).ok_or_else(absent)
}

fn precision(db: &Connection) -> Result<Precision, AtlasError> {
    let rounded: i64 =
        db.query_row("SELECT rounded FROM provenance ORDER BY id LIMIT 1", [], |row| row.get(0))?;
    Ok(if rounded == 0 { Precision::Exact } else { Precision::Rounded })
}

fn window_ids(db: &Connection) -> Result<HashMap<(Document, u32), u64>, AtlasError> {
    let mut step = db.prepare("SELECT id, document, number FROM windows")?;
    let mut rows = step.query([])?;
    let mut ids = HashMap::new();
    while let Some(row) = rows.next()? {
        ids.insert((Document(row.get(1)?), row.get(2)?), row.get::<_, i64>(0)? as u64);
    }
    Ok(ids)
}

fn encode(
    (site, index): (Site, usize),
    unit: &UnitHarvest,
    ids: &HashMap<(Document, u32), u64>,
    precision: Precision,
) -> Result<Row, AtlasError> {
    let name = || format!("{site}/{index}");
    let numbered = unit.exemplars.iter().map(|exemplar| {
        let id = ids.get(&(exemplar.document, exemplar.window));
        id.map(|&id| (id, exemplar)).ok_or_else(|| AtlasError::NoWindow {
            site,
            unit: index as u32,
            document: hex(&exemplar.document.0),
            window: exemplar.window,
        })
    });
    let numbered = numbered.collect::<Result<Vec<_>, _>>()?;
    let wrong = |fault| AtlasError::invalid(name(), fault);
    let [positive, negative] = &unit.sketches;
    Ok(Row {
        densities: [Polarity::Positive, Polarity::Negative].map(|side| unit.firing_density(side)),
        sketches: [blob::sketch_to(positive).map_err(wrong)?, blob::sketch_to(negative).map_err(wrong)?],
        exemplars: exemplars::to(&numbered, precision).map_err(wrong)?,
    })
}

impl Atlas {
    /// Adds a line of provenance, e.g. of a later run that describes; one that stands there already is not
    /// repeated.
    ///
    /// # Errors
    /// If it names another model, or writing fails.
    pub fn add_provenance(&mut self, new: &Provenance) -> Result<(), AtlasError> {
        let all = self.provenance()?;
        if let Some(first) = all.first().filter(|first| first.model_hash != new.model_hash) {
            let (expected, found) = (first.model_hash.clone(), new.model_hash.clone());
            return Err(AtlasError::OtherModel { expected, found });
        }
        if all.contains(new) {
            return Ok(());
        }
        self.writing(|db| {
            db.execute(
                "INSERT INTO provenance (model_hash, model_name, tokenizer_hash, corpus, seed, code, settings, rounded)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                params![
                    new.model_hash,
                    new.model_name,
                    new.tokenizer_hash,
                    new.corpus,
                    new.seed as i64,
                    new.code,
                    new.settings,
                    new.precision == Precision::Rounded,
                ],
            )?;
            Ok(())
        })
    }

    /// With what the atlas was made: the sweep first, then later runs in their order.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn provenance(&self) -> Result<Vec<Provenance>, AtlasError> {
        self.reading(|db| {
            let mut step = db.prepare(
                "SELECT model_hash, model_name, tokenizer_hash, corpus, seed, code, settings, rounded
                 FROM provenance ORDER BY id",
            )?;
            let rows = step.query_map([], |row| {
                Ok(Provenance {
                    model_hash: row.get(0)?,
                    model_name: row.get(1)?,
                    tokenizer_hash: row.get(2)?,
                    corpus: row.get(3)?,
                    seed: row.get::<_, i64>(4)? as u64,
                    code: row.get(5)?,
                    settings: row.get(6)?,
                    precision: if row.get(7)? { Precision::Rounded } else { Precision::Exact },
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// The dictionary whose latents the file's units are: its name; none where they are the model's own.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn dictionary(&self) -> Result<Option<String>, AtlasError> {
        self.reading(dictionary)
    }

    /// Writes windows, all or none; one that stands there already is written over.
    ///
    /// # Errors
    /// If a window's mask is not as long as its tokens, or writing fails.
    pub fn put_windows<'a>(
        &mut self,
        windows: impl IntoIterator<Item = &'a Window>,
    ) -> Result<(), AtlasError> {
        self.writing(|db| {
            let mut step = db.prepare(
                "INSERT INTO windows (document, number, split, tokens) VALUES (?1, ?2, ?3, ?4)
                 ON CONFLICT (document, number) DO UPDATE SET split = excluded.split, tokens = excluded.tokens",
            )?;
            for window in windows {
                let tokens = blob::window_to(&window.tokens, &window.counted).map_err(|fault| {
                    AtlasError::invalid(
                        format!("window {} of document {}", window.index, hex(&window.document.0)),
                        fault,
                    )
                })?;
                let split = exemplars::split_code(window.split);
                step.execute(params![window.document.0, window.index, split, tokens])?;
            }
            Ok(())
        })
    }

    /// Writes the vocabulary: a token's number and its bytes.
    ///
    /// # Errors
    /// If writing fails.
    pub fn put_tokens<'a>(
        &mut self,
        tokens: impl IntoIterator<Item = (u32, &'a [u8])>,
    ) -> Result<(), AtlasError> {
        self.writing(|db| {
            let mut step = db.prepare("INSERT OR REPLACE INTO tokens (id, bytes) VALUES (?1, ?2)")?;
            for (id, bytes) in tokens {
                step.execute(params![id, bytes])?;
            }
            Ok(())
        })
    }

    /// Writes everything that a sweep found at a site, in one transaction; what stood there of the site is
    /// written over. The windows of its exemplars must be in the file.
    ///
    /// # Errors
    /// If a window is missing, a sketch is out of order, the site had another width, or writing fails.
    pub fn put_site(&mut self, harvest: &SiteHarvest) -> Result<(), AtlasError> {
        let site = harvest.site;
        let width = u32::try_from(harvest.units.len())
            .map_err(|_| AtlasError::invalid(site, "more than 2³² units"))?;
        let (ids, precision) = self.reading(|db| Ok((window_ids(db)?, precision(db)?)))?;
        let rows: Vec<Row> = harvest
            .units
            .par_iter()
            .enumerate()
            .map(|(index, unit)| encode((site, index), unit, &ids, precision))
            .collect::<Result<_, _>>()?;
        self.writing(|db| {
            let id = site_row(db, site, width)?;
            write_units(db, id, harvest, &rows)
        })
    }

    /// The sites of the file by layer.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn sites(&self) -> Result<Vec<SiteRow>, AtlasError> {
        self.reading(sites)
    }

    /// All that is kept of a unit; none where the file does not hold it.
    ///
    /// # Errors
    /// If the file cannot be read or the unit's row is damaged.
    pub fn unit(&self, site: Site, index: u32) -> Result<Option<UnitHarvest>, AtlasError> {
        self.reading(|db| match site_id(db, site)? {
            Some(id) => unit(db, unit_id(id, index), &format!("{site}/{index}")),
            None => Ok(None),
        })
    }

    /// For each unit of a site, in order: how many tokens were counted, and the sketches of its two sides.
    ///
    /// # Errors
    /// If the file cannot be read or a row is damaged.
    pub fn sketches(&self, site: Site) -> Result<Vec<(u64, [Sketch; 2])>, AtlasError> {
        self.reading(|db| {
            let Some(id) = site_id(db, site)? else { return Ok(Vec::new()) };
            let mut step = db.prepare_cached(
                "SELECT u.count, s.positive, s.negative FROM units u JOIN sketches s ON s.unit = u.id
                 WHERE u.id BETWEEN ?1 AND ?2 ORDER BY u.id",
            )?;
            let mut rows = step.query([unit_id(id, 0), unit_id(id, u32::MAX)])?;
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                let name = || format!("{site}/{}", all.len());
                let side = |column| -> Result<Sketch, AtlasError> {
                    let blob: Vec<u8> = row.get(column)?;
                    blob::sketch_from(&blob).map_err(|fault| AtlasError::corrupt("sketches", name(), fault))
                };
                let both = [side(1)?, side(2)?];
                all.push((row.get::<_, i64>(0)? as u64, both));
            }
            Ok(all)
        })
    }

    /// The windows that a unit's exemplars lie in, each once, by document and number.
    ///
    /// # Errors
    /// If there is no such unit, the file cannot be read, or a row is damaged.
    pub fn windows_of(&self, site: Site, index: u32) -> Result<Vec<Window>, AtlasError> {
        self.reading(|db| {
            let id = known_unit(db, site, index)?;
            let stored = stored(db, id, &format!("{site}/{index}"))?;
            let ids: BTreeSet<u64> = stored.iter().map(|row| row.window).collect();
            let mut windows = ids.into_iter().map(|id| window(db, id)).collect::<Result<Vec<_>, _>>()?;
            windows.sort_by_key(|window| (window.document, window.index));
            Ok(windows)
        })
    }

    /// The bytes of a token; none where the vocabulary does not hold it.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn token(&self, id: u32) -> Result<Option<Vec<u8>>, AtlasError> {
        self.reading(|db| {
            let found = db.query_row("SELECT bytes FROM tokens WHERE id = ?1", [id], |row| row.get(0));
            Ok(found.optional()?)
        })
    }

    /// Sides of units that have a chosen description.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn described(&self) -> Result<u64, AtlasError> {
        self.reading(|db| {
            let count = db.query_row("SELECT count(*) FROM descriptions WHERE chosen", [], |row| row.get(0));
            Ok(count.map(|n: i64| n as u64)?)
        })
    }

    /// How much the file holds.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn summary(&self) -> Result<Summary, AtlasError> {
        self.reading(|db| {
            let count = |of: &str| -> Result<u64, AtlasError> {
                let number: i64 =
                    db.query_row(&format!("SELECT count(*) FROM {of}"), [], |row| row.get(0))?;
                Ok(number as u64)
            };
            let pages: i64 = db.query_row("PRAGMA page_count", [], |row| row.get(0))?;
            let page: i64 = db.query_row("PRAGMA page_size", [], |row| row.get(0))?;
            Ok(Summary {
                sites: count("sites")?,
                units: count("units")?,
                windows: count("windows")?,
                tokens: count("tokens")?,
                descriptions: count("descriptions WHERE text IS NOT NULL")?,
                chosen: count("descriptions WHERE chosen")?,
                missing: count("descriptions WHERE text IS NULL")?,
                scores: count("scores")?,
                embeddings: count("embeddings")?,
                bytes: (pages * page) as u64,
            })
        })
    }
}

fn site_row(db: &Connection, site: Site, width: u32) -> Result<i64, AtlasError> {
    let name = site.to_string();
    let before = db.query_row("SELECT id, width FROM sites WHERE name = ?1", [&name], |row| {
        Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?))
    });
    match before.optional()? {
        Some((id, before)) if before == i64::from(width) => Ok(id),
        Some((_, before)) => {
            let fault = format!("it had {before} units in this atlas, now {width}");
            Err(AtlasError::invalid(name, fault))
        }
        None => {
            db.execute("INSERT INTO sites (name, width) VALUES (?1, ?2)", params![name, width])?;
            Ok(db.last_insert_rowid())
        }
    }
}

fn write_units(db: &Connection, site: i64, harvest: &SiteHarvest, rows: &[Row]) -> Result<(), AtlasError> {
    // Replaced row by row rather than deleted: descriptions refer to the keys, and the keys stay.
    let mut units = db.prepare("INSERT OR REPLACE INTO units VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)")?;
    let mut sketches = db.prepare("INSERT OR REPLACE INTO sketches VALUES (?1, ?2, ?3)")?;
    let mut exemplars = db.prepare("INSERT OR REPLACE INTO exemplars VALUES (?1, ?2)")?;
    for (index, (unit, row)) in harvest.units.iter().zip(rows).enumerate() {
        let id = unit_id(site, index as u32);
        let Statistics { count, mean, variance, max, min } = unit.statistics;
        let [positive, negative] = row.densities;
        units.execute(params![id, count as i64, mean, variance, max, min, positive, negative])?;
        sketches.execute(params![id, row.sketches[0], row.sketches[1]])?;
        exemplars.execute(params![id, row.exemplars])?;
    }
    Ok(())
}

/// SQLite keeps a NaN as NULL.
fn real(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::NAN)
}

pub(super) fn unit(db: &Connection, id: i64, name: &str) -> Result<Option<UnitHarvest>, AtlasError> {
    let row = db.query_row("SELECT count, mean, variance, max, min FROM units WHERE id = ?1", [id], |row| {
        Ok(Statistics {
            count: row.get::<_, i64>(0)? as u64,
            mean: real(row.get(1)?),
            variance: real(row.get(2)?),
            max: real(row.get(3)?) as f32,
            min: real(row.get(4)?) as f32,
        })
    });
    let Some(statistics) = row.optional()? else { return Ok(None) };
    let sketches = sketches(db, id, name)?;
    let mut places: HashMap<u64, (Document, u32)> = HashMap::new();
    let mut exemplars: Vec<Exemplar> = Vec::new();
    let mut step = db.prepare_cached("SELECT document, number FROM windows WHERE id = ?1")?;
    for row in stored(db, id, name)? {
        let place = match places.get(&row.window) {
            Some(&place) => place,
            None => {
                let read = |r: &rusqlite::Row<'_>| Ok((Document(r.get(0)?), r.get(1)?));
                let found = step.query_row([row.window as i64], read).optional()?;
                let fault = || AtlasError::corrupt("exemplars", name, "a window that is not in the file");
                let place = found.ok_or_else(fault)?;
                places.insert(row.window, place);
                place
            }
        };
        exemplars.push(Exemplar { document: place.0, window: place.1, ..row.exemplar });
    }
    Ok(Some(UnitHarvest { statistics, sketches, exemplars }))
}

pub(super) fn sketches(db: &Connection, id: i64, name: &str) -> Result<[Sketch; 2], AtlasError> {
    let row = db.query_row("SELECT positive, negative FROM sketches WHERE unit = ?1", [id], |row| {
        Ok((row.get::<_, Vec<u8>>(0)?, row.get::<_, Vec<u8>>(1)?))
    });
    let wrong = |fault| AtlasError::corrupt("sketches", name, fault);
    let (positive, negative) =
        row.optional()?.ok_or_else(|| AtlasError::corrupt("sketches", name, "no row of the unit"))?;
    Ok([blob::sketch_from(&positive).map_err(wrong)?, blob::sketch_from(&negative).map_err(wrong)?])
}

fn stored(db: &Connection, id: i64, name: &str) -> Result<Vec<exemplars::Stored>, AtlasError> {
    let bytes: Option<Vec<u8>> =
        db.query_row("SELECT rows FROM exemplars WHERE unit = ?1", [id], |row| row.get(0)).optional()?;
    let bytes = bytes.ok_or_else(|| AtlasError::corrupt("exemplars", name, "no row of the unit"))?;
    exemplars::from(&bytes).map_err(|fault| AtlasError::corrupt("exemplars", name, fault))
}

pub(super) fn window(db: &Connection, id: u64) -> Result<Window, AtlasError> {
    let row = db.query_row(
        "SELECT document, number, split, tokens FROM windows WHERE id = ?1",
        [id as i64],
        |row| Ok((Document(row.get(0)?), row.get(1)?, row.get::<_, i64>(2)?, row.get::<_, Vec<u8>>(3)?)),
    );
    let wrong = |fault: String| AtlasError::corrupt("windows", id, fault);
    let (document, index, split, tokens) =
        row.optional()?.ok_or_else(|| wrong("no such window".to_owned()))?;
    let split = exemplars::split_from(split).ok_or_else(|| wrong(format!("an unknown split {split}")))?;
    let (tokens, counted) = blob::window_from(&tokens).map_err(|fault| wrong(fault.to_string()))?;
    Ok(Window { document, split, index, tokens, counted })
}
