//! Inner loops, compiled three times: for any processor, with AVX2 and fused multiply-add, and with AVX-512, where the
//! processor has them. The loops are plain Rust that the compiler vectorises; `unsafe` is only the call of the wider
//! version, behind the check that the processor supports it.

use crate::kernel::{LANES, Lane, ROWS};

/// Defines `name(args)` that picks the widest compiled version of `body::<FUSED>(args)`, a safe function.
#[macro_export]
macro_rules! wide {
    ($(#[$meta:meta])* $vis:vis $name:ident = $body:ident($($arg:ident: $ty:ty),*) $(-> $ret:ty)?) => {
        $(#[$meta])*
        #[allow(unsafe_code)] // the macro's own two calls, each with its argument
        $vis fn $name($($arg: $ty),*) $(-> $ret)? {
            #[cfg(target_arch = "x86_64")]
            {
                #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,avx2,fma")]
                fn with_avx512($($arg: $ty),*) $(-> $ret)? {
                    $body::<true>($($arg),*)
                }
                #[target_feature(enable = "avx2,fma")]
                fn with_avx2($($arg: $ty),*) $(-> $ret)? {
                    $body::<true>($($arg),*)
                }
                if is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512bw")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("fma")
                {
                    // SAFETY: the function is safe Rust; its only requirement is that the processor has the
                    // features it was compiled for, which the lines above have just asked.
                    return unsafe { with_avx512($($arg),*) };
                }
                if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
                    // SAFETY: the function is safe Rust; its only requirement is that the processor has the
                    // features it was compiled for, which the line above has just asked.
                    return unsafe { with_avx2($($arg),*) };
                }
            }
            $body::<false>($($arg),*)
        }
    };
}

/// `a·b + c`, fused where that is one instruction (elsewhere a fused one would be a slow library call).
#[inline(always)]
pub fn multiply_add<const FUSED: bool>(a: f32, b: f32, c: f32) -> f32 {
    if FUSED { a.mul_add(b, c) } else { a * b + c }
}

#[inline(always)]
pub(crate) fn dot_body<const FUSED: bool>(a: &[f32], b: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * b).sum();
    for (a, b) in a.zip(b) {
        for i in 0..LANES {
            lanes[i] = multiply_add::<FUSED>(a[i], b[i], lanes[i]);
        }
    }
    fold(lanes) + tail
}

/// Adds lanes pairwise: the order is fixed, so the result does not depend on the processor's width.
#[inline(always)]
fn fold(lanes: [f32; LANES]) -> f32 {
    halves(lanes, |a, b| a + b)
}

/// Each lane with the one half of them further on, until one is left.
#[inline(always)]
fn halves(lanes: [f32; LANES], join: impl Fn(f32, f32) -> f32) -> f32 {
    let lanes: [f32; 16] = std::array::from_fn(|i| join(lanes[i], lanes[i + 16]));
    let lanes: [f32; 8] = std::array::from_fn(|i| join(lanes[i], lanes[i + 8]));
    let lanes: [f32; 4] = std::array::from_fn(|i| join(lanes[i], lanes[i + 4]));
    let lanes: [f32; 2] = std::array::from_fn(|i| join(lanes[i], lanes[i + 2]));
    join(lanes[0], lanes[1])
}

/// Of rows that begin `stride` numbers apart.
#[inline(always)]
fn dots_along_body<const FUSED: bool>(x: &[f32], rows: &[f32], stride: usize, out: &mut [f32]) {
    for (i, out) in out.iter_mut().enumerate() {
        *out = dot_body::<FUSED>(x, &rows[i * stride..][..x.len()]);
    }
}

/// Of rows that begin `stride` numbers apart. A lane of sums stays in registers while all rows go by.
#[inline(always)]
fn mixed_body<const FUSED: bool>(weights: &[f32], rows: &[f32], stride: usize, out: &mut [f32]) {
    let mut from = 0;
    for out in out.chunks_mut(LANES) {
        let mut held = [0f32; LANES];
        for (i, weight) in weights.iter().enumerate() {
            let row = &rows[i * stride + from..][..out.len()];
            for (sum, x) in held.iter_mut().zip(row) {
                *sum = multiply_add::<FUSED>(*weight, *x, *sum);
            }
        }
        out.copy_from_slice(&held[..out.len()]);
        from += LANES;
    }
}

