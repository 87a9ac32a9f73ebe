//! Finding directions: by difference of means, by pairs, by principal component, by a linear classifier.
//!
//! Where a model has massive activations (Sun et al. 2024, arXiv 2402.17762) a few coordinates are hundreds of times the others, and
//! what they do by chance would be the direction. So a token's coordinates are first clipped to a quantile of their own
//! sizes (winsorised).
//!
//! Every direction is given the length that carries the one class's mean to the other's along it, so that adding it once
//! means the same whatever found it.

use super::writes;
use crate::behaviour::{Prepared, Ready, batches};
use crate::{Error, Result};
use pellucid_core::{Point, Site};
use pellucid_model::{Batch, Logits, Model, Plan, Record, Row, with_numbers};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// What finds a direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// The difference of the classes' means (Marks & Tegmark 2023, arXiv 2310.06824).
    Mean,
    /// The mean of each item less its counterfactual, turned to the first class (Rimsky et al. 2023, arXiv 2312.06681).
    Pairs,
    /// The first principal component, uncentred, of those differences (Zou et al. 2023, arXiv 2310.01405).
    Pca,
    /// The normal of a logistic regression with an L2 penalty.
    Logistic,
}

/// Directions at every layer and some positions, with what trying them needs.
#[derive(Clone, Debug)]
pub struct Directions {
    /// The two classes: a direction leads from the second to the first.
    pub classes: [String; 2],
    /// Positions from the end: −1, −2, …
    pub positions: Vec<i64>,
    /// By position and layer, `d_model` numbers each.
    pub vectors: BTreeMap<(i64, usize), Vec<f32>>,
    /// The mean at each write to the stream, over the items' tokens but the first.
    pub(super) centres: BTreeMap<Site, Vec<f32>>,
}

/// The two classes of some items, in order.
fn classes(ready: &Ready) -> Result<[String; 2]> {
    let classes: BTreeSet<&str> = ready.items.iter().filter_map(|i| i.item.class.as_deref()).collect();
    let found = classes.len();
    let classes: Vec<String> = classes.into_iter().map(str::to_owned).collect();
    classes.try_into().map_err(|_| {
        let name = &ready.name;
        Error::Request(format!(
            "a direction needs items of two classes and {name} has {found}; say \"class\" in each item"
        ))
    })
}

impl Directions {
    /// Finds them at the last `positions` tokens of every item, after every layer, with coordinates clipped to a `quantile` of
    /// the sizes of their token's (1 clips nothing).
    ///
    /// # Errors
    /// If the items are not of exactly two classes, are too short, or lack counterfactuals where the method needs them, or a run
    /// fails.
    pub fn find(
        model: &Model,
        ready: &Ready,
        method: Method,
        positions: usize,
        quantile: f64,
    ) -> Result<Self> {
        if !(quantile > 0.0 && quantile <= 1.0) {
            return Err(Error::Request(format!(
                "coordinates can be clipped to a quantile above 0, up to 1 (all are kept), not {quantile}"
            )));
        }
        let classes = classes(ready)?;
        let shortest = ready.items.iter().map(|i| i.row.tokens.len()).min().unwrap_or(0);
        if positions == 0 || positions >= shortest {
            let most = shortest.saturating_sub(1);
            return Err(Error::Request(format!(
                "{positions} positions were asked for; the shortest prompt has {shortest} tokens, so 1 to {most} can be \
                 (the first token is left out)"
            )));
        }
        let positions: Vec<i64> = (1..=positions as i64).map(|p| -p).collect();
        let mut seen = Seen { quantile, ..Seen::default() };
        for range in batches(&ready.items) {
            seen.add(model, &ready.items[range], &positions, method)?;
        }
        let first: Vec<bool> =
            ready.items.iter().map(|i| i.item.class.as_ref() == Some(&classes[0])).collect();
        let mut vectors = BTreeMap::new();
        for (&at, rows) in &seen.streams {
            // before the first token that differs there is nothing to find
            vectors.extend(direction(method, rows, seen.others.get(&at), &first).map(|v| (at, v)));
        }
        if vectors.is_empty() {
            return Err(Error::Request("the two classes do not differ at these positions".to_owned()));
        }
        let centres = seen.centres.into_iter().map(|(s, (n, sum))| (s, mean(n, &sum))).collect();
        Ok(Directions { classes, positions, vectors, centres })
    }
}

