//! Whole texts and JSON lines.

use super::record;
use super::{Found, InvalidUtf8, Options};
use crate::corpus::CorpusError;
use crate::corpus::text::Content;
use std::io::{BufRead, Read};
use std::path::Path;

/// What editors of some systems write before the first character.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A file as one document. At most the longest document is read of it.
pub(super) fn whole(
    mut input: Box<dyn BufRead + Send>,
    place: &str,
    options: &Options,
) -> Result<Found, CorpusError> {
    let most = options.longest.saturating_add(BYTE_ORDER_MARK.len());
    let mut bytes = Vec::new();
    // One more, so that a file of just that length does not look as if it went on.
    let read = input.by_ref().take(most as u64 + 1).read_to_end(&mut bytes);
    read.map_err(CorpusError::io("read the file", Path::new(place)))?;
    let cut = bytes.len() > most;
    if cut {
        bytes.truncate(most);
        // The cut may be inside a character, which is then no fault of the file's.
        let broken = std::str::from_utf8(&bytes).err().filter(|error| error.error_len().is_none());
        bytes.truncate(broken.map_or(bytes.len(), |error| error.valid_up_to()));
    }
    let mark = if bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
    let (text, replaced) =
        decode(bytes.get(mark..).unwrap_or_default(), mark as u64, options.invalid, place)?;
    Ok(Found { content: Content::Plain(text), source: None, line: None, replaced, cut })
}

/// Bytes to text; whether any had to be replaced.
pub(super) fn decode(
    bytes: &[u8],
    offset: u64,
    invalid: InvalidUtf8,
    place: &str,
) -> Result<(String, bool), CorpusError> {
    match std::str::from_utf8(bytes) {
        Ok(text) => Ok((text.to_owned(), false)),
        Err(_) if invalid == InvalidUtf8::Replace => Ok((String::from_utf8_lossy(bytes).into_owned(), true)),
        Err(error) => {
            let offset = offset + error.valid_up_to() as u64;
            Err(CorpusError::Utf8 { offset, place: place.to_owned() })
        }
    }
}

/// Lines of JSON, one document each; blank lines are passed over.
pub(super) struct Lines {
    input: Box<dyn BufRead + Send>,
    place: String,
    options: Options,
    line: u64,
    offset: u64,
}

impl Lines {
    pub(super) fn new(input: Box<dyn BufRead + Send>, place: &str, options: &Options) -> Self {
        Lines { input, place: place.to_owned(), options: options.clone(), line: 0, offset: 0 }
    }

    fn step(&mut self) -> Result<Option<Found>, CorpusError> {
        let mut bytes = Vec::new();
        loop {
            bytes.clear();
            let read = self.input.read_until(b'\n', &mut bytes);
            let read = read.map_err(CorpusError::io("read the file", Path::new(&self.place)))?;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            let start = self.offset;
            self.offset += read as u64;
            let mark =
                if start == 0 && bytes.starts_with(BYTE_ORDER_MARK) { BYTE_ORDER_MARK.len() } else { 0 };
            let bytes = bytes.get(mark..).unwrap_or_default().trim_ascii();
            if !bytes.is_empty() {
                return self.found(bytes, start + mark as u64).map(Some);
            }
        }
    }

    fn found(&self, bytes: &[u8], offset: u64) -> Result<Found, CorpusError> {
        let place = format!("{}, line {}", self.place, self.line);
        let (text, replaced) = decode(bytes, offset, self.options.invalid, &place)?;
        let found = serde_json::from_str(&text).map_err(|error| CorpusError::Record {
            expected: "one JSON value on the line".into(),
            found: format!("{} ({})", record::excerpt(&text), reason(&error)),
            place: place.clone(),
        })?;
        let (content, source) = record::content(&found, &self.options.field)
            .map_err(|(expected, found)| CorpusError::Record { expected, found, place })?;
        Ok(Found { content, source, line: Some(self.line), replaced, cut: false })
    }
}

impl Iterator for Lines {
    type Item = Result<Found, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

/// serde's reason without its line number, which is always 1 here and would mislead.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let said = text.split(" at line ").next().unwrap_or_default();
    format!("{said} at column {}", error.column())
}
