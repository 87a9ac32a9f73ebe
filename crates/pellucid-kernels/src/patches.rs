//! What matrix tiles multiply, laid out for them: rows rounded into patches, and weights turned for the way back.

#![allow(unsafe_code)] // vector loads and stores, the call of wider versions: each with its argument

use crate::kernel::{LANES, Pairs};
use crate::simd::bf16_bits;
use crate::tiles::{DEPTH, Patch};
use crate::wide;

/// Up to 32 rows, the first `width` numbers of every `stride`, as patches of tile registers, rounded:
/// `(⌈width / 32⌉, 32, 16)` pairs. Rows that are not given stay. Numbers too small for f32's normal range may become 0.
pub fn patch_rows(rows: &[f32], stride: usize, width: usize, to: &mut [Patch]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16") {
        // SAFETY: safe Rust whose only requirement is the features that the line above has just asked for.
        return unsafe { x86::patch_rows_avx512(rows, stride, width, to) };
    }
    patch_rows_plain(rows, stride, width, to);
}

/// A step of weights, 32 inputs of 32 outputs in pairs of inputs, as a patch: pairs of outputs of 32 inputs, for which weights are
/// the left operand on the way back.
pub fn left_pairs(from: &[Pairs; DEPTH], to: &mut Patch) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
        // SAFETY: safe Rust whose only requirement is the features that the line above has just asked for.
        return unsafe { x86::left_pairs_avx512(from, to) };
    }
    left_pairs_plain(from, to);
}

fn left_pairs_plain(from: &[Pairs; DEPTH], to: &mut Patch) {
    for (from, to) in from.iter().zip(to.0.as_chunks_mut::<2>().0) {
        let [first, second] = to;
        for ((first, second), [a, b]) in first.iter_mut().zip(second).zip(from.0.as_chunks::<2>().0) {
            *first = (a & 0xFFFF) | b << 16;
            *second = a >> 16 | (b & 0xFFFF_0000);
        }
    }
}

/// Up to 32 rows, the first `width` numbers of every `stride`, turned, as pairs of neighbouring columns in bf16:
/// `(⌈width / 2⌉, 32)`. Rows that are not given count as zeros, and so do columns that fill up a last step. Numbers too small for
/// f32's normal range may become 0.
pub fn pair_columns(rows: &[f32], stride: usize, width: usize, to: &mut [Pairs]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16") {
        // SAFETY: safe Rust whose only requirement is the features that the line above has just asked for.
        return unsafe { x86::pair_columns_avx512(rows, stride, width, to) };
    }
    pair_columns_plain(rows, stride, width, to);
}

fn pair_columns_plain(rows: &[f32], stride: usize, width: usize, to: &mut [Pairs]) {
    for (at, to) in to.chunks_mut(DEPTH).enumerate() {
        to.fill(Pairs::NONE);
        for (l, row) in rows.chunks(stride).enumerate().take(LANES) {
            let part = &row[2 * DEPTH * at..(2 * DEPTH * (at + 1)).min(width)];
            for (to, pair) in to.iter_mut().zip(part.chunks(2)) {
                to.0[l] = bf16_bits(pair[0]) | pair.get(1).map_or(0, |x| bf16_bits(*x) << 16);
            }
        }
    }
}

/// Sixteen lanes of pairs as a patch: a row for each lane's place.
pub fn turn_lanes(from: &[Pairs; DEPTH], to: &mut Patch) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: safe Rust whose only requirement is the feature that the line above has just asked for.
        return unsafe { x86::turn_lanes_avx512(from, to) };
    }
    turn_lanes_plain(from, to);
}

fn turn_lanes_plain(from: &[Pairs; DEPTH], to: &mut Patch) {
    for (l, to) in to.0.iter_mut().enumerate() {
        to.iter_mut().zip(from).for_each(|(to, from)| *to = from.0[l]);
    }
}

