//! Every row of an atlas as lines of text, in an order and in words that do not depend on keys: two atlases
//! with the same lines hold the same, whatever order they were written in.

use super::descriptions::select;
use super::units::{self, unit_id};
use super::{Atlas, AtlasError, DescriptionId};
use rusqlite::Connection;
use sha2::{Digest, Sha256};

impl Atlas {
    /// Gives every row to `line`, ordered by what the rows are about.
    ///
    /// # Errors
    /// If the file cannot be read or a row is damaged.
    pub fn dump(&self, mut line: impl FnMut(String)) -> Result<(), AtlasError> {
        self.provenance()?.iter().for_each(|row| line(format!("{row:?}")));
        self.reading(|db| {
            windows(db, &mut line)?;
            tokens(db, &mut line)?;
            harvests(db, &mut line)?;
            descriptions(db, &mut line)
        })
    }

    /// The SHA-256 of [`Atlas::dump`]'s lines: equal for atlases that hold the same.
    ///
    /// # Errors
    /// As [`Atlas::dump`].
    pub fn content_hash(&self) -> Result<[u8; 32], AtlasError> {
        let mut hash = Sha256::new();
        self.dump(|line| {
            hash.update((line.len() as u64).to_le_bytes());
            hash.update(line);
        })?;
        Ok(hash.finalize().into())
    }
}

fn windows(db: &Connection, line: &mut impl FnMut(String)) -> Result<(), AtlasError> {
    let mut step = db.prepare("SELECT id FROM windows ORDER BY document, number")?;
    let ids = step.query_map([], |row| row.get::<_, i64>(0))?;
    for id in ids {
        line(format!("{:?}", units::window(db, id? as u64)?));
    }
    Ok(())
}

fn tokens(db: &Connection, line: &mut impl FnMut(String)) -> Result<(), AtlasError> {
    let mut step = db.prepare("SELECT id, bytes FROM tokens ORDER BY id")?;
    let mut rows = step.query([])?;
    while let Some(row) = rows.next()? {
        line(format!("token {} {:?}", row.get::<_, i64>(0)?, row.get::<_, Vec<u8>>(1)?));
    }
    Ok(())
}

fn harvests(db: &Connection, line: &mut impl FnMut(String)) -> Result<(), AtlasError> {
    for row in units::sites(db)? {
        line(format!("{} width {}", row.site, row.width));
        for index in 0..row.width {
            let name = format!("{}/{index}", row.site);
            let unit = units::unit(db, unit_id(row.id, index), &name)?;
            let unit = unit.ok_or_else(|| AtlasError::corrupt("units", &name, "no row of the unit"))?;
            line(format!("{name} {unit:?}"));
        }
    }
    Ok(())
}

fn descriptions(db: &Connection, line: &mut impl FnMut(String)) -> Result<(), AtlasError> {
    let mut rows = select(db, "TRUE", [])?;
    rows.sort_by(|(_, a), (_, b)| {
        let key = |d: &super::Description| (d.site, d.index, d.polarity, d.explainer.clone(), d.candidate);
        key(a).cmp(&key(b))
    });
    for (id, row) in rows {
        line(format!("{row:?}"));
        attached(db, id, line)?;
    }
    Ok(())
}

fn attached(db: &Connection, id: DescriptionId, line: &mut impl FnMut(String)) -> Result<(), AtlasError> {
    super::descriptions::scores(db, id)?.iter().for_each(|score| line(format!("{score:?}")));
    for (model, row) in super::vectors::rows_of(db, id)? {
        line(format!("embedding {model} {row:?}"));
    }
    let mut step =
        db.prepare_cached("SELECT voter, vote FROM votes WHERE description = ?1 ORDER BY voter")?;
    let votes = step.query_map([id.0], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?)))?;
    for vote in votes {
        line(format!("vote {:?}", vote?));
    }
    Ok(())
}
