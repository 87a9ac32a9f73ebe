//! How far one reading of a text is from another of the same text: what `Precision::Fast` costs, on your checkpoint.

use crate::sample::{Mass, top_k};
use crate::{Batch, Model, Record, Result, Row};
use pellucid_core::{Point, Site};

/// Largest neurons of a layer that are compared, at each token.
pub const LARGEST: usize = 20;

/// What a model computes on a text: next-token logits and every neuron.
pub struct Reading {
    /// `(tokens, vocabulary)`, row by row.
    logits: Vec<Vec<f32>>,
    /// By layer, `(tokens, d_mlp)`.
    neurons: Vec<Vec<Vec<f32>>>,
}

/// How far a reading is from the one that counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Distance {
    /// KL divergence of next-token distributions in nats, from the one that counts, mean over tokens.
    pub kl: f64,
    /// The same at the worst token.
    pub worst_kl: f64,
    /// Tokens at which both readings say the same next token first, as a share.
    pub same_word: f64,
    /// Of the [`LARGEST`] neurons by |activation| of each layer and token, the share that both name.
    pub same_neurons: f64,
    /// The same in the layer where they agree least.
    pub worst_layer: f64,
    /// ‖difference‖ / ‖activation‖ over all neurons and tokens.
    pub neuron_error: f64,
}

impl Reading {
    /// Runs a model on tokens.
    ///
    /// # Errors
    /// If the model cannot run on them.
    pub fn of(model: &Model, tokens: &[u32]) -> Result<Self> {
        let sites: Vec<Site> = (0..model.spec().n_layers).map(|l| Site::new(Point::MlpAct, l)).collect();
        let mut record = Record::new(sites.iter().copied());
        let logits = model.forward(&Batch::one(Row::new(tokens)), &mut record)?;
        let neurons = sites.iter().map(|site| record.value(*site)?.to_vec2().map_err(Into::into));
        Ok(Reading { logits: logits.to_vec2()?, neurons: neurons.collect::<Result<_>>()? })
    }

    /// How far `other` is from this reading, on the same tokens.
    pub fn distance(&self, other: &Reading) -> Distance {
        let first = |x: &[f32]| top_k(x, 1).first().map(|(i, _)| *i);
        let pairs = || self.logits.iter().zip(&other.logits);
        let kls: Vec<f64> = pairs().map(|(p, q)| divergence(p, q)).collect();
        let same = pairs().filter(|(p, q)| first(p) == first(q)).count();
        let layers: Vec<f64> =
            self.neurons.iter().zip(&other.neurons).map(|(a, b)| agreement(a, b)).collect();
        Distance {
            kl: mean(&kls),
            worst_kl: kls.iter().copied().fold(0.0, f64::max),
            same_word: same as f64 / self.logits.len().max(1) as f64,
            same_neurons: mean(&layers),
            worst_layer: layers.iter().copied().fold(1.0, f64::min),
            neuron_error: error(&self.neurons, &other.neurons),
        }
    }
}

fn mean(x: &[f64]) -> f64 {
    x.iter().sum::<f64>() / x.len().max(1) as f64
}

/// `Σ p (ln p − ln q)`.
fn divergence(p: &[f32], q: &[f32]) -> f64 {
    let totals = [Mass::of(p).log_total, Mass::of(q).log_total];
    let terms = p.iter().zip(q).map(|(&p, &q)| {
        let (p, q) = (f64::from(p) - totals[0], f64::from(q) - totals[1]);
        p.exp() * (p - q)
    });
    terms.sum::<f64>().max(0.0)
}

/// The share of each token's largest neurons by magnitude that both name, over tokens.
fn agreement(a: &[Vec<f32>], b: &[Vec<f32>]) -> f64 {
    let largest = |x: &Vec<f32>| {
        let sizes: Vec<f32> = x.iter().map(|x| x.abs()).collect();
        top_k(&sizes, LARGEST.min(x.len())).into_iter().map(|(i, _)| i).collect::<Vec<_>>()
    };
    let shares = a.iter().zip(b).map(|(a, b)| {
        let (a, b) = (largest(a), largest(b));
        a.iter().filter(|i| b.contains(i)).count() as f64 / a.len().max(1) as f64
    });
    mean(&shares.collect::<Vec<_>>())
}

fn error(a: &[Vec<Vec<f32>>], b: &[Vec<Vec<f32>>]) -> f64 {
    let (mut off, mut all) = (0f64, 0f64);
    for (a, b) in a.iter().flatten().flatten().zip(b.iter().flatten().flatten()) {
        off += f64::from(a - b).powi(2);
        all += f64::from(*a).powi(2);
    }
    (off / all.max(f64::MIN_POSITIVE)).sqrt()
}
