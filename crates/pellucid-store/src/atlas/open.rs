//! Creating, opening and closing: one writer, any number of readers, and no file that is half made.
//!
//! A writer holds a lock on a file beside the atlas (`NAME-writer`) as long as it lives; the system gives the
//! lock back whatever way the process ends. While it writes, the journal is a write-ahead log, so that readers
//! are not held up; when it closes, the log goes into the file, which can then be copied on its own.

use super::schema::{self, Found};
use super::{Atlas, AtlasError, Provenance};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};
use std::cell::RefCell;
use std::fs::{self, File, TryLockError};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long a step waits for another program's step: only moments of opening and closing can collide.
const PATIENCE: Duration = Duration::from_secs(5);

/// The right to write.
pub(super) struct Lock {
    file: Option<File>,
    path: PathBuf,
}

impl Lock {
    fn take(atlas: &Path) -> Result<Lock, AtlasError> {
        let mut path = atlas.as_os_str().to_owned();
        path.push("-writer");
        let path = PathBuf::from(path);
        loop {
            let file = File::options().create(true).truncate(false).write(true).open(&path);
            let file = file.map_err(|error| denied(&error, atlas))?;
            match file.try_lock() {
                Ok(()) => {}
                Err(TryLockError::WouldBlock) => return Err(AtlasError::Busy { path: atlas.to_owned() }),
                Err(TryLockError::Error(error)) => return Err(denied(&error, atlas)),
            }
            // The last writer may have removed the file between our opening and locking it.
            if path.exists() {
                return Ok(Lock { file: Some(file), path });
            }
        }
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Removed while it is held; a file that cannot be removed does no harm.
        let _ = fs::remove_file(&self.path);
        drop(self.file.take());
    }
}

fn denied(error: &std::io::Error, path: &Path) -> AtlasError {
    AtlasError::Denied { reason: error.to_string(), path: path.to_owned() }
}

/// The first bytes of a file that should be an atlas.
fn header(path: &Path) -> Result<Vec<u8>, AtlasError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(AtlasError::Missing { path: path.to_owned() });
        }
        Err(error) => return Err(denied(&error, path)),
    };
    let mut bytes = Vec::new();
    file.take(100).read_to_end(&mut bytes).map_err(|error| denied(&error, path))?;
    if !bytes.is_empty() && !bytes.starts_with(b"SQLite format 3\0") {
        let found = "a file that is no SQLite database".to_owned();
        return Err(AtlasError::Foreign { found, path: path.to_owned() });
    }
    Ok(bytes)
}

impl Atlas {
    /// A new atlas of the model that `provenance` names, opened for writing. A file left by a creation that was
    /// cut short before anything stood in it is taken over.
    ///
    /// # Errors
    /// If a file stands there, another program writes to it, or the place cannot be written to.
    pub fn create(path: &Path, provenance: &Provenance) -> Result<Atlas, AtlasError> {
        let lock = Lock::take(path)?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | FLAGS;
        let made = || {
            let mut db = Connection::open_with_flags(path, flags)?;
            db.busy_timeout(PATIENCE)?;
            match schema::look(&db) {
                Ok(Found::Nothing) => {}
                Ok(Found::Atlas(version)) if provenances(&db, version)? == 0 => {}
                Ok(_) | Err(AtlasError::Foreign { .. } | AtlasError::Newer { .. }) => {
                    return Err(AtlasError::Exists { path: PathBuf::new() });
                }
                Err(error) => return Err(error),
            }
            ready(&db)?;
            let version: i64 = db.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            schema::migrate(&mut db, version, path)?;
            Ok(db)
        };
        let db = made().map_err(|error: AtlasError| error.at(path))?;
        let mut atlas = Atlas::new(db, path, Some(lock));
        atlas.add_provenance(provenance)?;
        Ok(atlas)
    }

    /// An atlas to read. Any number may be open, also while one is written.
    ///
    /// # Errors
    /// If there is no file, it is no atlas, or its schema is not this program's.
    pub fn open_read(path: &Path) -> Result<Atlas, AtlasError> {
        let bytes = header(path)?;
        let opened = Self::read_only(path, false);
        // A log's index cannot be made in a folder that may not be written to; without a log the file is whole.
        let opened = match opened {
            Err(AtlasError::Denied { .. }) if bytes.get(18) == Some(&2) && !beside(path, "-wal").exists() => {
                Self::read_only(path, true)
            }
            // A writer killed in the moment of closing leaves a step that only a writer can take back.
            Err(AtlasError::Denied { .. }) if beside(path, "-journal").exists() => {
                take_back(path)?;
                Self::read_only(path, false)
            }
            other => other,
        };
        opened.map_err(|error| error.at(path))
    }

