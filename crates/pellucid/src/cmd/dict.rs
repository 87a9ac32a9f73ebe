//! `pellucid dict`: sparse autoencoders of a site, from text to a folder that SAELens reads, and how good one is.

use super::dict_steer::SteerArgs;
use crate::atlas::build::corpus_of;
use crate::default_corpus;
use crate::dictionaries::{named_site, refuse_transcoder};
use crate::models::{Loaded, ModelArgs};
use crate::show::{DIM, Out, Table, bar};
use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use pellucid::core::{Seed, Site, Split, transformer_lens_name};
use pellucid::dict::{
    Adam, Auxiliary, Config, Density, Dictionary, ErrorScale, Fidelity, Normalisation, Opened, Recipe, Shape,
    Step, Trainer, automatic_rate, open, write_saelens,
};
use pellucid::interp::dictionary::{losses, row_count, rows};
use pellucid::interp::sweep_sites;
use pellucid::model::Precision;
use pellucid::store::Window;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    /// Train a TopK dictionary of a site on a corpus; the same command goes on where it was stopped.
    Train(Box<TrainArgs>),
    /// Judge a dictionary of any published format on text that it was not trained on.
    Eval(Box<EvalArgs>),
    /// Switch latents on, and see whether the model then writes what they stand for; beside no edit and other latents.
    Steer(Box<SteerArgs>),
}

/// A site of a model, and text.
#[derive(Args)]
struct OfArgs {
    #[command(flatten)]
    model: ModelArgs,
    /// Where: resid_post.15, mlp_out.7, mlp_act.3, …
    #[arg(long, value_name = "SITE")]
    site: Site,
    /// Files or folders of text; by default the corpus of docs/corpus.md, fetched once.
    #[arg(long, value_name = "PATH")]
    corpus: Vec<String>,
    /// Tokens of the corpus, drawn over all of it.
    #[arg(long, default_value_t = 1_000_000, value_name = "N")]
    tokens: u64,
    /// Tokens of a window.
    #[arg(long, default_value_t = 128, value_name = "N")]
    window: usize,
    /// Seed of everything random.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Windows of the test split on which losses are measured.
    #[arg(long, default_value_t = 32, value_name = "N")]
    test_windows: usize,
}

#[derive(Args)]
struct TrainArgs {
    #[command(flatten)]
    of: OfArgs,
    /// Latents.
    #[arg(long, default_value_t = 4096, value_name = "N")]
    latents: usize,
    /// Active latents of a token.
    #[arg(long, default_value_t = 32)]
    k: usize,
    /// Rows of a step.
    #[arg(long, default_value_t = 2048, value_name = "N")]
    batch: usize,
    /// The folder to write: cfg.json, sae_weights.safetensors, card.json, and the state of the training.
    #[arg(long, value_name = "FOLDER", required_unless_present = "rows")]
    out: Option<PathBuf>,
    /// Do not train: write the rows that a training would learn from, in its order, to this file (f32, little endian), with a
    /// .json beside it.
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    rows: Option<PathBuf>,
    /// Seconds between two savings of the training's state.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    checkpoint: u64,
}

#[derive(Args)]
struct EvalArgs {
    #[command(flatten)]
    of: OfArgs,
    /// A folder or file as SAELens, sparsify, Gemma Scope, Llama Scope, dictionary_learning, OpenAI or circuit-tracer write it.
    #[arg(value_name = "FOLDER")]
    path: PathBuf,
    /// Judge it at --site even where its files name another.
    #[arg(long)]
    elsewhere: bool,
}

/// What decides a training run: a folder goes on with the same one only.
#[derive(Serialize, Deserialize, PartialEq)]
struct Run {
    model_hash: String,
    site: String,
    corpus: String,
    window: usize,
    batch: usize,
    /// What rows are multiplied by, so that their mean norm is √d; worked into the weights at the end.
    scale: f32,
    arithmetic: String,
    config: Config,
    code: String,
}

/// How good a dictionary is, on the wire.
#[derive(Serialize)]
struct Judged {
    site: String,
    latents: usize,
    rows: usize,
    explained_variance: Option<f64>,
    l0: f64,
    /// Share of latents that were never active in these rows.
    silent: f64,
    /// (log10 of the share of rows, lower edge; latents).
    density: Vec<(f64, usize)>,
    loss: f64,
    loss_spliced: f64,
    loss_zero: f64,
    loss_mean: f64,
    recovered_from_zero: Option<f64>,
    recovered_from_mean: Option<f64>,
    test_windows: usize,
}

