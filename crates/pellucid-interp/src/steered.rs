//! Steering by a latent, and whether the model then writes what the latent stands for.
//!
//! What is written under the edit is read again by the plain model, and the latent's own activity on it is counted: a latent that
//! stands for months is active on text about months, whoever wrote it. Beside it stand the same prompts without an edit, and
//! other latents switched on with as long a change of the row. What steering costs is the plain model's loss on the text.

use crate::error::tensor;
use crate::{Error, Interval, Progress, Result};
use pellucid_core::{Edit, Op, Positions, Seed, Target};
use pellucid_model::{
    Apply, Attached, Batch, Generating, Generation, Logits, Model, Plan, Record, Row, sample,
};
use pellucid_store::ACTIVE;
use serde::Serialize;
use std::ops::ControlFlow;

/// What is tried.
#[derive(Clone, Copy, Debug)]
pub struct Trial<'a> {
    /// Whose latent.
    pub dictionary: &'a Attached,
    /// Which.
    pub latent: u32,
    /// Its typical strength: it counts as active beyond half of it.
    pub typical: f32,
    /// What it is set to, at every token but the first, in times of its typical strength.
    pub strength: f32,
    /// Texts that are gone on with.
    pub prompts: &'a [Row],
    /// What is written to each without an edit ([`write()`]), which does not hang on the latent.
    pub plain: &'a [Generation],
    /// Tokens that are written to each, greedily.
    pub tokens: usize,
    /// Latents that controls are drawn from.
    pub others: &'a [u32],
    /// How many of them stand beside it.
    pub controls: usize,
    /// Draws them.
    pub seed: Seed,
}

/// What was written to one prompt.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Written {
    /// Which prompt.
    pub prompt: usize,
    /// The text.
    pub text: String,
    /// Its tokens.
    pub tokens: usize,
    /// At how many of them the latent is active, read without any edit.
    pub active: usize,
    /// The plain model's mean loss on them, nats.
    pub loss: f64,
}

/// What was written under one edit, or none.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Arm {
    /// The latent that was switched on; none in the plain arm.
    pub latent: Option<u32>,
    /// The share of prompts in whose continuation the latent that is tried was active anywhere.
    pub prompts: Interval,
    /// The share of written tokens at which it was.
    pub tokens: f64,
    /// The plain model's mean loss on what was written.
    pub loss: f64,
    /// The texts.
    pub written: Vec<Written>,
}

/// A trial and its controls.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// The latent.
    pub latent: u32,
    /// What it was set to.
    pub value: f32,
    /// With the latent on.
    pub steered: Arm,
    /// Without an edit.
    pub plain: Arm,
    /// With other latents on.
    pub random: Vec<Arm>,
}

impl Tried {
    /// Whether the latent did what it stands for: active in the continuation of more prompts than without an edit and than under
    /// the best of the controls, by intervals that do not touch.
    pub fn holds(&self) -> bool {
        let others = self.random.iter().chain([&self.plain]).map(|arm| arm.prompts.high);
        self.steered.prompts.low > others.fold(0.0, f64::max)
    }
}

/// Switches a latent on and looks. `progress` is told each text that is written and may end the work.
///
/// # Errors
/// If the latent does not exist or has no typical strength, there is no prompt, or the work was ended.
pub fn steer_latent(model: &Model, trial: &Trial<'_>, progress: Progress<'_>) -> Result<Tried> {
    let (name, latents) = (&trial.dictionary.name, &trial.dictionary.latents);
    if let Some(why) = trial.dictionary.lacks(trial.latent) {
        return Err(Error::Request(why));
    }
    if !(trial.typical > 0.0 && trial.strength.is_finite()) || trial.prompts.is_empty() {
        return Err(Error::Request(format!(
            "sae:{name}/{} can be tried with a typical strength above 0, a finite strength and a prompt at least",
            trial.latent
        )));
    }
    let value = trial.strength * trial.typical;
    let length = |latent: u32| latents.direction(latent).iter().map(|d| f64::from(d * d)).sum::<f64>().sqrt();
    let free: Vec<u32> = trial.others.iter().copied().filter(|l| *l != trial.latent).collect();
    let mut seed = trial.seed.for_purpose(&format!("controls of {}", trial.latent));
    let drawn = seed.choose(free.len(), trial.controls.min(free.len()));
    let mut with = |latent: u32, value: f32| {
        let edit = set(trial.dictionary, latent, value);
        arm(model, trial, Some(latent), &write(model, trial.prompts, trial.tokens, &[edit], progress)?)
    };
    let steered = with(trial.latent, value)?;
    let plain = arm(model, trial, None, trial.plain)?;
    let mut random = Vec::new();
    for other in drawn.into_iter().map(|i| free[i]) {
        let as_long = (f64::from(value) * length(trial.latent) / length(other).max(f64::MIN_POSITIVE)) as f32;
        random.push(with(other, as_long)?);
    }
    Ok(Tried { latent: trial.latent, value, steered, plain, random })
}

