//! What a few examples tell a model, as one vector. Its gate is whether examples help at all; its controls are shuffled
//! examples, random heads and a random vector of its length.

use super::places::{FunctionSettingsShape, HeadEffectShape, TriedShape};
use super::shape::IntervalShape;
use super::{Steps, Watch, counted};
use crate::error::{Result, bad};
use pellucid_core::Seed;
use pellucid_interp::function::{Asked, HeadEffect, Pairs, Settings, TASKS, Task, Tried, find, measure};
use pellucid_interp::{Error, Interval};
use pellucid_model::Model;
use serde::Serialize;
use utoipa::ToSchema;

/// A built-in task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(as = LabTask)]
pub struct BuiltInTask {
    /// Its name.
    #[schema(value_type = String)]
    pub name: &'static str,
    /// What it asks, in words.
    #[schema(value_type = String)]
    pub about: &'static str,
    /// How many pairs it has.
    pub pairs: usize,
}

/// How a vector is found and tried.
#[derive(Clone, Debug)]
pub struct Teaching {
    /// Prompts that each head's mean is taken over.
    pub means: usize,
    /// Prompts with shuffled answers that each head's effect is taken over.
    pub trials: usize,
    /// Heads whose means are summed.
    pub heads: usize,
    /// How many times the vector is added: all are tried.
    pub strengths: Vec<f32>,
    /// Go on though examples do not help this model.
    pub anyway: bool,
}

/// Whether examples help.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct TaskGate {
    /// The task.
    pub task: String,
    /// Chose pairs, examples and controls.
    pub seed: u64,
    /// Examples before a question.
    pub shots: usize,
    /// Pairs that examples come from, and that the vector is found with.
    pub shown: usize,
    /// Pairs that are asked.
    pub asked: usize,
    /// Pairs whose answer is more than one token.
    pub left_out: usize,
    /// Share of questions that are answered behind examples.
    #[schema(value_type = IntervalShape)]
    pub with_examples: Interval,
    /// Behind examples with each other's answers.
    #[schema(value_type = IntervalShape)]
    pub with_shuffled: Interval,
    /// Bare.
    #[schema(value_type = IntervalShape)]
    pub bare: Interval,
    /// Whether examples help: the interval with them lies above the bare one.
    pub learns: bool,
    /// The verdict.
    pub sentence: String,
}

/// A function vector, found and tried.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct FunctionReport {
    /// Whether examples help.
    #[serde(flatten)]
    pub gate: TaskGate,
    /// How it was found.
    #[schema(value_type = FunctionSettingsShape)]
    pub settings: Settings,
    /// Every head, the largest effect first.
    #[schema(value_type = Vec<HeadEffectShape>)]
    pub heads: Vec<HeadEffect>,
    /// Chosen on pairs that were shown.
    pub layer: usize,
    /// The same.
    pub strength: f32,
    /// What was chosen from.
    #[schema(value_type = Vec<TriedShape>)]
    pub tried: Vec<Tried>,
    /// On the held-out questions, bare but for the vector.
    #[schema(value_type = IntervalShape)]
    pub with_vector: Interval,
    /// As many random heads' sum at the same length, layer and strength.
    #[schema(value_type = IntervalShape)]
    pub with_random_heads: Interval,
    /// A random vector of its length.
    #[schema(value_type = IntervalShape)]
    pub with_random: Interval,
}

/// A task that was measured on a model.
#[derive(Clone, Debug)]
pub struct Taught {
    /// Whether examples help.
    pub gate: TaskGate,
    pairs: Pairs,
    bare: Vec<Asked>,
    seed: Seed,
}

/// Questions on which layer and strength are chosen.
const CHOOSE_ON: usize = 32;

/// The built-in tasks.
///
/// # Errors
/// If one of them cannot be made, which would be a bug.
pub fn tasks() -> Result<Vec<BuiltInTask>> {
    let of = |(name, about)| Ok(BuiltInTask { name, about, pairs: Task::built_in(name)?.pairs.len() });
    TASKS.into_iter().map(of).collect()
}

impl Taught {
    /// A task's pairs in the model's tokens: those that are shown, and those that are asked.
    ///
    /// # Errors
    /// If there are no shots, or too few pairs.
    pub fn pairs(model: &Model, task: &Task, shots: usize, seed: Seed) -> Result<Pairs> {
        if shots == 0 {
            return bad("at least one example must stand before a question");
        }
        Ok(Pairs::of(model, task, shots, seed)?)
    }

