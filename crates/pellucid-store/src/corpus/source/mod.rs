//! Files to documents, one at a time.
//!
//! | what | its documents |
//! | --- | --- |
//! | `.txt`, `.md` and any other UTF-8 text | the whole file (blank lines do not part documents) |
//! | `.jsonl`, `.ndjson` | one a line: a string, an object with the field, or a conversation (see `record`) |
//! | `.csv`, `.tsv` | one a row, the named column of the header |
//! | `.parquet` | one a row, the named column or a conversation (with the feature `parquet`) |
//! | any of the text formats with `.gz` | the same, uncompressed on the way |
//! | a directory | its files, recursively, sorted by path; hidden files and links to directories are left out, binary files counted and left out |
//! | `-` | standard input: JSON lines if its first byte that is not white space is `{`, else one text |
//!
//! Documents with nothing in them are left out and counted. One longer than [`Options::longest`] is cut there and
//! counted. Memory: one document, and the names of a directory's files.

mod lines;
#[cfg(feature = "parquet")]
mod parquet;
mod record;
mod table;
mod walk;

use super::text::{Content, Text};
use super::{CorpusError, generate};
use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};
use std::path::{Path, PathBuf};

/// What to do with bytes that are not UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidUtf8 {
    /// An error that names their offset.
    Refuse,
    /// Put U+FFFD in their place, and count the documents in which that happened.
    Replace,
}

/// How to read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The field of a JSON object, or the column of a table, that holds the text.
    pub field: String,
    /// Skip and count lines and rows that hold no document, instead of stopping with an error.
    pub skip_bad: bool,
    /// What to do with bytes that are not UTF-8.
    pub invalid: InvalidUtf8,
    /// Longest document in bytes; a longer one is cut there.
    pub longest: usize,
}

impl Default for Options {
    /// The field `text`; errors for whatever is wrong; documents up to 8 MiB.
    fn default() -> Self {
        Options { field: "text".into(), skip_bad: false, invalid: InvalidUtf8::Refuse, longest: 8 << 20 }
    }
}

/// What was met on the way, beside the documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Lines and rows that hold no document, skipped.
    pub bad: u64,
    /// Documents without text.
    pub empty: u64,
    /// Documents that were cut at [`Options::longest`].
    pub cut: u64,
    /// Documents with replaced bytes.
    pub replaced: u64,
    /// Files of a directory that are not text.
    pub binary: u64,
}

/// Where documents come from.
pub struct Source {
    name: String,
    parts: VecDeque<Input>,
    options: Options,
    counts: Counts,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Source").field("name", &self.name).field("parts", &self.parts.len()).finish()
    }
}

/// One thing to read.
enum Input {
    File(PathBuf, Kind),
    Stream(Box<dyn BufRead + Send>),
    Texts(Box<dyn Iterator<Item = Text> + Send>),
}

/// What a file's name says that it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    format: Format,
    compressed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Text,
    Lines,
    Table(u8),
    Parquet,
    /// A name that says nothing: text, if its first bytes are.
    Unknown,
}

/// A document as a format's reader finds it.
struct Found {
    content: Content,
    /// The record's own word on where it is from.
    source: Option<String>,
    /// From 1; none if the file is one document.
    line: Option<u64>,
    replaced: bool,
    /// The reader itself stopped at the longest document.
    cut: bool,
}

type Reader = Box<dyn Iterator<Item = Result<Found, CorpusError>> + Send>;

