//! Which dictionary a training is asked for: what is active in it and what is penalised; and what follows for a run of some length.

use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use pellucid::dict::{self, Adam, Auxiliary, Config, ErrorScale, Shape, Sparsity, automatic_rate, haste};
use pellucid::model::Precision;

/// `--recipe`'s names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Kind {
    /// The k largest latents of a row; dead latents learn what the others leave (Gao et al. 2024, arXiv 2406.04093).
    #[value(name = "topk")]
    TopK,
    /// k a row on average, chosen over the whole batch (Bussmann et al. 2024, arXiv 2412.06410).
    #[value(name = "batch-topk")]
    BatchTopK,
    /// Batch-topk whose first latents must reconstruct by themselves (Bussmann et al. 2025, arXiv 2503.17547).
    #[value(name = "matryoshka")]
    Matryoshka,
    /// ReLU and L1, unit decoder rows, dead latents begin anew (Bricken et al. 2023, "Towards Monosemanticity").
    #[value(name = "relu")]
    ReLU,
    /// ReLU and L1 times decoder norms, which are free (Anthropic, "Circuits Updates", April 2024).
    #[value(name = "april")]
    April,
    /// A gate says what is active, a magnitude how strongly (Rajamanoharan et al. 2024, arXiv 2404.16014).
    #[value(name = "gated")]
    Gated,
    /// Each latent learns a threshold of its own (Rajamanoharan et al. 2024, arXiv 2407.14435).
    #[value(name = "jumprelu")]
    JumpReLU,
}

#[derive(Args)]
pub(super) struct RecipeArgs {
    /// What makes latents active, and what is penalised.
    #[arg(long, value_enum, default_value = "topk")]
    recipe: Kind,
    /// Active latents of a token; on average, in batch-topk and matryoshka. [default: 32]
    #[arg(long)]
    k: Option<usize>,
    /// relu, april, gated: λ, what the sum of a token's activations costs beside its summed squared error, with rows of mean norm
    /// √width. More is sparser. [default: 5]
    #[arg(long, value_name = "λ")]
    l1: Option<f32>,
    /// jumprelu: active latents of a token that are aimed at; (L0 / N − 1)² is added to the fraction of variance unexplained.
    /// [default: 32]
    #[arg(long, value_name = "N", conflicts_with = "l0_penalty")]
    l0: Option<f32>,
    /// jumprelu: instead, what each active latent of a token costs beside the fraction of variance unexplained.
    #[arg(long, value_name = "λ")]
    l0_penalty: Option<f32>,
    /// jumprelu: how wide around a threshold activations move it. [default: √width / 1000]
    #[arg(long, value_name = "ε")]
    bandwidth: Option<f32>,
    /// matryoshka: how many latents each prefix has, ascending; all latents are the last one and need not be said. [default: 1/32,
    /// 3/32, 7/32 and 15/32 of the latents]
    #[arg(long, value_name = "N", value_delimiter = ',')]
    prefixes: Vec<usize>,
    /// relu: the steps before which dead latents begin anew; 0 is never. [default: at 2.5, 5, 7.5 and 10 % of the run; dead is what
    /// was silent for 1.25 % of it]
    #[arg(long, value_name = "STEP", value_delimiter = ',')]
    resample_at: Vec<u64>,
}

/// A recipe with what its user decides. What depends on the run's length follows when that is known.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Recipe {
    /// The k largest of each row.
    TopK { k: usize },
    /// The k · rows largest of each batch.
    BatchTopK { k: usize },
    /// The same by prefixes; none are said by an empty list.
    Matryoshka { k: usize, prefixes: Vec<usize> },
    /// ReLU of 2023, with the steps at which it resamples where they are said.
    ReLU { l1: f32, resample: Option<Vec<u64>> },
    /// ReLU of April 2024.
    April { l1: f32 },
    /// Gate and magnitude.
    Gated { l1: f32 },
    /// A threshold a latent.
    JumpReLU { sparsity: Sparsity, bandwidth: Option<f32> },
}

/// What a configuration depends on beside the recipe.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) shape: Shape,
    /// Reads one site and writes another.
    pub(super) transcoder: bool,
    pub(super) skip: bool,
    pub(super) steps: u64,
    pub(super) batch: usize,
    pub(super) seed: u64,
    pub(super) precision: Precision,
    /// The learning rate, where it is said.
    pub(super) rate: Option<f32>,
}

impl RecipeArgs {
    /// What was asked for; settings of other recipes are refused.
    pub(super) fn recipe(&self) -> Result<Recipe> {
        use Kind::{April, BatchTopK, Gated, JumpReLU, Matryoshka, ReLU, TopK};
        let said: [(&str, bool, &[Kind]); 7] = [
            ("--k", self.k.is_some(), &[TopK, BatchTopK, Matryoshka]),
            ("--l1", self.l1.is_some(), &[ReLU, April, Gated]),
            ("--l0", self.l0.is_some(), &[JumpReLU]),
            ("--l0-penalty", self.l0_penalty.is_some(), &[JumpReLU]),
            ("--bandwidth", self.bandwidth.is_some(), &[JumpReLU]),
            ("--prefixes", !self.prefixes.is_empty(), &[Matryoshka]),
            ("--resample-at", !self.resample_at.is_empty(), &[ReLU]),
        ];
        let name = |kind: &Kind| {
            kind.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned())
        };
        for (flag, said, of) in said {
            if said && !of.contains(&self.recipe) {
                let of: Vec<String> = of.iter().map(name).collect();
                bail!(
                    "{flag} says nothing to --recipe {}; it belongs to {}",
                    name(&self.recipe),
                    of.join(", ")
                );
            }
        }
        let (k, l1) = (self.k.unwrap_or(32), self.l1.unwrap_or(5.0));
        Ok(match self.recipe {
            TopK => Recipe::TopK { k },
            BatchTopK => Recipe::BatchTopK { k },
            Matryoshka => Recipe::Matryoshka { k, prefixes: self.prefixes.clone() },
            ReLU => {
                let at = &self.resample_at;
                Recipe::ReLU { l1, resample: (!at.is_empty()).then(|| at.clone()) }
            }
            April => Recipe::April { l1 },
            Gated => Recipe::Gated { l1 },
            JumpReLU => {
                let sparsity = match self.l0_penalty {
                    Some(weight) => Sparsity::Linear { weight },
                    None => Sparsity::Target { weight: 1.0, l0: self.l0.unwrap_or(32.0) },
                };
                Recipe::JumpReLU { sparsity, bandwidth: self.bandwidth }
            }
        })
    }
}

