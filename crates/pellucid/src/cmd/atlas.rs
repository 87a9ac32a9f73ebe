//! `pellucid atlas`: build, describe, show, export and join atlases.

use crate::atlas::build::{Built, Plan, all_neurons, build, merge};
use crate::atlas::describe::{Described, INTERESTING, SINGLE_TOKEN, describe};
use crate::atlas::{check_model, default_path, encoder, open};
use crate::default_corpus;
use crate::models::{Loaded, ModelArgs, load};
use crate::show::{BOLD, DIM, Out, Table, heat, percent, tame};
use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use indicatif::HumanBytes;
use pellucid::core::{Embed, Index, Polarity, Site, UnitId};
use pellucid::describe::evidence::scale;
use pellucid::store::atlas::{Atlas, Description, DescriptionId, Export, ScoreKind, Written};
use pellucid::store::collect::bins;
use pellucid::store::corpus::{Options, Slice};
use pellucid::store::{Kind, UnitHarvest};
use serde::Serialize;
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, BufWriter, Write};
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
    /// Describe what has no description yet.
    Describe(OfArgs),
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

#[derive(Args)]
struct ShowArgs {
    /// The unit.
    unit: UnitId,
    #[command(flatten)]
    of: OfArgs,
    /// Exemplars to show of each side.
    #[arg(long, default_value_t = 5, value_name = "N")]
    examples: usize,
}

#[derive(Args)]
struct ExportArgs {
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
struct ImportArgs {
    /// The jsonl file.
    file: PathBuf,
    #[command(flatten)]
    of: OfArgs,
    /// The model's name at Neuronpedia.
    #[arg(long, value_name = "NAME")]
    name: String,
}

#[derive(Args)]
struct MergeArgs {
    /// The parts.
    #[arg(required = true)]
    parts: Vec<PathBuf>,
    #[command(flatten)]
    of: OfArgs,
    /// Sites that were swept; all layers' neurons if none are named.
    #[arg(long, value_name = "SITE", value_delimiter = ',')]
    sites: Vec<Site>,
}

impl OfArgs {
    fn load(&self) -> Result<(Loaded, PathBuf)> {
        let loaded = load(&self.model.model, self.model.storage.dtype)?;
        let path = self.atlas.clone().unwrap_or_else(|| default_path(&loaded));
        Ok((loaded, path))
    }

    fn describe(&self, loaded: &Loaded, path: &Path) -> Result<Described> {
        let encoder = if self.no_embed { None } else { Some(encoder()?) };
        describe(loaded, path, self.seed, encoder.as_ref().map(|e| e as &dyn Embed))
    }
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        match &self.action {
            Action::Build(a) => a.run(out),
            Action::Describe(a) => {
                let (loaded, path) = a.load()?;
                let done = a.describe(&loaded, &path)?;
                if !out.json("atlas describe", Some(&loaded), &done)? {
                    say_described(&done, out)?;
                }
                Ok(())
            }
            Action::Show(a) => a.run(out),
            Action::Stats(a) => stats(a, out),
            Action::Export(a) => a.run(out),
            Action::Import(a) => a.run(out),
            Action::Merge(a) => a.run(out),
        }
    }
}

/// What a build came to, on the wire.
#[derive(Serialize)]
struct Report {
    built: Built,
    described: Option<Described>,
    bytes: u64,
}

impl BuildArgs {
    fn sources(&self) -> Result<Vec<String>> {
        if !self.corpus.is_empty() {
            return Ok(self.corpus.clone());
        }
        let cache = pellucid::model::load::cache_dir();
        let fetched = default_corpus::fetch(&cache, &mut |step| eprintln!("{step}"));
        Ok(vec![fetched.context("cannot assemble the default corpus")?.display().to_string()])
    }

