//! `pellucid find`: units by what they are about.

use crate::atlas::find::FindArgs;
use crate::atlas::path_of;
use crate::atlas::{meaning, shelf};
use crate::models::ModelArgs;
use crate::show::{DIM, Out, Table, tame};
use anyhow::{Result, ensure};
use clap::Args;
use pellucid::scope::{Found, Meaning, find};
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

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        let loaded = self.model.load()?;
        ensure!(
            !self.wanted.trim().is_empty(),
            "there is nothing to look for; write what the units should be about"
        );
        let finding = self.find.finding(&self.wanted)?;
        let opened = shelf(&loaded, Some(&path_of(&loaded, self.atlas.as_deref())?)).need(&loaded)?;
        let meaning = if finding.words { Meaning::default() } else { meaning()? };
        let found: Vec<Found> = find(&opened, &meaning, &finding)?.iter().map(Found::of).collect();
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
