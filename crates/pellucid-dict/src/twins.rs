//! Which units of two sets say the same thing: Pearson's correlation of all with all over the same tokens.
//!
//! Between the dictionaries of two seeds this is the universality of Bricken et al. 2023; between a dictionary and the neurons it reads,
//! whether a latent is a neuron; and with a set of kinds of text as the second, what a latent is a detector of. Only active
//! entries are touched: Σ xy needs those alone, and means and variances follow from Σ x and Σ x². Sums are f64.

use crate::error::{Result, expect_length, setting};
use crate::sparse::Sparse;
use rayon::prelude::*;

/// The most pairs that are kept: 4 GiB of sums.
const MOST: usize = 1 << 29;
/// Units of the first set that one task keeps the sums of.
const TASK: usize = 64;

/// Sums over tokens, from which every correlation follows at any time.
#[derive(Clone, Debug)]
pub struct Twins {
    widths: [usize; 2],
    rows: u64,
    sums: [Vec<f64>; 2],
    squares: [Vec<f64>; 2],
    /// Σ xy, (first, second).
    products: Vec<f64>,
}

impl Twins {
    /// Of a set of `first` units with one of `second`.
    ///
    /// # Errors
    /// If a set is empty, or there are more than 2²⁹ pairs.
    pub fn new(first: usize, second: usize) -> Result<Self> {
        let pairs = first.saturating_mul(second);
        if !(1..=MOST).contains(&pairs) {
            return Err(setting("the number of pairs", &format!("1 to {MOST}"), pairs));
        }
        let widths = [first, second];
        let zeros = || widths.map(|width| vec![0f64; width]);
        Ok(Twins { widths, rows: 0, sums: zeros(), squares: zeros(), products: vec![0.0; pairs] })
    }

    /// Adds tokens: a row of each set for every one of them.
    ///
    /// # Errors
    /// If the sets have different numbers of rows, or a unit that the set does not have.
    pub fn add(&mut self, first: &Sparse, second: &Sparse) -> Result<()> {
        expect_length("the second set, in rows,", first.rows(), second.rows())?;
        for (set, width) in [first, second].into_iter().zip(self.widths) {
            if let Some(unit) = set.latents.iter().find(|unit| **unit as usize >= width) {
                return Err(setting("a unit", &format!("below {width}"), unit));
            }
        }
        self.rows += first.rows() as u64;
        for (i, set) in [first, second].into_iter().enumerate() {
            for (unit, value) in set.latents.iter().zip(&set.values) {
                self.sums[i][*unit as usize] += f64::from(*value);
                self.squares[i][*unit as usize] += f64::from(*value).powi(2);
            }
        }
        let wide = self.widths[1];
        self.products.par_chunks_mut(TASK * wide).enumerate().for_each(|(task, products)| {
            let from = (task * TASK) as u32;
            for row in 0..first.rows() {
                let mine = first.row(row).filter(|(unit, _)| (from..from + TASK as u32).contains(unit));
                for (unit, x) in mine {
                    let sums = &mut products[(unit - from) as usize * wide..][..wide];
                    second.row(row).for_each(|(other, y)| {
                        sums[other as usize] += f64::from(x) * f64::from(y);
                    });
                }
            }
        });
        Ok(())
    }

    /// The correlation of a unit of the first set with one of the second; none where one of them never changes.
    pub fn correlation(&self, first: usize, second: usize) -> Option<f64> {
        let rows = self.rows.max(1) as f64;
        let mean = |set: usize, unit: usize| self.sums[set][unit] / rows;
        let variance = |set: usize, unit: usize| self.squares[set][unit] / rows - mean(set, unit).powi(2);
        let together =
            self.products[first * self.widths[1] + second] / rows - mean(0, first) * mean(1, second);
        let (a, b) = (variance(0, first), variance(1, second));
        (a > 0.0 && b > 0.0).then(|| (together / (a * b).sqrt()).clamp(-1.0, 1.0))
    }

