//! Finding units in an atlas by what their descriptions mean or say.

use anyhow::{Result, bail};
use clap::Args;
use pellucid::core::{Point, Site};
use pellucid::scope::{Finding, Order};

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
    /// What is looked for; nothing gives all units.
    pub(crate) fn finding(&self, wanted: &str) -> Result<Finding> {
        let mut finding = Finding {
            query: wanted.to_owned(),
            words: self.words,
            k: self.top,
            layers: self.layers.as_deref().map(layers).transpose()?,
            polarity: self.polarity.clone(),
            dictionary: None,
            site: None,
            point: None,
            score: self.score,
            sort: match self.sort.as_str() {
                "score" => Order::Score,
                "density" => Order::Density,
                "unit" => Order::Unit,
                _ => Order::Nearest,
            },
        };
        if let Some(at) = &self.at {
            match (at.parse::<Site>(), at.parse::<Point>()) {
                (Ok(site), _) => finding.site = Some(site),
                (_, Ok(point)) => finding.point = Some(point),
                (Err(error), _) => bail!("--at {at}: {error}"),
            }
        }
        Ok(finding)
    }
}

fn layers(text: &str) -> Result<(u32, u32)> {
    let (from, to) = text.split_once('-').unwrap_or((text, text));
    let number = |t: &str| t.trim().parse::<u32>();
    match (number(from), number(to)) {
        (Ok(from), Ok(to)) if from <= to => Ok((from, to)),
        _ => bail!("--layers {text}: expected a layer or a range such as 5-12"),
    }
}
