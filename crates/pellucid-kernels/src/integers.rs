//! One row times a panel of block-quantised weights in integers: the row's numbers are rounded to 16 bits of the largest in their
//! group, so that a group's sum of `code · x` is exact, and one instruction adds 32 products, or 16 in registers of 32 bytes. Against sums
//! in f32 that takes a third of the instructions, or two thirds; a number is off by at most 2⁻¹⁶ of the largest beside it, where bf16 is off by 2⁻⁹ of itself.

#![allow(unsafe_code)] // vector loads and stores, the calls: each with its argument

use crate::codes::{Groups, Numbers};
use crate::kernel::{LANES, Lane};
use crate::wide;

/// Outputs whose codes share bytes with the next so many.
const HALF: usize = LANES / 2;

/// Codes of a signed byte are counted from here.
const MIDDLE: i32 = 128;

/// A row rounded to integers.
#[derive(Clone, Debug)]
pub struct Rounded {
    /// Two neighbouring numbers, the first in the low half.
    pairs: Vec<u32>,
    /// What each group's integers are multiples of.
    steps: Vec<f32>,
    /// −128 times the sum of each group's integers.
    below: Vec<i32>,
    group: usize,
}

impl Rounded {
    /// Rounds a row in groups of so many numbers, an even number; whole groups alone are looked at. A group that holds what is not
    /// finite gives what is not a number.
    pub fn of(x: &[f32], group: usize) -> Self {
        let groups = x.chunks_exact(group);
        let mut rounded = Rounded {
            pairs: Vec::with_capacity(x.len() / 2),
            steps: Vec::with_capacity(groups.len()),
            below: Vec::with_capacity(groups.len()),
            group,
        };
        for x in groups {
            let from = rounded.pairs.len();
            rounded.pairs.resize(from + group / 2, 0);
            let (step, sum) = round(x, &mut rounded.pairs[from..]);
            rounded.steps.push(step);
            rounded.below.push(-MIDDLE * sum);
        }
        rounded
    }

    /// The pairs of a group.
    fn group(&self, at: usize) -> &[u32] {
        let pairs = self.group / 2;
        &self.pairs[at * pairs..][..pairs]
    }
}

/// A group as integers, what they are multiples of, and their sum.
#[inline(always)]
fn round_body<const FUSED: bool>(x: &[f32], to: &mut [u32]) -> (f32, i32) {
    const MOST: f32 = i16::MAX as f32;
    // read as integers, sizes are in order, and what is no number is above all
    let largest = f32::from_bits(x.iter().fold(0, |most, x| most.max(x.to_bits() & 0x7FFF_FFFF)));
    let up = if largest > 0.0 { MOST / largest } else { 0.0 };
    let mut sum = 0i32;
    for (to, pair) in to.iter_mut().zip(x.as_chunks::<2>().0) {
        let [a, b] = pair.map(|x| (x * up).round_ties_even() as i16);
        sum += i32::from(a) + i32::from(b);
        *to = u32::from(a.cast_unsigned()) | u32::from(b.cast_unsigned()) << 16;
    }
    (largest / MOST, sum)
}

wide!(round = round_body(x: &[f32], to: &mut [u32]) -> (f32, i32));

/// The instructions that integers are multiplied with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Integers {
    /// AVX-512 with VNNI and VBMI.
    Wide,
    /// AVX2.
    Narrow,
}

/// What this processor has of them; where it has none, [`crate::codes`] is the faster way.
pub fn here() -> Option<Integers> {
    #[cfg(target_arch = "x86_64")]
    {
        if is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vbmi")
            && is_x86_feature_detected!("avx512vnni")
        {
            return Some(Integers::Wide);
        }
        if is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("fma")
            && is_x86_feature_detected!("f16c")
        {
            return Some(Integers::Narrow);
        }
    }
    None
}