fn mean(n: usize, sum: &[f64]) -> Vec<f32> {
    sum.iter().map(|s| (s / n.max(1) as f64) as f32).collect()
}

/// What runs leave: the stream at the positions, item by item, and sums of every later token's writes.
#[derive(Default)]
struct Seen {
    quantile: f64,
    streams: BTreeMap<(i64, usize), Vec<Vec<f32>>>,
    /// The same of the counterfactuals.
    others: BTreeMap<(i64, usize), Vec<Vec<f32>>>,
    centres: BTreeMap<Site, (usize, Vec<f64>)>,
}

impl Seen {
    fn add(&mut self, model: &Model, items: &[Prepared], positions: &[i64], method: Method) -> Result<()> {
        let rows: Vec<Row> = items.iter().map(|i| i.row.clone()).collect();
        let writes = writes(model);
        let record = run(model, rows, &writes)?;
        keep(model, items, positions, &record, self.quantile, &mut self.streams)?;
        let (ranges, d) =
            (Batch { rows: items.iter().map(|i| i.row.clone()).collect() }.ranges(), model.spec().d_model);
        for site in writes {
            let (n, sum) = self.centres.entry(site).or_insert_with(|| (0, vec![0f64; d]));
            with_numbers(&record.value(site)?, |x| {
                for token in ranges.iter().flat_map(|r| r.start + 1..r.end) {
                    *n += 1;
                    sum.iter_mut().zip(&x[token * d..(token + 1) * d]).for_each(|(s, v)| *s += f64::from(*v));
                }
            })?;
        }
        if matches!(method, Method::Pairs | Method::Pca) {
            let others: Option<Vec<Row>> = items.iter().map(|i| i.counterfactual.clone()).collect();
            let others = others.ok_or_else(|| {
                Error::Request(
                    "directions from pairs need a counterfactual of equal length in each item; use the mean"
                        .to_owned(),
                )
            })?;
            keep(model, items, positions, &run(model, others, &[])?, self.quantile, &mut self.others)?;
        }
        Ok(())
    }
}

fn run(model: &Model, rows: Vec<Row>, more: &[Site]) -> Result<Record> {
    let streams = (0..model.spec().n_layers).map(|l| Site::new(Point::ResidPost, l));
    let mut record = Record::new(streams.chain(more.iter().copied()));
    let plan = Plan { logits: Logits::None, start: None, stop_after: None };
    model.run(&Batch { rows }, &plan, None, &mut record)?;
    Ok(record)
}

fn keep(
    model: &Model,
    items: &[Prepared],
    positions: &[i64],
    record: &Record,
    quantile: f64,
    to: &mut BTreeMap<(i64, usize), Vec<Vec<f32>>>,
) -> Result<()> {
    let ranges = Batch { rows: items.iter().map(|i| i.row.clone()).collect() }.ranges();
    let d = model.spec().d_model;
    for layer in 0..model.spec().n_layers {
        with_numbers(&record.value(Site::new(Point::ResidPost, layer))?, |x| {
            for &position in positions {
                let rows = to.entry((position, layer)).or_default();
                for range in &ranges {
                    let at = range.end - position.unsigned_abs() as usize;
                    rows.push(winsorised(&x[at * d..(at + 1) * d], quantile));
                }
            }
        })?;
    }
    Ok(())
}

