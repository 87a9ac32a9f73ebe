//! The tables, and how older files come up to date.
//!
//! `user_version` says how many of [`MIGRATIONS`] a file has been through; each runs in a transaction of its
//! own together with the new number, so that a file always stands between two of them. A migration that has
//! been released is never changed: a change is another one.
//!
//! A unit's key is computed: `site << 32 | index`. A site's units are thus one range of keys, and a description
//! names its unit by one integer.

use super::{AtlasError, units};
use rusqlite::Connection;
use std::collections::BTreeSet;
use std::path::Path;

/// "Pell" in ASCII: what SQLite calls the file's application.
pub(super) const APPLICATION: i64 = 0x5065_6c6c;

/// What takes a file from each schema to the next.
const MIGRATIONS: &[Migration] = &[
    Migration { sql: FIRST, then: |_| Ok(()) },
    // Densities had been the shares of tokens on a side of zero, about one half for every gated neuron.
    Migration { sql: SECOND, then: units::count_firing },
];

/// A step from one schema to the next.
struct Migration {
    sql: &'static str,
    /// What needs more than SQL.
    then: fn(&Connection) -> Result<(), AtlasError>,
}

/// A score says who simulated: one description may be judged by itself and by several language models.
const SECOND: &str = "
ALTER TABLE scores RENAME TO scores_1;
CREATE TABLE scores (
    description INTEGER NOT NULL REFERENCES descriptions (id), kind TEXT NOT NULL,
    split INTEGER NOT NULL CHECK (split BETWEEN -1 AND 2), scorer TEXT NOT NULL,
    value REAL NOT NULL, low REAL, high REAL, null_value REAL, n INTEGER, seed INTEGER, windows BLOB,
    PRIMARY KEY (description, kind, split, scorer)
) WITHOUT ROWID;
INSERT INTO scores SELECT description, kind, split, '', value, low, high, null_value, n, seed, windows FROM scores_1;
DROP TABLE scores_1;
";

const FIRST: &str = "
CREATE TABLE provenance (
    id INTEGER PRIMARY KEY,
    model_hash TEXT NOT NULL, model_name TEXT NOT NULL, tokenizer_hash TEXT NOT NULL,
    corpus TEXT NOT NULL, seed INTEGER NOT NULL, code TEXT NOT NULL, settings TEXT NOT NULL,
    rounded INTEGER NOT NULL
);
CREATE TABLE sites (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, width INTEGER NOT NULL);
-- Statistics apart from blobs: a scan over all units reads a few megabytes only.
CREATE TABLE units (
    id INTEGER PRIMARY KEY,
    count INTEGER NOT NULL, mean REAL, variance REAL, max REAL, min REAL,
    positive_density REAL NOT NULL, negative_density REAL NOT NULL
);
CREATE TABLE sketches (unit INTEGER PRIMARY KEY, positive BLOB NOT NULL, negative BLOB NOT NULL);
CREATE TABLE exemplars (unit INTEGER PRIMARY KEY, rows BLOB NOT NULL);
CREATE TABLE windows (
    id INTEGER PRIMARY KEY,
    document BLOB NOT NULL CHECK (length(document) = 16), number INTEGER NOT NULL,
    split INTEGER NOT NULL, tokens BLOB NOT NULL,
    UNIQUE (document, number)
);
CREATE TABLE tokens (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL);
-- The empty string stands for none: NULLs would not be equal to each other in the unique index.
CREATE TABLE explainers (
    id INTEGER PRIMARY KEY,
    name TEXT NOT NULL, version TEXT NOT NULL, model TEXT NOT NULL, prompt TEXT NOT NULL,
    UNIQUE (name, version, model, prompt)
);
CREATE TABLE descriptions (
    id INTEGER PRIMARY KEY,
    unit INTEGER NOT NULL, polarity INTEGER NOT NULL CHECK (polarity IN (-1, 1)),
    explainer INTEGER NOT NULL REFERENCES explainers (id), candidate INTEGER NOT NULL,
    text TEXT, short TEXT, reason TEXT, chosen INTEGER NOT NULL DEFAULT 0 CHECK (chosen IN (0, 1)),
    UNIQUE (unit, polarity, explainer, candidate),
    -- A missing description is none with a reason; only a description can be chosen.
    CHECK ((text IS NULL) = (reason IS NOT NULL)), CHECK (text IS NOT NULL OR (short IS NULL AND NOT chosen))
);
CREATE UNIQUE INDEX chosen_descriptions ON descriptions (unit, polarity) WHERE chosen;
CREATE TABLE scores (
    description INTEGER NOT NULL REFERENCES descriptions (id), kind TEXT NOT NULL,
    split INTEGER NOT NULL CHECK (split BETWEEN -1 AND 2),
    value REAL NOT NULL, low REAL, high REAL, null_value REAL, n INTEGER, seed INTEGER, windows BLOB,
    PRIMARY KEY (description, kind, split)
) WITHOUT ROWID;
CREATE TABLE embedders (id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, width INTEGER NOT NULL);
CREATE TABLE embeddings (
    description INTEGER NOT NULL REFERENCES descriptions (id),
    embedder INTEGER NOT NULL REFERENCES embedders (id), row BLOB NOT NULL,
    UNIQUE (embedder, description)
);
CREATE TABLE votes (
    description INTEGER NOT NULL REFERENCES descriptions (id), voter TEXT NOT NULL,
    vote INTEGER NOT NULL CHECK (vote IN (-1, 1)),
    PRIMARY KEY (description, voter)
) WITHOUT ROWID;
CREATE VIRTUAL TABLE words USING fts5 (
    text, short, content = 'descriptions', content_rowid = 'id', tokenize = 'porter unicode61 remove_diacritics 2'
);
CREATE TRIGGER words_insert AFTER INSERT ON descriptions BEGIN
    INSERT INTO words (rowid, text, short) VALUES (new.id, new.text, new.short);
