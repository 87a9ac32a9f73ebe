//! Packed weights on matrix tiles (`Precision::Fast` where the processor has them): as they are forward, turned backward, and
//! several steps at once where nobody asks for the values between them.

use super::kernel::{LANES, Lane, Pairs};
use super::linear::Linear;
use super::norm::{Norm, norm_rows};
use super::packed::Packed;
use super::sheet::{Block, sheets};
use super::{Precision, simd, tensor, with_slice};
use crate::Result;
use crate::spec::Activation;
use candle_core::Tensor;
use pellucid_kernels::columns::{self, Columns, Plain, Rows};
use pellucid_kernels::pages::fetch_ahead;
use pellucid_kernels::patches;
use pellucid_kernels::tiles::{DEPTH, Patch, SIDE, products_below, tiles_are_here};
use std::ops::Range;

/// `x Wᵀ` for `(rows, inner)` numbers: `(rows, outer)`.
pub(super) fn multiply(w: &Packed, x: &[f32]) -> Vec<f32> {
    only(columns::multiply(&Plain { x, inner: w.inner() }, &[Side::Forward(w)]))
}

/// `g W` for `(rows, outer)` numbers: `(rows, inner)`.
pub(super) fn multiply_back(w: &Packed, g: &[f32]) -> Vec<f32> {
    only(columns::multiply(&Plain { x: g, inner: w.outer() }, &[Side::Back(w)]))
}

/// What was made with one matrix.
pub(super) fn only(made: Vec<Vec<f32>>) -> Vec<f32> {
    made.into_iter().next().unwrap_or_default()
}

/// Whether steps that need no values between them are taken together: layers that run on tiles and shift nothing.
pub(crate) fn joins(layers: &[&Linear]) -> bool {
    tiles_are_here()
        && layers.iter().all(|l| l.precision == Precision::Fast && l.bias.is_none() && !l.weight.is_blocks())
}

/// Layers of the same normed rows, `(tokens, in)`: what [`norm`](super::norm::norm) and `linear` make, to the bit.
pub(crate) fn normed_linears(x: &Tensor, norm: &Norm, layers: &[&Linear]) -> Result<Vec<Tensor>> {
    let tokens = x.dim(0)?;
    let sides: Vec<Side<'_>> = layers.iter().map(|l| Side::Forward(&l.weight)).collect();
    let made = with_slice(x, |x| columns::multiply(&Normed { x, norm }, &sides))?;
    made.into_iter().zip(layers).map(|(y, l)| tensor(y, (tokens, l.weight.outer()))).collect()
}

/// An MLP, and which of its values are wanted.
pub(crate) struct Mlp<'a> {
    pub(crate) norm: &'a Norm,
    pub(crate) pre: &'a Linear,
    pub(crate) linear: Option<&'a Linear>,
    pub(crate) down: &'a Linear,
    pub(crate) activation: Activation,
    /// What is made of it; one of them at least.
    pub(crate) wanted: Values<bool>,
    /// Where what it writes is wanted as the stream after it: the norm of what it adds to what it reads, if there is one.
    pub(crate) added: Option<Option<&'a Norm>>,
}

/// One of something for each value that an MLP has.
pub(crate) struct Values<T> {
    pub(crate) pre: T,
    pub(crate) linear: T,
    pub(crate) act: T,
    pub(crate) out: T,
}

/// Neurons whose values are written together: a row's few columns of one panel would each fetch lines of their own.
const KEPT: usize = 4 * LANES;

/// Room of a task that takes rows through an MLP.
struct MlpRoom {
    /// The rows, normed.
    read: Vec<Patch>,
    /// For norming.
    normed: Vec<f32>,
    /// Of 32 neurons.
    pre: Vec<f32>,
    linear: Vec<f32>,
    act: Vec<f32>,
    /// What is kept of [`KEPT`] neurons: before the activation, of the second projection, and after the activation.
    kept: [Vec<f32>; 3],
    /// Of all neurons.
    acts: Vec<Patch>,
    rooms: [Room; 3],
    sums: Vec<f32>,
}

