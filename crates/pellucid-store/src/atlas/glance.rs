//! A whole site at a glance: a few numbers of each unit, for drawings of all of them.

use super::units::{polarity_code, settings, site_id, unit_id};
use super::{Atlas, AtlasError, ScoreKind, blob};
use pellucid_core::{Polarity, Site};
use rusqlite::params;

/// One side of a unit, in numbers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Glance {
    /// The unit's index.
    pub index: u32,
    /// Tokens that were counted.
    pub count: u64,
    /// Tokens on which it was on this side of zero at all.
    pub active: u64,
    /// The largest size on this side.
    pub most: f32,
    /// Whether it has a chosen description.
    pub described: bool,
    /// What that scores in simulation on the latest split, the test split where there is one.
    pub score: Option<f64>,
    /// What another unit's words score in its place.
    pub null: Option<f64>,
}

/// A column of the foremost score of a description: as hits of a search have it.
fn foremost(column: &str) -> String {
    format!(
        "(SELECT c.{column} FROM scores c WHERE c.description = d.id AND c.kind = ?3 \
         ORDER BY c.split DESC, c.scorer LIMIT 1)"
    )
}

impl Atlas {
    /// One side of every unit of a site, in order; nothing where the file does not hold the site.
    ///
    /// # Errors
    /// If the file cannot be read or a row is damaged.
    pub fn glances(&self, site: Site, polarity: Polarity) -> Result<Vec<Glance>, AtlasError> {
        let (side, end) = match polarity {
            Polarity::Positive => ("positive", "u.max"),
            Polarity::Negative => ("negative", "-u.min"),
        };
        let sql = format!(
            "SELECT u.id & 4294967295, u.count, {end}, s.{side}, d.id IS NOT NULL, {}, {} \
             FROM units u JOIN sketches s ON s.unit = u.id \
             LEFT JOIN descriptions d ON d.unit = u.id AND d.polarity = ?4 AND d.chosen \
             WHERE u.id BETWEEN ?1 AND ?2 ORDER BY u.id",
            foremost("value"),
            foremost("null_value")
        );
        self.reading(|db| {
            let Some(id) = site_id(db, site)? else { return Ok(Vec::new()) };
            let mut step = db.prepare(&sql)?;
            let kind = ScoreKind::Simulation;
            let asked = params![unit_id(id, 0), unit_id(id, u32::MAX), kind.name(), polarity_code(polarity)];
            let mut rows = step.query(asked)?;
            let mut all = Vec::new();
            while let Some(row) = rows.next()? {
                let index = row.get::<_, i64>(0)? as u32;
                let fault = |fault| AtlasError::corrupt("sketches", format!("{site}/{index}"), fault);
                let sketch = blob::sketch_from(&row.get::<_, Vec<u8>>(3)?).map_err(fault)?;
                all.push(Glance {
                    index,
                    count: row.get::<_, i64>(1)? as u64,
                    active: sketch.bins.iter().map(|bin| u64::from(bin.1)).sum(),
                    most: row.get::<_, Option<f64>>(2)?.map_or(0.0, |most| most.max(0.0) as f32),
                    described: row.get(4)?,
                    score: row.get(5)?,
                    null: row.get(6)?,
                });
            }
            Ok(all)
        })
    }

    /// The hash of the dictionary that the sweep was of; none where its units are the model's own.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn dictionary_hash(&self) -> Result<Option<String>, AtlasError> {
        self.reading(|db| Ok(settings(db)?["dictionary"]["sha256"].as_str().map(str::to_owned)))
    }
}
