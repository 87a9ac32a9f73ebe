//! Causal attention with grouped heads (Vaswani et al. 2017; Ainslie et al. 2023), and its backward.
//!
//! Forward there are two ways with the same bits. In one, a block of queries goes from scores to mixed values
//! while its scores are in the processor's cache, and keys that no query of the block may see are never
//! touched. In the other the steps (scores, probabilities, mix) give whole arrays, so that a tap can stand
//! between them. Both make the same products, block by block.

use super::rotary::Angles;
use super::sheet::{made, one_by_one};
use super::{
    CHUNK, Precision, Rooms, attention_back as back, attention_tiled as tiled, numbers, simd, tensor,
    with_slice, with_slices,
};
use crate::Result;
use crate::spec::Spec;
use candle_core::Tensor;
use pellucid_kernels::matrix::{Matrix, product_into};
use pellucid_kernels::tiles::{SIDE, tiles_are_here};
use rayon::prelude::*;
use std::ops::Range;

/// What one query may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mask {
    /// Position of the first query; keys start at position 0.
    pub(crate) start: usize,
    /// Positions back that a query sees, itself included.
    pub(crate) window: Option<usize>,
}

impl Mask {
    /// The keys that query `i` of this pass may see, of `keys` there are.
    pub(super) fn allowed(self, i: usize, keys: usize) -> Range<usize> {
        let end = (self.start + i + 1).min(keys);
        let from = self.window.map_or(0, |w| (self.start + i + 1).saturating_sub(w));
        from.min(end)..end
    }

    /// The first key that each of up to 32 queries may see and the one after the last, counted from key `first`.
    pub(super) fn bounds(self, queries: Range<usize>, keys: usize, first: usize) -> [[usize; 2]; SIDE] {
        let mut bounds = [[0; 2]; SIDE];
        for (i, bounds) in queries.zip(&mut bounds) {
            let allowed = self.allowed(i, keys);
            *bounds = [allowed.start - first, allowed.end - first];
        }
        bounds
    }

    /// The keys that some query of a block may see.
    pub(super) fn reach(self, block: &Range<usize>, keys: usize) -> Range<usize> {
        self.allowed(block.start, keys).start..self.allowed(block.end - 1, keys).end
    }
}

/// How a query's products with keys become scores.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scoring {
    /// Factor on `q·k`.
    pub(crate) scale: f32,
    /// Soft cap `c · tanh(s / c)`, where the model has one.
    pub(crate) cap: Option<f32>,
    /// Of attention's two products with a text's keys and values, where it has enough queries ([`FEW`]).
    pub(crate) precision: Precision,
}

impl Scoring {
    pub(crate) fn of(spec: &Spec, precision: Precision) -> Self {
        Scoring { scale: spec.attn_scale, cap: spec.attn_softcap, precision }
    }

    pub(super) fn score(self, products: &mut [f32]) {
        match self.cap {
            None => simd::scale(products, self.scale),
            Some(cap) => products.iter_mut().for_each(|s| *s = cap * (*s * self.scale / cap).tanh()),
        }
    }
}

/// Whether the products of so many queries are made on matrix tiles.
pub(super) fn on_tiles(precision: Precision, queries: usize) -> bool {
    precision == Precision::Fast && queries >= FEW && tiles_are_here()
}

/// One text's keys and values, `(keys, kv_heads, head_dim)` each, after rotation.
pub(crate) struct Memory {
    pub(crate) k: Tensor,
    pub(crate) v: Tensor,
    pub(crate) mask: Mask,
}

/// Queries that one task works on.
pub(crate) const BLOCK: usize = 64;

/// Fewer queries than these do not pay for packing the keys, and are exact in any precision.
const FEW: usize = 16;

/// The shape that all steps share.
#[derive(Clone, Copy)]
pub(crate) struct Heads {
    pub(crate) heads: usize,
    pub(crate) kv_heads: usize,
    pub(crate) dim: usize,
}

impl Heads {
    fn of(q: &Tensor, kv_heads: usize) -> Result<Self> {
        let (_, heads, dim) = q.dims3()?;
        Ok(Heads { heads, kv_heads, dim })
    }

    /// Numbers of one token's queries.
    pub(super) fn width(self) -> usize {
        self.heads * self.dim
    }

