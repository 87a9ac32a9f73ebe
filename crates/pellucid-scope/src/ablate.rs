//! Do it and look: a group of units removed, beside random groups of the same number in the same layers.

use crate::error::{Result, bad, tensor};
use crate::rows::RowEdits;
use crate::wire::{self, Explained, Scored};
use crate::{Loaded, Text};
use pellucid_core::{Edit, Index, Op, Point, Positions, Seed, Site, Target, UnitId};
use pellucid_interp::{Method, Metric, attribute, latent_effects};
use pellucid_model::{Apply, Batch, Logits, Plan, Record, Tensor, sample};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use utoipa::ToSchema;

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Ablating {
    /// Which token, where, and instead of what.
    pub metric: wire::Explaining,
    /// The units to remove: neurons, heads or latents.
    pub units: Vec<UnitId>,
    /// How many random groups.
    pub draws: usize,
    /// Draws them.
    pub seed: u64,
}

/// What a run says at the metric's position.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Outcome {
    /// The metric.
    pub value: f64,
    /// The target's probability.
    pub probability: f64,
    /// The likeliest tokens.
    pub top: Vec<Scored>,
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct AblateReply {
    /// What is measured.
    pub metric: Explained,
    /// The run as it is (with the edits asked for).
    pub plain: Outcome,
    /// The same without the units.
    pub without: Outcome,
    /// Without as many random ones of the same layers, several times.
    pub random: Vec<Outcome>,
    /// The change of the metric that gradient × activation predicts.
    pub predicted: f64,
}

/// Most random groups of one question.
const DRAWS: usize = 20;

/// Removes units (sets them to zero at every position) and looks.
///
/// # Errors
/// If there is no unit, one does not exist, or the metric or edits do not fit.
pub fn ablate(loaded: &Loaded, mut text: Text, edits: &[Edit], asked: &Ablating) -> Result<AblateReply> {
    if asked.units.is_empty() {
        return bad("name at least one unit to remove");
    }
    if asked.draws > DRAWS {
        return bad(format!("draws is {}; at most {DRAWS} random groups are made", asked.draws));
    }
    let apply = text.edits(loaded, edits)?;
    let metric = asked.metric.metric(loaded, &mut text, apply.as_ref())?;
    let group = Group::new(&asked.units)?;
    let active = group.active(loaded, &text, apply.as_ref())?;
    let mut seed = Seed(asked.seed).for_purpose("random groups to ablate");
    let drawn: Vec<Group> = (0..asked.draws).map(|_| group.random(loaded, &active, &mut seed)).collect();
    let groups: Vec<&Group> = [&group].into_iter().chain(&drawn).collect();
    let (plain, removed) = outcomes(loaded, &text, edits, &groups, metric)?;
    let mut removed = removed.into_iter().map(|(outcome, _)| outcome);
    let Some(without) = removed.next() else { return bad("the run gave no logits") };
    Ok(AblateReply {
        metric: Explained::new(loaded, metric, plain.0.value, &plain.1),
        predicted: predicted(loaded, &text, apply.as_ref(), &group, metric)?,
        plain: plain.0,
        without,
        random: removed.collect(),
    })
}

/// Units by where they belong.
struct Group {
    /// Coordinates and heads of sites.
    sites: BTreeMap<Site, (BTreeSet<u32>, BTreeSet<u32>)>,
    /// Latents of dictionaries.
    latents: BTreeMap<String, BTreeSet<u32>>,
}

impl Group {
    fn new(units: &[UnitId]) -> Result<Self> {
        let mut group = Group { sites: BTreeMap::new(), latents: BTreeMap::new() };
        for unit in units {
            match unit {
                UnitId::Site { site, index: Index::Coordinate(i), .. } => {
                    group.sites.entry(*site).or_default().0.insert(*i);
                }
                UnitId::Site { site, index: Index::Head(h), .. } => {
                    group.sites.entry(*site).or_default().1.insert(*h);
                }
                UnitId::Latent { dictionary, index, .. } => {
                    group.latents.entry(dictionary.clone()).or_default().insert(*index);
                }
            }
        }
        Ok(group)
    }