#[inline(always)]
fn sum_body<const FUSED: bool>(a: &[f32]) -> f32 {
    let mut lanes = [0f32; LANES];
    let a = a.chunks_exact(LANES);
    let tail: f32 = a.remainder().iter().sum();
    for a in a {
        for i in 0..LANES {
            lanes[i] += a[i];
        }
    }
    fold(lanes) + tail
}

/// Below this e^x is too small for f32's normal range.
const LEAST: f32 = -87.3;

/// e^x to about one unit in the last place: `2^n · e^r` with |r| ≤ ln 2 / 2 and a polynomial of degree 6.
#[inline(always)]
pub fn exp<const FUSED: bool>(x: f32) -> f32 {
    let (p, n) = exp_parts::<FUSED>(x.clamp(LEAST, 88.7));
    // 2^n in two factors, so that n = 128 does not overflow the exponent
    let half = n >> 1;
    p * power(half) * power(n.wrapping_sub(half))
}

/// `e^r` and n.
#[inline(always)]
fn exp_parts<const FUSED: bool>(x: f32) -> (f32, i32) {
    const ROUND: f32 = 12_582_912.0; // 1.5·2²³: adding it leaves the nearest integer in the low bits
    let rounded = multiply_add::<FUSED>(x, std::f32::consts::LOG2_E, ROUND);
    let n = rounded - ROUND;
    let r = multiply_add::<FUSED>(n, -0.693_359_4, x);
    let r = multiply_add::<FUSED>(n, 2.121_944_4e-4, r);
    let mut p = 1.0 / 720.0;
    for c in [1.0 / 120.0, 1.0 / 24.0, 1.0 / 6.0, 0.5, 1.0, 1.0] {
        p = multiply_add::<FUSED>(p, r, c);
    }
    (p, (rounded.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32))
}

/// `2^n` for an n within f32's normal range.
#[inline(always)]
fn power(n: i32) -> f32 {
    f32::from_bits((n.wrapping_add(127) << 23) as u32)
}

/// `e^(x − max)` in place; returns the sum.
#[inline(always)]
fn exp_shifted_body<const FUSED: bool>(x: &mut [f32], max: f32) -> f32 {
    for v in x.iter_mut() {
        *v = exp::<FUSED>(*v - max);
    }
    sum_body::<FUSED>(x)
}

/// `e^x` as [`exp`] for `x ≤ 0`, where one factor holds `2^n`.
#[inline(always)]
fn exp_below<const FUSED: bool>(x: f32) -> f32 {
    let (p, n) = exp_parts::<FUSED>(if x < LEAST { LEAST } else { x });
    p * power(n)
}

/// Softmax of `scale · x` in place, over whole lanes and the first `count` of the last; the others there become 0.
#[inline(always)]
fn softmax_lanes<const FUSED: bool>(
    whole: &mut [[f32; LANES]],
    last: &mut [f32; LANES],
    count: usize,
    scale: f32,
) {
    let there: [bool; LANES] = std::array::from_fn(|i| i < count);
    let mut most = [f32::NEG_INFINITY; LANES];
    if count > 0 {
        for (i, x) in last.iter_mut().enumerate() {
            *x *= scale;
            most[i] = if there[i] && *x > most[i] { *x } else { most[i] };
        }
    }
    for x in whole.iter_mut() {
        for (x, most) in x.iter_mut().zip(&mut most) {
            *x *= scale;
            // what is no number counts as nothing
            *most = if *x > *most { *x } else { *most };
        }
    }
    let max = halves(most, |a, b| if a > b { a } else { b });
    let mut sums = [0f32; LANES];
    for x in whole.iter_mut() {
        for (x, sum) in x.iter_mut().zip(&mut sums) {
            *x = exp_below::<FUSED>(*x - max);
            *sum += *x;
        }
    }
    if count > 0 {
        for ((x, sum), there) in last.iter_mut().zip(&mut sums).zip(there) {
            let made = exp_below::<FUSED>(*x - max);
            *x = if there { made } else { 0.0 };
            *sum += *x;
        }
    } else {
        last.fill(0.0);
    }
    let share = 1.0 / fold(sums);
    for x in whole {
        x.iter_mut().for_each(|x| *x *= share);
    }
    last.iter_mut().for_each(|x| *x *= share);
}