    /// Tokens `range` of one query head, `(tokens, dim)`.
    fn query<'a>(&self, q: &'a [f32], head: usize, range: &Range<usize>) -> Matrix<'a> {
        let width = self.width();
        Matrix::new(&q[range.start * width + head * self.dim..], [range.len(), self.dim], [width, 1])
    }

    /// Tokens `range` of the key or value head that a query head shares, `(tokens, dim)`.
    fn shared<'a>(&self, kv: &'a [f32], head: usize, range: &Range<usize>) -> Matrix<'a> {
        let width = self.kv_heads * self.dim;
        let of = head / (self.heads / self.kv_heads);
        Matrix::new(&kv[range.start * width + of * self.dim..], [range.len(), self.dim], [width, 1])
    }
}

pub(super) fn blocks(queries: usize) -> impl Iterator<Item = Range<usize>> {
    (0..queries).step_by(BLOCK).map(move |from| from..(from + BLOCK).min(queries))
}

/// One row's part of [`attend`].
pub(super) struct Job<'a> {
    pub(super) q: &'a [f32],
    pub(super) k: &'a [f32],
    v: &'a [f32],
    /// The keys and values of each of their heads for matrix tiles, where these multiply.
    packed: Option<&'a [tiled::Memory]>,
    pub(super) mask: Mask,
    pub(super) block: Range<usize>,
    pub(super) z: &'a mut [f32],
}

/// Attention of all rows: `q` is `(tokens, heads, head_dim)` after rotation, the rows' tokens below each other
/// with `tokens[i]` of row i; gives mixed values of `q`'s shape.
pub(crate) fn attend(q: &Tensor, tokens: &[usize], rows: &[Memory], scoring: Scoring) -> Result<Tensor> {
    let kv_heads = rows.first().map_or(Ok(1), |r| r.k.dim(1))?;
    let heads = Heads::of(q, kv_heads)?;
    let guards: Vec<_> = rows.iter().map(|r| (r.k.storage_and_layout(), r.v.storage_and_layout())).collect();
    let memory = guards.iter().map(|(k, v)| Ok([numbers(&k.0, k.1)?, numbers(&v.0, v.1)?]));
    let memory = memory.collect::<Result<Vec<_>>>()?;
    let z = with_slice(q, |q| {
        let packed: Vec<_> = (memory.iter().zip(tokens))
            .map(|([k, v], &queries)| on_tiles(scoring.precision, queries).then(|| tiled::pack(k, v, heads)))
            .collect();
        let mut z = made(q.len(), CHUNK, |_, _| ());
        let (mut q, mut rest) = (q, z.as_mut_slice());
        let mut jobs = Vec::new();
        for (((row, [k, v]), packed), &queries) in rows.iter().zip(&memory).zip(&packed).zip(tokens) {
            let (mine, others) = q.split_at(queries * heads.width());
            q = others;
            for block in blocks(queries) {
                let (z, others) = std::mem::take(&mut rest).split_at_mut(block.len() * heads.width());
                rest = others;
                jobs.push(Job { q: mine, k, v, packed: packed.as_deref(), mask: row.mask, block, z });
            }
        }
        one_by_one(&mut jobs, |_, job| match job.packed {
            Some(packed) => tiled::attend_block(job, packed, heads, scoring),
            None => attend_block(job, heads, scoring),
        });
        z
    })?;
    tensor(z, q.shape())
}

fn attend_block(job: &mut Job<'_>, heads: Heads, scoring: Scoring) {
    let Job { q, k, v, mask, ref block, ref mut z, .. } = *job;
    let keys = k.len() / (heads.kv_heads * heads.dim);
    let seen = mask.reach(block, keys);
    let width = seen.len();
    let mut scores = vec![0f32; block.len() * width];
    for head in 0..heads.heads {
        let key = heads.shared(k, head, &seen).transposed();
        product_into(heads.query(q, head, block), key, &mut scores, [width, 1]);
        for (i, row) in block.clone().zip(scores.chunks_exact_mut(width)) {
            let allowed = mask.allowed(i, keys);
            let allowed = allowed.start - seen.start..allowed.end - seen.start;
            scoring.score(&mut row[allowed.clone()]);
            softmax(row, allowed);
        }
        let out = &mut z[head * heads.dim..];
        product_into(Matrix::rows(&scores, width), heads.shared(v, head, &seen), out, [heads.width(), 1]);
    }
}

/// Softmax over `allowed`, 0 elsewhere.
pub(super) fn softmax(row: &mut [f32], allowed: Range<usize>) {
    row[..allowed.start].fill(0.0);
    row[allowed.end..].fill(0.0);
    simd::softmax(&mut row[allowed]);
}

