//! `pellucid dict train`: a dictionary of a site, learned from text. Other commands train with [`train`].

use super::judge::{Judged, judge, judge_between, show};
use super::recipe::{Frame, Recipe, RecipeArgs};
use super::rows::{CHUNK, Stream, steps, write_rows};
use super::text::{OfArgs, Text};
use crate::models::Loaded;
use crate::show::{DIM, Out, bar};
use anyhow::{Context, Result, ensure};
use clap::Args;
use pellucid::core::{Site, transformer_lens_name};
use pellucid::dict::{
    Activation, Config, Dictionary, Normalisation, Shape, Step, Trainer, write_saelens,
    write_saelens_transcoder, write_sparsify,
};
use pellucid::interp::dictionary::row_count;
use pellucid::model::Precision;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

#[derive(Args)]
pub(super) struct TrainArgs {
    #[command(flatten)]
    of: OfArgs,
    /// Latents.
    #[arg(long, default_value_t = 4096, value_name = "N")]
    latents: usize,
    #[command(flatten)]
    recipe: RecipeArgs,
    /// Learn a transcoder: it reads --site and writes this one, which comes later, such as mlp_in.3 and mlp_out.3.
    #[arg(long, value_name = "SITE", conflicts_with = "rows")]
    to: Option<Site>,
    /// With --to: also learn a linear map straight from what is read to what is written (Paulo et al. 2025, arXiv 2501.18823).
    #[arg(long, requires = "to")]
    skip: bool,
    /// Rows of a step.
    #[arg(long, default_value_t = 2048, value_name = "N")]
    batch: usize,
    /// The highest learning rate. [default: 2e-4 / √(latents / 16,384); for topk, batch-topk and matryoshka more in a run of fewer than
    /// 10,000 steps, up to 8 times]
    #[arg(long, value_name = "RATE")]
    learning_rate: Option<f32>,
    /// The folder to write: cfg.json, sae_weights.safetensors, card.json, and the state of the training.
    #[arg(long, value_name = "FOLDER", required_unless_present = "rows")]
    out: Option<PathBuf>,
    /// Do not train: write the rows that a training would learn from, in its order, to this file (f32, little endian), with a
    /// .json beside it.
    #[arg(long, value_name = "FILE", conflicts_with = "out")]
    rows: Option<PathBuf>,
    /// Keep the site's rows in this folder, in bf16 (their size is said first), or take them from there: several dictionaries of one site
    /// then learn from one run of the model. Rows are rounded either way, so it belongs to what decides a run.
    #[arg(long, value_name = "FOLDER", conflicts_with = "rows")]
    activations: Option<PathBuf>,
    /// Seconds between two savings of the training's state.
    #[arg(long, default_value_t = 60, value_name = "SECONDS")]
    checkpoint: u64,
}

/// What a training is asked for, beside the model and the text.
pub(crate) struct Settings {
    /// Where rows are taken.
    pub(crate) site: Site,
    /// What a transcoder writes; none for an autoencoder.
    pub(crate) to: Option<Site>,
    /// A transcoder's linear map beside.
    pub(crate) skip: bool,
    /// Tokens of a window, as the text was cut.
    pub(crate) window: usize,
    /// Rows of a step.
    pub(crate) batch: usize,
    /// Latents of the dictionary.
    pub(crate) latents: usize,
    /// What is active and what is penalised.
    pub(crate) recipe: Recipe,
    /// The highest learning rate; the recipe's own where it is not said.
    pub(crate) rate: Option<f32>,
    /// Where the site's rows are kept and found; none where they are not.
    pub(crate) activations: Option<PathBuf>,
    /// Of everything random.
    pub(crate) seed: u64,
    /// Between two savings of the training's state.
    pub(crate) checkpoint: Duration,
}

/// What decides a training run: a folder goes on with the same one only.
#[derive(Serialize, Deserialize, PartialEq)]
pub(crate) struct Run {
    pub(crate) model_hash: String,
    pub(crate) site: String,
    pub(crate) corpus: String,
    pub(crate) window: usize,
    pub(crate) batch: usize,
    /// What a transcoder writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) to: Option<String>,
    /// What rows are multiplied by, so that their mean norm is √d; worked into the weights at the end.
    pub(crate) scale: f32,
    /// The same for what a transcoder writes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) scale_out: Option<f32>,
    /// The steps before which dead latents begin anew.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) resample_at: Vec<u64>,
    /// What rows were rounded to before they were learned from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) activations: Option<String>,
    pub(crate) arithmetic: String,
    pub(crate) config: Config,
    pub(crate) code: String,
}

