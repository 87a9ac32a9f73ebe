//! An MLP's backward pass on matrix tiles with its steps taken together: what the gradient of 32 neurons needs lies near while it
//! is made, and goes on rounded. The bits are those of the steps one by one.

use super::kernel::LANES;
use super::linear::Linear;
use super::mlp::{linear_slopes, pre_slopes};
use super::packed::FEW;
use super::sheet::{Block, made, sheet};
use super::tiled::{Room, Side, joins};
use super::{Rules, tensor, with_slice};
use crate::Result;
use crate::spec::Activation;
use candle_core::Tensor;
use pellucid_kernels::columns::{Columns, Plain, pack_all, pieces, share};
use pellucid_kernels::patches::patch_rows;
use pellucid_kernels::tiles::{DEPTH, Patch, SIDE, products_below};
use rayon::prelude::*;
use std::ops::Range;
use std::sync::OnceLock;

/// An MLP and what its forward pass left.
pub(crate) struct MlpBack<'a> {
    /// Weights and values before the activation, and of a gated MLP's second projection.
    pub(crate) pre: (&'a Linear, &'a Tensor),
    pub(crate) linear: Option<(&'a Linear, &'a Tensor)>,
    pub(crate) down: &'a Linear,
    pub(crate) activation: Activation,
    pub(crate) rules: Rules,
    /// Whether the gradient at `mlp_act` is wanted.
    pub(crate) wants_act: bool,
}

/// Gradients with respect to an MLP's activations, where wanted, and to what it reads.
pub(crate) struct Gradients {
    pub(crate) act: Option<Tensor>,
    pub(crate) read: Tensor,
}

/// From the gradient of what an MLP writes, `(tokens, d_model)`; none where its layers are not multiplied on tiles.
pub(crate) fn mlp_back(g: &Tensor, mlp: &MlpBack<'_>) -> Result<Option<Gradients>> {
    let (rows, width) = g.dims2()?;
    let layers: Vec<&Linear> =
        [mlp.pre.0, mlp.down].into_iter().chain(mlp.linear.map(|(layer, _)| layer)).collect();
    if rows <= FEW || !joins(&layers) {
        return Ok(None);
    }
    let neurons = mlp.pre.0.weight.outer();
    let numbers = |f: &dyn Fn(Given<'_>) -> Made| {
        with_slice(g, |g| {
            with_slice(mlp.pre.1, |pre| match mlp.linear {
                None => Ok(f(Given { g, pre, linear: None })),
                Some((_, linear)) => with_slice(linear, |linear| f(Given { g, pre, linear: Some(linear) })),
            })
        })
    };
    let Made { act, read } = numbers(&|given| back(mlp, given, [rows, width, neurons]))???;
    let act = act.map(|act| tensor(act, (rows, neurons))).transpose()?;
    Ok(Some(Gradients { act, read: tensor(read, (rows, mlp.pre.0.weight.inner()))? }))
}

/// Numbers that the pass reads.
#[derive(Clone, Copy)]
struct Given<'a> {
    g: &'a [f32],
    pre: &'a [f32],
    linear: Option<&'a [f32]>,
}

struct Made {
    act: Option<Vec<f32>>,
    read: Vec<f32>,
}

fn back(mlp: &MlpBack<'_>, given: Given<'_>, [rows, width, neurons]: [usize; 3]) -> Made {
    let steps = [width, neurons].map(|n| n.div_ceil(2 * DEPTH));
    let blocks = rows.div_ceil(SIDE);
    let g = pack_all(&Plain { x: given.g, inner: width });
    let share = share(steps[1]);
    let slots: Vec<OnceLock<[Vec<Patch>; 2]>> =
        std::iter::repeat_with(OnceLock::new).take(neurons.div_ceil(share * LANES)).collect();
    let some = |columns: Range<usize>, act: Option<&mut Block<'_>>| {
        let slot = &slots[columns.start / (share * LANES)];
        let made = some_neurons(mlp, given, &g, [rows, steps[0], neurons], columns, act);
        slot.get_or_init(|| made);
    };
    let act = if mlp.wants_act {
        Some(sheet(rows, neurons, [rows, share * LANES], |block| some(block.columns.clone(), Some(block))))
    } else {
        let all: Vec<Range<usize>> = pieces(0..neurons, share * LANES).collect();
        all.into_par_iter().for_each(|columns| some(columns, None));
        None
    };
    let sides = [Some(mlp.pre.0), mlp.linear.map(|(layer, _)| layer)];
    let sides: Vec<(Vec<Patch>, Side<'_>)> = sides
        .into_iter()
        .flatten()
        .enumerate()
        .map(|(i, layer)| (in_rows(&slots, i, share, [blocks, steps[1]]), Side::Back(&layer.weight)))
        .collect();
    Made { act, read: summed(&sides, [rows, mlp.pre.0.weight.inner(), steps[1]]) }
}

