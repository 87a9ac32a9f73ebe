//! Predicted effects of every neuron.

use super::bench::Bench;
use crate::behaviour::{Prepared, last_rows, odds_gradient};
use crate::{Error, Progress, Result};
use pellucid_core::{Point, Site, UnitId};
use pellucid_model::{Batch, Logits, Model, Plan, Record, Rules, Tensor, with_numbers};
use serde::Serialize;

/// What a neuron is predicted to do to the log-odds of right against wrong, on average over the items.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Effect {
    /// The neuron.
    pub unit: UnitId,
    /// Along the one path that goes to the logits directly.
    pub direct: f64,
    /// Along all paths, to first order.
    pub gradient: f64,
    /// Its mean activation over the tokens but the first.
    pub activation: f64,
}

/// Both predictions for every neuron, in order of layer and index; `progress` is told after each layer of each batch.
///
/// # Errors
/// If a run fails.
pub fn predict(bench: &Bench<'_>, progress: Progress<'_>) -> Result<Vec<Effect>> {
    let (layers, width) = (bench.model.spec().n_layers, bench.model.spec().d_mlp);
    let (mut direct, mut gradient) = (vec![0f64; layers * width], vec![0f64; layers * width]);
    for part in bench.parts() {
        let items = &bench.items()[part.range.clone()];
        let batch = Batch { rows: items.iter().map(|i| i.row.clone()).collect() };
        for layer in 0..layers {
            let g = direct_gradient(bench.model, &batch, layer, &part.pre[layer], &part.resid, items)?;
            add_products(&mut direct[layer * width..][..width], &part.act[layer], &g)?;
            progress()?;
        }
        let sites = (0..layers).map(|l| Site::new(Point::MlpAct, l));
        let mut record = Record::with_gradients(sites);
        let plan = Plan { logits: Logits::None, start: None, stop_after: None };
        let (output, trace) = bench.model.trace(&batch, &plan, &mut record)?;
        let last = last_rows(&batch, &output.resid)?;
        let g = odds_gradient(bench.model, &batch, items, &last, Rules::EXACT)?;
        bench.model.backward_from(trace, g, Rules::EXACT, &mut record)?;
        for layer in 0..layers {
            let g = record.gradient(Site::new(Point::MlpAct, layer))?;
            add_products(&mut gradient[layer * width..][..width], &part.act[layer], &g)?;
        }
    }
    let n = bench.items().len() as f64;
    let effect = |i: usize| Effect {
        unit: UnitId::coordinate(Site::new(Point::MlpAct, i / width), i % width),
        direct: direct[i] / n,
        gradient: gradient[i] / n,
        activation: f64::from(bench.mean(i / width, i % width)),
    };
    Ok((0..layers * width).map(effect).collect())
}

/// The gradient at a layer's neurons of what the final norm, held, makes of the layer's output: later layers are left out,
/// so only the direct path is there.
fn direct_gradient(
    model: &Model,
    batch: &Batch,
    layer: usize,
    pre: &Tensor,
    resid: &Tensor,
    items: &[Prepared],
) -> Result<Tensor> {
    let site = Site::new(Point::MlpAct, layer);
    let mut record = Record::with_gradients([site]);
    let plan = Plan { logits: Logits::None, start: Some((layer, pre.clone())), stop_after: Some(layer) };
    let (_, trace) = model.trace(batch, &plan, &mut record)?;
    let g = odds_gradient(model, batch, items, &last_rows(batch, resid)?, Rules::RELP)?;
    model.backward_from(trace, g, Rules::RELP, &mut record)?;
    Ok(record.gradient(site)?)
}

fn add_products(sums: &mut [f64], activations: &Tensor, gradients: &Tensor) -> Result<()> {
    let width = sums.len();
    let add = |a: &[f32], g: &[f32], sums: &mut [f64]| {
        for (a, g) in a.chunks_exact(width).zip(g.chunks_exact(width)) {
            sums.iter_mut().zip(a.iter().zip(g)).for_each(|(s, (a, g))| *s += f64::from(*a) * f64::from(*g));
        }
    };
    with_numbers(activations, |a| with_numbers(gradients, |g| add(a, g, sums)))
        .and_then(|inner| inner)
        .map_err(Error::from)
}