/// What is left beyond whole lanes is taken as a lane filled up: one number at a time, the exponentials of a short row's rest would
/// take longer than those of all the others.
#[inline(always)]
fn softmax_scaled_body<const FUSED: bool>(x: &mut [f32], scale: f32) {
    let (whole, rest) = x.as_chunks_mut::<LANES>();
    let mut last = [0f32; LANES];
    last[..rest.len()].copy_from_slice(rest);
    softmax_lanes::<FUSED>(whole, &mut last, rest.len(), scale);
    rest.copy_from_slice(&last[..rest.len()]);
}

#[inline(always)]
fn softmax_body<const FUSED: bool>(x: &mut [f32]) {
    softmax_scaled_body::<FUSED>(x, 1.0);
}

/// Rows one after the other, so that one's sums are made while the next one's exponentials are.
#[inline(always)]
fn softmax_rows_body<const FUSED: bool>(rows: &mut [f32], width: usize, allowed: &[[usize; 2]], scale: f32) {
    for (row, [from, to]) in rows.chunks_exact_mut(width).zip(allowed) {
        row[..*from].fill(0.0);
        let (lanes, rest) = row[*from..].as_chunks_mut::<LANES>();
        let (whole, count) = ((to - from) / LANES, (to - from) % LANES);
        // the last lane lies in the row as a whole, as it does wherever a row has whole lanes and all before it may be seen
        if let Some((whole, [last, beyond @ ..])) = lanes.split_at_mut_checked(whole) {
            softmax_lanes::<FUSED>(whole, last, count, scale);
            beyond.as_flattened_mut().fill(0.0);
            rest.fill(0.0);
        } else {
            row[*to..].fill(0.0);
            softmax_scaled_body::<FUSED>(&mut row[*from..*to], scale);
        }
    }
}

/// `scale · p (g − Σ g p)`.
#[inline(always)]
fn softmax_back_body<const FUSED: bool>(p: &[f32], g: &[f32], scale: f32, out: &mut [f32]) {
    let along = dot_body::<FUSED>(p, g);
    for ((out, p), g) in out.iter_mut().zip(p).zip(g) {
        *out = scale * (p * (g - along));
    }
}

#[inline(always)]
fn scale_body<const FUSED: bool>(x: &mut [f32], by: f32) {
    x.iter_mut().for_each(|x| *x *= by);
}

#[inline(always)]
fn times_body<const FUSED: bool>(x: &mut [f32], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x *= y);
}

#[inline(always)]
fn plus_body<const FUSED: bool>(x: &mut [f32], y: &[f32]) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x += y);
}

#[inline(always)]
fn standardise_body<const FUSED: bool>(x: &mut [f32], mean: f32, scale: f32, weight: &[f32]) {
    x.iter_mut().zip(weight).for_each(|(x, w)| *x = (*x - mean) * scale * w);
}

/// Coordinates `i` and `i + half` turned by the angles of `cos` and `sin`, the other way if `sign` is −1.
#[inline(always)]
fn turn_body<const FUSED: bool>(head: &mut [f32], cos: &[f32], sin: &[f32], sign: f32) {
    let (a, rest) = head.split_at_mut(cos.len());
    for (((a, b), c), s) in a.iter_mut().zip(rest).zip(cos).zip(sin) {
        let (x, y) = (*a, *b);
        *a = x * c - y * s * sign;
        *b = y * c + x * s * sign;
    }
}

/// Numbers whose exponentials are taken at a time.
const STRETCH: usize = 256;

