//! Packed weights on matrix tiles (`Precision::Fast` where the processor has them), and several steps at once where nobody asks for
//! the values between them.

use super::attention_text::shared_out;
use super::kernel::{LANES, Lane, Pairs};
use super::linear::Linear;
use super::mlp::Kept;
use super::norm::{Norm, norm_rows};
use super::packed::Packed;
use super::sheet::{Block, Layout, sheets_of};
use super::{Precision, simd, tensor, with_slice};
use crate::Result;
use crate::spec::Activation;
use crate::tap::Watch;
use candle_core::Tensor;
use pellucid_kernels::columns::{self, Columns, Plain, Rows};
use pellucid_kernels::patches;
use pellucid_kernels::tiles::{DEPTH, Patch, SIDE, products_below, tiles_are_here};
use std::ops::Range;

/// `x Wᵀ` for `(rows, inner)` numbers: `(rows, outer)`.
pub(super) fn multiply(w: &Packed, x: &[f32]) -> Vec<f32> {
    only(columns::multiply(&Plain { x, inner: w.inner() }, &[Side(w)]))
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
    let sides: Vec<Side<'_>> = layers.iter().map(|l| Side(&l.weight)).collect();
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
    /// Who looks at its activations while they are made, and how many tokens each text has that goes through the layers as a whole then;
    /// in that case [`Values::act`] is not wanted.
    pub(crate) watched: Option<(&'a dyn Watch, &'a [usize])>,
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

/// What was made of an MLP's values.
pub(crate) struct Made {
    pub(crate) pre: Option<Kept>,
    pub(crate) linear: Option<Kept>,
    pub(crate) act: Option<Tensor>,
    pub(crate) out: Option<Tensor>,
}

/// Neurons whose activations are written together: a row's few columns of one panel would each fetch lines of their own.
pub(super) const KEPT: usize = 4 * LANES;

/// Room of a task that takes rows through an MLP.
struct MlpRoom {
    /// The rows, normed.
    read: Vec<Patch>,
    /// For norming.
    normed: Vec<f32>,
    /// Of 32 neurons.
    pre: Vec<f32>,
    linear: Vec<f32>,
    /// Of as many, or of [`KEPT`] where activations are wanted.
    act: Vec<f32>,
    /// Of all neurons.
    acts: Vec<Patch>,
    rooms: [Room; 3],
    sums: Vec<f32>,
}

/// An MLP's values of the stream `(tokens, d_model)`, as wanted: the bits of the steps one by one. Rows go through the layers
/// while what is made of them lies in a core's own cache; none if there are too few for that.
pub(crate) fn mlp(x: &Tensor, mlp: &Mlp<'_>) -> Result<Option<Made>> {
    let tokens = x.dim(0)?;
    let (inner, neurons) = (mlp.pre.weight.inner(), mlp.pre.weight.outer());
    let steps = [inner, neurons].map(|n| n.div_ceil(2 * DEPTH));
    let parts = match mlp.watched {
        Some((_, texts)) => together(texts),
        None => {
            let Some(group) = columns::group(tokens, steps[0] + steps[1]) else { return Ok(None) };
            columns::pieces(0..tokens, group).map(|part| part.len()).collect()
        }
    };
    let group = parts.iter().max().map_or(0, |part| part.next_multiple_of(SIDE));
    let blocks = group / SIDE;
    let Values { pre, linear, act, out } = mlp.wanted;
    let wanted = [pre, linear, act, out];
    let all = [neurons, neurons, neurons, mlp.down.weight.outer()];
    // what only a backward pass reads lies as it is made
    let layouts = [Layout::Panels, Layout::Panels, Layout::Rows, Layout::Rows];
    let layouts: Vec<Layout> = (all.into_iter().zip(layouts).zip(wanted))
        .filter(|(_, wanted)| *wanted)
        .map(|((width, layout), _)| layout(width))
        .collect();
    let room = || MlpRoom {
        read: vec![Patch::NONE; blocks * steps[0]],
        normed: Vec::new(),
        pre: vec![0.0; group * LANES],
        linear: vec![0.0; group * LANES],
        act: vec![0.0; group * if act { KEPT } else { LANES }],
        acts: vec![Patch::NONE; if out { blocks * steps[1] } else { 0 }],
        rooms: [
            Side(&mlp.pre.weight).room(steps[0]),
            Side(&mlp.linear.unwrap_or(mlp.pre).weight).room(steps[0]),
            Side(&mlp.down.weight).room(steps[1]),
        ],
        sums: Vec::new(),
    };
    let made = with_slice(x, |x| {
        let x = Normed { x, norm: mlp.norm };
        sheets_of(&parts, &layouts, room, |room, sheets| {
            let Some(rows) = sheets.first().map(|block| block.rows.clone()) else { return };
            mlp_group(mlp, &x, steps, room, rows, dealt(&mlp.wanted, sheets.iter_mut()));
        })
    })?;
    let Values { pre, linear, act, out } = dealt(&mlp.wanted, made.into_iter());
    let kept =
        |values: Option<Vec<f32>>| values.map(|values| Kept::in_panels(values, tokens, neurons)).transpose();
    let rows = |values: Option<Vec<f32>>, width| values.map(|v| tensor(v, (tokens, width))).transpose();
    let (act, out) = (rows(act, neurons)?, rows(out, mlp.down.weight.outer())?);
    Ok(Some(Made { pre: kept(pre)?, linear: kept(linear)?, act, out }))
}

/// Most tokens of a text that goes through an MLP as a whole.
const WHOLE: usize = 16 * SIDE;

/// Whether an MLP's activations of texts of so many tokens can be watched while they are made.
pub(crate) fn watchable(texts: &[usize]) -> bool {
    shared_out(texts) && texts.iter().all(|&tokens| tokens <= WHOLE)
}

/// Tokens that go through an MLP together: of whole texts, of short ones several, so that every thread has some.
fn together(texts: &[usize]) -> Vec<usize> {
    let share = texts.iter().sum::<usize>() / (2 * rayon::current_num_threads());
    let most = texts.iter().copied().max().unwrap_or(0).max(share.min(WHOLE / 2));
    let mut parts: Vec<usize> = Vec::new();
    for &tokens in texts {
        match parts.last_mut().filter(|last| **last + tokens <= most) {
            Some(last) => *last += tokens,
            None => parts.push(tokens),
        }
    }
    parts
}

/// Shows activations of so many of all rows at 32 neighbouring neurons, `(rows, 32)`, to who looks at each text.
fn show(watch: &dyn Watch, texts: &[usize], rows: Range<usize>, first: usize, act: &[f32]) {
    let mut begin = 0;
    for (text, tokens) in texts.iter().enumerate() {
        if rows.contains(&begin) && *tokens > 0 {
            let from = begin - rows.start;
            watch.see(text, first, &act[from * LANES..(from + tokens) * LANES]);
        }
        begin += tokens;
    }
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
        for (to, tile) in [(&mut pre_to, &room.pre), (&mut linear_to, &room.linear)] {
            if let Some(to) = to {
                to.put_past(rows.clone(), [panel * LANES, LANES], &tile[here], LANES);
            }
        }
        let [at, stride] = mlp.place(panel);
        let act = &room.act[..rows.len() * stride];
        if let Some(to) = &mut act_to
            && (at + neurons.len() == KEPT || neurons.end == mlp.pre.weight.outer())
        {
            let first = neurons.start - at;
            to.put_past(rows.clone(), [first, neurons.end - first], act, KEPT);
        }
        if let Some((watch, texts)) = mlp.watched {
            show(watch, texts, rows.clone(), neurons.start, act);
        }
        // 32 neurons are a step of the layer after them
        for (tile, acts) in act[at..].chunks(SIDE * stride).zip(room.acts.chunks_exact_mut(steps[1])) {
            patches::patch_rows(tile, stride, LANES, &mut acts[panel..=panel]);
        }
    }
    let Some(out) = out_to else { return };
    let acts = &room.acts[..rows.len().div_ceil(SIDE) * steps[1]];
    let down = Side(&mlp.down.weight);
    match mlp.added {
        None => columns::put(&down, steps[1], &mut room.rooms[2], acts, out),
        Some(norm) => {
            let width = mlp.norm.weight.len();
            let added = Added { base: &x.x[rows.start * width..rows.end * width], norm };
            added.put(down, steps[1], &mut room.rooms[2], acts, &mut room.sums, out);
        }
    }
}

