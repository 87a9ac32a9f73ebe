//! What decides a training run. Nothing here has a default: a result names all of it.

use pellucid_kernels::Precision;
pub use pellucid_kernels::rows::Adam;
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
    /// ReLU with each value counted times its decoder row's norm, which is free; a dictionary gets unit rows at the end.
    April {
        /// λ.
        l1: f32,
    },
    /// A gate decides what is active, and a magnitude of its own how strongly; `l1` is of the gate's pre-activations, which must
    /// also reconstruct by themselves.
    Gated {
        /// λ.
        l1: f32,
    },
    /// What exceeds its latent's own threshold; how many do is penalised.
    JumpReLU {
        /// The penalty.
        sparsity: Sparsity,
        /// ε, the width around a threshold in which pre-activations move it.
        bandwidth: f32,
        /// All thresholds begin where so many latents of a row of the sample are active on average.
        start: usize,
    },
}

/// What the number of active latents of a row costs, with L0 its mean over the batch.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Sparsity {
    /// weight · L0.
    Linear {
        /// λ.
        weight: f32,
    },
    /// weight · (L0 / l0 − 1)².
    Target {
        /// λ.
        weight: f32,
        /// What L0 is drawn to.
        l0: f32,
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
    /// Steps over which the penalty of a recipe rises linearly to its full weight.
    #[serde(default, skip_serializing_if = "is_none")]
    pub penalty_warm_up: u64,
    /// A linear map from inputs straight to outputs is learned beside, from zeros (Paulo et al. 2025): transcoders.
    #[serde(default, skip_serializing_if = "is_not")]
    pub skip: bool,
    /// What random draws begin with.
    pub seed: u64,
    /// Of the encoder's product; everything else is f32 in either. Runs that do not say were exact.
    #[serde(default)]
    pub precision: Precision,
}

// what older runs do not say is not written where it is as it was then
fn is_none(steps: &u64) -> bool {
    *steps == 0
}

fn is_not(flag: &bool) -> bool {
    !flag
}

/// 2e-4 / √(latents / 2¹⁴), the scaling of Gao et al. with the constant of dictionary_learning and sparsify.
pub fn automatic_rate(latents: usize) -> f32 {
    (2e-4 / (latents as f64 / 16_384.0).sqrt()) as f32
}

/// How much higher the rate of a run of fewer than 10,000 steps is: √(10⁴ / steps), at most 8. Published rates are those of long
/// runs, which can afford slow steps; in a short one most of what could be explained stays unlearned at them (docs/dictionaries.md,
/// "A short run").
pub fn haste(steps: u64) -> f32 {
    (1e4 / steps.max(1) as f64).sqrt().clamp(1.0, 8.0) as f32
}

impl Recipe {
    /// The penalty, from the mean over rows of what is penalised (`Rule::penalised`).
    pub(crate) fn penalty(&self, mean: f64) -> f64 {
        match self {
            Recipe::TopK { .. } | Recipe::BatchTopK { .. } | Recipe::Matryoshka { .. } => 0.0,
            Recipe::ReLU { l1 } | Recipe::April { l1 } | Recipe::Gated { l1 } => f64::from(*l1) * mean,
            Recipe::JumpReLU { sparsity: Sparsity::Linear { weight }, .. } => f64::from(*weight) * mean,
            Recipe::JumpReLU { sparsity: Sparsity::Target { weight, l0 }, .. } => {
                f64::from(*weight) * (mean / f64::from(*l0) - 1.0).powi(2)
            }
        }
    }
}

impl Sparsity {
    /// The L0 aimed at, where there is one.
    fn target(&self) -> Option<f32> {
        match self {
            Sparsity::Linear { .. } => None,
            Sparsity::Target { l0, .. } => Some(*l0),
        }
    }
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
        if self.skip && self.subtract_bias {
            return Err(setting(
                "subtract_bias",
                "false beside a skip connection, which reads inputs as they are",
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
        let weight = |v: f32| v.is_finite() && v >= 0.0;
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
            Recipe::ReLU { l1 } | Recipe::April { l1 } | Recipe::Gated { l1 } if !weight(*l1) => {
                Err(setting("l1", "finite and not negative", l1))
            }
            // dead latents of a gate would have to be let through it
            Recipe::Gated { .. } if self.auxiliary.is_some() => {
                Err(setting("the auxiliary term", "absent from a gated dictionary", "there"))
            }
            Recipe::JumpReLU { sparsity, bandwidth, start } => {
                let (Sparsity::Linear { weight: by_l0 } | Sparsity::Target { weight: by_l0, .. }) = *sparsity;
                if !weight(by_l0) {
                    return Err(setting("the weight of L0", "finite and not negative", by_l0));
                }
                if let Some(l0) = sparsity.target().filter(|l0| !(*l0 > 0.0 && *l0 <= latents as f32)) {
                    return Err(setting("the L0 aimed at", &format!("above 0 and at most {latents}"), l0));
                }
                if !(bandwidth.is_finite() && *bandwidth > 0.0) {
                    return Err(setting("the bandwidth", "finite and above 0", bandwidth));
                }
                if *start == 0 || *start > latents {
                    return Err(setting("start", &format!("between 1 and the {latents} latents"), start));
                }
                Ok(())
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

    /// The share of the penalty that counts in a step.
    pub(crate) fn share(&self, step: u64) -> f32 {
        if step < self.penalty_warm_up { (step + 1) as f32 / self.penalty_warm_up as f32 } else { 1.0 }
    }

    /// Where each prefix ends; one that holds everything where the recipe has none.
    pub(crate) fn prefixes(&self) -> Vec<usize> {
        match &self.recipe {
            Recipe::Matryoshka { prefixes, .. } => prefixes.clone(),
            _ => vec![self.shape.latents],
        }
    }
}
