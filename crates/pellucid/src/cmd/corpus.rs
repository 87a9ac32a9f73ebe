//! `pellucid corpus`: the default corpus into the cache.

use crate::default_corpus;
use crate::show::Out;
use anyhow::{Context, Result};
use clap::Args;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs;

#[derive(Args)]
pub(crate) struct Arguments {}

#[derive(Serialize)]
struct Found {
    path: String,
    /// Bytes of each file.
    files: BTreeMap<String, u64>,
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        let cache = pellucid::model::load::cache_dir();
        let path = default_corpus::fetch(&cache, &mut |step| eprintln!("{step}"))
            .context("cannot assemble the default corpus")?;
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(&path).context("listing the corpus")? {
            let entry = entry.context("listing the corpus")?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if !name.starts_with('.') {
                files.insert(name, entry.metadata().context("looking at the corpus")?.len());
            }
        }
        let path = path.display().to_string();
        out.line(&path)?;
        out.json("corpus", None, &Found { path, files })?;
        Ok(())
    }
}
