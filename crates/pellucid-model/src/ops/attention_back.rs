//! Attention's backward on matrix tiles (`Precision::Fast`), head by head: probabilities are made again as forward, and every
//! product of the gradient is of operands rounded to bf16 with sums in f32.

use super::Rooms;
use super::attention::{Heads, Mask, Scoring};
use super::attention_tiled::{Memory, Patches, collected, weave_rows};
use super::kernel::{LANES, Pairs};
use super::rotary::Angles;
use super::sheet::made;
use super::simd;
use pellucid_kernels::patches::{turn_lanes, turn_square};
use pellucid_kernels::tiles::{Course, DEPTH, Patch, SIDE, products};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// One text after rotation, and the gradient of its mixed values: `(queries, heads, dim)` and `(keys, kv_heads, dim)`.
pub(super) struct Text<'a> {
    pub(super) q: &'a [f32],
    pub(super) k: &'a [f32],
    pub(super) v: &'a [f32],
    pub(super) g: &'a [f32],
    pub(super) heads: Heads,
    pub(super) mask: Mask,
    pub(super) scoring: Scoring,
    /// Whether the gradient goes through the probabilities.
    pub(super) through: bool,
    /// The rotation of queries and keys that is undone, and whose token the text's first is.
    pub(super) angles: Option<(&'a Angles, usize)>,
}

/// Gradients with respect to queries and keys before rotation, and to values; the first two are zeros where nothing goes through the probabilities.
pub(super) struct Gradients {
    pub(super) q: Vec<f32>,
    pub(super) k: Vec<f32>,
    pub(super) v: Vec<f32>,
}

/// One query head's part, without gaps: `(queries, dim)`, and `(keys, dim)` twice.
#[derive(Debug, Default)]
pub(crate) struct Part {
    q: Vec<f32>,
    k: Vec<f32>,
    v: Vec<f32>,
}

pub(super) fn back(text: &Text<'_>, rooms: &mut Rooms) -> Gradients {
    let heads = text.heads;
    let memories = collected(2 * heads.kv_heads, |at| match at.checked_sub(heads.kv_heads) {
        None => Memory::of_head(text.k, text.k, at, heads),
        Some(head) => Memory::of_keys(text.v, head, heads),
    });
    let (keys, values) = memories.split_at(heads.kv_heads);
    let group = heads.heads / heads.kv_heads;
    rooms.heads.retain(|room| room.fits(text));
    let rooms = Mutex::new(rooms);
    let free = || rooms.lock().unwrap_or_else(PoisonError::into_inner);
    let parts: Vec<Part> = collected(heads.heads, |head| {
        let (room, part) = {
            let mut free = free();
            (free.heads.pop(), free.parts.pop())
        };
        let (mut room, mut part) = (room.unwrap_or_else(|| HeadRoom::new(text)), part.unwrap_or_default());
        head_back(text, head, &keys[head / group], &values[head / group], &mut room, &mut part);
        free().heads.push(room);
        part
    });
    let (dim, shared) = (heads.dim, heads.kv_heads);
    let made = Gradients {
        q: joined(text.q.len(), dim, heads.heads, &parts, text.angles, |part| &part.q),
        k: joined(text.k.len(), dim, shared, &parts, text.angles, |part| &part.k),
        v: joined(text.v.len(), dim, shared, &parts, None, |part| &part.v),
    };
    free().parts.extend(parts);
    made
}

/// Query heads' parts, `(tokens, dim)` each, as `(tokens, heads, dim)`: those of neighbours that share a head are summed in order, and
/// the sums are turned back.
fn joined(
    count: usize,
    dim: usize,
    heads: usize,
    parts: &[Part],
    angles: Option<(&Angles, usize)>,
    of: impl Fn(&Part) -> &Vec<f32> + Sync,
) -> Vec<f32> {
    made(count, TOKENS * heads * dim, |from, out| {
        let first = from / heads;
        for (token, out) in out.chunks_exact_mut(heads * dim).enumerate() {
            let here = first + token * dim..first + (token + 1) * dim;
            for (out, parts) in out.chunks_exact_mut(dim).zip(parts.chunks(parts.len() / heads)) {
                let mut parts = parts.iter().map(|part| &of(part)[here.clone()]);
                out.copy_from_slice(parts.next().unwrap_or_default());
                parts.for_each(|part| simd::plus(out, part));
            }
            if let Some((angles, first_token)) = angles {
                angles.turn(first_token + here.start / dim, out, dim, -1.0);
            }
        }
    })
}

