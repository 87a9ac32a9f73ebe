//! Block-quantised weights kept as a GGUF file has them (4 to 8 bits), re-ordered into the panels of `packed.rs`.
//!
//! Every weight is `code · scale + shift` with one scale (and, for some types, one shift) for each group of 16 or 32
//! inputs. The numbers are exactly those of ggml's reference dequantisation (`ggml-quants.c`), so a model kept so computes
//! what it computes with its weights written out as f32.

use super::kernel::{LANES, Lane};
use super::pages::Pages;
use super::simd;
use half::f16;
use half::slice::HalfFloatSliceExt;
use pellucid_kernels::codes::{self, Groups, Numbers};
use pellucid_kernels::integers::{self, Rounded};
use rayon::prelude::*;
use std::ops::Range;

/// A block type that can be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BlockType {
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q4K,
    Q5K,
    Q6K,
}

impl BlockType {
    /// Every type, with ggml's name.
    pub(crate) const ALL: [(&'static str, BlockType); 8] = [
        ("Q4_0", BlockType::Q4_0),
        ("Q4_1", BlockType::Q4_1),
        ("Q5_0", BlockType::Q5_0),
        ("Q5_1", BlockType::Q5_1),
        ("Q8_0", BlockType::Q8_0),
        ("Q4_K", BlockType::Q4K),
        ("Q5_K", BlockType::Q5K),
        ("Q6_K", BlockType::Q6K),
    ];

    /// The type that ggml calls so, if it can be kept.
    pub(crate) fn named(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(known, _)| *known == name).map(|(_, kind)| *kind)
    }

    /// Weights of a block.
    pub(crate) fn weights(self) -> usize {
        match self {
            BlockType::Q4_0 | BlockType::Q4_1 | BlockType::Q5_0 | BlockType::Q5_1 | BlockType::Q8_0 => 32,
            BlockType::Q4K | BlockType::Q5K | BlockType::Q6K => 256,
        }
    }

    /// Bytes of a block.
    pub(crate) fn bytes(self) -> usize {
        match self {
            BlockType::Q4_0 => 18,
            BlockType::Q4_1 => 20,
            BlockType::Q5_0 => 22,
            BlockType::Q5_1 => 24,
            BlockType::Q8_0 => 34,
            BlockType::Q4K => 144,
            BlockType::Q5K => 176,
            BlockType::Q6K => 210,
        }
    }

    /// Bytes that so many weights take once packed.
    pub(crate) fn kept(self, weights: u64) -> u64 {
        let codes = if self.is_nibble() { weights / 2 } else { weights };
        let numbers = if self.has_shift() { 2 } else { 1 };
        // those of the K types are products of two numbers, which take more bits
        let bytes = if matches!(self, BlockType::Q4K | BlockType::Q5K | BlockType::Q6K) { 4 } else { 2 };
        codes + weights / self.group() as u64 * bytes * numbers
    }

    /// Weights that share a scale.
    fn group(self) -> usize {
        if self == BlockType::Q6K { 16 } else { 32 }
    }

    fn has_shift(self) -> bool {
        !matches!(self, BlockType::Q5_0 | BlockType::Q8_0 | BlockType::Q6K)
    }

    fn is_nibble(self) -> bool {
        matches!(self, BlockType::Q4_0 | BlockType::Q4_1 | BlockType::Q4K)
    }
}

/// One block taken apart.
struct Parts {
    codes: [i8; 256],
    scales: [f32; 16],
    shifts: [f32; 16],
}

fn half_at(bytes: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([bytes[at], bytes[at + 1]]).to_f32()
}

/// Scale and minimum of sub-block `j` in the 12 bytes that Q4_K and Q5_K pack sixteen 6-bit numbers into.
fn scale_min(j: usize, packed: &[u8]) -> (f32, f32) {
    let (scale, min) = if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        ((packed[j + 4] & 0xF) | ((packed[j - 4] >> 6) << 4), (packed[j + 4] >> 4) | ((packed[j] >> 6) << 4))
    };
    (f32::from(scale), f32::from(min))
}