/// A training run's card: what it was, how long it took here, and how good the result is.
#[derive(Serialize)]
struct Card {
    model: String,
    run: Run,
    trained_rows: u64,
    /// Of the last call; less than the whole run where that was interrupted.
    seconds: f64,
    vectors_per_second: f64,
    dead: usize,
    judged: Judged,
}

/// A site with its windows.
struct Text {
    width: usize,
    corpus: String,
    train: Vec<Window>,
    test: Vec<Window>,
}

impl OfArgs {
    fn text(&self, loaded: &Loaded) -> Result<Text> {
        ensure!(
            self.window >= 2,
            "--window {}: a window has at least 2 tokens, as its first is left out",
            self.window
        );
        let (_, width) = sweep_sites(&loaded.model, &[self.site])?[0];
        let sources = default_corpus::or_these(&self.corpus)?;
        let corpus = corpus_of(loaded, &sources, self.window, self.tokens, self.seed)?;
        let (mut train, mut test): (Vec<Window>, Vec<Window>) = (Vec::new(), Vec::new());
        for window in corpus.windows().filter(|w| w.tokens.len() >= 2) {
            match window.split {
                Split::Train => train.push(window),
                Split::Test => test.push(window),
                Split::Validation => {}
            }
        }
        ensure!(
            !test.is_empty(),
            "none of the corpus's documents belongs to the test split; take more text, or more tokens"
        );
        let seed = Seed(self.seed);
        let drawn = |all: &[Window], n: usize, purpose: &str| -> Vec<Window> {
            seed.for_purpose(purpose)
                .choose(all.len(), n.min(all.len()))
                .into_iter()
                .map(|i| all[i].clone())
                .collect()
        };
        let test = drawn(&test, self.test_windows.max(1), "dictionary test windows");
        let train = drawn(&train, train.len(), "dictionary windows");
        Ok(Text { width, corpus: corpus.id().to_string(), train, test })
    }

    fn judge(&self, loaded: &Loaded, text: &Text, dictionary: &Dictionary) -> Result<Judged> {
        let model = &loaded.model;
        let x = rows(model, self.site, &text.test)?;
        let sparse = dictionary.encode(&x)?;
        let mut density = Density::new(dictionary.shape.latents);
        density.add(&sparse);
        let mut fidelity = Fidelity::default();
        fidelity.add(&x, &dictionary.decode(&sparse, Some(&x))?, text.width)?;
        let count = (x.len() / text.width).max(1);
        let mut mean = vec![0f64; text.width];
        for row in x.chunks_exact(text.width) {
            mean.iter_mut().zip(row).for_each(|(m, v)| *m += f64::from(*v) / count as f64);
        }
        let mean: Vec<f32> = mean.into_iter().map(|m| m as f32).collect();
        let l = losses(model, self.site, &text.test, dictionary, &mean)?;
        Ok(Judged {
            site: self.site.to_string(),
            latents: dictionary.shape.latents,
            rows: count,
            explained_variance: fidelity.explained(),
            l0: density.l0(),
            silent: density.dead(),
            density: density.histogram(0.5),
            loss: l.plain,
            loss_spliced: l.spliced,
            loss_zero: l.zero,
            loss_mean: l.mean,
            recovered_from_zero: l.recovered_from_zero(),
            recovered_from_mean: l.recovered_from_mean(),
            test_windows: text.test.len(),
        })
    }
}

impl Arguments {
    pub(crate) fn run(&self, out: &mut Out) -> Result<()> {
        match &self.action {
            Action::Train(a) => a.run(out),
            Action::Eval(a) => a.run(out),
            Action::Steer(a) => a.run(out),
        }
    }
}

impl EvalArgs {
    fn run(&self, out: &mut Out) -> Result<()> {
        let opened = open(&self.path)?;
        self.expect_site(&opened)?;
        let dictionary = opened.dictionary;
        let loaded = self.of.model.load()?;
        let text = self.of.text(&loaded)?;
        let Shape { d_in, d_out, .. } = dictionary.shape;
        ensure!(
            (d_in, d_out) == (text.width, text.width),
            "the dictionary reads {d_in} and writes {d_out} numbers, and {} has {}: it belongs to another site or model",
            self.of.site,
            text.width
        );
        let judged = self.of.judge(&loaded, &text, &dictionary)?;
        if !out.json("dict", Some(&loaded), &judged)? {
            show(&judged, out)?;
        }
        Ok(())
    }
}