/// Adds the products of a row with 4-bit codes, `(inputs, 16)`: outputs 0 to 15 in the low halves, 16 to 31 in the high ones. Groups
/// have a multiple of four inputs. Panics where there are fewer codes or groups than the row has.
pub fn nibble_row(x: &Rounded, codes: &[[u8; HALF]], groups: Groups<'_>, sums: &mut Lane<f32>) {
    assert!(x.group.is_multiple_of(4) && groups.group == x.group, "groups of {} inputs", x.group);
    let codes = &codes[..2 * x.pairs.len()];
    #[cfg(target_arch = "x86_64")]
    match here() {
        // SAFETY: safe Rust whose only requirement is the features that the line above has just asked for.
        Some(Integers::Wide) => return unsafe { wide::nibble_row(x, codes.as_flattened(), groups, sums) },
        // SAFETY: as above.
        Some(Integers::Narrow) => {
            return unsafe { narrow::nibble_row(x, codes.as_flattened(), groups, sums) };
        }
        None => {}
    }
    plain(x, groups, sums, |input, l| i32::from(codes[input][l % HALF] >> (4 * (l / HALF)) & 0xF), false);
}

/// Adds the products of a row with 8-bit codes, `(inputs, 32)`. Panics where there are fewer codes or groups than the row has.
pub fn byte_row(x: &Rounded, codes: &[[i8; LANES]], groups: Groups<'_>, sums: &mut Lane<f32>) {
    assert!(x.group.is_multiple_of(2) && groups.group == x.group, "groups of {} inputs", x.group);
    let codes = &codes[..2 * x.pairs.len()];
    #[cfg(target_arch = "x86_64")]
    {
        let codes = bytemuck::cast_slice(codes.as_flattened());
        match here() {
            // SAFETY: safe Rust whose only requirement is the features that the line above has just asked for.
            Some(Integers::Wide) => return unsafe { wide::byte_row(x, codes, groups, sums) },
            // SAFETY: as above.
            Some(Integers::Narrow) => return unsafe { narrow::byte_row(x, codes, groups, sums) },
            None => {}
        }
    }
    plain(x, groups, sums, |input, l| i32::from(codes[input][l]) + MIDDLE, true);
}

/// What both are, code by code; those of signed bytes counted from the middle.
fn plain(
    x: &Rounded,
    groups: Groups<'_>,
    sums: &mut Lane<f32>,
    code: impl Fn(usize, usize) -> i32,
    signed: bool,
) {
    for (at, step) in x.steps.iter().enumerate() {
        let scale = groups.scales.lane(at);
        let shift = groups.shifts.map(|shifts| shifts.lane(at));
        for (l, sum) in sums.0.iter_mut().enumerate() {
            let mut product = if signed { x.below[at] } else { 0 };
            for (pair, both) in x.group(at).iter().enumerate() {
                let input = at * x.group + 2 * pair;
                let [a, b] = [*both as u16, (both >> 16) as u16].map(|x| i32::from(x.cast_signed()));
                product += a * code(input, l) + b * code(input + 1, l);
            }
            *sum = (product as f32).mul_add(scale.0[l] * step, *sum);
            if let Some(shift) = &shift {
                *sum = shift.0[l].mul_add(groups.totals[at], *sum);
            }
        }
    }
}

/// Lanes of scales that are fetched ahead of their use.
#[cfg(target_arch = "x86_64")]
const LANES_AHEAD: usize = 32;

#[cfg(target_arch = "x86_64")]
mod wide {
    use super::{Groups, HALF, LANES_AHEAD, Lane, Numbers, Rounded};
    use crate::codes::AHEAD;
    use crate::pages::fetch_ahead;
    use half::f16;
    use std::arch::x86_64::*;

    /// Where in a register the codes of two inputs lie that are `apart` bytes from each other: for sixteen outputs one of the first
    /// input and one of the second, each followed by what [`SPREAD`] makes zero.
    const fn places(first: u8, apart: u8) -> [u8; 64] {
        let mut places = [0; 64];
        let mut at = 0;
        while at < 16 {
            places[4 * at] = first + at as u8;
            places[4 * at + 2] = first + at as u8 + apart;
            at += 1;
        }
        places
    }

    /// Every other byte.
    const SPREAD: __mmask64 = 0x5555_5555_5555_5555;

    #[inline]
    #[target_feature(enable = "avx512f")]
    fn load(bytes: &[u8; 64]) -> __m512i {
        // SAFETY: 64 bytes.
        unsafe { _mm512_loadu_si512(bytes.as_ptr().cast()) }
    }