impl Mlp<'_> {
    /// Where a row's activations of 32 neurons begin in a task's room, and how far the next row's lie from them.
    fn place(&self, panel: usize) -> [usize; 2] {
        if self.wanted.act { [panel * LANES % KEPT, KEPT] } else { [0, LANES] }
    }
}

/// `mlp_act` of so many rows at 32 neurons, into the room's `act`.
fn activate(mlp: &Mlp<'_>, panel: usize, rows: usize, steps: usize, room: &mut MlpRoom) {
    let MlpRoom { read, pre, linear, act, rooms: [for_pre, for_linear, _], .. } = room;
    let (pre, linear) = (&mut pre[..rows * LANES], &mut linear[..rows * LANES]);
    let side = Side(&mlp.pre.weight);
    products_below(rows, read, side.lanes(panel, steps, for_pre), pre, LANES);
    let linear = mlp.linear.map(|layer| {
        let side = Side(&layer.weight);
        products_below(rows, read, side.lanes(panel, steps, for_linear), linear, LANES);
        &*linear
    });
    let [at, stride] = mlp.place(panel);
    simd::gated(pre, linear, &mut act[at..], stride, mlp.activation);
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

/// Weights as the right side of a product: Wᵀ, inputs inside and outputs across.
#[derive(Clone, Copy)]
pub(super) struct Side<'w>(pub(super) &'w Packed);

/// Room for 32 columns in the form that is multiplied, and for what it is made of.
pub(super) struct Room {
    wide: Vec<Lane<f32>>,
    pairs: Vec<Pairs>,
}

impl Columns for Side<'_> {
    type Room = Room;

    fn shape(&self) -> [usize; 2] {
        [self.0.inner(), self.0.outer()]
    }

    fn room(&self, steps: usize) -> Room {
        // pairs lie ready in some weights
        let made = if self.ready() { 0 } else { steps };
        Room { wide: vec![Lane::ZERO; 2 * DEPTH * made], pairs: vec![Pairs::NONE; DEPTH * made] }
    }

    fn ready(&self) -> bool {
        self.0.has_pairs()
    }

    fn lanes<'a>(&'a self, panel: usize, steps: usize, room: &'a mut Room) -> &'a [Pairs] {
        self.0.steps(panel, 0..steps, &mut room.wide, &mut room.pairs)
    }
}
