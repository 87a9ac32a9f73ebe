//! Encoding and decoding by blocks: a thread multiplies a block of rows by a block of latents and takes from the product
//! what can still be among a row's largest, so that no array of all rows × all latents exists.

use rayon::prelude::*;

use crate::dictionary::{Activation, Dictionary, Normalisation};
use crate::error::{Result, expect_finite, expect_length};
use crate::product::{add_scaled, dot, times_transposed};
use crate::select::Largest;
use crate::sparse::{Frame, Sparse};

/// Rows and latents of one product: 128 KiB of results, which stay in a core's cache.
const ROWS: usize = 128;
const LATENTS: usize = 256;

/// Calls `see(row, first latent, products)` for every row and block of latents: x (rows, width) times each of w's rows.
/// Blocks come with ascending latents. On this thread.
fn products(x: &[f32], w: &[f32], width: usize, mut see: impl FnMut(usize, usize, &[f32])) {
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
fn with_bias<'a>(products: &[f32], bias: &[f32], sums: &'a mut [f32; LATENTS]) -> &'a [f32] {
    for ((sum, product), bias) in sums.iter_mut().zip(products).zip(bias) {
        *sum = product + bias;
    }
    &sums[..products.len()]
}

/// Room for one row of one block.
fn room() -> [f32; LATENTS] {
    [0.0; LATENTS]
}

impl Dictionary {
    /// The active latents of each row of x (rows, d_in). Fails on a row of another width and on numbers that are not finite.
    pub fn encode(&self, x: &[f32]) -> Result<Sparse> {
        let d = self.shape.d_in;
        expect_length("the rows to encode, in whole rows,", x.len().div_ceil(d) * d, x.len())?;
        expect_finite("the rows to encode", x)?;
        Ok(self.encode_by(ROWS, x))
    }

    /// Whole rows, so many to a task.
    pub(crate) fn encode_by(&self, rows: usize, x: &[f32]) -> Sparse {
        let blocks = x.par_chunks(rows * self.shape.d_in).map(|rows| self.encode_block(rows));
        let mut all = Sparse::default();
        blocks.collect::<Vec<_>>().into_iter().for_each(|block| all.append(block));
        all
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
    pub(crate) fn normalise(&self, row: &mut [f32]) -> Option<Frame> {
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
                let std = (squares / (d - 1.0).max(1.0)).sqrt();
                let divisor = if std + epsilon > 0.0 { std + epsilon } else { 1.0 };
                row.iter_mut().for_each(|v| *v = (*v - mean) / divisor);
                // both libraries that have one put std back without epsilon
                return Some(Frame { shift: mean, scale: std });
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
            let mut largest = vec![Largest::default(); rows];
            largest.iter_mut().for_each(|row| row.begin(k, 0.0));
            products(inputs, &self.encoder, d, |row, first, values| {
                let values = with_bias(values, &self.encoder_bias[first..], &mut sums);
                largest[row].take(first as u32, values);
            });
            let kept = largest.iter_mut().map(|row| {
                let mut kept = Vec::with_capacity(k.min(self.shape.latents));
                row.finish(&mut kept);
                kept
            });
            return kept.collect();
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

    pub(crate) fn decode_row(&self, sparse: &Sparse, row: usize, x: Option<&[f32]>, y: &mut [f32]) {
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
