//! What can go wrong with an atlas file, in words that say what to do.

use pellucid_core::Site;
use std::error::Error;
use std::path::{Path, PathBuf};

/// A failure of an atlas.
#[derive(Debug, thiserror::Error)]
pub enum AtlasError {
    /// No file stands at the path.
    #[error("no atlas at {}; build one, or give the path of one", path.display())]
    Missing {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// A file stands where a new one was to be made.
    #[error("{} exists already; open it for writing to go on with it, or remove it", path.display())]
    Exists {
        /// The file.
        path: PathBuf,
    },
    /// The file is no atlas.
    #[error("expected an atlas, found {found}; give another path: {}", path.display())]
    Foreign {
        /// What it is instead.
        found: String,
        /// The file.
        path: PathBuf,
    },
    /// The file was written by a later program.
    #[error(
        "the atlas has schema {found}, this program reads up to {known}; use a newer program: {}",
        path.display()
    )]
    Newer {
        /// The file's schema.
        found: i64,
        /// The last schema known here.
        known: i64,
        /// The file.
        path: PathBuf,
    },
    /// The file has an earlier schema and was opened for reading only.
    #[error(
        "the atlas has schema {found}, this program reads {known}; open it once for writing to bring it up to date: {}",
        path.display()
    )]
    Older {
        /// The file's schema.
        found: i64,
        /// The schema that is read here.
        known: i64,
        /// The file.
        path: PathBuf,
    },
    /// Somebody else writes to the file.
    #[error("another program writes to this atlas; wait until it is done, or stop it: {}", path.display())]
    Busy {
        /// The file.
        path: PathBuf,
    },
    /// A change was asked of an atlas that was opened for reading.
    #[error("the atlas was opened for reading only; open it for writing: {}", path.display())]
    ReadOnly {
        /// The file.
        path: PathBuf,
    },
    /// The disk, or the size that the file may have, is used up. Nothing of the last batch is kept.
    #[error(
        "the atlas cannot be written on: no space left on the disk, or the largest size for a file is reached; make \
         room and run again, what was written before is kept: {}",
        path.display()
    )]
    Full {
        /// The file.
        path: PathBuf,
    },
    /// The folder or the file does not let itself be written to.
    #[error(
        "cannot open or write the atlas ({reason}); check that its folder exists and may be written to, \
         or give another path: {}",
        path.display()
    )]
    Denied {
        /// What the system said.
        reason: String,
        /// The file.
        path: PathBuf,
    },
    /// Bytes in the file are not what this program writes.
    #[error("damaged data in table {table}, row {row}: {fault}; restore the file or sweep again: {}", path.display())]
    Corrupt {
        /// The table.
        table: &'static str,
        /// The row, a unit's name where it is one's.
        row: String,
        /// What is wrong.
        fault: String,
        /// The file.
        path: PathBuf,
    },
    /// The data offered cannot be stored as it is.
    #[error("cannot store {what}: {fault}")]
    Invalid {
        /// What was offered.
        what: String,
        /// What is wrong with it.
        fault: String,
    },
    /// An exemplar names a window that is not in the file.
    #[error(
        "an exemplar of {site}/{unit} lies in window {window} of document {document}, which the atlas does \
         not hold; put the windows first"
    )]
    NoWindow {
        /// The unit's site.
        site: Site,
        /// The unit's index.
        unit: u32,
        /// The document's name in hexadecimal digits.
        document: String,
        /// Which window.
        window: u32,
    },
    /// Something asked for by name or number is not there.
    #[error("the atlas holds no {what}: {}", path.display())]
    Absent {
        /// What was asked for.
        what: String,
        /// The file.
        path: PathBuf,
    },
    /// Two files are not about the same model.
    #[error("the atlas is of model {expected}, found {found}; they cannot be joined")]
    OtherModel {
        /// The hash of this atlas's model.
        expected: String,
        /// The other hash.
        found: String,
    },
    /// Reading or writing another file than the atlas.
    #[error("cannot read or write the exchanged file: {0}")]
    Stream(#[from] std::io::Error),
    /// SQLite reports something else.
    #[error("the atlas's database failed: {source}: {}", path.display())]
    Sql {
        /// What SQLite said.
        source: Box<dyn Error + Send + Sync>,
        /// The file.
        path: PathBuf,
    },
}

/// SQLite's codes for a write, a truncation or a growing of its shared memory that the system refused: only a
/// disk that says so itself is reported as full.
const UNWRITTEN: [i32; 3] = [
    rusqlite::ffi::SQLITE_IOERR_WRITE,
    rusqlite::ffi::SQLITE_IOERR_TRUNCATE,
    rusqlite::ffi::SQLITE_IOERR_SHMSIZE,
];

impl From<rusqlite::Error> for AtlasError {
    /// Without a path; `AtlasError::at` fills it in.
    fn from(error: rusqlite::Error) -> Self {
        use rusqlite::ErrorCode as Code;
        let path = PathBuf::new();
        if error.sqlite_error().is_some_and(|e| UNWRITTEN.contains(&e.extended_code)) {
            return AtlasError::Full { path };
        }
        match error.sqlite_error_code() {
            Some(Code::DiskFull) => AtlasError::Full { path },
            Some(Code::DatabaseBusy | Code::DatabaseLocked) => AtlasError::Busy { path },
            Some(
                Code::ReadOnly
                | Code::CannotOpen
                | Code::PermissionDenied
                | Code::AuthorizationForStatementDenied
                | Code::SystemIoFailure,
            ) => AtlasError::Denied { reason: error.to_string(), path },
            Some(Code::NotADatabase) => {
                AtlasError::Foreign { found: "a file that is no SQLite database".to_owned(), path }
            }
            Some(Code::DatabaseCorrupt) => AtlasError::Corrupt {
                table: "sqlite",
                row: "page".to_owned(),
                fault: error.to_string(),
                path,
            },
            _ => AtlasError::Sql { source: Box::new(error), path },
        }
    }
}

impl AtlasError {
    /// The same error with the file's path.
    pub(super) fn at(mut self, file: &Path) -> Self {
        match &mut self {
            AtlasError::Missing { path }
            | AtlasError::Exists { path }
            | AtlasError::Foreign { path, .. }
            | AtlasError::Newer { path, .. }
            | AtlasError::Older { path, .. }
            | AtlasError::Busy { path }
            | AtlasError::ReadOnly { path }
            | AtlasError::Full { path }
            | AtlasError::Denied { path, .. }
            | AtlasError::Corrupt { path, .. }
            | AtlasError::Absent { path, .. }
            | AtlasError::Sql { path, .. }
                if path.as_os_str().is_empty() =>
            {
                *path = file.to_owned();
            }
            _ => {}
        }
        self
    }

    pub(super) fn corrupt(table: &'static str, row: impl ToString, fault: impl ToString) -> Self {
        AtlasError::Corrupt { table, row: row.to_string(), fault: fault.to_string(), path: PathBuf::new() }
    }

    pub(super) fn invalid(what: impl ToString, fault: impl ToString) -> Self {
        AtlasError::Invalid { what: what.to_string(), fault: fault.to_string() }
    }

    pub(super) fn absent(what: impl ToString) -> Self {
        AtlasError::Absent { what: what.to_string(), path: PathBuf::new() }
    }
}
