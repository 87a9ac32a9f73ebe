//! Sums over a few rows of a table, and what an optimiser does with them: the part of sparse coding that comes after the
//! dense product. A row is read once from memory, several at a time, and every sum runs in the order of its terms.

use crate::simd::{dot_body, multiply_add};
use crate::wide;
use serde::{Deserialize, Serialize};

/// Which row of a table, and what it is multiplied by.
pub type Term = (u32, f32);

/// A row of a table without gaps.
#[inline(always)]
fn row(table: &[f32], width: usize, at: u32) -> &[f32] {
    &table[at as usize * width..][..width]
}

/// `y += a · x`, one multiply-add for each coordinate.
#[inline(always)]
fn add_scaled_body<const FUSED: bool>(y: &mut [f32], a: f32, x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y = multiply_add::<FUSED>(a, *x, *y);
    }
}

/// Four rows at a time: `out` is read and written once for them, and memory is asked for four rows at once. For each coordinate the
/// sum is the same chain as row by row.
#[inline(always)]
fn gather_body<const FUSED: bool>(out: &mut [f32], table: &[f32], terms: &[Term]) {
    let width = out.len();
    let (fours, rest) = terms.as_chunks::<4>();
    for &[(r0, a0), (r1, a1), (r2, a2), (r3, a3)] in fours {
        let (x0, x1) = (row(table, width, r0), row(table, width, r1));
        let (x2, x3) = (row(table, width, r2), row(table, width, r3));
        for ((((out, x0), x1), x2), x3) in out.iter_mut().zip(x0).zip(x1).zip(x2).zip(x3) {
            let sum = multiply_add::<FUSED>(a1, *x1, multiply_add::<FUSED>(a0, *x0, *out));
            *out = multiply_add::<FUSED>(a3, *x3, multiply_add::<FUSED>(a2, *x2, sum));
        }
    }
    for (at, a) in rest {
        add_scaled_body::<FUSED>(out, *a, row(table, width, *at));
    }
}

#[inline(always)]
fn dots_body<const FUSED: bool>(x: &[f32], table: &[f32], terms: &[Term], out: &mut [f32]) {
    for (out, (at, _)) in out.iter_mut().zip(terms) {
        *out = dot_body::<FUSED>(x, row(table, x.len(), *at));
    }
}

/// One step of Adam (Kingma and Ba 2015), with both corrections for the first steps worked into `rate` and `widen`:
/// `g ← scale · g`, `m ← β₁ m + (1 − β₁) g`, `v ← β₂ v + (1 − β₂) g²`, `p ← p − rate · m / (√v · widen + ε)`.
#[derive(Clone, Copy, Debug)]
pub struct Stride {
    /// β₁.
    pub beta1: f32,
    /// β₂.
    pub beta2: f32,
    /// ε.
    pub epsilon: f32,
    /// The learning rate divided by 1 − β₁ᵗ.
    pub rate: f32,
    /// 1 / √(1 − β₂ᵗ).
    pub widen: f32,
    /// What gradients are multiplied by first: 1, or less where they are clipped.
    pub scale: f32,
}

/// Adam's constants.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    /// β₁.
    pub beta1: f32,
    /// β₂.
    pub beta2: f32,
    /// ε.
    pub epsilon: f32,
}

impl Adam {
    /// The step of this number, counted from 0, at a learning rate; gradients are multiplied by `scale` first.
    pub fn stride(self, step: u64, rate: f32, scale: f32) -> Stride {
        let Adam { beta1, beta2, epsilon } = self;
        let gone = |beta: f32| 1.0 - f64::from(beta).powf(step as f64 + 1.0);
        Stride {
            beta1,
            beta2,
            epsilon,
            rate: (f64::from(rate) / gone(beta1)) as f32,
            widen: (1.0 / gone(beta2).sqrt()) as f32,
            scale,
        }
    }
}

#[inline(always)]
fn adam_body<const FUSED: bool>(
    values: &mut [f32],
    first: &mut [f32],
    second: &mut [f32],
    gradient: &[f32],
    stride: Stride,
) {
    let Stride { beta1, beta2, epsilon, rate, widen, scale } = stride;
    for (((p, m), v), g) in values.iter_mut().zip(first).zip(second).zip(gradient) {
        let g = scale * g;
        *m = multiply_add::<FUSED>(beta1, *m, (1.0 - beta1) * g);
        *v = multiply_add::<FUSED>(beta2, *v, (1.0 - beta2) * g * g);
        *p -= rate * *m / multiply_add::<FUSED>(v.sqrt(), widen, epsilon);
    }
}

#[inline(always)]
fn finite_body<const FUSED: bool>(x: &[f32]) -> bool {
    // the exponent of what is not finite is all ones; chunks, so that the answer is known early and loops are wide
    let odd = |x: &f32| u32::from(x.to_bits() & 0x7F80_0000 == 0x7F80_0000);
    x.chunks(1024).all(|x| x.iter().map(odd).sum::<u32>() == 0)
}

#[inline(always)]
fn spread_body<const FUSED: bool>(row: &[f32], origin: &[f32], sums: &mut [f64]) -> f64 {
    let mut squares = [0f64; 8];
    let (row, origin) = (row.chunks(8), origin.chunks(8));
    for ((row, origin), sums) in row.zip(origin).zip(sums.chunks_mut(8)) {
        for (((x, o), sum), square) in row.iter().zip(origin).zip(sums).zip(&mut squares) {
            let away = f64::from(*x) - f64::from(*o);
            *sum += away;
            *square += away * away;
        }
    }
    squares.iter().sum()
}

