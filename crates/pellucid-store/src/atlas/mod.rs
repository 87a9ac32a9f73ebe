//! The atlas: one SQLite file that holds everything known about a model's units, written by one and read by
//! many: statistics, sketches, exemplars with their windows and tokens, descriptions with who wrote them,
//! scores, embeddings and votes, and with what all of it was made.
//!
//! Statistics are columns; what is read one unit at a time (sketches, exemplars) is one compact blob a unit.
//! Descriptions are searched by meaning through exact cosine over half precision rows, and by words through
//! SQLite's FTS5. Vectors come from the caller: nothing here knows a model.

mod blob;
mod descriptions;
mod dump;
mod error;
mod exemplars;
mod find;
mod glance;
mod neuronpedia;
mod open;
#[cfg(feature = "parquet")]
mod parquet;
mod schema;
mod units;
mod vectors;

pub use descriptions::{
    Attached, Description, DescriptionId, Explainer, Judged, Judgement, Missing, Score, ScoreKind, Written,
};
pub use error::AtlasError;
pub use exemplars::{Precision, rounded};
pub use find::{Hit, Query, Sort};
pub use glance::Glance;
pub use neuronpedia::{Export, Imported, LineError, neuronpedia_layer, neuronpedia_site};
pub use units::{SiteRow, Summary};
pub use vectors::Vectors;

use rusqlite::Connection;
use std::cell::RefCell;
use std::path::PathBuf;

/// An open atlas file. It may be sent to another thread; for reading on several, open it several times.
pub struct Atlas {
    // Fields drop in this order: the database is closed before the lock is given back.
    db: Connection,
    path: PathBuf,
    lock: Option<open::Lock>,
    vectors: RefCell<Option<vectors::Cached>>,
}

/// With what an atlas was made. No clock: the same sweep makes the same rows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Hash of the model's weights.
    pub model_hash: String,
    /// The model's name, as a person says it.
    pub model_name: String,
    /// Hash of the tokenizer.
    pub tokenizer_hash: String,
    /// Which texts were run: a name and a hash.
    pub corpus: String,
    /// The seed of everything random.
    pub seed: u64,
    /// The program's version.
    pub code: String,
    /// Other settings of the run, as JSON text.
    pub settings: String,
    /// How exactly activations of exemplars are kept in this file.
    pub precision: Precision,
}
