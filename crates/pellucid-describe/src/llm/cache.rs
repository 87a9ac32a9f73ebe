//! Answers kept on disk, so that a run that was cut short asks nothing twice. One JSON line per answer, only ever
//! appended; the key is the SHA-256 of the model's name and of every field of the question. Failures are not
//! kept: there is no way to write one.

use pellucid_core::{Answer, Ask};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use thiserror::Error;

/// The name of a question: SHA-256 over the model's name and the question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AskHash(pub [u8; 32]);

impl AskHash {
    /// Every part is preceded by its length, so that no two questions run into the same bytes.
    pub fn of(chat: &str, ask: &Ask) -> Self {
        let mut hash = Sha256::new();
        let mut part = |bytes: &[u8]| {
            hash.update((bytes.len() as u64).to_le_bytes());
            hash.update(bytes);
        };
        part(b"pellucid-ask-1");
        part(chat.as_bytes());
        part(&(ask.messages.len() as u64).to_le_bytes());
        for message in &ask.messages {
            part(message.role.as_bytes());
            part(message.content.as_bytes());
        }
        part(ask.prefill.as_bytes());
        part(&(ask.max_tokens as u64).to_le_bytes());
        part(&ask.temperature.to_bits().to_le_bytes());
        part(&ask.seed.to_le_bytes());
        part(&(ask.top_log_probs as u64).to_le_bytes());
        Self(hash.finalize().into())
    }

    fn hex(self) -> String {
        use std::fmt::Write as _;
        self.0.iter().fold(String::with_capacity(64), |mut text, byte| {
            let _ = write!(text, "{byte:02x}"); // writing to a string cannot fail
            text
        })
    }

    fn from_hex(text: &str) -> Option<Self> {
        let mut bytes = [0; 32];
        if text.len() != 64 || !text.is_ascii() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            *byte = u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()?;
        }
        Some(Self(bytes))
    }
}

/// A cache that cannot be used.
#[derive(Debug, Error)]
pub enum CacheError {
    /// The file system said no.
    #[error("the answers' cache cannot be {doing}: {source} ({})", path.display())]
    Io {
        /// What was being done.
        doing: &'static str,
        /// Why not.
        source: std::io::Error,
        /// The file.
        path: PathBuf,
    },
    /// Another process writes it.
    #[error("another process is using the answers' cache; wait for it, or name another file ({})", path.display())]
    Locked {
        /// The file.
        path: PathBuf,
    },
}

/// Answers on disk, by question.
#[derive(Debug)]
pub struct AnswerCache {
    path: PathBuf,
    inner: Mutex<Inner>,
    damaged: usize,
}

#[derive(Debug)]
struct Inner {
    file: File,
    /// Where each answer's line stands: first byte and length.
    lines: HashMap<AskHash, (u64, usize)>,
    end: u64,
}

#[derive(Serialize, Deserialize)]
struct Line {
    key: String,
    text: String,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    top: Vec<Vec<(String, f32)>>,
    read: usize,
    written: usize,
}

impl AnswerCache {
    /// Opens or makes the file, for this process alone. A last line without its end (a kill, a full disk) is cut
    /// off; other lines that cannot be read are passed over and counted.
    ///
    /// # Errors
    /// If the file cannot be made or read, or another process has it.
    pub fn open(path: &Path) -> Result<Self, CacheError> {
        let io = |doing| move |source| CacheError::Io { doing, source, path: path.to_owned() };
        let mut options = OpenOptions::new();
        let file = options.read(true).append(true).create(true).open(path).map_err(io("opened"))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(std::fs::TryLockError::WouldBlock) => {
                return Err(CacheError::Locked { path: path.to_owned() });
            }
            Err(std::fs::TryLockError::Error(source)) => return Err(io("locked")(source)),
        }
        let (lines, end, damaged) = scan(&file).map_err(io("read"))?;
        file.set_len(end).map_err(io("mended"))?;
        Ok(Self { path: path.to_owned(), inner: Mutex::new(Inner { file, lines, end }), damaged })
    }

    /// How many answers it holds.
    pub fn len(&self) -> usize {
        self.lock().lines.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lines passed over when it was opened because they could not be read.
    pub fn damaged(&self) -> usize {
        self.damaged
    }

    /// The answer to a question asked before; none too if its line has become unreadable.
    pub fn get(&self, key: AskHash) -> Option<Answer> {
        let mut inner = self.lock();
        let (start, length) = *inner.lines.get(&key)?;
        let mut bytes = vec![0; length];
        inner.file.seek(SeekFrom::Start(start)).ok()?;
        inner.file.read_exact(&mut bytes).ok()?;
        let line: Line = serde_json::from_slice(&bytes).ok()?;
        (line.key == key.hex()).then_some(Answer {
            text: line.text,
            top_log_probs: line.top,
            prompt_tokens: line.read,
            answer_tokens: line.written,
        })
    }

    /// Keeps an answer; a question that has one already keeps the older.
    ///
    /// # Errors
    /// If it cannot be written; the file is then as before.
    pub fn put(&self, key: AskHash, answer: &Answer) -> Result<(), CacheError> {
        // JSON has no infinities; the smallest number has the same exponential, 0.
        let finite = |(token, p): &(String, f32)| (token.clone(), if p.is_finite() { *p } else { f32::MIN });
        let line = Line {
            key: key.hex(),
            text: answer.text.clone(),
            top: answer.top_log_probs.iter().map(|t| t.iter().map(finite).collect()).collect(),
            read: answer.prompt_tokens,
            written: answer.answer_tokens,
        };
        let io = |source| CacheError::Io { doing: "written", source, path: self.path.clone() };
        let mut bytes = serde_json::to_vec(&line).map_err(|e| io(e.into()))?;
        let length = bytes.len();
        bytes.push(b'\n');
        let mut inner = self.lock();
        if inner.lines.contains_key(&key) {
            return Ok(());
        }
        if let Err(source) = inner.file.write_all(&bytes) {
            let _ = inner.file.set_len(inner.end); // half a line would hide the next one
            return Err(io(source));
        }
        let start = inner.end;
        inner.lines.insert(key, (start, length));
        inner.end += bytes.len() as u64;
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        // Every change of `inner` is whole before anything can panic.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where the lines stand, where the last whole one ends, and how many cannot be read.
#[expect(clippy::type_complexity, reason = "one caller, which takes it apart at once")]
fn scan(file: &File) -> std::io::Result<(HashMap<AskHash, (u64, usize)>, u64, usize)> {
    let (mut lines, mut end, mut damaged) = (HashMap::new(), 0, 0);
    let mut reader = BufReader::new(file);
    let mut bytes = Vec::new();
    loop {
        bytes.clear();
        let read = reader.read_until(b'\n', &mut bytes)?;
        if read == 0 || bytes.last() != Some(&b'\n') {
            return Ok((lines, end, damaged));
        }
        let line: Option<Line> = serde_json::from_slice(&bytes[..read - 1]).ok();
        match line.and_then(|line| AskHash::from_hex(&line.key)) {
            Some(key) => {
                lines.entry(key).or_insert((end, read - 1));
            }
            None => damaged += 1,
        }
        end += read as u64;
    }
}
