//! Units and descriptions as Parquet tables, for the Python world. One row group a table: they have some
//! 10⁵ rows.

use super::descriptions::{Written, select};
use super::units;
use super::{Atlas, AtlasError};
use ::parquet::basic::Compression;
use ::parquet::data_type::{ByteArray, ByteArrayType, DataType, DoubleType, Int64Type};
use ::parquet::errors::ParquetError;
use ::parquet::file::properties::WriterProperties;
use ::parquet::file::writer::SerializedFileWriter;
use ::parquet::schema::parser::parse_message_type;
use std::io::Write;
use std::sync::Arc;

impl From<ParquetError> for AtlasError {
    fn from(error: ParquetError) -> Self {
        AtlasError::Stream(std::io::Error::other(error))
    }
}

/// A column with its name: texts and reals may be none.
enum Column {
    Text(&'static str, Vec<Option<String>>),
    Whole(&'static str, Vec<i64>),
    Real(&'static str, Vec<Option<f64>>),
}

impl Column {
    fn declaration(&self) -> String {
        match self {
            Column::Text(name, _) => format!("OPTIONAL BYTE_ARRAY {name} (UTF8);"),
            Column::Whole(name, _) => format!("REQUIRED INT64 {name};"),
            Column::Real(name, _) => format!("OPTIONAL DOUBLE {name};"),
        }
    }
}

/// Values that are there, and for each row whether one is.
fn split<T, U>(rows: &[Option<T>], value: impl Fn(&T) -> U) -> (Vec<U>, Vec<i16>) {
    let there = rows.iter().map(|row| i16::from(row.is_some())).collect();
    (rows.iter().flatten().map(value).collect(), there)
}

fn write(to: impl Write + Send, columns: &[Column]) -> Result<(), AtlasError> {
    let declared: String = columns.iter().map(Column::declaration).collect();
    let schema = Arc::new(parse_message_type(&format!("message atlas {{ {declared} }}"))?);
    let properties = WriterProperties::builder().set_compression(Compression::UNCOMPRESSED).build();
    let mut file = SerializedFileWriter::new(to, schema, Arc::new(properties))?;
    let mut group = file.next_row_group()?;
    let mut columns = columns.iter();
    while let (Some(mut writer), Some(column)) = (group.next_column()?, columns.next()) {
        match column {
            Column::Text(_, rows) => {
                let (values, there) = split(rows, |text| ByteArray::from(text.as_str()));
                put::<ByteArrayType>(&mut writer, &values, Some(&there))?;
            }
            Column::Whole(_, rows) => put::<Int64Type>(&mut writer, rows, None)?,
            Column::Real(_, rows) => {
                let (values, there) = split(rows, |&x| x);
                put::<DoubleType>(&mut writer, &values, Some(&there))?;
            }
        }
        writer.close()?;
    }
    group.close()?;
    file.close()?;
    Ok(())
}

fn put<T: DataType>(
    writer: &mut ::parquet::file::writer::SerializedColumnWriter<'_>,
    values: &[T::T],
    there: Option<&[i16]>,
) -> Result<(), AtlasError> {
    writer.typed::<T>().write_batch(values, there, None)?;
    Ok(())
}

impl Atlas {
    /// Writes the units' statistics: `site`, `layer`, `index`, `count`, `mean`, `variance`, `max`, `min` and
    /// the firing densities of both sides (the share of tokens beyond half of the typical strength). Gives the number
    /// of rows.
    ///
    /// # Errors
    /// If the file cannot be read or `to` cannot be written.
    pub fn export_units_parquet(&self, to: impl Write + Send) -> Result<u64, AtlasError> {
        let (mut sites, mut whole, mut real) =
            (Vec::new(), [const { Vec::new() }; 3], [const { Vec::new() }; 6]);
        self.reading(|db| {
            let mut step = db.prepare(
                "SELECT id, count, mean, variance, max, min, positive_density, negative_density FROM units
                 WHERE id BETWEEN ?1 AND ?2 ORDER BY id",
            )?;
            for row in units::sites(db)? {
                let mut found = step.query([units::unit_id(row.id, 0), units::unit_id(row.id, u32::MAX)])?;
                while let Some(unit) = found.next()? {
                    sites.push(Some(row.site.to_string()));
                    whole[0].push(i64::from(row.site.layer));
                    whole[1].push(i64::from(unit.get::<_, i64>(0)? as u32));
                    whole[2].push(unit.get(1)?);
                    for (at, column) in real.iter_mut().enumerate() {
                        column.push(unit.get::<_, Option<f64>>(at + 2)?);
                    }
                }
            }
            Ok(())
        })?;
        let rows = sites.len() as u64;
        let [layer, index, count] = whole;
        let [mean, variance, max, min, positive, negative] = real;
        write(
            to,
            &[
                Column::Text("site", sites),
                Column::Whole("layer", layer),
                Column::Whole("index", index),
                Column::Whole("count", count),
                Column::Real("mean", mean),
                Column::Real("variance", variance),
                Column::Real("max", max),
                Column::Real("min", min),
                Column::Real("positive_density", positive),
                Column::Real("negative_density", negative),
            ],
        )?;
        Ok(rows)
    }

    /// Writes the descriptions: `site`, `index`, `polarity`, who wrote them, `candidate`, `text`, `short`,
    /// `reason` and `chosen`. Gives the number of rows.
    ///
    /// # Errors
    /// If the file cannot be read or `to` cannot be written.
    pub fn export_descriptions_parquet(&self, to: impl Write + Send) -> Result<u64, AtlasError> {
        let rows = self.reading(|db| select(db, "TRUE ORDER BY d.unit, d.polarity DESC, d.id", []))?;
        let of = |text: &dyn Fn(&super::Description) -> Option<String>| -> Vec<Option<String>> {
            rows.iter().map(|row| text(&row.1)).collect()
        };
        let whole = |number: &dyn Fn(&super::Description) -> i64| -> Vec<i64> {
            rows.iter().map(|row| number(&row.1)).collect()
        };
        let part = |want: usize| {
            of(&move |d| match (&d.written, want) {
                (Written::Text { text, .. }, 0) => Some(text.clone()),
                (Written::Text { short, .. }, 1) => short.clone(),
                (Written::None { reason }, 2) => Some(reason.clone()),
                _ => None,
            })
        };
        write(
            to,
            &[
                Column::Text("site", of(&|d| Some(d.site.to_string()))),
                Column::Whole("index", whole(&|d| i64::from(d.index))),
                Column::Text("polarity", of(&|d| Some(d.polarity.to_string()))),
                Column::Text("explainer", of(&|d| Some(d.explainer.name.clone()))),
                Column::Text("version", of(&|d| Some(d.explainer.version.clone()))),
                Column::Text("model", of(&|d| Some(d.explainer.model.clone()))),
                Column::Text("prompt", of(&|d| Some(d.explainer.prompt.clone()))),
                Column::Whole("candidate", whole(&|d| i64::from(d.candidate))),
                Column::Text("text", part(0)),
                Column::Text("short", part(1)),
                Column::Text("reason", part(2)),
                Column::Whole("chosen", whole(&|d| i64::from(d.chosen))),
            ],
        )?;
        Ok(rows.len() as u64)
    }
}