    /// Half of a lane of numbers.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn half(numbers: &Numbers<'_>, at: usize, half: usize) -> __m512 {
        match numbers {
            Numbers::Half(all) => {
                let from = &all[at].0[half * HALF..][..HALF];
                fetch_ahead(&from[..1], LANES_AHEAD * size_of::<Lane<f16>>());
                // SAFETY: sixteen numbers of 16 bits.
                _mm512_cvtph_ps(unsafe { _mm256_loadu_si256(from.as_ptr().cast()) })
            }
            Numbers::Full(all) => {
                let from = &all[at].0[half * HALF..][..HALF];
                fetch_ahead(&from[..1], LANES_AHEAD * size_of::<Lane<f32>>());
                // SAFETY: sixteen numbers.
                unsafe { _mm512_loadu_ps(from.as_ptr()) }
            }
        }
    }

    /// Adds a group's products, exact sums of 16 outputs each.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn add(groups: &Groups<'_>, step: f32, at: usize, products: [__m512i; 2], sums: &mut [__m512; 2]) {
        for (i, (product, sum)) in products.into_iter().zip(sums).enumerate() {
            let scale = _mm512_mul_ps(half(&groups.scales, at, i), _mm512_set1_ps(step));
            *sum = _mm512_fmadd_ps(_mm512_cvtepi32_ps(product), scale, *sum);
            if let Some(shifts) = &groups.shifts {
                *sum = _mm512_fmadd_ps(half(shifts, at, i), _mm512_set1_ps(groups.totals[at]), *sum);
            }
        }
    }

    /// The sums of 32 outputs in registers, and back.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn with_sums(sums: &mut Lane<f32>, work: impl FnOnce(&mut [__m512; 2])) {
        let (halves, _) = sums.0.as_chunks_mut::<HALF>();
        // SAFETY: sixteen numbers each.
        let mut held = unsafe { [_mm512_loadu_ps(halves[0].as_ptr()), _mm512_loadu_ps(halves[1].as_ptr())] };
        work(&mut held);
        for (to, from) in halves.iter_mut().zip(held) {
            // SAFETY: as above.
            unsafe { _mm512_storeu_ps(to.as_mut_ptr(), from) };
        }
    }

    /// As [`super::byte_row`]; two inputs are 64 bytes.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
    pub(super) fn byte_row(x: &Rounded, codes: &[u8], groups: Groups<'_>, sums: &mut Lane<f32>) {
        let [low, high] = const { [places(0, 32), places(16, 32)] };
        let (low, high) = (load(&low), load(&high));
        let middle = _mm512_set1_epi8(i8::MIN);
        with_sums(sums, |sums| {
            for (at, codes) in codes.chunks_exact(2 * HALF * x.group).enumerate() {
                let mut products = [_mm512_set1_epi32(x.below[at]); 2];
                for (codes, pair) in codes.as_chunks::<64>().0.iter().zip(x.group(at)) {
                    fetch_ahead(codes, AHEAD);
                    let pair = _mm512_set1_epi32(pair.cast_signed());
                    let codes = _mm512_xor_si512(load(codes), middle);
                    for (product, places) in products.iter_mut().zip([low, high]) {
                        let spread = _mm512_maskz_permutexvar_epi8(SPREAD, places, codes);
                        *product = _mm512_dpwssd_epi32(*product, spread, pair);
                    }
                }
                add(&groups, x.steps[at], at, products, sums);
            }
        });
    }

    /// As [`super::nibble_row`]; four inputs are 64 bytes.
    #[target_feature(enable = "avx512f,avx512bw,avx512vbmi,avx512vnni")]
    pub(super) fn nibble_row(x: &Rounded, codes: &[u8], groups: Groups<'_>, sums: &mut Lane<f32>) {
        let [first, second] = const { [places(0, 16), places(32, 16)] };
        let places = [load(&first), load(&second)];
        let low = _mm512_set1_epi8(0xF);
        with_sums(sums, |sums| {
            for (at, codes) in codes.chunks_exact(HALF * x.group).enumerate() {
                let mut products = [[_mm512_setzero_si512(); 2]; 2];
                for (codes, pairs) in codes.as_chunks::<64>().0.iter().zip(x.group(at).as_chunks::<2>().0) {
                    fetch_ahead(codes, AHEAD);
                    let codes = load(codes);
                    let halves =
                        [codes, _mm512_srli_epi16::<4>(codes)].map(|codes| _mm512_and_si512(codes, low));
                    // the sums of two pairs are kept apart: the processor goes on with one while it waits for the other
                    for ((products, &places), pair) in products.iter_mut().zip(&places).zip(pairs) {
                        let pair = _mm512_set1_epi32(pair.cast_signed());
                        for (product, codes) in products.iter_mut().zip(halves) {
                            let spread = _mm512_maskz_permutexvar_epi8(SPREAD, places, codes);
                            *product = _mm512_dpwssd_epi32(*product, spread, pair);
                        }
                    }
                }
                let [first, second] = products;
                let products = [_mm512_add_epi32(first[0], second[0]), _mm512_add_epi32(first[1], second[1])];
                add(&groups, x.steps[at], at, products, sums);
            }
        });
    }
}

