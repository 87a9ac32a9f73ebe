//! Information flow routes: of what each sum of the stream is made, and the way back from one token through what makes up most of it
//! (Ferrando & Voita 2024, arXiv 2403.00824). One forward pass, no gradient; a picture of where a vector comes from and no claim about
//! what it causes.
//!
//! After attention a token's stream is `y = x + Σ z`, a part for each head and token that it looks at; after the MLP `y = x + z`. A part's share is
//! its proximity `max(‖y‖₁ − ‖y − z‖₁, 0)` by the sum of all parts' and the stream's own. From the explained token down, a way is
//! followed where its share is at least a threshold.

use crate::error::tensor;
use crate::{Error, Progress, Result};
use pellucid_core::{Point, Site};
use pellucid_model::{Batch, Logits, Model, Plan, Record, Row, Tensor, with_numbers};
use serde::Serialize;
use std::collections::BTreeSet;

/// What carries a share of a token's stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Carrier {
    /// A head, from the token that it looks at.
    Head(usize),
    /// The layer's MLP, at the token itself.
    Mlp,
}

/// A share of a token's stream in a layer, brought by a head or an MLP.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Route {
    /// The layer.
    pub layer: usize,
    /// The token whose stream it adds to.
    pub to: usize,
    /// The token that it comes from; the same for an MLP.
    pub from: usize,
    /// What brings it.
    pub by: Carrier,
    /// Its share of the sum.
    pub share: f64,
}

/// The routes that reach a token.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Flow {
    /// The token that they reach.
    pub position: usize,
    /// Shares from which a way is followed.
    pub threshold: f64,
    /// The routes, from the last layer to the first.
    pub routes: Vec<Route>,
    /// For each layer, from the first, the tokens whose stream before it is on a way.
    pub tokens: Vec<Vec<usize>>,
}

/// What a layer's routes are made of.
const POINTS: [Point; 7] = [
    Point::ResidPre,
    Point::AttnProbs,
    Point::Value,
    Point::AttnOut,
    Point::ResidMid,
    Point::MlpOutPost,
    Point::ResidPost,
];

/// Their values in one text.
struct Values {
    probs: Vec<f32>,
    value: Tensor,
    attn_out: Tensor,
    mid: Vec<Vec<f32>>,
    pre: Vec<Vec<f32>>,
    mlp: Vec<Vec<f32>>,
    post: Vec<Vec<f32>>,
}

/// Follows the ways back from a token. `progress` is told after each layer.
///
/// # Errors
/// If the position is outside the text, the threshold no share, the model's blocks are parallel, a run fails, or the work is stopped.
pub fn flow(
    model: &Model,
    row: &Row,
    position: usize,
    threshold: f64,
    progress: Progress<'_>,
) -> Result<Flow> {
    let (layers, tokens) = (model.spec().n_layers, row.tokens.len());
    if position >= tokens || !(0.0..=1.0).contains(&threshold) || threshold == 0.0 {
        return Err(Error::Request(format!(
            "expected a position before {tokens} and a threshold above 0 and at most 1; found {position} and {threshold}"
        )));
    }
    if model.spec().parallel {
        let why = "its attention and MLP run in parallel, so there is no sum of the one before the other; \
                   information flow is for models whose blocks add one after the other";
        return Err(Error::Request(why.to_owned()));
    }
    let mut record = Record::new((0..layers).flat_map(|l| POINTS.map(|p| Site::new(p, l))));
    let plan = Plan { logits: Logits::None, start: None, stop_after: None };
    model.run(&Batch::one(row.clone()), &plan, None, &mut record)?;
    let mut on_a_way = BTreeSet::from([position]);
    let (mut routes, mut by_layer) = (Vec::new(), vec![Vec::new(); layers]);
    for layer in (0..layers).rev() {
        let values = of_layer(&record, layer)?;
        let mut below = BTreeSet::new();
        for &to in &on_a_way {
            let mut here = mlp_route(layer, to, &values, threshold);
            here.extend(head_routes(model, layer, to, &values, threshold)?);
            below.insert(to);
            below.extend(here.iter().map(|r| r.from));
            routes.extend(here);
        }
        by_layer[layer] = below.iter().copied().collect();
        on_a_way = below;
        progress()?;
    }
    Ok(Flow { position, threshold, routes, tokens: by_layer })
}