impl EvalArgs {
    /// Refuses a dictionary whose files say that it belongs elsewhere, or that it is a transcoder.
    fn expect_site(&self, opened: &Opened) -> Result<()> {
        refuse_transcoder(opened, "only what writes where it reads can be judged")?;
        let (named, format) = (named_site(opened), opened.format);
        ensure!(
            self.elsewhere || named.is_none_or(|site| site == self.of.site),
            "this {format} dictionary says that it reads {}, and --site is {}; give that site, or --elsewhere to judge it \
             here all the same",
            named.map_or_else(String::new, |site| site.to_string()),
            self.of.site
        );
        Ok(())
    }
}

/// Windows whose rows are mixed with each other.
const CHUNK: usize = 512;

impl TrainArgs {
    fn run(&self, out: &mut Out) -> Result<()> {
        if let Some(file) = &self.rows {
            return self.write_rows(file, out);
        }
        ensure!(self.batch > 0, "--batch needs at least 1");
        let mut loaded = {
            let of = &self.of.model;
            crate::models::load(&of.model, of.storage.for_sweep())?
        };
        let text = self.of.text(&loaded)?;
        std::fs::create_dir_all(self.folder())
            .with_context(|| format!("cannot make {}", self.folder().display()))?;
        let begun = Instant::now();
        let (run, mut trainer, first) = self.begin(&loaded, &text)?;
        let before = trainer.steps();
        let last = self.train(&loaded, &text, (run.scale, first), &mut trainer)?;
        let seconds = begun.elapsed().as_secs_f64();
        // rows may have been made fast; what is said of the result is exact
        loaded.model.set_precision(Precision::Exact);
        let mut dictionary = trainer.dictionary();
        dictionary.normalisation = Normalisation::Scale { input: run.scale, output: run.scale };
        let dictionary = dictionary.folded();
        let site = self.of.site;
        let hook = transformer_lens_name(site).unwrap_or_else(|| site.to_string());
        write_saelens(&dictionary, Some(&hook), self.folder())?;
        let trained = trainer.steps() - before;
        let card = Card {
            model: loaded.name.clone(),
            run,
            trained_rows: trainer.steps() * self.batch as u64,
            seconds,
            vectors_per_second: (trained * self.batch as u64) as f64 / seconds.max(1e-9),
            dead: last.map_or_else(|| trainer.dead().len(), |s| s.dead),
            judged: self.of.judge(&loaded, &text, &dictionary)?,
        };
        write(&self.folder().join("card.json"), &serde_json::to_string_pretty(&card)?)?;
        if !out.json("dict", Some(&loaded), &card)? {
            show(&card.judged, out)?;
            let Card { trained_rows, seconds, dead, .. } = &card;
            out.line(format!(
                "{DIM}{trained_rows} vectors, {seconds:.0} s here with the model's share, {dead} latents dead; {}{DIM:#}",
                self.folder().display()
            ))?;
        }
        Ok(())
    }

    /// Where the result goes; there is one unless rows alone are asked for.
    fn folder(&self) -> &Path {
        self.out.as_deref().unwrap_or(Path::new("."))
    }

    fn steps(&self, windows: &[Window]) -> u64 {
        windows.chunks(CHUNK).map(|c| (row_count(c) / self.batch) as u64).sum()
    }

    fn config(&self, width: usize, steps: u64, precision: Precision) -> Config {
        Config {
            shape: Shape { d_in: width, latents: self.latents, d_out: width },
            recipe: Recipe::TopK { k: self.k },
            error: ErrorScale::Variance,
            auxiliary: Some(Auxiliary { k: (width / 2).max(1), coefficient: 1.0 / 32.0 }),
            // Gao et al. say 10 million; a short run must notice sooner
            dead_after: (steps * self.batch as u64 / 10).clamp(1, 10_000_000),
            subtract_bias: true,
            unit_norm: true,
            learning_rate: automatic_rate(self.latents),
            warm_up: (steps / 20).min(1000),
            decay_from: steps - steps / 5,
            steps,
            adam: Adam { beta1: 0.9, beta2: 0.999, epsilon: 1e-8 },
            clip: None,
            seed: self.of.seed,
            precision,
        }
    }

