//! One row times a panel of weights kept in few bits, without writing the weights out first.
//!
//! Of block-quantised ones, `Σ (code · scale + shift) · x` is `scale · Σ code · x + shift · Σ x` in each group of inputs; sums
//! are f32, and differ from the product with written-out weights by rounding alone. Of bf16 ones the sums are the same to the
//! bit.

use crate::kernel::{LANES, Lane, Pairs, split};
use crate::pages::fetch_ahead;
use crate::simd::multiply_add;
use crate::wide;
use half::f16;

/// Outputs whose codes share bytes with the next so many.
const HALF: usize = LANES / 2;

/// What the groups of a panel are multiplied by.
#[derive(Clone, Copy, Debug)]
pub struct Groups<'a> {
    /// Inputs of a group.
    pub group: usize,
    /// A lane for each group.
    pub scales: Numbers<'a>,
    /// A lane for each group, or nothing.
    pub shifts: Option<Numbers<'a>>,
    /// The sum of each group's inputs.
    pub totals: &'a [f32],
}

/// Lanes of 16 or 32 bits.
#[derive(Clone, Copy, Debug)]
pub enum Numbers<'a> {
    /// In half precision.
    Half(&'a [Lane<f16>]),
    /// In single precision.
    Full(&'a [Lane<f32>]),
}

impl Numbers<'_> {
    /// One lane, widened.
    #[inline(always)]
    pub(crate) fn lane(&self, at: usize) -> Lane<f32> {
        match self {
            Numbers::Half(all) => {
                let mut wide = Lane::ZERO;
                wide.0.iter_mut().zip(&all[at].0).for_each(|(wide, half)| *wide = widened(*half));
                wide
            }
            Numbers::Full(all) => all[at],
        }
    }
}

/// What half precision says, in arithmetic that vectorises: the exponent is moved by a product, which is exact.
#[inline(always)]
fn widened(half: f16) -> f32 {
    const UP: f32 = f32::from_bits((127 + 112) << 23);
    let bits = u32::from(half.to_bits());
    let size = f32::from_bits((bits & 0x7FFF) << 13) * UP;
    let beyond = if bits & 0x7C00 == 0x7C00 { 0x7F80_0000 } else { 0 };
    f32::from_bits(size.to_bits() | beyond | (bits & 0x8000) << 16)
}

/// Bytes that codes are fetched ahead of their use.
pub(crate) const AHEAD: usize = 4096;

impl Groups<'_> {
    #[inline(always)]
    fn add<const FUSED: bool>(&self, at: usize, products: &[[f32; HALF]; 2], sums: &mut Lane<f32>) {
        let scale = self.scales.lane(at);
        for (l, sum) in sums.0.iter_mut().enumerate() {
            *sum = multiply_add::<FUSED>(scale.0[l], products[l / HALF][l % HALF], *sum);
        }
        if let Some(shifts) = &self.shifts {
            let (shift, total) = (shifts.lane(at), self.totals[at]);
            sums.0
                .iter_mut()
                .zip(&shift.0)
                .for_each(|(sum, s)| *sum = multiply_add::<FUSED>(*s, total, *sum));
        }
    }
}

/// Sums of even and of odd inputs are kept apart: the processor goes on with one while it waits for the other.
#[inline(always)]
fn folded(parts: [[[f32; HALF]; 2]; 2]) -> [[f32; HALF]; 2] {
    let [even, odd] = parts;
    std::array::from_fn(|h| std::array::from_fn(|l| even[h][l] + odd[h][l]))
}

/// Adds the products of `x` with codes, of which `read` gives those of outputs `l` and `l + 16`.
#[inline(always)]
fn row_of_codes<const FUSED: bool, C>(
    x: &[f32],
    codes: &[C],
    groups: Groups<'_>,
    sums: &mut Lane<f32>,
    read: impl Fn(&C, usize) -> [f32; 2],
) {
    let work = codes.chunks(groups.group).zip(x.chunks(groups.group));
    for (at, (codes, x)) in work.enumerate() {
        fetch_ahead(codes, AHEAD);
        let mut parts = [[[0f32; HALF]; 2]; 2];
        for (codes, x) in codes.as_chunks::<2>().0.iter().zip(x.as_chunks::<2>().0) {
            for ((codes, x), [lows, highs]) in codes.iter().zip(x).zip(&mut parts) {
                for (l, (sum_low, sum_high)) in lows.iter_mut().zip(highs).enumerate() {
                    let [low, high] = read(codes, l);
                    *sum_low = multiply_add::<FUSED>(low, *x, *sum_low);
                    *sum_high = multiply_add::<FUSED>(high, *x, *sum_high);
                }
            }
        }
        groups.add::<FUSED>(at, &folded(parts), sums);
    }
}

