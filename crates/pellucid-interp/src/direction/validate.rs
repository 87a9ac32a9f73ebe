//! Does a direction act? Tried on items it was not found on, beside a random one of equal length.

use super::{Candidate, Directions, writes};
use crate::behaviour::{Prepared, accuracy, all_odds, batches};
use crate::error::tensor;
use crate::{Interval, Progress, Result};
use pellucid_core::{Edit, Op, Point, Positions, Seed, Site, Target};
use pellucid_model::{Apply, Batch, Model, Tap, sample};
use serde::Serialize;

/// What was done with a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Added at its layer and position and every later one, with the sign that leads to the other class.
    Add,
    /// Ablated at every write, mean-centred, at all tokens but the first.
    Affine,
    /// Ablated at every write, raw, at all tokens.
    Raw,
}

/// What it did to held-out items, and to another behaviour's.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Outcome {
    /// What was done.
    pub kind: Kind,
    /// Whether with the random direction.
    pub random: bool,
    /// Share of items still right.
    pub accuracy: Interval,
    /// Mean change of the log-odds.
    pub change: Interval,
    /// The change of each item.
    pub changes: Vec<f64>,
    /// Share of items whose log-odds rose, though they should fall.
    pub wrong_way: Interval,
    /// Mean KL divergence, in nats, of the next-token distribution on the other behaviour's prompts: plain to edited.
    pub off_task_kl: Interval,
    /// Mean change of the loss, in nats a token, on the tokens of the other behaviour's prompts.
    pub off_task_loss: Interval,
}

/// A direction, tried.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tested {
    /// Position from the end where it was found.
    pub position: i64,
    /// The layer whose `resid_post` it was found at.
    pub layer: usize,
    /// Its length.
    pub length: f64,
    /// Accuracy on the held-out items as the model is.
    pub before: Interval,
    /// Log-odds of the same.
    pub log_odds_before: Interval,
    /// What adding and ablating did.
    pub outcomes: Vec<Outcome>,
}

/// What directions are tried on.
#[derive(Clone, Copy, Debug)]
pub struct On<'a> {
    /// Items whose answers should turn.
    pub items: &'a [Prepared],
    /// Another behaviour's, which should stay as they are.
    pub off_task: &'a [Prepared],
}

/// A direction to be tried.
struct Trial<'a> {
    model: &'a Model,
    found: &'a Directions,
    position: i64,
    layer: usize,
    strength: f32,
}

/// The published rule's scores of every direction, on `items`: log-odds of the right answer left under affine ablation;
/// log-odds of the *other* answer after adding; divergence on `off_task`. `progress` is told after each.
///
/// # Errors
/// If a run fails.
pub fn candidates(
    model: &Model,
    found: &Directions,
    On { items, off_task }: On<'_>,
    strength: f32,
    progress: Progress<'_>,
) -> Result<Vec<Candidate>> {
    let clean = next(model, off_task, |_| Ok(()))?;
    let mean = |odds: &[f64]| odds.iter().sum::<f64>() / odds.len().max(1) as f64;
    let mut out = Vec::new();
    for (&(position, layer), vector) in &found.vectors {
        let trial = Trial { model, found, position, layer, strength };
        let edits = trial.edits(Kind::Affine, vector, 1.0);
        let after = next(model, off_task, |_| Ok(Apply::new(model, &edits)?))?;
        let kl: Vec<f64> =
            clean.iter().zip(&after).map(|(p, q)| sample::divergence(&p.next, &q.next)).collect();
        out.push(Candidate {
            position,
            layer,
            ablation: mean(&trial.odds(items, Kind::Affine, vector)?),
            steering: -mean(&trial.odds(items, Kind::Add, vector)?),
            kl: mean(&kl),
        });
        progress()?;
    }
    Ok(out)
}

