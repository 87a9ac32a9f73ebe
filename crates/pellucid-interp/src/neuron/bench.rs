//! A behaviour's items with every neuron's values kept, so that neurons can be replaced from their own layer on.

use crate::behaviour::{Prepared, Ready, batch_odds, batches};
use crate::{Error, Result};
use pellucid_core::{Index, Point, Site, UnitId};
use pellucid_model::{Batch, Logits, Model, Place, Plan, Record, Row, Tap, Tensor, with_numbers};
use std::collections::BTreeMap;
use std::ops::Range;

/// What stands in a neuron's place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Swap {
    /// 0.
    Zero,
    /// Its mean over the items' tokens but the first.
    Mean,
    /// Its value at the same token of the counterfactual.
    Resample,
    /// Its own value times this.
    Scale(f32),
}

/// Items that run together, and their values.
pub(super) struct Part {
    pub(super) range: Range<usize>,
    /// `resid_pre` of each layer.
    pub(super) pre: Vec<Tensor>,
    /// `mlp_act` of each layer.
    pub(super) act: Vec<Tensor>,
    /// `mlp_act` of each layer in the counterfactuals.
    other: Option<Vec<Tensor>>,
    /// The stream after the last block.
    pub(super) resid: Tensor,
}

/// A behaviour on a model, with what ablations read.
pub struct Bench<'a> {
    pub(super) model: &'a Model,
    ready: &'a Ready,
    parts: Vec<Part>,
    means: Vec<Vec<f32>>,
    plain: Vec<f64>,
}

impl<'a> Bench<'a> {
    /// Runs the items, and their counterfactuals where each has one of its length.
    ///
    /// # Errors
    /// If a run fails.
    pub fn new(model: &'a Model, ready: &'a Ready) -> Result<Self> {
        let paired = ready.items.iter().all(|i| i.counterfactual.is_some());
        let (mut parts, mut plain) = (Vec::new(), Vec::new());
        for range in batches(&ready.items) {
            let items = &ready.items[range.clone()];
            let rows = items.iter().map(|i| i.row.clone()).collect();
            let (pre, act, resid) = values(model, rows)?;
            let other = if paired {
                let rows = items.iter().filter_map(|i| i.counterfactual.clone()).collect();
                Some(values(model, rows)?.1)
            } else {
                None
            };
            plain.extend(batch_odds(model, items, None, &mut ())?);
            parts.push(Part { range, pre, act, other, resid });
        }
        let means = means(model, &ready.items, &parts)?;
        Ok(Bench { model, ready, parts, means, plain })
    }

    /// The log-odds of each item as the model has them.
    pub fn plain(&self) -> &[f64] {
        &self.plain
    }

    /// The items.
    pub fn items(&self) -> &[Prepared] {
        &self.ready.items
    }

    /// A neuron's mean over the items' tokens but the first.
    pub fn mean(&self, layer: usize, index: usize) -> f32 {
        self.means[layer][index]
    }

    /// Batches that the items run in.
    pub fn batches(&self) -> usize {
        self.parts.len()
    }

    pub(super) fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The log-odds of each item with these neurons replaced together; none where the counterfactual is wanted and some item
    /// has none of its length.
    ///
    /// # Errors
    /// If a unit is no neuron of the model, or a run fails.
    pub fn without(&self, units: &[UnitId], swap: Swap) -> Result<Option<Vec<f64>>> {
        let neurons = units.iter().map(|u| self.neuron(u)).collect::<Result<Vec<_>>>()?;
        let Some(first) = neurons.iter().map(|n| n.0).min() else { return Ok(Some(self.plain.clone())) };
        let mut odds = Vec::with_capacity(self.plain.len());
        for part in &self.parts {
            if swap == Swap::Resample && part.other.is_none() {
                return Ok(None);
            }
            let items = &self.ready.items[part.range.clone()];
            let mut tap = Fill::default();
            for &(layer, index) in &neurons {
                let values = self.replaced(part, items, (layer, index), swap)?;
                tap.columns.entry(layer).or_default().push((index, values));
            }
            let start = Some((first, part.pre[first].clone()));
            odds.extend(batch_odds(self.model, items, start, &mut tap)?);
        }
        Ok(Some(odds))
    }