/// A square of 32 rows, the first 32 numbers of every `stride`, turned. Panics where there are fewer.
pub fn turn_square(from: &[f32], stride: usize, to: &mut [f32; LANES * LANES]) {
    assert!(stride >= LANES && from.len() >= (LANES - 1) * stride + LANES, "a square of 32 rows");
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") {
        // SAFETY: safe Rust whose only requirement is the feature that the line above has just asked for.
        return unsafe { x86::turn_square_avx512(from, stride, to) };
    }
    turn_square_plain(from, stride, to);
}

fn turn_square_plain(from: &[f32], stride: usize, to: &mut [f32; LANES * LANES]) {
    for (l, to) in to.as_chunks_mut::<LANES>().0.iter_mut().enumerate() {
        to.iter_mut().zip(from[l..].iter().step_by(stride)).for_each(|(to, x)| *to = *x);
    }
}

#[inline(always)]
fn patch_rows_body<const FUSED: bool>(rows: &[f32], stride: usize, width: usize, to: &mut [Patch]) {
    for (r, row) in rows.chunks(stride).enumerate().take(LANES) {
        let (whole, rest) = row[..width].as_chunks::<{ 2 * DEPTH }>();
        for (to, part) in to.iter_mut().zip(whole) {
            for (to, pair) in to.0[r].iter_mut().zip(part.as_chunks::<2>().0) {
                *to = bf16_bits(pair[0]) | bf16_bits(pair[1]) << 16;
            }
        }
        for (to, pair) in to[whole.len()..].iter_mut().flat_map(|to| &mut to.0[r]).zip(rest.chunks(2)) {
            *to = bf16_bits(pair[0]) | pair.get(1).map_or(0, |x| bf16_bits(*x) << 16);
        }
    }
}

