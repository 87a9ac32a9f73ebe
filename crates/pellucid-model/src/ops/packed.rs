//! Weights of linear layers, packed once at load for the register tiles: 32 outputs beside each other, one lane for each
//! input. One order serves all three uses. Forward, a lane is multiplied by one input of each row; backward, the numbers of
//! a lane multiply gradients of 32 rows; and a single row's product reads the weights once, from front to back.

use super::Precision;
use super::blocks::{BlockType, Blocks, Row};
use super::kernel::{LANES, Lane, Pairs, ROWS, Tile, across, along, along_pairs, split};
use super::pages::Pages;
use super::sheet::{Block, made, sheet};
use super::{simd, tensor, tiled, tiled_back, with_slice};
use crate::Result;
use candle_core::{CpuStorage, DType, Storage, Tensor};
use half::f16;
use half::slice::HalfFloatSliceExt;
use pellucid_kernels::codes::{lanes_back, pair_row, pairs_back};
use pellucid_kernels::columns::{pieces, share};
use pellucid_kernels::tiles::{DEPTH, tiles_are_here, whole_steps};
use rayon::prelude::*;
use std::ops::Range;

/// A matrix `(outer, inner)` in panels of 32 outputs: `(panels, inner, 32)`, the last panel filled up with zeros.
#[derive(Debug)]
pub(crate) struct Packed {
    outer: usize,
    inner: usize,
    panels: Panels,
}

#[derive(Debug)]
enum Panels {
    F32(Pages<Lane<f32>>),
    /// `(panels, pairs, 32)`, each panel filled up with zeros to whole steps of matrix tiles.
    Bf16(Pages<Pairs>),
    F16(Pages<Lane<f16>>),
    Blocks(Blocks),
}

/// Inputs whose lanes are widened at a time: they stay in the nearest cache.
const WIDENED: usize = 128;

/// So few rows of gradients are multiplied exactly in any precision.
const FEW: usize = 4;

/// Whether gradients of so many rows are multiplied on matrix tiles.
pub(super) fn on_tiles_back(rows: usize) -> bool {
    rows > FEW && tiles_are_here()
}

/// Row blocks that share a panel while it is near.
const GROUP: usize = 16;

impl Packed {
    /// Packs `(outer, inner)` weights, kept as what they are stored as.
    pub(crate) fn new(weight: &Tensor) -> Result<Self> {
        let (outer, inner) = weight.dims2()?;
        let mut packed = Packed::empty(outer, inner, weight.dtype())?;
        packed.fill(0, weight)?;
        Ok(packed)
    }

    /// Zeros, for [`Packed::fill`].
    pub(crate) fn empty(outer: usize, inner: usize, kept: DType) -> Result<Self> {
        let lanes = outer.div_ceil(LANES) * inner;
        let panels = match kept {
            DType::F32 => Panels::F32(Pages::zeroed(lanes)),
            DType::BF16 => Panels::Bf16(Pages::zeroed(outer.div_ceil(LANES) * whole_steps(inner))),
            DType::F16 => Panels::F16(Pages::zeroed(lanes)),
            _ => return Err(candle_core::Error::msg("expected f32, bf16 or f16 weights").into()),
        };
        Ok(Packed { outer, inner, panels })
    }

    /// Packs some rows, `(rows, inner)`, of which the first is a panel's first.
    pub(crate) fn fill(&mut self, first: usize, rows: &Tensor) -> Result<()> {
        let (count, inner) = rows.dims2()?;
        check(inner, self.inner)?;
        if !first.is_multiple_of(LANES) || first + count > self.outer {
            return Err(
                candle_core::Error::msg(format!("{count} rows from {first} on: not whole panels")).into()
            );
        }
        let rows = rows.contiguous()?;
        let (storage, layout) = rows.storage_and_layout();
        let here = layout.start_offset()..layout.start_offset() + count * inner;
        let (panel, pairs) = (first / LANES, self.pairs());
        match (&*storage, &mut self.panels) {
            (Storage::Cpu(CpuStorage::F32(w)), Panels::F32(to)) => {
                pack(&w[here], inner, &mut to[panel * inner..])
            }
            (Storage::Cpu(CpuStorage::F16(w)), Panels::F16(to)) => {
                pack(&w[here], inner, &mut to[panel * inner..])
            }
            (Storage::Cpu(CpuStorage::BF16(w)), Panels::Bf16(to)) => {
                pack_pairs(&w[here], inner, &mut to[panel * pairs..]);
            }
            _ => return Err(candle_core::Error::msg("expected weights of the kept type on the CPU").into()),
        }
        Ok(())
    }