    /// The layers' sites that it touches.
    fn places(&self, loaded: &Loaded) -> Result<BTreeSet<Site>> {
        let mut all: BTreeSet<Site> = self.sites.keys().copied().collect();
        for name in self.latents.keys() {
            all.insert(loaded.model.dictionary(name)?.site);
        }
        Ok(all)
    }

    /// Latents that are active anywhere in this run, of each dictionary that the group has latents of: a silent latent would
    /// be no control.
    fn active(
        &self,
        loaded: &Loaded,
        text: &Text,
        apply: Option<&Apply>,
    ) -> Result<BTreeMap<String, Vec<u32>>> {
        if self.latents.is_empty() {
            return Ok(BTreeMap::new());
        }
        let found =
            self.latents.keys().map(|name| loaded.model.dictionary(name)).collect::<Result<Vec<_>, _>>()?;
        let mut record = Record::new(found.iter().map(|d| d.site));
        let mut tap = wire::tap(apply);
        loaded.model.run(&Batch::one(text.row.clone()), &Plan::LAST, None, &mut (&mut *tap, &mut record))?;
        let mut all = BTreeMap::new();
        for dictionary in found {
            let x = tensor(record.value(dictionary.site)?.flatten_all().and_then(|x| x.to_vec1::<f32>()))?;
            let active = dictionary.active(&x);
            let active: BTreeSet<u32> = active.iter().flatten().map(|a| a.0).collect();
            all.insert(dictionary.name.clone(), active.into_iter().collect());
        }
        Ok(all)
    }

    /// As many other units of each site, where it has so many; of latents, others that are active in the text.
    fn random(&self, loaded: &Loaded, active: &BTreeMap<String, Vec<u32>>, seed: &mut Seed) -> Group {
        let spec = loaded.model.spec();
        let draw = |site: Site, (coordinates, heads): &(BTreeSet<u32>, BTreeSet<u32>), seed: &mut Seed| {
            let mut others = |taken: &BTreeSet<u32>, count: usize| -> BTreeSet<u32> {
                let free: Vec<u32> = (0..count as u32).filter(|i| !taken.contains(i)).collect();
                seed.choose(free.len(), taken.len().min(free.len())).into_iter().map(|i| free[i]).collect()
            };
            let width = spec.width_at(site.point).unwrap_or(0);
            (others(coordinates, width), others(heads, spec.heads_at(site.point).unwrap_or(0)))
        };
        let sites = self.sites.iter().map(|(site, both)| (*site, draw(*site, both, seed))).collect();
        let mut latents = BTreeMap::new();
        for (name, taken) in &self.latents {
            let active = active.get(name).map_or(&[][..], Vec::as_slice);
            let free: Vec<u32> = active.iter().copied().filter(|l| !taken.contains(l)).collect();
            let drawn = seed.choose(free.len(), taken.len().min(free.len()));
            latents.insert(name.clone(), drawn.into_iter().map(|i| free[i]).collect());
        }
        Group { sites, latents }
    }

    fn edits(&self, loaded: &Loaded) -> Result<Vec<Edit>> {
        let mut all = Vec::new();
        for (dictionary, list) in self.latents.iter().filter(|(_, list)| !list.is_empty()) {
            let site = loaded.model.dictionary(dictionary)?.site;
            let target =
                Target::Latents { dictionary: dictionary.clone(), indices: list.iter().copied().collect() };
            all.push(Edit { site, target, positions: Positions::All, op: Op::Zero });
        }
        for (&site, (coordinates, heads)) in &self.sites {
            let zero = |target| Edit { site, target, positions: Positions::All, op: Op::Zero };
            if !coordinates.is_empty() {
                all.push(zero(Target::Units(coordinates.iter().copied().collect())));
            }
            if !heads.is_empty() {
                all.push(zero(Target::Heads(heads.iter().copied().collect())));
            }
        }
        Ok(all)
    }
}

/// A run's outcome, and its logits.
type Ran = (Outcome, Vec<f32>);

