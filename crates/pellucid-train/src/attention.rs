//! Causal attention of one text (Vaswani et al. 2017): queries, keys and values lie beside each other in each row, head by head.

use pellucid_kernels::matrix::{Matrix, product_into};
use pellucid_kernels::simd::{softmax, softmax_back};

/// Heads of one text within rows of (3 · d_model): queries, keys, values.
#[derive(Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) heads: usize,
    pub(crate) width: usize,
}

impl Heads {
    fn d_model(self) -> usize {
        self.heads * self.width
    }

    /// Where part 0 (queries), 1 (keys) or 2 (values) of a head begins in a row.
    fn at(self, part: usize, head: usize) -> usize {
        part * self.d_model() + head * self.width
    }

    fn part(self, qkv: &[f32], tokens: usize, part: usize, head: usize) -> Matrix<'_> {
        Matrix::new(&qkv[self.at(part, head)..], [tokens, self.width], [3 * self.d_model(), 1])
    }

    /// Mixed values to `z` (tokens, d_model); the probabilities (heads, tokens, tokens) are added to `kept`.
    pub(crate) fn mix(self, qkv: &[f32], z: &mut [f32], kept: &mut Vec<f32>) {
        let (d, tokens) = (self.d_model(), z.len() / self.d_model());
        let scale = 1.0 / (self.width as f32).sqrt();
        for head in 0..self.heads {
            let from = kept.len();
            kept.resize(from + tokens * tokens, 0.0);
            let probabilities = &mut kept[from..];
            let [q, k, v] = [0, 1, 2].map(|part| self.part(qkv, tokens, part, head));
            product_into(q, k.transposed(), probabilities, [tokens, 1]);
            for (at, row) in probabilities.chunks_exact_mut(tokens).enumerate() {
                let (seen, later) = row.split_at_mut(at + 1);
                seen.iter_mut().for_each(|s| *s *= scale);
                softmax(seen);
                later.fill(0.0);
            }
            product_into(Matrix::rows(probabilities, tokens), v, &mut z[head * self.width..], [d, 1]);
        }
    }

    /// The gradient by queries, keys and values, to `to` (tokens, 3 · d_model), from the one by z.
    pub(crate) fn back(self, qkv: &[f32], kept: &[f32], g: &[f32], to: &mut [f32]) {
        let (d, tokens) = (self.d_model(), g.len() / self.d_model());
        let scale = 1.0 / (self.width as f32).sqrt();
        let mut slopes = vec![0f32; tokens * tokens];
        let mut by_score = vec![0f32; tokens];
        for head in 0..self.heads {
            let probabilities = &kept[head * tokens * tokens..][..tokens * tokens];
            let [q, k, v] = [0, 1, 2].map(|part| self.part(qkv, tokens, part, head));
            let g = Matrix::new(&g[head * self.width..], [tokens, self.width], [d, 1]);
            product_into(g, v.transposed(), &mut slopes, [tokens, 1]);
            for (at, (row, p)) in
                slopes.chunks_exact_mut(tokens).zip(probabilities.chunks_exact(tokens)).enumerate()
            {
                softmax_back(&p[..=at], &row[..=at], scale, &mut by_score[..=at]);
                row[..=at].copy_from_slice(&by_score[..=at]);
                row[at + 1..].fill(0.0);
            }
            let (slopes, p) = (Matrix::rows(&slopes, tokens), Matrix::rows(probabilities, tokens));
            let strides = [3 * d, 1];
            product_into(slopes, k, &mut to[self.at(0, head)..], strides);
            product_into(slopes.transposed(), q, &mut to[self.at(1, head)..], strides);
            product_into(p.transposed(), g, &mut to[self.at(2, head)..], strides);
        }
    }
}