wide!(
    /// `y += a · x`.
    pub add_scaled = add_scaled_body(y: &mut [f32], a: f32, x: &[f32])
);
wide!(
    /// `out += Σ aᵢ · table[rᵢ]` with rows as wide as `out`, in the order of the terms. Panics where the table has no such row.
    pub gather = gather_body(out: &mut [f32], table: &[f32], terms: &[Term])
);
wide!(
    /// `outᵢ = x · table[rᵢ]` with rows as wide as `x`; factors are not looked at. Panics where the table has no such row.
    pub dots = dots_body(x: &[f32], table: &[f32], terms: &[Term], out: &mut [f32])
);
wide!(
    /// A step of Adam in one pass over a stretch of parameters, their moments and their gradient.
    pub adam = adam_body(values: &mut [f32], first: &mut [f32], second: &mut [f32], gradient: &[f32], stride: Stride)
);
wide!(
    /// Whether all are finite.
    pub finite = finite_body(x: &[f32]) -> bool
);
wide!(
    /// Adds `row − origin` to `sums` and returns its squared norm: of these the variance is made, in f64.
    pub spread = spread_body(row: &[f32], origin: &[f32], sums: &mut [f64]) -> f64
);

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(count: usize, step: f32) -> Vec<f32> {
        (0..count).map(|i| (i as f32 * step).sin()).collect()
    }

    #[test]
    fn gathered_rows_are_the_sum_term_by_term_to_the_bit() {
        for width in [1, 7, 16, 33, 100] {
            let table = numbers(20 * width, 0.7);
            for count in 0..12u32 {
                let terms: Vec<Term> = (0..count).map(|i| (i * 7 % 20, 0.3 + i as f32)).collect();
                let (mut found, mut want) = (numbers(width, 0.2), numbers(width, 0.2));
                gather(&mut found, &table, &terms);
                terms.iter().for_each(|(r, a)| add_scaled(&mut want, *a, row(&table, width, *r)));
                assert!(found == want, "{count} rows of {width}");
                let mut plain = numbers(width, 0.2);
                gather_body::<false>(&mut plain, &table, &terms);
                assert!(plain.iter().zip(&found).all(|(a, b)| (a - b).abs() < 1e-4));
                let mut found = vec![0f32; terms.len()];
                dots(&want, &table, &terms, &mut found);
                assert!(
                    found
                        .iter()
                        .zip(&terms)
                        .all(|(f, (r, _))| { *f == crate::simd::dot(&want, row(&table, width, *r)) })
                );
            }
        }
    }

    #[test]
    fn a_step_of_adam_is_that_of_the_paper() {
        let (beta1, beta2, epsilon, rate) = (0.9f64, 0.999f64, 1e-8f64, 1e-2f64);
        let gradient = numbers(37, 0.9);
        let mut held = [numbers(37, 0.3), vec![0.0; 37], vec![0.0; 37]];
        let mut want: Vec<[f64; 3]> = held[0].iter().map(|p| [f64::from(*p), 0.0, 0.0]).collect();
        for t in 1..6 {
            let gone = |beta: f64| 1.0 - beta.powi(t);
            let stride = Stride {
                beta1: beta1 as f32,
                beta2: beta2 as f32,
                epsilon: epsilon as f32,
                rate: (rate / gone(beta1)) as f32,
                widen: (1.0 / gone(beta2).sqrt()) as f32,
                scale: 0.5,
            };
            let [p, m, v] = &mut held;
            adam(p, m, v, &gradient, stride);
            for ([p, m, v], g) in want.iter_mut().zip(&gradient) {
                let g = 0.5 * f64::from(*g);
                *m = beta1 * *m + (1.0 - beta1) * g;
                *v = beta2 * *v + (1.0 - beta2) * g * g;
                *p -= rate * (*m / gone(beta1)) / ((*v / gone(beta2)).sqrt() + epsilon);
            }
        }
        for (found, want) in held[0].iter().zip(&want) {
            assert!((f64::from(*found) - want[0]).abs() < 1e-6, "{found} {}", want[0]);
        }
    }

    #[test]
    fn what_is_not_finite_is_seen_anywhere() {
        for length in [0, 1, 40, 1024, 3000] {
            assert!(finite(&numbers(length, 0.1)));
            for at in [0, length / 2, length.saturating_sub(1)] {
                for odd in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
                    let mut x = numbers(length, 0.1);
                    x.get_mut(at).into_iter().for_each(|x| *x = odd);
                    assert!(finite(&x) == x.is_empty());
                }
            }
        }
    }

    #[test]
    fn spreads_are_sums_and_squares() {
        let (x, origin) = (numbers(21, 0.4), numbers(21, 0.1));
        let mut sums = vec![1f64; 21];
        let squares = spread(&x, &origin, &mut sums);
        let away: Vec<f64> = x.iter().zip(&origin).map(|(x, o)| f64::from(*x) - f64::from(*o)).collect();
        assert!((squares - away.iter().map(|a| a * a).sum::<f64>()).abs() < 1e-12);
        assert!(sums.iter().zip(&away).all(|(s, a)| *s == 1.0 + a));
    }
}
