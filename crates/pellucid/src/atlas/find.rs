//! Finding units in an atlas by what their descriptions mean or say.

use super::{ENCODER, encoder};
use anyhow::{Context, Result, bail};
use clap::Args;
use pellucid::core::{Embed, Point, Polarity, Site};
use pellucid::store::atlas::{Atlas, Hit, Query, ScoreKind, Sort};
use std::ops::RangeInclusive;

/// Which units.
#[derive(Args, Clone)]
pub(crate) struct FindArgs {
    /// How many at most.
    #[arg(short = 'k', long, default_value_t = 20, value_name = "N")]
    pub(crate) top: usize,
    /// The description must hold these words, instead of meaning the same.
    #[arg(long)]
    words: bool,
    /// Only layers A-B, or one layer.
    #[arg(long, value_name = "A-B")]
    layers: Option<String>,
    /// Only one side of zero.
    #[arg(long, value_parser = ["+", "-"], allow_hyphen_values = true)]
    polarity: Option<String>,
    /// Only units at a site or point, such as mlp_act.3 or mlp_act.
    #[arg(long, value_name = "SITE")]
    at: Option<String>,
    /// The least simulation score on held-out text.
    #[arg(long, value_name = "R", allow_hyphen_values = true)]
    pub(crate) score: Option<f64>,
    /// In which order: nearest, score, density or unit.
    #[arg(long, default_value = "nearest", value_parser = ["nearest", "score", "density", "unit"])]
    sort: String,
}

impl FindArgs {
    /// The units that fit; nothing to look for gives all of them.
    pub(crate) fn search(&self, atlas: &Atlas, wanted: Option<&str>) -> Result<Vec<Hit>> {
        let mut query = Query::all(self.top);
        query.layers = self.layers.as_deref().map(layers).transpose()?;
        query.polarity =
            self.polarity.as_deref().map(|p| if p == "+" { Polarity::Positive } else { Polarity::Negative });
        if let Some(at) = &self.at {
            match (at.parse::<Site>(), at.parse::<Point>()) {
                (Ok(site), _) => query.site = Some(site),
                (_, Ok(point)) => query.point = Some(point),
                (Err(error), _) => bail!("--at {at}: {error}"),
            }
        }
        query.score = self.score.map(|least| (ScoreKind::Simulation, least));
        query.sort = match self.sort.as_str() {
            "score" => Sort::Score,
            "density" => Sort::Density,
            "unit" => Sort::Unit,
            _ => Sort::Nearest,
        };
        match wanted {
            Some(text) if self.words => query.text = Some(text.to_owned()),
            Some(text) => query.vector = Some((ENCODER.to_owned(), vector(text)?)),
            None => (),
        }
        Ok(atlas.find(&query)?)
    }
}

/// What a text means.
pub(crate) fn vector(text: &str) -> Result<Vec<f32>> {
    if text.trim().is_empty() {
        bail!("there is nothing to look for; write what the units should be about");
    }
    let found = encoder()?.embed(&[text]).map_err(|e| anyhow::anyhow!("cannot embed {text:?}: {e}"))?;
    found.into_iter().next().context("the encoder gave no vector")
}

fn layers(text: &str) -> Result<RangeInclusive<u32>> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let number = |t: &str| t.trim().parse::<u32>();
    match (number(from), number(to)) {
        (Ok(from), Ok(to)) if from <= to => Ok(from..=to),
        _ => bail!("--layers {text}: expected a layer or a range such as 5-12"),
    }
}
