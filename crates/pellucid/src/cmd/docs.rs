//! `pellucid docs`: pages of measurements, as markdown on stdout. `cargo xtask docs` puts them into `docs/`.

use super::{check, docs_atlas, docs_attribution, docs_blind, docs_parity, docs_points};
use crate::models::{Dtype, ModelArgs, load};
use crate::show::{Out, bar};
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use serde::Serialize;
use std::fmt::Write;
use std::path::{Path, PathBuf};

/// The models that anybody can fetch by name.
pub(crate) const REAL: [&str; 2] = ["smollm2", "gemma3-270m"];

#[derive(Args)]
pub(crate) struct Arguments {
    page: Page,
    /// The folder of reference models and dumps.
    #[arg(long, default_value = "fixtures", value_name = "FOLDER")]
    fixtures: PathBuf,
    /// Leave the tiny models out.
    #[arg(long)]
    real_only: bool,
    #[command(flatten)]
    atlas: AtlasArgs,
}

/// What the pages about an atlas are made of.
#[derive(Args)]
pub(crate) struct AtlasArgs {
    #[command(flatten)]
    pub(crate) model: ModelArgs,
    /// The atlas, if it is not the one in the cache under the model's hash.
    #[arg(long, value_name = "FILE")]
    pub(crate) atlas: Option<PathBuf>,
    /// Reports of builds (`atlas build --json`, or the .built.json beside an atlas).
    #[arg(long, value_name = "FILE")]
    pub(crate) built: Vec<PathBuf>,
    /// The result of the blind check.
    #[arg(long, value_name = "FILE")]
    pub(crate) blind: Option<PathBuf>,
    /// Where the blind check's files are.
    #[arg(long, default_value = "docs/atlas", value_name = "FOLDER")]
    pub(crate) out: PathBuf,
    /// A reader's answers: lines of an item's number and a, b or unsure.
    #[arg(long, value_name = "FILE")]
    pub(crate) answers: Option<PathBuf>,
    /// Items of the blind check.
    #[arg(long, default_value_t = 60, value_name = "N")]
    pub(crate) items: usize,
    /// Decides which.
    #[arg(long, default_value_t = 0)]
    pub(crate) seed: u64,
}

#[derive(Clone, Copy, ValueEnum)]
enum Page {
    Parity,
    Attribution,
    Check,
    Points,
    Atlas,
    Blind,
    BlindResult,
    /// The OpenAPI document of the page's API, as JSON.
    Openapi,
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        match self.page {
            Page::Parity => docs_parity::run(&self.fixtures, self.real_only, out),
            Page::Attribution => docs_attribution::run(out),
            Page::Points => docs_points::run(out),
            Page::Atlas => docs_atlas::run(&self.atlas, out),
            Page::Blind => docs_blind::make(&self.atlas, out),
            Page::BlindResult => docs_blind::result(&self.atlas, out),
            Page::Openapi => out.raw(&serde_json::to_string_pretty(&pellucid::server::openapi())?),
            Page::Check => checks(&self.fixtures, self.real_only, out),
        }
    }
}

/// The tiny checkpoints: name and path.
pub(crate) fn tiny(fixtures: &Path) -> Result<Vec<(String, PathBuf)>> {
    let folder = fixtures.join("tiny");
    let entries = std::fs::read_dir(&folder).with_context(|| {
        format!("cannot list {}; run from the repository's root or say --fixtures", folder.display())
    })?;
    let mut all = Vec::new();
    for entry in entries {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let file = path.join("model.gguf");
        all.push((name, if file.exists() { file } else { path }));
    }
    all.sort();
    Ok(all)
}

#[derive(Serialize)]
struct Checked {
    model: String,
    claims: usize,
    failed: Vec<String>,
    /// The claim that comes nearest to its tolerance.
    tightest: String,
    error: f32,
    tolerance: f32,
}

/// `pellucid check` on every fixture and both real models.
fn checks(fixtures: &Path, real_only: bool, out: &mut Out) -> Result<()> {
    let mut models: Vec<(String, String)> = Vec::new();
    if !real_only {
        models.extend(tiny(fixtures)?.into_iter().map(|(name, path)| (name, path.display().to_string())));
    }
    models.extend(REAL.map(|name| (name.to_owned(), name.to_owned())));
    let progress = bar("checking", models.len());
    let mut rows = Vec::new();
    for (name, path) in models {
        let loaded = load(&path, Dtype::F32)?;
        let findings =
            check::findings(&loaded, &check::default_tokens(&loaded)).with_context(|| name.clone())?;
        let near = |f: &pellucid::model::check::Finding| {
            if f.tolerance > 0.0 { f.error / f.tolerance } else { f.error }
        };
        let tightest =
            findings.iter().max_by(|a, b| near(a).total_cmp(&near(b))).context("nothing was checked")?;
        rows.push(Checked {
            model: name,
            claims: findings.len(),
            failed: findings.iter().filter(|f| !f.holds()).map(|f| f.claim.clone()).collect(),
            tightest: tightest.claim.clone(),
            error: tightest.error,
            tolerance: tightest.tolerance,
        });
        progress.inc(1);
    }
    progress.finish_and_clear();
    if out.json("docs check", None, &rows)? {
        return Ok(());
    }
    out.raw(&checks_page(&rows)?)
}

fn checks_page(rows: &[Checked]) -> Result<String> {
    let mut page = String::from(
        "# Self-test\n\nWritten by `cargo xtask docs check`: `pellucid check` on every reference model and both real \
         models.\n\n| model | claims | hold | nearest to its tolerance | error | may be |\n\
         | --- | --: | --: | --- | --: | --: |\n",
    );
    for r in rows {
        let holding = r.claims - r.failed.len();
        let (error, tolerance) = (r.error, r.tolerance);
        writeln!(
            page,
            "| {} | {} | {holding} | {} | {error:.1e} | {tolerance:.0e} |",
            r.model, r.claims, r.tightest
        )?;
    }
    let failed: Vec<String> =
        rows.iter().flat_map(|r| r.failed.iter().map(|c| format!("- {}: {c}\n", r.model))).collect();
    match failed.as_slice() {
        [] => page.push_str("\nEvery claim holds on every model.\n"),
        failed => write!(page, "\nThese do not hold:\n\n{}", failed.concat())?,
    }
    Ok(page)
}
