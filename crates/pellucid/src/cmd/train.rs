//! `pellucid train`: a one-layer transformer from text, as a folder that every other command takes as its model.
//!
//! Words are learned from the corpus's train and validation documents, and so is the model; its loss is told on test documents,
//! beside what guessing by frequency alone would lose.

use crate::atlas::build::corpus_of;
use crate::default_corpus;
use crate::models::{Dtype, Loaded};
use crate::show::{DIM, Out, Table, bar};
use anyhow::{Context, Result, ensure};
use clap::Args;
use pellucid::core::{Seed, Split};
use pellucid::store::corpus::{Content, Options, Source};
use pellucid::train::{Adam, Config, Shape, Trainer, Vocabulary, learn, write};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Args)]
pub(crate) struct Arguments {
    /// The folder to write: a GPT-2 of one layer with its vocabulary, card.json, and the state of the training.
    #[arg(long, value_name = "FOLDER")]
    out: PathBuf,
    /// Files or folders of text; by default the corpus of docs/corpus.md, fetched once.
    #[arg(long, value_name = "PATH")]
    corpus: Vec<String>,
    #[command(flatten)]
    plan: Plan,
    /// Seed of the weights and of the order of texts.
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// What is trained, on how much.
#[derive(Args, Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    /// Tokens to learn from, with repetitions.
    #[arg(long, default_value_t = 20_000_000, value_name = "N")]
    pub(crate) tokens: u64,
    /// Pieces of the vocabulary.
    #[arg(long, default_value_t = 4096, value_name = "N")]
    pub(crate) vocabulary: usize,
    /// Longest text in tokens, and what the corpus is cut into.
    #[arg(long, default_value_t = 256, value_name = "N")]
    pub(crate) context: usize,
    /// Width of the stream.
    #[arg(long, default_value_t = 128, value_name = "N")]
    pub(crate) width: usize,
    /// Attention heads.
    #[arg(long, default_value_t = 4, value_name = "N")]
    pub(crate) heads: usize,
    /// ReLU neurons.
    #[arg(long, default_value_t = 512, value_name = "N")]
    pub(crate) neurons: usize,
    /// Tokens of a step, about.
    #[arg(long, default_value_t = 8192, value_name = "N")]
    pub(crate) batch: usize,
    /// The highest learning rate.
    #[arg(long, default_value_t = 3e-3, value_name = "RATE")]
    pub(crate) learning_rate: f32,
    /// Seconds between two savings of the training's state.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    #[serde(skip)]
    pub(crate) checkpoint: u64,
}

/// What decides a run: a folder goes on with the same one only.
#[derive(Clone, Serialize, Deserialize, PartialEq)]
struct Run {
    corpus: String,
    plan: Plan,
    batches_of_windows: usize,
    config: Config,
    code: String,
}

/// A training run's card: what it was, how long it took here, and how good the result is.
#[derive(Clone, Serialize, Deserialize)]
pub(crate) struct Card {
    run: Run,
    pub(crate) parameters: usize,
    pub(crate) trained_tokens: u64,
    /// Of the last call; less than the whole run where that was interrupted.
    pub(crate) seconds: f64,
    pub(crate) tokens_per_second: f64,
    pub(crate) judged: Judged,
}

/// Losses on test documents, in nats a token.
#[derive(Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Judged {
    pub(crate) tokens: usize,
    pub(crate) loss: f64,
    /// What each token's frequency in the training text alone would lose.
    pub(crate) unigram_loss: f64,
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        let sources = default_corpus::or_these(&self.corpus)?;
        let card = self.plan.train(&sources, self.seed, &self.out)?;
        if out.json("train", None, &card)? {
            return Ok(());
        }
        let mut table = Table::new(&["", ""]);
        let Judged { tokens, loss, unigram_loss } = card.judged;
        let mut line = |what: &str, value: String| table.row(vec![what.to_owned(), value]);
        line("parameters", card.parameters.to_string());
        line("test loss", format!("{loss:.3} nats a token ({tokens} tokens)"));
        line("by frequency alone", format!("{unigram_loss:.3}"));
        out.table(table)?;
        out.line(format!(
            "{DIM}{} tokens, {:.0} s here ({:.0} tokens/s); look at it with `pellucid serve --model {}`{DIM:#}",
            card.trained_tokens,
            card.seconds,
            card.tokens_per_second,
            self.out.display()
        ))
    }
}

