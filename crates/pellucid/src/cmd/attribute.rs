//! `pellucid attribute`: which units made the model say a token, as predicted, and checked by removing them.

use super::verify::{self, Verified};
use crate::json::{Placed, Token};
use crate::models::{Loaded, ModelArgs};
use crate::show::{BOLD, DIM, Out, Table, heat, percent, quoted, signed};
use crate::target::TargetArgs;
use crate::text::{Text, TextArgs};
use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use pellucid::core::{Seed, Site, UnitId};
use pellucid::interp::{
    By, Completeness, Effects, LatentEffects, Method, Metric, RowSums, UnitEffect, attribute, latent_effects,
};
use pellucid::model::sample;
use serde::Serialize;

/// The method whose predictions come true most often: docs/attribution.md, by `cargo xtask docs attribution`.
pub(crate) const DEFAULT_METHOD: MethodName = MethodName::GradAct;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(flatten)]
    text: TextArgs,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    target: TargetArgs,
    /// How effects are predicted.
    #[arg(long, value_enum, default_value_t = DEFAULT_METHOD)]
    method: MethodName,
    /// Steps of integrated gradients.
    #[arg(long, default_value_t = 16)]
    steps: usize,
    /// How many to show.
    #[arg(long, default_value_t = 20, value_name = "K")]
    top: usize,
    /// What effects are summed to.
    #[arg(long, value_enum, default_value_t = ByName::Unit)]
    by: ByName,
    /// The dictionary whose latents are meant, where several are given.
    #[arg(long, value_name = "NAME")]
    of: Option<String>,
    /// Remove the top N one by one, and N random ones, and compare with the prediction.
    #[arg(long, value_name = "N")]
    verify: Option<usize>,
    /// Chooses the random ones.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum MethodName {
    /// Gradients under relevance propagation's rules.
    Relp,
    /// Gradient times activation.
    GradAct,
    /// Integrated gradients.
    Ig,
}

