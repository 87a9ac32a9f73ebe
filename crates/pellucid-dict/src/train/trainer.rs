//! The trainer: parameters, Adam's moments, and which latents are dead.

use pellucid_core::Seed;
use pellucid_kernels::rows::finite;

use crate::dictionary::{Activation, Dictionary, Normalisation, Shape};
use crate::error::{Result, expect_finite, expect_length, setting};
use crate::train::config::{Config, Recipe};
use crate::train::init::{directions, geometric_median};
use crate::train::pass::Pass;
use crate::train::update::{self, Gradient, Update};

/// What is trained, or one of Adam's moments of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Parameters {
    pub(crate) encoder: Vec<f32>,
    pub(crate) encoder_bias: Vec<f32>,
    pub(crate) decoder: Vec<f32>,
    pub(crate) bias: Vec<f32>,
}

impl Parameters {
    pub(crate) fn zeros(shape: Shape) -> Self {
        Parameters {
            encoder: vec![0.0; shape.latents * shape.d_in],
            encoder_bias: vec![0.0; shape.latents],
            decoder: vec![0.0; shape.latents * shape.d_out],
            bias: vec![0.0; shape.d_out],
        }
    }

    #[cfg(test)]
    pub(crate) fn feature(&self, latent: u32) -> &[f32] {
        let width = self.bias.len();
        &self.decoder[latent as usize * width..][..width]
    }
}

/// What one step reports, all of the batch before it was learned from.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Step {
    /// The number of this step, from 0.
    pub step: u64,
    /// Everything that was minimised.
    pub loss: f64,
    /// The part of it for dead latents.
    pub auxiliary: f64,
    /// Fraction of the batch's variance unexplained.
    pub unexplained: f64,
    /// Mean number of active latents in a row.
    pub l0: f64,
    /// How many latents are dead.
    pub dead: usize,
    /// The learning rate used.
    pub rate: f32,
}

/// A dictionary in training.
#[derive(Clone, Debug, PartialEq)]
pub struct Trainer {
    pub(crate) config: Config,
    pub(crate) at: Parameters,
    pub(crate) first: Parameters,
    pub(crate) second: Parameters,
    pub(crate) step: u64,
    /// Rows since each latent was last active.
    pub(crate) idle: Vec<u64>,
    /// The running mean of a batch's smallest active value; 0 until there is one.
    pub(crate) threshold: f32,
    pub(crate) room: Room,
}

/// What steps compute in, kept so that a step asks for no memory. It is no part of the state: a copy begins with none, and two
/// runs are equal whatever room they have.
#[derive(Default)]
pub(crate) struct Room {
    pass: Pass,
    gradient: Gradient,
    update: update::Room,
    dead: Vec<u32>,
}

impl Clone for Room {
    fn clone(&self) -> Self {
        Room::default()
    }
}

impl PartialEq for Room {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl std::fmt::Debug for Room {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("room")
    }
}

impl Trainer {
    /// Begins a run. The decoder's bias starts at the geometric median of `sample` (rows, d_out), which must have a row.
    pub fn new(config: Config, sample: &[f32]) -> Result<Self> {
        config.check()?;
        let shape = config.shape;
        expect_finite("the sample for the bias", sample)?;
        expect_length("the sample for the bias, in whole rows,", whole(sample, shape.d_out), sample.len())?;
        let Some(bias) = geometric_median(sample, shape.d_out) else {
            return Err(setting("the sample for the bias", "at least one row", "empty"));
        };
        let seed = Seed(config.seed);
        let decoder = directions(shape.latents, shape.d_out, seed.for_purpose("dictionary decoder"));
        let encoder = match shape.d_in == shape.d_out {
            true => decoder.clone(),
            false => directions(shape.latents, shape.d_in, seed.for_purpose("dictionary encoder")),
        };
        let at = Parameters { encoder, encoder_bias: vec![0.0; shape.latents], decoder, bias };
        let zeros = Parameters::zeros(shape);
        let idle = vec![0; shape.latents];
        let (first, second) = (zeros.clone(), zeros);
        Ok(Trainer { config, at, first, second, step: 0, idle, threshold: 0.0, room: Room::default() })
    }

    /// What was decided for this run.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Steps done.
    pub fn steps(&self) -> u64 {
        self.step
    }

    /// Latents that have been silent for `dead_after` rows, ascending.
    pub fn dead(&self) -> Vec<u32> {
        silent(&self.idle, self.config.dead_after).collect()
    }