impl Recipe {
    /// Everything that decides a run. What the papers say in steps is scaled to the run's.
    pub(super) fn config(&self, frame: Frame) -> Config {
        let Frame { shape, steps, batch, .. } = frame;
        let rows = steps * batch as u64;
        let auxiliary = Auxiliary { k: (shape.d_out / 2).max(1), coefficient: 1.0 / 32.0 };
        let plain = Config {
            shape,
            recipe: self.of(shape, steps),
            error: ErrorScale::Variance,
            auxiliary: Some(auxiliary),
            // Gao et al. say 10 million; a short run must notice sooner
            dead_after: (rows / 10).clamp(1, 10_000_000),
            subtract_bias: !frame.transcoder,
            unit_norm: true,
            learning_rate: frame.rate.unwrap_or_else(|| self.rate(shape.latents, steps)),
            warm_up: (steps / 20).min(1000),
            decay_from: steps - steps / 5,
            steps,
            adam: Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
            clip: None,
            penalty_warm_up: 0,
            skip: frame.skip,
            seed: frame.seed,
            precision: frame.precision,
        };
        let penalised =
            Config { error: ErrorScale::Rows, auxiliary: None, penalty_warm_up: steps / 20, ..plain.clone() };
        // both papers of gates and thresholds set β₁ to 0
        let eager = Adam { beta1: 0.0, ..plain.adam };
        match self {
            Recipe::TopK { .. } | Recipe::BatchTopK { .. } | Recipe::Matryoshka { .. } => plain,
            // 12,500 of a million steps, and at least one
            Recipe::ReLU { .. } => {
                Config { dead_after: (rows / 80).max(batch as u64), penalty_warm_up: 0, ..penalised }
            }
            Recipe::April { .. } => {
                Config { subtract_bias: false, unit_norm: false, clip: Some(1.0), ..penalised }
            }
            Recipe::Gated { .. } => Config { adam: eager, ..penalised },
            Recipe::JumpReLU { .. } => Config { adam: eager, penalty_warm_up: steps / 20, ..plain },
        }
    }

    /// Where k latents are active whatever the rate, a short run may learn faster; penalties are for the published one.
    fn rate(&self, latents: usize, steps: u64) -> f32 {
        let faster = match self {
            Recipe::TopK { .. } | Recipe::BatchTopK { .. } | Recipe::Matryoshka { .. } => haste(steps),
            _ => 1.0,
        };
        faster * automatic_rate(latents)
    }

    fn of(&self, shape: Shape, steps: u64) -> dict::Recipe {
        // a running mean over a fiftieth of the run, and over a thousand steps at most
        let threshold_decay = 1.0 - 1.0 / (steps / 50).clamp(1, 1000) as f32;
        match self {
            Recipe::TopK { k } => dict::Recipe::TopK { k: *k },
            Recipe::BatchTopK { k } => dict::Recipe::BatchTopK { k: *k, threshold_decay },
            Recipe::Matryoshka { k, prefixes } => {
                let mut prefixes = match prefixes.is_empty() {
                    true => [1, 3, 7, 15].iter().map(|n| n * shape.latents / 32).filter(|n| *n > 0).collect(),
                    false => prefixes.clone(),
                };
                if prefixes.last() != Some(&shape.latents) {
                    prefixes.push(shape.latents);
                }
                prefixes.dedup();
                dict::Recipe::Matryoshka { k: *k, threshold_decay, prefixes }
            }
            Recipe::ReLU { l1, .. } => dict::Recipe::ReLU { l1: *l1 },
            Recipe::April { l1 } => dict::Recipe::April { l1: *l1 },
            Recipe::Gated { l1 } => dict::Recipe::Gated { l1: *l1 },
            Recipe::JumpReLU { sparsity, bandwidth } => {
                let start = match sparsity {
                    Sparsity::Target { l0, .. } => *l0 as usize,
                    Sparsity::Linear { .. } => shape.latents / 16,
                };
                dict::Recipe::JumpReLU {
                    sparsity: *sparsity,
                    // 0.001 for rows whose mean square norm is 1, and ours is the width
                    bandwidth: bandwidth.unwrap_or((shape.d_in as f32).sqrt() / 1000.0),
                    start: start.clamp(1, shape.latents),
                }
            }
        }
    }

    /// The steps before which dead latents begin anew: 25, 50, 75 and 100 thousand of a million, where none are said.
    pub(super) fn resampling(&self, steps: u64) -> Vec<u64> {
        match self {
            Recipe::ReLU { resample: Some(at), .. } => at.iter().copied().filter(|at| *at > 0).collect(),
            Recipe::ReLU { resample: None, .. } => (1..=4).map(|i| (i * steps / 40).max(i)).collect(),
            _ => Vec::new(),
        }
    }
}
