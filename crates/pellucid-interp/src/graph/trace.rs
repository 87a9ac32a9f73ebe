//! From a prompt to the matrix of what every node adds to every other.

use super::influence::{Graph, Kinds};
use super::units::{LayerUnits, Units};
use crate::error::tensor;
use crate::{Error, Metric, Progress, Result};
use pellucid_core::UnitId;
use pellucid_model::sample::{expectation as dot, log_softmax, top_k};
use pellucid_model::{Frozen, Reader, Tensor, with_numbers};
use rayon::prelude::*;

/// Most nodes of a graph: the matrix holds the square of it.
pub const MOST_NODES: usize = 4000;

/// Tokens of all readers that go back together.
const TOGETHER: usize = 1024;

/// What a graph explains.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Outputs {
    /// The likeliest next tokens, until they hold this share of all probability, and at most so many; each logit above the mean.
    Likely {
        /// The share.
        share: f64,
        /// The number.
        most: usize,
    },
    /// One token's logit above another's, or above the mean.
    Contrast {
        /// The token.
        target: u32,
        /// What it is compared with.
        foil: Option<u32>,
    },
}

impl Outputs {
    /// As circuit-tracer has it: 95% of the probability, at most ten.
    pub const USUAL: Outputs = Outputs::Likely { share: 0.95, most: 10 };

    /// The outputs in a run with these logits at a position, each with the probability that weighs it.
    ///
    /// # Errors
    /// If there is none, or a token does not exist.
    pub fn metrics(self, logits: &[f32], position: usize) -> Result<Vec<(Metric, f64)>> {
        let log_probs = log_softmax(logits);
        let p = |id: usize| f64::from(log_probs[id]).exp();
        match self {
            Outputs::Contrast { target, foil } => {
                let absent = |id: &u32| *id as usize >= logits.len();
                if let Some(id) = [Some(target), foil].into_iter().flatten().find(absent) {
                    let n = logits.len();
                    return Err(Error::Request(format!("token {id} is outside the vocabulary of {n}")));
                }
                if foil == Some(target) {
                    return Err(Error::Request("target and foil are the same token".to_owned()));
                }
                Ok(vec![(Metric { position, target, foil }, p(target as usize))])
            }
            Outputs::Likely { share, most } => {
                if most == 0 || !(0.0..=1.0).contains(&share) {
                    return Err(Error::Request(format!(
                        "outputs are at least one and hold a share from 0 to 1; found {most} and {share}"
                    )));
                }
                let mut held = 0.0;
                let mut list = Vec::new();
                for (id, _) in top_k(&log_probs, most) {
                    list.push((Metric { position, target: id as u32, foil: None }, p(id)));
                    held += p(id);
                    if held >= share {
                        break;
                    }
                }
                Ok(list)
            }
        }
    }
}

/// What a node is.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A unit.
    Unit(UnitId),
    /// What the units of a layer do not add of what its MLP does.
    Error,
    /// An input token.
    Token(u32),
    /// A logit, above another's or above the mean.
    Logit {
        /// The token.
        token: u32,
        /// What it is compared with.
        foil: Option<u32>,
        /// The token's probability.
        probability: f64,
    },
}

/// A node of a graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    /// What it is.
    pub what: What,
    /// Its layer; none for tokens and logits.
    pub layer: Option<usize>,
    /// Its token.
    pub position: usize,
    /// Its value in the run: an activation, or a logit above what it is compared with; 1 for what is only a source.
    pub value: f64,
}

/// A prompt's graph.
#[derive(Clone, Debug, PartialEq)]
pub struct Traced {
    /// In the order of the matrix: units, errors, tokens, logits.
    pub nodes: Vec<Node>,
    /// What each adds to each.
    pub graph: Graph,
    /// By node, what shifts (biases) add to it: its value less what its sources add. Nothing for what is only a source.
    pub shifts: Vec<f64>,
}

impl Traced {
    /// What zeroing each node is predicted to take from an output (by its place among the logits), over every path of the graph: a
    /// unit that loses a share of its value passes on that share less.
    pub fn predicted(&self, output: usize) -> Vec<f64> {
        let Kinds { features, errors, tokens, .. } = self.graph.kinds();
        let logit = features + errors + tokens + output;
        let mut all = self.graph.row(logit).to_vec();
        // the matrix has its units in order of layers, so that a unit's targets come after it
        for target in (0..features).rev() {
            let (value, total) = (self.nodes[target].value, all[target]);
            if value == 0.0 || total == 0.0 {
                continue;
            }
            let rate = total / value;
            all.iter_mut().zip(self.graph.row(target)).for_each(|(a, e)| *a += rate * e);
        }
        all
    }

