//! 95% intervals of shares and means.

use serde::Serialize;

const Z: f64 = 1.959_963_984_540_054;

/// A number with its 95% interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// The share or mean.
    pub value: f64,
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// How many were counted.
    pub n: usize,
}

impl Interval {
    /// A share with Wilson's interval; a half, and everything, where nothing was counted.
    pub fn share(hits: usize, of: usize) -> Self {
        let (low, high) = wilson(hits, of);
        Interval { value: if of == 0 { 0.5 } else { hits as f64 / of as f64 }, low, high, n: of }
    }

    /// A mean with the interval of the normal approximation, mean ± 1.96 s/√n; a single value has none but itself.
    pub fn mean(values: &[f64]) -> Self {
        let n = values.len();
        let mean = values.iter().sum::<f64>() / n.max(1) as f64;
        let spread =
            values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n.saturating_sub(1).max(1) as f64;
        let half = Z * (spread / n.max(1) as f64).sqrt();
        Interval { value: mean, low: mean - half, high: mean + half, n }
    }
}

/// The 95% interval of a share (Wilson 1927); everything where nothing was counted.
pub fn wilson(hits: usize, of: usize) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let (n, p) = (of as f64, hits as f64 / of as f64);
    let middle = p + Z * Z / (2.0 * n);
    let half = Z * (p * (1.0 - p) / n + Z * Z / (4.0 * n * n)).sqrt();
    let whole = 1.0 + Z * Z / n;
    (((middle - half) / whole).max(0.0), ((middle + half) / whole).min(1.0))
}
