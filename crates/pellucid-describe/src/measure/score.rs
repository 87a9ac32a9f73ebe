//! A score of a simulation: signed Pearson over all counted tokens of all examples of a split laid end to end
//! (as OpenAI's scorer does, not a mean over examples), Spearman beside it, and a percentile bootstrap interval.
//! Tokens of one text depend on one another, so the bootstrap draws examples, and those of one document together.

use super::correlate::{Correlation, spearman};
use crate::example::{Evidence, Example, Leak};
use crate::simulate::Simulate;
use pellucid_core::{Seed, Split};
use pellucid_store::{Document, Kind};
use std::collections::BTreeMap;

/// How an interval is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bootstrap {
    /// Seed of the draws.
    pub seed: Seed,
    /// How many draws; with 0 the interval is the value itself.
    pub resamples: usize,
}

/// Whether strong examples weigh as often as they were kept or as rarely as they occur.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Weighting {
    /// Every counted token weighs the same: says how well strong examples are told from random text.
    Even,
    /// Top and band examples together weigh what the unit's density says, random ones the rest: an estimate for
    /// running text.
    Density,
}

/// A measured description.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Score {
    /// `train`, `validation` or `test`: where it was measured.
    pub split: String,
    /// Signed Pearson.
    pub pearson: Correlation,
    /// Spearman.
    pub spearman: Correlation,
    /// Lower end of the 95% interval of Pearson's r.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Counted tokens measured.
    pub tokens: usize,
    /// Examples measured.
    pub examples: usize,
}

/// A measurement that would mean nothing.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum MeasureError {
    /// A document in two splits.
    #[error(transparent)]
    Leak(#[from] Leak),
    /// Predictions of another shape than the examples.
    #[error(
        "example {example}: expected {expected} predictions, one for each token, found {found}; mend the simulator"
    )]
    Shape {
        /// Which example of the split (the number of examples where whole rows are missing).
        example: usize,
        /// Tokens.
        expected: usize,
        /// Predictions.
        found: usize,
    },
    /// A prediction or an activation that is no number.
    #[error("example {example}: the {what} at token {token} is not finite; nothing can be scored with it")]
    NotFinite {
        /// Which example of the split.
        example: usize,
        /// Which token.
        token: usize,
        /// `prediction` or `activation`.
        what: &'static str,
    },
}

impl Evidence {
    /// The examples of a split.
    pub fn split(&self, split: Split) -> &[Example] {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}

/// Scores a simulator on one split. The evidence is checked for documents in two splits first.
///
/// # Errors
/// [`MeasureError`].
pub fn score(
    evidence: &Evidence,
    split: Split,
    simulator: &dyn Simulate,
    weighting: Weighting,
    bootstrap: &Bootstrap,
) -> Result<Score, MeasureError> {
    let row = |e: &Example| simulator.predict(&e.tokens, &e.texts, e.start == 0 && e.window == 0);
    let predictions: Vec<Vec<f32>> = evidence.split(split).iter().map(row).collect();
    score_predictions(evidence, split, &predictions, weighting, bootstrap)
}

/// The same for predictions that somebody has made: a row for each example of the split, a number for each token.
///
/// # Errors
/// [`MeasureError`].
pub fn score_predictions(
    evidence: &Evidence,
    split: Split,
    predictions: &[Vec<f32>],
    weighting: Weighting,
    bootstrap: &Bootstrap,
) -> Result<Score, MeasureError> {
    evidence.disjoint()?;
    let density = (weighting == Weighting::Density).then_some(evidence.density);
    measured(evidence.split(split), predictions, split, density, bootstrap)
}

/// The null: the same measurement with the simulators of other units' descriptions, one signed r each.
///
/// # Errors
/// [`MeasureError`].
pub fn null(
    evidence: &Evidence,
    split: Split,
    others: &[&dyn Simulate],
    weighting: Weighting,
) -> Result<Vec<f64>, MeasureError> {
    let none = Bootstrap { seed: Seed(0), resamples: 0 };
    others.iter().map(|s| Ok(score(evidence, split, *s, weighting, &none)?.pearson.r)).collect()
}

/// Weighted sums from which Pearson's r follows. They add, so a resample needs no second look at the tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sums {
    w: f64,
    x: f64,
    y: f64,
    xx: f64,
    yy: f64,
    xy: f64,
}