    /// Packs block-quantised weights, `order.len()` outputs of `inner` inputs, as they are in a file; none if the bytes do
    /// not hold them.
    /// `read` is called now and then, when what has been read of them is no longer needed.
    pub(crate) fn from_blocks(
        kind: BlockType,
        bytes: &[u8],
        inner: usize,
        order: &[u32],
        read: &dyn Fn(),
    ) -> Option<Self> {
        let blocks = Blocks::pack(kind, bytes, inner, order, read)?;
        Some(Packed { outer: order.len(), inner, panels: Panels::Blocks(blocks) })
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        match &self.panels {
            Panels::F32(p) => p.bytes(),
            Panels::Bf16(p) => p.bytes(),
            Panels::F16(p) => p.bytes(),
            Panels::Blocks(p) => p.bytes(),
        }
    }

    /// Outputs.
    pub(crate) fn outer(&self) -> usize {
        self.outer
    }

    /// Inputs.
    pub(crate) fn inner(&self) -> usize {
        self.inner
    }

    /// Some of the outputs' rows, `(ids, inner)`.
    pub(crate) fn rows(&self, ids: &[u32]) -> Vec<f32> {
        let width = self.inner.max(1);
        made(ids.len() * self.inner, width, |from, row| {
            let id = ids[from / width] as usize;
            let (panel, lane) = (id / LANES, id % LANES);
            let from = panel * self.inner;
            for (at, value) in row.iter_mut().enumerate() {
                *value = match &self.panels {
                    Panels::F32(p) => p[from + at].0[lane],
                    Panels::Bf16(p) => split(p[panel * self.pairs() + at / 2].0[lane])[at % 2],
                    Panels::F16(p) => p[from + at].0[lane].to_f32(),
                    Panels::Blocks(p) => p.weight(panel, at, lane),
                };
            }
        })
    }

    /// The matrix the other way round, `(inner, outer)`.
    pub(crate) fn transposed(&self) -> Vec<f32> {
        let width = self.outer.max(1);
        made(self.inner * self.outer, width, |from, row| {
            let at = from / width;
            for (panel, part) in row.chunks_mut(LANES).enumerate() {
                let mut wide = [Lane::ZERO];
                let lanes = self.lanes(panel, at..at + 1, &mut wide);
                part.copy_from_slice(&lanes[0].0[..part.len()]);
            }
        })
    }

    /// Lanes of pairs of inputs in a panel.
    fn pairs(&self) -> usize {
        whole_steps(self.inner)
    }

    /// Lanes of a panel as f32: the weights themselves, or widened into `room`.
    fn lanes<'a>(&'a self, panel: usize, at: Range<usize>, room: &'a mut [Lane<f32>]) -> &'a [Lane<f32>] {
        let here = || panel * self.inner + at.start..panel * self.inner + at.end;
        match &self.panels {
            Panels::F32(all) => &all[here()],
            Panels::Bf16(all) if at.start.is_multiple_of(2) => {
                let from = panel * self.pairs();
                let room = &mut room[..at.len()];
                simd::widen_pairs(&all[from + at.start / 2..from + at.end.div_ceil(2)], room);
                room
            }
            // a stretch that begins in the middle of a pair: only single inputs are asked for so
            Panels::Bf16(all) => {
                let room = &mut room[..at.len()];
                for (to, at) in room.iter_mut().zip(at) {
                    to.0 = all[panel * self.pairs() + at / 2].0.map(|pair| split(pair)[at % 2]);
                }
                room
            }
            Panels::F16(all) => widened(&all[here()], room, |from, to| {
                bytemuck::cast_slice::<_, f16>(from).convert_to_f32_slice(bytemuck::cast_slice_mut(to));
            }),
            Panels::Blocks(all) => all.lanes(panel, at, room),
        }
    }

    /// How many inputs to take at a time, and room for as many lanes where they must be widened.
    fn chunk(&self) -> (usize, Vec<Lane<f32>>) {
        match self.panels {
            Panels::F32(_) => (self.inner.max(1), Vec::new()),
            _ => (WIDENED, vec![Lane::ZERO; WIDENED]),
        }
    }

