//! Encoding and decoding by blocks: a thread multiplies a block of rows by a block of latents and takes from the product
//! what can still be among a row's largest, so that no array of all rows × all latents exists.
//!
//! A row's candidates are every value above the k-th largest seen so far. Latents come in ascending order, so of equal
//! values the lower latent was seen first, and "strictly above" settles ties as the definition does.

use rayon::prelude::*;

use crate::dictionary::{Activation, Dictionary, Normalisation};
use crate::error::{Result, expect_finite, expect_length};
use crate::product::{add_scaled, dot, times_transposed};
use crate::sparse::{Frame, Sparse};

/// Rows and latents of one product: 128 KiB of results, which stay in a core's cache.
pub(crate) const ROWS: usize = 128;
const LATENTS: usize = 256;

/// The largest k values above 0 of a stream, with the latents they came from.
#[derive(Clone)]
pub(crate) struct Largest {
    k: usize,
    threshold: f32,
    held: Vec<(u32, f32)>,
}

impl Largest {
    pub(crate) fn new(k: usize) -> Self {
        Largest { k, threshold: 0.0, held: Vec::with_capacity(4 * k + 16) }
    }

    /// Takes values of the latents `first..`. Latents must come in ascending order from call to call.
    pub(crate) fn take(&mut self, first: u32, values: &[f32]) {
        for (at, chunk) in values.chunks(16).enumerate() {
            // most chunks hold nothing of interest, and one comparison of a chunk's maximum says so
            if chunk.iter().fold(f32::MIN, |m, v| if *v > m { *v } else { m }) > self.threshold {
                for (i, v) in chunk.iter().enumerate() {
                    self.offer(first + (16 * at + i) as u32, *v);
                }
            }
        }
    }

    /// Takes one value.
    pub(crate) fn offer(&mut self, latent: u32, value: f32) {
        if value > self.threshold && self.k > 0 {
            self.held.push((latent, value));
            if self.held.len() >= 4 * self.k + 16 {
                self.shrink();
            }
        }
    }

    /// Keeps the k largest, and raises the threshold to the smallest of them.
    fn shrink(&mut self) {
        if self.held.len() >= self.k {
            let order = |a: &(u32, f32), b: &(u32, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
            self.held.select_nth_unstable_by(self.k - 1, order);
            self.held.truncate(self.k);
            self.threshold = self.held[self.k - 1].1;
        }
    }

    /// The k largest, latents ascending.
    pub(crate) fn finish(mut self) -> Vec<(u32, f32)> {
        if self.k == 0 {
            return Vec::new();
        }
        if self.held.len() > self.k {
            self.shrink();
        }
        self.held.sort_unstable_by_key(|entry| entry.0);
        self.held
    }
}

/// Calls `see(row, first latent, products)` for every row and block of latents: x (rows, width) times each of w's rows.
/// Blocks come with ascending latents. On this thread.
pub(crate) fn products(x: &[f32], w: &[f32], width: usize, mut see: impl FnMut(usize, usize, &[f32])) {
    let rows = x.len() / width;
    let mut scratch = vec![0f32; rows * LATENTS];
    for (block, part) in w.chunks(LATENTS * width).enumerate() {
        let latents = part.len() / width;
        let out = &mut scratch[..rows * latents];
        times_transposed(x, part, width, out);
        for (row, values) in out.chunks_exact(latents).enumerate() {
            see(row, block * LATENTS, values);
        }
    }
}

/// Adds a bias to a row's products, into `sums`.
pub(crate) fn with_bias<'a>(products: &[f32], bias: &[f32], sums: &'a mut [f32; LATENTS]) -> &'a [f32] {
    for ((sum, product), bias) in sums.iter_mut().zip(products).zip(bias) {
        *sum = product + bias;
    }
    &sums[..products.len()]
}

/// Room for one row of one block.
pub(crate) fn room() -> [f32; LATENTS] {
    [0.0; LATENTS]
}

impl Dictionary {
    /// The active latents of each row of x (rows, d_in). Fails on a row of another width and on numbers that are not finite.
    pub fn encode(&self, x: &[f32]) -> Result<Sparse> {
        let d = self.shape.d_in;
        expect_length("the rows to encode, in whole rows,", x.len().div_ceil(d) * d, x.len())?;
        expect_finite("the rows to encode", x)?;
        let blocks: Vec<Sparse> = x.par_chunks(ROWS * d).map(|rows| self.encode_block(rows)).collect();
        let mut all = Sparse::default();
        blocks.into_iter().for_each(|block| all.append(block));
        Ok(all)
    }

    fn encode_block(&self, rows: &[f32]) -> Sparse {
        let d = self.shape.d_in;
        let mut inputs = rows.to_vec();
        let frames: Vec<Frame> = inputs.chunks_exact_mut(d).filter_map(|row| self.normalise(row)).collect();
        inputs.chunks_exact_mut(d).for_each(|row| add_scaled(row, -1.0, &self.shift));
        let mut sparse = Sparse::default();
        for entries in self.active(&inputs) {
            sparse.push(entries);
        }
        sparse.frames = frames;
        sparse
    }

