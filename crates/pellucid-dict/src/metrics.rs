//! How well a dictionary stands for its inputs.
//!
//! FVU = Σ ‖x − x̂‖² / Σ ‖x − x̄‖² over all rows and coordinates, with x̄ each coordinate's mean over rows; explained variance
//! is 1 − FVU. The means are removed for the total only: x̂ is asked to get them right. Sums are f64.

use crate::error::{Result, expect_finite, expect_length};
use crate::sparse::Sparse;

/// Sums over rows, from which the fraction of unexplained variance follows at any time.
#[derive(Clone, Debug, Default)]
pub struct Fidelity {
    rows: u64,
    /// The first row; sums are of differences from it, so that a large mean costs no digits.
    origin: Vec<f64>,
    sums: Vec<f64>,
    squares: f64,
    errors: f64,
}

impl Fidelity {
    /// Adds rows x (rows, width) and their reconstructions.
    pub fn add(&mut self, x: &[f32], reconstruction: &[f32], width: usize) -> Result<()> {
        expect_length("the reconstruction", x.len(), reconstruction.len())?;
        expect_length("the rows, in whole rows,", x.len().div_ceil(width.max(1)) * width.max(1), x.len())?;
        expect_finite("the rows", x)?;
        expect_finite("the reconstruction", reconstruction)?;
        if self.origin.is_empty() {
            self.origin = x.iter().take(width).map(|v| f64::from(*v)).collect();
            self.sums = vec![0.0; self.origin.len()];
        }
        if !x.is_empty() {
            expect_length("a row", self.origin.len(), width)?;
        }
        for (x, y) in x.chunks_exact(width).zip(reconstruction.chunks_exact(width)) {
            self.rows += 1;
            for (j, (x, y)) in x.iter().zip(y).enumerate() {
                let away = f64::from(*x) - self.origin[j];
                self.sums[j] += away;
                self.squares += away * away;
                self.errors += (f64::from(*x) - f64::from(*y)).powi(2);
            }
        }
        Ok(())
    }

    /// Fraction of variance unexplained; none where the rows do not vary.
    pub fn unexplained(&self) -> Option<f64> {
        let of_mean: f64 = self.sums.iter().map(|s| s * s).sum::<f64>() / (self.rows.max(1) as f64);
        let variance = self.squares - of_mean;
        (variance > 0.0).then(|| self.errors / variance)
    }

    /// 1 − FVU.
    pub fn explained(&self) -> Option<f64> {
        self.unexplained().map(|share| 1.0 - share)
    }

    /// Mean over rows of the squared error, summed over coordinates.
    pub fn squared_error(&self) -> f64 {
        self.errors / self.rows.max(1) as f64
    }
}

/// How often each latent is active.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Density {
    rows: u64,
    counts: Vec<u64>,
}

impl Density {
    /// Nothing seen yet.
    pub fn new(latents: usize) -> Self {
        Density { rows: 0, counts: vec![0; latents] }
    }

    /// Adds encoded rows.
    pub fn add(&mut self, sparse: &Sparse) {
        self.rows += sparse.rows() as u64;
        for latent in &sparse.latents {
            if let Some(count) = self.counts.get_mut(*latent as usize) {
                *count += 1;
            }
        }
    }

    /// How many rows each latent was active in.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// Mean number of active latents in a row.
    pub fn l0(&self) -> f64 {
        self.counts.iter().sum::<u64>() as f64 / self.rows.max(1) as f64
    }

    /// Share of latents that were never active in the rows seen.
    pub fn dead(&self) -> f64 {
        let dead = self.counts.iter().filter(|count| **count == 0).count();
        dead as f64 / self.counts.len().max(1) as f64
    }

    /// Share of latents that were active, but in fewer than this share of rows (1e-6 is Bricken's "ultra-low").
    pub fn rarer_than(&self, share: f64) -> f64 {
        let most = share * self.rows as f64;
        let rare = self.counts.iter().filter(|count| **count > 0 && (**count as f64) < most).count();
        rare as f64 / self.counts.len().max(1) as f64
    }

    /// Latents by log10 of their share of rows: (lower edge, number), in bins of `width` decades; dead latents are in none.
    pub fn histogram(&self, width: f64) -> Vec<(f64, usize)> {
        let mut bins = std::collections::BTreeMap::new();
        for count in self.counts.iter().filter(|count| **count > 0) {
            let decades = (*count as f64 / self.rows.max(1) as f64).log10();
            *bins.entry((decades / width).floor() as i64).or_insert(0) += 1;
        }
        bins.into_iter().map(|(bin, number)| (bin as f64 * width, number)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn explained_variance_is_right_on_uncentred_data() {
        let mut fidelity = Fidelity::default();
        fidelity.add(&[2.0, 0.0], &[2.0, 1.0], 2).unwrap();
        fidelity.add(&[0.0, 4.0], &[0.0, 3.0], 2).unwrap();
        assert!((fidelity.explained().unwrap() - 0.8).abs() < 1e-12);
        assert_eq!(fidelity.squared_error(), 1.0);
        // a constant added to both changes nothing
        let mut far = Fidelity::default();
        far.add(&[1002.0, 1000.0, 1000.0, 1004.0], &[1002.0, 1001.0, 1000.0, 1003.0], 2).unwrap();
        assert!((far.explained().unwrap() - 0.8).abs() < 1e-12);
        assert_eq!(Fidelity::default().explained(), None);
        assert!(far.add(&[1.0], &[f32::NAN], 1).is_err());
    }

    #[test]
    fn densities_count_rows() {
        let mut sparse = Sparse::default();
        for row in 0..100u32 {
            sparse.push([(0, 1.0)].into_iter().chain((row == 3).then_some((2, 0.5))));
        }
        let mut density = Density::new(4);
        density.add(&sparse);
        assert_eq!(density.counts(), [100, 0, 1, 0]);
        assert_eq!((density.l0(), density.dead(), density.rarer_than(0.05)), (1.01, 0.5, 0.25));
        assert_eq!(density.histogram(1.0), [(-2.0, 1), (0.0, 1)]);
    }
}
