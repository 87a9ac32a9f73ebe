//! Extremes, sums and counts of sizes of sixteen neighbouring columns over many rows, in one loop: what a sweep spends its time on
//! beside the model.
//!
//! Each column is summed by itself in the order of its rows, so nothing depends on the processor's width.

#![allow(unsafe_code)] // a vector load and store, counting without looking at the bounds, the call: each with its argument

use crate::wide;

/// Columns of a tally: as many as a register of 64 bytes holds.
pub const COLUMNS: usize = 16;

/// Bins in an octave: the exponent of a number's format and the first three bits of its mantissa choose the bin.
pub const PER_OCTAVE: usize = 8;

/// The exponent of the lowest edge: what is smaller is counted in the lowest bin.
pub const LOWEST: i32 = -20;

/// The exponent of the highest edge: what is larger is counted in the highest bin.
pub const HIGHEST: i32 = 16;

/// Bins on one side of zero.
pub const BINS: usize = (HIGHEST - LOWEST) as usize * PER_OCTAVE;

/// Mantissa bits that do not choose the bin.
pub const SHIFT: u32 = 20;

/// What exponent and first mantissa bits read as a number are at the lowest edge.
pub const FOOT: i32 = (127 + LOWEST) * PER_OCTAVE as i32;

/// Counters that a side takes: one for zeros of either sign, which nobody reads, and the bins. Counting zeros too spares a branch.
pub const SIDE: usize = BINS + 1;

/// Counters of a column: positive side, negative side.
pub const BOTH: usize = 2 * SIDE;

/// Extremes of columns, the first rows that have them, and sums.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tally {
    /// The largest number.
    pub most: [f32; COLUMNS],
    /// The smallest.
    pub least: [f32; COLUMNS],
    /// The first row with the largest.
    pub most_at: [u32; COLUMNS],
    /// The first row with the smallest.
    pub least_at: [u32; COLUMNS],
    /// Sums.
    pub sum: [f64; COLUMNS],
    /// Sums of squares. The square of an f32 is exact in f64.
    pub squares: [f64; COLUMNS],
}

impl Tally {
    /// Nothing seen.
    pub const NONE: Self = Tally {
        most: [f32::NEG_INFINITY; COLUMNS],
        least: [f32::INFINITY; COLUMNS],
        most_at: [0; COLUMNS],
        least_at: [0; COLUMNS],
        sum: [0.0; COLUMNS],
        squares: [0.0; COLUMNS],
    };
}

/// The counter of a number among a column's [`BOTH`]: written without branches, for loops over many.
#[inline(always)]
pub fn counter(value: f32) -> usize {
    let bits = value.to_bits();
    let magnitude = (bits & 0x7fff_ffff) as i32;
    let raised = (magnitude >> SHIFT) - (FOOT - 1);
    let low = if raised < 1 { 1 } else { raised };
    let slot = if low > BINS as i32 { BINS as i32 } else { low };
    // The sign bit spread over the word selects the other side.
    let kept = slot + (((bits as i32) >> 31) & SIDE as i32);
    if magnitude == 0 { 0 } else { kept as usize }
}

/// Adds some rows of `width` numbers to the tally of the sixteen columns from `column` on, and counts each number's size among the
/// [`BOTH`] counters of its column; of fewer columns where there are counters of fewer. Panics where a row does not have them all.
///
/// Counters have 16 bits, so that those of sixteen columns lie in the processor's nearest cache: who counts more rows than
/// [`u16::MAX`] has to empty them in between.
pub fn count_rows(
    values: &[f32],
    place: [usize; 2],
    rows: &[u32],
    tally: &mut Tally,
    counters: &mut [[u16; BOTH]],
) {
    #[cfg(target_arch = "x86_64")]
    if let Ok(counters) = <&mut [_; COLUMNS]>::try_from(&mut *counters)
        && is_x86_feature_detected!("avx512f")
        && is_x86_feature_detected!("avx512bw")
        && is_x86_feature_detected!("avx512dq")
    {
        let (pairs, last) = rows.as_chunks::<2>();
        // SAFETY: safe Rust whose only requirement is the features that the lines above have just asked for.
        unsafe { x86::count_pairs(values, place, pairs, tally, counters) };
        return count_rows_plain(values, place, last, tally, counters);
    }
    count_rows_plain(values, place, rows, tally, counters);
}

