//! Tokens that were computed before, in one append-only file for each tokenizer.
//!
//! The file begins with a magic word and the tokenizer's hash. A record is
//!
//! | bytes | what |
//! | --- | --- |
//! | 4 | number of tokens n, little endian, and in its highest bit whether marks follow |
//! | 16 | the document |
//! | 4 n | token ids, little endian |
//! | ⌈n / 8⌉, if there are marks | which tokens are counted, lowest bit first |
//! | 8 | the beginning of the SHA-256 of all that |
//!
//! Opening reads the file once and cuts it off after its last whole record: what a killed process left half-written,
//! and anything behind a damaged record, is computed again. A lock keeps a second process out for as long as the
//! file is open.

use super::CorpusError;
use super::cut::Tokens;
use crate::window::Document;
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufReader, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

const MAGIC: &[u8; 16] = b"pellucid tokens1";
const HEAD: usize = 20;
const CHECK: usize = 8;
const MARKED: u32 = 1 << 31;

/// An open token cache.
#[derive(Debug)]
pub struct TokenCache {
    file: File,
    path: PathBuf,
    /// Where each document's record begins, and its length.
    index: BTreeMap<Document, (u64, usize)>,
    end: u64,
}

impl TokenCache {
    /// Opens, or makes, the cache of a tokenizer in a directory. Waits while another process has it open.
    ///
    /// # Errors
    /// If the directory cannot be made, or the file cannot be read or is another tokenizer's.
    pub fn open(dir: &Path, tokenizer: [u8; 32]) -> Result<TokenCache, CorpusError> {
        fs::create_dir_all(dir).map_err(CorpusError::io("make the token cache", dir))?;
        let path = dir.join(format!("{}.tokens", hex(&tokenizer)));
        let open = File::options().create(true).truncate(false).read(true).write(true).open(&path);
        let file = open.map_err(CorpusError::io("open the token cache", &path))?;
        file.lock().map_err(CorpusError::io("lock the token cache", &path))?;
        let mut cache = TokenCache { file, path, index: BTreeMap::new(), end: 0 };
        cache.begin(tokenizer)?;
        cache.scan().map_err(CorpusError::io("read the token cache", &cache.path))?;
        Ok(cache)
    }

