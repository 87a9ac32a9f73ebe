//! Where training begins: unit decoder rows in random directions, the encoder their copy, the bias the geometric median of a sample.

use pellucid_core::Seed;

/// The point with the least summed distance to the rows (Weiszfeld's iteration, at most 100 rounds): unlike the mean, a few enormous
/// rows do not move it. None without rows.
pub fn geometric_median(rows: &[f32], width: usize) -> Option<Vec<f32>> {
    let count = rows.len().checked_div(width)?;
    if count == 0 {
        return None;
    }
    let mean = |weights: &[f64]| {
        let total: f64 = weights.iter().sum();
        let mut sum = vec![0f64; width];
        for (row, weight) in rows.chunks_exact(width).zip(weights) {
            sum.iter_mut().zip(row).for_each(|(s, v)| *s += weight / total * f64::from(*v));
        }
        sum
    };
    let distance = |row: &[f32], point: &[f64]| -> f64 {
        row.iter().zip(point).map(|(v, p)| (f64::from(*v) - p).powi(2)).sum::<f64>().sqrt()
    };
    let mut point = mean(&vec![1.0; count]);
    for _ in 0..100 {
        let weights: Vec<f64> =
            rows.chunks_exact(width).map(|row| 1.0 / distance(row, &point).max(1e-6)).collect();
        let next = mean(&weights);
        let moved: f64 = next.iter().zip(&point).map(|(a, b)| (a - b).powi(2)).sum();
        let size: f64 = next.iter().map(|v| v * v).sum();
        point = next;
        if moved <= 1e-12 * size {
            break;
        }
    }
    Some(point.into_iter().map(|v| v as f32).collect())
}

/// Rows of norm 1 in uniformly random directions.
pub(crate) fn directions(count: usize, width: usize, mut seed: Seed) -> Vec<f32> {
    let mut rows: Vec<f32> = (0..count * width).map(|_| seed.normal() as f32).collect();
    rows.chunks_exact_mut(width).for_each(unit);
    rows
}

/// Gives a row norm 1; one of norm 0 stays.
pub(crate) fn unit(row: &mut [f32]) {
    let norm = crate::product::dot(row, row).sqrt();
    if norm > 0.0 {
        row.iter_mut().for_each(|v| *v /= norm);
    }
}