/// Tokens of a task that joins heads.
const TOKENS: usize = 16;

/// What a head works in. Every head of a text writes the same places, and so does one of another text of the same shape and mask; so
/// zeros stay what they are.
#[derive(Debug)]
pub(crate) struct HeadRoom {
    shape: Shape,
    /// `(queries, row)`: probabilities, and gradients with respect to scores.
    probs: Vec<f32>,
    slopes: Vec<f32>,
    /// Gradients with respect to the probabilities of up to 32 queries.
    d_probs: Vec<f32>,
    patches: Patches,
    /// Of all queries at 32 keys.
    lanes: Vec<Pairs>,
    /// Numbers of a row: the keys, filled up to whole blocks.
    row: usize,
}

/// Queries, keys, numbers of a head, the mask, and whether the gradient goes through the probabilities.
type Shape = ([usize; 3], Mask, bool);

fn shape(text: &Text<'_>) -> Shape {
    let Heads { kv_heads, dim, .. } = text.heads;
    let (queries, keys) = (text.q.len() / text.heads.width(), text.k.len() / (kv_heads * dim));
    ([queries, keys, dim], text.mask, text.through)
}

impl HeadRoom {
    fn fits(&self, text: &Text<'_>) -> bool {
        self.shape == shape(text)
    }

    fn new(text: &Text<'_>) -> Self {
        let heads = text.heads;
        let queries = text.q.len() / heads.width();
        let row = (text.k.len() / (heads.kv_heads * heads.dim)).next_multiple_of(LANES);
        HeadRoom {
            shape: shape(text),
            probs: vec![0.0; queries * row],
            slopes: vec![0.0; if text.through { queries * row } else { 0 }],
            d_probs: vec![0.0; if text.through { SIDE * row } else { 0 }],
            patches: Patches::new(heads.dim, row / LANES),
            lanes: vec![Pairs::NONE; queries.div_ceil(2 * DEPTH) * DEPTH],
            row,
        }
    }
}

fn head_back(
    text: &Text<'_>,
    head: usize,
    keys: &Memory,
    values: &Memory,
    room: &mut HeadRoom,
    part: &mut Part,
) {
    let (heads, mask) = (text.heads, text.mask);
    let (dim, width) = (heads.dim, heads.width());
    let (queries, n_keys) = (text.q.len() / width, text.k.len() / (heads.kv_heads * dim));
    let HeadRoom { probs, slopes, d_probs, patches: room, lanes, row, .. } = room;
    let row = *row;
    // all of it is written
    part.q.resize(queries * dim, 0.0);
    part.k.resize(n_keys * dim, 0.0);
    part.v.resize(n_keys * dim, 0.0);
    if !text.through {
        part.q.fill(0.0);
        part.k.fill(0.0);
    }
    // for each block of 32 keys the blocks of queries of which some see some of them
    let mut seen_by = vec![0..0; row / LANES];
    for from in (0..queries).step_by(SIDE) {
        let tile = from..(from + SIDE).min(queries);
        let reach = mask.reach(&tile, n_keys);
        let seen = 0..reach.end.div_ceil(LANES);
        for block in &mut seen_by[reach.start / LANES..seen.end] {
            let first = if block.start == block.end { from / SIDE } else { block.start };
            *block = first..from / SIDE + 1;
        }
        let first = from * width + head * dim;
        let probs = &mut probs[from * row..tile.end * row];
        keys.products(room.queries(&text.q[first..], width, dim), tile.len(), seen.clone(), probs, row);
        let allowed = mask.bounds(tile.clone(), n_keys, 0);
        // scores with a cap are not taken back here
        simd::softmax_rows(probs, row, &allowed[..tile.len()], text.scoring.scale);
        if !text.through {
            continue;
        }
        values.products(room.queries(&text.g[first..], width, dim), tile.len(), seen.clone(), d_probs, row);
        let slopes = &mut slopes[from * row..tile.end * row];
        for ((i, slope), (p, g)) in tile
            .clone()
            .zip(slopes.chunks_exact_mut(row))
            .zip(probs.chunks_exact(row).zip(d_probs.chunks_exact(row)))
        {
            let allowed = mask.allowed(i, n_keys);
            simd::softmax_back(
                &p[allowed.clone()],
                &g[allowed.clone()],
                text.scoring.scale,
                &mut slope[allowed],
            );
        }
        let slopes = room.probs(slopes, row, seen.len() * LANES);
        keys.mix(slopes, tile.len(), seen, &mut part.q[from * dim..], dim);
    }
    let mut back = |of: &[f32], by: &[f32], out: &mut [f32]| {
        turned_product(&of[head * dim..], [width, dim, queries], by, &seen_by, lanes, out);
    };
    back(text.g, probs, &mut part.v);
    if text.through {
        back(text.q, slopes, &mut part.k);
    }
}