/// Gradients before the activation of some neurons at all rows, in patches: 32 neurons after the other, of the first projection and
/// of the second. The gradient of their activations goes to `act`.
fn some_neurons(
    mlp: &MlpBack<'_>,
    given: Given<'_>,
    g: &[Patch],
    [rows, steps, neurons]: [usize; 3],
    columns: Range<usize>,
    mut act: Option<&mut Block<'_>>,
) -> [Vec<Patch>; 2] {
    let side = Side::Back(&mlp.down.weight);
    let mut room = side.room(steps);
    let [mut g_act, mut pre, mut linear, mut d_pre, mut d_linear] =
        std::array::from_fn(|_| vec![0f32; rows * LANES]);
    let blocks = rows.div_ceil(SIDE);
    let panels = columns.len().div_ceil(LANES);
    let mut made = [panels, if given.linear.is_some() { panels } else { 0 }]
        .map(|panels| vec![Patch::NONE; panels * blocks]);
    for (panel, columns) in pieces(columns, LANES).enumerate() {
        products_below(rows, g, side.lanes(columns.start / LANES, steps, &mut room), &mut g_act, LANES);
        if let Some(act) = act.as_deref_mut() {
            act.put_tile(0..rows, [columns.start, columns.len()], &g_act);
        }
        copy_columns(given.pre, neurons, columns.clone(), &mut pre);
        match given.linear {
            None => pre_slopes(&pre, None, &g_act, &mut d_pre, mlp.activation, mlp.rules),
            Some(all) => {
                copy_columns(all, neurons, columns, &mut linear);
                pre_slopes(&pre, Some(&linear), &g_act, &mut d_pre, mlp.activation, mlp.rules);
                linear_slopes(&pre, &g_act, &mut d_linear, mlp.activation, mlp.rules);
            }
        }
        for (made, tile) in made.iter_mut().zip([&d_pre, &d_linear]) {
            let here = made.chunks_exact_mut(blocks).nth(panel).into_iter().flatten();
            for (patch, tile) in here.zip(tile.chunks(SIDE * LANES)) {
                patch_rows(tile, LANES, LANES, std::slice::from_mut(patch));
            }
        }
    }
    made
}

/// Some columns of rows of `width` numbers, as rows of 32 with zeros where there are fewer.
fn copy_columns(from: &[f32], width: usize, columns: Range<usize>, to: &mut [f32]) {
    for (to, from) in to.as_chunks_mut::<LANES>().0.iter_mut().zip(from.chunks_exact(width)) {
        match from[columns.clone()].first_chunk() {
            Some(whole) => *to = *whole,
            None => {
                to[..columns.len()].copy_from_slice(&from[columns.clone()]);
                to[columns.len()..].fill(0.0);
            }
        }
    }
}

/// What tasks made of the first or second projection, as `(blocks of rows, steps)`.
fn in_rows(
    slots: &[OnceLock<[Vec<Patch>; 2]>],
    which: usize,
    share: usize,
    [blocks, steps]: [usize; 2],
) -> Vec<Patch> {
    made(blocks * steps, steps, |from, to| {
        let block = from / steps;
        for (to, slot) in to.chunks_mut(share).zip(slots) {
            let made = slot.get().map_or(&[][..], |made| made[which].as_slice());
            to.iter_mut().zip(made.chunks_exact(blocks)).for_each(|(to, panel)| *to = panel[block]);
        }
    })
}

/// The products of patches with weights, summed: `(rows, width)`.
fn summed(sides: &[(Vec<Patch>, Side<'_>)], [rows, width, steps]: [usize; 3]) -> Vec<f32> {
    sheet(rows, width, [rows, share(width.div_ceil(LANES)) * LANES], |block| {
        let mut rooms: Vec<Room> = sides.iter().map(|(_, side)| side.room(steps)).collect();
        let [mut sum, mut tile] = std::array::from_fn(|_| vec![0f32; rows * LANES]);
        for columns in pieces(block.columns.clone(), LANES) {
            for (i, ((patches, side), room)) in sides.iter().zip(&mut rooms).enumerate() {
                let lanes = side.lanes(columns.start / LANES, steps, room);
                let to = if i == 0 { &mut sum } else { &mut tile };
                products_below(rows, patches, lanes, to, LANES);
                if i > 0 {
                    super::simd::plus(&mut sum, &tile);
                }
            }
            block.put_tile(0..rows, [columns.start, columns.len()], &sum);
        }
    })
}
