//! Products of matrices in slices, and short vectors' dot products. The `gemm` crate multiplies; this file is the safe way
//! to call it, and the only one in this crate with unsafe code.

#![allow(unsafe_code)] // see the safety comment in `times_transposed`

use gemm::Parallelism;

/// Writes x · wᵀ to `out`: x (rows, width), w (latents, width), out (rows, latents), all without gaps, on this thread.
/// Shapes are ours, never a file's: they are asserted.
pub(crate) fn times_transposed(x: &[f32], w: &[f32], width: usize, out: &mut [f32]) {
    assert!(width > 0 && x.len().is_multiple_of(width) && w.len().is_multiple_of(width), "rows of {width}");
    let (rows, latents) = (x.len() / width, w.len() / width);
    assert_eq!(out.len(), rows * latents, "a product of {rows} × {latents}");
    if out.is_empty() {
        return;
    }
    let step = |s: usize| s as isize; // a slice is never longer than isize::MAX bytes
    // SAFETY: entry (i, l) of x lies at i·width + l < rows·width = x.len(), entry (l, j) of wᵀ at j·width + l < w.len(), and
    // entry (i, j) of out at i·latents + j < rows·latents = out.len(), as asserted above. `out` is borrowed mutably, so it
    // overlaps neither input, and it is only written (`read_dst` is false).
    unsafe {
        gemm::gemm(
            rows,
            latents,
            width,
            out.as_mut_ptr(),
            1,
            step(latents),
            false,
            x.as_ptr(),
            1,
            step(width),
            w.as_ptr(),
            step(width),
            1,
            0.0,
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
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