#[inline(always)]
fn nibble_row_body<const FUSED: bool>(
    x: &[f32],
    codes: &[[u8; HALF]],
    groups: Groups<'_>,
    sums: &mut Lane<f32>,
) {
    row_of_codes::<FUSED, _>(x, codes, groups, sums, |codes, l| {
        let code = u32::from(codes[l]);
        [(code & 0xF) as i32 as f32, (code >> 4) as i32 as f32]
    });
}

#[inline(always)]
fn byte_row_body<const FUSED: bool>(
    x: &[f32],
    codes: &[[i8; LANES]],
    groups: Groups<'_>,
    sums: &mut Lane<f32>,
) {
    row_of_codes::<FUSED, _>(x, codes, groups, sums, |codes, l| [codes[l], codes[l + HALF]].map(f32::from));
}

#[inline(always)]
fn pair_row_body<const FUSED: bool>(x: &[f32], pairs: &[Pairs], sums: &mut Lane<f32>) {
    let mut held = *sums;
    let (twos, last) = x.as_chunks::<2>();
    for ([first, second], pairs) in twos.iter().zip(pairs) {
        fetch_ahead(std::slice::from_ref(pairs), AHEAD);
        for (sum, pair) in held.0.iter_mut().zip(&pairs.0) {
            let [a, b] = split(*pair);
            *sum = multiply_add::<FUSED>(*second, b, multiply_add::<FUSED>(*first, a, *sum));
        }
    }
    if let ([x], Some(pairs)) = (last, pairs.get(twos.len())) {
        for (sum, pair) in held.0.iter_mut().zip(&pairs.0) {
            *sum = multiply_add::<FUSED>(*x, split(*pair)[0], *sum);
        }
    }
    *sums = held;
}

#[inline(always)]
fn lanes_back_body<const FUSED: bool>(weights: &[Lane<f32>], g: &Lane<f32>, sums: &mut [Lane<f32>]) {
    for (sums, w) in sums.iter_mut().zip(weights) {
        for ((sum, w), g) in sums.0.iter_mut().zip(&w.0).zip(&g.0) {
            *sum = multiply_add::<FUSED>(*w, *g, *sum);
        }
    }
}

#[inline(always)]
fn pairs_back_body<const FUSED: bool>(pairs: &[Pairs], g: &Lane<f32>, sums: &mut [Lane<f32>]) {
    for (sums, pairs) in sums.chunks_mut(2).zip(pairs) {
        for (half, sums) in sums.iter_mut().enumerate() {
            for ((sum, pair), g) in sums.0.iter_mut().zip(&pairs.0).zip(&g.0) {
                *sum = multiply_add::<FUSED>(split(*pair)[half], *g, *sum);
            }
        }
    }
}

