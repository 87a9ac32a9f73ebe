//! Rows of a Parquet file, through the format's record interface: only the columns that are needed are read.

use super::record;
use super::{Found, Options};
use crate::corpus::CorpusError;
use parquet::errors::ParquetError;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::reader::RowIter;
use parquet::record::{Field, Row};
use parquet::schema::types::Type;
use serde_json::{Map, Value};
use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Columns that may hold a conversation, as in JSON lines.
const CHATS: [&str; 2] = ["messages", "conversations"];

/// Rows as documents; a row's number, from 1, stands for its line.
pub(super) struct Rows {
    rows: RowIter<'static>,
    place: String,
    field: String,
    row: u64,
}

impl Rows {
    /// Reads the file's end, which says what columns there are.
    pub(super) fn open(file: File, place: &str, options: &Options) -> Result<Self, CorpusError> {
        let rows = guarded(place, || {
            let reader = SerializedFileReader::new(file)?;
            let schema = reader.metadata().file_metadata().schema().clone();
            let wanted = wanted(&schema, &options.field);
            if wanted.is_empty() {
                return Ok(Err(columns(&schema)));
            }
            let projection = Type::group_type_builder(schema.name()).with_fields(wanted).build()?;
            Ok(Ok(RowIter::from_file_into(Box::new(reader)).project(Some(projection))?))
        })?;
        let rows = rows.map_err(|found| CorpusError::Format {
            expected: format!("a column `{}`, `messages` or `conversations`", options.field),
            found,
            place: place.to_owned(),
        })?;
        Ok(Rows { rows, place: place.to_owned(), field: options.field.clone(), row: 0 })
    }

    fn step(&mut self) -> Result<Option<Found>, CorpusError> {
        let rows = &mut self.rows;
        let Some(row) = guarded(&self.place, || rows.next().transpose())? else { return Ok(None) };
        self.row += 1;
        let place = || format!("{}, row {}", self.place, self.row);
        let (content, source) = record::content(&object(&row), &self.field)
            .map_err(|(expected, found)| CorpusError::Record { expected, found, place: place() })?;
        Ok(Some(Found { content, source, line: Some(self.row), replaced: false, cut: false }))
    }
}

impl Iterator for Rows {
    type Item = Result<Found, CorpusError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.step().transpose()
    }
}

/// Damaged files make the parquet crate panic in places; to us they are errors like any other.
fn guarded<T>(place: &str, read: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, CorpusError> {
    let found = match catch_unwind(AssertUnwindSafe(read)) {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "damaged contents".to_owned(),
    };
    Err(CorpusError::Format { expected: "a parquet file".into(), found, place: place.to_owned() })
}

/// The text's column, else a conversation's, and that of the source.
fn wanted(schema: &Type, field: &str) -> Vec<Arc<Type>> {
    let find = |name: &str| schema.get_fields().iter().find(|column| column.name() == name).cloned();
    let text = find(field).or_else(|| CHATS.iter().find_map(|name| find(name)));
    let source = find("source").filter(|_| field != "source");
    text.map_or_else(Vec::new, |text| std::iter::once(text).chain(source).collect())
}

fn columns(schema: &Type) -> String {
    let names: Vec<_> = schema.get_fields().iter().take(12).map(|column| column.name()).collect();
    format!("the columns {}", names.join(", "))
}

fn object(row: &Row) -> Value {
    let fields = row.get_column_iter().map(|(name, field)| (name.clone(), value(field)));
    Value::Object(fields.collect::<Map<_, _>>())
}

fn value(field: &Field) -> Value {
    match field {
        Field::Null => Value::Null,
        Field::Bool(yes) => Value::Bool(*yes),
        Field::Str(text) => Value::String(text.clone()),
        // Old writers left the mark out that says that bytes are text.
        Field::Bytes(bytes) => match bytes.as_utf8() {
            Ok(text) => Value::String(text.to_owned()),
            Err(_) => Value::Bool(true),
        },
        Field::Group(row) => object(row),
        Field::ListInternal(list) => Value::Array(list.elements().iter().map(value).collect()),
        // No text is a number, a date or a map; whatever stands here is named as "a number" in the error.
        _ => Value::from(0),
    }
}
