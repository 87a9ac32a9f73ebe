//! The trainer: parameters, Adam's moments, and the step.

use crate::error::{Result, setting};
use crate::pass::Pass;
use crate::shape::Shape;
use pellucid_core::Seed;
pub use pellucid_kernels::rows::Adam;
use pellucid_kernels::rows::{adam, add_scaled, finite};
use pellucid_kernels::simd::dot_wide;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// All that decides a run, beside the texts. Nothing here has a default.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Config {
    /// The model's widths.
    pub shape: Shape,
    /// The highest learning rate.
    pub learning_rate: f32,
    /// Steps over which it rises linearly from 0; then it falls linearly, to 0 at `steps`.
    pub warm_up: u64,
    /// Steps of the whole run.
    pub steps: u64,
    /// The optimiser.
    pub adam: Adam,
    /// The largest norm of the whole gradient, which is scaled down to it.
    pub clip: f32,
    /// What random draws begin with.
    pub seed: u64,
}

impl Config {
    /// Fails where a setting lies outside its range.
    pub fn check(&self) -> Result<()> {
        self.shape.check()?;
        for (what, value) in [("the learning rate", self.learning_rate), ("clip", self.clip)] {
            if !(value.is_finite() && value > 0.0) {
                return Err(setting(what, "finite and above 0", value));
            }
        }
        let share = |v: f32| (0.0..1.0).contains(&v);
        let Adam { beta1, beta2, epsilon } = self.adam;
        if !(share(beta1) && share(beta2) && epsilon.is_finite() && epsilon > 0.0) {
            return Err(setting("Adam", "β in [0, 1) and ε above 0", format!("{:?}", self.adam)));
        }
        if self.warm_up > self.steps {
            return Err(setting("warm_up", &format!("at most the {} steps", self.steps), self.warm_up));
        }
        Ok(())
    }

    /// The learning rate of a step, counted from 0.
    pub fn rate(&self, step: u64) -> f32 {
        let share = match step < self.warm_up {
            true => (step + 1) as f32 / self.warm_up as f32,
            false => self.steps.saturating_sub(step) as f32 / (self.steps - self.warm_up).max(1) as f32,
        };
        self.learning_rate * share
    }
}

/// What one step reports, of the batch before it was learned from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The number of this step, from 0.
    pub step: u64,
    /// Mean −ln p of the next token, in nats.
    pub loss: f64,
    /// The gradient's norm, before it was clipped.
    pub norm: f64,
    /// The learning rate used.
    pub rate: f32,
}

/// Parts that a batch is cut into: what is summed together does not depend on the number of threads.
const PARTS: usize = 8;
/// Parameters of one task of the optimiser.
const TASK: usize = 1 << 14;

/// A model in training.
#[derive(Clone, Debug, PartialEq)]
pub struct Trainer {
    pub(crate) config: Config,
    pub(crate) at: Vec<f32>,
    pub(crate) first: Vec<f32>,
    pub(crate) second: Vec<f32>,
    pub(crate) step: u64,
}

impl Trainer {
    /// Begins a run: weights are normal with GPT-2's deviation of 0.02, those that write to the stream less by √2, since two parts do; norms
    /// begin as nothing but norms.
    pub fn new(config: Config) -> Result<Self> {
        config.check()?;
        let mut at = vec![0f32; config.shape.parameters()];
        for (name, _, place) in config.shape.tensors() {
            let mut seed = Seed(config.seed).for_purpose(name);
            let writes = name.ends_with("c_proj.weight");
            let deviation = if writes { 0.02 / std::f64::consts::SQRT_2 } else { 0.02 };
            match name {
                _ if name.ends_with("bias") => {}
                _ if name.contains("ln_") => at[place].fill(1.0),
                _ => at[place].iter_mut().for_each(|w| *w = (deviation * seed.normal()) as f32),
            }
        }
        let zeros = vec![0f32; at.len()];
        Ok(Trainer { config, at, first: zeros.clone(), second: zeros, step: 0 })
    }

    /// What was decided for this run.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Numbers that are trained.
    pub fn parameters(&self) -> usize {
        self.at.len()
    }

    /// Steps done.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Learns from a batch of texts, each of at least two tokens.
    ///
    /// # Errors
    /// If there is no text, a text is shorter than two tokens or longer than the context, or a token is not in the vocabulary; and if the
    /// loss is not finite. Nothing is learned then.
    pub fn step(&mut self, texts: &[&[u32]]) -> Result<Step> {
        let predicted = self.expect(texts)? as f64;
        let pass = Pass::new(self.config.shape, &self.at);
        let size = texts.len().div_ceil(PARTS);
        let mut parts: Vec<(f64, Vec<f32>)> = texts
            .par_chunks(size)
            .map(|texts| {
                let mut gradient = vec![0f32; self.at.len()];
                (pass.learn(texts, &mut gradient), gradient)
            })
            .collect();
        let loss = parts.iter().map(|(loss, _)| loss).sum::<f64>() / predicted;
        let (_, mut gradient) = parts.swap_remove(0);
        gradient.par_chunks_mut(TASK).enumerate().for_each(|(task, sum)| {
            for (_, part) in &parts {
                add_scaled(sum, 1.0, &part[task * TASK..][..sum.len()]);
            }
        });
        if !(loss.is_finite() && finite(&gradient)) {
            return Err(setting("the loss", "finite; lower the learning rate", loss));
        }
        let norm = dot_wide(&gradient, &gradient).sqrt() / predicted;
        let rate = self.config.rate(self.step);
        self.apply(&gradient, predicted, norm);
        let report = Step { step: self.step, loss, norm, rate };
        self.step += 1;
        Ok(report)
    }

    /// Mean −ln p of the next token over texts, in nats, and how many tokens that is.
    ///
    /// # Errors
    /// As for a step.
    pub fn loss(&self, texts: &[&[u32]]) -> Result<(f64, usize)> {
        let predicted = self.expect(texts)?;
        let pass = Pass::new(self.config.shape, &self.at);
        let sums: Vec<f64> = texts.par_chunks(4).map(|texts| pass.loss(texts)).collect();
        Ok((sums.iter().sum::<f64>() / predicted as f64, predicted))
    }

    /// How many tokens are predicted.
    fn expect(&self, texts: &[&[u32]]) -> Result<usize> {
        let Shape { vocabulary, context, .. } = self.config.shape;
        if texts.is_empty() {
            return Err(setting("a batch", "at least one text", "empty"));
        }
        for text in texts {
            if !(2..=context).contains(&text.len()) {
                let expected = format!("2 to {context} tokens long, as the context is");
                return Err(setting("a text", &expected, text.len()));
            }
            if let Some(token) = text.iter().find(|token| **token as usize >= vocabulary) {
                return Err(setting("a token", &format!("below {vocabulary}, the vocabulary"), token));
            }
        }
        Ok(texts.iter().map(|text| text.len() - 1).sum())
    }

    fn apply(&mut self, gradient: &[f32], predicted: f64, norm: f64) {
        let clipped = (f64::from(self.config.clip) / norm.max(f64::MIN_POSITIVE)).min(1.0);
        let rate = self.config.rate(self.step);
        let stride = self.config.adam.stride(self.step, rate, (clipped / predicted) as f32);
        let moments = self.first.par_chunks_mut(TASK).zip(self.second.par_chunks_mut(TASK));
        let parameters = self.at.par_chunks_mut(TASK).zip(gradient.par_chunks(TASK));
        parameters.zip(moments).for_each(|((at, g), (first, second))| adam(at, first, second, g, stride));
    }
}