impl Sums {
    fn push(&mut self, w: f64, x: f64, y: f64) {
        let other = Sums { w, x: w * x, y: w * y, xx: w * x * x, yy: w * y * y, xy: w * x * y };
        self.add(&other);
    }

    fn add(&mut self, other: &Sums) {
        self.w += other.w;
        self.x += other.x;
        self.y += other.y;
        self.xx += other.xx;
        self.yy += other.yy;
        self.xy += other.xy;
    }

    /// Over the counted tokens of examples, evenly.
    pub(crate) fn over(examples: &[Example], predictions: &[Vec<f32>]) -> Sums {
        let mut sums = Sums::default();
        for (example, row) in examples.iter().zip(predictions) {
            for ((&x, &y), _) in
                row.iter().zip(&example.activations).zip(&example.counted).filter(|(_, c)| **c)
            {
                sums.push(1.0, f64::from(x), f64::from(y));
            }
        }
        sums
    }

    pub(crate) fn correlation(&self) -> Correlation {
        if self.w <= 0.0 {
            return Correlation::NONE;
        }
        let (xx, yy) = (self.xx - self.x * self.x / self.w, self.yy - self.y * self.y / self.w);
        Correlation::of_moments(xx, yy, self.xy - self.x * self.y / self.w, (self.xx, self.yy))
    }
}

/// The measurement itself, without the check of the splits (the callers have made it).
fn measured(
    examples: &[Example],
    predictions: &[Vec<f32>],
    split: Split,
    density: Option<f64>,
    bootstrap: &Bootstrap,
) -> Result<Score, MeasureError> {
    whole(examples, predictions)?;
    let weights = weights(examples, density);
    let mut by_document: BTreeMap<Document, Sums> = BTreeMap::new();
    let (mut x, mut y) = (Vec::new(), Vec::new());
    for ((example, row), w) in examples.iter().zip(predictions).zip(weights) {
        let sums = by_document.entry(example.document).or_default();
        for i in (0..row.len()).filter(|&i| example.counted[i]) {
            x.push(row[i]);
            y.push(example.activations[i]);
            sums.push(w, f64::from(row[i]), f64::from(example.activations[i]));
        }
    }
    let parts: Vec<Sums> = by_document.into_values().collect();
    let mut total = Sums::default();
    parts.iter().for_each(|p| total.add(p));
    let pearson = total.correlation();
    let (low, high) = interval(&parts, pearson.r, bootstrap);
    let split = split.name().to_owned();
    let spearman = spearman(&x, &y);
    Ok(Score { split, pearson, spearman, low, high, tokens: x.len(), examples: examples.len() })
}

/// That every example and its predictions are of one length and hold numbers.
pub(crate) fn whole(examples: &[Example], predictions: &[Vec<f32>]) -> Result<(), MeasureError> {
    if examples.len() != predictions.len() {
        let (expected, found) = (examples.len(), predictions.len());
        return Err(MeasureError::Shape { example: expected, expected, found });
    }
    for (number, (example, row)) in examples.iter().zip(predictions).enumerate() {
        let expected = example.tokens.len();
        for found in [row.len(), example.activations.len(), example.counted.len()] {
            if found != expected {
                return Err(MeasureError::Shape { example: number, expected, found });
            }
        }
        for (what, values) in [("prediction", row), ("activation", &example.activations)] {
            if let Some(token) = values.iter().position(|v| !v.is_finite()) {
                return Err(MeasureError::NotFinite { example: number, token, what });
            }
        }
    }
    Ok(())
}

