//! Circuits of single neurons: all others carry what they do in the counterfactual (or their mean, or nothing), attention is free.
//!
//! A neuron's score is `Σ (now − other) · ∂m/∂(its activation)` over tokens, averaged over items, positive where it helps. The derivative
//! is taken at the items (attribution patching), or is its mean while all neurons together go from the one end to the other with
//! no neuron answering another (integrated gradients, Sundararajan et al. 2017, arXiv 1703.01365): those scores sum to what
//! replacing all neurons takes away.

use super::bench::Ablation;
use super::curve::{FRACTIONS, faithfulness, first};
use crate::behaviour::{Prepared, Ready, accuracy, batches_of, last_rows, odds_gradient, odds_of};
use crate::error::tensor;
use crate::{Error, Interval, Progress, Result};
use pellucid_core::{Point, Seed, Site};
use pellucid_model::sample::{divergence, log_softmax};
use pellucid_model::{Batch, Logits, Model, Place, Plan, Record, Row, Rules, Tap, Tensor, with_numbers};
use serde::Serialize;
use std::ops::Range;

/// Tokens that run together: each neuron's value is kept for each token.
const TOKENS: usize = 384;

/// How neurons are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum NeuronScoring {
    /// One gradient, at the items.
    Gradient,
    /// Gradients while all neurons together go from what replaces them to what they are.
    Integrated {
        /// Points on the way, at the middles of as many parts.
        steps: usize,
    },
}

struct Part {
    range: Range<usize>,
    batch: Batch,
    /// `mlp_act` of each layer, `(tokens · d_mlp)`: as it is, and as it is where a neuron is replaced.
    now: Vec<Vec<f32>>,
    other: Vec<Vec<f32>>,
    /// Log-probabilities of what the whole model says to each item.
    said: Vec<Vec<f32>>,
}

/// A behaviour on a model, ready for circuits of neurons; they are numbered layer by layer.
pub struct NeuronBench<'a> {
    model: &'a Model,
    ready: &'a Ready,
    parts: Vec<Part>,
    whole: Vec<f64>,
    none: Vec<f64>,
}

/// A circuit of neurons, measured.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NeuronsKept {
    /// Neurons kept.
    pub neurons: usize,
    /// Share of the behaviour kept; 1 is the whole model, 0 every neuron replaced.
    pub faithfulness: f64,
    /// Mean log-odds over the items.
    pub log_odds: Interval,
    /// Share of right answers.
    pub accuracy: Interval,
    /// KL divergence from the whole model's next-token distribution, nats, mean over the items.
    pub kl: f64,
}

/// A circuit of neurons of some size beside its controls.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NeuronPoint {
    /// Share of all neurons.
    pub fraction: f64,
    /// The circuit.
    pub circuit: NeuronsKept,
    /// All other neurons.
    pub complement: NeuronsKept,
    /// As many random neurons.
    pub random: NeuronsKept,
}

/// What is done at the neurons of a run.
enum Act<'a> {
    /// Those that are not kept are replaced.
    Keep(&'a [bool]),
    /// All stand at this share of the way from what replaces them, and none answers another.
    Along(f32),
}

struct Neurons<'a> {
    part: &'a Part,
    width: usize,
    act: Act<'a>,
    gradients: Vec<Vec<f32>>,
}

