//! Products of matrices that lie in slices with any strides, on one thread: what attention and a small model's training are made of.
//! The `gemm` crate multiplies; this file is the safe way to call it.

#![allow(unsafe_code)] // see the safety comment in `multiply`

use crate::simd;
use gemm::Parallelism;

/// A matrix in a slice: entry (i, j) is `data[i · strides[0] + j · strides[1]]`.
#[derive(Clone, Copy)]
pub struct Matrix<'a> {
    data: &'a [f32],
    shape: [usize; 2],
    strides: [usize; 2],
}

impl<'a> Matrix<'a> {
    /// Panics if the last entry lies outside the slice: shapes are ours, never a file's or a caller's.
    pub fn new(data: &'a [f32], shape: [usize; 2], strides: [usize; 2]) -> Self {
        assert!(extent(shape, strides) <= data.len(), "{shape:?} by {strides:?} in {}", data.len());
        Matrix { data, shape, strides }
    }

    /// Rows of this width below each other without gaps.
    pub fn rows(data: &'a [f32], width: usize) -> Self {
        Matrix::new(data, [data.len() / width.max(1), width], [width, 1])
    }

    /// Its transpose, where it lies.
    pub fn transposed(self) -> Self {
        let ([m, n], [s, t]) = (self.shape, self.strides);
        Matrix { data: self.data, shape: [n, m], strides: [t, s] }
    }
}

/// Numbers that a slice must have for a matrix of this shape to lie in it.
fn extent(shape: [usize; 2], strides: [usize; 2]) -> usize {
    if shape.contains(&0) { 0 } else { (shape[0] - 1) * strides[0] + (shape[1] - 1) * strides[1] + 1 }
}

/// Writes `a · b` to `out`, entry (i, j) at `i · strides[0] + j · strides[1]`, on this thread. Panics as [`Matrix::new`] does.
pub fn product_into(a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32], strides: [usize; 2]) {
    if a.shape[0] == 1 && a.strides[1] == 1 && strides[1] == 1 && row_into(a, b, out) {
        return;
    }
    multiply(a, b, out, strides, false);
}

/// As [`product_into`] for one row, as each step of a generation makes it: for that `gemm` takes longer to begin than to multiply. Says
/// whether it was done; a matrix that does not lie in rows or columns it leaves.
fn row_into(a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32]) -> bool {
    let [inner, outer] = b.shape;
    assert_eq!(a.shape[1], inner, "matrices of {:?} and {:?}", a.shape, b.shape);
    let (x, out) = (&a.data[..inner], &mut out[..outer]);
    match b.strides {
        [1, stride] if inner > 0 => simd::dots_along(x, b.data, stride, out),
        [stride, 1] => simd::mixed(x, b.data, stride, out),
        _ => return false,
    }
    true
}

/// Adds `a · b` to `out`, where [`product_into`] writes it.
pub fn add_product(a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32], strides: [usize; 2]) {
    multiply(a, b, out, strides, true);
}

fn multiply(a: Matrix<'_>, b: Matrix<'_>, out: &mut [f32], strides: [usize; 2], add: bool) {
    assert_eq!(a.shape[1], b.shape[0], "matrices of {:?} and {:?}", a.shape, b.shape);
    assert!(extent([a.shape[0], b.shape[1]], strides) <= out.len(), "the product does not fit its place");
    let step = |s: usize| s as isize; // a slice is never longer than isize::MAX bytes
    // SAFETY: both inputs lie in their slices, which `Matrix::new` checked, and so does the output, as the line above
    // has checked; `out` is borrowed mutably, so it overlaps neither, and it holds numbers whether it is read or only written.
    unsafe {
        gemm::gemm(
            a.shape[0],
            b.shape[1],
            a.shape[1],
            out.as_mut_ptr(),
            step(strides[1]),
            step(strides[0]),
            add,
            a.data.as_ptr(),
            step(a.strides[1]),
            step(a.strides[0]),
            b.data.as_ptr(),
            step(b.strides[1]),
            step(b.strides[0]),
            1.0, // of what is there, where it is read
            1.0,
            false,
            false,
            false,
            Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strided_products_equal_the_definition() {
        for (m, k, n) in
            [(1, 1, 1), (3, 5, 7), (16, 64, 33), (1, 9, 4), (1, 70, 90), (20, 3, 1), (4, 0, 4), (1, 0, 4)]
        {
            let a: Vec<f32> = (0..m * k).map(|i| (i as f32 * 0.7).sin()).collect();
            let b: Vec<f32> = (0..k * n).map(|i| (i as f32 * 0.3).cos()).collect();
            let (left, right) = (Matrix::new(&a, [m, k], [k, 1]), Matrix::new(&b, [k, n], [n, 1]));
            // the same matrix, stored the other way round
            let turned: Vec<f32> =
                (0..n).flat_map(|j| (0..k).map(move |l| (j, l))).map(|(j, l)| b[l * n + j]).collect();
            let other = Matrix::new(&turned, [n, k], [k, 1]).transposed();
            let mut wide = vec![7f32; m * (2 * n + 1)];
            product_into(left, other, &mut wide, [2 * n + 1, 2]);
            let mut plain = vec![7f32; m * n];
            product_into(left, right, &mut plain, [n, 1]);
            let mut across = vec![7f32; m * n];
            product_into(left, other, &mut across, [n, 1]);
            let mut twice = plain.clone();
            add_product(left, other, &mut twice, [n, 1]);
            for i in 0..m {
                for j in 0..n {
                    let want: f64 = (0..k).map(|l| f64::from(a[i * k + l]) * f64::from(b[l * n + j])).sum();
                    assert!((f64::from(plain[i * n + j]) - want).abs() < 1e-5);
                    assert!((f64::from(across[i * n + j]) - want).abs() < 1e-5);
                    assert!((f64::from(twice[i * n + j]) - 2.0 * want).abs() < 1e-5);
                    assert!((f64::from(wide[i * (2 * n + 1) + 2 * j]) - want).abs() < 1e-5);
                }
            }
        }
    }

    #[test]
    #[should_panic(expected = "does not fit")]
    fn a_product_never_leaves_its_place() {
        let a = [1f32; 4];
        let m = Matrix::rows(&a, 2);
        product_into(m, m, &mut [0f32; 3], [2, 1]);
    }
}