    /// Asks the held-out questions behind examples, behind shuffled ones, and bare.
    ///
    /// # Errors
    /// If a text cannot be tokenised, or a run fails.
    pub fn measure(model: &Model, pairs: Pairs, shots: usize, seed: Seed) -> Result<Self> {
        let ask = |shots, shuffled| pairs.questions(model, shots, shuffled, seed);
        let bare = ask(0, false)?;
        let with_examples = measure(model, &ask(shots, false)?, None)?;
        let with_shuffled = measure(model, &ask(shots, true)?, None)?;
        let plain = measure(model, &bare, None)?;
        let learns = helps(with_examples, plain);
        let (with, without, n) = (with_examples.value, plain.value, plain.n);
        let verdict = if learns { "examples help this model" } else { "examples do not help this model" };
        let sentence = format!(
            "{verdict} at {}: {with:.2} of {n} questions are answered with {shots} of them, {without:.2} without",
            pairs.name
        );
        let gate = TaskGate {
            task: pairs.name.clone(),
            seed: seed.0,
            shots,
            shown: pairs.shown.len(),
            asked: pairs.asked.len(),
            left_out: pairs.left_out,
            with_examples,
            with_shuffled,
            bare: plain,
            learns,
            sentence,
        };
        Ok(Taught { gate, pairs, bare, seed })
    }

    /// Finds the task's vector, chooses where and how strongly it is added on pairs that were shown, and tries it on the
    /// others.
    ///
    /// # Errors
    /// If examples do not help, a number is zero or not finite, or a run fails or is stopped.
    pub fn vector(&self, model: &Model, asked: &Teaching, watch: Watch<'_>) -> Result<FunctionReport> {
        let Taught { gate, pairs, bare, seed } = self;
        if !gate.learns && !asked.anyway {
            return Err(Error::NotShown(gate.sentence.clone()).into());
        }
        if asked.strengths.is_empty() || asked.strengths.iter().any(|s| !s.is_finite()) {
            return bad("strengths are finite numbers, and there is at least one");
        }
        let Teaching { means, trials, heads, .. } = *asked;
        let settings = Settings { shots: gate.shots, means, trials, heads };
        let found = counted(watch, "heads tried", |p| find(model, pairs, settings, *seed, p))?;
        // layer and strength are chosen on questions from the shown pairs
        let choose_on = pairs.examples(model, 0, CHOOSE_ON, false, seed.for_purpose("choose"))?;
        let tried = scan(model, &choose_on, &found.vector, &asked.strengths, watch)?;
        let best = tried.iter().max_by(|a, b| {
            a.accuracy.value.total_cmp(&b.accuracy.value).then(b.strength.total_cmp(&a.strength))
        });
        let Some(&Tried { layer, strength, .. }) = best else { return bad("no strength was tried") };
        let at = |vector: &[f32]| measure(model, bare, Some((layer, vector, strength)));
        let length = norm(&found.vector);
        let mut drawn = seed.for_purpose("random vector");
        let random: Vec<f32> = found.vector.iter().map(|_| drawn.normal() as f32).collect();
        Ok(FunctionReport {
            gate: gate.clone(),
            settings,
            with_vector: at(&found.vector)?,
            with_random_heads: at(&resized(&found.random_heads, length))?,
            with_random: at(&resized(&random, length))?,
            heads: found.heads,
            layer,
            strength,
            tried,
        })
    }
}

/// Both shares have an interval: where few questions are asked, one that is answered by luck must not pass.
fn helps(with: Interval, bare: Interval) -> bool {
    with.low > bare.high
}

fn norm(v: &[f32]) -> f64 {
    v.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}

fn resized(v: &[f32], length: f64) -> Vec<f32> {
    let by = length / norm(v).max(f64::MIN_POSITIVE);
    v.iter().map(|v| (f64::from(*v) * by) as f32).collect()
}

/// Layers from a sixth to two thirds of the model, six of them, with every strength.
fn scan(
    model: &Model,
    asked: &[Asked],
    vector: &[f32],
    strengths: &[f32],
    watch: Watch<'_>,
) -> Result<Vec<Tried>> {
    let n = model.spec().n_layers;
    let mut layers: Vec<usize> = (1..=6).map(|i| (n * (1 + i) / 10).min(n - 1)).collect();
    layers.dedup();
    let places = layers.iter().flat_map(|&layer| strengths.iter().map(move |&s| (layer, s)));
    let all = layers.len() * strengths.len();
    let tried = Steps::begin(watch, "layers and strengths tried", all)?.each(|p| {
        let one = |(layer, strength)| {
            let accuracy = measure(model, asked, Some((layer, vector, strength)))?;
            p().map(|()| Tried { layer, strength, accuracy })
        };
        places.map(one).collect::<pellucid_interp::Result<_>>()
    })?;
    Ok(tried)
}

#[cfg(test)]
mod tests {
    use super::helps;
    use pellucid_interp::Interval;

    #[test]
    fn one_answer_of_five_is_no_lesson() {
        assert!(!helps(Interval::share(1, 5), Interval::share(0, 5)));
        assert!(!helps(Interval::share(3, 12), Interval::share(3, 12)));
        assert!(helps(Interval::share(6, 7), Interval::share(0, 7)));
        assert!(helps(Interval::share(11, 12), Interval::share(2, 12)));
    }
}