/// Gradients of one row with respect to queries and keys before rotation by `angles`, which begin with some token (none unless
/// `through` the probabilities), and values, on matrix tiles; none where these do not multiply, or scores have a cap.
pub(crate) fn attend_back(
    [q, k, v, g]: [&Tensor; 4],
    mask: Mask,
    scoring: Scoring,
    angles: Option<(&Angles, usize)>,
    through: bool,
    rooms: &mut Rooms,
) -> Result<Option<(Option<[Tensor; 2]>, Tensor)>> {
    let (queries, _, _) = q.dims3()?;
    if scoring.cap.is_some() || !on_tiles(scoring.precision, queries) {
        return Ok(None);
    }
    let heads = Heads::of(q, k.dim(1)?)?;
    let made = with_slices([q, k, v, g], |[q, k, v, g]| {
        back::back(&back::Text { q, k, v, g, heads, mask, scoring, through, angles }, rooms)
    })?;
    let qk = if through { Some([tensor(made.q, q.shape())?, tensor(made.k, k.shape())?]) } else { None };
    Ok(Some((qk, tensor(made.v, v.shape())?)))
}

/// Scores `(heads, queries, keys)` of one row, not yet masked. `q` is `(queries, heads, head_dim)` and `k` is
/// `(keys, kv_heads, head_dim)`, both after rotation.
pub(crate) fn scores(q: &Tensor, k: &Tensor, scoring: Scoring, mask: Mask) -> Result<Tensor> {
    let (queries, _, _) = q.dims3()?;
    let (keys, kv_heads, _) = k.dims3()?;
    let heads = Heads::of(q, kv_heads)?;
    let out = with_slice(q, |q| {
        with_slice(k, |k| {
            if on_tiles(scoring.precision, queries) {
                return tiled::scores(q, k, queries, heads, scoring);
            }
            let mut out = vec![0f32; heads.heads * queries * keys];
            out.par_chunks_mut((queries * keys).max(1)).enumerate().for_each(|(head, out)| {
                for (block, out) in blocks(queries).zip(out.chunks_mut(BLOCK * keys)) {
                    let seen = mask.reach(&block, keys);
                    // the same product as in `attend_block` where a query may see, so that it has the same bits
                    for part in [0..seen.start, seen.clone(), seen.end..keys] {
                        if !part.is_empty() {
                            let key = heads.shared(k, head, &part).transposed();
                            let to = &mut out[part.start..];
                            product_into(heads.query(q, head, &block), key, to, [keys, 1]);
                        }
                    }
                    scoring.score(out);
                }
            });
            out
        })
    })??;
    tensor(out, (heads.heads, queries, keys))
}

/// Masked softmax of scores; keys that a query may not see get 0.
pub(crate) fn probabilities(scores: &Tensor, mask: Mask) -> Result<Tensor> {
    let (_, queries, keys) = scores.dims3()?;
    let mut out = with_slice(scores, <[f32]>::to_vec)?;
    out.par_chunks_mut(keys.max(1))
        .enumerate()
        .for_each(|(row, out)| softmax(out, mask.allowed(row % queries, keys)));
    tensor(out, scores.shape())
}

/// Mixes values of one row: `(heads, queries, keys)` with `(keys, kv_heads, head_dim)` to
/// `(queries, heads, head_dim)`.
pub(crate) fn mix(probs: &Tensor, v: &Tensor, mask: Mask, precision: Precision) -> Result<Tensor> {
    let (n_heads, queries, keys) = probs.dims3()?;
    let (_, kv_heads, dim) = v.dims3()?;
    let heads = Heads { heads: n_heads, kv_heads, dim };
    let out = with_slice(probs, |probs| {
        with_slice(v, |v| {
            if on_tiles(precision, queries) {
                return tiled::mix(probs, v, queries, heads);
            }
            let mut z = vec![0f32; queries * heads.width()];
            z.par_chunks_mut(BLOCK * heads.width()).zip(blocks(queries).collect::<Vec<_>>()).for_each(
                |(z, block)| {
                    for head in 0..n_heads {
                        let from = (head * queries + block.start) * keys;
                        let rows = &probs[from..from + block.len() * keys];
                        let seen = carried(rows, &block, keys, mask);
                        let part = Matrix::new(&rows[seen.start..], [block.len(), seen.len()], [keys, 1]);
                        let out = &mut z[head * dim..];
                        product_into(part, heads.shared(v, head, &seen), out, [heads.width(), 1]);
                    }
                },
            );
            z
        })
    })??;
    tensor(out, (queries, n_heads, dim))
}

