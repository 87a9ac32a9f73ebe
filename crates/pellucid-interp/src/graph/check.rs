//! What a graph predicts, done: each unit zeroed at its token in a run where everything after it may answer, beside a neuron of
//! the same layer that is no node and about as active.

use super::trace::{Traced, What};
use crate::error::tensor;
use crate::metric::of_rows;
use crate::patch::Put;
use crate::{Error, Metric, Result};
use pellucid_core::{Index, Point, Seed, Site, UnitId};
use pellucid_model::{Batch, Frozen, Model, Record, Row, Tensor, with_numbers};
use serde::Serialize;
use std::collections::BTreeMap;

/// A neuron at a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its layer.
    pub layer: usize,
    /// The token.
    pub position: usize,
    /// The neuron.
    pub neuron: usize,
}

/// A unit zeroed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Zeroed {
    /// Which unit.
    pub unit: UnitId,
    /// At which token.
    pub position: usize,
    /// What it was there.
    pub value: f64,
    /// The metric without it less the metric with it.
    pub change: f64,
}

/// A node's prediction beside what happened, and beside its control.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// The node.
    pub node: usize,
    /// The change of the metric that the graph predicts.
    pub predicted: f64,
    /// What zeroing it did.
    pub unit: Zeroed,
    /// What zeroing a neuron did that is about as active and no node; none where the layer has no other.
    pub control: Option<Zeroed>,
}

/// Neurons nearest in size to a node's, of which one is drawn.
const NEAREST: usize = 8;

/// Tokens that run together.
const TOGETHER: usize = 2048;

/// Zeroes nodes one by one, each at its token, and draws a control for each. The metric is that of one output, by its place among the
/// logits.
///
/// # Errors
/// If a node is no neuron, or a run fails.
pub fn zeroed(
    run: &Frozen<'_>,
    row: &Row,
    traced: &Traced,
    (output, metric): (usize, Metric),
    nodes: &[usize],
    seed: Seed,
) -> Result<Vec<Tried>> {
    let places: Vec<Place> = nodes.iter().map(|&n| place(traced, n)).collect::<Result<_>>()?;
    let controls = controls(run, traced, &places, seed)?;
    let both: Vec<Place> = places.iter().copied().chain(controls.iter().flatten().copied()).collect();
    let changes = changes(run.model(), row, metric, &both)?;
    let activations = values(run, &both)?;
    let all: Vec<Zeroed> = (both.iter().zip(changes).zip(activations))
        .map(|((p, change), value)| Zeroed {
            unit: UnitId::coordinate(Site::new(Point::MlpAct, p.layer), p.neuron),
            position: p.position,
            value: f64::from(value),
            change,
        })
        .collect();
    let (ours, mut theirs) = (&all[..places.len()], all[places.len()..].iter().cloned());
    let predicted = traced.predicted(output);
    let tried = nodes.iter().zip(ours).zip(&controls).map(|((&node, unit), control)| Tried {
        node,
        predicted: -predicted[node],
        unit: unit.clone(),
        control: control.and_then(|_| theirs.next()),
    });
    Ok(tried.collect())
}

fn place(traced: &Traced, node: usize) -> Result<Place> {
    let no_neuron = |what: &dyn std::fmt::Display| {
        Error::Request(format!(
            "node {node} ({what}) is no neuron of an MLP, and only neurons are zeroed here"
        ))
    };
    let Some(found) = traced.nodes.get(node) else {
        let n = traced.nodes.len();
        return Err(Error::Request(format!("there is no node {node}; the graph has {n}")));
    };
    match &found.what {
        What::Unit(UnitId::Site { site, index: Index::Coordinate(i), .. }) if site.point == Point::MlpAct => {
            Ok(Place { layer: site.layer as usize, position: found.position, neuron: *i as usize })
        }
        What::Unit(unit) => Err(no_neuron(unit)),
        What::Error => Err(no_neuron(&"an error")),
        What::Token(_) => Err(no_neuron(&"a token")),
        What::Logit { .. } => Err(no_neuron(&"a logit")),
    }
}

