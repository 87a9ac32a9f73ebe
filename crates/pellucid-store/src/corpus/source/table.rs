//! Comma- and tab-separated tables (RFC 4180) with a header, one document a row.

use super::lines::decode;
use super::{Found, Options};
use crate::corpus::CorpusError;
use crate::corpus::text::Content;
use csv::ByteRecord;
use std::io::BufRead;
use std::path::Path;

/// Rows of a table.
pub(super) struct Table {
    rows: csv::Reader<Box<dyn BufRead + Send>>,
    place: String,
    options: Options,
    /// The text's column and that of its source, once the header is read.
    columns: Option<(usize, Option<usize>)>,
}

impl Table {
    pub(super) fn new(input: Box<dyn BufRead + Send>, separator: u8, place: &str, options: &Options) -> Self {
        // Rows of uneven length are our error, which names what is missing, not the parser's.
        let rows = csv::ReaderBuilder::new().delimiter(separator).flexible(true).from_reader(input);
        Table { rows, place: place.to_owned(), options: options.clone(), columns: None }
    }

    fn columns(&mut self) -> Result<(usize, Option<usize>), CorpusError> {
        if let Some(columns) = self.columns {
            return Ok(columns);
        }
        let header = self.rows.byte_headers().map_err(|error| broken(error, &self.place))?;
        let names: Vec<_> = header.iter().map(String::from_utf8_lossy).collect();
        // A byte order mark is no part of the first column's name.
        let at = |name: &str| names.iter().position(|found| found.trim_start_matches('\u{feff}') == name);
        let text = at(&self.options.field).ok_or_else(|| CorpusError::Format {
            expected: format!("a column `{}` in the header", self.options.field),
            found: format!("the columns {}", super::record::excerpt(&names.join(", "))),
            place: self.place.clone(),
        })?;
        let columns = (text, at("source").filter(|&source| source != text));
        self.columns = Some(columns);
        Ok(columns)
    }

    fn step(&mut self) -> Result<Option<Found>, CorpusError> {
        let (text, source) = self.columns()?;
        let mut row = ByteRecord::new();
        if !self.rows.read_byte_record(&mut row).map_err(|error| broken(error, &self.place))? {
            return Ok(None);
        }
        let (line, offset) = row.position().map_or((0, 0), |at| (at.line(), at.byte()));
        let place = format!("{}, line {line}", self.place);
        let bytes = row.get(text).ok_or_else(|| CorpusError::Record {
            expected: format!("at least {} columns", text + 1),
            found: row.len().to_string(),
            place: place.clone(),
        })?;
        let invalid = |error| match error {
            CorpusError::Utf8 { place, .. } => CorpusError::Utf8 { offset, place },
            other => other,
        };
        let (content, replaced) = decode(bytes, offset, self.options.invalid, &place).map_err(invalid)?;
        let source =
            source.and_then(|at| std::str::from_utf8(row.get(at)?).ok()).filter(|name| !name.is_empty());
        let source = source.map(str::to_owned);
        Ok(Some(Found { content: Content::Plain(content), source, line: Some(line), replaced, cut: false }))
    }
}

impl Iterator for Table {
    type Item = Result<Found, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

fn broken(error: csv::Error, place: &str) -> CorpusError {
    match error.into_kind() {
        csv::ErrorKind::Io(cause) => CorpusError::io("read the table", Path::new(place))(cause),
        other => CorpusError::Format {
            expected: "a table".into(),
            found: csv_words(&other),
            place: place.to_owned(),
        },
    }
}

fn csv_words(kind: &csv::ErrorKind) -> String {
    match kind {
        csv::ErrorKind::Utf8 { pos, err } => {
            format!(
                "bytes that are not UTF-8 ({err}) at byte {}",
                pos.as_ref().map_or(0, csv::Position::byte)
            )
        }
        other => format!("{other:?}"),
    }
}
