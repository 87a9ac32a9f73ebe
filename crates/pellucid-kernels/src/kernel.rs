//! Register tiles: the innermost loops of matrix products with packed operands.
//!
//! A tile is [`ROWS`] × [`LANES`] sums that stay in registers while the loop runs along the inner dimension; each step
//! reads one lane of 32 numbers and up to twelve single ones (Goto and van de Geijn 2008). Sums run in order, one fused
//! multiply-add after the other, so a tile's bits depend neither on the width of the processor's registers nor on what
//! else is computed beside it.

#![allow(unsafe_code)] // vector loads and stores, the call of wider versions: each with its argument

#[cfg(target_arch = "x86_64")]
use std::sync::OnceLock;

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
    {
        // in a virtual machine asking who made the processor leaves it, which takes longer than a small product
        static QUICK: OnceLock<bool> = OnceLock::new();
        *QUICK.get_or_init(|| {
            is_x86_feature_detected!("avx512f") && is_x86_feature_detected!("avx512bf16") && x86::is_amd()
        })
    }
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

/// Rows of the same number of columns, at most [`ROWS`], turned: one number of each row beside the other. Numbers of rows that are not
/// given stay.
pub fn by_columns(rows: &[&[f32]], to: &mut [[f32; ROWS]]) {
    #[cfg(target_arch = "x86_64")]
    if let Ok(rows) = <&[&[f32]; ROWS]>::try_from(rows)
        && is_x86_feature_detected!("avx2")
    {
        // SAFETY: safe Rust whose only requirement is the feature that the line above has just asked for.
        return unsafe { by_columns_avx2(rows, to) };
    }
    by_columns_plain(rows, to);
}

fn by_columns_plain(rows: &[&[f32]], to: &mut [[f32; ROWS]]) {
    for (r, row) in rows.iter().enumerate().take(ROWS) {
        to.iter_mut().zip(*row).for_each(|(to, x)| to[r] = *x);
    }
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
use x86::{
    above_avx512, across_avx2, across_avx512, along_avx2, along_avx512, by_columns_avx2, pairs_avx512,
};

#[cfg(target_arch = "x86_64")]
mod x86 {
    use super::{LANES, Lane, Pairs, ROWS, Tile};
    use std::arch::x86_64::{
        __cpuid, __m256, __m512, __m512bh, _CMP_GT_OQ, _mm_storeu_ps, _mm256_castps256_ps128,
        _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_load_ps, _mm256_loadu_ps, _mm256_set1_ps,
        _mm256_setzero_ps, _mm256_shuffle_ps, _mm256_store_ps, _mm256_unpackhi_ps, _mm256_unpacklo_ps,
        _mm512_cmp_ps_mask, _mm512_dpbf16_ps, _mm512_fmadd_ps, _mm512_load_ps, _mm512_load_si512,
        _mm512_set1_epi32, _mm512_set1_ps, _mm512_store_ps,
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

    /// Eight columns at a time; those beyond the last eight as in the plain version.
    #[target_feature(enable = "avx2")]
    pub(super) fn by_columns_avx2(rows: &[&[f32]; ROWS], to: &mut [[f32; ROWS]]) {
        let width = rows.iter().map(|row| row.len()).fold(to.len(), usize::min);
        let whole = width / 8 * 8;
        for (at, to) in to[..whole].as_chunks_mut::<8>().0.iter_mut().enumerate() {
            let here = 8 * at..8 * at + 8;
            for (r, four) in rows.as_chunks::<4>().0.iter().enumerate() {
                let mut x = [_mm256_setzero_ps(); 4];
                for (x, row) in x.iter_mut().zip(four) {
                    // SAFETY: eight numbers of a row.
                    *x = unsafe { _mm256_loadu_ps(row[here.clone()].as_ptr()) };
                }
                for (i, part) in fours(x).into_iter().enumerate() {
                    let (first, second) = (_mm256_castps256_ps128(part), _mm256_extractf128_ps::<1>(part));
                    // SAFETY: four of a column's twelve numbers each.
                    unsafe {
                        _mm_storeu_ps(to[i][4 * r..4 * r + 4].as_mut_ptr(), first);
                        _mm_storeu_ps(to[i + 4][4 * r..4 * r + 4].as_mut_ptr(), second);
                    }
                }
            }
        }
        super::by_columns_plain(&rows.map(|row| &row[whole..width]), &mut to[whole..]);
    }

    /// Four rows turned: register `i` holds column `i` in its low half, column `i + 4` in its high one.
    #[inline]
    #[target_feature(enable = "avx2")]
    fn fours([a, b, c, d]: [__m256; 4]) -> [__m256; 4] {
        let (ab, cd) = (_mm256_unpacklo_ps(a, b), _mm256_unpacklo_ps(c, d));
        let (above, below) = (_mm256_unpackhi_ps(a, b), _mm256_unpackhi_ps(c, d));
        [
            _mm256_shuffle_ps::<0b0100_0100>(ab, cd),
            _mm256_shuffle_ps::<0b1110_1110>(ab, cd),
            _mm256_shuffle_ps::<0b0100_0100>(above, below),
            _mm256_shuffle_ps::<0b1110_1110>(above, below),
        ]
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

    #[test]
    fn rows_are_turned_alike_in_every_version() {
        for (rows, width) in [(12, 0), (12, 1), (12, 8), (12, 29), (7, 24), (1, 9), (0, 3)] {
            let x = numbers(rows * width, 0.7);
            let rows: Vec<&[f32]> = x.chunks_exact(width.max(1)).collect();
            let mut found = vec![[-1.0; ROWS]; width];
            by_columns(&rows, &mut found);
            for (at, column) in found.iter().enumerate() {
                for (r, x) in column.iter().enumerate() {
                    assert_eq!(*x, rows.get(r).map_or(-1.0, |row| row[at]), "row {r}, column {at}");
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
}
