//! Rows in the order in which a training learns from them, and `--rows`, which writes them to a file instead.

use super::store::Store;
use super::text::Text;
use super::train::{Settings, write};
use crate::models::Loaded;
use crate::show::bar;
use anyhow::{Context, Result, ensure};
use pellucid::core::Seed;
use pellucid::interp::dictionary::{row_count, rows, rows_of};
use pellucid::interp::sweep_sites;
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

/// What a chunk of windows gives: rows that are read and, of a transcoder, rows that it should write.
pub(super) type Pair = (Vec<f32>, Option<Vec<f32>>);

/// A site's rows, chunk after chunk; those of the first one are kept from where their scale was taken until they are learned from.
pub(super) struct Stream<'a> {
    loaded: &'a Loaded,
    settings: &'a Settings,
    store: Option<Store>,
    first: Option<Pair>,
    /// Coordinates of a row that is read, and of one that is written.
    pub(super) widths: [usize; 2],
    /// What makes the mean norm of the first chunk's rows √width, of those that are read and of those that are written.
    pub(super) scales: [f32; 2],
}

impl<'a> Stream<'a> {
    pub(super) fn new(loaded: &'a Loaded, text: &Text, settings: &'a Settings) -> Result<Self> {
        let written = match settings.to {
            Some(to) => sweep_sites(&loaded.model, &[to])?[0].1,
            None => text.width,
        };
        let widths = [text.width, written];
        let store = match &settings.activations {
            Some(folder) => Some(Store::open(folder, loaded, text, settings, widths)?),
            None => None,
        };
        let mut stream = Stream { loaded, settings, store, first: None, widths, scales: [1.0; 2] };
        let first = stream.pair(0, &text.train[..CHUNK.min(text.train.len())])?;
        let read = scale(&first.0, widths[0])?;
        stream.scales = [read, first.1.as_ref().map_or(Ok(read), |y| scale(y, widths[1]))?];
        stream.first = Some(first);
        Ok(stream)
    }

    /// What a chunk of windows gives: from the store where it is there, else from the model, and kept.
    fn pair(&self, chunk: usize, windows: &[Window]) -> Result<Pair> {
        let (loaded, settings) = (self.loaded, self.settings);
        let found = self
            .store
            .as_ref()
            .map(|store| store.read(chunk, row_count(windows), self.widths, settings.to.is_some()));
        if let Some(found) = found.transpose()?.flatten() {
            return Ok(found);
        }
        let mut pair = match settings.to {
            None => (rows(&loaded.model, settings.site, windows)?, None),
            Some(to) => {
                let [x, y] = rows_of(&loaded.model, [settings.site, to], windows)?;
                (x, Some(y))
            }
        };
        if let Some(store) = &self.store {
            store.keep(chunk, &mut pair)?;
        }
        Ok(pair)
    }

    /// Up to so many of the first chunk's rows, scaled: read and written. None once that chunk was asked for.
    pub(super) fn sample(&self, count: usize) -> [Vec<f32>; 2] {
        let Some((x, y)) = &self.first else { return [const { Vec::new() }; 2] };
        let some = |rows: &[f32], i: usize| -> Vec<f32> {
            rows.iter().take(count * self.widths[i]).map(|v| v * self.scales[i]).collect()
        };
        [some(x, 0), some(y.as_ref().unwrap_or(x), 1)]
    }

    /// A chunk in the order in which it is learned from.
    pub(super) fn chunk(&mut self, index: usize, windows: &[Window]) -> Result<Chunk> {
        let (x, y) = match self.first.take() {
            Some(first) if index == 0 => first,
            _ => self.pair(index, windows)?,
        };
        let count = x.len() / self.widths[0];
        let seed = Seed(self.settings.seed);
        let order = seed.for_purpose(&format!("dictionary chunk {index}")).choose(count, count);
        Ok(Chunk { x, y, order, batch: self.settings.batch, widths: self.widths, scales: self.scales })
    }
}

/// The rows of some windows, mixed.
pub(super) struct Chunk {
    x: Vec<f32>,
    y: Option<Vec<f32>>,
    order: Vec<usize>,
    batch: usize,
    widths: [usize; 2],
    scales: [f32; 2],
}

impl Chunk {
    /// Whole batches.
    pub(super) fn batches(&self) -> usize {
        self.order.len() / self.batch
    }

    /// A batch, scaled, and what a transcoder should say to it.
    pub(super) fn batch(&self, index: usize) -> Pair {
        let picked = &self.order[index * self.batch..][..self.batch];
        (self.picked(&self.x, 0, picked), self.y.as_ref().map(|y| self.picked(y, 1, picked)))
    }

    /// Up to so many rows that are read, scaled, from all over the chunk.
    pub(super) fn sample(&self, count: usize) -> Vec<f32> {
        self.picked(&self.x, 0, &self.order[..count.min(self.order.len())])
    }

    fn picked(&self, from: &[f32], side: usize, picked: &[usize]) -> Vec<f32> {
        let (width, scale) = (self.widths[side], self.scales[side]);
        picked.iter().flat_map(|at| &from[at * width..][..width]).map(|v| scale * v).collect()
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
            let chunk = stream.chunk(i, chunk)?;
            for batch in 0..chunk.batches() {
                let bytes: Vec<u8> = chunk.batch(batch).0.iter().flat_map(|v| v.to_le_bytes()).collect();
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
        scale: stream.scales[0],
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
