//! Attention's products on matrix tiles (`Precision::Fast`): queries, keys, values and probabilities rounded to bf16, sums and
//! softmax in f32. As in `attention.rs` there are two ways with the same bits, a block of queries at a time and step by step:
//! sums over keys run in steps of 32 from key 0 on, and what a query may not see adds nothing.

use super::attention::{Heads, Job, Mask, Scoring};
use super::kernel::{LANES, Pairs};
use super::sheet::one_by_one;
use super::simd;
use pellucid_kernels::patches;
use pellucid_kernels::tiles::{Course, DEPTH, Patch, SIDE, products, whole_steps};
use rayon::prelude::*;
use std::ops::Range;

/// One head's keys and values of a text, packed.
pub(super) struct Memory {
    /// `(⌈keys / 32⌉, pairs, 32)`: pairs of coordinates of 32 keys, in whole steps.
    keys: Vec<Pairs>,
    /// `(⌈dim / 32⌉, 16 ⌈keys / 32⌉, 32)`: pairs of keys at 32 coordinates.
    values: Vec<Pairs>,
    blocks: usize,
    dim: usize,
}

/// Keys and values `(keys, kv_heads, dim)` of a text, head by head.
pub(super) fn pack(k: &[f32], v: &[f32], heads: Heads) -> Vec<Memory> {
    collected(heads.kv_heads, |head| Memory::of_head(k, v, head, heads))
}

/// So many things, each made by a task of its own.
pub(super) fn collected<T: Send>(count: usize, make: impl Fn(usize) -> T + Sync) -> Vec<T> {
    let mut all: Vec<Option<T>> = std::iter::repeat_with(|| None).take(count).collect();
    one_by_one(&mut all, |at, one| *one = Some(make(at)));
    all.into_iter().flatten().collect()
}

fn pack_keys(k: &[f32], head: usize, heads: Heads) -> Vec<Pairs> {
    let (stride, pairs) = (heads.kv_heads * heads.dim, whole_steps(heads.dim));
    let mut out = vec![Pairs::NONE; k.len().div_ceil(stride * LANES) * pairs];
    for (to, k) in out.chunks_exact_mut(pairs).zip(k.chunks(stride * LANES)) {
        patches::pair_columns(&k[head * heads.dim..], stride, heads.dim, to);
    }
    out
}

fn pack_values(v: &[f32], head: usize, heads: Heads) -> Vec<Pairs> {
    let stride = heads.kv_heads * heads.dim;
    let pairs = v.len().div_ceil(stride * LANES) * DEPTH;
    let mut out = vec![Pairs::NONE; heads.dim.div_ceil(LANES) * pairs];
    for (from, out) in (0..heads.dim).step_by(LANES).zip(out.chunks_exact_mut(pairs)) {
        let here = head * heads.dim + from..head * heads.dim + (from + LANES).min(heads.dim);
        weave_rows(v, stride, here, out);
    }
    out
}

/// Pairs of neighbouring rows, one every `stride` numbers, at up to 32 columns.
pub(super) fn weave_rows(rows: &[f32], stride: usize, at: Range<usize>, to: &mut [Pairs]) {
    for (to, two) in to.iter_mut().zip(rows.chunks(2 * stride)) {
        let second = if two.len() > stride { &two[stride..][at.clone()] } else { &[] };
        simd::weave(&two[at.clone()], second, to);
    }
}

impl Memory {
    /// Those of one of `(keys, kv_heads, dim)` for products alone.
    pub(super) fn of_keys(k: &[f32], head: usize, heads: Heads) -> Self {
        let blocks = k.len().div_ceil(heads.kv_heads * heads.dim * LANES);
        Memory { keys: pack_keys(k, head, heads), values: Vec::new(), blocks, dim: heads.dim }
    }

    /// Those of one of `(keys, kv_heads, dim)`.
    pub(super) fn of_head(k: &[f32], v: &[f32], head: usize, heads: Heads) -> Self {
        Memory {
            keys: pack_keys(k, head, heads),
            values: pack_values(v, head, heads),
            blocks: k.len().div_ceil(heads.kv_heads * heads.dim * LANES),
            dim: heads.dim,
        }
    }

