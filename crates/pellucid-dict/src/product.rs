//! Products of rows by rows, and short vectors' dot products.

use pellucid_kernels::matrix::{Matrix, product_into};

/// Writes x · wᵀ to `out`: x (rows, width), w (latents, width), out (rows, latents), all without gaps, on this thread.
/// Shapes are ours, never a file's: they are asserted.
pub(crate) fn times_transposed(x: &[f32], w: &[f32], width: usize, out: &mut [f32]) {
    assert!(width > 0 && x.len().is_multiple_of(width) && w.len().is_multiple_of(width), "rows of {width}");
    let (rows, latents) = (x.len() / width, w.len() / width);
    assert_eq!(out.len(), rows * latents, "a product of {rows} × {latents}");
    product_into(Matrix::rows(x, width), Matrix::rows(w, width).transposed(), out, [latents, 1]);
}

pub(crate) use pellucid_kernels::rows::add_scaled;
pub(crate) use pellucid_kernels::simd::dot;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn products_equal_the_definition() {
        for (m, k, n) in [(1, 1, 1), (3, 5, 7), (16, 64, 33), (20, 3, 1), (0, 4, 4)] {
            let x: Vec<f32> = (0..m * k).map(|i| (i as f32 * 0.7).sin()).collect();
            let w: Vec<f32> = (0..n * k).map(|i| (i as f32 * 0.3).cos()).collect();
            let mut out = vec![7f32; m * n];
            times_transposed(&x, &w, k, &mut out);
            for (at, found) in out.iter().enumerate() {
                let (i, j) = (at / n, at % n);
                let want: f64 = (0..k).map(|l| f64::from(x[i * k + l]) * f64::from(w[j * k + l])).sum();
                assert!((f64::from(*found) - want).abs() < 1e-5);
                assert!((f64::from(dot(&x[i * k..][..k], &w[j * k..][..k])) - want).abs() < 1e-5);
            }
        }
    }

    #[test]
    #[should_panic(expected = "a product of")]
    fn a_product_never_leaves_its_place() {
        times_transposed(&[1.0; 4], &[1.0; 4], 2, &mut [0.0; 3]);
    }
}
