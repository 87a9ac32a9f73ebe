//! Rows in the order in which a training learns from them, and `--rows`, which writes them to a file instead.

use super::text::Text;
use super::train::{Settings, write};
use crate::models::Loaded;
use crate::show::bar;
use anyhow::{Context, Result, ensure};
use pellucid::core::Seed;
use pellucid::interp::dictionary::{row_count, rows};
use pellucid::store::Window;
use serde::Serialize;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

/// Windows whose rows are mixed with each other.
pub(super) const CHUNK: usize = 512;

/// What a file of rows holds.
#[derive(Serialize)]
pub(super) struct RowsCard {
    model_hash: String,
    site: String,
    corpus: String,
    pub(super) rows: u64,
    width: usize,
    batch: usize,
    /// What the model's values were multiplied by, so that their mean norm is √width.
    pub(super) scale: f32,
}

/// A site's rows, chunk after chunk; those of the first one are kept from where their scale was taken until they are learned from.
pub(super) struct Stream<'a> {
    loaded: &'a Loaded,
    text: &'a Text,
    settings: &'a Settings,
    first: Option<Vec<f32>>,
    /// What makes the mean norm of the first chunk's rows √width.
    pub(super) scale: f32,
}

impl<'a> Stream<'a> {
    pub(super) fn new(loaded: &'a Loaded, text: &'a Text, settings: &'a Settings) -> Result<Self> {
        let first = rows(&loaded.model, settings.site, &text.train[..CHUNK.min(text.train.len())])?;
        let scale = scale(&first, text.width)?;
        Ok(Stream { loaded, text, settings, first: Some(first), scale })
    }

    /// Up to so many of the first chunk's rows, scaled; none once that chunk was asked for.
    pub(super) fn sample(&self, count: usize) -> Vec<f32> {
        let first = self.first.iter().flatten();
        first.take(count * self.text.width).map(|v| v * self.scale).collect()
    }

    /// A chunk in the order in which it is learned from, scaled: whole batches, one after the other.
    pub(super) fn batches(
        &mut self,
        chunk: usize,
        windows: &[Window],
    ) -> Result<impl Iterator<Item = Vec<f32>> + use<>> {
        let x = match self.first.take() {
            Some(first) if chunk == 0 => first,
            _ => rows(&self.loaded.model, self.settings.site, windows)?,
        };
        let (width, batch, scale) = (self.text.width, self.settings.batch, self.scale);
        let count = x.len() / width;
        let seed = Seed(self.settings.seed).for_purpose(&format!("dictionary chunk {chunk}"));
        let order = { seed }.choose(count, count);
        Ok((0..count / batch).map(move |b| {
            let picked = &order[b * batch..][..batch];
            picked.iter().flat_map(|from| &x[from * width..][..width]).map(|v| scale * v).collect()
        }))
    }
}

/// Steps that these windows are good for.
pub(super) fn steps(windows: &[Window], batch: usize) -> u64 {
    windows.chunks(CHUNK).map(|c| (row_count(c) / batch) as u64).sum()
}

/// Writes what a training would learn from, batch after batch, for other programs to learn from.
pub(super) fn write_rows(loaded: &Loaded, text: &Text, settings: &Settings, file: &Path) -> Result<RowsCard> {
    ensure!(!file.exists(), "{} is there already; name another file with --rows", file.display());
    let count = steps(&text.train, settings.batch) * settings.batch as u64;
    let bytes = count * text.width as u64 * 4;
    eprintln!("{count} rows of {} numbers, {}", text.width, indicatif::HumanBytes(bytes));
    let mut stream = Stream::new(loaded, text, settings)?;
    let part = file.with_extension("part");
    let written = (|| -> Result<()> {
        let mut to = BufWriter::new(File::create(&part)?);
        let shown = bar("rows: chunks", text.train.len().div_ceil(CHUNK));
        for (i, chunk) in text.train.chunks(CHUNK).enumerate() {
            for batch in stream.batches(i, chunk)? {
                let bytes: Vec<u8> = batch.iter().flat_map(|v| v.to_le_bytes()).collect();
                to.write_all(&bytes)?;
            }
            shown.inc(1);
        }
        to.into_inner()?.sync_all()?;
        shown.finish_and_clear();
        Ok(std::fs::rename(&part, file)?)
    })();
    if let Err(error) = written {
        // half of it is of no use, and its room may be what is missing
        let _ = std::fs::remove_file(&part);
        return Err(error).with_context(|| format!("cannot write {}", file.display()));
    }
    let card = RowsCard {
        model_hash: loaded.model.sha256().to_owned(),
        site: settings.site.to_string(),
        corpus: text.corpus.clone(),
        rows: count,
        width: text.width,
        batch: settings.batch,
        scale: stream.scale,
    };
    write(&file.with_extension("json"), &serde_json::to_string_pretty(&card)?)?;
    Ok(card)
}

/// What makes the mean norm of rows √width.
fn scale(rows: &[f32], width: usize) -> Result<f32> {
    let norm = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let count = (rows.len() / width).max(1) as f64;
    let mean = rows.chunks_exact(width).map(norm).sum::<f64>() / count;
    ensure!(
        mean.is_finite() && mean > 0.0,
        "the site's values are all zero or not finite: there is nothing to learn"
    );
    Ok(((width as f64).sqrt() / mean) as f32)
}
