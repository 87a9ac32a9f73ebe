//! One layer forward and backward: GPT-2's block with ReLU neurons, between an embedding and an unembedding of its own.
//!
//! x₀ = E[token] + P[position]; x₁ = x₀ + A(LN₁ x₀); x₂ = x₁ + W₂ᵀ ReLU(W₁ᵀ LN₂ x₁ + b₁) + b₂; logits = U LN_f x₂.

use crate::attention::Heads;
use crate::loss::next_token;
use crate::norm::Normed;
use crate::shape::{Pair, Places, Shape};
use pellucid_kernels::matrix::{Matrix, add_product, product_into};
use pellucid_kernels::rows::add_scaled;

/// A model as a pass sees it.
pub(crate) struct Pass<'a> {
    pub(crate) shape: Shape,
    pub(crate) places: Places,
    pub(crate) at: &'a [f32],
}

/// What the forward leaves for the backward. Rows of all texts lie below each other.
struct Kept {
    normed1: Normed,
    qkv: Vec<f32>,
    /// Probabilities, text by text.
    seen: Vec<f32>,
    z: Vec<f32>,
    normed2: Normed,
    active: Vec<f32>,
    last: Normed,
}

impl<'a> Pass<'a> {
    pub(crate) fn new(shape: Shape, at: &'a [f32]) -> Self {
        Pass { shape, places: Places::new(&shape), at }
    }

    /// Sums −ln p of every token but each text's first. Texts hold tokens of the vocabulary and fit into the context.
    pub(crate) fn loss(&self, texts: &[&[u32]]) -> f64 {
        let kept = self.forward(texts);
        next_token(&kept.last.out, &following(texts), &self.at[self.places.head.clone()], None)
    }

    /// The same; the gradient of that sum is added to `gradient`.
    pub(crate) fn learn(&self, texts: &[&[u32]], gradient: &mut [f32]) -> f64 {
        let kept = self.forward(texts);
        let mut by_last = vec![0f32; kept.last.out.len()];
        let by_head = &mut gradient[self.places.head.clone()];
        let head = &self.at[self.places.head.clone()];
        let loss = next_token(&kept.last.out, &following(texts), head, Some([&mut by_last, by_head]));
        self.back(texts, &kept, &by_last, gradient);
        loss
    }

    fn forward(&self, texts: &[&[u32]]) -> Kept {
        let d = self.shape.d_model;
        let mut x = self.embed(texts);
        let normed1 = self.normed(&x, &self.places.norm1);
        let qkv = self.linear(&normed1.out, &self.places.qkv);
        let (mut z, mut seen) = (vec![0f32; x.len()], Vec::new());
        for (from, tokens) in spans(texts) {
            let (qkv, z) = (&qkv[from * 3 * d..][..tokens * 3 * d], &mut z[from * d..][..tokens * d]);
            self.heads().mix(qkv, z, &mut seen);
        }
        self.add_linear(&z, &self.places.mixed, &mut x);
        let normed2 = self.normed(&x, &self.places.norm2);
        let mut active = self.linear(&normed2.out, &self.places.up);
        active.iter_mut().for_each(|a| *a = a.max(0.0));
        self.add_linear(&active, &self.places.down, &mut x);
        let last = self.normed(&x, &self.places.final_norm);
        Kept { normed1, qkv, seen, z, normed2, active, last }
    }

    fn back(&self, texts: &[&[u32]], kept: &Kept, by_last: &[f32], gradient: &mut [f32]) {
        let d = self.shape.d_model;
        let places = &self.places;
        // by_x is the gradient by the stream, from the bottom of the page to its top
        let mut by_x = vec![0f32; by_last.len()];
        self.back_normed(&kept.last, by_last, &places.final_norm, &mut by_x, gradient);
        let mut by_active = self.back_linear(&kept.active, &by_x, &places.down, gradient);
        for (g, a) in by_active.iter_mut().zip(&kept.active) {
            *g = if *a > 0.0 { *g } else { 0.0 };
        }
        let by_normed = self.back_linear(&kept.normed2.out, &by_active, &places.up, gradient);
        self.back_normed(&kept.normed2, &by_normed, &places.norm2, &mut by_x, gradient);
        let by_z = self.back_linear(&kept.z, &by_x, &places.mixed, gradient);
        let (mut by_qkv, mut seen) = (vec![0f32; kept.qkv.len()], 0);
        for (from, tokens) in spans(texts) {
            let place = from * 3 * d..(from + tokens) * 3 * d;
            let (g, kept_here) = (&by_z[from * d..][..tokens * d], &kept.seen[seen..]);
            self.heads().back(&kept.qkv[place.clone()], kept_here, g, &mut by_qkv[place]);
            seen += self.shape.heads * tokens * tokens;
        }
        let by_normed = self.back_linear(&kept.normed1.out, &by_qkv, &places.qkv, gradient);
        self.back_normed(&kept.normed1, &by_normed, &places.norm1, &mut by_x, gradient);
        let rows = texts.iter().flat_map(|text| text.iter().enumerate());
        for ((position, token), g) in rows.zip(by_x.chunks_exact(d)) {
            add_scaled(&mut gradient[places.tokens.clone()][*token as usize * d..][..d], 1.0, g);
            add_scaled(&mut gradient[places.positions.clone()][position * d..][..d], 1.0, g);
        }
    }