/// `[Σ e^(x − max), Σ e^(x − max) · (x − max)]`, summed in f64; terms too small for f32 count as nothing.
#[inline(always)]
fn mass_body<const FUSED: bool>(x: &[f32], max: f32) -> [f64; 2] {
    let mut sums = [[0f64; WIDE]; 2];
    let mut terms = [0f32; STRETCH];
    for x in x.chunks(STRETCH) {
        let terms = &mut terms[..x.len()];
        for (t, x) in terms.iter_mut().zip(x) {
            let far = x - max;
            *t = if far < -87.0 { 0.0 } else { exp::<FUSED>(far) };
        }
        for (t, x) in terms.chunks(WIDE).zip(x.chunks(WIDE)) {
            for (i, (t, x)) in t.iter().zip(x).enumerate() {
                sums[0][i] += f64::from(*t);
                sums[1][i] += if *t > 0.0 { f64::from(*t) * f64::from(x - max) } else { 0.0 };
            }
        }
    }
    sums.map(|lanes| lanes.iter().sum())
}

/// What is no number is passed over.
#[inline(always)]
fn largest_body<const FUSED: bool>(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let (x, rest) = x.as_chunks::<LANES>();
    for x in x {
        for (lane, x) in lanes.iter_mut().zip(x) {
            *lane = if *x > *lane { *x } else { *lane };
        }
    }
    lanes.iter().chain(rest).copied().fold(f32::NEG_INFINITY, f32::max)
}

/// Lanes of sums in f64.
const WIDE: usize = 8;

#[inline(always)]
fn dot_wide_body<const FUSED: bool>(a: &[f32], b: &[f32]) -> f64 {
    let mut lanes = [0f64; WIDE];
    let (a, b) = (a.chunks_exact(WIDE), b.chunks_exact(WIDE));
    let tail = a.remainder().iter().zip(b.remainder());
    let tail: f64 = tail.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
    for (a, b) in a.zip(b) {
        for i in 0..WIDE {
            // a product of two f32 is exact in f64, so fusing changes nothing
            lanes[i] += f64::from(a[i]) * f64::from(b[i]);
        }
    }
    lanes.iter().sum::<f64>() + tail
}

#[inline(always)]
fn widen_pairs_body<const FUSED: bool>(from: &[Lane<u32>], to: &mut [Lane<f32>]) {
    for (to, from) in to.chunks_mut(2).zip(from) {
        for (half, to) in to.iter_mut().enumerate() {
            let kept = if half == 0 { 16 } else { 0 };
            to.0.iter_mut()
                .zip(&from.0)
                .for_each(|(to, pair)| *to = f32::from_bits((pair << kept) & 0xFFFF_0000));
        }
    }
}

/// The upper half of an f32's bits after rounding to the nearest bf16, ties to even; what is no number stays none.
#[inline(always)]
pub fn bf16_bits(x: f32) -> u32 {
    let bits = x.to_bits();
    let rounded = bits.wrapping_add(0x7FFF + ((bits >> 16) & 1)) >> 16;
    if x.is_nan() { (bits >> 16) | 0x40 } else { rounded }
}

#[inline(always)]
fn narrow_pairs_body<const FUSED: bool>(from: &[Lane<f32>], to: &mut [Lane<u32>]) {
    for (to, from) in to.iter_mut().zip(from.chunks(2)) {
        to.0.iter_mut().zip(&from[0].0).for_each(|(to, x)| *to = bf16_bits(*x));
        if let Some(second) = from.get(1) {
            to.0.iter_mut().zip(&second.0).for_each(|(to, x)| *to |= bf16_bits(*x) << 16);
        }
    }
}

/// Neighbouring numbers of up to twelve rows as pairs: `(inner / 2, 12)` from rows of `inner`.
#[inline(always)]
fn pair_rows_body<const FUSED: bool>(rows: &[&[f32]], to: &mut [[u32; ROWS]]) {
    for (r, row) in rows.iter().enumerate() {
        for (to, pair) in to.iter_mut().zip(row.chunks(2)) {
            to[r] = bf16_bits(pair[0]) | pair.get(1).map_or(0, |x| bf16_bits(*x) << 16);
        }
    }
}