impl Source {
    /// Opens a file, a directory or, for `-`, standard input.
    ///
    /// # Errors
    /// If there is no such file, or a single file is of no known format and not text.
    pub fn open(path: &str, options: &Options) -> Result<Source, CorpusError> {
        if path == "-" {
            let input = BufReader::with_capacity(1 << 16, io::stdin());
            return Ok(Source::reader("-", Box::new(input), options));
        }
        let file = Path::new(path);
        let about = std::fs::metadata(file).map_err(CorpusError::io("open the source", file))?;
        let mut source = Source::empty(path, options);
        if about.is_dir() {
            let (files, binary) = walk::files(file)?;
            source.counts.binary = binary;
            source.parts = files.into();
        } else {
            let kind = Kind::of(file);
            if kind.format == Format::Unknown && !walk::is_text(file, kind.compressed)? {
                return Err(CorpusError::Format {
                    expected: "txt, jsonl, csv, tsv, parquet or another text file".into(),
                    found: "a binary file".into(),
                    place: path.into(),
                });
            }
            source.parts.push_back(Input::File(file.to_owned(), kind));
        }
        Ok(source)
    }

    /// An open stream, read as standard input is.
    pub fn reader(name: &str, input: Box<dyn BufRead + Send>, options: &Options) -> Source {
        let mut source = Source::empty(name, options);
        source.parts.push_back(Input::Stream(input));
        source
    }

    /// Generated text: about `bytes` bytes of one kind ([`generate::generate`]).
    pub fn generated(kind: generate::Kind, seed: u64, bytes: usize, options: &Options) -> Source {
        let name = format!("generated-{kind}");
        let texts = generate::generate(kind, seed, bytes);
        Source::texts_of(&name, texts.into_iter().map(Content::Plain), options)
    }

    /// Documents that are in memory already.
    pub fn texts_of<I>(name: &str, contents: I, options: &Options) -> Source
    where
        I: IntoIterator<Item = Content>,
        I::IntoIter: Send + 'static,
    {
        let mut source = Source::empty(name, options);
        let from = name.to_owned();
        let text = move |(i, content)| Text {
            content,
            from: from.clone(),
            place: format!("{from}, document {}", i + 1),
        };
        source.parts.push_back(Input::Texts(Box::new(contents.into_iter().enumerate().map(text))));
        source
    }

    /// The source as it was named.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its documents, in a fixed order.
    pub fn texts(self) -> Texts {
        let Source { name, parts, options, counts } = self;
        Texts { name, parts, options, counts, current: None, ended: false }
    }

    fn empty(name: &str, options: &Options) -> Source {
        let (options, counts) = (options.clone(), Counts::default());
        Source { name: name.to_owned(), parts: VecDeque::new(), options, counts }
    }
}

/// The documents of a [`Source`], one at a time. After an error there are no more.
pub struct Texts {
    name: String,
    parts: VecDeque<Input>,
    options: Options,
    counts: Counts,
    current: Option<(String, Reader)>,
    ended: bool,
}

impl Texts {
    /// What was met so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn step(&mut self) -> Result<Option<Text>, CorpusError> {
        loop {
            if let Some((place, reader)) = &mut self.current {
                match reader.next() {
                    Some(Ok(found)) => {
                        let place = found.line.map_or(place.clone(), |line| format!("{place}, line {line}"));
                        let from = found.source.unwrap_or_else(|| self.name.clone());
                        self.counts.replaced += u64::from(found.replaced);
                        let text = Text { content: found.content, from, place };
                        if let Some(text) = self.keep(text, found.cut) {
                            return Ok(Some(text));
                        }
                        continue;
                    }
                    Some(Err(CorpusError::Record { .. })) if self.options.skip_bad => {
                        self.counts.bad += 1;
                        continue;
                    }
                    Some(Err(error)) => return Err(error),
                    None => self.current = None,
                }
            }
            match self.parts.pop_front() {
                None => return Ok(None),
                Some(Input::Texts(mut texts)) => {
                    let Some(text) = texts.next() else { continue };
                    self.parts.push_front(Input::Texts(texts));
                    if let Some(text) = self.keep(text, false) {
                        return Ok(Some(text));
                    }
                }
                Some(input) => self.current = Some(input.open(&self.name, &self.options)?),
            }
        }
    }

    fn keep(&mut self, mut text: Text, was_cut: bool) -> Option<Text> {
        let cut = text.content.shorten(self.options.longest);
        self.counts.cut += u64::from(cut || was_cut);
        let empty = text.content.is_empty();
        self.counts.empty += u64::from(empty);
        (!empty).then_some(text)
    }
}