    fn heads(&self) -> Heads {
        Heads { heads: self.shape.heads, width: self.shape.head() }
    }

    /// (rows, d_model)
    fn embed(&self, texts: &[&[u32]]) -> Vec<f32> {
        let d = self.shape.d_model;
        let (tokens, positions) =
            (&self.at[self.places.tokens.clone()], &self.at[self.places.positions.clone()]);
        let rows = texts.iter().flat_map(|text| text.iter().enumerate());
        rows.flat_map(|(position, token)| {
            let of_token = &tokens[*token as usize * d..][..d];
            of_token.iter().zip(&positions[position * d..][..d]).map(|(t, p)| t + p)
        })
        .collect()
    }

    fn normed(&self, x: &[f32], pair: &Pair) -> Normed {
        Normed::of(x, &self.at[pair.weight.clone()], &self.at[pair.bias.clone()])
    }

    fn back_normed(&self, kept: &Normed, g: &[f32], pair: &Pair, to: &mut [f32], gradient: &mut [f32]) {
        // a pair's bias lies right behind its weight
        let (before, after) = gradient.split_at_mut(pair.bias.start);
        let sums = [&mut before[pair.weight.clone()], &mut after[..pair.bias.len()]];
        kept.back(g, &self.at[pair.weight.clone()], to, sums);
    }

    /// x W + b
    fn linear(&self, x: &[f32], pair: &Pair) -> Vec<f32> {
        let width = pair.bias.len();
        let mut out = vec![0f32; x.len() / (pair.weight.len() / width) * width];
        self.add_linear(x, pair, &mut out);
        out
    }

    /// Adds x W + b to `out`.
    fn add_linear(&self, x: &[f32], pair: &Pair, out: &mut [f32]) {
        let bias = &self.at[pair.bias.clone()];
        for row in out.chunks_exact_mut(bias.len()) {
            add_scaled(row, 1.0, bias);
        }
        let x = Matrix::rows(x, pair.weight.len() / bias.len());
        add_product(x, Matrix::rows(&self.at[pair.weight.clone()], bias.len()), out, [bias.len(), 1]);
    }

    /// g Wᵀ, where g is by the output; adds xᵀ g and Σ g to the gradient.
    fn back_linear(&self, x: &[f32], g: &[f32], pair: &Pair, gradient: &mut [f32]) -> Vec<f32> {
        let wide = pair.bias.len();
        let width = pair.weight.len() / wide;
        for row in g.chunks_exact(wide) {
            add_scaled(&mut gradient[pair.bias.clone()], 1.0, row);
        }
        let by_output = Matrix::rows(g, wide);
        let x_turned = Matrix::rows(x, width).transposed();
        add_product(x_turned, by_output, &mut gradient[pair.weight.clone()], [wide, 1]);
        let mut to = vec![0f32; x.len()];
        let weight = Matrix::rows(&self.at[pair.weight.clone()], wide);
        product_into(by_output, weight.transposed(), &mut to, [width, 1]);
        to
    }
}

/// Where each text's rows begin, and how many there are.
fn spans<'t>(texts: &'t [&[u32]]) -> impl Iterator<Item = (usize, usize)> + 't {
    texts.iter().scan(0, |end, text| {
        let from = *end;
        *end += text.len();
        Some((from, text.len()))
    })
}

/// What follows each token within its text.
fn following(texts: &[&[u32]]) -> Vec<Option<u32>> {
    texts.iter().flat_map(|text| (1..=text.len()).map(|next| text.get(next).copied())).collect()
}