/// `byᵀ of`: `(keys, dim)`, of `of`, `dim` numbers every `stride`, and `by`, `(queries, row)`. Made as its transpose, for which
/// `by` need not be turned. Of each block of keys only the blocks of queries that see it are summed: the others add zeros.
fn turned_product(
    of: &[f32],
    [stride, dim, queries]: [usize; 3],
    by: &[f32],
    seen_by: &[Range<usize>],
    lanes: &mut [Pairs],
    out: &mut [f32],
) {
    let (steps, row) = (queries.div_ceil(2 * DEPTH), seen_by.len() * LANES);
    let side = turned(of, stride, dim, queries, steps);
    let (mut square, mut turned) = ([0f32; SIDE * LANES], [0f32; SIDE * LANES]);
    for ((block, seen), out) in seen_by.iter().enumerate().zip(out.chunks_mut(LANES * dim)) {
        let rows = seen.start * SIDE..queries.min(seen.end * SIDE);
        let lanes = &mut lanes[..seen.len() * DEPTH];
        weave_rows(&by[rows.start * row..rows.end * row], row, block * LANES..(block + 1) * LANES, lanes);
        lanes[rows.len().div_ceil(2)..].fill(Pairs::NONE);
        for (at, patches) in (0..dim).step_by(SIDE).zip(side.chunks_exact(steps)) {
            let rows = (dim - at).min(SIDE);
            products(rows, seen.len(), &patches[seen.clone()], lanes, &mut square, LANES, Course::ONE);
            turn_square(&square, LANES, &mut turned);
            for (out, turned) in out.chunks_exact_mut(dim).zip(turned.as_chunks::<LANES>().0) {
                out[at..at + rows].copy_from_slice(&turned[..rows]);
            }
        }
    }
}

/// Patches of the transpose of `(queries, dim)`, `dim` numbers every `stride`: `(⌈dim / 32⌉, steps)`.
fn turned(of: &[f32], stride: usize, dim: usize, queries: usize, steps: usize) -> Vec<Patch> {
    let mut out = vec![Patch::NONE; dim.div_ceil(SIDE) * steps];
    let mut lanes = vec![Pairs::NONE; steps * DEPTH];
    for (from, out) in (0..dim).step_by(SIDE).zip(out.chunks_exact_mut(steps)) {
        weave_rows(of, stride, from..(from + SIDE).min(dim), &mut lanes[..queries.div_ceil(2)]);
        for (patch, lanes) in out.iter_mut().zip(lanes.as_chunks().0) {
            turn_lanes(lanes, patch);
        }
    }
    out
}
