//! `pellucid reproduce`: a published study done again, from the text on, with this run's numbers beside the paper's.
//!
//! Each stage leaves its result in the folder or the cache, and the same command goes on where it was stopped.

mod automata;
mod measure;
mod page;
mod report;
mod shuffled;

use super::dict::kinds::Kinds;
use super::dict::recipe::Recipe;
use super::dict::text::Text;
use super::dict::train::{Card as DictionaryCard, Settings, train as train_dictionary};
use super::train::{Card as ModelCard, Plan as ModelPlan};
use crate::atlas::build::{Plan as AtlasPlan, all_neurons, build, corpus_of};
use crate::atlas::describe::{SINGLE_TOKEN, describe};
use crate::atlas::{open, path_of};
use crate::default_corpus;
use crate::models::{Dtype, Loaded, StorageArgs};
use crate::show::{DIM, Out};
use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use measure::{Measured, Subject, measure};
use pellucid::core::{Point, Seed, Site, Split};
use pellucid::model::Precision;
use pellucid::store::Window;
use pellucid::store::atlas::Judgement;
use pellucid::store::corpus::{Options, Slice};
use report::{Facts, Report};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    study: Study,
}

#[derive(Subcommand)]
enum Study {
    /// Towards Monosemanticity (Bricken et al. 2023): a one-layer transformer trained twice, dictionaries of its neurons, and what
    /// their latents are worth beside neurons.
    Monosemanticity(Box<Monosemanticity>),
}

#[derive(Args)]
struct Monosemanticity {
    /// The folder to write: models, dictionaries, report.json, report.md and index.html.
    #[arg(long, value_name = "FOLDER", default_value = "monosemanticity")]
    out: PathBuf,
    /// Files or folders of text; by default the corpus of docs/corpus.md, fetched once.
    #[arg(long, value_name = "PATH")]
    corpus: Vec<String>,
    #[command(flatten)]
    model: ModelPlan,
    /// Latents for each neuron, a dictionary each; the last one is looked at closely.
    #[arg(long, value_name = "N", value_delimiter = ',', default_value = "1,8")]
    expansion: Vec<usize>,
    /// Active latents of a token.
    #[arg(long, default_value_t = 16)]
    k: usize,
    /// How often a dictionary's training goes through the text, in another order each time.
    #[arg(long, default_value_t = 4, value_name = "N")]
    passes: usize,
    /// Rows of a step of a dictionary's training.
    #[arg(long, default_value_t = 2048, value_name = "N")]
    rows: usize,
    /// Tokens that atlases are built on, for words and their scores.
    #[arg(long, default_value_t = 500_000, value_name = "N")]
    atlas_tokens: u64,
    /// Held-out tokens on which correlations are taken.
    #[arg(long, default_value_t = 500_000, value_name = "N")]
    test_tokens: usize,
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        match &self.study {
            Study::Monosemanticity(study) => study.run(out),
        }
    }
}

/// The paper's site: neurons of the only layer.
const SITE: Site = Site { point: Point::MlpAct, layer: 0 };

/// A model's name in the folder, and its seed.
const MODELS: [(&str, u64); 2] = [("a", 0), ("b", 1)];
/// The model whose weights are those of `a` in another order.
const SHUFFLED: &str = "shuffled";

impl Monosemanticity {
    fn run(&self, out: &mut Out) -> Result<()> {
        ensure!(
            self.expansion.last().is_some_and(|last| *last > 0) && !self.expansion.contains(&0),
            "--expansion needs numbers above 0"
        );
        ensure!(self.passes > 0, "--passes needs at least 1");
        let begun = Instant::now();
        let sources = default_corpus::or_these(&self.corpus)?;
        let mut models = Vec::new();
        for (name, seed) in MODELS {
            say(&format!("model {name}"));
            models.push(self.model.train(&sources, seed, &self.out.join(name))?);
        }
        say("model a with its weights shuffled");
        shuffled::write(&self.out.join(MODELS[0].0), &self.out.join(SHUFFLED))?;
        let texts = self.texts(&sources)?;
        let dictionaries = self.dictionaries(&texts)?;
        let facts = self.facts(&sources, &texts, &models, dictionaries)?;
        let report = Report::new(facts, begun.elapsed());
        report.write(&self.out)?;
        if !out.json("reproduce", None, &report)? {
            report.show(out)?;
            out.line(format!("{DIM}{}{DIM:#}", self.out.join("index.html").display()))?;
        }
        Ok(())
    }

    fn load(&self, name: &str) -> Result<Loaded> {
        let storage = StorageArgs::from(Dtype::F32).for_sweep();
        crate::models::load(&self.out.join(name).display().to_string(), storage)
    }

    /// All models read a text alike: their vocabulary is the same.
    fn texts(&self, sources: &[String]) -> Result<Texts> {
        let loaded = self.load(MODELS[0].0)?;
        let corpus = corpus_of(&loaded, sources, self.model.context, u64::MAX, 0)?;
        let all: Vec<Window> = corpus.windows().filter(|w| w.tokens.len() >= 2).collect();
        let [train, validation, test] = Split::ALL.map(|split| {
            let here: Vec<&Window> = all.iter().filter(|window| window.split == split).collect();
            let mut seed = Seed(0).for_purpose(&format!("{split} windows of a study"));
            let order = seed.choose(here.len(), here.len());
            order.into_iter().map(|i| here[i].clone()).collect::<Vec<_>>()
        });
        ensure!(
            ![&train, &validation, &test].iter().any(|split| split.is_empty()),
            "the corpus has no windows in one of its splits; take more text"
        );
        let kinds = Kinds::read(sources)?;
        Ok(Texts { corpus: corpus.id().to_string(), train, validation, test, kinds })
    }

