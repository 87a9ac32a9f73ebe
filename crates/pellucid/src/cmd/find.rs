//! `pellucid find`: units by what they are about.

use crate::atlas;
use crate::atlas::find::FindArgs;
use crate::models::{ModelArgs, load};
use crate::show::{DIM, Out, Table, tame};
use anyhow::Result;
use clap::Args;
use pellucid::core::{Index, UnitId};
use pellucid::store::atlas::Hit;
use serde::Serialize;
use std::path::PathBuf;

#[derive(Args)]
pub(crate) struct Arguments {
    /// What the units should be about, in plain words.
    wanted: String,
    #[command(flatten)]
    model: ModelArgs,
    /// The model's atlas, if it is not the one in the cache.
    #[arg(long, value_name = "FILE")]
    atlas: Option<PathBuf>,
    #[command(flatten)]
    find: FindArgs,
}

/// A hit on the wire.
#[derive(Serialize)]
pub(crate) struct Found {
    pub(crate) unit: String,
    pub(crate) description: String,
    /// Cosine with what was looked for.
    similarity: Option<f32>,
    /// Simulation score on held-out text.
    score: Option<f64>,
    density: f64,
}

impl Found {
    pub(crate) fn of(hit: &Hit) -> Self {
        Found {
            unit: unit(hit),
            description: hit.text.clone(),
            similarity: hit.cosine,
            score: hit.score,
            density: hit.density,
        }
    }
}

pub(crate) fn unit(hit: &Hit) -> String {
    let (site, index) = (hit.site, Index::Coordinate(hit.index));
    UnitId::Site { site, index, polarity: Some(hit.polarity) }.to_string()
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        let loaded = load(&self.model.model, self.model.storage.dtype)?;
        let atlas = atlas::open(&loaded, self.atlas.as_deref())?;
        let hits = self.find.search(&atlas, Some(&self.wanted))?;
        let found: Vec<Found> = hits.iter().map(Found::of).collect();
        if out.json("find", Some(&loaded), &found)? {
            return Ok(());
        }
        if found.is_empty() {
            return out.line(format!("{DIM}no description fits; ask for less, or without --words{DIM:#}"));
        }
        let mut table = Table::new(&["unit", ">similar", ">score", "what it responds to"]);
        for f in &found {
            let number = |n: Option<f64>| n.map_or("–".to_owned(), |n| format!("{n:.2}"));
            table.row(vec![
                f.unit.clone(),
                number(f.similarity.map(f64::from)),
                number(f.score),
                tame(&f.description).replace('\n', "⏎"),
            ]);
        }
        out.table(table)
    }
}