/// A corpus for a model that does not exist yet.
struct Texts {
    corpus: String,
    learned_from: Vec<Vec<u32>>,
    test: Vec<Vec<u32>>,
}

impl Plan {
    /// Trains a model to the end, or on to it, and leaves it in a folder.
    pub(crate) fn train(&self, sources: &[String], seed: u64, folder: &Path) -> Result<Card> {
        ensure!(self.batch > 0, "--batch needs at least 1");
        std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        let vocabulary = self.vocabulary(sources, folder)?;
        let texts = self.texts(sources, &vocabulary, folder)?;
        let windows = (self.batch / self.context).max(1);
        let run = Run {
            corpus: texts.corpus.clone(),
            // how often a state is saved decides nothing
            plan: Plan { checkpoint: 0, ..self.clone() },
            batches_of_windows: windows,
            config: self.config(&vocabulary, &texts, windows, seed),
            code: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let mut trainer = begin(&run, folder)?;
        let begun = Instant::now();
        let before = trainer.steps();
        let order = Order { texts: &texts.learned_from, windows, seed };
        let tokens = order.tokens(before..run.config.steps);
        self.learn(&order, &mut trainer, folder)?;
        let seconds = begun.elapsed().as_secs_f64();
        write(&trainer, &vocabulary, folder)?;
        let card = Card {
            parameters: trainer.parameters(),
            trained_tokens: order.tokens(0..run.config.steps),
            seconds,
            tokens_per_second: tokens as f64 / seconds.max(1e-9),
            judged: judge(&trainer, &texts)?,
            run,
        };
        save(&folder.join("card.json"), &card)?;
        Ok(card)
    }

    fn config(&self, vocabulary: &Vocabulary, texts: &Texts, windows: usize, seed: u64) -> Config {
        let per_step = texts.learned_from.iter().map(Vec::len).sum::<usize>() as f64
            / texts.learned_from.len().max(1) as f64
            * windows as f64;
        let steps = ((self.tokens as f64 / per_step.max(1.0)) as u64).max(1);
        Config {
            shape: self.shape(vocabulary),
            learning_rate: self.learning_rate,
            warm_up: (steps / 20).min(200),
            steps,
            adam: Adam { beta1: 0.9, beta2: 0.98, epsilon: 1e-8 },
            clip: 1.0,
            seed,
        }
    }

    fn shape(&self, vocabulary: &Vocabulary) -> Shape {
        Shape {
            vocabulary: vocabulary.size(),
            context: self.context,
            d_model: self.width,
            heads: self.heads,
            d_mlp: self.neurons,
        }
    }

    /// What the folder holds already, or what the corpus teaches.
    fn vocabulary(&self, sources: &[String], folder: &Path) -> Result<Vocabulary> {
        if folder.join("tokenizer.json").exists() {
            return Ok(Vocabulary::read(folder)?);
        }
        let shown = bar("vocabulary: documents", 0);
        let mut kept = Vec::new();
        for source in sources {
            for text in Source::open(source, &Options::default())?.texts() {
                let text = text?;
                let split = Split::of(&text.content.document().0);
                if let (Split::Train | Split::Validation, Content::Plain(said)) = (split, text.content) {
                    kept.push(said);
                }
                shown.inc(1);
            }
        }
        shown.finish_and_clear();
        ensure!(!kept.is_empty(), "the corpus has no plain text of which a vocabulary can be learned");
        Ok(learn(kept.iter().map(String::as_str), self.vocabulary)?)
    }

    /// Reads the corpus as a model with this vocabulary sees it: a model that has learned nothing stands in for it.
    fn texts(&self, sources: &[String], vocabulary: &Vocabulary, folder: &Path) -> Result<Texts> {
        ensure!(self.context >= 3, "--context {}: a text needs at least 3 tokens", self.context);
        let shape = self.shape(vocabulary);
        if !folder.join("config.json").exists() {
            let nothing = Config {
                shape,
                learning_rate: self.learning_rate,
                warm_up: 0,
                steps: 1,
                adam: Adam { beta1: 0.9, beta2: 0.98, epsilon: 1e-8 },
                clip: 1.0,
                seed: 0,
            };
            write(&Trainer::new(nothing)?, vocabulary, folder)?;
        }
        let loaded: Loaded = crate::models::load(&folder.display().to_string(), Dtype::F32)?;
        let corpus = corpus_of(&loaded, sources, self.context, u64::MAX, 0)?;
        let mut texts = Texts { corpus: corpus.id().to_string(), learned_from: Vec::new(), test: Vec::new() };
        for window in corpus.windows().filter(|window| window.tokens.len() >= 2) {
            match window.split {
                Split::Train | Split::Validation => texts.learned_from.push(window.tokens),
                Split::Test => texts.test.push(window.tokens),
            }
        }
        ensure!(
            !texts.learned_from.is_empty() && !texts.test.is_empty(),
            "the corpus has {} windows to learn from and {} to test on; take more text",
            texts.learned_from.len(),
            texts.test.len()
        );
        Ok(texts)
    }

    fn learn(&self, order: &Order<'_>, trainer: &mut Trainer, folder: &Path) -> Result<()> {
        let state = folder.join(STATE);
        let steps = trainer.config().steps;
        let shown = bar("training: steps", steps as usize);
        let (mut saved, mut smooth) = (Instant::now(), None::<f64>);
        while trainer.steps() < steps {
            let step = trainer.step(&order.batch(trainer.steps()))?;
            let mean = smooth.map_or(step.loss, |mean| 0.98 * mean + 0.02 * step.loss);
            smooth = Some(mean);
            shown.set_position(step.step + 1);
            shown.set_message(format!("loss {mean:.3}; steps"));
            if saved.elapsed() >= Duration::from_secs(self.checkpoint) || trainer.steps() == steps {
                trainer.save(&state)?;
                saved = Instant::now();
            }
        }
        shown.finish_and_clear();
        Ok(())
    }
}

/// Where a training's state lies in its folder.
const STATE: &str = "training.state.safetensors";

/// A new run, or the one that the folder holds.
fn begin(run: &Run, folder: &Path) -> Result<Trainer> {
    let (state, settings) = (folder.join(STATE), folder.join("run.json"));
    if state.exists() {
        let found: Run = serde_json::from_str(&crate::models::read(&settings)?)
            .with_context(|| format!("in {}", settings.display()))?;
        ensure!(
            found == *run,
            "{} holds another training; finish that one with its own settings, or write to another folder",
            folder.display()
        );
        return Ok(Trainer::load(&state)?);
    }
    save(&settings, run)?;
    Ok(Trainer::new(run.config.clone())?)
}

/// Which texts each step learns from: all of them in a new order, again and again.
struct Order<'a> {
    texts: &'a [Vec<u32>],
    windows: usize,
    seed: u64,
}

