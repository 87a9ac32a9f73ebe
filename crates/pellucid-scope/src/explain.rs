//! Why this word? The units that made the model say a token, and what they are about, in clusters.
//!
//! Effects are predictions from one forward and one backward pass of the run as it is, edits included; [`crate::ablate`]
//! checks them by doing it. A cluster holds the described units whose descriptions mean the same.

use crate::shelf::{Opened, relative};
use crate::wire::{self, Explained, Placed};
use crate::words::{self, Words};
use crate::{ENCODER, Loaded, Meaning, Result, Text};
use pellucid_core::{Edit, Index, Polarity, Seed, UnitId};
use pellucid_describe::cluster::{self, ClusterSettings, Item, cluster};
use pellucid_interp::{By, LatentEffects, Method, RowSums, attribute, latent_effects};
use pellucid_store::atlas::DescriptionId;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use utoipa::ToSchema;

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Explaining {
    /// Which token, where, and instead of what.
    pub metric: wire::Explaining,
    /// How effects are predicted.
    pub method: Method,
    /// Only effects at these positions, from the first to before the second.
    pub positions: Option<(usize, usize)>,
    /// What effects are summed to.
    pub by: Sum,
    /// The dictionary whose latents are meant, where they are; none where the model was given one only.
    pub dictionary: Option<String>,
    /// How many units, those with the largest effects.
    pub units: usize,
    /// The least score of a description that is clustered.
    pub score: f64,
    /// Chooses the random groups that a cluster's coherence is held against.
    pub seed: u64,
}

impl Explaining {
    /// The usual question about a token: neurons by gradient × activation.
    pub fn new(metric: wire::Explaining) -> Self {
        Explaining {
            metric,
            method: Method::GradAct,
            positions: None,
            by: Sum::Unit,
            dictionary: None,
            units: 300,
            score: 0.2,
            seed: 0,
        }
    }
}

/// What effects are summed to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Sum {
    /// Neurons.
    #[default]
    Unit,
    /// Attention heads.
    Head,
    /// Attention and MLP of each layer.
    Layer,
    /// Latents of a dictionary.
    Latent,
}

impl From<Sum> for By {
    fn from(sum: Sum) -> By {
        match sum {
            Sum::Unit => By::Unit,
            Sum::Head => By::Head,
            Sum::Layer => By::Layer,
            Sum::Latent => By::Latent,
        }
    }
}

/// The answer.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct ExplainReply {
    /// The text up to the explained position.
    pub prompt: Vec<Placed>,
    /// What is explained.
    pub metric: Explained,
    /// The effect of each input token.
    pub tokens: Vec<f64>,
    /// The units, largest effects first.
    pub units: Vec<UnitEffect>,
    /// Of latents: what their site does in all, in parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub row: Option<RowEffect>,
    /// Groups of described units that are about the same; none without an atlas.
    pub clusters: Vec<Cluster>,
    /// Units looked at.
    pub looked_at: usize,
    /// How many of them have a description that is good enough to be clustered.
    pub described: usize,
}

/// The effect of a dictionary's site: latents, error and constant sum to the whole.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct RowEffect {
    /// The dictionary.
    pub dictionary: String,
    /// Its site.
    pub site: String,
    /// Of the site's rows.
    pub whole: f64,
    /// Of all active latents.
    pub latents: f64,
    /// Of what the dictionary does not explain.
    pub error: f64,
    /// Of the dictionary's constant.
    pub constant: f64,
}

/// One unit's effect.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct UnitEffect {
    /// The neuron with the side of zero it was on where it acted most, or the head; none for a part of a layer.
    pub unit: Option<String>,
    /// Its site.
    pub site: String,
    /// Its layer.
    pub layer: u32,
    /// Predicted contribution to the metric, over the positions asked for.
    pub effect: f64,
    /// By the metric.
    pub share: f64,
    /// Where it acts most.
    pub peak: usize,
    /// Its effect there.
    pub effect_at_peak: f64,
    /// Its activation there; none where several coordinates are summed.
    pub activation: Option<f32>,
    /// The activation by the unit's typical strength.
    pub relative: Option<f32>,
    /// Its effect at each position.
    pub by_position: Vec<f64>,
    /// What it responds to.
    pub words: Option<Words>,
}