impl Tap for Neurons<'_> {
    fn wants(&self, site: Site) -> bool {
        site.point == Point::MlpAct
    }

    fn visit(&mut self, at: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        let layer = at.site.layer as usize;
        let (now, other) = (&self.part.now[layer], &self.part.other[layer]);
        let values = match self.act {
            Act::Along(share) => now.iter().zip(other).map(|(n, o)| o + share * (n - o)).collect(),
            Act::Keep(keep) => {
                let keep = &keep[layer * self.width..(layer + 1) * self.width];
                if keep.iter().all(|k| *k) {
                    return Ok(x);
                }
                let mut values = with_numbers(&x, <[f32]>::to_vec)?;
                for (values, other) in values.chunks_exact_mut(self.width).zip(other.chunks_exact(self.width))
                {
                    for ((v, o), k) in values.iter_mut().zip(other).zip(keep) {
                        *v = if *k { *v } else { *o };
                    }
                }
                values
            }
        };
        Ok(Tensor::from_vec(values, x.shape(), x.device())?)
    }

    fn pullback(&mut self, at: Place<'_>, g: Tensor) -> pellucid_model::Result<Tensor> {
        self.gradients[at.site.layer as usize] = with_numbers(&g, <[f32]>::to_vec)?;
        // a value that was put there does not depend on what stood there
        match self.act {
            Act::Along(_) => Ok(g.zeros_like()?),
            Act::Keep(_) => Ok(g),
        }
    }

    fn expects(&self) -> Vec<Site> {
        (0..self.part.now.len()).map(|l| Site::new(Point::MlpAct, l)).collect()
    }
}

impl<'a> NeuronBench<'a> {
    /// Runs the items and what replaces them.
    ///
    /// # Errors
    /// If an item lacks a counterfactual of its length and one is wanted, or a run fails.
    pub fn new(model: &'a Model, ready: &'a Ready, ablation: Ablation) -> Result<Self> {
        let mut bench = NeuronBench { model, ready, parts: Vec::new(), whole: Vec::new(), none: Vec::new() };
        for range in batches_of(&ready.items, TOKENS) {
            let items = &ready.items[range.clone()];
            let batch = Batch { rows: items.iter().map(|i| i.row.clone()).collect() };
            let (now, resid) = activations(model, &batch)?;
            let other = match ablation {
                Ablation::Counterfactual => activations(model, &counterfactuals(items)?)?.0,
                _ => Vec::new(),
            };
            let last = last_rows(&batch, &resid)?;
            bench.whole.extend(odds_of(model, items, &last)?);
            bench.parts.push(Part { range, batch, now, other, said: said(model, &last)? });
        }
        if ablation != Ablation::Counterfactual {
            let means = if ablation == Ablation::Mean { Some(bench.means()?) } else { None };
            let width = model.spec().d_mlp;
            bench.parts.iter_mut().for_each(|part| part.other = held(part, means.as_deref(), width));
        }
        bench.none = bench.odds(&vec![false; bench.len()])?;
        Ok(bench)
    }

    /// How many neurons the model has.
    pub fn len(&self) -> usize {
        self.model.spec().n_layers * self.model.spec().d_mlp
    }

    /// Whether it has none, which no model does.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// A neuron's layer and number there.
    pub fn place(&self, neuron: usize) -> (usize, usize) {
        let width = self.model.spec().d_mlp.max(1);
        (neuron / width, neuron % width)
    }

    /// The log-odds of each item as the model has them.
    pub fn whole(&self) -> &[f64] {
        &self.whole
    }

    /// The log-odds of each item with every neuron replaced.
    pub fn none(&self) -> &[f64] {
        &self.none
    }