    /// Trains every dictionary: all expansions of both seeds, the last one of the shuffled model.
    fn dictionaries(&self, texts: &Texts) -> Result<Vec<(String, DictionaryCard)>> {
        let last = self.last();
        let mut cards = Vec::new();
        let all = self.expansion.as_slice();
        for (model, expansions) in [(MODELS[0].0, all), (MODELS[1].0, all), (SHUFFLED, &[last])] {
            let mut loaded = self.load(model)?;
            for expansion in expansions {
                let name = format!("{model}-x{expansion}");
                say(&format!("dictionary {name}"));
                let settings = Settings {
                    site: SITE,
                    to: None,
                    skip: false,
                    window: self.model.context,
                    batch: self.rows,
                    latents: expansion * self.model.neurons,
                    recipe: Recipe::TopK { k: self.k },
                    rate: None,
                    activations: None,
                    seed: 0,
                    checkpoint: Duration::from_secs(60),
                };
                let text = Text {
                    width: self.model.neurons,
                    corpus: texts.corpus.clone(),
                    train: self.passed(&texts.train),
                    test: texts.test.iter().take(JUDGED).cloned().collect(),
                };
                cards.push((
                    name.clone(),
                    train_dictionary(&mut loaded, &text, &settings, &self.out.join(name))?,
                ));
            }
        }
        Ok(cards)
    }

    /// The windows of every pass, one after the other.
    fn passed(&self, windows: &[Window]) -> Vec<Window> {
        let pass = |pass: usize| {
            let order = Seed(0).for_purpose(&format!("pass {pass}")).choose(windows.len(), windows.len());
            order.into_iter().map(|i| windows[i].clone())
        };
        (0..self.passes).flat_map(pass).collect()
    }

    /// The widest dictionary's latents for each neuron.
    fn last(&self) -> usize {
        self.expansion.last().copied().unwrap_or(1)
    }

    fn facts(
        &self,
        sources: &[String],
        texts: &Texts,
        models: &[ModelCard],
        dictionaries: Vec<(String, DictionaryCard)>,
    ) -> Result<Facts> {
        say("atlas of the neurons of a");
        let neurons = self.judgements(MODELS[0].0, false, sources)?;
        say("atlas of the latents of a");
        let latents = self.judgements(MODELS[0].0, true, sources)?;
        say("atlas of the latents of the shuffled model");
        let shuffled = self.judgements(SHUFFLED, true, sources)?;
        say("correlations");
        let measured = self.measured(texts)?;
        Ok(Facts { models: models.to_vec(), dictionaries, neurons, latents, shuffled, measured })
    }

    fn folder_of(&self, model: &str) -> PathBuf {
        self.out.join(format!("{model}-x{}", self.last()))
    }

    /// Builds, describes and reads an atlas: of neurons, or of the widest dictionary's latents.
    fn judgements(&self, model: &str, of_latents: bool, sources: &[String]) -> Result<Vec<Judgement>> {
        let mut loaded = self.load(model)?;
        if of_latents {
            let argument = format!("{DICTIONARY}={}@{SITE}", self.folder_of(model).display());
            crate::dictionaries::attach(&mut loaded, &argument)?;
        }
        let path = path_of(&loaded, None)?;
        let plan = AtlasPlan {
            sources: sources.to_vec(),
            reading: Options::default(),
            tokens: Some(self.atlas_tokens),
            window: self.model.context.min(128),
            overlap: self.model.context.min(128) / 8,
            sites: all_neurons(&loaded),
            latents: of_latents.then(|| DICTIONARY.to_owned()),
            slice: Slice::ALL,
            seed: 0,
            atlas: path.clone(),
            checkpoint: Duration::from_secs(300),
        };
        build(&loaded, &plan)?;
        describe(&loaded, &path, 0, None, None)?;
        Ok(open(&loaded, Some(&path))?.judgements(SINGLE_TOKEN)?)
    }

    fn measured(&self, texts: &Texts) -> Result<Measured> {
        let subject = |name: &str| -> Result<Subject> {
            let mut loaded = self.load(name)?;
            loaded.model.set_precision(Precision::Exact);
            let open = |expansion: &usize| {
                let folder = self.out.join(format!("{name}-x{expansion}"));
                let opened =
                    pellucid::dict::open(&folder).with_context(|| format!("in {}", folder.display()));
                Ok(opened?.dictionary)
            };
            let dictionaries = self.expansion.iter().map(open).collect::<Result<Vec<_>>>()?;
            Ok(Subject { loaded, neurons: self.model.neurons, dictionaries, site: SITE })
        };
        let windows = |all: &[Window]| -> Vec<Window> {
            let mut tokens = 0;
            let wanted = |window: &&Window| {
                tokens += window.tokens.len();
                tokens <= self.test_tokens.max(window.tokens.len())
            };
            all.iter().take_while(wanted).cloned().collect()
        };
        let subjects = [subject(MODELS[0].0)?, subject(MODELS[1].0)?];
        measure(&subjects, &texts.kinds, [&windows(&texts.validation), &windows(&texts.test)])
    }
}

/// The name that a model's widest dictionary gets.
const DICTIONARY: &str = "latents";
/// Test windows on which a dictionary's losses are told.
const JUDGED: usize = 64;

/// The corpus as every model reads it.
struct Texts {
    corpus: String,
    train: Vec<Window>,
    validation: Vec<Window>,
    test: Vec<Window>,
    kinds: Kinds,
}

fn say(stage: &str) {
    eprintln!("reproduce: {stage}");
}

/// Writes one of the report's files.
fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}