wide!(
    /// [`lanes_back`] for weights in bf16, two inputs a lane.
    pub pairs_back = pairs_back_body(pairs: &[Pairs], g: &Lane<f32>, sums: &mut [Lane<f32>])
);
wide!(
    /// Adds what the gradients of 32 outputs give each input, output by output: `sums[i][l] += weights[i][l] · g[l]`.
    pub lanes_back = lanes_back_body(weights: &[Lane<f32>], g: &Lane<f32>, sums: &mut [Lane<f32>])
);
wide!(
    /// Adds the products of `x` with bf16 weights, two inputs a lane, in order: what [`crate::kernel::along`] makes of one row.
    pub pair_row = pair_row_body(x: &[f32], pairs: &[Pairs], sums: &mut Lane<f32>)
);
wide!(
    /// Adds the products of `x` with 4-bit codes, `(inputs, 16)`: outputs 0 to 15 in the low halves, 16 to 31 in the high
    /// ones. Groups have an even number of inputs.
    pub nibble_row = nibble_row_body(x: &[f32], codes: &[[u8; HALF]], groups: Groups<'_>, sums: &mut Lane<f32>)
);
wide!(
    /// Adds the products of `x` with 8-bit codes, `(inputs, 32)`. Groups have an even number of inputs.
    pub byte_row = byte_row_body(x: &[f32], codes: &[[i8; LANES]], groups: Groups<'_>, sums: &mut Lane<f32>)
);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{ROWS, along};
    use crate::simd::{narrow_pairs, widen_pairs};

    #[test]
    fn a_row_times_pairs_has_the_bits_of_a_tile() {
        for inputs in [1, 2, 7, 64] {
            let x: Vec<f32> = (0..inputs).map(|i| (i as f32 * 0.7).sin()).collect();
            let mut wide: Vec<Lane<f32>> = (0..inputs)
                .map(|i| Lane(std::array::from_fn(|l| ((i * LANES + l) as f32 * 0.3).cos())))
                .collect();
            let mut pairs = vec![Pairs::NONE; inputs.div_ceil(2)];
            narrow_pairs(&wide, &mut pairs);
            widen_pairs(&pairs, &mut wide);
            let mut tile = [Lane([0.5; LANES]); ROWS];
            let rows: Vec<[f32; ROWS]> = x.iter().map(|x| [*x; ROWS]).collect();
            along(1, &rows, &wide, &mut tile);
            let mut sums = Lane([0.5; LANES]);
            pair_row(&x, &pairs, &mut sums);
            assert!(sums == tile[0], "{inputs} inputs");
        }
    }

    #[test]
    fn half_precision_is_widened_as_its_crate_does() {
        for bits in 0..=u16::MAX {
            let (half, found) = (f16::from_bits(bits), widened(f16::from_bits(bits)));
            assert!(found == half.to_f32() || found.is_nan() && half.is_nan(), "{bits:x}: {found}");
            assert_eq!(found.is_sign_negative(), bits >> 15 == 1);
        }
    }

    #[test]
    fn a_row_times_codes_is_the_product_with_the_weights_written_out() {
        for group in [16, 32] {
            let inputs = 3 * group;
            let x: Vec<f32> = (0..inputs).map(|i| (i as f32 * 0.7).sin()).collect();
            let lanes = |step: f32| -> Vec<Lane<f32>> {
                (0..3).map(|g| Lane(std::array::from_fn(|l| ((g * LANES + l) as f32 * step).cos()))).collect()
            };
            let (scales, shifts) = (lanes(0.3), lanes(0.9));
            let totals: Vec<f32> = x.chunks(group).map(|x| x.iter().sum()).collect();
            let bytes: Vec<[i8; LANES]> =
                (0..inputs).map(|i| std::array::from_fn(|l| (i * 37 + l * 11) as u8 as i8)).collect();
            let nibbles: Vec<[u8; HALF]> =
                (0..inputs).map(|i| std::array::from_fn(|l| (i * 53 + l * 29) as u8)).collect();
            for shifts in [Some(&shifts[..]), None] {
                let numbers = shifts.map(Numbers::Full);
                let groups =
                    Groups { group, scales: Numbers::Full(&scales), shifts: numbers, totals: &totals };
                let (mut by_byte, mut by_nibble) = (Lane([1.0; LANES]), Lane([1.0; LANES]));
                byte_row(&x, &bytes, groups, &mut by_byte);
                nibble_row(&x, &nibbles, groups, &mut by_nibble);
                for l in 0..LANES {
                    let sum = |code: &dyn Fn(usize) -> f64| -> f64 {
                        let weight = |i: usize| {
                            let shift = shifts.map_or(0.0, |s| f64::from(s[i / group].0[l]));
                            code(i) * f64::from(scales[i / group].0[l]) + shift
                        };
                        1.0 + (0..inputs).map(|i| weight(i) * f64::from(x[i])).sum::<f64>()
                    };
                    let want = sum(&|i| f64::from(bytes[i][l]));
                    assert!((f64::from(by_byte.0[l]) - want).abs() < 1e-3, "{} {want}", by_byte.0[l]);
                    let shift = 4 * (l / HALF);
                    let want = sum(&|i| f64::from(nibbles[i][l % HALF] >> shift & 0xF));
                    assert!((f64::from(by_nibble.0[l]) - want).abs() < 1e-3, "{} {want}", by_nibble.0[l]);
                }
            }
        }
    }
}