    /// A new run, or the one that the folder holds; and the first chunk's rows, which the scale was taken from.
    fn begin(&self, loaded: &Loaded, text: &Text) -> Result<(Run, Trainer, Vec<f32>)> {
        let steps = self.steps(&text.train);
        ensure!(
            steps > 0,
            "the corpus's train split gives no whole batch of {} rows; take more --tokens or a smaller --batch",
            self.batch
        );
        let first = rows(&loaded.model, self.of.site, &text.train[..CHUNK.min(text.train.len())])?;
        let scale = scale(&first, text.width)?;
        let run = Run {
            model_hash: loaded.model.sha256().to_owned(),
            site: self.of.site.to_string(),
            corpus: text.corpus.clone(),
            window: self.of.window,
            batch: self.batch,
            scale,
            arithmetic: loaded.model.precision().name().to_owned(),
            config: self.config(text.width, steps, loaded.model.precision()),
            code: env!("CARGO_PKG_VERSION").to_owned(),
        };
        let (state, settings) = (self.folder().join("training.safetensors"), self.folder().join("run.json"));
        if state.exists() {
            let found: Run = serde_json::from_str(&crate::models::read(&settings)?)
                .with_context(|| format!("in {}", settings.display()))?;
            ensure!(
                found == run,
                "{} holds another training ({} latents of {}); finish that one with its own settings, or write to another folder",
                self.folder().display(),
                found.config.shape.latents,
                found.site
            );
            return Ok((run, Trainer::load(&state)?, first));
        }
        let sample: Vec<f32> = first.iter().take(4096 * text.width).map(|v| v * scale).collect();
        let trainer = Trainer::new(run.config.clone(), &sample)?;
        write(&settings, &serde_json::to_string_pretty(&run)?)?;
        Ok((run, trainer, first))
    }

    /// Goes through the chunks that are still to do.
    fn train(
        &self,
        loaded: &Loaded,
        text: &Text,
        (scale, first): (f32, Vec<f32>),
        trainer: &mut Trainer,
    ) -> Result<Option<Step>> {
        let shown = bar("training: steps", trainer.config().steps as usize);
        let (mut done, mut last, mut saved) = (0, None, Instant::now());
        let state = self.folder().join("training.safetensors");
        let (width, mut first) = (text.width, Some(first));
        for (i, chunk) in text.train.chunks(CHUNK).enumerate() {
            let steps = (row_count(chunk) / self.batch) as u64;
            done += steps;
            // a state is saved between chunks, so a chunk is done whole or not at all
            if done <= trainer.steps() || steps == 0 {
                continue;
            }
            let x = self.chunk(loaded, i, chunk, &mut first)?;
            for batch in self.batches(i, &x, width, scale) {
                let step = trainer.step(&batch, None)?;
                shown.set_position(step.step + 1);
                shown.set_message(format!("FVU {:.3}, {} dead; steps", step.unexplained, step.dead));
                last = Some(step);
            }
            if saved.elapsed() >= Duration::from_secs(self.checkpoint) || done == trainer.config().steps {
                trainer.save(&state)?;
                saved = Instant::now();
            }
        }
        shown.finish_and_clear();
        Ok(last)
    }

    /// A chunk's rows; those of the first one are there already.
    fn chunk(
        &self,
        loaded: &Loaded,
        i: usize,
        windows: &[Window],
        first: &mut Option<Vec<f32>>,
    ) -> Result<Vec<f32>> {
        match first.take() {
            Some(first) if i == 0 => Ok(first),
            _ => Ok(rows(&loaded.model, self.of.site, windows)?),
        }
    }

    /// A chunk's rows in the order in which they are learned from, scaled: whole batches, one after the other.
    fn batches(&self, chunk: usize, x: &[f32], width: usize, scale: f32) -> impl Iterator<Item = Vec<f32>> {
        let (count, batch) = (x.len() / width, self.batch);
        let order = Seed(self.of.seed).for_purpose(&format!("dictionary chunk {chunk}")).choose(count, count);
        (0..count / batch).map(move |b| {
            let picked = &order[b * batch..][..batch];
            picked.iter().flat_map(|from| &x[from * width..][..width]).map(|v| scale * v).collect()
        })
    }

