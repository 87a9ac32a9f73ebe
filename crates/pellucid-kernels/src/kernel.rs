//! Register tiles: the innermost loops of matrix products with packed operands, and the sheet that tasks write them to.
//!
//! A tile is [`ROWS`] × [`LANES`] sums that stay in registers while the loop runs along the inner dimension; each step
//! reads one lane of 32 numbers and up to twelve single ones (Goto and van de Geijn 2008). Sums run in order, one fused
//! multiply-add after the other, so a tile's bits depend neither on the width of the processor's registers nor on what
//! else is computed beside it.

#![allow(unsafe_code)] // vector loads and stores, the call of wider versions, disjoint writes: each with its argument

use crate::tiles::{Course, DEPTH, Patch, SIDE, products_at, products_below};
use bytemuck::Zeroable;
use rayon::prelude::*;
use std::ops::Range;

/// Numbers that lie beside each other in a packed operand.
pub const LANES: usize = 32;

/// Rows of a tile.
pub const ROWS: usize = 12;

/// One lane; aligned so that no load crosses a cache line.
#[derive(Clone, Copy, Debug, PartialEq)]
#[repr(C, align(64))]
pub struct Lane<T>(
    /// The numbers.
    pub [T; LANES],
);

// SAFETY: 32 plain numbers and nothing else: for numbers of 2 or 4 bytes they fill the alignment without padding, and a
// lane of zero bytes is a lane of zeros.
unsafe impl bytemuck::Zeroable for Lane<f32> {}
// SAFETY: as above.
unsafe impl bytemuck::Pod for Lane<f32> {}
// SAFETY: as above.
unsafe impl bytemuck::Zeroable for Pairs {}
// SAFETY: as above.
unsafe impl bytemuck::Pod for Pairs {}
// SAFETY: as above.
unsafe impl bytemuck::Zeroable for Lane<half::f16> {}
// SAFETY: as above.
unsafe impl bytemuck::Pod for Lane<half::f16> {}

impl Lane<f32> {
    /// 32 zeros.
    pub const ZERO: Self = Lane([0.0; LANES]);
}

/// Two neighbouring inputs' weights of 32 outputs, in bf16: the first in the low half of each number.
pub type Pairs = Lane<u32>;

impl Pairs {
    /// 64 zeros.
    pub const NONE: Self = Lane([0; LANES]);
}

/// Sums of a tile; a product of fewer rows leaves the last ones alone.
pub type Tile = [Lane<f32>; ROWS];

/// `f::<rows>(…)` for the rows that a tile can have.
macro_rules! by_rows {
    ($rows:expr, $f:ident, $($arg:expr),*) => {
        match $rows {
            1 => $f::<1>($($arg),*),
            2 => $f::<2>($($arg),*),
            3 => $f::<3>($($arg),*),
            4 => $f::<4>($($arg),*),
            5 => $f::<5>($($arg),*),
            6 => $f::<6>($($arg),*),
            7 => $f::<7>($($arg),*),
            8 => $f::<8>($($arg),*),
            9 => $f::<9>($($arg),*),
            10 => $f::<10>($($arg),*),
            11 => $f::<11>($($arg),*),
            _ => $f::<12>($($arg),*),
        }
    };
}

/// `sums[r][l] += Σ_k a[k][r] · b[k][l]` for `r < rows`, `k` in order.
pub fn along(rows: usize, a: &[[f32; ROWS]], b: &[Lane<f32>], sums: &mut Tile) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: safe Rust whose only requirement is the feature that the line above has just asked for.
            return unsafe { by_rows!(rows, along_avx512, a, b, sums) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            return unsafe { by_rows!(rows, along_avx2, a, b, sums) };
        }
    }
    by_rows!(rows, along_plain, a, b, sums);
}