fn of_layer(record: &Record, layer: usize) -> Result<Values> {
    let value = |point| record.value(Site::new(point, layer));
    let rows = |x: Tensor| tensor(x.to_vec2::<f32>());
    let probs = record.parts(Site::new(Point::AttnProbs, layer));
    let Some(probs) = probs.first() else {
        return Err(Error::Request(format!("layer {layer} gave no attention")));
    };
    Ok(Values {
        probs: with_numbers(probs, <[f32]>::to_vec)?,
        value: value(Point::Value)?,
        attn_out: value(Point::AttnOut)?,
        mid: rows(value(Point::ResidMid)?)?,
        pre: rows(value(Point::ResidPre)?)?,
        mlp: rows(value(Point::MlpOutPost)?)?,
        post: rows(value(Point::ResidPost)?)?,
    })
}

/// How near a part is to the sum it is in: what of the sum's length would be missing without it.
pub fn proximity(part: &[f32], sum: &[f32]) -> f64 {
    let length: f64 = sum.iter().map(|y| f64::from(y.abs())).sum();
    let without: f64 = part.iter().zip(sum).map(|(z, y)| f64::from((y - z).abs())).sum();
    (length - without).max(0.0)
}

fn mlp_route(layer: usize, to: usize, v: &Values, threshold: f64) -> Vec<Route> {
    let (of_mlp, own) = (proximity(&v.mlp[to], &v.post[to]), proximity(&v.mid[to], &v.post[to]));
    let share = of_mlp / (of_mlp + own).max(f64::MIN_POSITIVE);
    let route = Route { layer, to, from: to, by: Carrier::Mlp, share };
    (share >= threshold).then_some(route).into_iter().collect()
}

/// What each head brings a token from each token that it looks at.
fn head_routes(model: &Model, layer: usize, to: usize, v: &Values, threshold: f64) -> Result<Vec<Route>> {
    let (heads, dim) = (model.spec().n_heads, model.spec().head_dim);
    let (tokens, kv_heads, _) = tensor(v.value.dims3())?;
    let (from, d) = (to + 1, model.spec().d_model);
    // (sources, heads, head_dim): probability times value, a source a row
    let mut z = vec![0f32; from * heads * dim];
    with_numbers(&v.value, |value| {
        for (source, z) in z.chunks_exact_mut(heads * dim).enumerate() {
            for (head, z) in z.chunks_exact_mut(dim).enumerate() {
                let p = v.probs[(head * tokens + to) * tokens + source];
                let kv = (source * kv_heads + head * kv_heads / heads) * dim;
                z.iter_mut().zip(&value[kv..kv + dim]).for_each(|(z, v)| *z = p * v);
            }
        }
    })?;
    let z = tensor(Tensor::from_vec(z, (from, heads, dim), &pellucid_model::CPU))?;
    // each part takes the scale of the whole, where what attention adds is normalised
    let whole = tensor(v.attn_out.narrow(0, to, 1).and_then(|x| x.repeat((from, 1))))?;
    let parts = model.head_writes(layer, &z, &whole)?;
    let near = with_numbers(&parts, |parts| {
        parts.chunks_exact(d).map(|part| proximity(part, &v.mid[to])).collect::<Vec<f64>>()
    })?;
    let sum = near.iter().sum::<f64>() + proximity(&v.pre[to], &v.mid[to]);
    let route = |(i, near): (usize, f64)| {
        let share = near / sum.max(f64::MIN_POSITIVE);
        Route { layer, to, from: i % from, by: Carrier::Head(i / from), share }
    };
    let mut routes: Vec<Route> =
        near.into_iter().enumerate().map(route).filter(|r| r.share >= threshold).collect();
    routes.sort_by(|a, b| b.share.total_cmp(&a.share).then(a.from.cmp(&b.from)).then(a.by.cmp(&b.by)));
    Ok(routes)
}
