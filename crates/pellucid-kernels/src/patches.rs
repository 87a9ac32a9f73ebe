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

/// 32 inputs' weights of 32 outputs, pairs of inputs beside each other, as pairs of outputs of 32 inputs.
pub fn turn_pairs(from: &[Pairs; DEPTH], to: &mut [Pairs; DEPTH]) {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bw") {
        // SAFETY: safe Rust whose only requirement is the features that the line above has just asked for.
        return unsafe { x86::turn_pairs_avx512(from, to) };
    }
    turn_pairs_plain(from, to);
}

fn turn_pairs_plain(from: &[Pairs; DEPTH], to: &mut [Pairs; DEPTH]) {
    for (p, from) in from.iter().enumerate() {
        for (to, [a, b]) in to.iter_mut().zip(from.0.as_chunks::<2>().0) {
            to.0[2 * p] = (a & 0xFFFF) | b << 16;
            to.0[2 * p + 1] = a >> 16 | (b & 0xFFFF_0000);
        }
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
        // SAFETY: 32 numbers are two registers' worth, and 32 of bf16 are one; neither need be aligned.
        unsafe {
            let [low, high] = [_mm512_loadu_ps(x.as_ptr()), _mm512_loadu_ps(x[16..].as_ptr())];
            let both = std::mem::transmute::<__m512bh, __m512i>(_mm512_cvtne2ps_pbh(high, low));
            _mm512_storeu_si512(to.as_mut_ptr().cast(), both);
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
    pub(super) fn turn_pairs_avx512(from: &[Pairs; DEPTH], to: &mut [Pairs; DEPTH]) {
        let mut parts = [[_mm512_setzero_si512(); 16]; 2];
        for (part, picked) in parts.iter_mut().zip(&PICKED) {
            let picked = load(picked);
            for (row, from) in part.iter_mut().zip(from) {
                if let [low, high] = from.0.as_chunks::<16>().0 {
                    *row = _mm512_permutex2var_epi16(load(low), picked, load(high));
                }
            }
            transposed(part);
        }
        let [first, second] = parts;
        for ((to, first), second) in to.iter_mut().zip(first).zip(second) {
            for (to, both) in to.0.as_chunks_mut::<16>().0.iter_mut().zip(woven(first, second)) {
                // SAFETY: as in `load`.
                unsafe { _mm512_storeu_si512(to.as_mut_ptr().cast(), both) };
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
        let (mut to, mut plain) = ([Pairs::NONE; DEPTH], [Pairs::NONE; DEPTH]);
        turn_pairs(&from, &mut to);
        turn_pairs_plain(&from, &mut plain);
        assert!(to == plain);
        for (q, lane) in to.iter().enumerate() {
            for (i, pair) in lane.0.iter().enumerate() {
                assert_eq!(*pair, number(i, 2 * q) | number(i, 2 * q + 1) << 16);
            }
        }
    }
}