    /// Learns from a batch x (rows, d_in). A transcoder also gets what it should say, (rows, d_out). Rows with numbers that are not
    /// finite are refused, and nothing is learned.
    pub fn step(&mut self, x: &[f32], targets: Option<&[f32]>) -> Result<Step> {
        let y = self.expect(x, targets)?;
        let hint = 0.8 * self.threshold; // only saves work: what is found does not depend on it
        let Trainer { config, at, first, second, step, room, .. } = self;
        let Room { pass, gradient, update, dead } = room;
        dead.clear();
        if config.auxiliary.is_some() {
            dead.extend(silent(&self.idle, config.dead_after));
        }
        pass.run(config, at, [x, y], dead, hint);
        gradient.sort(config, at, pass);
        if !(pass.loss.is_finite() && finite(&gradient.bias)) {
            return Err(setting(
                "the loss",
                "finite; lower the learning rate or normalise the rows",
                pass.loss,
            ));
        }
        Update { config, gradient, pass, step: *step }.apply([at, first, second], update);
        let active = self.account();
        let pass = &self.room.pass;
        let report = Step {
            step: self.step,
            loss: pass.loss,
            auxiliary: pass.auxiliary_loss,
            unexplained: pass.unexplained,
            l0: active as f64 / pass.main.rows().max(1) as f64,
            dead: silent(&self.idle, self.config.dead_after).count(),
            rate: self.config.rate(self.step),
        };
        self.step += 1;
        Ok(report)
    }

    fn expect<'a>(&self, x: &'a [f32], targets: Option<&'a [f32]>) -> Result<&'a [f32]> {
        let Shape { d_in, d_out, .. } = self.config.shape;
        if x.is_empty() {
            return Err(setting("a batch", "at least one row", "empty"));
        }
        expect_length("a batch, in whole rows,", whole(x, d_in), x.len())?;
        expect_finite("a batch", x)?;
        let y = targets.unwrap_or(x);
        expect_length("a batch's targets", x.len() / d_in * d_out, y.len())?;
        if targets.is_some() {
            expect_finite("a batch's targets", y)?;
        }
        Ok(y)
    }

    /// Keeps books of who was active; the number of active entries.
    fn account(&mut self) -> usize {
        let pass = &self.room.pass;
        let rows = pass.main.rows() as u64;
        self.idle.iter_mut().for_each(|idle| *idle += rows);
        let mut active = 0;
        for lot in pass.main.lots() {
            active += lot.terms.len();
            lot.terms.iter().for_each(|(latent, _)| self.idle[*latent as usize] = 0);
        }
        if let (
            Some(smallest),
            Recipe::BatchTopK { threshold_decay, .. } | Recipe::Matryoshka { threshold_decay, .. },
        ) = (pass.smallest, &self.config.recipe)
        {
            self.threshold = match self.threshold > 0.0 {
                true => threshold_decay * self.threshold + (1.0 - threshold_decay) * smallest,
                false => smallest,
            };
        }
        active
    }

    /// The dictionary as it is now.
    pub fn dictionary(&self) -> Dictionary {
        let shape = self.config.shape;
        let activation = match self.config.recipe {
            Recipe::TopK { k } => Activation::TopK { k },
            Recipe::ReLU { .. } => Activation::ReLU,
            Recipe::BatchTopK { k, .. } | Recipe::Matryoshka { k, .. } => {
                Activation::BatchTopK { k, threshold: self.threshold }
            }
        };
        let shift = if self.config.subtract_bias { self.at.bias.clone() } else { vec![0.0; shape.d_in] };
        Dictionary {
            shape,
            encoder: self.at.encoder.clone(),
            encoder_bias: self.at.encoder_bias.clone(),
            decoder: self.at.decoder.clone(),
            decoder_bias: self.at.bias.clone(),
            shift,
            skip: None,
            normalisation: Normalisation::None,
            activation,
        }
    }
}

/// Latents that were idle for so many rows, ascending.
fn silent(idle: &[u64], dead_after: u64) -> impl Iterator<Item = u32> {
    let dead = idle.iter().enumerate().filter(move |(_, rows)| **rows >= dead_after);
    dead.map(|(latent, _)| latent as u32)
}

/// The length of these numbers filled up to whole rows.
pub(crate) fn whole(values: &[f32], width: usize) -> usize {
    values.len().div_ceil(width) * width
}