    /// `x Wᵀ` for `(rows, inner)` numbers: `(rows, outer)`.
    pub(crate) fn multiply(&self, x: &[f32]) -> Vec<f32> {
        let packed = pack_rows(x, x.len() / self.inner.max(1), self.inner);
        self.by_blocks(x, |block| {
            let (chunk, mut room) = self.chunk();
            self.sum_block(block, chunk, |panel, at, group, sums| {
                let lanes = self.lanes(panel, at.clone(), &mut room);
                for (rows, sums) in group.iter().zip(sums) {
                    let from = rows.start / ROWS * self.inner;
                    along(rows.len(), &packed[from + at.start..from + at.end], lanes, sums);
                }
            });
        })
    }

    /// 32 outputs of one row, without widening the weights first; `row` is that of the blocks, where it is blocks.
    fn panel_of_row(&self, panel: usize, x: &[f32], row: Option<&Row<'_>>) -> Lane<f32> {
        let mut sums = Lane::ZERO;
        match (&self.panels, row) {
            (Panels::Bf16(all), _) => pair_row(x, &all[panel * self.pairs()..], &mut sums),
            (Panels::Blocks(blocks), Some(row)) => blocks.panel_of_row(panel, row, &mut sums),
            _ => {}
        }
        sums
    }

    /// Whether one row is multiplied by the weights as they are kept: with pairs of bf16 that has the bits of many rows, with
    /// blocks it has not, but is more exact than rounding to bf16.
    pub(super) fn takes_a_row(&self, precision: Precision) -> bool {
        match self.panels {
            Panels::Bf16(_) => !precision.rounds(),
            Panels::Blocks(_) => precision == Precision::Fast,
            Panels::F32(_) | Panels::F16(_) => false,
        }
    }

    /// Part of the product: what inputs `inputs` alone, the columns of `x`, add to outputs `outputs`: `(rows, outputs)`.
    pub(crate) fn multiply_part(&self, x: &[f32], outputs: Range<usize>, inputs: Range<usize>) -> Vec<f32> {
        let width = inputs.len();
        let rows = x.len() / width.max(1);
        let packed = pack_rows(x, rows, width);
        // panels are whole: outputs before the first that is asked for are made and dropped
        let from = outputs.start / LANES * LANES;
        let step = [GROUP * ROWS, self.share(rows.div_ceil(GROUP * ROWS))];
        let made = sheet(rows, outputs.end - from, step, |block| {
            let (chunk, mut room) = self.chunk();
            self.sum_part(block, from / LANES, inputs.clone(), chunk, |panel, at, group, sums| {
                let lanes = self.lanes(panel, at.clone(), &mut room);
                for (rows, sums) in group.iter().zip(sums) {
                    let first = rows.start / ROWS * width;
                    let here = first + at.start - inputs.start..first + at.end - inputs.start;
                    along(rows.len(), &packed[here], lanes, sums);
                }
            });
        });
        if from == outputs.start {
            return made;
        }
        let (whole, skip) = (outputs.end - from, outputs.start - from);
        made.chunks_exact(whole.max(1)).flat_map(|row| &row[skip..]).copied().collect()
    }

    /// [`Packed::multiply`] with both operands rounded to bf16 and sums in f32 (`Precision::Fast`).
    pub(crate) fn multiply_fast(&self, x: &[f32]) -> Vec<f32> {
        if tiles_are_here() {
            return tiled::multiply(self, x);
        }
        let packed = pair_rows(x, x.len() / self.inner.max(1), self.inner);
        let kept = matches!(self.panels, Panels::Bf16(_));
        let chunk = if kept { self.inner.max(1) } else { WIDENED };
        self.by_blocks(x, |block| {
            let (mut wide, mut room) = (vec![Lane::ZERO; WIDENED], vec![Pairs::NONE; WIDENED / 2]);
            self.sum_block(block, chunk, |panel, at, group, sums| {
                let pairs = at.start / 2..at.end.div_ceil(2);
                let lanes = self.narrow(panel, at, &mut wide, &mut room);
                for (rows, sums) in group.iter().zip(sums) {
                    let from = rows.start / ROWS * self.inner.div_ceil(2);
                    along_pairs(rows.len(), &packed[from + pairs.start..from + pairs.end], lanes, sums);
                }
            });
        })
    }

