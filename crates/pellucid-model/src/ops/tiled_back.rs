//! The way back through layers on matrix tiles. Weights lie in pairs of inputs, and the gradient sums over outputs: so the weights
//! are the left operand, turned a step at a time by a few shuffles, and what comes out is the transpose of the gradient, of which
//! each block is turned on its way out. An MLP's steps are taken together: what the gradient of 32 neurons needs lies near while it is
//! made, and goes on rounded. The bits are those of the steps one by one.

use super::kernel::{LANES, Lane, Pairs};
use super::linear::Linear;
use super::mlp::Kept;
use super::packed::Packed;
use super::products::on_tiles_back;
use super::sheet::{Block, made, one_by_one, sheet};
use super::simd::{self, Neurons, Slopes};
use super::tiled::{KEPT, joins};
use super::{Rooms, Rules, tensor, with_slices};
use crate::Result;
use crate::spec::Activation;
use candle_core::Tensor;
use pellucid_kernels::columns::pieces;
use pellucid_kernels::patches::{left_pairs, pair_columns, turn_square};
use pellucid_kernels::tiles::{Ahead, DEPTH, Patch, SIDE, products_beside};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

/// Rows that a task multiplies at most: their gradients stay in a core's own cache beside the weights that go by.
const GROUP: usize = 16 * SIDE;

/// `g W`, summed over layers that read the same: of each its weights and its gradient, `(rows, outer)`. The sum is `(rows, inner)`.
pub(super) fn multiply_back(layers: &[(&Packed, &[f32])]) -> Vec<f32> {
    let Some((first, g)) = layers.first() else { return Vec::new() };
    let rows = g.len() / first.outer().max(1);
    let sides: Vec<(&Packed, Vec<Pairs>)> =
        layers.iter().map(|(w, g)| (*w, across(g, rows, w.outer()))).collect();
    summed(&sides, rows, first.inner())
}

/// Gradients as right operand: pairs of neighbouring numbers of 32 rows beside each other, `(⌈rows / 32⌉, 16 · steps, 32)`.
fn across(g: &[f32], rows: usize, width: usize) -> Vec<Pairs> {
    let lanes = width.div_ceil(2 * DEPTH) * DEPTH;
    made(rows.div_ceil(SIDE) * lanes, lanes, |from, to| {
        let first = from / lanes * SIDE;
        let here = first * width..(first + SIDE).min(rows) * width;
        pair_columns(&g[here], width, width, to);
    })
}

/// Room for a step of weights that are not kept in pairs, for 32 inputs as left operand, and for their products.
struct Room {
    wide: Vec<Lane<f32>>,
    pairs: Vec<Pairs>,
    left: Vec<Patch>,
    turned: Vec<f32>,
}

impl Room {
    /// For 32 inputs of layers and so many blocks of rows.
    fn new<'w>(layers: impl Iterator<Item = &'w Packed>, blocks: usize) -> Self {
        let (mut steps, mut ready) = (0, true);
        for layer in layers {
            steps = steps.max(layer.outer().div_ceil(2 * DEPTH));
            ready &= layer.has_pairs();
        }
        let made = if ready { 0 } else { 1 };
        Room {
            wide: vec![Lane::ZERO; 2 * DEPTH * made],
            pairs: vec![Pairs::NONE; DEPTH * made],
            left: vec![Patch::NONE; steps],
            turned: vec![0.0; SIDE * blocks * LANES],
        }
    }

    /// The transpose of the gradient with respect to the 32 inputs from `32 · panel` on, `(32, 32 · blocks)`.
    fn product(&mut self, w: &Packed, panel: usize, g: &[Pairs], blocks: usize) -> &[f32] {
        let left = &mut self.left[..w.outer().div_ceil(2 * DEPTH)];
        let mut ahead = Ahead { start: std::ptr::null(), stride: 0 };
        for (outputs, left) in left.iter_mut().enumerate() {
            let step = w.steps(outputs, panel..panel + 1, &mut self.wide, &mut self.pairs);
            // the next panel's lie behind these, and as far from each other
            let next = step.as_ptr_range().end;
            match outputs {
                0 => ahead.start = next,
                1 => ahead.stride = next.addr().wrapping_sub(ahead.start.addr()),
                _ => {}
            }
            step.as_chunks().0.iter().for_each(|step| left_pairs(step, left));
        }
        products_beside(blocks, left, g, &mut self.turned, ahead);
        &self.turned
    }
}

/// How many of so many panels each task takes, some at a time: an even part for every thread, since what a task needs for one is also
/// near for the next.
fn share(panels: usize, at_a_time: usize) -> usize {
    panels.div_ceil(at_a_time).div_ceil(rayon::current_num_threads()).max(1) * at_a_time
}