#[cfg(target_arch = "x86_64")]
mod narrow {
    use super::{Groups, LANES_AHEAD, Lane, Numbers, Rounded};
    use crate::codes::AHEAD;
    use crate::pages::fetch_ahead;
    use half::f16;
    use std::arch::x86_64::*;

    /// Numbers in a register; a lane is four of them.
    const QUARTER: usize = 8;

    #[inline]
    #[target_feature(enable = "avx2")]
    fn load(bytes: &[u8; 32]) -> __m256i {
        // SAFETY: 32 bytes.
        unsafe { _mm256_loadu_si256(bytes.as_ptr().cast()) }
    }

    /// A quarter of a lane of numbers.
    #[inline]
    #[target_feature(enable = "avx2,f16c")]
    fn quarter(numbers: &Numbers<'_>, at: usize, quarter: usize) -> __m256 {
        match numbers {
            Numbers::Half(all) => {
                let from = &all[at].0[quarter * QUARTER..][..QUARTER];
                fetch_ahead(&from[..1], LANES_AHEAD * size_of::<Lane<f16>>());
                // SAFETY: eight numbers of 16 bits.
                _mm256_cvtph_ps(unsafe { _mm_loadu_si128(from.as_ptr().cast()) })
            }
            Numbers::Full(all) => {
                let from = &all[at].0[quarter * QUARTER..][..QUARTER];
                fetch_ahead(&from[..1], LANES_AHEAD * size_of::<Lane<f32>>());
                // SAFETY: eight numbers.
                unsafe { _mm256_loadu_ps(from.as_ptr()) }
            }
        }
    }

