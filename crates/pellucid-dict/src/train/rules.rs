//! What recipes with a gate, with thresholds of their own or with weighted penalties make of pre-activations, and what they send back.
//!
//! With z = E (x − s), h the rows of a batch and g = ∂(error)/∂a of a latent's value a:
//!
//! - a sum of values (Bricken et al. 2023): λ/h Σ a; norms (Anthropic's April update, 2024): λ/h Σ a ‖d‖, by whose d it also has a slope
//! - gate (Rajamanoharan et al. 2024, arXiv 2404.16014): π = z + b_gate opens it where positive, a = max(0, eʳ z + b_mag). λ/h Σ π and
//!   the error of Σ π d + b, in which d and b are held constant, are added to the loss
//! - jump (Rajamanoharan et al. 2024, arXiv 2407.14435): a = z' where z' = z + b_enc > θ. With the rectangle K = 1 where z' > 0 and
//!   |z' − θ| < ε/2, ∂a/∂θ is taken for −(θ/ε) K, and what θ does to whether it is active for −K/ε. θ itself is trained, not its logarithm, whose
//!   steps under Adam hardly move a small threshold. What is inactive has K at its own z', not at 0, and sends nothing to E

use crate::train::config::{Config, Recipe, Sparsity};
use crate::train::pass::Lot;
use crate::train::trainer::Parameters;
use pellucid_kernels::rows::{add_scaled, dots, gather};
use pellucid_kernels::simd::dot_wide;

/// What the slopes by values become, for one batch. Weights are those of one entry: λ by the number of rows.
#[derive(Clone, Copy)]
pub(crate) enum Rule<'a> {
    /// So much more for each active latent.
    Sum(f32),
    /// So much times each one's norm.
    Norms { weight: f32, norms: &'a [f32] },
    /// The kernel's width, and what one more active entry costs.
    Jump { bandwidth: f32, weight: f32 },
    /// What a gate's pre-activation costs.
    Gate { weight: f32 },
}

impl<'a> Rule<'a> {
    /// `share` of the penalty counts in this step, and of the rows' entries `active` are active.
    pub(crate) fn of(config: &Config, norms: &'a [f32], share: f32, [rows, active]: [f32; 2]) -> Self {
        match config.recipe {
            Recipe::TopK { .. } | Recipe::BatchTopK { .. } | Recipe::Matryoshka { .. } => Rule::Sum(0.0),
            Recipe::ReLU { l1 } => Rule::Sum(share * l1 / rows),
            Recipe::April { l1 } => Rule::Norms { weight: share * l1 / rows, norms },
            Recipe::Gated { l1 } => Rule::Gate { weight: share * l1 / rows },
            Recipe::JumpReLU { sparsity, bandwidth, .. } => {
                let by_l0 = match sparsity {
                    Sparsity::Linear { weight } => weight,
                    Sparsity::Target { weight, l0 } => 2.0 * weight * (active / rows / l0 - 1.0) / l0,
                };
                Rule::Jump { bandwidth, weight: share * by_l0 / rows }
            }
        }
    }

    /// What is penalised in a lot, before its weight; a target's penalty is of the whole batch.
    pub(crate) fn penalised(&self, lot: &Lot) -> f64 {
        match *self {
            Rule::Sum(_) => lot.terms.iter().map(|term| f64::from(term.1)).sum(),
            Rule::Norms { norms, .. } => {
                lot.terms.iter().map(|(latent, v)| f64::from(*v) * f64::from(norms[*latent as usize])).sum()
            }
            Rule::Jump { .. } => lot.active() as f64,
            Rule::Gate { .. } => lot.before.iter().map(|term| f64::from(term.1)).sum(),
        }
    }

    /// What a lot's scan found (pre-activations) to values, where the two differ.
    pub(crate) fn values(&self, lot: &mut Lot, at: &Parameters) {
        match *self {
            Rule::Sum(_) | Rule::Norms { .. } => {}
            Rule::Jump { bandwidth, .. } => jump(lot, &at.thresholds, bandwidth),
            Rule::Gate { .. } => {
                lot.before.clear();
                lot.before.extend_from_slice(&lot.terms);
                for (latent, value) in &mut lot.terms {
                    let latent = *latent as usize;
                    let z = *value - at.encoder_bias[latent];
                    *value = (at.log_scale[latent].exp() * z + at.magnitude_bias[latent]).max(0.0);
                }
            }
        }
    }

