//! Resampling of dead latents (Bricken et al. 2023, appendix): each gets the direction of an input that is reconstructed badly.

use pellucid_core::Seed;

use crate::error::{Result, expect_finite, expect_length, setting};
use crate::product::{add_scaled, dot};
use crate::train::config::Recipe;
use crate::train::init::unit;
use crate::train::trainer::{Trainer, whole};

impl Trainer {
    /// Gives every dead latent a new beginning, from a sample of inputs (rows, d_in) of an autoencoder. An input is drawn with
    /// probability ∝ its squared error squared; the decoder row is its direction, the encoder row the same at 0.2 times the mean
    /// norm of living encoder rows, the encoder bias 0, and Adam forgets all three. The number of latents changed.
    pub fn resample(&mut self, sample: &[f32]) -> Result<usize> {
        let shape = self.config.shape;
        expect_length("the output's width, to resample,", shape.d_in, shape.d_out)?;
        expect_length("the sample, in whole rows,", whole(sample, shape.d_in), sample.len())?;
        expect_finite("the sample", sample)?;
        if matches!(self.config.recipe, Recipe::Gated { .. } | Recipe::JumpReLU { .. }) {
            return Err(setting("the recipe, to resample,", "one without a gate or thresholds", "another"));
        }
        let dead = self.dead();
        let sums = self.losses(sample)?;
        let Some(total) = sums.last().copied().filter(|total| *total > 0.0 && !dead.is_empty()) else {
            return Ok(0);
        };
        let norm = 0.2 * self.living_norm(&dead);
        let mut seed = Seed(self.config.seed).for_purpose(&format!("resample {}", self.step));
        for latent in &dead {
            let drawn = seed.uniform() * total;
            let at = sums.partition_point(|sum| *sum <= drawn).min(sums.len() - 1);
            let mut direction = sample[at * shape.d_in..][..shape.d_in].to_vec();
            if self.config.subtract_bias {
                add_scaled(&mut direction, -1.0, &self.at.bias);
            }
            unit(&mut direction);
            self.begin(*latent as usize, &direction, norm);
        }
        Ok(dead.len())
    }

    /// Running sums of the square of each row's squared error.
    fn losses(&self, sample: &[f32]) -> Result<Vec<f64>> {
        let output = self.dictionary().reconstruct(sample)?;
        let d = self.config.shape.d_in;
        let mut sum = 0.0;
        let rows = sample.chunks_exact(d).zip(output.chunks_exact(d));
        let losses = rows.map(|(x, y)| {
            let loss: f64 = x.iter().zip(y).map(|(x, y)| (f64::from(*x) - f64::from(*y)).powi(2)).sum();
            sum += loss * loss;
            sum
        });
        Ok(losses.collect())
    }

    /// Mean norm of living latents' encoder rows; 1 where none lives.
    fn living_norm(&self, dead: &[u32]) -> f32 {
        let rows = self.at.encoder.chunks_exact(self.config.shape.d_in).enumerate();
        let living = rows.filter(|(i, _)| dead.binary_search(&(*i as u32)).is_err());
        let norms: Vec<f32> = living.map(|(_, row)| dot(row, row).sqrt()).collect();
        if norms.is_empty() { 1.0 } else { norms.iter().sum::<f32>() / norms.len() as f32 }
    }

    fn begin(&mut self, latent: usize, direction: &[f32], norm: f32) {
        let d = direction.len();
        self.at.decoder[latent * d..][..d].copy_from_slice(direction);
        for (to, from) in self.at.encoder[latent * d..][..d].iter_mut().zip(direction) {
            *to = norm * from;
        }
        self.at.encoder_bias[latent] = 0.0;
        self.idle[latent] = 0;
        for moment in [&mut self.first, &mut self.second] {
            moment.decoder[latent * d..][..d].fill(0.0);
            moment.encoder[latent * d..][..d].fill(0.0);
            moment.encoder_bias[latent] = 0.0;
        }
    }
}