    fn run(&self, out: &mut Out) -> Result<()> {
        let tokens = match self.tokens.as_str() {
            "all" => None,
            n => Some(
                n.replace('_', "")
                    .parse()
                    .with_context(|| format!("--tokens {n}: expected a number or `all`"))?,
            ),
        };
        let (loaded, path) = self.of.load()?;
        let plan = Plan {
            sources: self.sources()?,
            reading: Options { field: self.field.clone(), ..Options::default() },
            tokens,
            window: self.window,
            overlap: self.overlap,
            sites: if self.sites.is_empty() { all_neurons(&loaded) } else { self.sites.clone() },
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
        let report = Report { built, described, bytes };
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

fn say_described(done: &Described, out: &mut Out) -> Result<()> {
    out.line(format!(
        "described {} sides of neurons in {:.0} s: {} with words, {} without (each with its reason)",
        done.units, done.seconds, done.with_words, done.without
    ))
}

/// One side of a unit on the wire.
#[derive(Serialize)]
struct Side {
    polarity: String,
    /// Size that it exceeds on one token in ten thousand.
    scale: f32,
    /// Share of tokens on this side of zero.
    density: f64,
    descriptions: Vec<Words>,
    examples: Vec<Shown>,
}

#[derive(Serialize)]
struct Words {
    text: Option<String>,
    reason: Option<String>,
    explainer: String,
    chosen: bool,
    score: Option<f64>,
    interval: Option<(f64, f64)>,
    null: Option<f64>,
    interesting: Option<bool>,
    single_token: Option<f64>,
}

#[derive(Serialize)]
struct Shown {
    kind: String,
    split: &'static str,
    value: f32,
    tokens: Vec<(String, f64)>,
}

impl ShowArgs {
    fn run(&self, out: &mut Out) -> Result<()> {
        let UnitId::Site { site, index: Index::Coordinate(index), polarity } = self.unit.clone() else {
            bail!("{}: expected one unit of a site, such as mlp_act.3/1054", self.unit);
        };
        let loaded = load(&self.of.model.model, self.of.model.storage.dtype)?;
        let atlas = open(&loaded, self.of.atlas.as_deref())?;
        let unit = atlas.unit(site, index)?;
        let unit = unit.with_context(|| format!("{site}/{index} is not in {}", atlas.path().display()))?;
        let sides = [Polarity::Positive, Polarity::Negative];
        let sides = sides.into_iter().filter(|p| polarity.is_none_or(|only| only == *p));
        let sides: Vec<Side> =
            sides.map(|p| self.side(&atlas, site, index, p, &unit)).collect::<Result<_>>()?;
        if out.json("atlas show", Some(&loaded), &sides)? {
            return Ok(());
        }
        let s = &unit.statistics;
        out.line(format!(
            "{BOLD}{site}/{index}{BOLD:#}  mean {:.4}, deviation {:.4}, {:.3} to {:.3} over {} tokens",
            s.mean,
            s.variance.sqrt(),
            s.min,
            s.max,
            s.count
        ))?;
        sides.iter().try_for_each(|side| show_side(side, out))
    }

    fn side(
        &self,
        atlas: &Atlas,
        site: Site,
        index: u32,
        polarity: Polarity,
        unit: &UnitHarvest,
    ) -> Result<Side> {
        let sketch = &unit.sketches[usize::from(polarity == Polarity::Negative)];
        let descriptions = atlas.descriptions(site, index, polarity)?;
        let descriptions =
            descriptions.into_iter().map(|(id, d)| words(atlas, id, d)).collect::<Result<_>>()?;
        Ok(Side {
            polarity: polarity.to_string(),
            scale: scale(unit, polarity),
            density: bins::density(sketch, unit.statistics.count, 0.0).unwrap_or(0.0),
            descriptions,
            examples: self.examples(atlas, site, index, polarity, unit)?,
        })
    }

    fn examples(
        &self,
        atlas: &Atlas,
        site: Site,
        index: u32,
        polarity: Polarity,
        unit: &UnitHarvest,
    ) -> Result<Vec<Shown>> {
        let windows: HashMap<_, _> =
            atlas.windows_of(site, index)?.into_iter().map(|w| ((w.document, w.index), w)).collect();
        let ours = unit.exemplars.iter().filter(|e| e.kind == Kind::Top && e.polarity == Some(polarity));
        let mut ours: Vec<_> = ours.collect();
        ours.sort_by(|a, b| b.value.abs().total_cmp(&a.value.abs()));
        let mut shown = Vec::new();
        for e in ours.into_iter().take(self.examples) {
            let window =
                windows.get(&(e.document, e.window)).context("an exemplar's window is not in the atlas")?;
            let mut tokens = Vec::new();
            for (i, bits) in e.activations.iter().enumerate() {
                let id = window.tokens.get(e.start as usize + i).copied().unwrap_or(0);
                let text =
                    atlas.token(id)?.map_or_else(String::new, |b| String::from_utf8_lossy(&b).into_owned());
                tokens.push((text, f64::from(half::f16::from_bits(*bits).to_f32())));
            }
            shown.push(Shown { kind: "top".to_owned(), split: e.split.name(), value: e.value, tokens });
        }
        Ok(shown)
    }
}

fn words(atlas: &Atlas, id: DescriptionId, d: Description) -> Result<Words> {
    let scores = atlas.scores(id)?;
    let other = |name: &str| scores.iter().find(|s| s.kind.name() == name).map(|s| s.value);
    let simulation = scores.iter().find(|s| s.kind == ScoreKind::Simulation);
    let (text, reason) = match d.written {
        Written::Text { text, .. } => (Some(text), None),
        Written::None { reason } => (None, Some(reason)),
    };
    let e = d.explainer;
    let model = if e.model.is_empty() { String::new() } else { format!(" ({})", e.model) };
    Ok(Words {
        text,
        reason,
        explainer: format!("{} {}{model}", e.name, e.version),
        chosen: d.chosen,
        score: simulation.map(|s| s.value),
        interval: simulation.and_then(|s| s.interval),
        null: simulation.and_then(|s| s.null),
        interesting: other(INTERESTING).map(|v| v > 0.5),
        single_token: other(SINGLE_TOKEN),
    })
}

fn show_side(side: &Side, out: &mut Out) -> Result<()> {
    out.heading(format!(
        "{} side: beyond {:.3} on one token in 10,000; on this side of zero on {} of tokens",
        side.polarity,
        side.scale,
        percent(side.density)
    ))?;
    for w in &side.descriptions {
        match (&w.text, &w.reason) {
            (Some(text), _) => {
                let number = |n: Option<f64>| n.map_or("–".to_owned(), |n| format!("{n:.2}"));
                let interval = w.interval.map_or(String::new(), |(l, h)| format!(" [{l:.2}, {h:.2}]"));
                out.line(format!(
                    "{}  {DIM}({}; held-out r {}{interval}, another unit's words {}){DIM:#}",
                    tame(text),
                    w.explainer,
                    number(w.score),
                    number(w.null)
                ))?;
            }
            (None, reason) => {
                let reason = reason.as_deref().unwrap_or("no reason given");
                out.line(format!("{DIM}not described: {} ({}){DIM:#}", tame(reason), w.explainer))?;
            }
        }
    }
    for example in &side.examples {
        out.line(format!("{DIM}{:>8.3}{DIM:#} {}", example.value, heat(&example.tokens)))?;
    }
    Ok(())
}

/// How an atlas's scores lie.
#[derive(Serialize)]
struct Stats {
    units: u64,
    chosen: u64,
    missing: u64,
    embeddings: u64,
    bytes: u64,
    /// Deciles of the simulation score on held-out text, from the least to the largest, 11 numbers.
    scores: Vec<f64>,
    /// The same of another unit's words.
    nulls: Vec<f64>,
    /// Share of descriptions whose score is above their null's.
    above_null: f64,
    interesting: u64,
}

fn stats(of: &OfArgs, out: &mut Out) -> Result<()> {
    let loaded = load(&of.model.model, of.model.storage.dtype)?;
    let atlas = open(&loaded, of.atlas.as_deref())?;
    let summary = atlas.summary()?;
    let (mut scores, mut nulls, mut above, mut interesting) = (Vec::new(), Vec::new(), 0usize, 0u64);
    for judged in atlas.judgements(INTERESTING)? {
        scores.push(judged.score);
        nulls.extend(judged.null);
        above += usize::from(judged.null.is_some_and(|null| judged.score > null));
        interesting += u64::from(judged.other.is_some_and(|worth| worth > 0.5));
    }
    let stats = Stats {
        units: summary.units,
        chosen: summary.chosen,
        missing: summary.missing,
        embeddings: summary.embeddings,
        bytes: summary.bytes,
        above_null: above as f64 / nulls.len().max(1) as f64,
        scores: deciles(scores),
        nulls: deciles(nulls),
        interesting,
    };
    if out.json("atlas stats", Some(&loaded), &stats)? {
        return Ok(());
    }
    out.line(format!(
        "{} units; {} sides described, {} not; {} interesting to a person; {} embedded; {}",
        stats.units,
        stats.chosen,
        stats.missing,
        stats.interesting,
        stats.embeddings,
        HumanBytes(stats.bytes)
    ))?;
    if stats.scores.is_empty() {
        return Ok(());
    }
    let mut table =
        Table::new(&["held-out r", ">least", ">10%", ">20%", ">median", ">80%", ">90%", ">largest"]);
    for (name, d) in [("description", &stats.scores), ("another unit's", &stats.nulls)] {
        let at = |i: usize| d.get(i).map_or("–".to_owned(), |v| format!("{v:.2}"));
        table.row(vec![name.to_owned(), at(0), at(1), at(2), at(5), at(8), at(9), at(10)]);
    }
    out.table(table)?;
    out.line(format!("above their null: {}", percent(stats.above_null)))
}

/// From the least to the largest in ten steps; nothing of nothing.
fn deciles(mut values: Vec<f64>) -> Vec<f64> {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    if values.is_empty() { Vec::new() } else { (0..=10).map(|d| values[d * last / 10]).collect() }
}

impl ExportArgs {
    fn run(&self, out: &mut Out) -> Result<()> {
        let loaded = load(&self.of.model.model, self.of.model.storage.dtype)?;
        let atlas = open(&loaded, self.of.atlas.as_deref())?;
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
    fn run(&self, out: &mut Out) -> Result<()> {
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
    fn run(&self, out: &mut Out) -> Result<()> {
        let (loaded, path) = self.of.load()?;
        let sites = if self.sites.is_empty() { all_neurons(&loaded) } else { self.sites.clone() };
        merge(&loaded, &path, &sites, self.of.seed, &self.parts)?;
        if !out.json("atlas merge", Some(&loaded), &serde_json::json!({ "atlas": path }))? {
            out.line(format!("{}; describe it with `pellucid atlas describe`", path.display()))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::deciles;

    #[test]
    fn deciles_run_from_the_least_to_the_largest() {
        assert!(deciles(Vec::new()).is_empty());
        assert_eq!(deciles(vec![3.0]), [3.0; 11]);
        let d = deciles((0..=100).rev().map(f64::from).collect());
        assert_eq!((d[0], d[1], d[5], d[10]), (0.0, 10.0, 50.0, 100.0));
    }
}