    /// The largest share of a target's value that its sources and shifts together miss; a check of the arithmetic where there
    /// are no shifts.
    pub fn gap(&self) -> f64 {
        let Kinds { features, errors, tokens, .. } = self.graph.kinds();
        let target = |i: &usize| *i < features || *i >= features + errors + tokens;
        let gap = |i: usize| {
            let size: f64 = self.graph.row(i).iter().map(|e| e.abs()).sum();
            self.shifts[i].abs() / size.max(self.nodes[i].value.abs()).max(1e-30)
        };
        (0..self.nodes.len()).filter(target).map(gap).fold(0.0, f64::max)
    }
}

/// What writes: its node, its token, and what it adds to the stream.
struct Source {
    node: usize,
    position: usize,
    adds: Vec<f32>,
}

/// The graph of a run. `progress` is told after every group of readers.
///
/// # Errors
/// If the graph would be too large, the units do not fit, an output does not exist, or the work is stopped.
pub fn trace(
    run: &Frozen<'_>,
    units: &dyn Units,
    outputs: &[(Metric, f64)],
    progress: Progress<'_>,
) -> Result<Traced> {
    let (layers, tokens) = (run.model().spec().n_layers, run.tokens());
    let of: Vec<LayerUnits> =
        (0..layers).map(|l| fitting(run, l, units.of_layer(run, l)?)).collect::<Result<_>>()?;
    let kinds = Kinds {
        features: of.iter().map(|l| l.units.len()).sum(),
        errors: layers * tokens,
        tokens,
        logits: outputs.len(),
    };
    if kinds.len() > MOST_NODES {
        return Err(Error::Request(format!(
            "{} tokens in {layers} layers with {} units make {} nodes, and a graph has {MOST_NODES} at most; shorten \
             the prompt or ask for fewer units",
            tokens,
            kinds.features,
            kinds.len()
        )));
    }
    let nodes = nodes(run, &of, outputs);
    let sources = sources(run, &of, kinds)?;
    let (readers, reads) = readers(run, &of, outputs, kinds)?;
    let n = kinds.len();
    let mut effects = vec![0f64; n * n];
    // readers of the logits and of late layers first: those that go back together start together
    let mut order: Vec<usize> = (0..readers.len()).collect();
    order.sort_by_key(|&i| std::cmp::Reverse(readers[i].1.layer.unwrap_or(layers)));
    for group in order.chunks((TOGETHER / tokens.max(1)).max(1)) {
        rows(run, group, (&readers, &reads), &sources, &mut effects, n)?;
        progress()?;
    }
    let graph = Graph::new(kinds, effects, weights(outputs))?;
    let mut shifts = vec![0f64; n];
    for (node, _) in &readers {
        shifts[*node] = nodes[*node].value - graph.row(*node).iter().sum::<f64>();
    }
    Ok(Traced { nodes, graph, shifts })
}

/// A layer's units, refused where they do not fit the run.
fn fitting(run: &Frozen<'_>, layer: usize, units: LayerUnits) -> Result<LayerUnits> {
    let (n, tokens) = (units.units.len(), run.tokens());
    let expected = (n, run.model().spec().d_model);
    let shaped = |x: &Tensor| n == 0 || x.dims2().ok() == Some(expected);
    let beyond = units.units.iter().find(|u| u.position >= tokens);
    if beyond.is_some() || !shaped(&units.reads) || !shaped(&units.adds) {
        return Err(Error::Request(format!(
            "layer {layer}'s {n} units do not fit the run: expected positions before {tokens} and vectors of shape \
             {expected:?}, found {:?} and {:?}",
            units.reads.dims(),
            units.adds.dims()
        )));
    }
    Ok(units)
}

/// The outputs' probabilities, made to sum to 1: of one output alone, however unlikely, everything is explained.
fn weights(outputs: &[(Metric, f64)]) -> Vec<f64> {
    let whole: f64 = outputs.iter().map(|o| o.1).sum();
    match whole > 0.0 {
        true => outputs.iter().map(|o| o.1 / whole).collect(),
        false => vec![1.0 / outputs.len().max(1) as f64; outputs.len()],
    }
}

/// How many times [`trace`] tells its progress.
pub fn steps(tokens: usize, units: usize, outputs: usize) -> usize {
    (units + outputs).div_ceil((TOGETHER / tokens.max(1)).max(1))
}

