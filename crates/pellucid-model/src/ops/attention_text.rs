//! Attention of whole texts from stream to stream on matrix tiles (`Precision::Fast`): a text's queries, keys and values are made,
//! turned and mixed head by head while they lie in a core's own cache, and never stand in memory as a whole. The bits are those
//! of the steps one by one.

use super::attention::{BLOCK, Heads, Mask, Scoring, blocks, on_tiles};
use super::attention_tiled::{HeadRoom, Memory, Queries, attend_head};
use super::kernel::LANES;
use super::linear::Linear;
use super::norm::{Norm, norm_rows};
use super::rotary::Angles;
use super::sheet::{Layout, sheets_of};
use super::tiled::{Added, Normed, Room, Side, joins};
use super::{tensor, with_slice};
use crate::Result;
use candle_core::Tensor;
use pellucid_kernels::columns::{Columns, pack_group};
use pellucid_kernels::patches::patch_rows;
use pellucid_kernels::tiles::{DEPTH, Patch, SIDE, products_below};

/// A layer's attention.
pub(crate) struct Layer<'a> {
    pub(crate) norm: &'a Norm,
    /// Queries, keys, values, and what heads write.
    pub(crate) linears: [&'a Linear; 4],
    /// Of a head's query and key.
    pub(crate) qk_norms: [Option<&'a Norm>; 2],
    pub(crate) heads: Heads,
    pub(crate) angles: Option<&'a Angles>,
    pub(crate) scoring: Scoring,
    pub(crate) window: Option<usize>,
    pub(crate) post_norm: Option<&'a Norm>,
}

/// Room of a task that takes texts through attention.
struct TextRoom {
    normed: Vec<f32>,
    read: Vec<Patch>,
    /// One head's query, key and value, `(tokens, dim)`.
    heads: [Vec<f32>; 3],
    /// Mixed values of a block of queries.
    mixed: Vec<f32>,
    /// Of all heads.
    z: Vec<Patch>,
    scores: HeadRoom,
    rooms: [Room; 4],
    sums: Vec<f32>,
}

/// Whether texts of so many tokens, each on one thread, keep all threads at work.
pub(super) fn shared_out(tokens: &[usize]) -> bool {
    let (longest, all) = (tokens.iter().copied().max().unwrap_or(0), tokens.iter().sum::<usize>());
    let threads = rayon::current_num_threads();
    tokens.len() >= 2 * threads && longest * threads <= all
}

/// The stream `(tokens, d_model)` with what attention adds to it. `tokens[i]` are those of text i, which begins at position 0; none
/// where there are too few texts for all threads, or a layer is not made for this.
pub(crate) fn texts(x: &Tensor, tokens: &[usize], layer: &Layer<'_>) -> Result<Option<Tensor>> {
    let Heads { heads, dim, .. } = layer.heads;
    let longest = tokens.iter().copied().max().unwrap_or(0);
    let tiles = tokens.iter().all(|&tokens| on_tiles(layer.scoring.precision, tokens));
    if !shared_out(tokens) || !tiles || !dim.is_multiple_of(LANES) || !joins(&layer.linears) {
        return Ok(None);
    }
    let width = layer.norm.weight.len();
    let steps = [width, heads * dim].map(|n| n.div_ceil(2 * DEPTH));
    let (blocks, queries) = (longest.div_ceil(SIDE), longest.min(BLOCK));
    let room = || TextRoom {
        normed: Vec::new(),
        read: vec![Patch::NONE; blocks * steps[0]],
        heads: std::array::from_fn(|_| vec![0.0; longest * dim]),
        mixed: vec![0.0; queries * dim],
        z: vec![Patch::NONE; blocks * steps[1]],
        scores: HeadRoom::new(dim, queries, blocks),
        rooms: std::array::from_fn(|i| Side(&layer.linears[i].weight).room(steps[i / 3])),
        sums: Vec::new(),
    };
    let made = with_slice(x, |x| {
        sheets_of(tokens, &[Layout::Rows(width)], room, |room, sheets| {
            let [out] = sheets else { return };
            let rows = out.rows.clone();
            pack_group(&Normed { x, norm: layer.norm }, rows.clone(), &mut room.normed, &mut room.read);
            mixed(layer, rows.start, rows.len(), steps, room);
            let added = Added { base: &x[rows.start * width..rows.end * width], norm: layer.post_norm };
            let TextRoom { z, rooms, sums, .. } = room;
            let z = &z[..rows.len().div_ceil(SIDE) * steps[1]];
            added.put(Side(&layer.linears[3].weight), steps[1], &mut rooms[3], z, sums, out);
        })
    })?;
    made.into_iter().next().map(|made| tensor(made, x.shape())).transpose()
}

/// The mixed values of a text of so many tokens, the first of which is token `first` of all, into the room's `z`.
fn mixed(layer: &Layer<'_>, first: usize, tokens: usize, steps: [usize; 2], room: &mut TextRoom) {
    let Heads { heads, kv_heads, dim } = layer.heads;
    let mask = Mask { start: 0, window: layer.window };
    let group = heads / kv_heads;
    for kv in 0..kv_heads {
        make_head(layer, KEY, kv, [first, tokens], steps[0], room);
        make_head(layer, VALUE, kv, [first, tokens], steps[0], room);
        let [_, keys, values] = room.heads.each_ref().map(|of| &of[..tokens * dim]);
        let memory = Memory::of_head(keys, values, 0, Heads { heads: 1, kv_heads: 1, dim });
        for head in kv * group..(kv + 1) * group {
            make_head(layer, QUERY, head, [first, tokens], steps[0], room);
            let patches = head * dim / LANES..(head + 1) * dim / LANES;
            for block in blocks(tokens) {
                let q = &room.heads[QUERY][block.start * dim..];
                let queries = Queries { block, mask, keys: tokens };
                attend_head(&queries, &memory, layer.scoring, q, &mut room.mixed, dim, &mut room.scores);
                let mixed = room.mixed[..queries.block.len() * dim].chunks(SIDE * dim);
                let below = room.z.chunks_exact_mut(steps[1]).skip(queries.block.start / SIDE);
                for (mixed, z) in mixed.zip(below) {
                    patch_rows(mixed, dim, dim, &mut z[patches.clone()]);
                }
            }
        }
    }
}

const QUERY: usize = 0;
const KEY: usize = 1;
const VALUE: usize = 2;

/// One head's query, key or value at a text's tokens, after rotation.
fn make_head(
    layer: &Layer<'_>,
    which: usize,
    head: usize,
    [first, tokens]: [usize; 2],
    steps: usize,
    room: &mut TextRoom,
) {
    let dim = layer.heads.dim;
    let side = Side(&layer.linears[which].weight);
    let made = &mut room.heads[which][..tokens * dim];
    for at in (0..dim).step_by(LANES) {
        let lanes = side.lanes((head * dim + at) / LANES, steps, &mut room.rooms[which]);
        products_below(tokens, &room.read, lanes, &mut made[at..], dim);
    }
    if which == VALUE {
        return;
    }
    if let Some(norm) = layer.qk_norms[which] {
        norm_rows(made, norm);
    }
    if let Some(angles) = layer.angles {
        for (token, made) in made.chunks_exact_mut(dim).enumerate() {
            angles.turn(first + token, made, dim, 1.0);
        }
    }
}