impl MethodName {
    pub(crate) fn method(self, steps: usize) -> Method {
        match self {
            MethodName::Relp => Method::Relp,
            MethodName::GradAct => Method::GradAct,
            MethodName::Ig => Method::IntegratedGradients { steps },
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum ByName {
    /// Neurons.
    Unit,
    /// Attention heads.
    Head,
    /// Attention and MLP of each layer.
    Layer,
    /// Input tokens.
    Token,
    /// Latents of a dictionary (see --dictionary and --of), beside what it does not explain.
    Latent,
}

impl From<ByName> for By {
    fn from(by: ByName) -> By {
        match by {
            ByName::Unit => By::Unit,
            ByName::Head => By::Head,
            ByName::Layer => By::Layer,
            ByName::Token => By::Token,
            ByName::Latent => By::Latent,
        }
    }
}

/// The result on the wire.
#[derive(Serialize)]
struct Report {
    prompt: Vec<Placed>,
    metric: Explained,
    method: Method,
    by: By,
    effects: Vec<Entry>,
    completeness: Vec<Completeness>,
    /// What a dictionary's site does, in parts.
    #[serde(skip_serializing_if = "Option::is_none")]
    row: Option<Parts>,
    verify: Option<Verified>,
}

/// The effect of a dictionary's site, over all positions: latents, error and constant sum to the whole.
#[derive(Serialize)]
struct Parts {
    dictionary: String,
    site: Site,
    whole: f64,
    latents: f64,
    error: f64,
    constant: f64,
    /// How far the parts of a row are from the row at worst, as a share of the largest row.
    incompleteness: f64,
}

impl Parts {
    fn of(effects: &LatentEffects) -> Self {
        let RowSums { whole, latents, error, constant } = effects.sums();
        Parts {
            dictionary: effects.dictionary.clone(),
            site: effects.site,
            whole,
            latents,
            error,
            constant,
            incompleteness: effects.incompleteness(),
        }
    }
}

/// What is explained: `logit[target] − logit[foil]`, or without a foil minus the mean logit.
#[derive(Serialize)]
struct Explained {
    position: usize,
    target: Token,
    foil: Option<Token>,
    value: f64,
    probability: f64,
}

#[derive(Serialize)]
pub(crate) struct Entry {
    site: Site,
    unit: Option<UnitId>,
    effect: f64,
    share: f64,
    peak: Placed,
    effect_at_peak: f64,
    activation_at_peak: Option<f32>,
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        let by = By::from(self.by);
        if self.verify.is_some() {
            ensure!(
                matches!(by, By::Unit | By::Head | By::Latent),
                "--verify removes units, heads or latents; say --by unit, --by head or --by latent"
            );
        }
        let (loaded, mut text) = self.text.read(&self.model)?;
        let metric = self.target.metric(&loaded, &mut text)?;
        let method = self.method.method(self.steps);
        let dictionary = if by == By::Latent { Some(loaded.dictionary(self.of.as_deref())?) } else { None };
        let sites = dictionary.map_or_else(|| by.sites(&loaded.model), |d| vec![d.site]);
        let effects = attribute(&loaded.model, &text.row, metric, method, &sites, &mut ())?;
        let latents = dictionary.map(|d| latent_effects(&loaded.model, &effects, &d.name)).transpose()?;
        let ranked = match &latents {
            Some(latents) => latents.ranked(self.top),
            None => effects.ranked(by, self.top),
        };
        let asked = verify::Asked { metric, by, n: self.verify.unwrap_or(0), seed: Seed(self.seed) };
        let verify = match (&latents, self.verify) {
            (_, None) => None,
            (Some(latents), Some(_)) => Some(verify::latents(&loaded, &text, latents, &asked)?),
            (None, Some(_)) => Some(verify::run(&loaded, &text, &effects, &asked)?),
        };
        let entries = ranked.iter().map(|e| entry(e, &text, effects.metric)).collect();
        let report = Report {
            prompt: text.tokens.clone(),
            metric: explained(&loaded, metric, &effects),
            method,
            by,
            effects: entries,
            completeness: effects.completeness.clone(),
            row: latents.as_ref().map(Parts::of),
            verify,
        };
        if !out.json("attribute", Some(&loaded), &report)? {
            self.show(&report, out)?;
        }
        Ok(())
    }

    fn show(&self, report: &Report, out: &mut Out) -> Result<()> {
        let m = &report.metric;
        let foil = m.foil.as_ref().map_or_else(|| "the mean logit".to_owned(), |f| quoted(&f.text));
        let after = report.prompt.last().map_or_else(String::new, |t| quoted(&t.text));
        out.line(format!(
            "{BOLD}{}{BOLD:#} after {after} (position {}): logit above {foil} {:.3}, probability {}",
            quoted(&m.target.text),
            m.position,
            m.value,
            percent(m.probability)
        ))?;
        if self.by == ByName::Token {
            let mut by_position = vec![0.0; report.prompt.len()];
            report.effects.iter().for_each(|e| by_position[e.peak.position] = e.effect);
            let heats: Vec<(String, f64)> =
                report.prompt.iter().zip(by_position).map(|(t, e)| (t.text.clone(), e)).collect();
            out.line(heat(&heats))?;
        }
        out.line("")?;
        out.table(effects_table(&report.effects))?;
        if let Some(Parts { site, whole, latents, error, constant, incompleteness, .. }) = &report.row {
            out.line(format!(
                "{site} in all {whole:+.3}: latents {latents:+.3}, what they do not explain {error:+.3}, constant \
                 {constant:+.3} {DIM}(rows add up to {incompleteness:.0e}){DIM:#}"
            ))?;
        }
        completeness(&report.completeness, out)?;
        report.verify.iter().try_for_each(|v| verify::show(v, out))
    }
}

/// Says how far the method kept its promises: each of a few, the worst of many.
fn completeness(promises: &[Completeness], out: &mut Out) -> Result<()> {
    let gap = |c: &Completeness| (c.sum - c.expected).abs() / c.expected.abs().max(f64::MIN_POSITIVE);
    let kept = promises.iter().filter(|c| gap(c) < 0.01).count();
    if promises.len() > 3 {
        let n = promises.len();
        out.line(format!(
            "{DIM}completeness: at {kept} of {n} sites effects sum to what was promised within 1%{DIM:#}"
        ))?;
    }
    let worst = promises.iter().max_by(|a, b| gap(a).total_cmp(&gap(b)));
    for c in promises.iter().filter(|_| promises.len() <= 3).chain(worst.filter(|_| promises.len() > 3)) {
        out.line(format!(
            "{DIM}completeness at {}: effects sum to {:.4}, promised {:.4} ({:.1e} apart){DIM:#}",
            c.site,
            c.sum,
            c.expected,
            gap(c)
        ))?;
    }
    if kept < promises.len() {
        out.line(format!("{DIM}where it is far off, more --steps help integrated gradients{DIM:#}"))?;
    }
    Ok(())
}

fn explained(loaded: &Loaded, metric: Metric, effects: &Effects) -> Explained {
    let log_probs = sample::log_softmax(&effects.logits);
    Explained {
        position: metric.position,
        target: loaded.token(metric.target),
        foil: metric.foil.map(|f| loaded.token(f)),
        value: effects.metric,
        probability: f64::from(log_probs[metric.target as usize]).exp(),
    }
}

impl Entry {
    /// The unit, where the entry is one.
    pub(crate) fn unit(&self) -> Option<&UnitId> {
        self.unit.as_ref()
    }
}

/// An effect with the token where it is largest; its share is of the metric, so shares need not sum to one.
pub(crate) fn entry(e: &UnitEffect, text: &Text, metric: f64) -> Entry {
    Entry {
        site: e.site,
        unit: e.unit.clone(),
        effect: e.effect,
        share: if metric == 0.0 { 0.0 } else { e.effect / metric },
        peak: text.tokens[e.position].clone(),
        effect_at_peak: e.effect_there,
        activation_at_peak: e.activation,
    }
}

pub(crate) fn effects_table(entries: &[Entry]) -> Table {
    let mut table =
        Table::new(&["unit", ">effect", ">share", "peak token", ">at", ">effect there", ">activation"]);
    for e in entries {
        table.row(vec![
            e.unit.as_ref().map_or_else(|| e.site.to_string(), UnitId::to_string),
            signed(e.effect),
            format!("{:+.1}%", e.share * 100.0),
            quoted(&e.peak.text),
            e.peak.position.to_string(),
            signed(e.effect_at_peak),
            e.activation_at_peak.map_or_else(String::new, |a| format!("{a:+.3}")),
        ]);
    }
    table
}