/// `sums[r][l] += Σ_j p[r][j] · g[j][l]` for each `r` of `p` (at most [`ROWS`]), `j` in order: the same product, where the
/// single numbers lie in lanes.
pub fn across(p: &[Lane<f32>], g: &[Lane<f32>; LANES], sums: &mut Tile) {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f") {
            // SAFETY: safe Rust whose only requirement is the feature that the line above has just asked for.
            return unsafe { by_rows!(p.len(), across_avx512, p, g, sums) };
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: as above.
            return unsafe { by_rows!(p.len(), across_avx2, p, g, sums) };
        }
    }
    by_rows!(p.len(), across_plain, p, g, sums);
}

/// Whether [`along_pairs`] is quicker than [`along`] here: the processor has a dot product of bf16 pairs that runs at twice
/// the rate of f32's multiply-add. AMD's do; Intel's run it at half that rate (both measured with register-only loops).
pub fn pairs_are_quick() -> bool {
    #[cfg(target_arch = "x86_64")]
    return x86::is_amd() && is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// [`along`] for operands in bf16, two inputs a step: `sums[r][l] += Σ_k a[k][r]₀ · b[k][l]₀ + a[k][r]₁ · b[k][l]₁`.
/// Products of bf16 are exact in f32; how the processor rounds the two additions of a step is its own affair, and numbers
/// too small for f32's normal range may count as 0.
pub fn along_pairs(rows: usize, a: &[[u32; ROWS]], b: &[Pairs], sums: &mut Tile) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16") {
        // SAFETY: safe Rust whose only requirement is the features that the line above has just asked for.
        return unsafe { by_rows!(rows, pairs_avx512, a, b, sums) };
    }
    by_rows!(rows, pairs_plain, a, b, sums);
}

/// Which sums of each of the first `rows` rows are greater than the row's floor: bit `l` of entry `r` says it of
/// `sums[r][l]`. What is no number is greater than nothing.
pub fn above(rows: usize, sums: &Tile, floors: &[f32; ROWS]) -> [u32; ROWS] {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: safe Rust whose only requirement is the feature that the line above has just asked for.
        return unsafe { above_avx512(rows, sums, floors) };
    }
    above_plain(rows, sums, floors)
}

fn above_plain(rows: usize, sums: &Tile, floors: &[f32; ROWS]) -> [u32; ROWS] {
    let mut bits = [0; ROWS];
    for ((bits, sums), floor) in bits.iter_mut().zip(sums).zip(floors).take(rows) {
        for (l, sum) in sums.0.iter().enumerate() {
            *bits |= u32::from(sum > floor) << l;
        }
    }
    bits
}

/// The two numbers of a pair.
pub fn split(pair: u32) -> [f32; 2] {
    [f32::from_bits(pair << 16), f32::from_bits(pair & 0xFFFF_0000)]
}

fn pairs_plain<const R: usize>(a: &[[u32; ROWS]], b: &[Pairs], sums: &mut Tile) {
    for (a, b) in a.iter().zip(b) {
        for (sums, a) in sums.iter_mut().zip(a).take(R) {
            let [first, second] = split(*a);
            sums.0.iter_mut().zip(&b.0).for_each(|(s, b)| {
                let [b, c] = split(*b);
                *s += first * b + second * c;
            });
        }
    }
}

fn along_plain<const R: usize>(a: &[[f32; ROWS]], b: &[Lane<f32>], sums: &mut Tile) {
    for (a, b) in a.iter().zip(b) {
        for (sums, a) in sums.iter_mut().zip(a).take(R) {
            sums.0.iter_mut().zip(&b.0).for_each(|(s, b)| *s += a * b);
        }
    }
}

fn across_plain<const R: usize>(p: &[Lane<f32>], g: &[Lane<f32>; LANES], sums: &mut Tile) {
    for (j, g) in g.iter().enumerate() {
        for (sums, p) in sums.iter_mut().zip(p).take(R) {
            sums.0.iter_mut().zip(&g.0).for_each(|(s, g)| *s += p.0[j] * g);
        }
    }
}

