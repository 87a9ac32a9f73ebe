//! What stands for the MLPs of a run as nodes of a graph: neurons, or anything else that reads the stream before an MLP and
//! writes to it after.

use crate::error::tensor;
use crate::{Error, Metric, Result};
use pellucid_core::{Point, Site, UnitId};
use pellucid_model::{Batch, CPU, Frozen, Logits, Model, Plan, Record, Row, Rules, Tensor, with_numbers};

/// A unit at a token, with its value in the run.
#[derive(Clone, Debug, PartialEq)]
pub struct Placed {
    /// Which unit.
    pub unit: UnitId,
    /// At which token.
    pub position: usize,
    /// Its activation there.
    pub value: f32,
}

/// The units of one layer that are nodes.
#[derive(Debug)]
pub struct LayerUnits {
    /// The units.
    pub units: Vec<Placed>,
    /// What each reads, `(units, d_model)`: its product with the stream before the MLP is the unit's value, shifts aside.
    pub reads: Tensor,
    /// What each adds to the stream after the MLP, with the value that it has, `(units, d_model)`.
    pub adds: Tensor,
}

/// What stands for the MLPs of a run. What the units of a layer do not add of what its MLP adds becomes that layer's error
/// at each token, so no choice of units changes what a graph adds up to.
pub trait Units {
    /// The nodes of one layer.
    ///
    /// # Errors
    /// If they do not fit the run.
    fn of_layer(&self, run: &Frozen<'_>, layer: usize) -> Result<LayerUnits>;
}

/// Some of the model's neurons, at tokens each.
#[derive(Clone, Debug, PartialEq)]
pub struct Neurons {
    /// By layer: token and neuron.
    chosen: Vec<Vec<(usize, usize)>>,
}

impl Neurons {
    /// These neurons: layer, token, neuron. What is named twice counts once.
    ///
    /// # Errors
    /// If a layer does not exist.
    pub fn new(model: &Model, list: impl IntoIterator<Item = (usize, usize, usize)>) -> Result<Self> {
        let layers = model.spec().n_layers;
        let mut chosen = vec![Vec::new(); layers];
        for (layer, position, neuron) in list {
            let Some(of) = chosen.get_mut(layer) else {
                return Err(Error::Request(format!("there is no layer {layer}; the model has {layers}")));
            };
            of.push((position, neuron));
        }
        for of in &mut chosen {
            of.sort_unstable();
            of.dedup();
        }
        Ok(Neurons { chosen })
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.chosen.iter().map(Vec::len).sum()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether a neuron at a token is among them.
    pub fn contains(&self, layer: usize, at: (usize, usize)) -> bool {
        self.chosen.get(layer).is_some_and(|of| of.binary_search(&at).is_ok())
    }
}

impl Units for Neurons {
    fn of_layer(&self, run: &Frozen<'_>, layer: usize) -> Result<LayerUnits> {
        let chosen = self.chosen.get(layer).map_or(&[][..], Vec::as_slice);
        let (positions, neurons): (Vec<usize>, Vec<usize>) = chosen.iter().copied().unzip();
        let reads = run.neuron_reads(layer, chosen)?;
        let activations = tensor(run.activations(layer)?.to_vec2::<f32>())?;
        let mut units = Vec::with_capacity(chosen.len());
        for &(position, neuron) in chosen {
            let value = activations[position][neuron];
            let site = Site::new(Point::MlpAct, layer);
            units.push(Placed { unit: UnitId::coordinate(site, neuron), position, value });
        }
        let values: Vec<f32> = units.iter().map(|u| u.value).collect();
        let values = tensor(Tensor::from_vec(values, (chosen.len(), 1), &CPU))?;
        let outputs = tensor(run.neuron_outputs(layer, &neurons)?.broadcast_mul(&values))?;
        Ok(LayerUnits { units, reads, adds: run.adds(layer, &positions, &outputs)? })
    }
}

/// Tokens of all rows that run together.
const TOGETHER: usize = 1024;

/// The neurons with the largest effects on some outputs, at the token where each has it: for each output `weight · |effect|` as RelP
/// predicts it, summed; the largest `most` of them.
///
/// # Errors
/// If a metric does not fit the text.
pub fn foremost(model: &Model, row: &Row, outputs: &[(Metric, f64)], most: usize) -> Result<Neurons> {
    let width = model.spec().d_mlp;
    let size = row.tokens.len() * width;
    let mut sums = vec![0f32; model.spec().n_layers * size];
    for (metric, _) in outputs {
        metric.check(model, row)?;
    }
    // an output each is a row of one batch: the weights are read once for all of them
    for group in outputs.chunks((TOGETHER / row.tokens.len().max(1)).max(1)) {
        add_effects(model, row, group, &mut sums, size)?;
    }
    let mut order: Vec<usize> = (0..sums.len()).filter(|&i| sums[i] > 0.0).collect();
    let largest = |a: &usize, b: &usize| sums[*b].total_cmp(&sums[*a]).then(a.cmp(b));
    if order.len() > most && most > 0 {
        order.select_nth_unstable_by(most - 1, largest);
    }
    order.truncate(most);
    let place = |i: usize| (i / size, i / width % row.tokens.len(), i % width);
    Neurons::new(model, order.into_iter().map(place))
}

/// Adds each neuron's weighed effects on some outputs, by layer and token.
fn add_effects(
    model: &Model,
    row: &Row,
    outputs: &[(Metric, f64)],
    sums: &mut [f32],
    size: usize,
) -> Result<()> {
    let sites: Vec<Site> = (0..model.spec().n_layers).map(|l| Site::new(Point::MlpAct, l)).collect();
    let (tokens, vocabulary) = (row.tokens.len(), model.spec().vocabulary);
    let batch = Batch { rows: vec![row.clone(); outputs.len()] };
    let at = outputs.iter().enumerate().map(|(i, (metric, _))| i * tokens + metric.position).collect();
    let plan = Plan { logits: Logits::At(at), start: None, stop_after: None };
    let mut record = Record::with_gradients(sites.iter().copied());
    let (_, run) = model.trace(&batch, &plan, &mut record)?;
    let seeds: Vec<f32> = outputs.iter().flat_map(|(metric, _)| metric.gradient(vocabulary)).collect();
    let seeds = tensor(Tensor::from_vec(seeds, (outputs.len(), vocabulary), &CPU))?;
    model.backward(run, &seeds, Rules::RELP, &mut record)?;
    for (&site, sums) in sites.iter().zip(sums.chunks_exact_mut(size)) {
        let (value, gradient) = (record.value(site)?, record.gradient(site)?);
        with_numbers(&value, |a| {
            with_numbers(&gradient, |g| {
                for ((a, g), (_, weight)) in a.chunks_exact(size).zip(g.chunks_exact(size)).zip(outputs) {
                    let effects = a.iter().zip(g).map(|(a, g)| (a * g).abs() * *weight as f32);
                    sums.iter_mut().zip(effects).for_each(|(sum, e)| *sum += e);
                }
            })
        })??;
    }
    Ok(())
}