/// The products of layers' gradients, as [`across`] lays them out, with their weights, summed: `(rows, width)`.
fn summed(sides: &[(&Packed, Vec<Pairs>)], rows: usize, width: usize) -> Vec<f32> {
    let columns = share(width.div_ceil(LANES), 1) * LANES;
    sheet(rows, width, [GROUP, columns], |block| {
        let here = block.rows.start / SIDE..block.rows.end.div_ceil(SIDE);
        let blocks = here.len();
        let mut room = Room::new(sides.iter().map(|(w, _)| *w), blocks);
        let first = block.columns.start / LANES;
        let panel = SIDE * blocks * LANES;
        let panels = block.columns.len().div_ceil(LANES);
        let mut sums: Vec<f32> = Vec::with_capacity(panels * panel);
        // one side after the other: its gradients stay near for all columns
        for (w, g) in sides {
            let lanes = g.len() / rows.div_ceil(SIDE);
            let g = &g[here.start * lanes..here.end * lanes];
            for at in 0..panels {
                let made = room.product(w, first + at, g, blocks);
                match sums.get_mut(at * panel..(at + 1) * panel) {
                    None => sums.extend_from_slice(made),
                    Some(sum) => simd::plus(sum, made),
                }
            }
        }
        // rows are written with all their columns: a few of many rows would each fetch lines of their own
        let (columns, stride) = (block.columns.clone(), sums.len() / (SIDE * blocks));
        let mut below = vec![0f32; SIDE * stride];
        let mut square = [0f32; SIDE * LANES];
        for (b, rows) in pieces(block.rows.clone(), SIDE).enumerate() {
            for (sum, at) in sums.chunks_exact(panel).zip((0..stride).step_by(LANES)) {
                turn_square(&sum[b * LANES..], blocks * LANES, &mut square);
                for (to, row) in below.chunks_exact_mut(stride).zip(square.as_chunks::<LANES>().0) {
                    to[at..at + LANES].copy_from_slice(row);
                }
            }
            for (row, values) in rows.zip(below.chunks_exact(stride)) {
                block.put(row, columns.start, &values[..columns.len()]);
            }
        }
    })
}

/// An MLP and what its forward pass left.
pub(crate) struct MlpBack<'a> {
    /// Weights and values before the activation, and of a gated MLP's second projection.
    pub(crate) pre: (&'a Linear, &'a Kept),
    pub(crate) linear: Option<(&'a Linear, &'a Kept)>,
    pub(crate) down: &'a Linear,
    pub(crate) activation: Activation,
    pub(crate) rules: Rules,
    pub(crate) wanted: Wanted,
}

/// What is wanted of the gradient at `mlp_act`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Wanted {
    Nothing,
    Gradient,
    /// Its product with the activations.
    Product,
}

/// What was wanted at an MLP's activations, `(tokens, d_mlp)`, and the gradient with respect to what it reads.
pub(crate) struct Gradients {
    pub(crate) act: Option<Vec<f32>>,
    pub(crate) read: Tensor,
}

/// From the gradient of what an MLP writes, `(tokens, d_model)`; none where its layers are not multiplied on tiles.
pub(crate) fn mlp_back(g: &Tensor, mlp: &MlpBack<'_>, rooms: &mut Rooms) -> Result<Option<Gradients>> {
    let (rows, width) = g.dims2()?;
    let layers: Vec<&Linear> =
        [mlp.pre.0, mlp.down].into_iter().chain(mlp.linear.map(|(layer, _)| layer)).collect();
    if !on_tiles_back(rows) || !joins(&layers) {
        return Ok(None);
    }
    let second = mlp.linear.map(|(_, linear)| linear);
    let all = [g, mlp.pre.1.numbers(), second.unwrap_or(mlp.pre.1).numbers()];
    let (act, read) = with_slices(all, |[g, pre, linear]| {
        back(mlp, Given { pre, linear: second.map(|_| linear) }, g, [rows, width], rooms)
    })?;
    Ok(Some(Gradients { act, read: tensor(read, (rows, mlp.pre.0.weight.inner()))? }))
}

/// Numbers that the forward pass kept, as they lie.
#[derive(Clone, Copy)]
struct Given<'a> {
    pre: &'a [f32],
    linear: Option<&'a [f32]>,
}