/// Tries the direction of one position and layer, and a random one of its length, on `items`; `progress` is told after each of
/// [`TRIALS`] trials.
///
/// # Errors
/// If there is no such direction, or a run fails.
pub fn validate(
    model: &Model,
    found: &Directions,
    (position, layer): (i64, usize),
    On { items, off_task }: On<'_>,
    strength: f32,
    seed: Seed,
    progress: Progress<'_>,
) -> Result<Tested> {
    let direction = found.vectors.get(&(position, layer)).ok_or_else(|| {
        crate::Error::Request(format!("no direction was found at position {position}, layer {layer}"))
    })?;
    let trial = Trial { model, found, position, layer, strength };
    let length = direction.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let plain = all_odds(model, items, |_| Ok(()))?;
    let clean = next(model, off_task, |_| Ok(()))?;
    let random = random(direction.len(), length, seed.for_purpose(&format!("direction {layer}")));
    let mut outcomes = Vec::new();
    for kind in [Kind::Add, Kind::Affine, Kind::Raw] {
        for (vector, is_random) in [(direction, false), (&random, true)] {
            let edited = trial.odds(items, kind, vector)?;
            let changes: Vec<f64> = edited.iter().zip(&plain).map(|(e, p)| e - p).collect();
            let edits = trial.edits(kind, vector, strength);
            let after = next(model, off_task, |_| Ok(Apply::new(model, &edits)?))?;
            let kl: Vec<f64> =
                clean.iter().zip(&after).map(|(p, q)| sample::divergence(&p.next, &q.next)).collect();
            let loss: Vec<f64> = clean.iter().zip(&after).map(|(p, q)| q.loss - p.loss).collect();
            outcomes.push(Outcome {
                kind,
                random: is_random,
                accuracy: accuracy(&edited),
                change: Interval::mean(&changes),
                wrong_way: Interval::share(changes.iter().filter(|c| **c > 0.0).count(), changes.len()),
                changes,
                off_task_kl: Interval::mean(&kl),
                off_task_loss: Interval::mean(&loss),
            });
            progress()?;
        }
    }
    Ok(Tested {
        position,
        layer,
        length,
        before: accuracy(&plain),
        log_odds_before: Interval::mean(&plain),
        outcomes,
    })
}

fn random(width: usize, length: f64, mut seed: Seed) -> Vec<f32> {
    let drawn: Vec<f64> = (0..width).map(|_| seed.normal()).collect();
    let norm = drawn.iter().map(|v| v * v).sum::<f64>().sqrt().max(f64::MIN_POSITIVE);
    drawn.iter().map(|v| (v / norm * length) as f32).collect()
}

impl Trial<'_> {
    /// The items' log-odds; what is added leads each item to the other class.
    fn odds(&self, items: &[Prepared], kind: Kind, vector: &[f32]) -> Result<Vec<f64>> {
        let mut out = vec![0f64; items.len()];
        for (class, sign) in self.found.classes.iter().zip([-1.0, 1.0]) {
            let of = |i: &usize| items[*i].item.class.as_ref() == Some(class);
            let places: Vec<usize> = (0..items.len()).filter(of).collect();
            let part: Vec<Prepared> = places.iter().map(|&i| items[i].clone()).collect();
            let edits = self.edits(kind, vector, sign * self.strength);
            let odds = all_odds(self.model, &part, |_| Ok(Apply::new(self.model, &edits)?))?;
            places.into_iter().zip(odds).for_each(|(i, o)| out[i] = o);
        }
        Ok(out)
    }

    /// The plain data of what is done.
    fn edits(&self, kind: Kind, vector: &[f32], strength: f32) -> Vec<Edit> {
        let edit = |site, positions, op| Edit { site, target: Target::Whole, positions, op };
        match kind {
            Kind::Add => {
                let by = vector.iter().map(|v| strength * v).collect();
                let later = Positions::Range(self.position, None);
                vec![edit(Site::new(Point::ResidPost, self.layer), later, Op::Add(by))]
            }
            Kind::Affine | Kind::Raw => writes(self.model)
                .into_iter()
                .map(|site| {
                    let raw = kind == Kind::Raw;
                    let centre = self.found.centres.get(&site).cloned().filter(|_| !raw);
                    let positions = if raw { Positions::All } else { Positions::Range(1, None) };
                    edit(site, positions, Op::ProjectOut { direction: vector.to_vec(), centre })
                })
                .collect(),
        }
    }
}

/// Trials of [`validate`].
pub const TRIALS: usize = 6;

/// What a model says to a prompt: log-probabilities of the next token, and the mean loss on the prompt's own.
struct Said {
    next: Vec<f32>,
    loss: f64,
}

fn next<T: Tap>(
    model: &Model,
    items: &[Prepared],
    mut tap: impl FnMut(&[Prepared]) -> Result<T>,
) -> Result<Vec<Said>> {
    let mut out = Vec::new();
    for range in batches(items) {
        let part = &items[range];
        let batch = Batch { rows: part.iter().map(|i| i.row.clone()).collect() };
        let logits = tensor(model.forward(&batch, &mut tap(part)?)?.to_vec2::<f32>())?;
        for (item, range) in part.iter().zip(batch.ranges()) {
            let rows: Vec<Vec<f32>> = logits[range].iter().map(|l| sample::log_softmax(l)).collect();
            let (Some(next), tokens) = (rows.last().cloned(), &item.row.tokens) else { continue };
            let loss: f64 = rows.iter().zip(&tokens[1..]).map(|(row, &t)| -f64::from(row[t as usize])).sum();
            out.push(Said { next, loss: loss / tokens.len().saturating_sub(1).max(1) as f64 });
        }
    }
    Ok(out)
}