    /// Documents in it.
    pub fn len(&self) -> usize {
        self.index.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// A document's tokens, if they are there whole.
    ///
    /// # Errors
    /// If the file cannot be read.
    pub fn get(&mut self, document: &Document) -> Result<Option<Tokens>, CorpusError> {
        let Some(&(start, length)) = self.index.get(document) else { return Ok(None) };
        let mut record = vec![0; length];
        let read = self.file.seek(SeekFrom::Start(start)).and_then(|_| self.file.read_exact(&mut record));
        read.map_err(CorpusError::io("read the token cache", &self.path))?;
        Ok(decode(&record).filter(|(found, _)| found == document).map(|(_, tokens)| tokens))
    }

    /// Adds a document's tokens at the end of the file.
    ///
    /// # Errors
    /// If the file cannot be written; what was in it before stays.
    pub fn put(&mut self, document: &Document, tokens: &Tokens) -> Result<(), CorpusError> {
        let Some(record) = encode(document, tokens) else { return Ok(()) };
        let written = self.file.seek(SeekFrom::Start(self.end)).and_then(|_| self.file.write_all(&record));
        written.map_err(CorpusError::io("write the token cache", &self.path))?;
        self.index.insert(*document, (self.end, record.len()));
        self.end += record.len() as u64;
        Ok(())
    }

    /// Checks the file's head, or writes it if the file has none yet.
    fn begin(&mut self, tokenizer: [u8; 32]) -> Result<(), CorpusError> {
        let fail = |doing| CorpusError::io(doing, &self.path);
        let expected = [MAGIC.as_slice(), &tokenizer].concat();
        let mut head = Vec::new();
        let length = expected.len() as u64;
        (&self.file).take(length).read_to_end(&mut head).map_err(fail("read the token cache"))?;
        self.end = length;
        if head == expected {
            return Ok(());
        }
        // A file that ends within its head was never used.
        if !expected.starts_with(&head) {
            let found = if head.starts_with(MAGIC) {
                format!("that of {}", hex(head.get(MAGIC.len()..).unwrap_or_default()))
            } else {
                "a file of another kind".to_owned()
            };
            return Err(CorpusError::Cache { expected: hex(&tokenizer), found, path: self.path.clone() });
        }
        let written = self.file.rewind().and_then(|()| self.file.write_all(&expected));
        written.map_err(CorpusError::io("write the token cache", &self.path))
    }

    /// Finds the records, and cuts the file off behind the last whole one.
    fn scan(&mut self) -> io::Result<()> {
        let size = self.file.metadata()?.len();
        self.file.seek(SeekFrom::Start(self.end))?;
        let mut input = BufReader::with_capacity(1 << 20, &self.file);
        let mut record = Vec::new();
        while size - self.end >= (HEAD + CHECK) as u64 {
            record.resize(HEAD, 0);
            input.read_exact(&mut record)?;
            let Some(length) = length(&record).filter(|&length| length as u64 <= size - self.end) else {
                break;
            };
            record.resize(length, 0);
            input.read_exact(record.get_mut(HEAD..).unwrap_or_default())?;
            let Some((document, _)) = decode(&record) else { break };
            self.index.insert(document, (self.end, length));
            self.end += length as u64;
        }
        self.file.set_len(self.end)
    }
}

/// A record's length, from its beginning.
fn length(head: &[u8]) -> Option<usize> {
    let number = u32::from_le_bytes(head.get(..4)?.try_into().ok()?);
    let count = (number & !MARKED) as usize;
    let marks = if number & MARKED == 0 { 0 } else { count.div_ceil(8) };
    count.checked_mul(4)?.checked_add(HEAD + CHECK + marks)
}

/// `None` for a document too long for the format, which is then not cached.
fn encode(document: &Document, tokens: &Tokens) -> Option<Vec<u8>> {
    let count = u32::try_from(tokens.ids.len()).ok().filter(|count| count & MARKED == 0)?;
    let marked = if tokens.counted.is_some() { MARKED } else { 0 };
    let mut record = Vec::from((count | marked).to_le_bytes());
    record.extend(document.0);
    record.extend(tokens.ids.iter().flat_map(|id| id.to_le_bytes()));
    for byte in tokens.counted.as_deref().unwrap_or_default().chunks(8) {
        record.push(byte.iter().enumerate().fold(0, |bits, (i, &counted)| bits | u8::from(counted) << i));
    }
    let check = Sha256::digest(&record);
    record.extend(check.iter().take(CHECK));
    Some(record)
}

/// `None` if the record is not as it was written.
fn decode(record: &[u8]) -> Option<(Document, Tokens)> {
    let (body, check) = record.split_at_checked(record.len().checked_sub(CHECK)?)?;
    if length(body)? != record.len() || !Sha256::digest(body).starts_with(check) {
        return None;
    }
    let number = u32::from_le_bytes(body.get(..4)?.try_into().ok()?);
    let count = (number & !MARKED) as usize;
    let document = Document(body.get(4..HEAD)?.try_into().ok()?);
    let (ids, marks) = body.get(HEAD..)?.split_at_checked(4 * count)?;
    let (ids, _) = ids.as_chunks::<4>();
    let ids = ids.iter().map(|bytes| u32::from_le_bytes(*bytes)).collect();
    let counted = (0..count).map(|i| marks.get(i / 8).is_some_and(|byte| byte >> (i % 8) & 1 == 1));
    let counted = (number & MARKED != 0).then(|| counted.collect());
    Some((document, Tokens { ids, counted }))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