impl Parts {
    /// Takes a block's bytes apart; `bytes` is as long as a block of this type.
    fn read(kind: BlockType, bytes: &[u8]) -> Self {
        let mut parts = Parts { codes: [0; 256], scales: [0.0; 16], shifts: [0.0; 16] };
        match kind {
            BlockType::Q4_0 => {
                parts.halves(&bytes[2..18]);
                parts.scales[0] = half_at(bytes, 0);
                // (code − 8) · scale: both products and their difference are exact
                parts.shifts[0] = -8.0 * parts.scales[0];
            }
            BlockType::Q4_1 => {
                parts.halves(&bytes[4..20]);
                (parts.scales[0], parts.shifts[0]) = (half_at(bytes, 0), half_at(bytes, 2));
            }
            BlockType::Q5_0 => {
                parts.halves(&bytes[6..22]);
                parts.fifth_bits(&bytes[2..6]);
                parts.codes[..32].iter_mut().for_each(|c| *c -= 16);
                parts.scales[0] = half_at(bytes, 0);
            }
            BlockType::Q5_1 => {
                parts.halves(&bytes[8..24]);
                parts.fifth_bits(&bytes[4..8]);
                (parts.scales[0], parts.shifts[0]) = (half_at(bytes, 0), half_at(bytes, 2));
            }
            BlockType::Q8_0 => {
                parts.codes.iter_mut().zip(&bytes[2..34]).for_each(|(c, b)| *c = b.cast_signed());
                parts.scales[0] = half_at(bytes, 0);
            }
            BlockType::Q4K => parts.sub_blocks(bytes, &bytes[16..144], &[0; 32]),
            BlockType::Q5K => parts.sub_blocks(bytes, &bytes[48..176], &bytes[16..48]),
            BlockType::Q6K => parts.sixes(bytes),
        }
        parts
    }

    /// 16 bytes: the first 16 codes are their low halves, the next 16 their high ones.
    fn halves(&mut self, bytes: &[u8]) {
        for (i, byte) in bytes.iter().enumerate() {
            self.codes[i] = (byte & 0xF).cast_signed();
            self.codes[i + 16] = (byte >> 4).cast_signed();
        }
    }

    /// Bit j of 32 is the fifth of code j.
    fn fifth_bits(&mut self, bytes: &[u8]) {
        for (j, code) in self.codes[..32].iter_mut().enumerate() {
            *code |= (((bytes[j / 8] >> (j % 8)) & 1) << 4).cast_signed();
        }
    }

    /// Q4_K and Q5_K: eight sub-blocks of 32; each 32 bytes hold two of them, low halves and high halves.
    fn sub_blocks(&mut self, bytes: &[u8], low: &[u8], fifth: &[u8]) {
        let (d, least) = (half_at(bytes, 0), half_at(bytes, 2));
        for j in 0..8 {
            let (scale, min) = scale_min(j, &bytes[4..16]);
            self.scales[j] = d * scale;
            self.shifts[j] = -(least * min);
            for i in 0..32 {
                let byte = low[j / 2 * 32 + i];
                let four = if j % 2 == 0 { byte & 0xF } else { byte >> 4 };
                self.codes[j * 32 + i] = (four | (((fifth[i] >> j) & 1) << 4)).cast_signed();
            }
        }
    }

    /// Q6_K: sixteen sub-blocks of 16 with 4 low bits and 2 high ones.
    fn sixes(&mut self, bytes: &[u8]) {
        let d = half_at(bytes, 208);
        for (scale, byte) in self.scales.iter_mut().zip(&bytes[192..208]) {
            *scale = d * f32::from(byte.cast_signed());
        }
        for half in 0..2 {
            let (low, high) = (&bytes[64 * half..64 * half + 64], &bytes[128 + 32 * half..160 + 32 * half]);
            for l in 0..32 {
                for quarter in 0..4 {
                    let byte = low[l + 32 * (quarter % 2)];
                    let four = if quarter < 2 { byte & 0xF } else { byte >> 4 };
                    let two = (high[l] >> (2 * quarter)) & 3;
                    self.codes[128 * half + 32 * quarter + l] = (four | (two << 4)).cast_signed() - 32;
                }
            }
        }
    }
}

/// Codes of 32 outputs beside each other, for each input of each panel.
#[derive(Debug)]
enum Codes {
    /// Outputs 0 to 15 in the low halves, 16 to 31 in the high ones.
    Nibbles(Pages<[u8; LANES / 2]>),
    Bytes(Pages<[i8; LANES]>),
}