fn back(
    mlp: &MlpBack<'_>,
    given: Given<'_>,
    g: &[f32],
    [rows, width]: [usize; 2],
    rooms: &mut Rooms,
) -> (Option<Vec<f32>>, Vec<f32>) {
    let neurons = mlp.pre.0.weight.outer();
    let (blocks, panels) = (rows.div_ceil(SIDE), neurons.div_ceil(LANES));
    let g = across(g, rows, width);
    // whole groups of neurons that are written together
    let share = share(panels, KEPT / LANES);
    let layers: Vec<&Packed> = [Some(mlp.pre.0), mlp.linear.map(|(layer, _)| layer)]
        .into_iter()
        .flatten()
        .map(|l| &*l.weight)
        .collect();
    let lanes = panels * DEPTH;
    // all of it is written
    let room = || {
        let mut room = rooms.pairs.pop().unwrap_or_default();
        room.resize(blocks * lanes, Pairs::NONE);
        room
    };
    let mut sides: Vec<(&Packed, Vec<Pairs>)> =
        layers.into_iter().zip(std::iter::repeat_with(room)).collect();
    // of each task for each projection what it makes of every block of rows
    let mut tasks: Vec<Vec<Vec<&mut [Pairs]>>> = Vec::new();
    tasks.resize_with(panels.div_ceil(share), || (0..sides.len()).map(|_| Vec::new()).collect());
    for (side, (_, all)) in sides.iter_mut().enumerate() {
        for block in all.chunks_mut(lanes) {
            let parts = block.chunks_mut(share * DEPTH);
            tasks.iter_mut().zip(parts).for_each(|(task, part)| task[side].push(part));
        }
    }
    let act = match mlp.wanted {
        Wanted::Nothing => {
            one_by_one(&mut tasks, |task, to| {
                let from = task * share * LANES;
                some_neurons(mlp, given, &g, rows, from..(from + share * LANES).min(neurons), to, None);
            });
            None
        }
        _ => {
            let tasks: Vec<_> = tasks.into_iter().map(Mutex::new).collect();
            Some(sheet(rows, neurons, [rows, share * LANES], |block| {
                let columns = block.columns.clone();
                let mut to =
                    tasks[columns.start / (share * LANES)].lock().unwrap_or_else(PoisonError::into_inner);
                some_neurons(mlp, given, &g, rows, columns, &mut to, Some(block));
            }))
        }
    };
    let read = summed(&sides, rows, mlp.pre.0.weight.inner());
    rooms.pairs.extend(sides.into_iter().map(|(_, room)| room));
    (act, read)
}

/// Gradients before the activation of some neurons at all rows, into `to`: of each projection for every block of rows. What is wanted at
/// their activations goes to `act`.
fn some_neurons(
    mlp: &MlpBack<'_>,
    given: Given<'_>,
    g: &[Pairs],
    rows: usize,
    columns: Range<usize>,
    to: &mut [Vec<&mut [Pairs]>],
    mut act: Option<&mut Block<'_>>,
) {
    let blocks = rows.div_ceil(SIDE);
    let mut room = Room::new(std::iter::once(&*mlp.down.weight), blocks);
    let mut kept = vec![0f32; if act.is_some() { rows * KEPT } else { 0 }];
    let mut slopes = Slopes::new();
    let block_rows = |block: usize| block * SIDE..((block + 1) * SIDE).min(rows);
    for (panel, here) in pieces(columns.clone(), LANES).enumerate() {
        let first = columns.start / LANES;
        let turned = room.product(&mlp.down.weight, first + panel, g, blocks);
        let at = here.start % KEPT;
        for block in 0..blocks {
            let these = block_rows(block);
            turn_square(&turned[block * LANES..], blocks * LANES, &mut slopes.g);
            let [first, stride] = mlp.pre.1.place(these.start, here.start);
            let second = mlp.linear.map(|(_, linear)| linear.place(these.start, here.start));
            debug_assert!(second.is_none_or(|second| second == [first, stride]));
            let (pre, linear) = (&given.pre[first..], given.linear.map(|linear| &linear[first..]));
            let neurons =
                Neurons { pre, linear, stride, columns: here.len(), rows: these.len(), wanted: mlp.wanted };
            let wanted = kept.get_mut(these.start * KEPT + at..).unwrap_or_default();
            simd::neurons_back(&neurons, mlp.activation, mlp.rules, &mut slopes, wanted, KEPT);
            for (to, made) in to.iter_mut().zip([&slopes.pre, &slopes.linear]) {
                let to = &mut to[block][panel * DEPTH..(panel + 1) * DEPTH];
                pair_columns(&made[..these.len() * LANES], LANES, LANES, to);
            }
        }
        if let Some(act) = act.as_deref_mut()
            && (at + here.len() == KEPT || here.end == columns.end)
        {
            let first = here.start - at;
            act.put_past(0..rows, [first, here.end - first], &kept, KEPT);
        }
    }
}