    /// A lot's slopes by values to slopes by z, and those by what each latent has of its own into `own`. `y` are its rows' targets.
    pub(crate) fn back(&self, lot: &mut Lot, at: &Parameters, y: &[f32], factor: f32) {
        match *self {
            Rule::Sum(weight) => {
                if weight != 0.0 {
                    lot.slopes.iter_mut().for_each(|slope| *slope += weight);
                }
            }
            Rule::Norms { weight, norms } => {
                for (slope, (latent, _)) in lot.slopes.iter_mut().zip(&lot.terms) {
                    *slope += weight * norms[*latent as usize];
                }
            }
            Rule::Jump { bandwidth, weight } => back_from_jump(lot, &at.thresholds, bandwidth, weight),
            Rule::Gate { weight } => {
                through_gate(lot, at, y, factor);
                back_from_gate(lot, at, weight);
            }
        }
    }
}

fn back_from_jump(lot: &mut Lot, thresholds: &[f32], bandwidth: f32, weight: f32) {
    lot.own.resize(lot.terms.len(), [0.0; 3]);
    let entries = lot.terms.iter().zip(&lot.before).zip(&mut lot.slopes).zip(&mut lot.own);
    for ((((latent, value), (_, before)), slope), own) in entries {
        let threshold = thresholds[*latent as usize];
        if (before - threshold).abs() < 0.5 * bandwidth {
            own[0] = -(threshold * *slope + weight) / bandwidth;
        }
        if *value == 0.0 {
            *slope = 0.0;
        }
    }
}

fn back_from_gate(lot: &mut Lot, at: &Parameters, weight: f32) {
    lot.own.resize(lot.terms.len(), [0.0; 3]);
    let entries = lot.terms.iter().zip(&lot.before).zip(&lot.by_gate).zip(&mut lot.slopes).zip(&mut lot.own);
    for (((((latent, value), (_, before)), by_gate), slope), own) in entries {
        let latent = *latent as usize;
        let by_value = if *value > 0.0 { *slope } else { 0.0 };
        let by_magnitude = by_value * at.log_scale[latent].exp();
        *own = [by_gate + weight, by_magnitude * (before - at.encoder_bias[latent]), by_value];
        *slope = by_magnitude + own[0];
    }
}

/// Keeps of a lot what is active or near its threshold; the latter with the value 0.
fn jump(lot: &mut Lot, thresholds: &[f32], bandwidth: f32) {
    let Lot { terms, before, ends, .. } = lot;
    before.clear();
    let (mut kept, mut from) = (0, 0);
    for end in ends {
        for i in from..*end {
            let (latent, z) = terms[i];
            let threshold = thresholds[latent as usize];
            let active = z > threshold;
            if active || (z - threshold).abs() < 0.5 * bandwidth {
                terms[kept] = (latent, if active { z } else { 0.0 });
                before.push((latent, z));
                kept += 1;
            }
        }
        from = std::mem::replace(end, kept);
    }
    terms.truncate(kept);
}

/// The error of what the gate alone says, and its slopes by π into `by_gate`. The decoder is held constant, so that is all.
fn through_gate(lot: &mut Lot, at: &Parameters, y: &[f32], factor: f32) {
    let width = at.bias.len();
    let Lot { before, ends, by_gate, gate, row, .. } = lot;
    by_gate.resize(before.len(), 0.0);
    row.resize(width, 0.0);
    *gate = 0.0;
    let mut from = 0;
    for (end, y) in ends.iter().zip(y.chunks_exact(width)) {
        let here = from..*end;
        from = *end;
        row.copy_from_slice(&at.bias);
        gather(row, &at.decoder, &before[here.clone()]);
        add_scaled(row, -1.0, y);
        *gate += dot_wide(row, row);
        row.iter_mut().for_each(|v| *v *= factor);
        dots(row, &at.decoder, &before[here.clone()], &mut by_gate[here]);
    }
}