/// Units that are about the same.
#[derive(Clone, Debug, PartialEq, Serialize, ToSchema)]
pub struct Cluster {
    /// What they are about.
    pub label: String,
    /// Sum of their effects.
    pub effect: f64,
    /// Mean cosine between two members' descriptions.
    pub coherence: f64,
    /// Share of random groups of this size that are as coherent; none where that cannot be told.
    pub chance: Option<f64>,
    /// Sum of their effects at each position.
    pub by_position: Vec<f64>,
    /// The members, all of them among the units of the answer; the largest effects first.
    pub members: Vec<String>,
}

/// Predicts which units made the model say a token, and groups them. Of latents, `opened` is the atlas of their dictionary.
///
/// # Errors
/// If the metric or the edits do not fit, or the atlas cannot be read.
pub fn explain(
    loaded: &Loaded,
    opened: Option<&Opened>,
    meaning: &Meaning,
    mut text: Text,
    edits: &[Edit],
    asked: &Explaining,
) -> Result<ExplainReply> {
    let apply = text.edits(loaded, edits)?;
    let metric = asked.metric.metric(loaded, &mut text, apply.as_ref())?;
    let by = By::from(asked.by);
    let dictionary =
        if by == By::Latent { Some(loaded.dictionary(asked.dictionary.as_deref())?) } else { None };
    let mut sites = dictionary.map_or_else(|| by.sites(&loaded.model), |d| vec![d.site]);
    sites.extend(By::Token.sites(&loaded.model));
    let mut tap = wire::tap(apply.as_ref());
    let mut effects = attribute(&loaded.model, &text.row, metric, asked.method, &sites, &mut *tap)?;
    let mut latents = dictionary.map(|d| latent_effects(&loaded.model, &effects, &d.name)).transpose()?;
    if asked.positions.is_some() {
        let kept = text.range(asked.positions)?;
        effects.keep_positions(&kept);
        latents.iter_mut().for_each(|latents| latents.keep_positions(&kept));
    }
    let mut tokens = vec![0.0; text.tokens.len()];
    for token in effects.ranked(By::Token, usize::MAX) {
        tokens[token.position] = token.effect;
    }
    let mut units = Vec::new();
    let mut described = Vec::new();
    let ranked = latents.as_ref().map_or_else(|| effects.ranked(by, asked.units), |l| l.ranked(asked.units));
    for entry in ranked {
        let by_position = match (&latents, &entry.unit) {
            (Some(latents), Some(UnitId::Latent { index, .. })) => latents.by_position(*index),
            _ => effects.by_position(&entry),
        };
        let (unit, id) = entry_of(opened, effects.metric, &entry, by_position)?;
        if let (Some(id), Some(words)) = (id, &unit.words)
            && words.score.unwrap_or(0.0) >= asked.score
        {
            described.push((units.len(), id));
        }
        units.push(unit);
    }
    let clusters = clusters(opened, meaning, &units, &described, asked.seed)?;
    let metric = Explained::new(loaded, metric, effects.metric, &effects.logits);
    let (looked_at, described) = (units.len(), described.len());
    let row = latents.as_ref().map(row_effect);
    Ok(ExplainReply { prompt: text.tokens, metric, tokens, units, row, clusters, looked_at, described })
}

fn row_effect(effects: &LatentEffects) -> RowEffect {
    let RowSums { whole, latents, error, constant } = effects.sums();
    let (dictionary, site) = (effects.dictionary.clone(), effects.site.to_string());
    RowEffect { dictionary, site, whole, latents, error, constant }
}

