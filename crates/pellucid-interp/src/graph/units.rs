//! What stands for the MLPs of a run as nodes of a graph: neurons, or anything else that reads the stream before an MLP and
//! writes to it after.

use crate::error::tensor;
use crate::{Error, Method, Metric, Result, attribute};
use pellucid_core::{Point, Site, UnitId};
use pellucid_model::{Frozen, Model, Row, Tensor};

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
        let values = tensor(Tensor::from_vec(values, (chosen.len(), 1), &pellucid_model::CPU))?;
        let outputs = tensor(run.neuron_outputs(layer, &neurons)?.broadcast_mul(&values))?;
        Ok(LayerUnits { units, reads, adds: run.adds(layer, &positions, &outputs)? })
    }
}

/// The neurons with the largest effects on some outputs, at the token where each has it: for each output `weight · |effect|` as RelP
/// predicts it, summed; the largest `most` of them.
///
/// # Errors
/// If a metric does not fit the text.
pub fn foremost(model: &Model, row: &Row, outputs: &[(Metric, f64)], most: usize) -> Result<Neurons> {
    let sites: Vec<Site> = (0..model.spec().n_layers).map(|l| Site::new(Point::MlpAct, l)).collect();
    let width = model.spec().d_mlp;
    let mut sums = vec![0f32; sites.len() * row.tokens.len() * width];
    for (metric, weight) in outputs {
        let effects = attribute(model, row, *metric, Method::Relp, &sites, &mut ())?;
        for (&site, sums) in sites.iter().zip(sums.chunks_exact_mut(row.tokens.len() * width)) {
            let effects = effects.at(site).unwrap_or_default();
            sums.iter_mut().zip(effects).for_each(|(s, e)| *s += *weight as f32 * e.abs());
        }
    }
    let mut order: Vec<usize> = (0..sums.len()).filter(|&i| sums[i] > 0.0).collect();
    let largest = |a: &usize, b: &usize| sums[*b].total_cmp(&sums[*a]).then(a.cmp(b));
    if order.len() > most && most > 0 {
        order.select_nth_unstable_by(most - 1, largest);
    }
    order.truncate(most);
    let place = |i: usize| (i / (row.tokens.len() * width), i / width % row.tokens.len(), i % width);
    Neurons::new(model, order.into_iter().map(place))
}