fn winsorised(x: &[f32], quantile: f64) -> Vec<f32> {
    let mut sizes: Vec<f32> = x.iter().map(|v| v.abs()).collect();
    let at = ((quantile * sizes.len() as f64).ceil() as usize).clamp(1, sizes.len().max(1)) - 1;
    let (_, bound, _) = sizes.select_nth_unstable_by(at, f32::total_cmp);
    x.iter().map(|v| v.clamp(-*bound, *bound)).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn direction(
    method: Method,
    rows: &[Vec<f32>],
    others: Option<&Vec<Vec<f32>>>,
    first: &[bool],
) -> Option<Vec<f32>> {
    let d = rows.first().map_or(0, Vec::len);
    let mean_of = |wanted: bool| -> Vec<f64> {
        let mut sum = vec![0f64; d];
        let of = rows.iter().zip(first).filter(|(_, f)| **f == wanted);
        let n = of.clone().count().max(1) as f64;
        of.for_each(|(row, _)| sum.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v) / n));
        sum
    };
    let between: Vec<f64> = mean_of(true).iter().zip(mean_of(false)).map(|(a, b)| a - b).collect();
    // each item less its counterfactual, turned so that it leads to the first class
    let pairs = || -> Vec<Vec<f64>> {
        let one = |((a, b), first): ((&Vec<f32>, &Vec<f32>), &bool)| {
            let sign = if *first { 1.0 } else { -1.0 };
            a.iter().zip(b).map(|(a, b)| sign * (f64::from(*a) - f64::from(*b))).collect()
        };
        others.map_or_else(Vec::new, |others| rows.iter().zip(others).zip(first).map(one).collect())
    };
    let along = match method {
        Method::Mean => between.clone(),
        Method::Pairs => {
            let pairs = pairs();
            let n = pairs.len().max(1) as f64;
            (0..d).map(|i| pairs.iter().map(|p| p[i]).sum::<f64>() / n).collect()
        }
        Method::Pca => principal(&pairs(), &between),
        Method::Logistic => logistic(rows, first),
    };
    let length = dot(&along, &along).sqrt();
    if length.is_nan() || length <= 0.0 {
        return None;
    }
    let by = match method {
        Method::Mean | Method::Pairs => 1.0,
        Method::Pca | Method::Logistic => dot(&between, &along) / (length * length),
    };
    Some(along.iter().map(|v| (v * by) as f32).collect())
}

/// Rounds of power iteration; the start is the mean difference, so few are needed.
const ROUNDS: usize = 100;

/// The first principal component of uncentred rows.
fn principal(rows: &[Vec<f64>], start: &[f64]) -> Vec<f64> {
    let mut v = start.to_vec();
    for _ in 0..ROUNDS {
        let mut next = vec![0f64; v.len()];
        for row in rows {
            let by = dot(row, &v);
            next.iter_mut().zip(row).for_each(|(n, r)| *n += by * r);
        }
        let length = dot(&next, &next).sqrt();
        if length <= 0.0 {
            return v;
        }
        v = next.into_iter().map(|n| n / length).collect();
    }
    v
}

/// Steps of gradient descent, and the penalty on the weights of centred, jointly scaled rows.
const STEPS: usize = 300;
const PENALTY: f64 = 0.01;

/// The normal of a logistic regression.
fn logistic(rows: &[Vec<f32>], first: &[bool]) -> Vec<f64> {
    let (n, d) = (rows.len().max(1) as f64, rows.first().map_or(0, Vec::len));
    let mut centre = vec![0f64; d];
    rows.iter().for_each(|r| centre.iter_mut().zip(r).for_each(|(c, v)| *c += f64::from(*v) / n));
    let mut x: Vec<Vec<f64>> =
        rows.iter().map(|r| r.iter().zip(&centre).map(|(v, c)| f64::from(*v) - c).collect()).collect();
    let scale = (x.iter().map(|r| dot(r, r)).sum::<f64>() / n).sqrt().max(f64::MIN_POSITIVE);
    x.iter_mut().flatten().for_each(|v| *v /= scale);
    let (mut w, mut shift) = (vec![0f64; d], 0f64);
    for _ in 0..STEPS {
        let (mut g, mut g_shift) = (w.iter().map(|w| PENALTY * w).collect::<Vec<f64>>(), 0.0);
        for (row, &first) in x.iter().zip(first) {
            let p = 1.0 / (1.0 + (-(dot(row, &w) + shift)).exp());
            let error = (p - f64::from(u8::from(first))) / n;
            g.iter_mut().zip(row).for_each(|(g, r)| *g += error * r);
            g_shift += error;
        }
        // rows have mean square 1, so the slope's own slope is below 1/4 + the penalty
        w.iter_mut().zip(&g).for_each(|(w, g)| *w -= 3.0 * g);
        shift -= 3.0 * g_shift;
    }
    w
}