    /// Products of up to 32 queries, in patches, with the keys of blocks `seen`, to the beginning of rows of `width` numbers,
    /// which the last block may exceed.
    pub(super) fn products(
        &self,
        q: &[Patch],
        rows: usize,
        seen: Range<usize>,
        out: &mut [f32],
        width: usize,
    ) {
        let pairs = whole_steps(self.dim);
        let keys = &self.keys[seen.start * pairs..seen.end * pairs];
        let course = Course { count: seen.len().min(width / LANES), a: 0, b: pairs, out: LANES };
        products(rows, pairs / DEPTH, q, keys, out, width.max(LANES), course);
        let done = course.count * LANES;
        if course.count < seen.len() {
            part(q, &keys[course.count * pairs..], rows, width - done, &mut out[done..], width);
        }
    }

    /// Mixes values of the keys of blocks `seen` by up to 32 queries' probabilities, in patches, to every `stride`th number
    /// of `out` on.
    pub(super) fn mix(&self, p: &[Patch], rows: usize, seen: Range<usize>, out: &mut [f32], stride: usize) {
        let all = self.blocks * DEPTH;
        let values = &self.values[seen.start * DEPTH..];
        let course = Course { count: self.dim / LANES, a: 0, b: all, out: LANES };
        products(rows, seen.len(), p, values, out, stride.max(LANES), course);
        let done = course.count * LANES;
        if done < self.dim {
            let values = &values[course.count * all..][..seen.len() * DEPTH];
            part(p, values, rows, self.dim - done, &mut out[done..], stride);
        }
    }
}

/// A product of `rows` rows and less than 32 columns, to every `stride`th number of `out` on.
fn part(a: &[Patch], b: &[Pairs], rows: usize, width: usize, out: &mut [f32], stride: usize) {
    let mut sums = [0f32; SIDE * LANES];
    products(rows, b.len() / DEPTH, a, b, &mut sums, LANES, Course::ONE);
    for (to, sums) in out.chunks_mut(stride).zip(sums.chunks_exact(LANES)).take(rows) {
        to[..width].copy_from_slice(&sums[..width]);
    }
}

/// Rooms for patches of a block.
#[derive(Debug)]
pub(super) struct Patches {
    queries: Vec<Patch>,
    probs: Vec<Patch>,
}

impl Patches {
    /// For heads of `dim` coordinates and so many blocks of keys.
    pub(super) fn new(dim: usize, blocks: usize) -> Self {
        Patches { queries: vec![Patch::NONE; dim.div_ceil(2 * DEPTH)], probs: vec![Patch::NONE; blocks] }
    }

    /// Up to 32 queries of a head of `dim` coordinates, every `stride` numbers.
    pub(super) fn queries(&mut self, q: &[f32], stride: usize, dim: usize) -> &[Patch] {
        patches::patch_rows(q, stride, dim, &mut self.queries);
        &self.queries
    }

    /// Up to 32 queries' probabilities of `width` keys, every `stride` numbers.
    pub(super) fn probs(&mut self, p: &[f32], stride: usize, width: usize) -> &[Patch] {
        let steps = width.div_ceil(LANES);
        patches::patch_rows(p, stride, width, &mut self.probs[..steps]);
        &self.probs[..steps]
    }
}

/// What a block of queries of one head works in.
pub(super) struct HeadRoom {
    patches: Patches,
    scores: Vec<f32>,
}

impl HeadRoom {
    /// For heads of `dim` coordinates, and so many queries at a time and blocks of keys.
    pub(super) fn new(dim: usize, queries: usize, blocks: usize) -> Self {
        HeadRoom { patches: Patches::new(dim, blocks), scores: vec![0.0; queries * blocks * LANES] }
    }
}

/// A block of queries and the mask over a text of so many keys.
#[derive(Clone)]
pub(super) struct Queries {
    pub(super) block: Range<usize>,
    pub(super) mask: Mask,
    pub(super) keys: usize,
}

impl Queries {
    /// The blocks of 32 keys that some query may see.
    fn seen(&self) -> Range<usize> {
        let reach = self.mask.reach(&self.block, self.keys);
        reach.start / LANES..reach.end.div_ceil(LANES)
    }
}

