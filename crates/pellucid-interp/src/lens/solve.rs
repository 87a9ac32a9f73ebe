//! Ridge regression from its moments, in f64: `(C + λ·diag C) Δ = R` by Cholesky's method.

use crate::{Error, Result};

/// A square matrix, row after row.
pub(super) struct Square {
    pub(super) n: usize,
    pub(super) values: Vec<f64>,
}

impl Square {
    pub(super) fn zeros(n: usize) -> Self {
        Square { n, values: vec![0.0; n * n] }
    }
}

/// Solves `A X = R` for symmetric positive definite `A`, both `(n, n)`. Both are used up; `X` is returned.
///
/// # Errors
/// If `A` is not positive definite, or not finite.
pub(super) fn solve(mut a: Square, mut r: Square) -> Result<Square> {
    let n = a.n;
    factor(&mut a)?;
    // L Y = R, then Lᵀ X = Y, whole rows of the right-hand side at a time
    for i in 0..n {
        let (done, rest) = r.values.split_at_mut(i * n);
        let row = &mut rest[..n];
        for (l, solved) in a.values[i * n..i * n + i].iter().zip(done.chunks_exact(n)) {
            row.iter_mut().zip(solved).for_each(|(y, s)| *y -= l * s);
        }
        let diagonal = a.values[i * n + i];
        row.iter_mut().for_each(|y| *y /= diagonal);
    }
    for i in (0..n).rev() {
        let (head, solved) = r.values.split_at_mut((i + 1) * n);
        let row = &mut head[i * n..];
        for (k, solved) in solved.chunks_exact(n).enumerate() {
            let l = a.values[(i + 1 + k) * n + i];
            row.iter_mut().zip(solved).for_each(|(x, s)| *x -= l * s);
        }
        let diagonal = a.values[i * n + i];
        row.iter_mut().for_each(|x| *x /= diagonal);
    }
    Ok(r)
}

/// The lower factor of `A = L Lᵀ`, in place.
fn factor(a: &mut Square) -> Result<()> {
    let n = a.n;
    for i in 0..n {
        for j in 0..=i {
            let (before, row) = a.values.split_at_mut(i * n);
            let other = if j < i { &before[j * n..j * n + j] } else { &row[..0] };
            if j < i {
                let sum: f64 = row[..j].iter().zip(other).map(|(x, y)| x * y).sum();
                row[j] = (row[j] - sum) / before[j * n + j];
            } else {
                let square = row[i] - row[..i].iter().map(|x| x * x).sum::<f64>();
                if square.is_nan() || square <= 0.0 {
                    return Err(Error::Request(format!(
                        "the values at this layer do not determine a map (coordinate {i}); take more tokens or a larger ridge"
                    )));
                }
                row[i] = square.sqrt();
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_solution_solves() {
        let n = 7;
        let m: Vec<f64> = (0..n * n).map(|i| ((i * i) as f64 * 0.37).sin()).collect();
        let entry = |i: usize, j: usize| (0..n).map(|k| m[i * n + k] * m[j * n + k]).sum::<f64>();
        let at = |i: usize, j: usize| entry(i, j) + if i == j { 0.5 } else { 0.0 };
        let a = Square { n, values: (0..n * n).map(|i| at(i / n, i % n)).collect() };
        let r: Vec<f64> = (0..n * n).map(|i| (i as f64 * 0.71).cos()).collect();
        let x = solve(a, Square { n, values: r.clone() }).unwrap();
        for i in 0..n {
            for j in 0..n {
                let found: f64 = (0..n).map(|k| at(i, k) * x.values[k * n + j]).sum();
                assert!((found - r[i * n + j]).abs() < 1e-10, "{found}");
            }
        }
        assert!(solve(Square::zeros(3), Square::zeros(3)).is_err());
    }
}