fn set(dictionary: &Attached, latent: u32, value: f32) -> Edit {
    let target = Target::Latents { dictionary: dictionary.name.clone(), indices: vec![latent] };
    Edit { site: dictionary.site, target, positions: Positions::All, op: Op::Set(vec![value]) }
}

/// Goes on with each prompt, greedily, under these edits. `progress` is told each text and may end the work.
///
/// # Errors
/// If an edit does not fit, a prompt cannot be run, or the work was ended.
pub fn write(
    model: &Model,
    prompts: &[Row],
    tokens: usize,
    edits: &[Edit],
    progress: Progress<'_>,
) -> Result<Vec<Generation>> {
    let one = |row: &Row| {
        let mut tap = Apply::new(model, edits)?;
        let how = Generating::greedy(tokens);
        let made = model.generate(row, &how, &mut tap, &mut |_| ControlFlow::Continue(()))?;
        progress()?;
        Ok(made)
    };
    prompts.iter().map(one).collect()
}

fn arm(model: &Model, trial: &Trial<'_>, latent: Option<u32>, made: &[Generation]) -> Result<Arm> {
    let mut written = Vec::new();
    for (prompt, (row, made)) in trial.prompts.iter().zip(made).enumerate() {
        let (active, loss) = read(model, trial, row, &made.ids())?;
        written.push(Written { prompt, text: made.text.clone(), tokens: made.ids().len(), active, loss });
    }
    let tokens: usize = written.iter().map(|w| w.tokens).sum();
    let of_tokens = |value: f64| value / tokens.max(1) as f64;
    Ok(Arm {
        latent,
        prompts: Interval::share(written.iter().filter(|w| w.active > 0).count(), written.len()),
        tokens: of_tokens(written.iter().map(|w| w.active as f64).sum()),
        loss: of_tokens(written.iter().map(|w| w.loss * w.tokens as f64).sum()),
        written,
    })
}

/// At how many of the written tokens the latent is active in the plain run, and the plain model's mean loss on them.
fn read(model: &Model, trial: &Trial<'_>, prompt: &Row, ids: &[u32]) -> Result<(usize, f64)> {
    if ids.is_empty() {
        return Ok((0, 0.0));
    }
    let mut row = prompt.clone();
    row.tokens.extend_from_slice(ids);
    row.horizon = row.horizon.max(row.tokens.len());
    let (first, last) = (prompt.tokens.len(), row.tokens.len());
    let mut record = Record::new([trial.dictionary.site]);
    let plan = Plan { logits: Logits::At((first - 1..last - 1).collect()), start: None, stop_after: None };
    let output = model.run(&Batch::one(row), &plan, None, &mut record)?;
    let x = tensor(record.value(trial.dictionary.site)?.flatten_all().and_then(|x| x.to_vec1::<f32>()))?;
    let beyond =
        |active: &Vec<(u32, f32)>| active.iter().any(|a| a.0 == trial.latent && a.1 > ACTIVE * trial.typical);
    let active = trial.dictionary.active(&x)[first..].iter().filter(|a| beyond(a)).count();
    let logits = tensor(output.logits.map(|l| l.to_vec2::<f32>()).transpose())?.unwrap_or_default();
    let losses = logits.iter().zip(ids).map(|(row, id)| -f64::from(sample::log_softmax(row)[*id as usize]));
    Ok((active, losses.sum::<f64>() / ids.len() as f64))
}
