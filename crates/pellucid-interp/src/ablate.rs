//! Ablation: removing units and looking. The truth that attribution predicts.
//!
//! Units are ablated one by one, many at a time as rows of a batch, each run starting at the unit's layer.

use crate::error::tensor;
use crate::metric::of_rows;
use crate::{Error, Metric, Result};
use pellucid_core::{Point, Seed, Site, UnitId};
use pellucid_model::{Attached, Batch, Model, Place, Record, Row, Tap, Tensor};
use serde::Serialize;
use std::collections::BTreeMap;

/// What stands in an ablated unit's place. Zero and mean can have opposite effects: show both.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Replacement {
    /// 0 at every position.
    Zero,
    /// The unit's mean over this text's positions, at every position.
    TextMean,
}

/// What ablating one unit did.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Ablation {
    /// The unit.
    pub unit: UnitId,
    /// The metric without it minus the metric with it.
    pub change: f64,
}

/// `k` different units drawn at random from all coordinates of `sites`.
pub fn random_units(model: &Model, sites: &[Site], k: usize, seed: Seed) -> Vec<UnitId> {
    let widths: Vec<usize> = sites.iter().map(|s| model.spec().width_at(s.point).unwrap_or(0)).collect();
    let mut drawn = seed.for_purpose("random units");
    let picks = drawn.choose(widths.iter().sum(), k);
    picks
        .into_iter()
        .filter_map(|mut pick| {
            for (site, width) in sites.iter().zip(&widths) {
                if pick < *width {
                    return Some(UnitId::coordinate(*site, pick));
                }
                pick -= width;
            }
            None
        })
        .collect()
}

/// Tokens that run together; more rows than fit run in further batches.
const BATCH_TOKENS: usize = 2048;

/// Ablates each unit alone, at every position, and measures the change of the metric. `progress` is told
/// units done and units in all.
///
/// # Errors
/// If a unit is no coordinate or head of a site in a layer, or the run fails.
pub fn ablate_each(
    model: &Model,
    row: &Row,
    metric: Metric,
    units: &[UnitId],
    with: Replacement,
    progress: &mut dyn FnMut(usize, usize),
) -> Result<Vec<Ablation>> {
    metric.check(model, row)?;
    let mut by_site: BTreeMap<Site, Vec<(usize, Part)>> = BTreeMap::new();
    for (i, unit) in units.iter().enumerate() {
        let (site, part) = part(model, unit)?;
        by_site.entry(site).or_default().push((i, part));
    }
    let pre = |site: &Site| Site::new(Point::ResidPre, site.layer as usize);
    let mut record = Record::new(by_site.keys().flat_map(|s| [*s, pre(s)]));
    let plain = of_rows(model, metric, &Batch::one(row.clone()), None, &mut record)?[0];
    let mut changes = vec![0f64; units.len()];
    let mut done = 0;
    for (site, list) in &by_site {
        let start = record.value(pre(site))?;
        let values = tensor(record.value(*site)?.flatten_from(1).and_then(|x| x.to_vec2::<f32>()))?;
        let mut active = ActiveRows::new();
        for (_, part) in list {
            if let Part::Latent(dictionary, _) = part {
                let name = dictionary.name.as_str();
                active.entry(name).or_insert_with(|| dictionary.active(&values.concat()));
            }
        }
        for group in list.chunks((BATCH_TOKENS / row.tokens.len()).max(1)) {
            let mut tap = Replace {
                site: *site,
                rows: group.iter().map(|(_, part)| fill(part, with, &values, &active)).collect(),
            };
            let rows = group.len();
            let x = tensor(Tensor::cat(&vec![start.clone(); rows], 0))?;
            let batch = Batch { rows: vec![row.clone(); rows] };
            let start = Some((site.layer as usize, x));
            for ((i, _), v) in group.iter().zip(of_rows(model, metric, &batch, start, &mut tap)?) {
                changes[*i] = v - plain;
            }
            done += rows;
            progress(done, units.len());
        }
    }
    Ok(units.iter().zip(changes).map(|(unit, change)| Ablation { unit: unit.clone(), change }).collect())
}

/// What is ablated: coordinates within a token's vector, or a latent.
enum Part {
    Coordinates(std::ops::Range<usize>),
    Latent(Attached, u32),
}