    /// Each layer's means over all tokens that are not the first of their text.
    fn means(&self) -> Result<Vec<Vec<f32>>> {
        let (layers, width) = (self.model.spec().n_layers, self.model.spec().d_mlp);
        let (mut sums, mut count) = (vec![vec![0f64; width]; layers], 0usize);
        for part in &self.parts {
            for tokens in part.batch.ranges() {
                count += tokens.len() - 1;
                for (sums, now) in sums.iter_mut().zip(&part.now) {
                    for row in now[(tokens.start + 1) * width..tokens.end * width].chunks_exact(width) {
                        sums.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v));
                    }
                }
            }
        }
        if count == 0 {
            let why = "a mean needs items of more than one token; say --ablation zero";
            return Err(Error::Request(why.to_owned()));
        }
        let mean = |sum: Vec<f64>| sum.into_iter().map(|s| (s / count as f64) as f32).collect();
        Ok(sums.into_iter().map(mean).collect())
    }

    fn run(&self, part: &Part, act: Act<'_>) -> Result<Tensor> {
        let width = self.model.spec().d_mlp;
        let mut tap = Neurons { part, width, act, gradients: Vec::new() };
        let plan = Plan { logits: Logits::None, start: None, stop_after: None };
        let resid = self.model.run(&part.batch, &plan, None, &mut tap)?.resid;
        last_rows(&part.batch, &resid)
    }

    /// Log-odds of each item with the neurons replaced that are not kept.
    ///
    /// # Errors
    /// If they are not as many as the model's, or the run fails.
    pub fn odds(&self, keep: &[bool]) -> Result<Vec<f64>> {
        self.check(keep)?;
        let mut odds = Vec::with_capacity(self.ready.items.len());
        for part in &self.parts {
            let last = self.run(part, Act::Keep(keep))?;
            odds.extend(odds_of(self.model, &self.ready.items[part.range.clone()], &last)?);
        }
        Ok(odds)
    }

    fn check(&self, keep: &[bool]) -> Result<()> {
        match keep.len() == self.len() {
            true => Ok(()),
            false => Err(Error::Request(format!(
                "{} neurons were given, and this model has {}",
                keep.len(),
                self.len()
            ))),
        }
    }

    /// Keeps these neurons alone and measures.
    ///
    /// # Errors
    /// As [`NeuronBench::odds`].
    pub fn measure(&self, keep: &[bool]) -> Result<NeuronsKept> {
        self.check(keep)?;
        let (mut odds, mut kl) = (Vec::new(), 0.0);
        for part in &self.parts {
            let last = self.run(part, Act::Keep(keep))?;
            odds.extend(odds_of(self.model, &self.ready.items[part.range.clone()], &last)?);
            let now = said(self.model, &last)?;
            kl += part.said.iter().zip(&now).map(|(p, q)| divergence(p, q)).sum::<f64>();
        }
        let n = odds.len() as f64;
        let mean = |odds: &[f64]| odds.iter().sum::<f64>() / n;
        Ok(NeuronsKept {
            neurons: keep.iter().filter(|k| **k).count(),
            faithfulness: faithfulness(mean(&odds), mean(&self.whole), mean(&self.none)),
            log_odds: Interval::mean(&odds),
            accuracy: accuracy(&odds),
            kl: kl / n,
        })
    }

    /// How often [`NeuronBench::scores`] tells its progress.
    pub fn score_steps(&self, by: NeuronScoring) -> usize {
        let each = if let NeuronScoring::Integrated { steps } = by { steps } else { 1 };
        self.parts.len() * each
    }

    /// Scores every neuron; `progress` is told after each pass.
    ///
    /// # Errors
    /// If there are no steps, a run fails, or the work is stopped.
    pub fn scores(&self, by: NeuronScoring, progress: Progress<'_>) -> Result<Vec<f64>> {
        let mut scores = vec![0f64; self.len()];
        let keep = vec![true; self.len()];
        let n = self.ready.items.len() as f64;
        for part in &self.parts {
            match by {
                NeuronScoring::Gradient => {
                    self.add(part, Act::Keep(&keep), 1.0 / n, &mut scores)?;
                    progress()?;
                }
                NeuronScoring::Integrated { steps: 0 } => {
                    return Err(Error::Request("integrated gradients need at least one step".to_owned()));
                }
                NeuronScoring::Integrated { steps } => {
                    for step in 0..steps {
                        let along = (step as f32 + 0.5) / steps as f32;
                        self.add(part, Act::Along(along), 1.0 / (n * steps as f64), &mut scores)?;
                        progress()?;
                    }
                }
            }
        }
        Ok(scores)
    }

    fn add(&self, part: &Part, act: Act<'_>, weight: f64, scores: &mut [f64]) -> Result<()> {
        let (items, width) = (&self.ready.items[part.range.clone()], self.model.spec().d_mlp);
        let mut tap = Neurons { part, width, act, gradients: vec![Vec::new(); part.now.len()] };
        let plan = Plan { logits: Logits::None, start: None, stop_after: None };
        let (output, trace) = self.model.trace(&part.batch, &plan, &mut tap)?;
        let last = last_rows(&part.batch, &output.resid)?;
        let g = odds_gradient(self.model, &part.batch, items, &last, Rules::EXACT)?;
        self.model.backward_from(trace, g, Rules::EXACT, &mut tap)?;
        for (layer, g) in tap.gradients.iter().enumerate() {
            let scores = &mut scores[layer * width..(layer + 1) * width];
            let rows = part.now[layer].chunks_exact(width).zip(part.other[layer].chunks_exact(width));
            for ((now, other), g) in rows.zip(g.chunks_exact(width)) {
                for (i, score) in scores.iter_mut().enumerate() {
                    *score += weight * f64::from(now[i] - other[i]) * f64::from(g[i]);
                }
            }
        }
        Ok(())
    }

    /// Circuits of MIB's fractions of all neurons, the best by score first, beside all others and as many random ones; `progress` is told
    /// after each.
    ///
    /// # Errors
    /// If the scores are not as many as the neurons, a run fails, or the work is stopped.
    pub fn curve(&self, scores: &[f64], seed: Seed, progress: Progress<'_>) -> Result<Vec<NeuronPoint>> {
        self.check(&vec![true; scores.len()])?;
        let chosen = ranked(scores);
        let random = seed.for_purpose("random neurons of a circuit").choose(self.len(), self.len());
        let mut points = Vec::with_capacity(FRACTIONS.len());
        for fraction in FRACTIONS {
            let k = (fraction * self.len() as f64).round() as usize;
            let keep = first(&chosen, k);
            let rest: Vec<bool> = keep.iter().map(|k| !k).collect();
            points.push(NeuronPoint {
                fraction,
                circuit: self.measure(&keep)?,
                complement: self.measure(&rest)?,
                random: self.measure(&first(&random, k))?,
            });
            progress()?;
        }
        Ok(points)
    }
}