/// A lane for each group of each panel, in 16 bits where that loses nothing.
#[derive(Debug)]
enum Scales {
    Half(Pages<Lane<f16>>),
    Full(Pages<Lane<f32>>),
}

impl Scales {
    fn of(full: &[Lane<f32>]) -> Self {
        let exact = |lane: &Lane<f32>| lane.0.iter().all(|x| f16::from_f32(*x).to_f32() == *x);
        if !full.par_iter().all(exact) {
            let mut kept = Pages::<Lane<f32>>::zeroed(full.len());
            kept.copy_from_slice(full);
            return Scales::Full(kept);
        }
        let mut half = Pages::<Lane<f16>>::zeroed(full.len());
        half.par_iter_mut().zip(full).for_each(|(to, from)| to.0 = from.0.map(f16::from_f32));
        Scales::Half(half)
    }

    fn bytes(&self) -> usize {
        match self {
            Scales::Half(all) => all.bytes(),
            Scales::Full(all) => all.bytes(),
        }
    }

    fn len(&self) -> usize {
        match self {
            Scales::Half(all) => all.len(),
            Scales::Full(all) => all.len(),
        }
    }

    /// Some lanes, or nothing where there are none; those of 16 bits are widened into `room`.
    fn lanes<'a>(&'a self, at: Range<usize>, room: &'a mut [Lane<f32>]) -> &'a [Lane<f32>] {
        match self {
            Scales::Full(all) => all.get(at).unwrap_or(&[]),
            Scales::Half(all) => {
                let Some(from) = all.get(at) else { return &[] };
                let room = &mut room[..from.len()];
                bytemuck::cast_slice::<_, f16>(from).convert_to_f32_slice(bytemuck::cast_slice_mut(room));
                room
            }
        }
    }

    /// The lanes of a panel's groups, as they are kept.
    fn of_panel(&self, at: Range<usize>) -> Numbers<'_> {
        match self {
            Scales::Half(all) => Numbers::Half(&all[at]),
            Scales::Full(all) => Numbers::Full(&all[at]),
        }
    }

    /// One number; 0 where there is none.
    fn number(&self, at: usize, lane: usize) -> f32 {
        self.lanes(at..at + 1, &mut [Lane::ZERO]).first().map_or(0.0, |found| found.0[lane])
    }
}

/// A matrix `(outer, inner)` of block-quantised weights in panels.
#[derive(Debug)]
pub(crate) struct Blocks {
    inner: usize,
    group: usize,
    codes: Codes,
    /// `(panels, groups, 32)`.
    scales: Scales,
    /// As `scales`; empty for types without.
    shifts: Scales,
}

/// A row that is multiplied with blocks.
pub(crate) struct Row<'x> {
    x: &'x [f32],
    /// The sum of each group's inputs: what shifts are multiplied by.
    totals: Vec<f32>,
    /// In integers, where the processor multiplies these faster.
    rounded: Option<Rounded>,
}

/// Panels that are packed between two calls of `read`.
const STRIPE: usize = 64;

/// A panel under construction.
struct Panel<'a> {
    scales: &'a mut [Lane<f32>],
    shifts: &'a mut [Lane<f32>],
    /// The row that each of its outputs is.
    rows: &'a [u32],
}

impl Panel<'_> {
    /// Writes its rows' scales and shifts, and gives their codes; `row` gives a row's blocks.
    fn take<'b>(
        &mut self,
        kind: BlockType,
        inner: usize,
        row: impl Fn(usize) -> &'b [u8],
    ) -> Vec<[i8; LANES]> {
        let mut codes = vec![[0; LANES]; inner];
        for (lane, &r) in self.rows.iter().enumerate() {
            self.take_row(kind, lane, row(r as usize), &mut codes);
        }
        codes
    }

    /// Writes one output's row of blocks to a lane.
    fn take_row(&mut self, kind: BlockType, lane: usize, row: &[u8], codes: &mut [[i8; LANES]]) {
        let (weights, group) = (kind.weights(), kind.group());
        for (b, block) in row.chunks_exact(kind.bytes()).enumerate() {
            let parts = Parts::read(kind, block);
            for (i, code) in parts.codes[..weights].iter().enumerate() {
                codes[b * weights + i][lane] = *code;
            }
            for g in 0..weights / group {
                let at = b * weights / group + g;
                self.scales[at].0[lane] = parts.scales[g];
                if let Some(shift) = self.shifts.get_mut(at) {
                    shift.0[lane] = parts.shifts[g];
                }
            }
        }
    }
}

