//! Effects of a dictionary's latents, from the same one forward and one backward pass as every other unit's.
//!
//! A row of the site is x = Σ aⱼ dⱼ + b + e. With g the (rule's) derivative of the metric by x, a latent's effect is
//! aⱼ · (g · dⱼ), the error node's g · e and the constant's g · b; together they are g · x, exactly (Marks et al. 2024, "Sparse
//! Feature Circuits", arXiv 2403.19647, with the error kept as a node).

use crate::attribute::{Effects, UnitEffect};
use crate::{Error, Result};
use pellucid_core::{Site, UnitId};
use pellucid_model::sample::expectation as dot;
use pellucid_model::{Attached, Model};
use std::collections::BTreeMap;
use std::ops::Range;

/// One latent at one position.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LatentEffect {
    /// Which.
    pub latent: u32,
    /// Its activation.
    pub activation: f32,
    /// Its effect on the metric.
    pub effect: f64,
}

/// Effects of everything that a dictionary reads a row as. All lists are by position.
#[derive(Clone, Debug, PartialEq)]
pub struct LatentEffects {
    /// The dictionary's name.
    pub dictionary: String,
    /// Its site.
    pub site: Site,
    /// Active latents, ascending.
    pub latents: Vec<Vec<LatentEffect>>,
    /// What the dictionary does not explain.
    pub error: Vec<f64>,
    /// The dictionary's constant.
    pub constant: Vec<f64>,
    /// The whole row, computed by itself: what the others sum to.
    pub row: Vec<f64>,
}

/// The effect of a dictionary's site over all positions: latents, error and constant sum to the whole.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RowSums {
    /// Of the site's rows.
    pub whole: f64,
    /// Of all active latents.
    pub latents: f64,
    /// Of what the dictionary does not explain.
    pub error: f64,
    /// Of the dictionary's constant.
    pub constant: f64,
}

/// What the effects at a dictionary's site are in its own units. `effects` must have been asked for that site.
///
/// # Errors
/// If the model has no such dictionary, or the effects do not cover its site.
pub fn latent_effects(model: &Model, effects: &Effects, name: &str) -> Result<LatentEffects> {
    let dictionary = model.dictionary(name)?;
    let Attached { name, site, latents, .. } = dictionary;
    let Some((width, x, gradient)) = effects.gradient_at(*site) else {
        return Err(Error::Request(format!(
            "effects were not asked for {site}, where the dictionary {name} stands"
        )));
    };
    let mut all = LatentEffects {
        dictionary: name.clone(),
        site: *site,
        latents: Vec::new(),
        error: Vec::new(),
        constant: Vec::new(),
        row: Vec::new(),
    };
    let rows = x.chunks_exact(width).zip(gradient.chunks_exact(width)).enumerate();
    for ((position, (x, g)), active) in rows.zip(dictionary.active(x)) {
        let (mut explained, mut constant) = (latents.explained(&active, x), latents.explained(&[], x));
        if !Attached::reads(position) {
            explained.fill(0.0);
            constant.fill(0.0);
        }
        let error: Vec<f32> = x.iter().zip(&explained).map(|(x, e)| x - e).collect();
        let of = |&(latent, activation): &(u32, f32)| LatentEffect {
            latent,
            activation,
            effect: f64::from(activation) * f64::from(latents.worth(latent, g, x)),
        };
        all.latents.push(active.iter().map(of).collect());
        all.error.push(dot(&error, g));
        all.constant.push(dot(&constant, g));
        all.row.push(dot(x, g));
    }
    Ok(all)
}

impl LatentEffects {
    /// Keeps the effects at some positions; elsewhere there are none.
    pub fn keep_positions(&mut self, kept: &Range<usize>) {
        for position in (0..self.row.len()).filter(|p| !kept.contains(p)) {
            self.latents[position].clear();
            (self.error[position], self.constant[position], self.row[position]) = (0.0, 0.0, 0.0);
        }
    }

    /// Sums over all positions.
    pub fn sums(&self) -> RowSums {
        RowSums {
            whole: self.row.iter().sum(),
            latents: self.latents.iter().flatten().map(|l| l.effect).sum(),
            error: self.error.iter().sum(),
            constant: self.constant.iter().sum(),
        }
    }

    /// How far the parts are from what they sum to, as a share of the largest row.
    pub fn incompleteness(&self) -> f64 {
        let largest = self.row.iter().fold(0f64, |m, r| m.max(r.abs()));
        let parts = self.latents.iter().zip(self.error.iter().zip(&self.constant));
        let sums = parts.map(|(latents, (e, c))| latents.iter().map(|l| l.effect).sum::<f64>() + e + c);
        let worst = sums.zip(&self.row).fold(0f64, |m, (sum, row)| m.max((sum - row).abs()));
        if largest > 0.0 { worst / largest } else { worst }
    }

    /// Latents by effect summed over positions, largest first by size; at most `top`.
    pub fn ranked(&self, top: usize) -> Vec<UnitEffect> {
        let mut by_latent: BTreeMap<u32, UnitEffect> = BTreeMap::new();
        for (position, latents) in self.latents.iter().enumerate() {
            for l in latents {
                let entry = by_latent.entry(l.latent).or_insert_with(|| UnitEffect {
                    unit: Some(self.unit(l.latent)),
                    site: self.site,
                    effect: 0.0,
                    position,
                    effect_there: 0.0,
                    activation: None,
                });
                entry.effect += l.effect;
                if entry.activation.is_none() || l.effect.abs() > entry.effect_there.abs() {
                    (entry.position, entry.effect_there, entry.activation) =
                        (position, l.effect, Some(l.activation));
                }
            }
        }
        let mut all: Vec<UnitEffect> = by_latent.into_values().collect();
        // a stable sort: of equal ones the lower latent
        all.sort_by(|a, b| b.effect.abs().total_cmp(&a.effect.abs()));
        all.truncate(top);
        all
    }

    /// A latent's effect at each position.
    pub fn by_position(&self, latent: u32) -> Vec<f64> {
        let at = |latents: &Vec<LatentEffect>| {
            latents.binary_search_by_key(&latent, |l| l.latent).map_or(0.0, |i| latents[i].effect)
        };
        self.latents.iter().map(at).collect()
    }

    fn unit(&self, index: u32) -> UnitId {
        UnitId::Latent { dictionary: self.dictionary.clone(), index, polarity: None }
    }
}
