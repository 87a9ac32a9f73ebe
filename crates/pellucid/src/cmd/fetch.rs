//! `pellucid fetch`: models into the cache.

use crate::models::Shown;
use crate::show::Out;
use anyhow::{Context, Result};
use clap::Args;
use pellucid::model::load::Checkpoint;
use serde::Serialize;

#[derive(Args)]
pub(crate) struct Arguments {
    /// Built-in names (smollm2, gemma3-270m; minilm, a text encoder) or hub ids.
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

#[derive(Serialize)]
struct Fetched<'a> {
    name: &'a str,
    path: String,
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        let mut fetched = Vec::new();
        for name in &self.names {
            let mut shown = Shown::default();
            let path = Checkpoint::resolve(name, &mut |p| shown.fetching(&p));
            shown.done();
            let path = path.with_context(|| format!("cannot fetch {name}"))?.display().to_string();
            out.line(&path)?;
            fetched.push(Fetched { name, path });
        }
        out.json("fetch", None, &fetched)?;
        Ok(())
    }
}