/// A training run's card: what it was, how long it took here, and how good the result is.
#[derive(Serialize)]
pub(crate) struct Card {
    pub(crate) model: String,
    pub(crate) run: Run,
    pub(crate) trained_rows: u64,
    /// Of the last call; less than the whole run where that was interrupted.
    pub(crate) seconds: f64,
    pub(crate) vectors_per_second: f64,
    pub(crate) dead: usize,
    pub(crate) judged: Judged,
}

impl TrainArgs {
    pub(super) fn run(&self, out: &mut Out) -> Result<()> {
        ensure!(self.batch > 0, "--batch needs at least 1");
        let (of, settings) = (&self.of, self.settings()?);
        if let Some(file) = &self.rows {
            let loaded = of.model.load_as(of.model.storage.for_sweep())?;
            let text = of.text(&loaded)?;
            let card = write_rows(&loaded, &text, &settings, file)?;
            if !out.json("dict", Some(&loaded), &card)? {
                let (rows, scale) = (card.rows, card.scale);
                out.line(format!("{} ({rows} rows, f32, scaled by {scale})", file.display()))?;
            }
            return Ok(());
        }
        let folder = self.out.as_deref().unwrap_or(Path::new("."));
        let mut loaded = crate::models::load(&of.model.model, of.model.storage.for_sweep())?;
        let text = of.text(&loaded)?;
        let card = train(&mut loaded, &text, &settings, folder)?;
        if !out.json("dict", Some(&loaded), &card)? {
            show(&card.judged, out)?;
            let Card { trained_rows, seconds, dead, .. } = &card;
            out.line(format!(
                "{DIM}{trained_rows} vectors, {seconds:.0} s here with the model's share, {dead} latents dead; {}{DIM:#}",
                folder.display()
            ))?;
        }
        Ok(())
    }

    fn settings(&self) -> Result<Settings> {
        let (site, recipe) = (self.of.site, self.recipe.recipe()?);
        if let Some(to) = self.to {
            ensure!(
                (to.layer, to.point) > (site.layer, site.point),
                "--to {to} does not come after --site {site}; a transcoder writes what the model computes later"
            );
            ensure!(
                !matches!(recipe, Recipe::Gated { .. } | Recipe::ReLU { resample: Some(_), .. }),
                "--to needs another --recipe, or relu without --resample-at: no format holds a gated transcoder, and resampling \
                 begins latents at inputs that they should give back"
            );
        }
        Ok(Settings {
            site,
            to: self.to,
            skip: self.skip,
            window: self.of.window,
            batch: self.batch,
            latents: self.latents,
            recipe,
            rate: self.learning_rate,
            activations: self.activations.clone(),
            seed: self.of.seed,
            checkpoint: Duration::from_secs(self.checkpoint),
        })
    }
}

/// Trains a dictionary into a folder, or goes on with the one that is begun there, and judges it on the text's test windows. Rows
/// are made in the model's precision; the judging is exact.
pub(crate) fn train(loaded: &mut Loaded, text: &Text, settings: &Settings, folder: &Path) -> Result<Card> {
    std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let begun = Instant::now();
    let (run, trainer, before, last) = learn(loaded, text, settings, folder)?;
    let seconds = begun.elapsed().as_secs_f64();
    let mut dictionary = trainer.dictionary();
    let output = run.scale_out.unwrap_or(run.scale);
    dictionary.normalisation = Normalisation::Scale { input: run.scale, output };
    let dictionary = dictionary.folded();
    save(&dictionary, settings, folder)?;
    // rows may have been made fast; what is said of the result is exact
    let precision = loaded.model.precision();
    loaded.model.set_precision(Precision::Exact);
    let judged = match settings.to {
        None => judge(loaded, settings.site, text, &dictionary),
        Some(to) => judge_between(loaded, [settings.site, to], text, &dictionary),
    };
    loaded.model.set_precision(precision);
    let trained = (trainer.steps() - before) * settings.batch as u64;
    let card = Card {
        model: loaded.name.clone(),
        run,
        trained_rows: trainer.steps() * settings.batch as u64,
        seconds,
        vectors_per_second: trained as f64 / seconds.max(1e-9),
        dead: last.map_or_else(|| trainer.dead().len(), |s| s.dead),
        judged: judged?,
    };
    write(&folder.join("card.json"), &serde_json::to_string_pretty(&card)?)?;
    Ok(card)
}