    /// Adds a group's products, exact sums of 8 outputs each.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    fn add(groups: &Groups<'_>, step: f32, at: usize, products: [__m256i; 4], sums: &mut [__m256; 4]) {
        for (i, (product, sum)) in products.into_iter().zip(sums).enumerate() {
            let scale = _mm256_mul_ps(quarter(&groups.scales, at, i), _mm256_set1_ps(step));
            *sum = _mm256_fmadd_ps(_mm256_cvtepi32_ps(product), scale, *sum);
            if let Some(shifts) = &groups.shifts {
                *sum = _mm256_fmadd_ps(quarter(shifts, at, i), _mm256_set1_ps(groups.totals[at]), *sum);
            }
        }
    }

    /// The sums of 32 outputs in registers, and back.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn with_sums(sums: &mut Lane<f32>, work: impl FnOnce(&mut [__m256; 4])) {
        let (quarters, _) = sums.0.as_chunks_mut::<QUARTER>();
        let mut held = [_mm256_setzero_ps(); 4];
        for (held, from) in held.iter_mut().zip(&*quarters) {
            // SAFETY: eight numbers.
            *held = unsafe { _mm256_loadu_ps(from.as_ptr()) };
        }
        work(&mut held);
        for (to, from) in quarters.iter_mut().zip(held) {
            // SAFETY: as above.
            unsafe { _mm256_storeu_ps(to.as_mut_ptr(), from) };
        }
    }

    /// Adds to `sums` the products of bytes, of which every two that follow one another belong to one output, with the two 16-bit numbers
    /// that `pairs` holds again and again: first of the bytes in the low half of each 16, then of those in the high half.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn multiply(bytes: __m256i, pairs: __m256i, sums: &mut [__m256i; 2]) {
        let zero = _mm256_setzero_si256();
        let spread = [_mm256_unpacklo_epi8(bytes, zero), _mm256_unpackhi_epi8(bytes, zero)];
        for (sum, spread) in sums.iter_mut().zip(spread) {
            *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(spread, pairs));
        }
    }

    /// The low halves of two registers, and their high halves.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn halves(one: __m256i, other: __m256i) -> [__m256i; 2] {
        [_mm256_permute2x128_si256::<0x20>(one, other), _mm256_permute2x128_si256::<0x31>(one, other)]
    }

    /// The sums of the halves of two registers.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn joined([one, other]: [__m256i; 2]) -> __m256i {
        let [low, high] = halves(one, other);
        _mm256_add_epi32(low, high)
    }

    /// As [`super::byte_row`]; an input is 32 bytes.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn byte_row(x: &Rounded, codes: &[u8], groups: Groups<'_>, sums: &mut Lane<f32>) {
        let middle = _mm256_set1_epi8(i8::MIN);
        with_sums(sums, |sums| {
            for (at, codes) in codes.chunks_exact(32 * x.group).enumerate() {
                // of outputs 0 to 3 and 16 to 19, 4 to 7 and 20 to 23; then 8 and 24 on, 12 and 28 on
                let mut products = [[_mm256_set1_epi32(x.below[at]); 2]; 2];
                for (two, pair) in codes.as_chunks::<32>().0.as_chunks::<2>().0.iter().zip(x.group(at)) {
                    fetch_ahead(two, AHEAD);
                    let pair = _mm256_set1_epi32(pair.cast_signed());
                    let [one, other] = [&two[0], &two[1]].map(|codes| _mm256_xor_si256(load(codes), middle));
                    let woven = [_mm256_unpacklo_epi8(one, other), _mm256_unpackhi_epi8(one, other)];
                    for (products, woven) in products.iter_mut().zip(woven) {
                        multiply(woven, pair, products);
                    }
                }
                let [[a, b], [c, d]] = products;
                let ([first, third], [second, fourth]) = (halves(a, b), halves(c, d));
                add(&groups, x.steps[at], at, [first, second, third, fourth], sums);
            }
        });
    }

    /// Where the bytes of the first and the third of four numbers of 16 bits lie, twice; and how much further on those of the second and
    /// the fourth.
    const FIRST: i64 = 0x0504_0100_0504_0100;
    const SECOND: i64 = 0x0202_0202_0202_0202;

    /// As [`super::nibble_row`]; two inputs are 32 bytes.
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(super) fn nibble_row(x: &Rounded, codes: &[u8], groups: Groups<'_>, sums: &mut Lane<f32>) {
        let low = _mm256_set1_epi8(0xF);
        let order = _mm256_setr_epi64x(FIRST, FIRST, FIRST + SECOND, FIRST + SECOND);
        with_sums(sums, |sums| {
            for (at, codes) in codes.chunks_exact(16 * x.group).enumerate() {
                // of outputs 0 to 3 and 4 to 7, 8 to 11 and 12 to 15, and the same from 16 on: one half of a register has the sum of
                // inputs 0 and 2 of each four, the other that of 1 and 3
                let mut products = [[[_mm256_setzero_si256(); 2]; 2]; 2];
                let pairs = x.group(at).as_chunks::<2>().0;
                for (four, pairs) in codes.as_chunks::<32>().0.as_chunks::<2>().0.iter().zip(pairs) {
                    fetch_ahead(four, AHEAD);
                    let numbers = (u64::from(pairs[1]) << 32 | u64::from(pairs[0])).cast_signed();
                    let numbers = _mm256_shuffle_epi8(_mm256_set1_epi64x(numbers), order);
                    let [one, other] = [&four[0], &four[1]].map(|codes| load(codes));
                    let woven = [_mm256_unpacklo_epi8(one, other), _mm256_unpackhi_epi8(one, other)];
                    let lows = woven.map(|codes| _mm256_and_si256(codes, low));
                    let highs = woven.map(|codes| _mm256_and_si256(_mm256_srli_epi16::<4>(codes), low));
                    for (products, codes) in products.iter_mut().zip([lows, highs]) {
                        for (products, codes) in products.iter_mut().zip(codes) {
                            multiply(codes, numbers, products);
                        }
                    }
                }
                let [[a, b], [c, d]] = products;
                add(&groups, x.steps[at], at, [joined(a), joined(b), joined(c), joined(d)], sums);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use half::f16;

    fn row(inputs: usize) -> Vec<f32> {
        (0..inputs).map(|i| (i as f32 * 0.7).sin() * 2f32.powi(i as i32 % 5)).collect()
    }

    /// What the processor's instructions give is what the definition gives, to the bit, and near the product of the numbers that
    /// were not rounded.
    #[test]
    fn integers_multiply_as_their_definition_and_nearly_as_numbers() {
        for group in [16, 32] {
            let (inputs, count) = (3 * group, 3);
            let x = row(inputs);
            let rounded = Rounded::of(&x, group);
            let lanes = |step: f32| -> Vec<Lane<f32>> {
                let number =
                    |g: usize, l: usize| f16::from_f32(((g * LANES + l) as f32 * step).cos()).to_f32();
                (0..count).map(|g| Lane(std::array::from_fn(|l| number(g, l)))).collect()
            };
            let (scales, shifts) = (lanes(0.3), lanes(0.9));
            let small: Vec<Lane<f16>> = scales.iter().map(|lane| Lane(lane.0.map(f16::from_f32))).collect();
            let totals: Vec<f32> = x.chunks(group).map(|x| x.iter().sum()).collect();
            let bytes: Vec<[i8; LANES]> =
                (0..inputs).map(|i| std::array::from_fn(|l| (i * 37 + l * 11) as u8 as i8)).collect();
            let nibbles: Vec<[u8; HALF]> =
                (0..inputs).map(|i| std::array::from_fn(|l| (i * 53 + l * 29) as u8)).collect();
            let nibble = |i: usize, l: usize| i32::from(nibbles[i][l % HALF] >> (4 * (l / HALF)) & 0xF);
            for scales_kept in [Numbers::Full(&scales), Numbers::Half(&small)] {
                for shifts in [Some(&shifts[..]), None] {
                    let groups = Groups {
                        group,
                        scales: scales_kept,
                        shifts: shifts.map(Numbers::Full),
                        totals: &totals,
                    };
                    let start = Lane([1.0; LANES]);
                    let (mut by_byte, mut by_nibble) = (start, start);
                    byte_row(&rounded, &bytes, groups, &mut by_byte);
                    nibble_row(&rounded, &nibbles, groups, &mut by_nibble);
                    let (mut of_bytes, mut of_nibbles) = (start, start);
                    plain(&rounded, groups, &mut of_bytes, |i, l| i32::from(bytes[i][l]) + MIDDLE, true);
                    plain(&rounded, groups, &mut of_nibbles, nibble, false);
                    assert!(by_byte == of_bytes && by_nibble == of_nibbles, "groups of {group}");
                    for (l, (by_byte, by_nibble)) in by_byte.0.into_iter().zip(by_nibble.0).enumerate() {
                        let near = |found: f32, code: &dyn Fn(usize) -> f64| {
                            let term = |i: usize| {
                                let shift = shifts.map_or(0.0, |s| f64::from(s[i / group].0[l]));
                                (code(i) * f64::from(scales[i / group].0[l]) + shift) * f64::from(x[i])
                            };
                            let want: f64 = 1.0 + (0..inputs).map(term).sum::<f64>();
                            let size: f64 = (0..inputs).map(|i| term(i).abs()).sum();
                            assert!((f64::from(found) - want).abs() < 1e-4 * size, "{found} for {want}");
                        };
                        near(by_byte, &|i| f64::from(bytes[i][l]));
                        near(by_nibble, &|i| f64::from(nibble(i, l)));
                    }
                }
            }
        }
    }

    #[test]
    fn zeros_are_zeros_and_what_is_no_number_is_none() {
        let one = Lane([f32::from(1u8); LANES]);
        let of = |x: &[f32]| {
            let groups = Groups { group: 4, scales: Numbers::Full(&[one]), shifts: None, totals: &[0.0] };
            let mut sums = Lane::ZERO;
            byte_row(&Rounded::of(x, 4), &[[3; LANES]; 4], groups, &mut sums);
            sums.0[5]
        };
        assert_eq!(of(&[0.0, -0.0, 0.0, 0.0]), 0.0);
        assert_eq!(of(&[1.0, 0.0, 0.0, -1.0]), 0.0);
        assert_eq!(of(&[2.0, 0.0, 0.0, 0.0]), 6.0);
        assert!(of(&[f32::NAN, 1.0, 0.0, 0.0]).is_nan());
        assert!(of(&[1.0, 0.0, f32::NEG_INFINITY, 0.0]).is_nan());
        assert!(of(&[1e-45, 0.0, 0.0, 0.0]) < 1e-43);
    }
}
