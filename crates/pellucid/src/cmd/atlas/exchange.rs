//! `pellucid atlas export`, `import` and `merge`: atlases out, other tools' words in, slices together.

use super::OfArgs;
use crate::atlas::build::{all_neurons, merge};
use crate::atlas::{check_model, open};
use crate::show::Out;
use anyhow::{Context, Result, ensure};
use clap::Args;
use pellucid::core::{Polarity, Site};
use pellucid::store::atlas::{Atlas, Export};
use pellucid::store::collect::bins;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
use std::path::PathBuf;

#[derive(Args)]
pub(super) struct ExportArgs {
    #[command(flatten)]
    of: OfArgs,
    /// What to write: neuronpedia (jsonl), units (parquet) or descriptions (parquet).
    #[arg(long, value_parser = ["neuronpedia", "units", "descriptions"])]
    format: String,
    /// The file to write.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// The model's name at Neuronpedia.
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
}

#[derive(Args)]
pub(super) struct ImportArgs {
    /// The jsonl file.
    file: PathBuf,
    #[command(flatten)]
    of: OfArgs,
    /// The model's name at Neuronpedia.
    #[arg(long, value_name = "NAME")]
    name: String,
}

#[derive(Args)]
pub(super) struct MergeArgs {
    /// The parts.
    #[arg(required = true)]
    parts: Vec<PathBuf>,
    #[command(flatten)]
    of: OfArgs,
    /// Sites that were swept; all layers' neurons if none are named.
    #[arg(long, value_name = "SITE", value_delimiter = ',')]
    sites: Vec<Site>,
}

impl ExportArgs {
    pub(super) fn run(&self, out: &mut Out) -> Result<()> {
        let (loaded, path) = self.of.load()?;
        let atlas = open(&loaded, Some(&path))?;
        ensure!(!self.out.exists(), "{} exists already; name another file", self.out.display());
        let file = File::create(&self.out).with_context(|| format!("cannot write {}", self.out.display()))?;
        let mut to = BufWriter::new(file);
        let rows = match self.format.as_str() {
            "units" => atlas.export_units_parquet(&mut to)?,
            "descriptions" => atlas.export_descriptions_parquet(&mut to)?,
            _ => atlas.export_neuronpedia(
                &Export {
                    model: self.name.as_deref().unwrap_or(&loaded.name),
                    polarities: &[Polarity::Positive, Polarity::Negative],
                    exemplars: 20,
                    bin: &|b| (bins::edge(b), bins::edge(b.saturating_add(1))),
                },
                &mut to,
            )?,
        };
        to.flush().with_context(|| format!("cannot write {}", self.out.display()))?;
        if !out.json("atlas export", Some(&loaded), &serde_json::json!({ "rows": rows, "file": self.out }))? {
            out.line(format!("{rows} rows in {}", self.out.display()))?;
        }
        Ok(())
    }
}

impl ImportArgs {
    pub(super) fn run(&self, out: &mut Out) -> Result<()> {
        let (loaded, path) = self.of.load()?;
        let file = File::open(&self.file).with_context(|| format!("cannot read {}", self.file.display()))?;
        let mut atlas = Atlas::open_write(&path)?;
        check_model(&atlas, &loaded)?;
        let done = atlas.import_neuronpedia(&self.name, BufReader::new(file))?;
        let errors: Vec<String> = done.errors.iter().map(ToString::to_string).collect();
        let report = serde_json::json!({
            "descriptions": done.descriptions, "scores": done.scores, "other_model": done.other_model,
            "unknown": done.unknown, "errors": errors,
        });
        if out.json("atlas import", Some(&loaded), &report)? {
            return Ok(());
        }
        out.line(format!(
            "{} descriptions and {} scores taken in; {} lines of other models, {} of units that are not here",
            done.descriptions, done.scores, done.other_model, done.unknown
        ))?;
        errors.iter().take(10).try_for_each(|e| out.line(format!("  {e}")))
    }
}

impl MergeArgs {
    pub(super) fn run(&self, out: &mut Out) -> Result<()> {
        let (loaded, path) = self.of.load()?;
        let sites = if self.sites.is_empty() { all_neurons(&loaded) } else { self.sites.clone() };
        merge(&loaded, &path, &sites, self.of.seed, &self.parts)?;
        if !out.json("atlas merge", Some(&loaded), &serde_json::json!({ "atlas": path }))? {
            out.line(format!("{}; describe it with `pellucid atlas describe`", path.display()))?;
        }
        Ok(())
    }
}