/// The run with its trainer at the end, the steps that were done already, and the last step.
fn learn(
    loaded: &Loaded,
    text: &Text,
    settings: &Settings,
    folder: &Path,
) -> Result<(Run, Trainer, u64, Option<Step>)> {
    let steps = steps(&text.train, settings.batch);
    ensure!(
        steps > 0,
        "the corpus's train split gives no whole batch of {} rows; take more --tokens or a smaller --batch",
        settings.batch
    );
    let mut stream = Stream::new(loaded, text, settings)?;
    let ([d_in, d_out], precision) = (stream.widths, loaded.model.precision());
    let frame = Frame {
        shape: Shape { d_in, latents: settings.latents, d_out },
        transcoder: settings.to.is_some(),
        skip: settings.skip,
        steps,
        batch: settings.batch,
        seed: settings.seed,
        precision,
        rate: settings.rate,
    };
    let run = Run {
        model_hash: loaded.model.sha256().to_owned(),
        site: settings.site.to_string(),
        corpus: text.corpus.clone(),
        window: settings.window,
        batch: settings.batch,
        to: settings.to.map(|to| to.to_string()),
        scale: stream.scales[0],
        scale_out: settings.to.map(|_| stream.scales[1]),
        resample_at: if settings.to.is_some() { Vec::new() } else { settings.recipe.resampling(steps) },
        activations: settings.activations.as_ref().map(|_| "bf16".to_owned()),
        arithmetic: precision.name().to_owned(),
        config: settings.recipe.config(frame),
        code: env!("CARGO_PKG_VERSION").to_owned(),
    };
    let mut trainer = begin(&run, &stream, folder)?;
    let before = trainer.steps();
    let last = go_on(text, (settings, &run), folder, &mut stream, &mut trainer)?;
    Ok((run, trainer, before, last))
}

/// Writes the dictionary: TopK transcoders as sparsify does, because SAELens has none, everything else as SAELens does.
fn save(dictionary: &Dictionary, settings: &Settings, folder: &Path) -> Result<()> {
    let hook = |site: Site| transformer_lens_name(site).unwrap_or_else(|| site.to_string());
    let from = hook(settings.site);
    match (settings.to, &dictionary.activation) {
        (None, _) => write_saelens(dictionary, Some(&from), folder)?,
        (Some(_), Activation::TopK { .. }) => write_sparsify(dictionary, folder)?,
        (Some(to), _) => write_saelens_transcoder(dictionary, [&from, &hook(to)], folder)?,
    }
    Ok(())
}

/// A new run, or the one that the folder holds.
fn begin(run: &Run, stream: &Stream<'_>, folder: &Path) -> Result<Trainer> {
    let (state, settings) = (folder.join("training.safetensors"), folder.join("run.json"));
    if state.exists() {
        let found: Run = serde_json::from_str(&crate::models::read(&settings)?)
            .with_context(|| format!("in {}", settings.display()))?;
        ensure!(
            found == *run,
            "{} holds another training ({} latents of {}); finish that one with its own settings, or write to another folder",
            folder.display(),
            found.config.shape.latents,
            found.site
        );
        return Ok(Trainer::load(&state)?);
    }
    let [inputs, outputs] = stream.sample(4096);
    let trainer = Trainer::between(run.config.clone(), &inputs, &outputs)?;
    write(&settings, &serde_json::to_string_pretty(run)?)?;
    Ok(trainer)
}

/// Inputs that dead latents may begin at; Bricken et al. take 819,200, of a run a thousand times as long as is usual here.
const RESAMPLE: usize = 16_384;

/// Goes through the chunks that are still to do.
fn go_on(
    text: &Text,
    (settings, run): (&Settings, &Run),
    folder: &Path,
    stream: &mut Stream<'_>,
    trainer: &mut Trainer,
) -> Result<Option<Step>> {
    let shown = bar("training: steps", trainer.config().steps as usize);
    let (mut done, mut last, mut saved) = (0, None, Instant::now());
    let state = folder.join("training.safetensors");
    for (i, chunk) in text.train.chunks(CHUNK).enumerate() {
        let steps = (row_count(chunk) / settings.batch) as u64;
        done += steps;
        // a state is saved between chunks, so a chunk is done whole or not at all
        if done <= trainer.steps() || steps == 0 {
            continue;
        }
        let chunk = stream.chunk(i, chunk)?;
        for batch in 0..chunk.batches() {
            if run.resample_at.contains(&trainer.steps()) {
                trainer.resample(&chunk.sample(RESAMPLE))?;
            }
            let (x, y) = chunk.batch(batch);
            let step = trainer.step(&x, y.as_deref())?;
            shown.set_position(step.step + 1);
            shown.set_message(format!("FVU {:.3}, {} dead; steps", step.unexplained, step.dead));
            last = Some(step);
        }
        if saved.elapsed() >= settings.checkpoint || done == trainer.config().steps {
            trainer.save(&state)?;
            saved = Instant::now();
        }
    }
    shown.finish_and_clear();
    Ok(last)
}

pub(super) fn write(path: &Path, text: &str) -> Result<()> {
    std::fs::write(path, format!("{text}\n")).with_context(|| format!("cannot write {}", path.display()))
}