/// The keys whose values a block of probabilities mixes: those in its reach, or all if a tap has put something
/// on a key outside it.
fn carried(rows: &[f32], block: &Range<usize>, keys: usize, mask: Mask) -> Range<usize> {
    let reach = mask.reach(block, keys);
    let outside = |row: &[f32]| row[..reach.start].iter().chain(&row[reach.end..]).any(|p| *p != 0.0);
    if rows.chunks_exact(keys).any(outside) { 0..keys } else { reach }
}

/// `(queries, heads, head_dim)` to `(kv_heads, group · queries, head_dim)`: query heads that share a key head lie
/// below each other, which makes each product of the backward pass one batch without repeated keys.
fn by_key_head(x: &Tensor, kv_heads: usize) -> Result<Tensor> {
    let (queries, heads, dim) = x.dims3()?;
    Ok(x.transpose(0, 1)?.contiguous()?.reshape((kv_heads, heads / kv_heads * queries, dim))?)
}

/// The way back.
fn by_token(x: &Tensor, heads: usize, queries: usize) -> Result<Tensor> {
    let dim = x.dim(2)?;
    Ok(x.reshape((heads, queries, dim))?.transpose(0, 1)?.contiguous()?)
}

/// Gradients of [`mix`]: with respect to the values always, to the probabilities if `need_probs`.
pub(crate) fn mix_back(
    probs: &Tensor,
    v: &Tensor,
    g: &Tensor,
    need_probs: bool,
) -> Result<(Option<Tensor>, Tensor)> {
    let (heads, queries, keys) = probs.dims3()?;
    let kv_heads = v.dim(1)?;
    let grouped = probs.reshape((kv_heads, heads / kv_heads * queries, keys))?;
    let g = by_key_head(g, kv_heads)?;
    let d_v = grouped.transpose(1, 2)?.matmul(&g)?.transpose(0, 1)?.contiguous()?;
    let d_probs = if need_probs {
        Some(g.matmul(&v.permute((1, 2, 0))?)?.reshape((heads, queries, keys))?)
    } else {
        None
    };
    Ok((d_probs, d_v))
}

/// Gradient of [`probabilities`]: `p (g − Σ g p)`; 0 where masked, since p is 0 there.
pub(crate) fn probabilities_back(probs: &Tensor, g: &Tensor) -> Result<Tensor> {
    let keys = probs.dim(2)?;
    let out = with_slice(probs, |p| {
        with_slice(g, |g| {
            let mut out = vec![0f32; p.len()];
            out.par_chunks_mut(keys).zip(p.par_chunks(keys)).zip(g.par_chunks(keys)).for_each(
                |((o, p), g)| {
                    let along = simd::dot(p, g);
                    for ((o, p), g) in o.iter_mut().zip(p).zip(g) {
                        *o = p * (g - along);
                    }
                },
            );
            out
        })
    })??;
    tensor(out, probs.shape())
}

/// Gradients of [`scores`] with respect to `q` and `k`; `capped` are the scores themselves, needed with a cap.
pub(crate) fn scores_back(
    q: &Tensor,
    k: &Tensor,
    capped: Option<&Tensor>,
    g: &Tensor,
    scoring: Scoring,
) -> Result<(Tensor, Tensor)> {
    let Scoring { scale, cap, .. } = scoring;
    let (queries, heads, _) = q.dims3()?;
    let (keys, kv_heads, _) = k.dims3()?;
    let mut d = with_slice(g, <[f32]>::to_vec)?;
    match cap.zip(capped) {
        None => d.par_chunks_mut(8192).for_each(|d| d.iter_mut().for_each(|d| *d *= scale)),
        Some((cap, capped)) => with_slice(capped, |s| {
            d.par_iter_mut().zip(s).for_each(|(d, s)| *d *= scale * (1.0 - (s / cap) * (s / cap)));
        })?,
    }
    let d = tensor(d, (kv_heads, heads / kv_heads * queries, keys))?;
    let d_q = by_token(&d.matmul(&k.transpose(0, 1)?)?, heads, queries)?;
    let d_k = d.transpose(1, 2)?.matmul(&by_key_head(q, kv_heads)?)?.transpose(0, 1)?.contiguous()?;
    Ok((d_q, d_k))
}
