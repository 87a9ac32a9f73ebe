//! `pellucid atlas`: build, describe, score, show, export and join atlases.

mod describe;
mod exchange;
mod show;
mod stats;

pub(crate) use stats::deciles;

use crate::atlas::build::{Built, Plan, all_neurons, build};
use crate::atlas::describe::Described;
use crate::atlas::{encoder, path_of};
use crate::default_corpus;
use crate::models::{Loaded, ModelArgs, StorageArgs};
use crate::show::Out;
use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use describe::{DescribeArgs, ScoreArgs, say_described};
use exchange::{ExportArgs, ImportArgs, MergeArgs};
use indicatif::HumanBytes;
use pellucid::core::{Embed, Site};
use pellucid::model::embed::Encoder;
use pellucid::store::corpus::{Options, Slice};
use serde::Serialize;
use show::ShowArgs;
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Run a corpus through the model and keep, describe and score what every neuron does. Killed, it goes on.
    Build(Box<BuildArgs>),
    /// Describe what has no description yet: by patterns, and by a language model if one is there.
    Describe(Box<DescribeArgs>),
    /// Let a language model judge chosen descriptions on held-out text.
    Score(Box<ScoreArgs>),
    /// What is known of one unit: mlp_act.3/1054, or mlp_act.3/1054- for its negative side alone.
    Show(ShowArgs),
    /// How much an atlas holds, and how its scores lie against their null.
    Stats(OfArgs),
    /// Write an atlas for other tools.
    Export(ExportArgs),
    /// Take in explanations that were exported from Neuronpedia (jsonl).
    Import(ImportArgs),
    /// Join the .sweep files of slices (`build --slice 1/4` …) into one atlas.
    Merge(MergeArgs),
}

/// A model's atlas.
#[derive(Args)]
struct OfArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// The atlas, if it is not the one in the cache under the model's hash.
    #[arg(long, value_name = "FILE")]
    atlas: Option<PathBuf>,
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Do not embed descriptions: no search by meaning.
    #[arg(long)]
    no_embed: bool,
}

#[derive(Args)]
struct BuildArgs {
    #[command(flatten)]
    of: OfArgs,
    /// Files or folders of text (txt, jsonl, csv, parquet, .gz), `-` for stdin; may be given several times. By
    /// default the corpus of docs/corpus.md, fetched once.
    #[arg(long, value_name = "PATH")]
    corpus: Vec<String>,
    /// The field or column that holds the text.
    #[arg(long, default_value = "text", value_name = "NAME")]
    field: String,
    /// Stop after this many tokens of the corpus, drawn over all of it; `all` takes everything.
    #[arg(long, default_value = "500000", value_name = "N")]
    tokens: String,
    /// Tokens of a window.
    #[arg(long, default_value_t = 128, value_name = "N")]
    window: usize,
    /// Tokens of the window before that a window repeats as context, not counted again.
    #[arg(long, default_value_t = 16, value_name = "N")]
    overlap: usize,
    /// Sites to sweep; all layers' neurons if none are named.
    #[arg(long, value_name = "SITE", value_delimiter = ',')]
    sites: Vec<Site>,
    /// Sweep the latents of this dictionary (see --dictionary) instead: an atlas of their own.
    #[arg(long, value_name = "NAME", conflicts_with = "sites")]
    latents: Option<String>,
    /// Sweep part K of N and stop there; `pellucid atlas merge` joins the parts.
    #[arg(long, default_value = "1/1", value_name = "K/N")]
    slice: Slice,
    /// Seconds between two savings of the sweep's state.
    #[arg(long, default_value_t = 300, value_name = "SECONDS")]
    checkpoint: u64,
    /// Do not describe: sweep only.
    #[arg(long)]
    no_describe: bool,
}

impl OfArgs {
    fn load(&self) -> Result<(Loaded, PathBuf)> {
        self.loaded(self.model.storage)
    }