/// Neurons by size of their score, the largest first.
pub fn ranked(scores: &[f64]) -> Vec<usize> {
    let mut order: Vec<usize> = (0..scores.len()).collect();
    order.sort_by(|&a, &b| scores[b].abs().total_cmp(&scores[a].abs()).then(a.cmp(&b)));
    order
}

/// Each layer's `mlp_act`, and the final stream.
fn activations(model: &Model, batch: &Batch) -> Result<(Vec<Vec<f32>>, Tensor)> {
    let sites: Vec<Site> = (0..model.spec().n_layers).map(|l| Site::new(Point::MlpAct, l)).collect();
    let mut record = Record::new(sites.iter().copied());
    let plan = Plan { logits: Logits::None, start: None, stop_after: None };
    let resid = model.run(batch, &plan, None, &mut record)?.resid;
    let values = sites.iter().map(|&s| Ok(with_numbers(&record.value(s)?, <[f32]>::to_vec)?));
    Ok((values.collect::<Result<_>>()?, resid))
}

fn said(model: &Model, last: &Tensor) -> Result<Vec<Vec<f32>>> {
    let logits = tensor(model.unembed(last)?.to_vec2::<f32>())?;
    Ok(logits.iter().map(|l| log_softmax(l)).collect())
}

/// What replaces neurons by their means, or by nothing; the first token of each text keeps its own.
fn held(part: &Part, means: Option<&[Vec<f32>]>, width: usize) -> Vec<Vec<f32>> {
    let firsts: Vec<usize> = part.batch.ranges().iter().map(|r| r.start).collect();
    let layer = |(layer, now): (usize, &Vec<f32>)| {
        let mut other = match means {
            Some(means) => means[layer].repeat(now.len() / width.max(1)),
            None => vec![0f32; now.len()],
        };
        for t in &firsts {
            other[t * width..(t + 1) * width].copy_from_slice(&now[t * width..(t + 1) * width]);
        }
        other
    };
    part.now.iter().enumerate().map(layer).collect()
}

fn counterfactuals(items: &[Prepared]) -> Result<Batch> {
    let rows: Option<Vec<Row>> = items.iter().map(|i| i.counterfactual.clone()).collect();
    rows.map(|rows| Batch { rows }).ok_or_else(|| {
        Error::Request(
            "an item has no counterfactual of its length in this model's tokens; give each one, or replace neurons by \
             their mean or by zero"
                .to_owned(),
        )
    })
}