    /// For each unit of the first set, the one of the second that it goes with most, and their correlation; none where it never changes.
    /// Of equal ones the first.
    pub fn best(&self) -> Vec<Option<(u32, f64)>> {
        let best = |unit: usize| {
            let all =
                (0..self.widths[1]).filter_map(|other| Some((other as u32, self.correlation(unit, other)?)));
            all.reduce(|best, one| if one.1 > best.1 { one } else { best })
        };
        (0..self.widths[0]).into_par_iter().map(best).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pellucid_core::Seed;

    fn random(seed: u64, rows: usize, width: usize) -> Vec<f32> {
        let mut seed = Seed(seed);
        let mut value = || if seed.uniform() < 0.3 { seed.uniform() as f32 } else { 0.0 };
        (0..rows * width).map(|_| value()).collect()
    }

    fn plain(x: &[f32], y: &[f32], widths: [usize; 2], at: [usize; 2]) -> f64 {
        let column = |values: &[f32], set: usize| -> Vec<f64> {
            values.chunks(widths[set]).map(|row| f64::from(row[at[set]])).collect()
        };
        let (a, b) = (column(x, 0), column(y, 1));
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let (ma, mb) = (mean(&a), mean(&b));
        let sum = |f: &dyn Fn(usize) -> f64| (0..a.len()).map(f).sum::<f64>();
        sum(&|i| (a[i] - ma) * (b[i] - mb))
            / (sum(&|i| (a[i] - ma).powi(2)) * sum(&|i| (b[i] - mb).powi(2))).sqrt()
    }

    #[test]
    fn correlations_are_those_of_the_definition_however_tokens_come() {
        let (rows, widths) = (200, [130, 9]);
        let (x, y) = (random(1, rows, widths[0]), random(2, rows, widths[1]));
        let mut twins = Twins::new(widths[0], widths[1]).unwrap();
        for (x, y) in x.chunks(70 * widths[0]).zip(y.chunks(70 * widths[1])) {
            twins.add(&Sparse::of(x, widths[0]), &Sparse::of(y, widths[1])).unwrap();
        }
        for (first, best) in twins.best().into_iter().enumerate() {
            let all: Vec<f64> = (0..widths[1]).map(|second| plain(&x, &y, widths, [first, second])).collect();
            for (second, want) in all.iter().enumerate() {
                assert!((twins.correlation(first, second).unwrap() - want).abs() < 1e-9);
            }
            let (other, r) = best.unwrap();
            assert!(all.iter().all(|one| *one <= r + 1e-9) && (all[other as usize] - r).abs() < 1e-9);
        }
    }

    #[test]
    fn a_set_is_its_own_twin_and_silence_has_none() {
        let (rows, width) = (100, 6);
        let mut x = random(3, rows, width);
        x.iter_mut().skip(4).step_by(width).for_each(|v| *v = 0.0);
        let own = Sparse::of(&x, width);
        let mut twins = Twins::new(width, width).unwrap();
        twins.add(&own, &own).unwrap();
        for (unit, best) in twins.best().into_iter().enumerate() {
            match unit {
                4 => assert!(best.is_none()),
                _ => assert!(best.is_some_and(|(other, r)| other as usize == unit && (r - 1.0).abs() < 1e-9)),
            }
        }
    }

    #[test]
    fn sets_that_do_not_fit_are_refused() {
        assert!(Twins::new(0, 4).is_err() && Twins::new(1 << 20, 1 << 20).is_err());
        let mut twins = Twins::new(2, 2).unwrap();
        let (one, two) = (Sparse::of(&[1.0, 0.0], 2), Sparse::of(&[1.0; 4], 2));
        assert!(twins.add(&one, &two).unwrap_err().to_string().contains("in rows"));
        assert!(
            twins.add(&one, &Sparse::of(&[0.0, 0.0, 3.0], 3)).unwrap_err().to_string().contains("below 2")
        );
    }
}