/// An MLP's values of the stream `(tokens, d_model)`, as wanted: the bits of the steps one by one. Rows go through the layers
/// while what is made of them lies in a core's own cache; none if there are too few for that.
pub(crate) fn mlp(x: &Tensor, mlp: &Mlp<'_>) -> Result<Option<Values<Option<Tensor>>>> {
    let tokens = x.dim(0)?;
    let (inner, neurons) = (mlp.pre.weight.inner(), mlp.pre.weight.outer());
    let steps = [inner, neurons].map(|n| n.div_ceil(2 * DEPTH));
    let Some(group) = columns::group(tokens, steps[0] + steps[1]) else { return Ok(None) };
    let blocks = group / SIDE;
    let Values { pre, linear, act, out } = mlp.wanted;
    let wanted = [pre, linear, act, out];
    let all = [neurons, neurons, neurons, mlp.down.weight.outer()];
    let widths: Vec<usize> =
        all.into_iter().zip(wanted).filter(|(_, wanted)| *wanted).map(|(w, _)| w).collect();
    let room = || MlpRoom {
        read: vec![Patch::NONE; blocks * steps[0]],
        normed: Vec::new(),
        pre: vec![0.0; group * LANES],
        linear: vec![0.0; group * LANES],
        act: vec![0.0; group * LANES],
        kept: [pre, linear, act].map(|kept| vec![0.0; if kept { group * KEPT } else { 0 }]),
        acts: vec![Patch::NONE; if out { blocks * steps[1] } else { 0 }],
        rooms: [
            Side::Forward(&mlp.pre.weight).room(steps[0]),
            Side::Forward(&mlp.linear.unwrap_or(mlp.pre).weight).room(steps[0]),
            Side::Forward(&mlp.down.weight).room(steps[1]),
        ],
        sums: Vec::new(),
    };
    let made = with_slice(x, |x| {
        let x = Normed { x, norm: mlp.norm };
        sheets(tokens, &widths, group, room, |room, sheets| {
            let Some(rows) = sheets.first().map(|block| block.rows.clone()) else { return };
            mlp_group(mlp, &x, steps, room, rows, dealt(&mlp.wanted, sheets.iter_mut()));
        })
    })?;
    let made = made.into_iter().zip(widths).map(|(values, width)| tensor(values, (tokens, width)));
    let Values { pre, linear, act, out } = dealt(&mlp.wanted, made);
    let (pre, linear) = (pre.transpose()?, linear.transpose()?);
    Ok(Some(Values { pre, linear, act: act.transpose()?, out: out.transpose()? }))
}

/// The next of `all` for each value that is wanted.
fn dealt<T>(wanted: &Values<bool>, mut all: impl Iterator<Item = T>) -> Values<Option<T>> {
    let mut next = |wanted: bool| if wanted { all.next() } else { None };
    let (pre, linear) = (next(wanted.pre), next(wanted.linear));
    Values { pre, linear, act: next(wanted.act), out: next(wanted.out) }
}

/// One group of rows.
fn mlp_group(
    mlp: &Mlp<'_>,
    x: &Normed<'_>,
    steps: [usize; 2],
    room: &mut MlpRoom,
    rows: Range<usize>,
    to: Values<Option<&mut Block<'_>>>,
) {
    let Values { pre: mut pre_to, linear: mut linear_to, act: mut act_to, out: out_to } = to;
    columns::pack_group(x, rows.clone(), &mut room.normed, &mut room.read);
    for (panel, neurons) in columns::pieces(0..mlp.pre.weight.outer(), LANES).enumerate() {
        activate(mlp, panel, rows.len(), steps[0], room);
        let here = ..rows.len() * LANES;
        let act = &room.act[here];
        let at = neurons.start % KEPT;
        let full = at + neurons.len() == KEPT || neurons.end == mlp.pre.weight.outer();
        let made = [(&mut pre_to, &room.pre), (&mut linear_to, &room.linear), (&mut act_to, &room.act)];
        for ((to, tile), kept) in made.into_iter().zip(&mut room.kept) {
            let Some(to) = to else { continue };
            for (kept, tile) in kept.chunks_exact_mut(KEPT).zip(tile[here].as_chunks::<LANES>().0) {
                kept[at..at + LANES].copy_from_slice(tile);
            }
            if full {
                let first = neurons.start - at;
                let kept = &kept[..rows.len() * KEPT];
                to.put_past(rows.clone(), [first, neurons.end - first], kept, KEPT);
            }
        }
        // 32 neurons are a step of the layer after them
        for (tile, acts) in act.chunks(SIDE * LANES).zip(room.acts.chunks_exact_mut(steps[1])) {
            patches::patch_rows(tile, LANES, LANES, &mut acts[panel..=panel]);
        }
    }
    let Some(out) = out_to else { return };
    let acts = &room.acts[..rows.len().div_ceil(SIDE) * steps[1]];
    let down = Side::Forward(&mlp.down.weight);
    match mlp.added {
        None => columns::put(&down, steps[1], &mut room.rooms[2], acts, out),
        Some(norm) => {
            let width = mlp.norm.weight.len();
            let added = Added { base: &x.x[rows.start * width..rows.end * width], norm };
            added.put(down, steps[1], &mut room.rooms[2], acts, &mut room.sums, out);
        }
    }
}