/// The weight of one token of each example.
fn weights(examples: &[Example], density: Option<f64>) -> Vec<f64> {
    let counted = |e: &Example| e.counted.iter().filter(|c| **c).count() as f64;
    let total = |random: bool| -> f64 {
        examples.iter().filter(|e| (e.kind == Kind::Random) == random).map(counted).sum()
    };
    let (strong, random) = (total(false), total(true));
    let of = |e: &Example| match density {
        Some(d) if strong > 0.0 && random > 0.0 => {
            let d = d.clamp(0.0, 1.0);
            if e.kind == Kind::Random { (1.0 - d) / random } else { d / strong }
        }
        _ => 1.0,
    };
    examples.iter().map(of).collect()
}

/// The middle 95% of r over resampled documents.
fn interval(parts: &[Sums], value: f64, bootstrap: &Bootstrap) -> (f64, f64) {
    if bootstrap.resamples == 0 || parts.is_empty() {
        return (value, value);
    }
    let mut seed = bootstrap.seed.for_purpose("bootstrap of a score");
    let mut draws: Vec<f64> = (0..bootstrap.resamples)
        .map(|_| {
            let mut sums = Sums::default();
            (0..parts.len()).for_each(|_| sums.add(&parts[seed.below(parts.len())]));
            sums.correlation().r
        })
        .collect();
    middle(&mut draws)
}

/// The 2.5% and 97.5% quantiles (nearest rank).
pub(super) fn middle(draws: &mut [f64]) -> (f64, f64) {
    draws.sort_by(f64::total_cmp);
    let last = draws.len().saturating_sub(1);
    let at = |q: f64| draws.get((q * last as f64).round() as usize).copied().unwrap_or(0.0);
    (at(0.025), at(0.975))
}

/// r after each example's predictions have been turned round by a random number of tokens: what chance gives to
/// predictions of this sparsity against activations of this one. The largest of `draws`.
pub(crate) fn shifted_null(examples: &[Example], predictions: &[Vec<f32>], seed: Seed, draws: usize) -> f64 {
    let mut seed = seed.for_purpose("shifted null");
    let mut most = f64::NEG_INFINITY;
    for _ in 0..draws {
        let mut sums = Sums::default();
        for (example, row) in examples.iter().zip(predictions) {
            let shift = 1 + seed.below(row.len().saturating_sub(1));
            for i in (0..row.len()).filter(|&i| example.counted[i]) {
                let from = (i + shift) % row.len();
                sums.push(1.0, f64::from(row[from]), f64::from(example.activations[i]));
            }
        }
        most = most.max(sums.correlation().r);
    }
    if draws == 0 { 0.0 } else { most }
}

/// Whether a unit fires on one token only: such units score well whatever is said of them (the randomised-weights
/// control of Bricken et al. 2023), so they are told apart.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SingleToken {
    /// The token's text that holds most of the active mass.
    pub text: String,
    /// Its share of it.
    pub share: f64,
}

/// The token text with the largest share of the activation mass over the active tokens (at least half of their
/// example's peak) of the top and band examples; none if nothing is active. A unit is flagged single-token from a
/// share of 0.9 (see [`super::Rule`]).
pub fn single_token(train: &[Example]) -> Option<SingleToken> {
    let mut mass: BTreeMap<&str, f64> = BTreeMap::new();
    let mut total = 0.0;
    for example in train.iter().filter(|e| e.kind != Kind::Random) {
        let Some((_, peak)) = example.peak() else { continue };
        for (i, &a) in example.activations.iter().enumerate() {
            let counted = example.counted.get(i).copied().unwrap_or(false);
            if let (true, Some(text)) = (counted && a >= 0.5 * peak, example.texts.get(i)) {
                *mass.entry(text.as_ref()).or_default() += f64::from(a);
                total += f64::from(a);
            }
        }
    }
    let (text, most) = mass.into_iter().rev().max_by(|a, b| a.1.total_cmp(&b.1))?;
    Some(SingleToken { text: text.to_owned(), share: most / total })
}