/// A unit's place: its site and its part of a token's vector.
fn part(model: &Model, unit: &UnitId) -> Result<(Site, Part)> {
    match unit {
        UnitId::Latent { dictionary, index, .. } => {
            let found = model.dictionary(dictionary)?;
            if let Some(why) = found.lacks(*index) {
                return Err(Error::Request(why));
            }
            if !found.site.point.per_layer() {
                return Err(Error::Request(format!(
                    "{unit} cannot be ablated by itself: it is not inside a layer"
                )));
            }
            Ok((found.site, Part::Latent(found.clone(), *index)))
        }
        UnitId::Site { .. } => coordinates(model, unit).map(|(site, range)| (site, Part::Coordinates(range))),
    }
}

/// A unit's place: its site and its coordinates within a token's vector.
fn coordinates(model: &Model, unit: &UnitId) -> Result<(Site, std::ops::Range<usize>)> {
    let bad = |why: &str| Err(Error::Request(format!("{unit} cannot be ablated by itself: {why}")));
    let UnitId::Site { site, index, .. } = unit else { return bad("it is no unit of the network") };
    model.check_site(*site)?;
    if !site.point.per_layer() {
        return bad("it is not inside a layer");
    }
    let Some(width) = model.spec().width_at(site.point) else { return bad("it is no coordinate of a token") };
    match index {
        pellucid_core::Index::Coordinate(i) if (*i as usize) < width => {
            Ok((*site, *i as usize..*i as usize + 1))
        }
        pellucid_core::Index::Head(h) => match model.spec().heads_at(site.point) {
            Some(heads) if (*h as usize) < heads => {
                let dim = width / heads;
                Ok((*site, *h as usize * dim..(*h as usize + 1) * dim))
            }
            _ => bad("there is no such head"),
        },
        pellucid_core::Index::Coordinate(_) => bad(&format!("the site has {width} units")),
    }
}

/// What a row of the batch has instead.
enum Fill {
    /// From this coordinate on, these values at every position.
    Coordinates(usize, Vec<f32>),
    /// All rows of the text as they are without a unit.
    Rows(Vec<f32>),
}

/// The active latents of each row of a text, by dictionary.
type ActiveRows<'a> = BTreeMap<&'a str, Vec<Vec<(u32, f32)>>>;

/// What replaces a part.
fn fill(part: &Part, with: Replacement, values: &[Vec<f32>], active: &ActiveRows<'_>) -> Fill {
    let mean = |of: &dyn Fn(&Vec<f32>) -> f32| {
        values.iter().map(|v| f64::from(of(v))).sum::<f64>() / values.len() as f64
    };
    match part {
        Part::Coordinates(range) => {
            let fill = range.clone().map(|i| match with {
                Replacement::Zero => 0.0,
                Replacement::TextMean => mean(&|v| v[i]) as f32,
            });
            Fill::Coordinates(range.start, fill.collect())
        }
        Part::Latent(dictionary, index) => {
            let all = active.get(dictionary.name.as_str()).map_or(&[][..], Vec::as_slice);
            let own: Vec<f32> = all.iter().map(|active| Attached::value(active, *index)).collect();
            let instead = match with {
                Replacement::Zero => 0.0,
                Replacement::TextMean => own.iter().sum::<f32>() / own.len().max(1) as f32,
            };
            let mut rows = Vec::new();
            for (position, (row, own)) in values.iter().zip(own).enumerate() {
                let (mut changed, by) = (row.clone(), instead - own);
                if by != 0.0 && Attached::reads(position) {
                    dictionary.latents.write(*index, by, row, &mut changed);
                }
                rows.extend(changed);
            }
            Fill::Rows(rows)
        }
    }
}

/// Puts other values into some coordinates, another place in each row.
struct Replace {
    site: Site,
    rows: Vec<Fill>,
}

impl Tap for Replace {
    fn wants(&self, site: Site) -> bool {
        site == self.site
    }
    fn visit(&mut self, at: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        let shape = x.shape().clone();
        let mut values = x.flatten_all()?.to_vec1::<f32>()?;
        let width = values.len() / at.rows.iter().map(|r| r.tokens.len()).sum::<usize>().max(1);
        let mut token = 0;
        for (row, fill) in at.rows.iter().zip(&self.rows) {
            let here = &mut values[token * width..][..row.tokens.len() * width];
            match fill {
                Fill::Rows(rows) => here.copy_from_slice(rows),
                Fill::Coordinates(from, fill) => {
                    here.chunks_exact_mut(width)
                        .for_each(|row| row[*from..][..fill.len()].copy_from_slice(fill));
                }
            }
            token += row.tokens.len();
        }
        Ok(Tensor::from_vec(values, shape, x.device())?)
    }
    fn expects(&self) -> Vec<Site> {
        vec![self.site]
    }
}
