//! The trainer: parameters, Adam's moments, and which latents are dead.

use pellucid_core::Seed;
use pellucid_kernels::rows::finite;

use crate::dictionary::{Activation, Dictionary, Normalisation, Shape};
use crate::error::{Result, expect_finite, expect_length, setting};
use crate::files::unit_decoder;
use crate::train::config::{Config, Recipe};
use crate::train::init::{directions, geometric_median};
use crate::train::pass::{Moment, Pass};
use crate::train::update::{self, Gradient, Update};

/// What is trained, or one of Adam's moments of it. What a recipe does not have is empty.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Parameters {
    pub(crate) encoder: Vec<f32>,
    /// Of a gated dictionary the gate's.
    pub(crate) encoder_bias: Vec<f32>,
    pub(crate) decoder: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    /// θ of JumpReLU, never below 0.
    pub(crate) thresholds: Vec<f32>,
    /// r of a gated dictionary: magnitudes read the gate's product times eʳ.
    pub(crate) log_scale: Vec<f32>,
    pub(crate) magnitude_bias: Vec<f32>,
    /// (d_out, d_in).
    pub(crate) skip: Vec<f32>,
}

impl Parameters {
    /// How many numbers each field has, in the order of [`Self::fields`].
    pub(crate) fn lengths(config: &Config) -> [usize; 8] {
        let Shape { d_in, latents, d_out } = config.shape;
        let each = |has: bool| if has { latents } else { 0 };
        let gated = each(matches!(config.recipe, Recipe::Gated { .. }));
        let jump = each(matches!(config.recipe, Recipe::JumpReLU { .. }));
        let skip = if config.skip { d_out * d_in } else { 0 };
        [latents * d_in, latents, latents * d_out, d_out, jump, gated, gated, skip]
    }

    pub(crate) fn zeros(config: &Config) -> Self {
        let mut zeros = Parameters::default();
        let fields = zeros.fields_mut().into_iter().zip(Self::lengths(config));
        fields.for_each(|((_, field), length)| field.resize(length, 0.0));
        zeros
    }

    pub(crate) fn fields(&self) -> [(&'static str, &Vec<f32>); 8] {
        [
            ("encoder", &self.encoder),
            ("encoder_bias", &self.encoder_bias),
            ("decoder", &self.decoder),
            ("bias", &self.bias),
            ("thresholds", &self.thresholds),
            ("log_scale", &self.log_scale),
            ("magnitude_bias", &self.magnitude_bias),
            ("skip", &self.skip),
        ]
    }

    pub(crate) fn fields_mut(&mut self) -> [(&'static str, &mut Vec<f32>); 8] {
        [
            ("encoder", &mut self.encoder),
            ("encoder_bias", &mut self.encoder_bias),
            ("decoder", &mut self.decoder),
            ("bias", &mut self.bias),
            ("thresholds", &mut self.thresholds),
            ("log_scale", &mut self.log_scale),
            ("magnitude_bias", &mut self.magnitude_bias),
            ("skip", &mut self.skip),
        ]
    }

    /// All that is no row of the encoder or the decoder.
    pub(crate) fn others(&mut self) -> [&mut [f32]; 6] {
        [
            &mut self.encoder_bias,
            &mut self.bias,
            &mut self.thresholds,
            &mut self.log_scale,
            &mut self.magnitude_bias,
            &mut self.skip,
        ]
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
    /// Begins a run of an autoencoder. The decoder's bias starts at the geometric median of `sample` (rows, d_out), which must have
    /// a row. JumpReLU's thresholds are taken from the same rows.
    pub fn new(config: Config, sample: &[f32]) -> Result<Self> {
        let inputs = if config.shape.d_in == config.shape.d_out { sample } else { &[] };
        Self::between(config, inputs, sample)
    }

    /// Begins a run that reads one site and writes another: thresholds are taken from `inputs` (rows, d_in), which only JumpReLU needs,
    /// the bias from `sample` of outputs.
    pub fn between(config: Config, inputs: &[f32], sample: &[f32]) -> Result<Self> {
        config.check()?;
        let shape = config.shape;
        expect_finite("the sample of inputs", inputs)?;
        expect_length("the sample of inputs, in whole rows,", whole(inputs, shape.d_in), inputs.len())?;
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
        let zeros = Parameters::zeros(&config);
        let mut at = Parameters { encoder, decoder, bias, ..zeros.clone() };
        if let Recipe::JumpReLU { start, .. } = config.recipe {
            let threshold = begin_threshold(&config, &at, inputs, start)?;
            at.thresholds.fill(threshold);
        }
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
        let moment = Moment { dead, hint, share: config.share(*step) };
        pass.run(config, at, [x, y], moment);
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
        for (latent, _) in pass.main.lots().iter().flat_map(|lot| &lot.terms).filter(|term| term.1 > 0.0) {
            active += 1;
            self.idle[*latent as usize] = 0;
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
            Recipe::ReLU { .. } | Recipe::April { .. } => Activation::ReLU,
            Recipe::JumpReLU { .. } => Activation::JumpReLU { thresholds: self.at.thresholds.clone() },
            Recipe::Gated { .. } => Activation::Gated {
                log_scale: self.at.log_scale.clone(),
                bias: self.at.magnitude_bias.clone(),
            },
            Recipe::BatchTopK { k, .. } | Recipe::Matryoshka { k, .. } => {
                Activation::BatchTopK { k, threshold: self.threshold }
            }
        };
        let shift = if self.config.subtract_bias { self.at.bias.clone() } else { vec![0.0; shape.d_in] };
        let mut dictionary = Dictionary {
            shape,
            encoder: self.at.encoder.clone(),
            encoder_bias: self.at.encoder_bias.clone(),
            decoder: self.at.decoder.clone(),
            decoder_bias: self.at.bias.clone(),
            shift,
            skip: self.config.skip.then(|| self.at.skip.clone()),
            normalisation: Normalisation::None,
            activation,
        };
        if matches!(self.config.recipe, Recipe::April { .. }) {
            unit_decoder(&mut dictionary);
        }
        dictionary
    }
}

/// The threshold above which `start` latents of a row are active on average, in up to 512 rows.
fn begin_threshold(config: &Config, at: &Parameters, inputs: &[f32], start: usize) -> Result<f32> {
    let Shape { d_in, d_out, .. } = config.shape;
    if inputs.is_empty() {
        return Err(setting(
            "the sample of inputs",
            "at least one row, which thresholds are taken from",
            "empty",
        ));
    }
    let inputs = &inputs[..inputs.len().min(512 * d_in)];
    let recipe = Recipe::BatchTopK { k: start, threshold_decay: 0.0 };
    let config = Config { recipe, auxiliary: None, skip: false, ..config.clone() };
    let mut pass = Pass::default();
    let nothing = vec![0.0; inputs.len() / d_in * d_out];
    pass.run(&config, at, [inputs, &nothing], Moment { dead: &[], hint: 0.0, share: 1.0 });
    Ok(pass.smallest.unwrap_or(0.0))
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