    /// A product of the rows of `x`, block by block.
    fn by_blocks(&self, x: &[f32], make: impl Fn(&mut Block<'_>) + Sync) -> Vec<f32> {
        let rows = x.len() / self.inner.max(1);
        let step = [GROUP * ROWS, self.share(rows.div_ceil(GROUP * ROWS))];
        sheet(rows, self.outer, step, make)
    }

    /// Outputs for each task.
    fn share(&self, groups: usize) -> usize {
        share(self.outer.div_ceil(LANES) * groups) * LANES
    }

    /// Sums a block panel by panel. `add` takes a panel, a stretch of at most `chunk` inputs, row blocks and their sums.
    fn sum_block(
        &self,
        block: &mut Block<'_>,
        chunk: usize,
        add: impl FnMut(usize, Range<usize>, &[Range<usize>], &mut [Tile]),
    ) {
        self.sum_part(block, 0, 0..self.inner, chunk, add);
    }

    /// As [`Packed::sum_block`], for a block whose first column is of panel `first`, over some inputs alone.
    fn sum_part(
        &self,
        block: &mut Block<'_>,
        first: usize,
        inputs: Range<usize>,
        chunk: usize,
        mut add: impl FnMut(usize, Range<usize>, &[Range<usize>], &mut [Tile]),
    ) {
        let group: Vec<Range<usize>> = pieces(block.rows.clone(), ROWS).collect();
        let mut sums = vec![[Lane::ZERO; ROWS]; group.len()];
        for columns in pieces(block.columns.clone(), LANES) {
            sums.fill([Lane::ZERO; ROWS]);
            for at in pieces(inputs.clone(), chunk) {
                add(first + columns.start / LANES, at, &group, &mut sums);
            }
            for (rows, sums) in group.iter().zip(&sums) {
                for (row, sums) in rows.clone().zip(sums) {
                    block.put(row, columns.start, &sums.0[..columns.len()]);
                }
            }
        }
    }

    /// Whether the weights are block-quantised ones as they are in a file.
    pub(super) fn is_blocks(&self) -> bool {
        matches!(self.panels, Panels::Blocks(_))
    }

    /// Whether steps lie in memory as they are multiplied.
    pub(super) fn has_pairs(&self) -> bool {
        matches!(self.panels, Panels::Bf16(_))
    }

    /// Some steps of a panel for matrix tiles, sixteen lanes of pairs each, as [`Packed::narrow`] makes them.
    pub(super) fn steps<'a>(
        &'a self,
        panel: usize,
        at: Range<usize>,
        wide: &mut [Lane<f32>],
        room: &'a mut [Pairs],
    ) -> &'a [Pairs] {
        if let Panels::Bf16(all) = &self.panels {
            let from = panel * self.pairs();
            return &all[from + DEPTH * at.start..from + DEPTH * at.end];
        }
        let room = &mut room[..DEPTH * at.len()];
        let inputs = 2 * DEPTH * at.start..(2 * DEPTH * at.end).min(self.inner);
        room[inputs.len().div_ceil(2)..].fill(Pairs::NONE);
        self.narrow(panel, inputs, wide, room);
        room
    }

    /// Lanes of a panel as pairs of bf16, from an even input on: the weights themselves, or rounded into `room` by way
    /// of `wide`, which takes a lane for each input.
    fn narrow<'a>(
        &'a self,
        panel: usize,
        at: Range<usize>,
        wide: &mut [Lane<f32>],
        room: &'a mut [Pairs],
    ) -> &'a [Pairs] {
        if let Panels::Bf16(all) = &self.panels {
            let from = panel * self.pairs();
            return &all[from + at.start / 2..from + at.end.div_ceil(2)];
        }
        let room = &mut room[..at.len().div_ceil(2)];
        simd::narrow_pairs(self.lanes(panel, at, wide), room);
        room
    }

    /// `g W` for `(rows, outer)` numbers: `(rows, inner)`.
    pub(crate) fn multiply_back(&self, g: &[f32]) -> Vec<f32> {
        self.multiply_back_part(g, 0..self.outer)
    }

    /// [`Packed::multiply_back`] with both operands rounded to bf16 and sums in f32, where there are matrix tiles and as many
    /// rows as pay for turning the weights; elsewhere it is the exact product.
    pub(crate) fn multiply_back_fast(&self, g: &[f32]) -> Vec<f32> {
        if on_tiles_back(g.len() / self.outer.max(1)) {
            tiled_back::multiply_back(&[(self, g)])
        } else {
            self.multiply_back(g)
        }
    }

    /// `g W` with gradients of some outputs alone, `(rows, outputs)`: `(rows, inner)`.
    pub(crate) fn multiply_back_part(&self, g: &[f32], outputs: Range<usize>) -> Vec<f32> {
        let rows = g.len() / outputs.len().max(1);
        let panels = outputs.start / LANES..outputs.end.div_ceil(LANES);
        if rows == 1 {
            return self.row_back(g, outputs.start % LANES, panels);
        }
        let packed = pack_columns(g, rows, outputs);
        // all rows in one block: a stretch of the weights is widened once for all of them
        let tasks = 4 * rayon::current_num_threads();
        let share = self.inner.div_ceil(ROWS).div_ceil(tasks).max(1) * ROWS;
        sheet(rows, self.inner, [rows, share], |block| self.back_block(&packed, panels.clone(), block))
    }

    /// The same for one row, whose first gradient is that of output `before` of the first panel: lanes are summed as they lie, and
    /// folded at the end. Panels without a gradient are not read.
    fn row_back(&self, g: &[f32], before: usize, panels: Range<usize>) -> Vec<f32> {
        let mut lanes = vec![Lane::ZERO; panels.len()];
        bytemuck::cast_slice_mut::<_, f32>(&mut lanes)[before..before + g.len()].copy_from_slice(g);
        made(self.inner, WIDENED / 2, |from, out| {
            let (mut sums, mut room) = (vec![Lane::ZERO; out.len()], vec![Lane::ZERO; out.len()]);
            for (panel, g) in panels.clone().zip(&lanes).filter(|(_, g)| g.0 != Lane::ZERO.0) {
                match &self.panels {
                    Panels::Bf16(all) => pairs_back(&all[panel * self.pairs() + from / 2..], g, &mut sums),
                    _ => lanes_back(self.lanes(panel, from..from + out.len(), &mut room), g, &mut sums),
                }
            }
            out.iter_mut().zip(&sums).for_each(|(out, sums)| *out = simd::sum(&sums.0));
        })
    }

    fn back_block(&self, g: &[Lane<f32>], panels: Range<usize>, block: &mut Block<'_>) {
        let mut room = [Lane::ZERO; ROWS];
        let group: Vec<Range<usize>> = pieces(block.rows.clone(), LANES).collect();
        for at in pieces(block.columns.clone(), ROWS) {
            let mut sums = vec![[Lane::ZERO; ROWS]; group.len()];
            for panel in panels.clone() {
                let lanes = self.lanes(panel, at.clone(), &mut room);
                for (i, sums) in sums.iter_mut().enumerate() {
                    let from = (i * panels.len() + panel - panels.start) * LANES;
                    let Ok(g) = g[from..from + LANES].try_into() else { continue };
                    across(lanes, g, sums);
                }
            }
            for (rows, sums) in group.iter().zip(&sums) {
                put_turned(block, rows.clone(), at.clone(), sums);
            }
        }
    }
}