fn values(run: &Frozen<'_>, places: &[Place]) -> Result<Vec<f32>> {
    let width = run.model().spec().d_mlp;
    let mut by_layer: BTreeMap<usize, Tensor> = BTreeMap::new();
    let mut all = Vec::with_capacity(places.len());
    for p in places {
        let of = match by_layer.entry(p.layer) {
            std::collections::btree_map::Entry::Occupied(o) => o.into_mut(),
            std::collections::btree_map::Entry::Vacant(v) => v.insert(run.activations(p.layer)?),
        };
        all.push(with_numbers(of, |x| x[p.position * width + p.neuron])?);
    }
    Ok(all)
}

/// For each place a neuron of the same layer at the same token, drawn from those nearest in size that are no nodes.
fn controls(run: &Frozen<'_>, traced: &Traced, places: &[Place], seed: Seed) -> Result<Vec<Option<Place>>> {
    let width = run.model().spec().d_mlp;
    let mut taken: Vec<Place> =
        (0..traced.graph.kinds().features).filter_map(|n| place(traced, n).ok()).collect();
    taken.sort_unstable();
    let mut drawn = seed.for_purpose("controls of a graph");
    let mut all = Vec::with_capacity(places.len());
    for p in places {
        let x = with_numbers(&run.activations(p.layer)?, |x| {
            x[p.position * width..(p.position + 1) * width].to_vec()
        })?;
        let size = x[p.neuron].abs();
        let mut free: Vec<usize> =
            (0..width).filter(|&n| taken.binary_search(&Place { neuron: n, ..*p }).is_err()).collect();
        free.sort_by(|&a, &b| {
            (x[a].abs() - size).abs().total_cmp(&(x[b].abs() - size).abs()).then(a.cmp(&b))
        });
        free.truncate(NEAREST);
        let pick = drawn.choose(free.len(), 1).first().map(|&i| Place { neuron: free[i], ..*p });
        // no neuron stands in for two nodes
        if let Some(pick) = pick {
            let at = taken.binary_search(&pick).unwrap_or_else(|at| at);
            taken.insert(at, pick);
        }
        all.push(pick);
    }
    Ok(all)
}

/// What zeroing each neuron alone, at its token, does to the metric.
///
/// # Errors
/// If a place does not exist, or the run fails.
pub fn changes(model: &Model, row: &Row, metric: Metric, places: &[Place]) -> Result<Vec<f64>> {
    metric.check(model, row)?;
    let (layers, width, tokens) = (model.spec().n_layers, model.spec().d_mlp, row.tokens.len());
    if let Some(p) = places.iter().find(|p| p.layer >= layers || p.neuron >= width || p.position >= tokens) {
        return Err(Error::Request(format!(
            "there is no neuron {} in layer {} at token {}; the model has {layers} layers of {width}, the text {tokens}",
            p.neuron, p.layer, p.position
        )));
    }
    let mut by_layer: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    places.iter().enumerate().for_each(|(i, p)| by_layer.entry(p.layer).or_default().push(i));
    let pre = |layer| Site::new(Point::ResidPre, layer);
    let mut record = Record::new(by_layer.keys().map(|&l| pre(l)));
    let plain = of_rows(model, metric, &Batch::one(row.clone()), None, &mut record)?[0];
    let mut changes = vec![0f64; places.len()];
    for (&layer, list) in &by_layer {
        let start = record.value(pre(layer))?;
        for group in list.chunks((TOGETHER / tokens.max(1)).max(1)) {
            let mut put = Put::default();
            for (at, &i) in group.iter().enumerate() {
                let Place { position, neuron, .. } = places[i];
                put.add(Site::new(Point::MlpAct, layer), (at, position), neuron, vec![0.0]);
            }
            let x = tensor(Tensor::cat(&vec![&start; group.len()], 0))?;
            let batch = Batch { rows: vec![row.clone(); group.len()] };
            for (&i, value) in group.iter().zip(of_rows(model, metric, &batch, Some((layer, x)), &mut put)?) {
                changes[i] = value - plain;
            }
        }
    }
    Ok(changes)
}