wide!(
    /// [`patch_rows`] where rounding is no instruction.
    patch_rows_plain = patch_rows_body(rows: &[f32], stride: usize, width: usize, to: &mut [Patch])
);

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{DEPTH, LANES, Pairs, Patch};
    use std::arch::x86_64::{
        __m512bh, __m512i, _mm512_cvtne2ps_pbh, _mm512_loadu_ps, _mm512_loadu_si512,
        _mm512_permutex2var_epi16, _mm512_permutex2var_epi32, _mm512_set_epi32, _mm512_setzero_si512,
        _mm512_storeu_si512,
    };

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn patch_rows_avx512(rows: &[f32], stride: usize, width: usize, to: &mut [Patch]) {
        for (r, row) in rows.chunks(stride).enumerate().take(LANES) {
            let (whole, rest) = row[..width].as_chunks::<LANES>();
            for (to, x) in to.iter_mut().zip(whole) {
                round(x, &mut to.0[r]);
            }
            if let Some(to) = to.get_mut(whole.len()).filter(|_| !rest.is_empty()) {
                // what lies beyond the row's end stays
                let pairs = rest.len().div_ceil(2);
                let (mut last, mut made) = ([0f32; LANES], [0u32; DEPTH]);
                last[..rest.len()].copy_from_slice(rest);
                round(&last, &mut made);
                to.0[r][..pairs].copy_from_slice(&made[..pairs]);
            }
        }
    }

    /// Rounds 32 numbers to pairs.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn round(x: &[f32; LANES], to: &mut [u32; DEPTH]) {
        store(rounded(x), to);
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bf16")]
    fn rounded(x: &[f32; LANES]) -> __m512i {
        // SAFETY: 32 numbers are two registers' worth, which need not be aligned; and 32 of bf16 are one.
        unsafe {
            let [low, high] = [_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x[16..].as_ptr())];
            std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low))
        }
    }

    /// Of 16 × 16 entries the columns as rows, in four rounds, each of which lays the entries of a row between those of the row
    /// eight further on.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn transposed(rows: &mut [__m512i; 16]) {
        for _ in 0..4 {
            let mut next = [_mm512_setzero_si512(); 16];
            for i in 0..8 {
                [next[2 * i], next[2 * i + 1]] = woven(rows[i], rows[i + 8]);
            }
            *rows = next;
        }
    }

    /// The entries of two registers by turns.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn woven(a: __m512i, b: __m512i) -> [__m512i; 2] {
        let low = _mm512_set_epi32(23, 7, 22, 6, 21, 5, 20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
        let high = _mm512_set_epi32(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8);
        [_mm512_permutex2var_epi32(a, low, b), _mm512_permutex2var_epi32(a, high, b)]
    }

    /// Sixteen entries from anywhere.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(from: &[u32; 16]) -> __m512i {
        // SAFETY: sixteen entries are a register's worth; they need not be aligned.
        unsafe { _mm512_loadu_si512(from.as_ptr().cast()) }
    }

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn store(x: __m512i, to: &mut [u32; 16]) {
        // SAFETY: as in `load`.
        unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), x) }
    }

    /// Of two neighbouring outputs the numbers of the first inputs, 16-bit entries 4q and 4q + 2, and those of the second.
    const PICKED: [[u32; 16]; 2] = {
        let mut picked = [[0; 16]; 2];
        let mut q = 0;
        while q < 16 {
            let both = (4 * q) as u32 | ((4 * q + 2) as u32) << 16;
            (picked[0][q], picked[1][q]) = (both, both + 0x1_0001);
            q += 1;
        }
        picked
    };

    #[target_feature(enable = "avx512f,avx512bw")]
    pub(super) fn left_pairs_avx512(from: &[Pairs; DEPTH], to: &mut Patch) {
        let [first, second] = [load(&PICKED[0]), load(&PICKED[1])];
        for (from, to) in from.iter().zip(to.0.as_chunks_mut::<2>().0) {
            if let [low, high] = from.0.as_chunks::<16>().0 {
                let [low, high] = [load(low), load(high)];
                store(_mm512_permutex2var_epi16(low, first, high), &mut to[0]);
                store(_mm512_permutex2var_epi16(low, second, high), &mut to[1]);
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bf16")]
    pub(super) fn pair_columns_avx512(rows: &[f32], stride: usize, width: usize, to: &mut [Pairs]) {
        for (at, to) in to.chunks_mut(DEPTH).enumerate() {
            let here = LANES * at..(LANES * (at + 1)).min(width);
            let mut turned = [[_mm512_setzero_si512(); 16]; 2];
            for (row, turned) in rows.chunks(stride).zip(turned.as_flattened_mut()) {
                let part = &row[here.clone()];
                *turned = match part.first_chunk() {
                    Some(whole) => rounded(whole),
                    None => {
                        let mut filled = [0f32; LANES];
                        filled[..part.len()].copy_from_slice(part);
                        rounded(&filled)
                    }
                };
            }
            let [left, right] = &mut turned;
            transposed(left);
            transposed(right);
            for ((to, left), right) in to.iter_mut().zip(left).zip(right) {
                if let [first, second] = to.0.as_chunks_mut::<16>().0 {
                    store(*left, first);
                    store(*right, second);
                }
            }
        }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn turn_lanes_avx512(from: &[Pairs; DEPTH], to: &mut Patch) {
        for (half, to) in to.0.as_chunks_mut::<16>().0.iter_mut().enumerate() {
            let mut rows = [_mm512_setzero_si512(); 16];
            for (row, from) in rows.iter_mut().zip(from) {
                *row = load(&from.0.as_chunks::<16>().0[half]);
            }
            transposed(&mut rows);
            to.iter_mut().zip(rows).for_each(|(to, row)| store(row, to));
        }
    }

    #[target_feature(enable = "avx512f")]
    pub(super) fn turn_square_avx512(from: &[f32], stride: usize, to: &mut [f32; LANES * LANES]) {
        for (down, right) in [(0, 0), (0, 16), (16, 0), (16, 16)] {
            let mut rows = [_mm512_setzero_si512(); 16];
            for (row, from) in rows.iter_mut().zip(from[down * stride + right..].chunks(stride)) {
                if let Some(part) = from.first_chunk::<16>() {
                    *row = load(bytemuck::cast_ref(part));
                }
            }
            transposed(&mut rows);
            for (row, to) in rows.iter().zip(to[right * LANES + down..].chunks_mut(LANES)) {
                if let Some(part) = to.first_chunk_mut::<16>() {
                    store(*row, bytemuck::cast_mut(part));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::Lane;

    #[test]
    fn patches_and_turned_pairs_hold_every_number_once() {
        for (rows, width) in [(1usize, 1usize), (5, 31), (32, 64), (17, 75)] {
            let x: Vec<f32> = (0..rows * width).map(|i| (i as f32 * 0.37).sin()).collect();
            let mut patches = vec![Patch::NONE; width.div_ceil(2 * DEPTH)];
            patch_rows(&x, width, width, &mut patches);
            let mut plain = vec![Patch::NONE; patches.len()];
            patch_rows_plain(&x, width, width, &mut plain);
            assert!(patches == plain);
            for r in 0..LANES {
                for i in 0..patches.len() * 2 * DEPTH {
                    let pair = patches[i / (2 * DEPTH)].0[r][i / 2 % DEPTH];
                    let want = if r < rows && i < width { bf16_bits(x[r * width + i]) } else { 0 };
                    assert_eq!(pair >> (16 * (i % 2)) & 0xFFFF, want, "{rows}×{width}: {r}, {i}");
                }
            }
        }
        let number = |input: usize, output: usize| (input * LANES + output) as u32;
        let pair = |p: usize, o: usize| number(2 * p, o) | number(2 * p + 1, o) << 16;
        let from: [Pairs; DEPTH] = std::array::from_fn(|p| Lane(std::array::from_fn(|o| pair(p, o))));
        let (mut to, mut plain) = (Patch::NONE, Patch::NONE);
        left_pairs(&from, &mut to);
        left_pairs_plain(&from, &mut plain);
        assert!(to == plain);
        for (i, row) in to.0.iter().enumerate() {
            for (q, pair) in row.iter().enumerate() {
                assert_eq!(*pair, number(i, 2 * q) | number(i, 2 * q + 1) << 16);
            }
        }
        turn_lanes(&from, &mut to);
        turn_lanes_plain(&from, &mut plain);
        assert!(to == plain && (0..LANES).all(|l| to.0[l] == from.map(|lane| lane.0[l])));
    }

    #[test]
    fn rows_are_turned_and_nothing_else_is_left_there() {
        for (rows, width, stride) in [(1usize, 1usize, 1), (5, 31, 33), (32, 64, 64), (17, 75, 80)] {
            let x: Vec<f32> = (0..rows * stride).map(|i| (i as f32 * 0.37).sin()).collect();
            let mut pairs = vec![Lane([7; LANES]); width.div_ceil(2 * DEPTH) * DEPTH];
            let mut plain = pairs.clone();
            pair_columns(&x, stride, width, &mut pairs);
            pair_columns_plain(&x, stride, width, &mut plain);
            assert!(pairs == plain);
            let bits =
                |r: usize, i: usize| if r < rows && i < width { bf16_bits(x[r * stride + i]) } else { 0 };
            for (p, lane) in pairs.iter().enumerate() {
                for (r, pair) in lane.0.iter().enumerate() {
                    assert_eq!(*pair, bits(r, 2 * p) | bits(r, 2 * p + 1) << 16, "{rows}×{width}: {r}, {p}");
                }
            }
        }
        let x: Vec<f32> = (0..LANES * 40).map(|i| i as f32).collect();
        let (mut to, mut plain) = ([0f32; LANES * LANES], [0f32; LANES * LANES]);
        turn_square(&x, 40, &mut to);
        turn_square_plain(&x, 40, &mut plain);
        assert!(to == plain && (0..LANES * LANES).all(|i| to[i] == x[i % LANES * 40 + i / LANES]));
    }
}