END;
CREATE TRIGGER words_delete AFTER DELETE ON descriptions BEGIN
    INSERT INTO words (words, rowid, text, short) VALUES ('delete', old.id, old.text, old.short);
END;
CREATE TRIGGER words_update AFTER UPDATE OF text, short ON descriptions BEGIN
    INSERT INTO words (words, rowid, text, short) VALUES ('delete', old.id, old.text, old.short);
    INSERT INTO words (rowid, text, short) VALUES (new.id, new.text, new.short);
END;
";

/// The schema that this program writes.
pub(super) fn known() -> i64 {
    MIGRATIONS.len() as i64
}

/// What stands in an SQLite file.
pub(super) enum Found {
    /// No table at all: a creation that was cut short.
    Nothing,
    /// An atlas of some schema.
    Atlas(i64),
}

/// Which schema a file has.
///
/// # Errors
/// If it is no atlas, or a later program's.
pub(super) fn look(db: &Connection) -> Result<Found, AtlasError> {
    let application: i64 = db.query_row("PRAGMA application_id", [], |row| row.get(0))?;
    let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    let tables: i64 = db.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0))?;
    let path = std::path::PathBuf::new();
    match (application, tables) {
        (APPLICATION, _) if version > known() => {
            Err(AtlasError::Newer { found: version, known: known(), path })
        }
        (APPLICATION, 1..) if version > 0 => Ok(Found::Atlas(version)),
        (0 | APPLICATION, 0) if version == 0 => Ok(Found::Nothing),
        _ => Err(AtlasError::Foreign { found: "another program's SQLite database".to_owned(), path }),
    }
}

/// Refuses a file whose tables, indices, views and triggers are not, word for word, those of its schema: a view or a trigger
/// of a stranger's would run when a table is asked for, and need not end.
///
/// # Errors
/// If there is another one, or one is missing.
pub(super) fn check(db: &Connection, version: i64) -> Result<(), AtlasError> {
    let mut made = Connection::open_in_memory()?;
    migrate_to(&mut made, 0, usize::try_from(version).unwrap_or(0), Path::new(""))?;
    let (found, expected) = (objects(db)?, objects(&made)?);
    let strange = found.symmetric_difference(&expected).next();
    strange.map_or(Ok(()), |(kind, name, _)| {
        let fault = "it is not what this program makes; build the atlas again";
        Err(AtlasError::corrupt("schema", format!("{kind} {name}"), fault))
    })
}