impl Blocks {
    /// Packs the rows of a matrix whose blocks lie row by row in `bytes`; `order` says which row becomes which output.
    /// None if the bytes are not whole rows of whole blocks, or a row is missing. `read` is called after every so many panels.
    pub(crate) fn pack(
        kind: BlockType,
        bytes: &[u8],
        inner: usize,
        order: &[u32],
        read: &dyn Fn(),
    ) -> Option<Self> {
        let row = inner / kind.weights() * kind.bytes();
        let rows = bytes.len().checked_div(row)?;
        let whole = inner.is_multiple_of(kind.weights()) && bytes.len() == rows * row;
        if !whole || order.iter().any(|&o| o as usize >= rows) {
            return None;
        }
        let (panels, groups) = (order.len().div_ceil(LANES), inner / kind.group());
        let mut scales = vec![Lane::ZERO; panels * groups];
        let mut shifts = vec![Lane::ZERO; if kind.has_shift() { panels * groups } else { 0 }];
        let mut codes = match kind.is_nibble() {
            true => Codes::Nibbles(Pages::zeroed(panels * inner)),
            false => Codes::Bytes(Pages::zeroed(panels * inner)),
        };
        let shifts_of: Vec<&mut [Lane<f32>]> = match kind.has_shift() {
            true => shifts.chunks_mut(groups).collect(),
            false => (0..panels).map(|_| <&mut [Lane<f32>]>::default()).collect(),
        };
        let parts = scales.chunks_mut(groups).zip(shifts_of).zip(order.chunks(LANES));
        let mut work: Vec<Panel<'_>> =
            parts.map(|((scales, shifts), rows)| Panel { scales, shifts, rows }).collect();
        for (stripe, work) in work.chunks_mut(STRIPE).enumerate() {
            let from = stripe * STRIPE * inner;
            let here = from..from + work.len() * inner;
            let take = |panel: &mut Panel<'_>| panel.take(kind, inner, |r| &bytes[r * row..(r + 1) * row]);
            match &mut codes {
                Codes::Nibbles(all) => {
                    let to = all[here].par_chunks_mut(inner);
                    work.par_iter_mut().zip(to).for_each(|(panel, to)| {
                        to.iter_mut().zip(take(panel)).for_each(|(to, codes)| *to = pair_up(&codes));
                    });
                }
                Codes::Bytes(all) => {
                    let to = all[here].par_chunks_mut(inner);
                    work.par_iter_mut().zip(to).for_each(|(panel, to)| to.copy_from_slice(&take(panel)));
                }
            }
            read();
        }
        drop(work);
        let (scales, shifts) = (Scales::of(&scales), Scales::of(&shifts));
        Some(Blocks { inner, group: kind.group(), codes, scales, shifts })
    }

    /// Bytes held.
    pub(crate) fn bytes(&self) -> usize {
        let codes = match &self.codes {
            Codes::Nibbles(all) => all.bytes(),
            Codes::Bytes(all) => all.bytes(),
        };
        codes + self.scales.bytes() + self.shifts.bytes()
    }