    fn read_only(path: &Path, immutable: bool) -> Result<Atlas, AtlasError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | FLAGS;
        let db = if immutable {
            let name = path.to_string_lossy().replace('%', "%25").replace('?', "%3f").replace('#', "%23");
            let flags = flags | OpenFlags::SQLITE_OPEN_URI;
            Connection::open_with_flags(format!("file:{name}?immutable=1"), flags)?
        } else {
            Connection::open_with_flags(path, flags)?
        };
        db.busy_timeout(PATIENCE)?;
        // a damaged page is noticed when it is read, not when a row on it is
        db.execute_batch("PRAGMA cell_size_check = ON")?;
        match schema::look(&db)? {
            Found::Atlas(found) if found < schema::known() => {
                let (known, path) = (schema::known(), PathBuf::new());
                return Err(AtlasError::Older { found, known, path });
            }
            Found::Atlas(found) => schema::check(&db, found)?,
            Found::Nothing => return Err(empty()),
        }
        Ok(Atlas::new(db, path, None))
    }

    /// An atlas to go on with, brought up to this program's schema.
    ///
    /// # Errors
    /// If there is no file, it is no atlas or a later program's, or another program writes to it (at once).
    pub fn open_write(path: &Path) -> Result<Atlas, AtlasError> {
        header(path)?;
        let lock = Lock::take(path)?;
        let opened = || {
            let mut db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | FLAGS)?;
            db.busy_timeout(PATIENCE)?;
            let Found::Atlas(version) = schema::look(&db)? else { return Err(empty()) };
            schema::check(&db, version)?;
            ready(&db)?;
            schema::migrate(&mut db, version, path)?;
            Ok(db)
        };
        let db = opened().map_err(|error: AtlasError| error.at(path))?;
        Ok(Atlas::new(db, path, Some(lock)))
    }

    fn new(db: Connection, path: &Path, lock: Option<Lock>) -> Atlas {
        Atlas { db, path: path.to_owned(), lock, vectors: RefCell::new(None) }
    }

    /// Where the file is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Sets the largest size that the file may grow to, in bytes; reaching it is [`AtlasError::Full`].
    ///
    /// # Errors
    /// If SQLite refuses.
    pub fn limit_size(&self, bytes: u64) -> Result<(), AtlasError> {
        self.reading(|db| {
            let page: i64 = db.query_row("PRAGMA page_size", [], |row| row.get(0))?;
            let pages = i64::try_from(bytes).unwrap_or(i64::MAX) / page.max(1);
            db.query_row(&format!("PRAGMA max_page_count = {}", pages.max(1)), [], |_| Ok(()))?;
            Ok(())
        })
    }

    /// SQLite's own check of the whole file.
    ///
    /// # Errors
    /// If the file cannot be read or is damaged; the text says where.
    pub fn check(&self) -> Result<(), AtlasError> {
        self.reading(|db| {
            let found: String = db.query_row("PRAGMA integrity_check", [], |row| row.get(0))?;
            if found == "ok" { Ok(()) } else { Err(AtlasError::corrupt("sqlite", "integrity_check", found)) }
        })
    }

    /// A step that reads.
    pub(super) fn reading<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, AtlasError>,
    ) -> Result<T, AtlasError> {
        work(&self.db).map_err(|error| error.at(&self.path))
    }

    /// A step that writes: all of it or nothing.
    pub(super) fn writing<T>(
        &mut self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, AtlasError>,
    ) -> Result<T, AtlasError> {
        if self.lock.is_none() {
            return Err(AtlasError::ReadOnly { path: self.path.clone() });
        }
        let step = || {
            let step = self.db.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let done = work(&step)?;
            step.commit()?;
            Ok(done)
        };
        step().map_err(|error: AtlasError| error.at(&self.path))
    }
}

impl Drop for Atlas {
    fn drop(&mut self) {
        if self.lock.is_some() {
            // Fails while somebody reads: then the log stays beside the file, which is as safe.
            let _ = self.db.busy_timeout(Duration::ZERO);
            let _ = self.db.query_row("PRAGMA journal_mode = DELETE", [], |_| Ok(()));
        }
    }
}

/// No statement of ours runs on two threads at once: a connection belongs to one `&mut` or one thread.
const FLAGS: OpenFlags = OpenFlags::SQLITE_OPEN_NO_MUTEX;

fn ready(db: &Connection) -> Result<(), AtlasError> {
    db.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(()))?;
    db.execute_batch("PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON;")?;
    Ok(())
}

fn provenances(db: &Connection, version: i64) -> Result<i64, AtlasError> {
    if version == 0 {
        return Ok(0);
    }
    Ok(db.query_row("SELECT count(*) FROM provenance", [], |row| row.get(0))?)
}

/// SQLite's file for the step in hand: `-wal` (the log) or `-journal`.
fn beside(path: &Path, ending: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

/// Undoes the half of a step that a killed writer left behind: SQLite does so at the first look of a connection
/// that may write.
fn take_back(path: &Path) -> Result<(), AtlasError> {
    let _lock = Lock::take(path)?;
    let undone = || {
        let db = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_WRITE | FLAGS)?;
        db.busy_timeout(PATIENCE)?;
        schema::look(&db).map(drop)
    };
    undone().map_err(|error: AtlasError| error.at(path))
}

fn empty() -> AtlasError {
    let found = "an empty file (a creation that was cut short); build again".to_owned();
    AtlasError::Foreign { found, path: PathBuf::new() }
}