/// [`count_rows`] of any number of rows and counters, by steps over some rows that lie near by then.
fn count_rows_plain(
    values: &[f32],
    place: [usize; 2],
    rows: &[u32],
    tally: &mut Tally,
    counters: &mut [[u16; BOTH]],
) {
    let mut slots = [[0; COLUMNS]; NEAR];
    for rows in rows.chunks(NEAR) {
        sum_rows(values, place, rows, tally);
        slots_of_rows(values, place, rows, &mut slots);
        for slots in &slots[..rows.len()] {
            match <&mut [_; COLUMNS]>::try_from(&mut *counters) {
                // SAFETY: `slots_of_rows` has made the slots, above.
                Ok(all) => unsafe { count(slots, all) },
                Err(_) => counters.iter_mut().zip(slots).for_each(|(of, slot)| of[usize::from(*slot)] += 1),
            }
        }
    }
}

/// Counts a row by the slots of its columns. The loops over fours are the ones that the compiler writes out.
///
/// # Safety
/// Slots are what [`counter`] gives.
#[inline(always)]
unsafe fn count(row: &[u16; COLUMNS], counters: &mut [[u16; BOTH]; COLUMNS]) {
    let fours = row.as_chunks::<4>().0.iter();
    for (four, counters) in fours.zip(counters.as_chunks_mut::<4>().0) {
        for (&slot, counters) in four.iter().zip(counters) {
            // SAFETY: a slot is at most `BINS + SIDE`, which is below `BOTH`.
            unsafe { *counters.get_unchecked_mut(usize::from(slot)) += 1 };
        }
    }
}

/// Rows that go through one loop after the other.
const NEAR: usize = 32;

/// Sixteen columns of a row.
#[inline(always)]
fn numbers(values: &[f32], [width, column]: [usize; 2], row: u32) -> &[f32; COLUMNS] {
    let from = row as usize * width + column;
    &values[from..from + COLUMNS].as_chunks().0[0]
}

#[inline(always)]
fn sum_rows_body<const FUSED: bool>(values: &[f32], place: [usize; 2], rows: &[u32], tally: &mut Tally) {
    let mut here = *tally;
    for &row in rows {
        let numbers = numbers(values, place, row);
        // a loop for each: what all columns do alike becomes vector code
        for (i, &x) in numbers.iter().enumerate() {
            let above = x > here.most[i];
            here.most[i] = if above { x } else { here.most[i] };
            here.most_at[i] = if above { row } else { here.most_at[i] };
        }
        for (i, &x) in numbers.iter().enumerate() {
            let below = x < here.least[i];
            here.least[i] = if below { x } else { here.least[i] };
            here.least_at[i] = if below { row } else { here.least_at[i] };
        }
    }
    for &row in rows {
        for (i, &x) in numbers(values, place, row).iter().enumerate() {
            let wide = f64::from(x);
            here.sum[i] += wide;
            here.squares[i] += wide * wide;
        }
    }
    *tally = here;
}

wide!(
    /// Adds rows to a tally, and counts nothing.
    sum_rows = sum_rows_body(values: &[f32], place: [usize; 2], rows: &[u32], tally: &mut Tally)
);