impl Iterator for Texts {
    type Item = Result<Text, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let step = self.step().transpose();
        self.ended = !matches!(step, Some(Ok(_)));
        step
    }
}

impl Input {
    /// The reader for it, and what to call it in messages.
    fn open(self, name: &str, options: &Options) -> Result<(String, Reader), CorpusError> {
        match self {
            Input::Texts(_) => Ok((name.to_owned(), Box::new(std::iter::empty()))),
            Input::Stream(mut input) => {
                let json = starts_with_brace(&mut input).map_err(CorpusError::io("read", Path::new(name)))?;
                let format = if json { Format::Lines } else { Format::Text };
                Ok((name.to_owned(), format.reader(input, name, options)))
            }
            Input::File(path, kind) => {
                let place = path.display().to_string();
                let file = File::open(&path).map_err(CorpusError::io("open the file", &path))?;
                if kind.format == Format::Parquet {
                    return Ok((place.clone(), parquet_reader(file, &place, options)?));
                }
                let input = buffered(file, kind.compressed);
                Ok((place.clone(), kind.format.reader(input, &place, options)))
            }
        }
    }
}

impl Format {
    fn reader(self, input: Box<dyn BufRead + Send>, place: &str, options: &Options) -> Reader {
        match self {
            Format::Lines => Box::new(lines::Lines::new(input, place, options)),
            Format::Table(separator) => Box::new(table::Table::new(input, separator, place, options)),
            Format::Text | Format::Parquet | Format::Unknown => {
                Box::new(std::iter::once(lines::whole(input, place, options)))
            }
        }
    }
}

impl Kind {
    fn of(path: &Path) -> Kind {
        let mut name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        let compressed = name.ends_with(".gz");
        if compressed {
            name.truncate(name.len() - 3);
        }
        let format = match name.rsplit_once('.').map(|(_, end)| end) {
            Some("txt") => Format::Text,
            Some("jsonl" | "ndjson") => Format::Lines,
            Some("csv") => Format::Table(b','),
            Some("tsv") => Format::Table(b'\t'),
            // Parquet compresses by itself, and is read from its end.
            Some("parquet") if !compressed => Format::Parquet,
            _ => Format::Unknown,
        };
        Kind { format, compressed }
    }
}

fn buffered(file: File, compressed: bool) -> Box<dyn BufRead + Send> {
    let plain: Box<dyn Read + Send> =
        if compressed { Box::new(flate2::read::MultiGzDecoder::new(file)) } else { Box::new(file) };
    Box::new(BufReader::with_capacity(1 << 16, plain))
}

/// Looks without reading: white space before the first other byte is passed over.
fn starts_with_brace(input: &mut dyn BufRead) -> io::Result<bool> {
    loop {
        let buffer = input.fill_buf()?;
        if buffer.is_empty() {
            return Ok(false);
        }
        match buffer.iter().position(|byte| !byte.is_ascii_whitespace()) {
            Some(at) => return Ok(buffer.get(at) == Some(&b'{')),
            None => {
                let all = buffer.len();
                input.consume(all);
            }
        }
    }
}

#[cfg(feature = "parquet")]
fn parquet_reader(file: File, place: &str, options: &Options) -> Result<Reader, CorpusError> {
    Ok(Box::new(parquet::Rows::open(file, place, options)?))
}

#[cfg(not(feature = "parquet"))]
fn parquet_reader(_: File, place: &str, _: &Options) -> Result<Reader, CorpusError> {
    Err(CorpusError::Format {
        expected: "a format of this build".into(),
        found: "a parquet file (build with the feature `parquet`, or convert it to jsonl)".into(),
        place: place.into(),
    })
}
