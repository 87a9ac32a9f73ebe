//! What decides a training run. Nothing here has a default: a result names all of it.

use pellucid_kernels::Precision;
use serde::{Deserialize, Serialize};

use crate::dictionary::Shape;
use crate::error::{Result, setting};

/// What is minimised beside the error of reconstruction, and what makes latents active.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Recipe {
    /// The k largest of each row.
    TopK {
        /// Active latents of a row.
        k: usize,
    },
    /// The k · rows largest of a batch; the threshold used afterwards is a running mean of each batch's smallest.
    BatchTopK {
        /// Active latents of a row on average.
        k: usize,
        /// Share of the threshold kept from step to step.
        threshold_decay: f32,
    },
    /// BatchTopK whose first latents must reconstruct by themselves: the error is the mean over prefixes.
    Matryoshka {
        /// Active latents of a row on average.
        k: usize,
        /// As in BatchTopK.
        threshold_decay: f32,
        /// How many latents each prefix has; ascending, the last one all.
        prefixes: Vec<usize>,
    },
    /// All positive ones, with `l1` times their sum added to the loss (mean over rows).
    ReLU {
        /// λ.
        l1: f32,
    },
}

/// What the summed squared error of a batch is divided by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorScale {
    /// The batch's variance: the loss is the fraction of variance unexplained.
    Variance,
    /// The number of rows.
    Rows,
    /// The number of rows times coordinates.
    Elements,
}

/// AuxK: dead latents reconstruct what is left over (Gao et al. A.2).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Auxiliary {
    /// The most dead latents that are used in a row (Gao et al.: d/2).
    pub k: usize,
    /// α, the term's factor (Gao et al.: 1/32); the term is divided by the residual's variance.
    pub coefficient: f32,
}

/// Adam's constants (Kingma and Ba 2015).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Adam {
    /// β₁.
    pub beta1: f32,
    /// β₂.
    pub beta2: f32,
    /// ε.
    pub epsilon: f32,
}

/// All that decides a run, beside the rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The dictionary's widths.
    pub shape: Shape,
    /// What is active and what is penalised.
    pub recipe: Recipe,
    /// The unit of the error.
    pub error: ErrorScale,
    /// The term for dead latents.
    pub auxiliary: Option<Auxiliary>,
    /// A latent is dead when this many rows passed without it.
    pub dead_after: u64,
    /// The decoder's bias is also what is subtracted from inputs.
    pub subtract_bias: bool,
    /// Decoder rows keep norm 1, and the part of their gradient along them is removed.
    pub unit_norm: bool,
    /// The highest learning rate; `automatic_rate` gives a usual one.
    pub learning_rate: f32,
    /// Steps over which the rate rises linearly.
    pub warm_up: u64,
    /// The step from which the rate falls linearly, to 0 at `steps`.
    pub decay_from: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// The optimiser.
    pub adam: Adam,
    /// The largest norm of the whole gradient, which is scaled down to it; none leaves it as it is.
    #[serde(default)]
    pub clip: Option<f32>,
    /// What random draws begin with.
    pub seed: u64,
    /// Of the encoder's product; everything else is f32 in either. Runs that do not say were exact.
    #[serde(default)]
    pub precision: Precision,
}

/// 2e-4 / √(latents / 2¹⁴), the scaling of Gao et al. with the constant of dictionary_learning and sparsify.
pub fn automatic_rate(latents: usize) -> f32 {
    (2e-4 / (latents as f64 / 16_384.0).sqrt()) as f32
}

impl Config {
    /// Fails where settings contradict each other or lie outside their ranges.
    pub fn check(&self) -> Result<()> {
        let Shape { d_in, latents, d_out } = self.shape;
        if d_in == 0 || latents == 0 || d_out == 0 || u32::try_from(latents).is_err() {
            return Err(setting("the shape", "1 to 2³² − 1 in each place", format!("{:?}", self.shape)));
        }
        if self.subtract_bias && d_in != d_out {
            return Err(setting(
                "subtract_bias",
                "false where inputs and outputs have different widths",
                true,
            ));
        }
        let rate_is_fine = self.learning_rate.is_finite() && self.learning_rate > 0.0;
        if !rate_is_fine {
            return Err(setting("the learning rate", "finite and above 0", self.learning_rate));
        }
        let share = |v: f32| (0.0..1.0).contains(&v);
        let Adam { beta1, beta2, epsilon } = self.adam;
        if !(share(beta1) && share(beta2) && epsilon.is_finite() && epsilon > 0.0) {
            return Err(setting("Adam", "β in [0, 1) and ε above 0", format!("{:?}", self.adam)));
        }
        if let Some(clip) = self.clip.filter(|clip| !(clip.is_finite() && *clip > 0.0)) {
            return Err(setting("the gradient's largest norm", "finite and above 0", clip));
        }
        if self.decay_from > self.steps {
            return Err(setting("decay_from", &format!("at most the {} steps", self.steps), self.decay_from));
        }
        self.check_recipe(share)
    }

    fn check_recipe(&self, share: impl Fn(f32) -> bool) -> Result<()> {
        let latents = self.shape.latents;
        match &self.recipe {
            Recipe::TopK { k } | Recipe::BatchTopK { k, .. } | Recipe::Matryoshka { k, .. }
                if *k == 0 || *k > latents =>
            {
                Err(setting("k", &format!("between 1 and the {latents} latents"), k))
            }
            Recipe::BatchTopK { threshold_decay, .. } | Recipe::Matryoshka { threshold_decay, .. }
                if !share(*threshold_decay) =>
            {
                Err(setting("threshold_decay", "in [0, 1)", threshold_decay))
            }
            Recipe::Matryoshka { prefixes, .. }
                if prefixes.last() != Some(&latents)
                    || prefixes[0] == 0
                    || prefixes.windows(2).any(|p| p[0] >= p[1]) =>
            {
                let expected = format!("ascending numbers above 0, the last {latents}");
                Err(setting("the prefixes", &expected, format!("{prefixes:?}")))
            }
            Recipe::ReLU { l1 } if !(l1.is_finite() && *l1 >= 0.0) => {
                Err(setting("l1", "finite and not negative", l1))
            }
            _ => Ok(()),
        }
    }

    /// The learning rate of a step, counted from 0.
    pub fn rate(&self, step: u64) -> f32 {
        let rise = if step < self.warm_up { (step + 1) as f32 / self.warm_up as f32 } else { 1.0 };
        let fall = match step > self.decay_from {
            true => self.steps.saturating_sub(step) as f32 / (self.steps - self.decay_from).max(1) as f32,
            false => 1.0,
        };
        self.learning_rate * rise * fall
    }

    /// Where each prefix ends; one that holds everything where the recipe has none.
    pub(crate) fn prefixes(&self) -> Vec<usize> {
        match &self.recipe {
            Recipe::Matryoshka { prefixes, .. } => prefixes.clone(),
            _ => vec![self.shape.latents],
        }
    }
}