    /// Some lanes of a panel as f32, into `room`.
    pub(crate) fn lanes<'a>(
        &self,
        panel: usize,
        at: Range<usize>,
        room: &'a mut [Lane<f32>],
    ) -> &'a [Lane<f32>] {
        let groups = self.inner / self.group;
        let from = panel * self.inner;
        let room = &mut room[..at.len()];
        let mut here = at.start;
        while here < at.end {
            let group = here / self.group;
            let end = at.end.min((group + 1) * self.group);
            let one = panel * groups + group..panel * groups + group + 1;
            let (mut scale_room, mut shift_room) = ([Lane::ZERO], [Lane::ZERO]);
            let scale = self.scales.lanes(one.clone(), &mut scale_room).first().unwrap_or(&Lane::ZERO);
            let shift = self.shifts.lanes(one, &mut shift_room).first().unwrap_or(&Lane::ZERO);
            let to = &mut room[here - at.start..end - at.start];
            match &self.codes {
                Codes::Nibbles(all) => simd::nibbles(&all[from + here..from + end], scale, shift, to),
                Codes::Bytes(all) => simd::bytes(&all[from + here..from + end], scale, shift, to),
            }
            here = end;
        }
        room
    }

    /// A row to multiply with.
    pub(crate) fn row<'x>(&self, x: &'x [f32]) -> Row<'x> {
        let totals = x.chunks(self.group).map(simd::sum).collect();
        Row { x, totals, rounded: integers::here().map(|_| Rounded::of(x, self.group)) }
    }

    /// `W x` for one row at the 32 outputs of a panel.
    pub(crate) fn panel_of_row(&self, panel: usize, row: &Row<'_>, sums: &mut Lane<f32>) {
        let groups = self.inner / self.group;
        let here = panel * groups..(panel + 1) * groups;
        let scales = self.scales.of_panel(here.clone());
        let shifts = (self.shifts.len() > 0).then(|| self.shifts.of_panel(here));
        let groups = Groups { group: self.group, scales, shifts, totals: &row.totals };
        let codes = panel * self.inner..(panel + 1) * self.inner;
        match (&self.codes, &row.rounded) {
            (Codes::Nibbles(all), Some(x)) => integers::nibble_row(x, &all[codes], groups, sums),
            (Codes::Bytes(all), Some(x)) => integers::byte_row(x, &all[codes], groups, sums),
            (Codes::Nibbles(all), None) => codes::nibble_row(row.x, &all[codes], groups, sums),
            (Codes::Bytes(all), None) => codes::byte_row(row.x, &all[codes], groups, sums),
        }
    }

    /// One weight.
    pub(crate) fn weight(&self, panel: usize, at: usize, lane: usize) -> f32 {
        let code = match &self.codes {
            Codes::Nibbles(all) => {
                let byte = all[panel * self.inner + at][lane % (LANES / 2)];
                f32::from(if lane < LANES / 2 { byte & 0xF } else { byte >> 4 })
            }
            Codes::Bytes(all) => f32::from(all[panel * self.inner + at][lane]),
        };
        let group = panel * (self.inner / self.group) + at / self.group;
        code * self.scales.number(group, lane) + self.shifts.number(group, lane)
    }
}

