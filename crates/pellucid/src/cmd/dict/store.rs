//! An activation store: the rows of a training's chunks in a folder, in bf16, so that several dictionaries learn from one run of the model.
//!
//! A chunk's rows are one file, in place whole or not at all; what they are of stands in `store.json`. Rows are rounded before anything is
//! learned from them, also while the store is made, so that a training is the same whether it found the store or made it.

use super::rows::Pair;
use super::text::Text;
use super::train::Settings;
use crate::models::Loaded;
use anyhow::{Context, Result, ensure};
use half::bf16;
use half::slice::HalfFloatSliceExt;
use indicatif::HumanBytes;
use pellucid::interp::dictionary::row_count;
use serde::{Deserialize, Serialize};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

/// What a store holds.
#[derive(Serialize, Deserialize, PartialEq)]
struct Identity {
    model_hash: String,
    /// Of the model's arithmetic.
    precision: String,
    /// What is read and, of a transcoder, what is written.
    sites: Vec<String>,
    corpus: String,
    window: usize,
    seed: u64,
    windows: usize,
}

pub(super) struct Store {
    folder: PathBuf,
}

impl Store {
    /// A folder that holds these rows or will; how much that is is said before anything is written.
    pub(super) fn open(
        folder: &Path,
        loaded: &Loaded,
        text: &Text,
        settings: &Settings,
        widths: [usize; 2],
    ) -> Result<Self> {
        let sites = [Some(settings.site), settings.to];
        let wanted = Identity {
            model_hash: loaded.model.sha256().to_owned(),
            precision: loaded.model.precision().name().to_owned(),
            sites: sites.iter().flatten().map(ToString::to_string).collect(),
            corpus: text.corpus.clone(),
            window: settings.window,
            seed: settings.seed,
            windows: text.train.len(),
        };
        let card = folder.join("store.json");
        if card.exists() {
            let found: Identity = serde_json::from_str(&crate::models::read(&card)?)
                .with_context(|| format!("in {}", card.display()))?;
            ensure!(
                found == wanted,
                "{} holds rows of another model, site, text, seed or precision ({} in windows of {}, seed {}, {}); name another folder with \
                 --activations, or ask for the same",
                folder.display(),
                found.sites.join(" to "),
                found.window,
                found.seed,
                found.precision
            );
        } else {
            let numbers: usize = widths.iter().take(wanted.sites.len()).sum();
            let bytes = 2 * (row_count(&text.train) * numbers) as u64;
            eprintln!("activations: {} in {}", HumanBytes(bytes), folder.display());
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
            put(&card, (serde_json::to_string_pretty(&wanted)? + "\n").as_bytes())?;
        }
        Ok(Store { folder: folder.to_owned() })
    }

    fn file(&self, chunk: usize, side: &str) -> PathBuf {
        self.folder.join(format!("{chunk:05}-{side}.bf16"))
    }

    /// A chunk's rows, where they are there: so many, of these widths.
    pub(super) fn read(
        &self,
        chunk: usize,
        rows: usize,
        widths: [usize; 2],
        both: bool,
    ) -> Result<Option<Pair>> {
        let side = |side: &str, width: usize| -> Result<Option<Vec<f32>>> {
            let path = self.file(chunk, side);
            if !path.exists() {
                return Ok(None);
            }
            let bytes = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let (found, expected) = (bytes.len(), 2 * rows * width);
            ensure!(
                found == expected,
                "{} has {found} bytes, expected {expected} for {rows} rows of {width} numbers; remove it, and it is made again",
                path.display()
            );
            Ok(Some(bytes.as_chunks::<2>().0.iter().map(|two| bf16::from_le_bytes(*two).to_f32()).collect()))
        };
        let Some(x) = side("in", widths[0])? else { return Ok(None) };
        if !both {
            return Ok(Some((x, None)));
        }
        Ok(side("out", widths[1])?.map(|y| (x, Some(y))))
    }

    /// Keeps a chunk's rows, and rounds them as they are kept.
    pub(super) fn keep(&self, chunk: usize, (x, y): &mut Pair) -> Result<()> {
        // what is read is put last: where it is found, everything is there
        for (side, rows) in [("out", y.as_mut()), ("in", Some(x))] {
            let Some(rows) = rows else { continue };
            let mut halves = vec![bf16::ZERO; rows.len()];
            halves.convert_from_f32_slice(rows);
            halves.convert_to_f32_slice(rows);
            let bytes: Vec<u8> = halves.iter().flat_map(|half| half.to_le_bytes()).collect();
            put(&self.file(chunk, side), &bytes)?;
        }
        Ok(())
    }
}

/// Writes a file whole or not at all.
fn put(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = path.with_extension("part");
    let written = fs::File::create(&part)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        // half of it is of no use, and its room may be what is missing
        let _ = fs::remove_file(&part);
    }
    written.with_context(|| format!("cannot write {}", path.display()))
}