    fn loaded(&self, storage: StorageArgs) -> Result<(Loaded, PathBuf)> {
        let loaded = self.model.load_as(storage)?;
        let path = path_of(&loaded, self.atlas.as_deref())?;
        Ok((loaded, path))
    }

    fn encoder(&self) -> Result<Option<Encoder>> {
        if self.no_embed { Ok(None) } else { encoder().map(Some) }
    }

    fn describe(&self, loaded: &Loaded, path: &Path) -> Result<Described> {
        let encoder = self.encoder()?;
        let encoder = encoder.as_ref().map(|e| e as &dyn Embed);
        crate::atlas::describe::describe(loaded, path, self.seed, None, encoder)
    }
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        match &self.action {
            Action::Build(a) => a.run(out),
            Action::Describe(a) => a.run(out),
            Action::Score(a) => a.run(out),
            Action::Show(a) => a.run(out),
            Action::Stats(a) => stats::stats(a, out),
            Action::Export(a) => a.run(out),
            Action::Import(a) => a.run(out),
            Action::Merge(a) => a.run(out),
        }
    }
}

/// What a build came to, on the wire.
#[derive(Serialize)]
struct Report {
    /// The model's name as the user wrote it.
    model: String,
    built: Built,
    described: Option<Described>,
    bytes: u64,
}

impl Report {
    /// Writes how the build went beside the atlas: times are no part of what an atlas holds.
    fn keep(&self) -> Result<()> {
        let mut path = self.built.atlas.as_os_str().to_owned();
        path.push(".built.json");
        let path = PathBuf::from(path);
        let text = serde_json::to_string_pretty(self)?;
        std::fs::write(&path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }
}

impl BuildArgs {
    fn run(&self, out: &mut Out) -> Result<()> {
        let tokens = match self.tokens.as_str() {
            "all" => None,
            n => Some(
                n.replace('_', "")
                    .parse()
                    .with_context(|| format!("--tokens {n}: expected a number or `all`"))?,
            ),
        };
        let (loaded, path) = self.of.loaded(self.of.model.storage.for_sweep())?;
        ensure!(
            self.latents.is_some() || loaded.model.dictionaries().is_empty(),
            "a dictionary is given, and the sweep is of the model's own units; say --latents NAME, or leave --dictionary out"
        );
        let plan = Plan {
            sources: default_corpus::or_these(&self.corpus)?,
            reading: Options { field: self.field.clone(), ..Options::default() },
            tokens,
            window: self.window,
            overlap: self.overlap,
            sites: if self.sites.is_empty() { all_neurons(&loaded) } else { self.sites.clone() },
            latents: self.latents.clone(),
            slice: self.slice,
            seed: self.of.seed,
            atlas: path,
            checkpoint: Duration::from_secs(self.checkpoint),
        };
        let built = build(&loaded, &plan)?;
        let described = match &built.sweep {
            None if !self.no_describe => Some(self.of.describe(&loaded, &built.atlas)?),
            _ => None,
        };
        let bytes = std::fs::metadata(&built.atlas).map_or(0, |m| m.len());
        let report = Report { model: loaded.name.clone(), built, described, bytes };
        if report.built.sweep.is_none() && !report.built.found {
            report.keep()?;
        }
        if out.json("atlas build", Some(&loaded), &report)? {
            return Ok(());
        }
        let b = &report.built;
        if b.found {
            out.line(format!("{} holds this sweep already ({} units)", b.atlas.display(), b.units))?;
        } else {
            out.line(format!(
                "swept {} units over {} tokens: {:.0} s, {:.0} tokens/s, collectors {:.0}% over the model alone",
                b.units,
                b.tokens,
                b.sweep_seconds,
                b.tokens_per_second,
                100.0 * b.overhead
            ))?;
        }
        if let Some(sweep) = &b.sweep {
            return out
                .line(format!("slice kept in {}; join slices with `pellucid atlas merge`", sweep.display()));
        }
        if let Some(done) = &report.described {
            say_described(done, out)?;
        }
        out.line(format!("{} ({})", b.atlas.display(), HumanBytes(bytes)))
    }
}