impl Order<'_> {
    fn batch(&self, step: u64) -> Vec<&[u32]> {
        let (all, windows) = (self.texts.len(), self.windows);
        let first = step as usize * windows;
        let mut round = usize::MAX;
        let mut order = Vec::new();
        (first..first + windows)
            .map(|at| {
                if at / all != round {
                    round = at / all;
                    let purpose = format!("order of texts, round {round}");
                    order = Seed(self.seed).for_purpose(&purpose).choose(all, all);
                }
                self.texts[order[at % all]].as_slice()
            })
            .collect()
    }

    fn tokens(&self, steps: std::ops::Range<u64>) -> u64 {
        let mean = self.texts.iter().map(Vec::len).sum::<usize>() as f64 / self.texts.len().max(1) as f64;
        ((steps.end.saturating_sub(steps.start)) as f64 * self.windows as f64 * mean) as u64
    }
}

/// Test windows that losses are told on.
const JUDGED: usize = 512;

fn judge(trainer: &Trainer, texts: &Texts) -> Result<Judged> {
    let chosen = Seed(0).for_purpose("test windows of a training").choose(texts.test.len(), JUDGED);
    let test: Vec<&[u32]> = chosen.into_iter().map(|i| texts.test[i].as_slice()).collect();
    let (loss, tokens) = trainer.loss(&test)?;
    let vocabulary = trainer.config().shape.vocabulary;
    // one more of each, so that what was never seen costs something finite
    let mut counts = vec![1u64; vocabulary];
    texts.learned_from.iter().flat_map(|text| &text[1..]).for_each(|token| counts[*token as usize] += 1);
    let total = counts.iter().sum::<u64>() as f64;
    let lost = test.iter().flat_map(|text| &text[1..]).map(|t| -(counts[*t as usize] as f64 / total).ln());
    Ok(Judged { tokens, loss, unigram_loss: lost.sum::<f64>() / tokens.max(1) as f64 })
}

fn save(path: &Path, what: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(what)?;
    std::fs::write(path, format!("{text}\n")).with_context(|| format!("cannot write {}", path.display()))
}