/// The products of one row with matrices that are kept in few bits ([`Packed::takes_a_row`]), shared out together. The bits
/// are those of each alone.
pub(super) fn row_of(all: &[&Packed], x: &[f32]) -> Vec<Vec<f32>> {
    let row = |w: &&Packed| if let Panels::Blocks(blocks) = &w.panels { Some(blocks.row(x)) } else { None };
    let rows: Vec<Option<Row<'_>>> = all.iter().map(row).collect();
    let panels = |w: &Packed| w.outer.div_ceil(LANES);
    let places: Vec<(usize, usize)> =
        all.iter().enumerate().flat_map(|(i, w)| (0..panels(w)).map(move |panel| (i, panel))).collect();
    let share = places.len().div_ceil(4 * rayon::current_num_threads());
    let made = made(places.len() * LANES, share * LANES, |from, out| {
        for (out, &(i, panel)) in out.chunks_exact_mut(LANES).zip(&places[from / LANES..]) {
            out.copy_from_slice(&all[i].panel_of_row(panel, x, rows[i].as_ref()).0);
        }
    });
    if let [only] = all {
        let mut made = made;
        made.truncate(only.outer);
        return vec![made];
    }
    let mut rest = made.as_slice();
    let one = |w: &&Packed| {
        let (mine, others) = rest.split_at(panels(w) * LANES);
        rest = others;
        mine[..w.outer].to_vec()
    };
    all.iter().map(one).collect()
}