/// The run with the edits alone, and runs with a group each removed after them. All are the same up to the lowest layer
/// that a group touches: that part runs once, and the rest as the rows of one batch.
fn outcomes(
    loaded: &Loaded,
    text: &Text,
    edits: &[Edit],
    groups: &[&Group],
    metric: Metric,
) -> Result<(Ran, Vec<Ran>)> {
    let (model, vocabulary) = (&loaded.model, loaded.model.spec().vocabulary);
    if [Some(metric.target), metric.foil].into_iter().flatten().any(|t| t as usize >= vocabulary) {
        return bad(format!("the target or foil is outside the vocabulary of {vocabulary}"));
    }
    let outcome = |logits: Vec<f32>| {
        let log_probs = sample::log_softmax(&logits);
        let probability = f64::from(log_probs[metric.target as usize]).exp();
        let top = Scored::likeliest(loaded, &log_probs, 5);
        (Outcome { value: metric.value(&logits), probability, top }, logits)
    };
    let rows_of = |logits: Option<Tensor>| -> Result<Vec<Ran>> {
        let rows = tensor(logits.map(|l| l.to_vec2()).transpose())?.unwrap_or_default();
        Ok(rows.into_iter().map(outcome).collect())
    };

    let places = groups.iter().map(|g| g.places(loaded)).collect::<Result<Vec<_>>>()?;
    let places: BTreeSet<Site> = places.into_iter().flatten().collect();
    let lowest = places.iter().map(|site| site.layer).min().unwrap_or(0);
    // what was edited below is in the shared value already; a tap at its own site would edit it twice
    let embeddings = places.iter().any(|site| site.point == Point::Embeddings);
    let above = |edit: &&Edit| match edit.site.point {
        _ if embeddings => true,
        Point::Embeddings => false,
        Point::ResidPre if edit.site.layer == lowest => false,
        point => !point.per_layer() || edit.site.layer >= lowest,
    };
    let above: Vec<Edit> = edits.iter().filter(above).cloned().collect();
    let of = |group: &&Group| text.edits(loaded, &[above.clone(), group.edits(loaded)?].concat());
    let mut rows = RowEdits(groups.iter().map(of).collect::<Result<_>>()?);
    let shared = Site::new(Point::ResidPre, lowest as usize);
    let (mut record, apply) = (Record::new([shared]), text.edits(loaded, edits)?);
    let mut tap = wire::tap(apply.as_ref());
    let plan = Plan { logits: Logits::At(vec![metric.position]), start: None, stop_after: None };
    let whole = model.run(&Batch::one(text.row.clone()), &plan, None, &mut (&mut *tap, &mut record))?;
    let Some(plain) = rows_of(whole.logits)?.pop() else { return bad("the run gave no logits") };

    let (count, length) = (rows.0.len(), text.row.tokens.len());
    let logits = Logits::At((0..count).map(|row| row * length + metric.position).collect());
    let value = tensor(record.value(shared)?.repeat((count, 1)))?;
    let start = (!embeddings).then_some((lowest as usize, value));
    let plan = Plan { logits, start, stop_after: None };
    let batch = Batch { rows: vec![text.row.clone(); count] };
    Ok((plain, rows_of(model.run(&batch, &plan, None, &mut rows)?.logits)?))
}

fn predicted(
    loaded: &Loaded,
    text: &Text,
    apply: Option<&Apply>,
    group: &Group,
    metric: Metric,
) -> Result<f64> {
    let sites: Vec<Site> = group.places(loaded)?.into_iter().collect();
    let mut tap = wire::tap(apply);
    let effects = attribute(&loaded.model, &text.row, metric, Method::GradAct, &sites, &mut *tap)?;
    let mut sum = 0.0;
    for (name, list) in &group.latents {
        let all = latent_effects(&loaded.model, &effects, name)?.latents;
        sum += all.iter().flatten().filter(|l| list.contains(&l.latent)).map(|l| l.effect).sum::<f64>();
    }
    for (&site, (coordinates, heads)) in &group.sites {
        let at = effects.summed(site).unwrap_or_default();
        sum += coordinates.iter().filter_map(|&i| at.get(i as usize)).sum::<f64>();
        let dim = at.len() / loaded.model.spec().heads_at(site.point).unwrap_or(1).max(1);
        let head = |h: &u32| at.iter().skip(*h as usize * dim).take(dim).sum::<f64>();
        sum += heads.iter().map(head).sum::<f64>();
    }
    Ok(-sum)
}