    /// Normalises a row; its frame, where rows are normalised one by one.
    fn normalise(&self, row: &mut [f32]) -> Option<Frame> {
        let d = row.len() as f32;
        let mean = row.iter().sum::<f32>() / d;
        let frame = match self.normalisation {
            Normalisation::None => return None,
            Normalisation::Scale { input, .. } => {
                row.iter_mut().for_each(|v| *v *= input);
                return None;
            }
            // a row of zeros stays one
            Normalisation::RowNorm => {
                let norm = dot(row, row).sqrt();
                Frame { shift: 0.0, scale: if norm > 0.0 { norm / d.sqrt() } else { 1.0 } }
            }
            Normalisation::LayerNorm { epsilon } => {
                let squares: f32 = row.iter().map(|v| (v - mean) * (v - mean)).sum();
                let scale = (squares / (d - 1.0).max(1.0)).sqrt() + epsilon;
                Frame { shift: mean, scale: if scale > 0.0 { scale } else { 1.0 } }
            }
        };
        row.iter_mut().for_each(|v| *v = (*v - frame.shift) / frame.scale);
        Some(frame)
    }

    /// What is active in each of these rows, which are normalised and shifted.
    fn active(&self, inputs: &[f32]) -> Vec<Vec<(u32, f32)>> {
        let d = self.shape.d_in;
        let rows = inputs.len() / d;
        let mut sums = room();
        if let Activation::TopK { k } = self.activation {
            let mut largest = vec![Largest::new(k); rows];
            products(inputs, &self.encoder, d, |row, first, values| {
                let values = with_bias(values, &self.encoder_bias[first..], &mut sums);
                largest[row].take(first as u32, values);
            });
            return largest.into_iter().map(Largest::finish).collect();
        }
        let mut active = vec![Vec::new(); rows];
        products(inputs, &self.encoder, d, |row, first, values| {
            for (i, u) in values.iter().enumerate() {
                let latent = first + i;
                let value = self.value(latent, *u);
                if value > 0.0 {
                    active[row].push((latent as u32, value));
                }
            }
        });
        active
    }

    /// A latent's value by its own product u = E z alone; TopK needs the whole row.
    pub(crate) fn value(&self, latent: usize, u: f32) -> f32 {
        let pre = u + self.encoder_bias[latent];
        let above = |threshold: f32| if pre > threshold.max(0.0) { pre } else { 0.0 };
        match &self.activation {
            Activation::ReLU | Activation::TopK { .. } => above(0.0),
            Activation::BatchTopK { threshold, .. } => above(*threshold),
            Activation::JumpReLU { thresholds } => above(thresholds[latent]),
            Activation::Gated { log_scale, bias } if pre > 0.0 => {
                (u * log_scale[latent].exp() + bias[latent]).max(0.0)
            }
            Activation::Gated { .. } => 0.0,
        }
    }

    /// The rows (rows, d_out) that these active latents stand for. A dictionary with a skip connection wants the rows that were
    /// encoded; others do not look at them.
    pub fn decode(&self, sparse: &Sparse, inputs: Option<&[f32]>) -> Result<Vec<f32>> {
        let (rows, width) = (sparse.rows(), self.shape.d_out);
        if let Some(latent) = sparse.latents.iter().find(|l| **l as usize >= self.shape.latents) {
            return Err(crate::error::setting("a latent", &format!("below {}", self.shape.latents), latent));
        }
        let by_row = matches!(self.normalisation, Normalisation::RowNorm | Normalisation::LayerNorm { .. });
        expect_length("the rows' frames", if by_row { rows } else { 0 }, sparse.frames.len())?;
        if self.skip.is_some() {
            let found = inputs.map_or(0, <[f32]>::len);
            expect_length("the inputs for the skip connection", rows * self.shape.d_in, found)?;
        }
        let mut out = vec![0f32; rows * width];
        out.par_chunks_exact_mut(width).enumerate().for_each(|(row, y)| {
            let x = inputs
                .filter(|_| self.skip.is_some())
                .map(|x| &x[row * self.shape.d_in..][..self.shape.d_in]);
            self.decode_row(sparse, row, x, y);
        });
        Ok(out)
    }

    fn decode_row(&self, sparse: &Sparse, row: usize, x: Option<&[f32]>, y: &mut [f32]) {
        y.copy_from_slice(&self.decoder_bias);
        sparse.row(row).for_each(|(latent, value)| add_scaled(y, value, self.feature(latent as usize)));
        if let (Some(x), Some(skip)) = (x, &self.skip) {
            let mut x = x.to_vec();
            self.normalise(&mut x);
            y.iter_mut().zip(skip.chunks_exact(x.len())).for_each(|(y, w)| *y += dot(&x, w));
        }
        if let Some(frame) = sparse.frames.get(row) {
            y.iter_mut().for_each(|v| *v = *v * frame.scale + frame.shift);
        }
        if let Normalisation::Scale { output, .. } = self.normalisation {
            y.iter_mut().for_each(|v| *v /= output);
        }
    }

    /// Encodes and decodes.
    pub fn reconstruct(&self, x: &[f32]) -> Result<Vec<f32>> {
        self.decode(&self.encode(x)?, Some(x))
    }
}

#[cfg(test)]
#[path = "encode_tests.rs"]
pub(crate) mod tests;