/// `mlp_act` of so many rows at 32 neurons, into the room's `act`.
fn activate(mlp: &Mlp<'_>, panel: usize, rows: usize, steps: usize, room: &mut MlpRoom) {
    let MlpRoom { read, pre, linear, act, rooms: [for_pre, for_linear, _], .. } = room;
    let (pre, linear, act) =
        (&mut pre[..rows * LANES], &mut linear[..rows * LANES], &mut act[..rows * LANES]);
    let side = Side::Forward(&mlp.pre.weight);
    products_below(rows, read, side.lanes(panel, steps, for_pre), pre, LANES);
    simd::activation(pre, act, mlp.activation);
    if let Some(layer) = mlp.linear {
        let side = Side::Forward(&layer.weight);
        products_below(rows, read, side.lanes(panel, steps, for_linear), linear, LANES);
        simd::times(act, linear);
    }
}

/// Rows of the stream that a product is added to, by way of a norm where there is one.
pub(super) struct Added<'a> {
    pub(super) base: &'a [f32],
    pub(super) norm: Option<&'a Norm>,
}

impl Added<'_> {
    /// The sum for the rows of a block, all its columns; `patches` are what is multiplied.
    pub(super) fn put(
        &self,
        side: Side<'_>,
        steps: usize,
        room: &mut Room,
        patches: &[Patch],
        sums: &mut Vec<f32>,
        block: &mut Block<'_>,
    ) {
        let (rows, width) = (block.rows.clone(), block.columns.len());
        // rows are made near and then written one after the other: columns of many rows would each fetch lines of their own
        let stride = width.next_multiple_of(LANES);
        sums.resize(rows.len() * stride, 0.0);
        for (panel, columns) in columns::pieces(0..width, LANES).enumerate() {
            let lanes = side.lanes(panel, steps, room);
            products_below(rows.len(), patches, lanes, &mut sums[columns.start..], stride);
        }
        for ((row, sums), base) in rows.zip(sums.chunks_exact_mut(stride)).zip(self.base.chunks(width)) {
            let sums = &mut sums[..width];
            if let Some(norm) = self.norm {
                norm_rows(sums, norm);
            }
            simd::plus(sums, base);
            block.put(row, 0, sums);
        }
    }
}

/// Rows of the stream that are packed normed.
pub(super) struct Normed<'a> {
    pub(super) x: &'a [f32],
    pub(super) norm: &'a Norm,
}

impl Rows for Normed<'_> {
    fn shape(&self) -> [usize; 2] {
        let width = self.norm.weight.len();
        [self.x.len() / width, width]
    }

    fn pack(&self, rows: Range<usize>, room: &mut Vec<f32>, to: &mut [Patch]) {
        let width = self.norm.weight.len();
        room.clear();
        room.extend_from_slice(&self.x[rows.start * width..rows.end * width]);
        norm_rows(room, self.norm);
        patches::patch_rows(room, width, width, to);
    }
}

/// Weights as the right side of a product.
#[derive(Clone, Copy)]
pub(super) enum Side<'w> {
    /// Wᵀ: inputs inside, outputs across.
    Forward(&'w Packed),
    /// W: outputs inside, inputs across.
    Back(&'w Packed),
}

/// Room for 32 columns in the form that is multiplied, and for what it is made of.
pub(super) struct Room {
    wide: Vec<Lane<f32>>,
    pairs: Vec<Pairs>,
    turned: Vec<Pairs>,
}

impl Columns for Side<'_> {
    type Room = Room;

    fn shape(&self) -> [usize; 2] {
        match self {
            Side::Forward(w) => [w.inner(), w.outer()],
            Side::Back(w) => [w.outer(), w.inner()],
        }
    }

    fn room(&self, steps: usize) -> Room {
        // pairs lie ready in some weights; backward they are met a step at a time
        let (made, turned) = match self {
            Side::Forward(w) => (if w.has_pairs() { 0 } else { steps }, 0),
            Side::Back(w) => (if w.has_pairs() { 0 } else { 1 }, steps),
        };
        Room {
            wide: vec![Lane::ZERO; 2 * DEPTH * made],
            pairs: vec![Pairs::NONE; DEPTH * made],
            turned: vec![Pairs::NONE; DEPTH * turned],
        }
    }

    fn ready(&self) -> bool {
        matches!(self, Side::Forward(w) if w.has_pairs())
    }

    fn lanes<'a>(&'a self, panel: usize, steps: usize, room: &'a mut Room) -> &'a [Pairs] {
        let Room { wide, pairs, turned } = room;
        match self {
            Side::Forward(w) => w.steps(panel, 0..steps, wide, pairs),
            // a panel of 32 outputs is a step inside; its weights of 32 inputs, a step of its own, are turned
            Side::Back(w) => {
                for (outputs, turned) in turned.as_chunks_mut::<DEPTH>().0.iter_mut().enumerate() {
                    let step = w.steps(outputs, panel..panel + 1, wide, pairs);
                    // the next panel's lie behind these, and as far from each other
                    fetch_ahead(step, size_of_val(step));
                    step.as_chunks().0.iter().for_each(|step| patches::turn_pairs(step, turned));
                }
                turned
            }
        }
    }
}