fn nodes(run: &Frozen<'_>, of: &[LayerUnits], outputs: &[(Metric, f64)]) -> Vec<Node> {
    let mut nodes = Vec::new();
    for (layer, units) in of.iter().enumerate() {
        nodes.extend(units.units.iter().map(|u| Node {
            what: What::Unit(u.unit.clone()),
            layer: Some(layer),
            position: u.position,
            value: f64::from(u.value),
        }));
    }
    let source = |what, layer, position| Node { what, layer, position, value: 1.0 };
    for layer in 0..of.len() {
        nodes.extend((0..run.tokens()).map(|p| source(What::Error, Some(layer), p)));
    }
    nodes.extend(run.ids().iter().enumerate().map(|(p, &id)| source(What::Token(id), None, p)));
    nodes.extend(outputs.iter().map(|(metric, probability)| Node {
        what: What::Logit { token: metric.target, foil: metric.foil, probability: *probability },
        layer: None,
        position: metric.position,
        value: metric.value(run.logits()),
    }));
    nodes
}

/// By layer what its units and errors add; at the end, the tokens.
fn sources(run: &Frozen<'_>, of: &[LayerUnits], kinds: Kinds) -> Result<Vec<Vec<Source>>> {
    let tokens = run.tokens();
    let (mut all, mut node) = (Vec::new(), 0);
    for (layer, units) in of.iter().enumerate() {
        // what is left of the MLP when its units are taken away
        let mut rest = tensor(run.mlp_adds(layer)?.to_vec2::<f32>())?;
        let mut here = Vec::new();
        for (unit, adds) in units.units.iter().zip(tensor(units.adds.to_vec2::<f32>())?) {
            rest[unit.position].iter_mut().zip(&adds).for_each(|(r, a)| *r -= a);
            here.push(Source { node, position: unit.position, adds });
            node += 1;
        }
        let first = kinds.features + layer * tokens;
        here.extend(rest.into_iter().enumerate().map(|(position, adds)| Source {
            node: first + position,
            position,
            adds,
        }));
        all.push(here);
    }
    let input = tensor(run.input()?.to_vec2::<f32>())?;
    let first = kinds.features + kinds.errors;
    let token = |(position, adds)| Source { node: first + position, position, adds };
    all.push(input.into_iter().enumerate().map(token).collect());
    Ok(all)
}

/// Units and logits with their nodes, and what each reads, `(readers, d_model)`.
fn readers(
    run: &Frozen<'_>,
    of: &[LayerUnits],
    outputs: &[(Metric, f64)],
    kinds: Kinds,
) -> Result<(Vec<(usize, Reader)>, Tensor)> {
    let mut readers = Vec::new();
    for (layer, units) in of.iter().enumerate() {
        for unit in &units.units {
            readers.push((readers.len(), Reader { layer: Some(layer), position: unit.position }));
        }
    }
    let vocabulary = run.model().spec().vocabulary;
    let mut gradients = Vec::with_capacity(outputs.len() * vocabulary);
    for (i, (metric, _)) in outputs.iter().enumerate() {
        let node = kinds.features + kinds.errors + kinds.tokens + i;
        readers.push((node, Reader { layer: None, position: metric.position }));
        gradients.extend(metric.gradient(vocabulary));
    }
    let g = tensor(Tensor::from_vec(gradients, (outputs.len(), vocabulary), &pellucid_model::CPU))?;
    let logits = run.logit_reads(&g)?;
    let parts: Vec<&Tensor> =
        of.iter().filter(|l| !l.units.is_empty()).map(|l| &l.reads).chain([&logits]).collect();
    Ok((readers, tensor(Tensor::cat(&parts, 0))?))
}

/// The rows of a group of readers.
fn rows(
    run: &Frozen<'_>,
    group: &[usize],
    (readers, reads): (&[(usize, Reader)], &Tensor),
    sources: &[Vec<Source>],
    effects: &mut [f64],
    n: usize,
) -> Result<()> {
    let index: Vec<u32> = group.iter().map(|&i| i as u32).collect();
    let reads = tensor(Tensor::new(index, reads.device()).and_then(|i| reads.index_select(&i, 0)))?;
    let ours: Vec<Reader> = group.iter().map(|&i| readers[i].1).collect();
    let mut made: Vec<Vec<(usize, f64)>> = vec![Vec::new(); group.len()];
    run.back::<Error>(&ours, &reads, &mut |layer, g| {
        let here = &sources[layer.unwrap_or(sources.len() - 1)];
        let (_, tokens, d) = tensor(g.dims3())?;
        Ok(with_numbers(g, |g| {
            made.par_iter_mut().zip(g.par_chunks_exact(tokens * d)).for_each(|(row, g)| {
                for source in here {
                    let at = &g[source.position * d..(source.position + 1) * d];
                    let effect = dot(&source.adds, at);
                    if effect != 0.0 {
                        row.push((source.node, effect));
                    }
                }
            });
        })?)
    })?;
    for (&reader, row) in group.iter().zip(made) {
        let target = readers[reader].0;
        row.into_iter().for_each(|(source, effect)| effects[target * n + source] = effect);
    }
    Ok(())
}