/// One head of a block of queries, from scores to mixed values: `q` begins at the block's first query and `z` where its mixed value
/// goes; the next ones lie every `stride` numbers.
pub(super) fn attend_head(
    queries: &Queries,
    memory: &Memory,
    scoring: Scoring,
    q: &[f32],
    z: &mut [f32],
    stride: usize,
    room: &mut HeadRoom,
) {
    let Queries { block, mask, keys } = queries;
    let seen = queries.seen();
    let width = seen.len() * LANES;
    let HeadRoom { patches, scores } = room;
    let scores = &mut scores[..block.len() * width];
    let tiles = block.clone().step_by(SIDE).map(|from| from..(from + SIDE).min(block.end));
    for (rows, scores) in tiles.clone().zip(scores.chunks_mut(SIDE * width)) {
        let q = patches.queries(&q[(rows.start - block.start) * stride..], stride, memory.dim);
        memory.products(q, rows.len(), seen.clone(), scores, width);
        let allowed = mask.bounds(rows.clone(), *keys, seen.start * LANES);
        let scale = match scoring.cap {
            None => scoring.scale,
            Some(_) => {
                scoring.score(scores);
                1.0
            }
        };
        simd::softmax_rows(scores, width, &allowed[..rows.len()], scale);
    }
    for (rows, scores) in tiles.zip(scores.chunks(SIDE * width)) {
        let out = &mut z[(rows.start - block.start) * stride..];
        memory.mix(patches.probs(scores, width, width), rows.len(), seen.clone(), out, stride);
    }
}

/// From scores to mixed values, a block of queries at a time.
pub(super) fn attend_block(job: &mut Job<'_>, memory: &[Memory], heads: Heads, scoring: Scoring) {
    let Job { q, k, mask, ref block, ref mut z, .. } = *job;
    let keys = k.len() / (heads.kv_heads * heads.dim);
    let queries = Queries { block: block.clone(), mask, keys };
    let mut room = HeadRoom::new(heads.dim, queries.block.len(), queries.seen().len());
    for head in 0..heads.heads {
        let memory = &memory[head / (heads.heads / heads.kv_heads)];
        let q = &q[queries.block.start * heads.width() + head * heads.dim..];
        attend_head(&queries, memory, scoring, q, &mut z[head * heads.dim..], heads.width(), &mut room);
    }
}

/// Scores `(heads, queries, keys)` of one text, not yet masked.
pub(super) fn scores(q: &[f32], k: &[f32], queries: usize, heads: Heads, scoring: Scoring) -> Vec<f32> {
    let keys = k.len() / (heads.kv_heads * heads.dim);
    let memory = pack(k, k, heads);
    let mut out = vec![0f32; heads.heads * queries * keys];
    out.par_chunks_mut((queries * keys).max(1)).enumerate().for_each(|(head, out)| {
        let memory = &memory[head / (heads.heads / heads.kv_heads)];
        let mut room = Patches::new(heads.dim, 0);
        for (from, out) in (0..queries).step_by(SIDE).zip(out.chunks_mut(SIDE * keys)) {
            let q = &q[from * heads.width() + head * heads.dim..];
            let q = room.queries(q, heads.width(), heads.dim);
            memory.products(q, (queries - from).min(SIDE), 0..memory.blocks, out, keys);
        }
        scoring.score(out);
    });
    out
}

/// Values of one text mixed by probabilities `(heads, queries, keys)`: `(queries, heads, dim)`.
pub(super) fn mix(probs: &[f32], v: &[f32], queries: usize, heads: Heads) -> Vec<f32> {
    let keys = v.len() / (heads.kv_heads * heads.dim);
    let memory = pack(v, v, heads);
    let mut z = vec![0f32; queries * heads.width()];
    z.par_chunks_mut((SIDE * heads.width()).max(1)).enumerate().for_each(|(tile, z)| {
        let rows = tile * SIDE..(tile * SIDE + SIDE).min(queries);
        let mut room = Patches::new(0, keys.div_ceil(LANES));
        for head in 0..heads.heads {
            let memory = &memory[head / (heads.heads / heads.kv_heads)];
            let p = &probs[(head * queries + rows.start) * keys..(head * queries + rows.end) * keys];
            let p = room.probs(p, keys, keys);
            memory.mix(p, rows.len(), 0..memory.blocks, &mut z[head * heads.dim..], heads.width());
        }
    });
    z
}