fn pair_up(codes: &[i8; LANES]) -> [u8; LANES / 2] {
    std::array::from_fn(|i| codes[i].cast_unsigned() | (codes[i + LANES / 2].cast_unsigned() << 4))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use pellucid_core::Seed;

    /// The product with one row, in integers or in f32.
    fn row(weights: &Blocks, x: &[f32], integers: bool) -> Vec<f32> {
        let panels = weights.scales.len() * weights.group / weights.inner;
        let rounded = integers.then(|| Rounded::of(x, weights.group));
        let row = Row { rounded, ..weights.row(x) };
        let mut sums = vec![Lane::ZERO; panels];
        sums.iter_mut().enumerate().for_each(|(panel, sums)| weights.panel_of_row(panel, &row, sums));
        sums.iter().flat_map(|sums| sums.0).collect()
    }

    /// Random blocks of a type, their scales finite.
    fn random(kind: BlockType, blocks: usize, seed: &mut Seed) -> Vec<u8> {
        let mut bytes: Vec<u8> = (0..blocks * kind.bytes()).map(|_| seed.below(256) as u8).collect();
        let halves: &[usize] = match kind {
            BlockType::Q4_1 | BlockType::Q5_1 | BlockType::Q4K | BlockType::Q5K => &[0, 2],
            BlockType::Q6K => &[208],
            _ => &[0],
        };
        for block in bytes.chunks_exact_mut(kind.bytes()) {
            for &at in halves {
                let value = f16::from_f32(seed.normal() as f32 * 0.01);
                block[at..at + 2].copy_from_slice(&value.to_le_bytes());
            }
        }
        bytes
    }

    /// What candle's decoder, which follows ggml's, makes of the same bytes.
    fn decoded(name: &str, bytes: &[u8], rows: usize, inner: usize) -> Vec<f32> {
        use candle_core::quantized::{GgmlDType, ggml_file};
        let dtype = match name {
            "Q4_0" => GgmlDType::Q4_0,
            "Q4_1" => GgmlDType::Q4_1,
            "Q5_0" => GgmlDType::Q5_0,
            "Q5_1" => GgmlDType::Q5_1,
            "Q8_0" => GgmlDType::Q8_0,
            "Q4_K" => GgmlDType::Q4K,
            "Q5_K" => GgmlDType::Q5K,
            _ => GgmlDType::Q6K,
        };
        let device = candle_core::Device::Cpu;
        let tensor = ggml_file::qtensor_from_ggml(dtype, bytes, vec![rows, inner], &device).unwrap();
        tensor.dequantize(&device).unwrap().flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn every_type_is_kept_exactly() {
        let mut seed = Seed(3);
        let (rows, inner) = (45, 512);
        for (name, kind) in BlockType::ALL {
            let bytes = random(kind, rows * inner / kind.weights(), &mut seed);
            let want = decoded(name, &bytes, rows, inner);
            // in another order, with one row twice
            let order: Vec<u32> = (0..rows as u32).rev().chain([7]).collect();
            let packed = Blocks::pack(kind, &bytes, inner, &order, &|| ()).unwrap();
            let padded = order.len().div_ceil(LANES) * LANES * inner;
            assert_eq!(packed.bytes() as u64, kind.kept(padded as u64), "{name}");
            let mut room = vec![Lane::ZERO; inner];
            for (output, &row) in order.iter().enumerate() {
                let (panel, lane) = (output / LANES, output % LANES);
                // a stretch that neither begins nor ends with a group
                for at in [0..inner, 5..77] {
                    let lanes = packed.lanes(panel, at.clone(), &mut room).to_vec();
                    for (k, lanes) in at.zip(lanes) {
                        let want = want[row as usize * inner + k];
                        // as numbers: a zero may have another sign, which no sum can tell
                        assert!(want.is_finite());
                        assert_eq!(lanes.0[lane], want, "{name} {row}/{k}");
                        assert_eq!(packed.weight(panel, k, lane), want, "{name} {row}/{k}");
                    }
                }
            }
        }
    }

    #[test]
    fn one_row_is_multiplied_as_by_the_weights_written_out() {
        let mut seed = Seed(5);
        let (rows, inner) = (70, 512);
        let x: Vec<f32> = (0..inner).map(|_| seed.normal() as f32).collect();
        for (name, kind) in BlockType::ALL {
            let bytes = random(kind, rows * inner / kind.weights(), &mut seed);
            let want = decoded(name, &bytes, rows, inner);
            let order: Vec<u32> = (0..rows as u32).collect();
            let found = Blocks::pack(kind, &bytes, inner, &order, &|| ()).unwrap();
            for (integers, bound) in [(false, 1e-6), (true, 3e-5)] {
                let found = row(&found, &x, integers);
                assert_eq!(found.len(), 96, "{name}");
                for (found, row) in found.iter().zip(want.chunks_exact(inner)) {
                    let products = || row.iter().zip(&x).map(|(w, x)| f64::from(*w) * f64::from(*x));
                    let (want, size) = (products().sum::<f64>(), products().map(f64::abs).sum::<f64>());
                    assert!((f64::from(*found) - want).abs() < bound * size, "{name}: {found} {want}");
                }
            }
        }
    }

    #[test]
    fn what_is_not_whole_rows_is_refused() {
        let bytes = vec![0; 2 * 34];
        assert!(Blocks::pack(BlockType::Q8_0, &bytes, 32, &[0, 1], &|| ()).is_some());
        assert!(Blocks::pack(BlockType::Q8_0, &bytes, 32, &[2], &|| ()).is_none(), "no such row");
        assert!(Blocks::pack(BlockType::Q8_0, &bytes, 33, &[0], &|| ()).is_none(), "half a block");
        assert!(Blocks::pack(BlockType::Q8_0, &bytes[1..], 32, &[0], &|| ()).is_none(), "half a row");
        assert!(Blocks::pack(BlockType::Q8_0, &bytes, 0, &[0], &|| ()).is_none(), "no inputs");
    }
}
