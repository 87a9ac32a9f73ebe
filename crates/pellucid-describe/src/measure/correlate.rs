//! Correlation of two rows of numbers: Pearson's r, and Spearman's ρ (Pearson's of the ranks, ties at their mean).

/// A correlation, and whether it is one: a constant row correlates with nothing, and counts as 0.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Correlation {
    /// From −1 to 1.
    pub r: f64,
    /// Whether one of the rows was constant (or had fewer than two values), so that `r` is 0 by convention.
    pub constant: bool,
}

impl Correlation {
    pub(super) const NONE: Correlation = Correlation { r: 0.0, constant: true };

    /// From centred second moments. The rounding of a row of one value must not look like variation, hence the
    /// comparison with the size of what was summed.
    pub(super) fn of_moments(xx: f64, yy: f64, xy: f64, size: (f64, f64)) -> Self {
        let flat = |variance: f64, size: f64| variance <= 1e-12 * size || !variance.is_finite();
        if flat(xx, size.0) || flat(yy, size.1) {
            return Self::NONE;
        }
        Correlation { r: (xy / (xx * yy).sqrt()).clamp(-1.0, 1.0), constant: false }
    }
}

/// Pearson's r of two rows; the longer one is cut.
pub fn pearson(x: &[f32], y: &[f32]) -> Correlation {
    let n = x.len().min(y.len());
    if n < 2 {
        return Correlation::NONE;
    }
    let mean = |v: &[f32]| v[..n].iter().map(|&a| f64::from(a)).sum::<f64>() / n as f64;
    let (mx, my) = (mean(x), mean(y));
    let (mut xx, mut yy, mut xy) = (0.0, 0.0, 0.0);
    for (&a, &b) in x.iter().zip(y) {
        let (a, b) = (f64::from(a) - mx, f64::from(b) - my);
        xx += a * a;
        yy += b * b;
        xy += a * b;
    }
    let n = n as f64;
    Correlation::of_moments(xx, yy, xy, (xx + n * mx * mx, yy + n * my * my))
}

/// Spearman's ρ of two rows; the longer one is cut.
pub fn spearman(x: &[f32], y: &[f32]) -> Correlation {
    let n = x.len().min(y.len());
    pearson(&ranks(&x[..n]), &ranks(&y[..n]))
}

fn ranks(values: &[f32]) -> Vec<f32> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
    let mut ranks = vec![0.0; values.len()];
    let mut from = 0;
    while from < order.len() {
        let same = order[from..].iter().take_while(|&&i| values[i] == values[order[from]]).count().max(1);
        let mean = from as f32 + (same - 1) as f32 / 2.0;
        order[from..from + same].iter().for_each(|&i| ranks[i] = mean);
        from += same;
    }
    ranks
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_sign_is_kept_and_a_constant_is_no_correlation() {
        let up: Vec<f32> = (0..20u8).map(f32::from).collect();
        let down: Vec<f32> = up.iter().map(|v| 5.0 - 3.0 * v).collect();
        assert!((pearson(&up, &down).r + 1.0).abs() < 1e-12);
        assert_eq!(pearson(&up, &[0.1; 20]), Correlation::NONE);
        assert_eq!(pearson(&[1.0], &[2.0]), Correlation::NONE);
        let cubes: Vec<f32> = up.iter().map(|v| v * v * v).collect();
        assert!((spearman(&up, &cubes).r - 1.0).abs() < 1e-12);
        assert!(pearson(&up, &cubes).r < 0.95);
    }

    proptest! {
        #[test]
        fn it_is_symmetric_bounded_and_blind_to_positive_scale(
            pairs in proptest::collection::vec((-9.0f32..9.0, -9.0f32..9.0), 3..40), by in 0.1f32..5.0,
        ) {
            let (x, y): (Vec<f32>, Vec<f32>) = pairs.into_iter().unzip();
            let r = pearson(&x, &y).r;
            prop_assert!((-1.0..=1.0).contains(&r));
            prop_assert!((r - pearson(&y, &x).r).abs() < 1e-9);
            let scaled: Vec<f32> = x.iter().map(|v| v * by).collect();
            prop_assert!((r - pearson(&scaled, &y).r).abs() < 1e-4);
            let turned: Vec<f32> = x.iter().map(|v| -v).collect();
            prop_assert!((r + pearson(&turned, &y).r).abs() < 1e-9);
        }
    }
}