/// Kind, name and words of everything in a file, without the tables that SQLite makes for its own statistics.
fn objects(db: &Connection) -> Result<BTreeSet<(String, String, String)>, AtlasError> {
    let mut step = db.prepare(
        "SELECT type, name, ifnull(sql, '') FROM sqlite_master \
         WHERE NOT (type = 'table' AND name IN ('sqlite_stat1', 'sqlite_stat4'))",
    )?;
    let rows = step.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

/// Brings a file from `version` up to date.
pub(super) fn migrate(db: &mut Connection, version: i64, file: &Path) -> Result<(), AtlasError> {
    migrate_to(db, usize::try_from(version).unwrap_or(0), MIGRATIONS.len(), file)
}

fn migrate_to(db: &mut Connection, from: usize, to: usize, file: &Path) -> Result<(), AtlasError> {
    for (at, migration) in MIGRATIONS.iter().enumerate().take(to).skip(from) {
        let step = db.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate);
        let step = step.map_err(|error| AtlasError::from(error).at(file))?;
        step.execute_batch(migration.sql)?;
        (migration.then)(&step)?;
        step.pragma_update(None, "application_id", APPLICATION)?;
        step.pragma_update(None, "user_version", at as i64 + 1)?;
        step.commit()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::Sketch;
    use crate::atlas::{Atlas, Query, Score, ScoreKind, blob};
    use crate::collect::bins;
    use pellucid_core::{Polarity, Split};
    use rusqlite::params;

    /// An atlas as the first schema had it: one unit, one description, one score.
    fn first_schema(path: &Path) {
        let db = Connection::open(path).unwrap();
        db.execute_batch(FIRST).unwrap();
        db.pragma_update(None, "application_id", APPLICATION).unwrap();
        db.pragma_update(None, "user_version", 1).unwrap();
        db.execute_batch(
            "INSERT INTO provenance VALUES (1, 'hash', 'tiny', 't', 'c', 0, '0', '{}', 1);
             INSERT INTO sites VALUES (1, 'mlp_act.0', 1);
             INSERT INTO units VALUES (4294967296, 1000, 0, 1, 4, -1, 0.51, 0.4);
             INSERT INTO exemplars VALUES (4294967296, X'');
             INSERT INTO explainers VALUES (1, 'patterns', '1', '', '');
             INSERT INTO descriptions VALUES (7, 4294967296, 1, 1, 0, 'months', NULL, NULL, 1);
             INSERT INTO scores VALUES (7, 'simulation', 2, 0.5, 0.4, 0.6, 0.1, 12, 3, NULL);",
        )
        .unwrap();
        let strong = Sketch { bins: vec![(bins::bin(0.01), 500), (bins::bin(4.0), 10)] };
        let weak = Sketch { bins: vec![(bins::bin(1.0), 400)] };
        let blobs = [strong, weak].map(|s| blob::sketch_to(&s).unwrap());
        db.execute("INSERT INTO sketches VALUES (4294967296, ?1, ?2)", params![blobs[0], blobs[1]]).unwrap();
    }

    #[test]
    fn a_file_with_a_table_view_or_trigger_of_a_strangers_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.atlas");
        let endless = "WITH RECURSIVE n(id) AS (SELECT 1 UNION ALL SELECT id + 1 FROM n) SELECT id FROM n";
        for stranger in [
            format!("DROP TABLE units; CREATE VIEW units AS {endless}"),
            format!("CREATE TRIGGER t AFTER INSERT ON votes BEGIN INSERT INTO tokens (id) {endless}; END"),
            "CREATE TABLE more (id INTEGER)".to_owned(),
            "DROP INDEX chosen_descriptions".to_owned(),
        ] {
            // an older one is refused as such before it is looked into
            for first in [true, false] {
                let _ = std::fs::remove_file(&path);
                first_schema(&path);
                if !first {
                    drop(Atlas::open_write(&path).unwrap());
                    drop(Atlas::open_read(&path).unwrap());
                }
                Connection::open(&path).unwrap().execute_batch(&stranger).unwrap();
                let writing = Atlas::open_write(&path);
                assert!(matches!(writing, Err(AtlasError::Corrupt { .. })), "{first} {stranger}");
                assert!(Atlas::open_read(&path).is_err(), "{first} {stranger}");
            }
        }
    }

    #[test]
    fn an_atlas_of_the_first_schema_comes_up_to_date() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.atlas");
        first_schema(&path);
        assert!(matches!(Atlas::open_read(&path), Err(AtlasError::Older { found: 1, .. })));
        drop(Atlas::open_write(&path).unwrap());
        let atlas = Atlas::open_read(&path).unwrap();
        let hit = atlas.find(&Query::all(5)).unwrap().pop().unwrap();
        assert_eq!((hit.polarity, hit.score), (Polarity::Positive, Some(0.5)));
        assert!((hit.density - 0.01).abs() < 1e-9, "density {} was counted anew", hit.density);
        let score = Score {
            split: Some(Split::Test),
            interval: Some((0.4, 0.6)),
            null: Some(0.1),
            n: Some(12),
            seed: Some(3),
            ..Score::plain(ScoreKind::Simulation, 0.5)
        };
        assert_eq!(atlas.scores(hit.id).unwrap(), [score]);
    }
}