#[cfg(target_arch = "x86_64")]
use x86::{above_avx512, across_avx2, across_avx512, along_avx2, along_avx512, pairs_avx512};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, Lane, Pairs, ROWS, Tile};
    use std::arch::x86_64::{
        __cpuid, __m256, __m512, __m512bh, _CMP_GT_OQ, _mm256_fmadd_ps, _mm256_load_ps, _mm256_set1_ps,
        _mm256_store_ps, _mm512_cmp_ps_mask, _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_load_ps,
        _mm512_load_si512, _mm512_set1_epi32, _mm512_set1_ps, _mm512_store_ps,
    };

    /// Whether AMD made the processor ("AuthenticAMD" in the registers that CPUID's leaf 0 fills).
    pub(super) fn is_amd() -> bool {
        let id = __cpuid(0);
        [id.ebx, id.edx, id.ecx].map(u32::to_le_bytes).concat() == b"AuthenticAMD"
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn pairs_avx512<const R: usize>(a: &[[u32; ROWS]], b: &[Pairs], sums: &mut Tile) {
        let mut held: [_; R] = std::array::from_fn(|r| load(&sums[r]));
        for (a, b) in a.iter().zip(b) {
            let at = b.0.as_ptr();
            // SAFETY: a lane is 32 numbers at a multiple of 64 bytes; any bits are pairs of bf16.
            let [low, high]: [__m512bh; 2] = unsafe {
                [_mm512_load_si512(at.cast()), _mm512_load_si512(at.add(16).cast())]
                    .map(|x| std::mem::transmute(x))
            };
            for (r, sums) in held.iter_mut().enumerate() {
                // SAFETY: as above.
                let x: __m512bh = unsafe { std::mem::transmute(_mm512_set1_epi32(a[r] as i32)) };
                sums[0] = _mm512_dpbf16_ps(sums[0], x, low);
                sums[1] = _mm512_dpbf16_ps(sums[1], x, high);
            }
        }
        for (to, held) in sums.iter_mut().zip(held) {
            store(to, held);
        }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn above_avx512(rows: usize, sums: &Tile, floors: &[f32; ROWS]) -> [u32; ROWS] {
        let mut bits = [0; ROWS];
        for ((bits, sums), floor) in bits.iter_mut().zip(sums).zip(floors).take(rows) {
            let ([low, high], floor) = (load(sums), _mm512_set1_ps(*floor));
            let low = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(low, floor);
            let high = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(high, floor);
            *bits = u32::from(low) | u32::from(high) << 16;
        }
        bits
    }

    /// A lane in two registers.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(from: &Lane<f32>) -> [__m512; 2] {
        let at = from.0.as_ptr();
        // SAFETY: a lane is 32 numbers at a multiple of 64 bytes: two registers' worth, aligned.
        unsafe { [_mm512_load_ps(at), _mm512_load_ps(at.add(16))] }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store(to: &mut Lane<f32>, [low, high]: [__m512; 2]) {
        let at = to.0.as_mut_ptr();
        // SAFETY: as in `load`.
        unsafe {
            _mm512_store_ps(at, low);
            _mm512_store_ps(at.add(16), high);
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn step<const R: usize>(sums: &mut [[__m512; 2]; R], single: impl Fn(usize) -> f32, b: &Lane<f32>) {
        let [low, high] = load(b);
        for (r, sums) in sums.iter_mut().enumerate() {
            let x = _mm512_set1_ps(single(r));
            sums[0] = _mm512_fmadd_ps(x, low, sums[0]);
            sums[1] = _mm512_fmadd_ps(x, high, sums[1]);
        }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn along_avx512<const R: usize>(a: &[[f32; ROWS]], b: &[Lane<f32>], sums: &mut Tile) {
        let mut held: [_; R] = std::array::from_fn(|r| load(&sums[r]));
        for (a, b) in a.iter().zip(b) {
            step(&mut held, |r| a[r], b);
        }
        for (to, held) in sums.iter_mut().zip(held) {
            store(to, held);
        }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn across_avx512<const R: usize>(p: &[Lane<f32>], g: &[Lane<f32>; LANES], sums: &mut Tile) {
        let p: [&Lane<f32>; R] = std::array::from_fn(|r| &p[r]);
        let mut held: [_; R] = std::array::from_fn(|r| load(&sums[r]));
        for (j, g) in g.iter().enumerate() {
            step(&mut held, |r| p[r].0[j], g);
        }
        for (to, held) in sums.iter_mut().zip(held) {
            store(to, held);
        }
    }

    /// Half a lane (`H` says which) in two registers.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn load_half<const H: usize>(from: &Lane<f32>) -> [__m256; 2] {
        let at = from.0[16 * H..].as_ptr();
        // SAFETY: half a lane is 16 numbers at a multiple of 64 bytes; `H` is 0 or 1, or the slice would have panicked.
        unsafe { [_mm256_load_ps(at), _mm256_load_ps(at.add(8))] }
    }

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn store_half<const H: usize>(to: &mut Lane<f32>, [low, high]: [__m256; 2]) {
        let at = to.0[16 * H..].as_mut_ptr();
        // SAFETY: as in `load_half`.
        unsafe {
            _mm256_store_ps(at, low);
            _mm256_store_ps(at.add(8), high);
        }
    }

    /// Six rows of half a lane are what sixteen registers hold.
    const SIX: usize = 6;

    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn part<'a, const H: usize, const R: usize>(
        steps: impl Iterator<Item = (impl Fn(usize) -> f32, &'a Lane<f32>)>,
        sums: &mut [Lane<f32>],
    ) {
        let mut held: [_; R] = std::array::from_fn(|r| load_half::<H>(&sums[r]));
        for (single, b) in steps {
            let [low, high] = load_half::<H>(b);
            for (r, sums) in held.iter_mut().enumerate() {
                let x = _mm256_set1_ps(single(r));
                sums[0] = _mm256_fmadd_ps(x, low, sums[0]);
                sums[1] = _mm256_fmadd_ps(x, high, sums[1]);
            }
        }
        for (to, held) in sums.iter_mut().zip(held) {
            store_half::<H>(to, held);
        }
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn along_avx2<const R: usize>(a: &[[f32; ROWS]], b: &[Lane<f32>], sums: &mut Tile) {
        for from in (0..R).step_by(SIX) {
            let steps = a.iter().zip(b).map(move |(a, b)| (move |r: usize| a[from + r], b));
            let sums = &mut sums[from..];
            by_rows!((R - from).min(SIX), part_of_six, steps, sums);
        }
    }

    #[target_feature(enable = "avx2,fma")]
    pub(super) fn across_avx2<const R: usize>(p: &[Lane<f32>], g: &[Lane<f32>; LANES], sums: &mut Tile) {
        for from in (0..R).step_by(SIX) {
            let steps = g.iter().enumerate().map(move |(j, g)| (move |r: usize| p[from + r].0[j], g));
            let sums = &mut sums[from..];
            by_rows!((R - from).min(SIX), part_of_six, steps, sums);
        }
    }

    /// Both halves of up to six rows.
    #[inline]
    #[target_feature(enable = "avx2,fma")]
    fn part_of_six<'a, const R: usize>(
        steps: impl Iterator<Item = (impl Fn(usize) -> f32, &'a Lane<f32>)> + Clone,
        sums: &mut [Lane<f32>],
    ) {
        part::<0, R>(steps.clone(), sums);
        part::<1, R>(steps, sums);
    }
}

/// A part of a sheet that one task writes: some columns of all its rows in order, then the next columns, until each of its
/// entries has been written once.
pub struct Block<'a> {
    /// Its rows of the sheet.
    pub rows: Range<usize>,
    /// Its columns.
    pub columns: Range<usize>,
    sheet: &'a Sheet,
    /// What is written next: the row, and the first of the columns.
    next: [usize; 2],
    /// Columns that are being written.
    width: usize,
}

/// A matrix under construction.
struct Sheet {
    start: *mut f32,
    width: usize,
}

// SAFETY: tasks write through it, each to the entries of its own block (`Block::take` checks), and nobody reads before
// all have ended.
unsafe impl Sync for Sheet {}

impl<'a> Block<'a> {
    /// Rows of a sheet with all their columns.
    fn new(sheet: &'a Sheet, rows: Range<usize>) -> Self {
        let next = [rows.start, 0];
        Block { rows, columns: 0..sheet.width, sheet, next, width: 0 }
    }

    /// Where the next rows' entries of some columns lie, which are then held to be written.
    fn take(&mut self, row: usize, rows: usize, column: usize, width: usize) -> *mut f32 {
        let [next_row, next_column] = self.next;
        let begins = row == self.rows.start;
        let inside = row + rows <= self.rows.end && column + width <= self.columns.end;
        let turn = [row, column] == self.next && rows > 0 && width > 0 && (begins || width == self.width);
        assert!(
            inside && turn,
            "{rows} rows from {row}, {width} columns from {column}: outside a task's block or out of turn \
             (row {next_row}, column {next_column})"
        );
        self.width = width;
        self.next = match row + rows == self.rows.end {
            true => [self.rows.start, column + width],
            false => [row + rows, column],
        };
        // SAFETY: the first entry lies inside the block, which lies inside the sheet.
        unsafe { self.sheet.start.add(row * self.sheet.width + column) }
    }

    /// Writes neighbouring entries of the next row.
    pub fn put(&mut self, row: usize, column: usize, values: &[f32]) {
        let to = self.take(row, 1, column, values.len());
        // SAFETY: the block lies in the sheet (`sheet` cuts it so) and no other task's block meets it, so these entries
        // are in the allocation and nobody else's while the block lives; f32 is written whatever was there.
        unsafe { std::ptr::copy_nonoverlapping(values.as_ptr(), to, values.len()) };
    }

    /// Writes the first `width` numbers of each of a tile's rows, `(rows, 32)`, to the next rows.
    pub fn put_tile(&mut self, rows: Range<usize>, [column, width]: [usize; 2], tile: &[f32]) {
        assert!(width <= LANES && tile.len() == rows.len() * LANES, "a tile has 32 numbers for each row");
        let (to, stride) = (self.take(rows.start, rows.len(), column, width), self.sheet.width);
        for (r, values) in tile.as_chunks::<LANES>().0.iter().enumerate() {
            // SAFETY: as in `put`, for `width` columns of each of the rows.
            unsafe {
                let to = to.add(r * stride);
                match width {
                    LANES => to.cast::<[f32; LANES]>().write_unaligned(*values),
                    _ => std::ptr::copy_nonoverlapping(values.as_ptr(), to, width),
                }
            }
        }
    }

    /// Writes products of matrix tiles to the next `rows` rows and `width` (at most 32) columns: `a` has the patches of 32 rows
    /// after those of the 32 before, each as many as `b` has times sixteen lanes.
    pub fn put_products(
        &mut self,
        [row, rows]: [usize; 2],
        [column, width]: [usize; 2],
        a: &[Patch],
        b: &[Pairs],
    ) {
        let steps = b.len() / DEPTH;
        if width < LANES {
            let mut made = vec![0f32; rows * LANES];
            products_below(rows, a, b, &mut made);
            (row..row + rows)
                .zip(made.chunks_exact(LANES))
                .for_each(|(r, m)| self.put(r, column, &m[..width]));
            return;
        }
        let (to, stride) = (self.take(row, rows, column, LANES), self.sheet.width);
        let full = Course { count: rows / SIDE, a: steps, b: 0, out: SIDE * stride };
        // SAFETY: as in `put`, for 32 columns of each of the rows: first of those in whole blocks, then of the rest.
        unsafe {
            products_at(SIDE, steps, a, b, to, stride, full);
            if !rows.is_multiple_of(SIDE) {
                let to = to.add(full.count * full.out);
                products_at(rows % SIDE, steps, &a[full.count * steps..], b, to, stride, Course::ONE);
            }
        }
    }

    /// Whether everything is written.
    fn is_whole(&self) -> bool {
        self.columns.is_empty() || self.next == [self.rows.start, self.columns.end]
    }
}

/// A `(rows, width)` matrix made on all threads, block by block of at most `step` rows and columns, each written as
/// [`Block`] says.
pub fn sheet(rows: usize, width: usize, step: [usize; 2], make: impl Fn(&mut Block<'_>) + Sync) -> Vec<f32> {
    let mut out = Vec::<f32>::with_capacity(rows * width);
    let sheet = Sheet { start: out.as_mut_ptr(), width };
    let [down, right] = step.map(|s| s.max(1));
    let across = width.div_ceil(right);
    (0..rows.div_ceil(down) * across).into_par_iter().for_each(|i| {
        let cut = |at: usize, step: usize, end: usize| at * step..(at * step + step).min(end);
        let (rows, columns) = (cut(i / across, down, rows), cut(i % across, right, width));
        let next = [rows.start, columns.start];
        let mut block = Block { rows, columns, sheet: &sheet, next, width: 0 };
        make(&mut block);
        assert!(block.is_whole(), "a task left something of its block unwritten");
    });
    // SAFETY: the blocks cover the sheet, and each task has written all of its own.
    unsafe { out.set_len(rows * width) };
    out
}

/// Matrices of the same rows and such widths, made on all threads, at most `group` rows at a time: `make` is given a block of each,
/// all its columns, and room that `room` makes now and then.
pub fn sheets<R>(
    rows: usize,
    widths: &[usize],
    group: usize,
    room: impl Fn() -> R + Sync + Send,
    make: impl Fn(&mut R, &mut [Block<'_>]) + Sync + Send,
) -> Vec<Vec<f32>> {
    let group = group.max(1);
    let mut all: Vec<Vec<f32>> = widths.iter().map(|width| Vec::with_capacity(rows * width)).collect();
    let sheets: Vec<Sheet> =
        all.iter_mut().zip(widths).map(|(out, &width)| Sheet { start: out.as_mut_ptr(), width }).collect();
    (0..rows.div_ceil(group)).into_par_iter().for_each_init(room, |room, i| {
        let here = i * group..(i * group + group).min(rows);
        let block = |sheet| Block::new(sheet, here.clone());
        let mut blocks: Vec<Block<'_>> = sheets.iter().map(block).collect();
        make(room, &mut blocks);
        assert!(blocks.iter().all(Block::is_whole), "a task left something of its block unwritten");
    });
    for (out, width) in all.iter_mut().zip(widths) {
        // SAFETY: the blocks cover the sheet, and each task has written all of its own.
        unsafe { out.set_len(rows * width) };
    }
    all
}

/// So many numbers made on all threads, `chunk` at a time: `make` is given the index of a chunk's first number and the chunk,
/// which holds zeros.
pub fn made<T: Zeroable + Send>(count: usize, chunk: usize, make: impl Fn(usize, &mut [T]) + Sync) -> Vec<T> {
    let chunk = chunk.max(1);
    let mut out = Vec::<T>::with_capacity(count);
    out.spare_capacity_mut()[..count].par_chunks_mut(chunk).enumerate().for_each(|(i, part)| {
        // SAFETY: memory for `T` that nobody else sees while this task has it; zero bytes are a `T`, as `Zeroable` says.
        let part = unsafe {
            part.as_mut_ptr().write_bytes(0, part.len());
            std::slice::from_raw_parts_mut(part.as_mut_ptr().cast::<T>(), part.len())
        };
        make(i * chunk, part);
    });
    // SAFETY: every chunk has been cleared, and together they are the first `count`.
    unsafe { out.set_len(count) };
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * step).sin()).collect()
    }

    fn lanes(count: usize, step: f32) -> Vec<Lane<f32>> {
        numbers(count * LANES, step)
            .chunks_exact(LANES)
            .map(|c| Lane(std::array::from_fn(|i| c[i])))
            .collect()
    }

    /// Every version that this processor can run, on every number of rows, against the plain one.
    #[test]
    fn tiles_equal_their_definition_at_every_width_and_number_of_rows() {
        let k = 37;
        let a: Vec<[f32; ROWS]> =
            numbers(k * ROWS, 0.7).chunks_exact(ROWS).map(|c| std::array::from_fn(|i| c[i])).collect();
        let (b, start) = (lanes(k, 0.3), lanes(ROWS, 0.11));
        let g: Vec<Lane<f32>> = lanes(LANES, 0.9);
        let g: &[Lane<f32>; LANES] = g.as_slice().try_into().unwrap_or_else(|_| panic!("32 lanes"));
        for rows in 1..=ROWS {
            let begin: Tile = std::array::from_fn(|r| start[r]);
            let mut all = Vec::new();
            let mut plain = begin;
            by_rows!(rows, along_plain, &a, &b, &mut plain);
            let mut turned = begin;
            by_rows!(rows, across_plain, &start[..rows], g, &mut turned);
            let mut dispatched = (begin, begin);
            along(rows, &a, &b, &mut dispatched.0);
            across(&start[..rows], g, &mut dispatched.1);
            all.push(dispatched);
            #[cfg(target_arch = "x86_64")]
            if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                let mut tiles = (begin, begin);
                // SAFETY: the features were asked for above.
                unsafe {
                    by_rows!(rows, along_avx2, &a, &b, &mut tiles.0);
                    by_rows!(rows, across_avx2, &start[..rows], g, &mut tiles.1);
                }
                // where the dispatched version is a wider one, the bits are the same
                assert!(tiles == dispatched, "{rows} rows");
                all.push(tiles);
            }
            for (forward, back) in all {
                for r in 0..ROWS {
                    for l in 0..LANES {
                        let (found, want) = (forward[r].0[l], plain[r].0[l]);
                        assert!((found - want).abs() < 1e-5, "{rows} rows, {r}/{l}: {found} {want}");
                        let (found, want) = (back[r].0[l], turned[r].0[l]);
                        assert!((found - want).abs() < 1e-5, "{rows} rows back, {r}/{l}: {found} {want}");
                    }
                    if r >= rows {
                        assert!(
                            forward[r] == begin[r] && back[r] == begin[r],
                            "row {r} of {rows} was touched"
                        );
                    }
                }
            }
        }
    }

    /// Two numbers as a pair, each rounded to the nearest bf16.
    fn pair(first: f32, second: f32) -> u32 {
        let bits = |x: f32| u32::from(half::bf16::from_f32(x).to_bits());
        bits(first) | bits(second) << 16
    }

    /// Both versions against sums in f64 of the same bf16 numbers.
    #[test]
    fn tiles_of_pairs_equal_their_definition() {
        let k = 41;
        let both = |i: usize, step: f32| pair((i as f32 * step).sin(), (i as f32 * step + 0.5).cos());
        let a: Vec<[u32; ROWS]> = (0..k).map(|i| std::array::from_fn(|r| both(i * ROWS + r, 0.7))).collect();
        let b: Vec<Pairs> = (0..k).map(|i| Lane(std::array::from_fn(|l| both(i * LANES + l, 0.3)))).collect();
        for rows in 1..=ROWS {
            let begin: Tile = std::array::from_fn(|r| Lane([r as f32; LANES]));
            let (mut plain, mut found) = (begin, begin);
            by_rows!(rows, pairs_plain, &a, &b, &mut plain);
            along_pairs(rows, &a, &b, &mut found);
            for r in 0..ROWS {
                for l in 0..LANES {
                    let term = |k: usize| {
                        let (a, b) = (split(a[k][r]).map(f64::from), split(b[k].0[l]).map(f64::from));
                        a[0] * b[0] + a[1] * b[1]
                    };
                    let sum: f64 = if r < rows { (0..k).map(term).sum() } else { 0.0 };
                    let want = r as f64 + sum;
                    for tile in [&plain, &found] {
                        let error = (f64::from(tile[r].0[l]) - want).abs();
                        assert!(error < 2e-5, "{rows} rows, {r}/{l}: off by {error}");
                    }
                }
            }
        }
    }

    #[test]
    fn what_is_above_a_floor_is_found_in_every_version() {
        let mut sums: Tile = std::array::from_fn(|r| lanes(1, 0.3 + r as f32)[0]);
        let floors: [f32; ROWS] = std::array::from_fn(|r| r as f32 * 0.1 - 0.4);
        sums[1].0[3..6].copy_from_slice(&[f32::NAN, f32::INFINITY, floors[1]]);
        for rows in 0..=ROWS {
            let found = above(rows, &sums, &floors);
            assert_eq!(found, above_plain(rows, &sums, &floors));
            for (r, bits) in found.into_iter().enumerate() {
                let want = |l: usize| r < rows && sums[r].0[l] > floors[r];
                assert!((0..LANES).all(|l| (bits >> l & 1 == 1) == want(l)), "{rows} rows, row {r}");
            }
        }
    }

    #[test]
    fn a_sheet_is_what_its_blocks_write() {
        let out = sheet(7, 10, [3, 4], |block| {
            for row in block.rows.clone() {
                let values: Vec<f32> = block.columns.clone().map(|c| (row * 10 + c) as f32).collect();
                block.put(row, block.columns.start, &values);
            }
        });
        assert_eq!(out, (0..70).map(|i| i as f32).collect::<Vec<_>>());
        assert!(sheet(0, 10, [3, 4], |_| ()).is_empty() && sheet(3, 0, [3, 4], |_| ()).is_empty());
    }

    #[test]
    fn what_is_made_chunk_by_chunk_is_whole() {
        for (count, chunk) in [(0, 3), (7, 3), (9, 3), (5, 0), (5, 100)] {
            let out = made(count, chunk, |from, part: &mut [f32]| {
                assert!(part.iter().all(|v| *v == 0.0));
                part.iter_mut().enumerate().for_each(|(i, v)| *v = (from + i) as f32);
            });
            assert_eq!(out, (0..count).map(|i| i as f32).collect::<Vec<_>>());
        }
    }

    #[test]
    fn sheets_of_the_same_rows_are_what_their_blocks_write() {
        let all = sheets(
            7,
            &[2, 0, 3],
            3,
            || (),
            |(), blocks| {
                for block in blocks {
                    for row in block.rows.clone() {
                        let values: Vec<f32> = block.columns.clone().map(|c| (row * 10 + c) as f32).collect();
                        if !values.is_empty() {
                            block.put(row, 0, &values);
                        }
                    }
                }
            },
        );
        for (found, width) in all.iter().zip([2, 0, 3]) {
            let want = (0..7).flat_map(|r| (0..width).map(move |c| (r * 10 + c) as f32));
            assert_eq!(*found, want.collect::<Vec<_>>());
        }
    }

    #[test]
    #[should_panic(expected = "outside a task's block")]
    fn no_task_writes_beyond_its_block() {
        sheet(4, 8, [4, 8], |block| block.put(0, 0, &[0.0; 9]));
    }

    #[test]
    #[should_panic(expected = "out of turn")]
    fn no_task_writes_an_entry_twice() {
        sheet(4, 8, [4, 8], |block| (0..2).for_each(|_| block.put(0, 0, &[0.0; 8])));
    }

    #[test]
    #[should_panic(expected = "unwritten")]
    fn no_task_leaves_something_out() {
        sheet(4, 8, [4, 8], |block| (0..4).for_each(|row| block.put(row, 0, &[0.0; 7])));
    }
}