/// [`counter`] of all numbers of at most [`NEAR`] rows.
fn slots_of_rows(values: &[f32], place: [usize; 2], rows: &[u32], to: &mut [[u16; COLUMNS]; NEAR]) {
    for (row, to) in rows.iter().zip(to) {
        let numbers = numbers(values, place, *row);
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") {
            // SAFETY: safe Rust whose only requirement is the feature that the line above has just asked for.
            unsafe { x86::slots_of_row(numbers, to) };
            continue;
        }
        to.iter_mut().zip(numbers).for_each(|(slot, &x)| *slot = counter(x) as u16);
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{BINS, BOTH, COLUMNS, FOOT, SHIFT, SIDE, Tally, count};
    use std::arch::x86_64::*;

    /// Of a number's first bits, its sign, behind those of its size; and, set by us, that it is not zero.
    const SIGN: i16 = 0x800;
    const SOME: i16 = 0x1000;

    /// [`super::count_rows`] two rows at a time.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq")]
    pub(super) fn count_pairs(
        values: &[f32],
        [width, column]: [usize; 2],
        pairs: &[[u32; 2]],
        tally: &mut Tally,
        counters: &mut [[u16; BOTH]; COLUMNS],
    ) {
        let mut sums = Sums::of(tally);
        // a slot that is read right after the register it is part of was stored waits for that: by now it has reached the cache
        let mut slots = [const { Slots([[0; COLUMNS]; 2]) }; STRETCH];
        for pairs in pairs.chunks(STRETCH) {
            for (pair, slots) in pairs.iter().zip(&mut slots) {
                let [one, two] = pair.map(|row| {
                    let from = row as usize * width + column;
                    let numbers = &values[from..from + COLUMNS];
                    // SAFETY: the line above has found sixteen numbers there.
                    unsafe { _mm512_loadu_ps(numbers.as_ptr()) }
                });
                sums.add(one, pair[0]);
                sums.add(two, pair[1]);
                let both = slots_of(one, two);
                // SAFETY: the slots are 64 bytes.
                unsafe { _mm512_storeu_si512(slots.0.as_mut_ptr().cast(), both) };
            }
            for row in slots[..pairs.len()].iter().flat_map(|slots| &slots.0) {
                // SAFETY: `slots_of` has made the slots, above.
                unsafe { count(row, counters) };
            }
        }
        sums.give(tally);
    }

    /// Pairs of rows whose slots are found before they are counted.
    const STRETCH: usize = 4;

    /// A register's worth of slots, of two rows, in one line of memory.
    #[repr(align(64))]
    struct Slots([[u16; COLUMNS]; 2]);

    /// A [`Tally`] in registers: numbers, their places, and the two halves of what is summed in f64.
    struct Sums {
        most: __m512,
        least: __m512,
        most_at: __m512i,
        least_at: __m512i,
        sum: [__m512d; 2],
        squares: [__m512d; 2],
    }

    impl Sums {
        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq")]
        fn of(tally: &Tally) -> Self {
            let halves = |of: &[f64; COLUMNS]| {
                // SAFETY: sixteen numbers are twice eight.
                unsafe { [_mm512_loadu_pd(of.as_ptr()), _mm512_loadu_pd(of[8..].as_ptr())] }
            };
            // SAFETY: each of the four is sixteen numbers of 32 bits.
            let (most, least, most_at, least_at) = unsafe {
                (
                    _mm512_loadu_ps(tally.most.as_ptr()),
                    _mm512_loadu_ps(tally.least.as_ptr()),
                    _mm512_loadu_si512(tally.most_at.as_ptr().cast()),
                    _mm512_loadu_si512(tally.least_at.as_ptr().cast()),
                )
            };
            Sums { most, least, most_at, least_at, sum: halves(&tally.sum), squares: halves(&tally.squares) }
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq")]
        fn add(&mut self, x: __m512, row: u32) {
            let at = _mm512_set1_epi32(row as i32);
            let above = _mm512_cmp_ps_mask::<_CMP_GT_OQ>(x, self.most);
            let below = _mm512_cmp_ps_mask::<_CMP_LT_OQ>(x, self.least);
            self.most = _mm512_mask_mov_ps(self.most, above, x);
            self.least = _mm512_mask_mov_ps(self.least, below, x);
            self.most_at = _mm512_mask_mov_epi32(self.most_at, above, at);
            self.least_at = _mm512_mask_mov_epi32(self.least_at, below, at);
            let low = _mm512_cvtps_pd(_mm512_castps512_ps256(x));
            let high = _mm512_cvtps_pd(_mm512_extractf32x8_ps::<1>(x));
            for (i, wide) in [low, high].into_iter().enumerate() {
                self.sum[i] = _mm512_add_pd(self.sum[i], wide);
                // a square is exact: adding it at once rounds as adding it afterwards
                self.squares[i] = _mm512_fmadd_pd(wide, wide, self.squares[i]);
            }
        }

        #[inline]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq")]
        fn give(&self, tally: &mut Tally) {
            // SAFETY: each is sixteen numbers of 32 bits, or twice eight of 64.
            unsafe {
                _mm512_storeu_ps(tally.most.as_mut_ptr(), self.most);
                _mm512_storeu_ps(tally.least.as_mut_ptr(), self.least);
                _mm512_storeu_si512(tally.most_at.as_mut_ptr().cast(), self.most_at);
                _mm512_storeu_si512(tally.least_at.as_mut_ptr().cast(), self.least_at);
                for (to, from) in [(&mut tally.sum, &self.sum), (&mut tally.squares, &self.squares)] {
                    _mm512_storeu_pd(to.as_mut_ptr(), from[0]);
                    _mm512_storeu_pd(to[8..].as_mut_ptr(), from[1]);
                }
            }
        }
    }

    /// [`super::counter`] of a row where registers have 32 bytes.
    #[target_feature(enable = "avx2")]
    pub(super) fn slots_of_row(numbers: &[f32; COLUMNS], to: &mut [u16; COLUMNS]) {
        let first = |from: &[f32]| {
            // SAFETY: half of sixteen numbers are eight.
            let bits = unsafe { _mm256_loadu_si256(from.as_ptr().cast()) };
            let zero = _mm256_cmpeq_epi32(_mm256_slli_epi32::<1>(bits), _mm256_setzero_si256());
            let some = _mm256_andnot_si256(zero, _mm256_set1_epi32(i32::from(SOME)));
            _mm256_or_si256(_mm256_srli_epi32::<{ SHIFT as i32 }>(bits), some)
        };
        let [low, high] = [first(&numbers[..8]), first(&numbers[8..])];
        // the first quarter of both, then the second of both, and so on: put in order
        let both = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_packus_epi32(low, high));
        let spread = |bit: __m256i| _mm256_srai_epi16::<15>(bit);
        let some = spread(_mm256_slli_epi16::<{ SOME.leading_zeros() as i32 }>(both));
        let negative = spread(_mm256_slli_epi16::<{ SIGN.leading_zeros() as i32 }>(both));
        let size = _mm256_and_si256(both, _mm256_set1_epi16(SIGN - 1));
        let low = _mm256_max_epi16(size, _mm256_set1_epi16(FOOT as i16));
        let within = _mm256_min_epi16(low, _mm256_set1_epi16((FOOT + BINS as i32 - 1) as i16));
        let slot = _mm256_sub_epi16(within, _mm256_set1_epi16(FOOT as i16 - 1));
        let other = _mm256_and_si256(negative, _mm256_set1_epi16(SIDE as i16));
        let kept = _mm256_and_si256(some, _mm256_add_epi16(slot, other));
        // SAFETY: sixteen slots are 32 bytes.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), kept) };
    }

    /// [`super::counter`] of two rows, one after the other.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn slots_of(one: __m512, two: __m512) -> __m512i {
        // sign, exponent and the bits of the mantissa that choose the bin, and whether there is anything at all
        let first = |x: __m512| {
            let bits = _mm512_castps_si512(x);
            let some = _mm512_test_epi32_mask(bits, _mm512_set1_epi32(0x7fff_ffff));
            let first = _mm512_srli_epi32::<SHIFT>(bits);
            _mm512_maskz_or_epi32(some, first, _mm512_set1_epi32(i32::from(SOME)))
        };
        // four of the first, four of the second, and so on: put in order
        let order = _mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0);
        let both = _mm512_permutexvar_epi64(order, _mm512_packus_epi32(first(one), first(two)));
        let some = _mm512_test_epi16_mask(both, _mm512_set1_epi16(SOME));
        let negative = _mm512_test_epi16_mask(both, _mm512_set1_epi16(SIGN));
        let size = _mm512_and_si512(both, _mm512_set1_epi16(SIGN - 1));
        let low = _mm512_max_epi16(size, _mm512_set1_epi16(FOOT as i16));
        let within = _mm512_min_epi16(low, _mm512_set1_epi16((FOOT + BINS as i32 - 1) as i16));
        let kept = _mm512_maskz_sub_epi16(some, within, _mm512_set1_epi16(FOOT as i16 - 1));
        _mm512_mask_add_epi16(kept, negative, kept, _mm512_set1_epi16(SIDE as i16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition.
    fn count_one_by_one(
        values: &[f32],
        [width, column]: [usize; 2],
        rows: &[u32],
        tally: &mut Tally,
        counters: &mut [[u16; BOTH]],
    ) {
        for &row in rows {
            let numbers = &values[row as usize * width + column..][..COLUMNS];
            for (i, &x) in numbers.iter().enumerate() {
                if x > tally.most[i] {
                    (tally.most[i], tally.most_at[i]) = (x, row);
                }
                if x < tally.least[i] {
                    (tally.least[i], tally.least_at[i]) = (x, row);
                }
                tally.sum[i] += f64::from(x);
                tally.squares[i] += f64::from(x) * f64::from(x);
            }
            for (counters, &x) in counters.iter_mut().zip(numbers) {
                counters[counter(x)] += 1;
            }
        }
    }

    #[test]
    fn many_rows_count_as_one_by_one() {
        let bits = |i: u32| i.wrapping_mul(0x9e37_79b9) ^ (i >> 3).wrapping_mul(0x85eb_ca6b);
        let special = [
            0.0,
            -0.0,
            f32::MIN_POSITIVE,
            -1e-40,
            1e-40,
            f32::MAX,
            f32::MIN,
            65_535.9,
            65_536.0,
            9.5e-7,
            1.0,
        ];
        let (width, height) = (37, 100);
        let values: Vec<f32> = (0..width * height)
            .map(|i| match f32::from_bits(bits(i as u32)) {
                x if i % 5 == 0 || !x.is_finite() => special[i / 5 % special.len()],
                x if i % 3 == 0 => x.signum() * (1.0 + (i % 7) as f32 / 8.0),
                x => x,
            })
            .collect();
        for rows in [vec![], vec![39], (0..100).collect::<Vec<u32>>(), vec![5, 6, 9, 9, 30, 2, 0]] {
            for (column, count) in [(0, 16), (21, 16), (20, 3)] {
                let (mut one, mut other) = (Tally::NONE, Tally::NONE);
                let mut plain = vec![[7; BOTH]; count];
                let mut quick = plain.clone();
                count_one_by_one(&values, [width, column], &rows, &mut one, &mut plain);
                count_rows(&values, [width, column], &rows, &mut other, &mut quick);
                assert!(plain == quick, "{rows:?} from column {column}");
                assert_eq!(one, other);
                let counted: u16 = quick.iter().flatten().map(|count| count - 7).sum();
                assert_eq!(usize::from(counted), rows.len() * count);
            }
        }
    }

    #[test]
    fn every_size_has_the_counter_of_its_bin() {
        for (value, expected) in [
            (0.0, 0),
            (-0.0, 0),
            (1e-30, 1),
            (-1e-30, SIDE + 1),
            (1.0, (-LOWEST) as usize * PER_OCTAVE + 1),
            (-1.125, SIDE + (-LOWEST) as usize * PER_OCTAVE + 2),
            (1e9, BINS),
            (-1e9, SIDE + BINS),
        ] {
            assert_eq!(counter(value), expected, "{value}");
        }
    }
}