/// A tile whose lanes are rows of the sheet.
fn put_turned(block: &mut Block<'_>, rows: Range<usize>, columns: Range<usize>, sums: &Tile) {
    for (lane, row) in rows.enumerate() {
        let turned: [f32; ROWS] = std::array::from_fn(|r| sums[r].0[lane]);
        block.put(row, columns.start, &turned[..columns.len()]);
    }
}

fn widened<'a, T>(
    lanes: &[Lane<T>],
    room: &'a mut [Lane<f32>],
    widen: impl Fn(&[Lane<T>], &mut [Lane<f32>]),
) -> &'a [Lane<f32>] {
    let room = &mut room[..lanes.len()];
    widen(lanes, room);
    room
}

fn pack<T: Copy + Send + Sync>(w: &[T], inner: usize, to: &mut [Lane<T>]) {
    to.par_chunks_mut(inner.max(1)).zip(w.par_chunks((LANES * inner).max(1))).for_each(|(panel, w)| {
        for (l, row) in w.chunks_exact(inner).enumerate() {
            panel.iter_mut().zip(row).for_each(|(lane, w)| lane.0[l] = *w);
        }
    });
}

fn pack_pairs(w: &[half::bf16], inner: usize, to: &mut [Pairs]) {
    let panels = to.par_chunks_mut(whole_steps(inner).max(1));
    panels.zip(w.par_chunks((LANES * inner).max(1))).for_each(|(panel, w)| {
        for (l, row) in w.chunks_exact(inner).enumerate() {
            for (lane, w) in panel.iter_mut().zip(row.chunks(2)) {
                let second = w.get(1).map_or(0, |w| u32::from(w.to_bits()) << 16);
                lane.0[l] = u32::from(w[0].to_bits()) | second;
            }
        }
    });
}

/// Tasks that lay out blocks of rows take so many at a time.
const BLOCKS: usize = 4;

/// Rows in blocks of twelve, rounded to bf16, two numbers of each row beside the other rows': `(blocks, ⌈inner / 2⌉, 12)`.
fn pair_rows(x: &[f32], rows: usize, inner: usize) -> Vec<[u32; ROWS]> {
    let pairs = inner.div_ceil(2).max(1);
    made(rows.div_ceil(ROWS) * pairs, BLOCKS * pairs, |from, packed| {
        let blocks = x[from / pairs * ROWS * inner..].chunks((ROWS * inner).max(1));
        for (packed, x) in packed.chunks_exact_mut(pairs).zip(blocks) {
            let rows: Vec<&[f32]> = x.chunks_exact(inner).collect();
            simd::pair_rows(&rows, packed);
        }
    })
}

/// Rows in blocks of twelve, one number of each row beside the other: `(blocks, inner, 12)`.
fn pack_rows(x: &[f32], rows: usize, inner: usize) -> Vec<[f32; ROWS]> {
    let width = inner.max(1);
    made(rows.div_ceil(ROWS) * width, BLOCKS * width, |from, packed: &mut [[f32; ROWS]]| {
        let blocks = x[from / width * ROWS * inner..].chunks((ROWS * inner).max(1));
        for (packed, x) in packed.chunks_exact_mut(width).zip(blocks) {
            for (r, row) in x.chunks_exact(inner).enumerate() {
                packed.iter_mut().zip(row).for_each(|(packed, x)| packed[r] = *x);
            }
        }
    })
}

/// Rows of gradients at `outputs` in blocks of 32, filled up with zeros to whole panels: `(blocks, outputs, 32)`, one number
/// of each row beside the other.
fn pack_columns(g: &[f32], rows: usize, outputs: Range<usize>) -> Vec<Lane<f32>> {
    let before = outputs.start % LANES;
    let outer = outputs.len();
    let width = ((before + outer).div_ceil(LANES) * LANES).max(1);
    made(rows.div_ceil(LANES) * width, width, |from, packed: &mut [Lane<f32>]| {
        let g = g[from / width * LANES * outer..].chunks_exact(outer).take(LANES);
        for (l, row) in g.enumerate() {
            packed[before..].iter_mut().zip(row).for_each(|(lane, g)| lane.0[l] = *g);
        }
    })
}