/// Two rows of up to 32 numbers as pairs, rounded: each number of the first with that of the second below it.
#[inline(always)]
fn weave_body<const FUSED: bool>(first: &[f32], second: &[f32], to: &mut Lane<u32>) {
    to.0.iter_mut().zip(first).for_each(|(to, x)| *to = bf16_bits(*x));
    to.0.iter_mut().zip(second).for_each(|(to, x)| *to |= bf16_bits(*x) << 16);
}

/// Up to 32 rows turned: a lane for each column, `(width, 32)`; lanes keep what they held beyond the rows there are.
#[inline(always)]
fn columns_body<const FUSED: bool>(rows: &[f32], width: usize, to: &mut [Lane<f32>]) {
    for (l, row) in rows.chunks_exact(width).enumerate() {
        to.iter_mut().zip(row).for_each(|(to, x)| to.0[l] = *x);
    }
}

/// `code · scale + shift`, in the two roundings of ggml whether or not the processor could do them in one.
#[inline(always)]
fn nibbles_body<const FUSED: bool>(
    codes: &[[u8; 16]],
    scale: &Lane<f32>,
    shift: &Lane<f32>,
    out: &mut [Lane<f32>],
) {
    for (out, codes) in out.iter_mut().zip(codes) {
        for (i, code) in codes.iter().enumerate() {
            out.0[i] = f32::from(code & 0xF) * scale.0[i] + shift.0[i];
            out.0[i + 16] = f32::from(code >> 4) * scale.0[i + 16] + shift.0[i + 16];
        }
    }
}

#[inline(always)]
fn bytes_body<const FUSED: bool>(
    codes: &[[i8; 32]],
    scale: &Lane<f32>,
    shift: &Lane<f32>,
    out: &mut [Lane<f32>],
) {
    for (out, codes) in out.iter_mut().zip(codes) {
        for (i, code) in codes.iter().enumerate() {
            out.0[i] = f32::from(*code) * scale.0[i] + shift.0[i];
        }
    }
}