    fn neuron(&self, unit: &UnitId) -> Result<(usize, usize)> {
        let spec = self.model.spec();
        match unit {
            UnitId::Site { site, index: Index::Coordinate(i), .. }
                if site.point == Point::MlpAct
                    && (site.layer as usize) < spec.n_layers
                    && (*i as usize) < spec.d_mlp =>
            {
                Ok((site.layer as usize, *i as usize))
            }
            _ => Err(Error::Request(format!(
                "{unit} is no neuron of this model; write mlp_act.LAYER/INDEX with layers to {} and indices to {}",
                spec.n_layers - 1,
                spec.d_mlp - 1
            ))),
        }
    }

    /// A neuron's new value at every token of a part; the first token of a text keeps its own.
    fn replaced(
        &self,
        part: &Part,
        items: &[Prepared],
        (layer, index): (usize, usize),
        swap: Swap,
    ) -> Result<Vec<f32>> {
        let width = self.model.spec().d_mlp;
        let column = |x: &Tensor| {
            with_numbers(x, |v| v.iter().skip(index).step_by(width).copied().collect::<Vec<f32>>())
        };
        let mut values = column(&part.act[layer])?;
        let other = match (&part.other, swap) {
            (Some(other), Swap::Resample) => column(&other[layer])?,
            _ => Vec::new(),
        };
        let mut token = 0;
        for item in items {
            for position in 0..item.row.tokens.len() {
                if position > 0 {
                    values[token] = match swap {
                        Swap::Zero => 0.0,
                        Swap::Mean => self.means[layer][index],
                        Swap::Resample => other.get(token).copied().unwrap_or(values[token]),
                        Swap::Scale(by) => by * values[token],
                    };
                }
                token += 1;
            }
        }
        Ok(values)
    }
}

/// Every layer's `resid_pre` and `mlp_act`, and the final stream.
fn values(model: &Model, rows: Vec<Row>) -> Result<(Vec<Tensor>, Vec<Tensor>, Tensor)> {
    let layers = model.spec().n_layers;
    let at = |point| (0..layers).map(move |l| Site::new(point, l));
    let mut record = Record::new(at(Point::ResidPre).chain(at(Point::MlpAct)));
    let plan = Plan { logits: Logits::None, start: None, stop_after: None };
    let resid = model.run(&Batch { rows }, &plan, None, &mut record)?.resid;
    let of = |point| at(point).map(|s| record.value(s)).collect::<pellucid_model::Result<Vec<_>>>();
    Ok((of(Point::ResidPre)?, of(Point::MlpAct)?, resid))
}

/// Each layer's mean activations over all tokens that are not the first of their text.
fn means(model: &Model, items: &[Prepared], parts: &[Part]) -> Result<Vec<Vec<f32>>> {
    let width = model.spec().d_mlp;
    let first: Vec<Vec<bool>> = parts
        .iter()
        .map(|p| {
            items[p.range.clone()].iter().flat_map(|i| (0..i.row.tokens.len()).map(|t| t == 0)).collect()
        })
        .collect();
    let counted = first.iter().flatten().filter(|f| !**f).count().max(1) as f64;
    let mut all = Vec::new();
    for layer in 0..model.spec().n_layers {
        let mut sums = vec![0f64; width];
        for (part, first) in parts.iter().zip(&first) {
            with_numbers(&part.act[layer], |a| {
                for (row, _) in a.chunks_exact(width).zip(first).filter(|(_, f)| !**f) {
                    sums.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v));
                }
            })?;
        }
        all.push(sums.into_iter().map(|s| (s / counted) as f32).collect());
    }
    Ok(all)
}

/// Puts given values into some neurons of some layers, token by token.
#[derive(Default)]
struct Fill {
    columns: BTreeMap<usize, Vec<(usize, Vec<f32>)>>,
}

impl Tap for Fill {
    fn wants(&self, site: Site) -> bool {
        site.point == Point::MlpAct && self.columns.contains_key(&(site.layer as usize))
    }
    fn visit(&mut self, at: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        let Some(columns) = self.columns.get(&(at.site.layer as usize)) else { return Ok(x) };
        let (_, width) = x.dims2()?;
        let mut values = with_numbers(&x, <[f32]>::to_vec)?;
        for (index, fill) in columns {
            values.iter_mut().skip(*index).step_by(width).zip(fill).for_each(|(v, f)| *v = *f);
        }
        Ok(Tensor::from_vec(values, x.shape(), x.device())?)
    }
    fn expects(&self) -> Vec<Site> {
        self.columns.keys().map(|&l| Site::new(Point::MlpAct, l)).collect()
    }
}
