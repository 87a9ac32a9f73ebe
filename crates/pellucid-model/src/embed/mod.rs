//! Sentence embeddings: a BERT encoder whose token vectors are averaged and brought to length 1 (Reimers & Gurevych
//! 2019, arXiv 1908.10084), as all-MiniLM-L6-v2 does it. `h̄ = mean over tokens of h`, `e = h̄ / ‖h̄‖`.

mod bert;

use std::path::Path;

use candle_core::Tensor;
use pellucid_core::{Embed, ServiceError};
use rayon::prelude::*;

use crate::load::{Checkpoint, Progress};
use crate::tokens::Tokenizer;
use crate::{Error, Result};
use bert::Bert;

/// Tokens of a text that are read, the two markers around it included: what MiniLM was made for. The rest of a longer
/// text has no influence.
const MAX_TOKENS: usize = 256;

/// Tokens that go through the encoder together. Weights are read from memory once for all of them; beyond a few
/// hundred nothing is gained.
const PACK: usize = 512;

/// A text encoder: immutable, may be shared between threads.
///
/// It pools by the mean over tokens; a model that was trained for another pooling (its `1_Pooling/config.json` says
/// so) gives vectors that mean little.
#[derive(Debug)]
pub struct Encoder {
    name: String,
    bert: Bert,
    tokenizer: Tokenizer,
    checkpoint: Checkpoint,
}

impl Encoder {
    /// Finds, opens and reads an encoder: the built-in name `minilm`, a directory, or a Hugging Face id.
    ///
    /// # Errors
    /// If it cannot be found or fetched, and as [`Encoder::open`].
    pub fn load(name_or_path: &str, progress: &mut dyn FnMut(Progress)) -> Result<Self> {
        Self::open(&Checkpoint::resolve(name_or_path, progress)?)
    }

    /// Reads an encoder from a directory with `config.json`, `tokenizer.json` and safetensors weights, or from its
    /// weight file.
    ///
    /// # Errors
    /// If a file is missing or damaged, if the configuration is not that of a BERT encoder with GELU and learned
    /// positions, or if weights or tokenizer do not fit it.
    pub fn open(path: &Path) -> Result<Self> {
        let checkpoint = Checkpoint::open(path)?;
        let bert = Bert::read(&checkpoint)?;
        let bad = |what: String| Error::Config { what };
        let json = checkpoint
            .tokenizer_json()
            .ok_or_else(|| bad("there is no tokenizer.json beside the weights".to_owned()))?;
        let tokenizer = Tokenizer::from_json(json, checkpoint.tokenizer_config(), None, None)?;
        let (size, rows) = (tokenizer.vocab_size(), bert.vocabulary());
        if size > rows {
            let what = format!("the tokenizer has {size} tokens and the embedding {rows} rows: not a pair");
            return Err(bad(what));
        }
        let markers = tokenizer.encode("", true)?.ids.len();
        if markers != 2 {
            let what =
                format!("the tokenizer puts {markers} markers around a text, expected [CLS] and [SEP]");
            return Err(bad(what));
        }
        let dir = if path.is_dir() { Some(path) } else { path.parent() };
        let name = dir.and_then(Path::file_name).unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        Ok(Encoder { name, bert, tokenizer, checkpoint })
    }

    /// The sha256 of the weights, for provenance.
    ///
    /// # Errors
    /// If the weight file has become unreadable.
    pub fn sha256(&self) -> Result<String> {
        Ok(self.checkpoint.sha256()?)
    }

    /// `[CLS] … [SEP]`, of a long text the beginning.
    fn ids(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.tokenizer.encode(text, true)?.ids;
        let most = MAX_TOKENS.min(self.bert.positions());
        if let Some(end) = ids.last().copied().filter(|_| ids.len() > most) {
            ids.truncate(most.saturating_sub(1));
            ids.push(end);
        }
        Ok(ids)
    }

    /// One vector of length 1 for each text, in order.
    ///
    /// # Errors
    /// If a text cannot be tokenised, or if damaged weights give a vector without a direction.
    pub fn vectors(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>> {
        let rows = texts.par_iter().map(|text| self.ids(text)).collect::<Result<Vec<_>>>()?;
        // Longest first: packs of equal work, and the last ones, which fill the idle threads, are the cheapest.
        let mut order: Vec<usize> = (0..rows.len()).collect();
        order.sort_by_key(|at| std::cmp::Reverse(rows[*at].len()));
        let sorted: Vec<&[u32]> = order.iter().map(|at| rows[*at].as_slice()).collect();
        let packs = packs(&sorted, PACK);
        let found = packs.par_iter().map(|pack| self.pooled(pack)).collect::<Result<Vec<_>>>()?;
        let mut vectors = vec![Vec::new(); rows.len()];
        for (at, vector) in order.into_iter().zip(found.into_iter().flatten()) {
            vectors[at] = vector;
        }
        Ok(vectors)
    }

    /// The vectors of a few rows.
    fn pooled(&self, rows: &[&[u32]]) -> Result<Vec<Vec<f32>>> {
        let hidden = self.bert.forward(rows)?;
        let mut from = 0;
        let mut vectors = Vec::with_capacity(rows.len());
        for row in rows {
            vectors.push(unit_mean(&hidden.narrow(0, from, row.len())?)?);
            from += row.len();
        }
        Ok(vectors)
    }
}

/// The mean of a row's token vectors, `(tokens, width)`, brought to length 1.
fn unit_mean(hidden: &Tensor) -> Result<Vec<f32>> {
    let mean = hidden.mean(0)?;
    let length = mean.sqr()?.sum_all()?.to_scalar::<f32>()?.sqrt();
    if !(length.is_finite() && length > 0.0) {
        return Err(Error::Request(format!(
            "the encoder gave a vector of length {length}, expected one with a direction; are its weights damaged?"
        )));
    }
    Ok((mean / f64::from(length))?.to_vec1()?)
}

/// Neighbours together, up to `most` tokens or one row in each pack.
fn packs<'r, 'a>(rows: &'r [&'a [u32]], most: usize) -> Vec<&'r [&'a [u32]]> {
    let (mut packs, mut rest) = (Vec::new(), rows);
    while !rest.is_empty() {
        let mut tokens = 0;
        let fits = rest.iter().take_while(|row| {
            tokens += row.len();
            tokens <= most
        });
        let (pack, later) = rest.split_at(fits.count().max(1));
        packs.push(pack);
        rest = later;
    }
    packs
}

impl Embed for Encoder {
    fn name(&self) -> &str {
        &self.name
    }

    fn width(&self) -> usize {
        self.bert.width()
    }

    fn embed(&self, texts: &[&str]) -> Result<Vec<Vec<f32>>, ServiceError> {
        self.vectors(texts).map_err(Into::into)
    }
}

#[cfg(test)]
mod tests;