wide!(
    /// Pairs of bf16 to f32: a lane for each input.
    pub widen_pairs = widen_pairs_body(from: &[Lane<u32>], to: &mut [Lane<f32>])
);
wide!(
    /// Lanes of f32 to pairs of bf16, half as many.
    pub narrow_pairs = narrow_pairs_body(from: &[Lane<f32>], to: &mut [Lane<u32>])
);
wide!(
    /// Up to twelve rows to `(pairs, 12)`.
    pub pair_rows = pair_rows_body(rows: &[&[f32]], to: &mut [[u32; ROWS]])
);
wide!(
    /// Two rows as pairs, rounded; numbers of a lane beyond the rows stay.
    pub weave = weave_body(first: &[f32], second: &[f32], to: &mut Lane<u32>)
);
wide!(
    /// Up to 32 rows, turned.
    pub columns = columns_body(rows: &[f32], width: usize, to: &mut [Lane<f32>])
);
wide!(
    /// 4-bit codes of 32 outputs, low halves first, to weights.
    pub nibbles = nibbles_body(codes: &[[u8; 16]], scale: &Lane<f32>, shift: &Lane<f32>, out: &mut [Lane<f32>])
);
wide!(
    /// 8-bit codes of 32 outputs to weights.
    pub bytes = bytes_body(codes: &[[i8; 32]], scale: &Lane<f32>, shift: &Lane<f32>, out: &mut [Lane<f32>])
);
wide!(
    /// The largest of some numbers; −∞ of none.
    pub largest = largest_body(x: &[f32]) -> f32
);
wide!(
    /// `[Σ e^(x − max), Σ e^(x − max) · (x − max)]` in f64.
    pub mass = mass_body(x: &[f32], max: f32) -> [f64; 2]
);
wide!(
    /// Softmax in place: `e^(x − max) / Σ e^(x − max)`.
    pub softmax = softmax_body(x: &mut [f32])
);
wide!(
    /// Softmax of `scale · x` over a part of each row of `width` numbers, from the first of `allowed` up to the second; 0 elsewhere.
    pub softmax_rows = softmax_rows_body(rows: &mut [f32], width: usize, allowed: &[[usize; 2]], scale: f32)
);
wide!(
    /// From a softmax `p` and the gradient with respect to it to the one with respect to what it was taken of, times `scale`.
    pub softmax_back = softmax_back_body(p: &[f32], g: &[f32], scale: f32, out: &mut [f32])
);
wide!(
    /// `x ← by · x`.
    pub scale = scale_body(x: &mut [f32], by: f32)
);
wide!(
    /// `x ← x · y`, one by one.
    pub times = times_body(x: &mut [f32], y: &[f32])
);
wide!(
    /// `x ← x + y`, one by one.
    pub plus = plus_body(x: &mut [f32], y: &[f32])
);
wide!(
    /// `x ← (x − mean) · scale · weight`, one by one.
    pub standardise = standardise_body(x: &mut [f32], mean: f32, scale: f32, weight: &[f32])
);
wide!(
    /// A rotary turn of one head's first coordinates; the rest stay.
    pub turn = turn_body(head: &mut [f32], cos: &[f32], sin: &[f32], sign: f32)
);
wide!(
    /// Inner product in f64.
    pub dot_wide = dot_wide_body(a: &[f32], b: &[f32]) -> f64
);
wide!(
    /// Inner product.
    pub dot = dot_body(a: &[f32], b: &[f32]) -> f32
);
wide!(
    /// The products of one row with several: `out[i] = Σ_k x[k] · rows[i · stride + k]`.
    pub dots_along = dots_along_body(x: &[f32], rows: &[f32], stride: usize, out: &mut [f32])
);
wide!(
    /// The sum of rows times weights, row by row: `out[k] = Σ_i weights[i] · rows[i · stride + k]`.
    pub mixed = mixed_body(weights: &[f32], rows: &[f32], stride: usize, out: &mut [f32])
);
wide!(
    /// Sum.
    pub sum = sum_body(a: &[f32]) -> f32
);
wide!(
    /// `e^(x − max)` in place; returns the sum.
    pub exp_shifted = exp_shifted_body(x: &mut [f32], max: f32) -> f32
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exponential_is_exact_to_a_few_units_in_the_last_place() {
        for i in -8600..8800 {
            let x = i as f32 * 0.01;
            let mut y = [x];
            exp_shifted(&mut y, 0.0);
            let want = f64::from(x).exp();
            assert!((f64::from(y[0]) - want).abs() <= 4e-7 * want, "e^{x}: {} {want}", y[0]);
        }
    }

    #[test]
    fn rounding_to_bf16_is_that_of_the_half_crate() {
        let odd = [f32::NAN, f32::INFINITY, f32::NEG_INFINITY, f32::MAX, f32::MIN_POSITIVE, 1e-42, -0.0, 0.0];
        let more = (0..20_000u32).map(|i| f32::from_bits(i.wrapping_mul(214_013).wrapping_add(0x3F7F_8000)));
        for x in odd.into_iter().chain(more) {
            let (found, want) = (bf16_bits(x), half::bf16::from_f32(x));
            assert!(found == u32::from(want.to_bits()) || x.is_nan() && want.is_nan(), "{x}: {found:x}");
        }
    }

    #[test]
    fn a_softmax_is_that_of_its_definition() {
        for n in 1..100 {
            let x: Vec<f32> = (0..n).map(|i| 8.0 * (i as f32 * 0.77).sin()).collect();
            let mut found = x.clone();
            softmax(&mut found);
            let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
            let total: f64 = x.iter().map(|x| f64::from(x - max).exp()).sum();
            for (found, x) in found.iter().zip(&x) {
                assert!((f64::from(*found) - f64::from(x - max).exp() / total).abs() < 1e-6);
            }
        }
    }

    #[test]
    fn dot_equals_its_definition_at_every_length() {
        for n in 0..130 {
            let a: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin()).collect();
            let b: Vec<f32> = (0..n).map(|i| (i as f32 * 0.11).cos()).collect();
            let want: f64 = a.iter().zip(&b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum();
            assert!((f64::from(dot(&a, &b)) - want).abs() < 1e-5);
        }
    }
}
