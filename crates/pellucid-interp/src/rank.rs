//! Rank correlation (Spearman 1904) of predictions with what happened.

use serde::Serialize;

/// A correlation with its 95% interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Correlation {
    /// Spearman's ρ.
    pub rho: f64,
    /// Lower end of the 95% interval, by Fisher's transform with Fieller's variance 1.06 / (n − 3).
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Number of pairs.
    pub n: usize,
}

/// Spearman's ρ of two lists; none with fewer than four pairs or without any variation.
pub fn rank_correlation(a: &[f64], b: &[f64]) -> Option<Correlation> {
    let n = a.len();
    if n != b.len() || n < 4 {
        return None;
    }
    let (a, b) = (ranks(a), ranks(b));
    let mean = (n as f64 + 1.0) / 2.0;
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(x, y)| (x - mean) * (y - mean)).sum::<f64>();
    let spread = (dot(&a, &a) * dot(&b, &b)).sqrt();
    if spread == 0.0 {
        return None;
    }
    let rho = (dot(&a, &b) / spread).clamp(-1.0, 1.0);
    let z = rho.clamp(-0.999_999, 0.999_999).atanh();
    let half = 1.96 * (1.06 / (n as f64 - 3.0)).sqrt();
    Some(Correlation { rho, low: (z - half).tanh(), high: (z + half).tanh(), n })
}

/// Ranks from 1, ties sharing their mean.
fn ranks(x: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..x.len()).collect();
    order.sort_by(|&a, &b| x[a].total_cmp(&x[b]));
    let mut ranks = vec![0.0; x.len()];
    let mut from = 0;
    while from < order.len() {
        let same = order[from..].iter().take_while(|&&i| x[i] == x[order[from]]).count();
        for &i in &order[from..from + same] {
            ranks[i] = from as f64 + (same as f64 + 1.0) / 2.0;
        }
        from += same;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rho_is_that_of_hand_worked_cases() {
        let up = [1.0, 2.0, 3.0, 4.0, 5.0];
        let rho = |b: &[f64]| rank_correlation(&up, b).unwrap().rho;
        assert!((rho(&[10.0, 20.0, 30.0, 40.0, 500.0]) - 1.0).abs() < 1e-12);
        assert!((rho(&[5.0, 4.0, 3.0, 2.0, 1.0]) + 1.0).abs() < 1e-12);
        // d² sums to 8: 1 − 6·8/(5·24)
        assert!((rho(&[2.0, 1.0, 4.0, 3.0, 5.0]) - (1.0 - 6.0 * 4.0 / 120.0)).abs() < 1e-12);
        assert_eq!(ranks(&[3.0, 1.0, 3.0]), vec![2.5, 1.0, 2.5]);
        assert_eq!(rank_correlation(&up, &[1.0; 5]), None);
    }
}
