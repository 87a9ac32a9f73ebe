//! Weights of linear layers, packed once at load for the register tiles: 32 outputs beside each other, one lane for each
//! input. One order serves all three uses. Forward, a lane is multiplied by one input of each row; backward, the numbers of
//! a lane multiply gradients of 32 rows; and a single row's product reads the weights once, from front to back.

use super::Precision;
use super::blocks::{BlockType, Blocks, Row};
use super::kernel::{LANES, Lane, Pairs, split};
use super::pages::Pages;
use super::sheet::made;
use super::simd;
use crate::Result;
use candle_core::{CpuStorage, DType, Storage, Tensor};
use half::f16;
use half::slice::HalfFloatSliceExt;
use pellucid_kernels::codes::{lanes_back, pair_row, pairs_back};
use pellucid_kernels::tiles::{DEPTH, whole_steps};
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

/// Inputs whose lanes are multiplied at a time, and widened where they are kept in fewer bits: they stay in the nearest cache.
pub(super) const WIDENED: usize = 128;

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
    pub(super) fn lanes<'a>(
        &'a self,
        panel: usize,
        at: Range<usize>,
        room: &'a mut [Lane<f32>],
    ) -> &'a [Lane<f32>] {
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

    /// Room for [`WIDENED`] lanes, where they must be widened.
    pub(super) fn widening(&self) -> Vec<Lane<f32>> {
        match self.panels {
            Panels::F32(_) => Vec::new(),
            _ => vec![Lane::ZERO; WIDENED],
        }
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
    pub(super) fn narrow<'a>(
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

    /// `g W` for one row of gradients of the outputs in some panels, the first that of output `before` of the first panel: lanes are
    /// summed as they lie, and folded at the end. Panels without a gradient are not read.
    pub(super) fn row_back(&self, g: &[f32], before: usize, panels: Range<usize>) -> Vec<f32> {
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

/// Refuses a product of numbers of another width than the weights'.
pub(super) fn check(found: usize, expected: usize) -> Result<()> {
    if found == expected {
        return Ok(());
    }
    Err(candle_core::Error::msg(format!("a product of {found} columns with weights of {expected}")).into())
}