fn entry_of(
    opened: Option<&Opened>,
    metric: f64,
    e: &pellucid_interp::UnitEffect,
    by_position: Vec<f64>,
) -> Result<(UnitEffect, Option<DescriptionId>)> {
    let coordinate = match e.unit {
        Some(UnitId::Site { index: Index::Coordinate(i), .. } | UnitId::Latent { index: i, .. }) => Some(i),
        _ => None,
    };
    let (mut unit, mut relative_there, mut found) = (e.unit.clone(), None, None);
    if let (Some(index), Some(activation)) = (coordinate, e.activation) {
        let side = if activation < 0.0 { Polarity::Negative } else { Polarity::Positive };
        let index_of = Index::Coordinate(index);
        if let Some(UnitId::Site { .. }) = e.unit {
            unit = Some(UnitId::Site { site: e.site, index: index_of, polarity: Some(side) });
        }
        if let Some(opened) = opened {
            let scales = opened.scales(e.site).and_then(|s| s.get(index as usize));
            relative_there = scales.map(|s| relative(activation, *s).abs());
            found = words::chosen(&opened.atlas(), e.site, index, side)?;
        }
    }
    let (id, words) = found.unzip();
    let effect = UnitEffect {
        unit: unit.map(|u| u.to_string()),
        site: e.site.to_string(),
        layer: e.site.layer,
        effect: e.effect,
        share: if metric == 0.0 { 0.0 } else { e.effect / metric },
        peak: e.position,
        effect_at_peak: e.effect_there,
        activation: e.activation,
        relative: relative_there,
        by_position,
        words,
    };
    Ok((effect, id))
}

/// Clusters of described units; `described` says which of `units` they are.
fn clusters(
    opened: Option<&Opened>,
    meaning: &Meaning,
    units: &[UnitEffect],
    described: &[(usize, DescriptionId)],
    seed: u64,
) -> Result<Vec<Cluster>> {
    let Some(opened) = opened.filter(|_| !described.is_empty()) else { return Ok(Vec::new()) };
    let text = |i: usize| units[i].words.as_ref().map_or("", |w| w.text.as_str());
    let vectors = vectors(opened, meaning, described, &text)?;
    let mut items = Vec::new();
    let mut by_unit: HashMap<UnitId, usize> = HashMap::new();
    for (&(i, _), vector) in described.iter().zip(vectors) {
        let Some(unit) = units[i].unit.as_deref().and_then(|u| u.parse::<UnitId>().ok()) else { continue };
        by_unit.insert(unit.clone(), i);
        items.push(Item { unit, vector, effect: units[i].effect as f32, text: text(i).to_owned() });
    }
    let settings = ClusterSettings { seed: Seed(seed), ..ClusterSettings::default() };
    let found = cluster(&items, &settings)?;
    Ok(found.iter().map(|c| group(c, units, &by_unit)).collect())
}

/// The descriptions' vectors: those of the atlas, or where it has none, made now.
fn vectors<'a>(
    opened: &Opened,
    meaning: &Meaning,
    described: &[(usize, DescriptionId)],
    text: &dyn Fn(usize) -> &'a str,
) -> Result<Vec<Vec<f32>>> {
    let kept = opened.atlas().vectors(ENCODER).ok();
    let all: Option<Vec<Vec<f32>>> =
        kept.and_then(|kept| described.iter().map(|(_, id)| kept.row(*id)).collect());
    match all {
        Some(all) => Ok(all),
        None => meaning.all(&described.iter().map(|(i, _)| text(*i)).collect::<Vec<_>>()),
    }
}

fn group(c: &cluster::Cluster, units: &[UnitEffect], by_unit: &HashMap<UnitId, usize>) -> Cluster {
    let mut members: Vec<&UnitEffect> =
        c.members.iter().filter_map(|u| by_unit.get(u)).map(|&i| &units[i]).collect();
    members.sort_by(|a, b| b.effect.abs().total_cmp(&a.effect.abs()));
    let mut by_position = vec![0.0; members.first().map_or(0, |m| m.by_position.len())];
    for member in &members {
        by_position.iter_mut().zip(&member.by_position).for_each(|(sum, e)| *sum += e);
    }
    Cluster {
        label: c.label.clone(),
        effect: c.effect,
        coherence: c.coherence,
        chance: c.chance,
        by_position,
        members: members.into_iter().filter_map(|m| m.unit.clone()).collect(),
    }
}