    /// Writes what a training would learn from, batch after batch, for other programs to learn from.
    fn write_rows(&self, file: &Path, out: &mut Out) -> Result<()> {
        ensure!(self.batch > 0, "--batch needs at least 1");
        ensure!(!file.exists(), "{} is there already; name another file with --rows", file.display());
        let of = &self.of;
        let loaded = of.model.load_as(of.model.storage.for_sweep())?;
        let text = of.text(&loaded)?;
        let count = self.steps(&text.train) * self.batch as u64;
        let bytes = count * text.width as u64 * 4;
        eprintln!("{count} rows of {} numbers, {}", text.width, indicatif::HumanBytes(bytes));
        let first = rows(&loaded.model, of.site, &text.train[..CHUNK.min(text.train.len())])?;
        let scale = scale(&first, text.width)?;
        let (part, mut first) = (file.with_extension("part"), Some(first));
        let written = (|| -> Result<()> {
            let mut to = BufWriter::new(File::create(&part)?);
            let shown = bar("rows: chunks", text.train.len().div_ceil(CHUNK));
            for (i, chunk) in text.train.chunks(CHUNK).enumerate() {
                let x = self.chunk(&loaded, i, chunk, &mut first)?;
                for batch in self.batches(i, &x, text.width, scale) {
                    let bytes: Vec<u8> = batch.iter().flat_map(|v| v.to_le_bytes()).collect();
                    to.write_all(&bytes)?;
                }
                shown.inc(1);
            }
            to.into_inner()?.sync_all()?;
            shown.finish_and_clear();
            Ok(std::fs::rename(&part, file)?)
        })();
        if let Err(error) = written {
            // half of it is of no use, and its room may be what is missing
            let _ = std::fs::remove_file(&part);
            return Err(error).with_context(|| format!("cannot write {}", file.display()));
        }
        let card = RowsCard {
            model_hash: loaded.model.sha256().to_owned(),
            site: of.site.to_string(),
            corpus: text.corpus.clone(),
            rows: count,
            width: text.width,
            batch: self.batch,
            scale,
        };
        write(&file.with_extension("json"), &serde_json::to_string_pretty(&card)?)?;
        if !out.json("dict", Some(&loaded), &card)? {
            out.line(format!("{} ({} rows, f32, scaled by {scale})", file.display(), count))?;
        }
        Ok(())
    }
}

/// What a file of rows holds.
#[derive(Serialize)]
struct RowsCard {
    model_hash: String,
    site: String,
    corpus: String,
    rows: u64,
    width: usize,
    batch: usize,
    /// What the model's values were multiplied by, so that their mean norm is √width.
    scale: f32,
}

/// What makes the mean norm of rows √width.
fn scale(rows: &[f32], width: usize) -> Result<f32> {
    let norm = |row: &[f32]| row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt();
    let count = (rows.len() / width).max(1) as f64;
    let mean = rows.chunks_exact(width).map(norm).sum::<f64>() / count;
    ensure!(
        mean.is_finite() && mean > 0.0,
        "the site's values are all zero or not finite: there is nothing to learn"
    );
    Ok(((width as f64).sqrt() / mean) as f32)
}

fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, format!("{text}\n")).with_context(|| format!("cannot write {}", path.display()))
}

fn show(j: &Judged, out: &mut Out) -> Result<()> {
    let share = |v: Option<f64>| v.map_or_else(|| "–".to_owned(), |v| format!("{v:.3}"));
    let mut table = Table::new(&["", ""]);
    let mut line = |what: &str, value: String| table.row(vec![what.to_owned(), value]);
    line("site, latents", format!("{}, {}", j.site, j.latents));
    line("test rows", format!("{} of {} windows", j.rows, j.test_windows));
    line("explained variance", share(j.explained_variance));
    line("L0", format!("{:.1}", j.l0));
    line("silent on these rows", format!("{:.1} %", 100.0 * j.silent));
    line(
        "next-token loss",
        format!(
            "{:.3} plain, {:.3} spliced, {:.3} zero, {:.3} mean",
            j.loss, j.loss_spliced, j.loss_zero, j.loss_mean
        ),
    );
    line(
        "loss recovered",
        format!(
            "{} against zero, {} against mean",
            share(j.recovered_from_zero),
            share(j.recovered_from_mean)
        ),
    );
    out.table(table)
}