/// `x Wᵀ`, `(rows, inner)` to `(rows, outer)`.
pub(crate) fn product(x: &Tensor, w: &Packed, precision: Precision) -> Result<Vec<f32>> {
    check(x.dims2()?.1, w.inner())?;
    if x.dim(0)? == 1 && w.takes_a_row(precision) {
        return with_slice(x, |x| tiled::only(row_of(&[w], x)));
    }
    with_slice(x, |x| if precision.rounds() { w.multiply_fast(x) } else { w.multiply(x) })
}

/// `g W`, `(rows, outer)` to `(rows, inner)`.
pub(crate) fn product_back(g: &Tensor, w: &Packed, precision: Precision) -> Result<Tensor> {
    let (rows, outer) = g.dims2()?;
    check(outer, w.outer())?;
    let back =
        with_slice(g, |g| if precision.rounds() { w.multiply_back_fast(g) } else { w.multiply_back(g) })?;
    tensor(back, (rows, w.inner()))
}

fn check(found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(candle_core::Error::msg(format!("a product of {found} columns with weights of {expected}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn numbers(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * step).sin()).collect()
    }

    /// A part of a product, forward and backward, is the whole product of operands that are zero elsewhere.
    #[test]
    fn a_part_of_a_product_is_the_whole_of_zeros_elsewhere() -> Result<()> {
        let (rows, inner, outer) = (19, 150, 130);
        let (x, w, g) =
            (numbers(rows * inner, 0.37), numbers(outer * inner, 0.53), numbers(rows * outer, 0.7));
        let cut = |all: &[f32], width: usize, keep: &Range<usize>| -> (Vec<f32>, Vec<f32>) {
            let part = all.chunks_exact(width).flat_map(|row| &row[keep.clone()]).copied().collect();
            let zeroed =
                all.iter().enumerate().map(|(i, v)| if keep.contains(&(i % width)) { *v } else { 0.0 });
            (part, zeroed.collect())
        };
        let near =
            |a: &[f32], b: &[f32]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-4);
        for kept in [candle_core::DType::F32, candle_core::DType::BF16] {
            let packed =
                Packed::new(&Tensor::from_vec(w.clone(), (outer, inner), &Device::Cpu)?.to_dtype(kept)?)?;
            for (outputs, inputs) in
                [(0..outer, 0..inner), (32..96, 64..128), (7..40, 3..149), (129..130, 1..2)]
            {
                let (part, zeroed) = cut(&x, inner, &inputs);
                let (want, _) = cut(&packed.multiply(&zeroed), outer, &outputs);
                assert!(
                    near(&packed.multiply_part(&part, outputs.clone(), inputs), &want),
                    "{outputs:?} {kept:?}"
                );
                let (part, zeroed) = cut(&g, outer, &outputs);
                assert!(near(
                    &packed.multiply_back_part(&part, outputs.clone()),
                    &packed.multiply_back(&zeroed)
                ));
            }
        }
        Ok(())
    }

    /// The fast products are the exact ones of operands rounded to bf16, whatever the weights are kept as.
    #[test]
    fn the_fast_products_are_those_of_rounded_operands() -> Result<()> {
        let rounded = |x: &[f32]| x.iter().map(|x| half::bf16::from_f32(*x).to_f32()).collect::<Vec<_>>();
        for (rows, inner, outer) in [(1, 1, 1), (5, 7, 33), (13, 131, 40), (200, 300, 96)] {
            let (x, w) = (numbers(rows * inner, 0.37), rounded(&numbers(outer * inner, 0.53)));
            let g = numbers(rows * outer, 0.71);
            let w = Tensor::from_vec(w, (outer, inner), &Device::Cpu)?;
            let plain = Packed::new(&w)?;
            let want = plain.multiply(&rounded(&x));
            let back = if tiles_are_here() && rows > FEW { rounded(&g) } else { g.clone() };
            let back = plain.multiply_back(&back);
            for kept in [candle_core::DType::F32, candle_core::DType::BF16] {
                let packed = Packed::new(&w.to_dtype(kept)?)?;
                let found = packed.multiply_fast(&x);
                assert!(packed.rows(&[outer as u32 - 1]) == w.get(outer - 1)?.to_vec1::<f32>()?);
                let found_back = packed.multiply_back_fast(&g);
                assert_eq!(found_back.len(), back.len());
                for (found, want) in found.iter().zip(&want).chain(found_back.iter().zip(&back)) {
                    assert!((found - want).abs() < 1e-4, "{rows}×{inner}×{outer} {kept:?}: {found} {want}");
                }
            }
        }
        Ok(())
    }
}
