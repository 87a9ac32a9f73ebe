//! Layer norm (Ba et al. 2016) of rows, and its backward: y = (x − mean) / √(var + ε) · w + b.

use pellucid_kernels::simd::{dot, sum};

/// ε, as GPT-2 has it.
pub(crate) const EPSILON: f32 = 1e-5;

/// What the backward needs of a norm: rows with mean 0 and variance 1, and what each was divided by.
#[derive(Default)]
pub(crate) struct Normed {
    rows: Vec<f32>,
    scales: Vec<f32>,
    /// What comes out, (rows, width).
    pub(crate) out: Vec<f32>,
}

impl Normed {
    /// Normalises x (rows, width).
    pub(crate) fn of(x: &[f32], weight: &[f32], bias: &[f32]) -> Self {
        let width = weight.len();
        let mut normed =
            Normed { rows: x.to_vec(), scales: Vec::with_capacity(x.len() / width), out: vec![0.0; x.len()] };
        for (row, out) in normed.rows.chunks_exact_mut(width).zip(normed.out.chunks_exact_mut(width)) {
            let mean = sum(row) / width as f32;
            row.iter_mut().for_each(|x| *x -= mean);
            let scale = 1.0 / (dot(row, row) / width as f32 + EPSILON).sqrt();
            row.iter_mut().for_each(|x| *x *= scale);
            for (((out, x), w), b) in out.iter_mut().zip(&*row).zip(weight).zip(bias) {
                *out = x * w + b;
            }
            normed.scales.push(scale);
        }
        normed
    }

    /// Adds the gradient by x to `to`, and those by weight and bias to theirs; g (rows, width) is by the output.
    pub(crate) fn back(&self, g: &[f32], weight: &[f32], to: &mut [f32], sums: [&mut [f32]; 2]) {
        let width = weight.len();
        let [by_weight, by_bias] = sums;
        let mut by_row = vec![0f32; width];
        let rows = self.rows.chunks_exact(width).zip(&self.scales).zip(g.chunks_exact(width));
        for (((row, scale), g), to) in rows.zip(to.chunks_exact_mut(width)) {
            for i in 0..width {
                by_weight[i] += g[i] * row[i];
                by_bias[i] += g[i];
                by_row[i] = g[i] * weight[i];
            }
            let (mean, along) = (sum(&by_row) / width as f32, dot(&by_row, row) / width as f32);
            for i in 0..width {
                to[i] += scale * (by_row[i] - mean - row[i] * along);
            }
        }
    }
}
