//! Loading a model for a command, with progress.

use crate::embedded;
use crate::show::bar;
use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use pellucid::model::load::Progress;
use pellucid::model::tokens::ChatTemplate;
use pellucid::model::{Loading, Model, Precision, Storage};
use std::path::{Path, PathBuf};

/// Which model, and how its weights are kept.
#[derive(Args, Clone)]
pub(crate) struct ModelArgs {
    /// A built-in name (one-layer, smollm2, gemma3-270m), a path (.gguf, .safetensors, folder) or a hub id (org/name).
    #[arg(long, default_value = "smollm2", value_name = "MODEL")]
    pub(crate) model: String,
    #[command(flatten)]
    pub(crate) storage: StorageArgs,
    /// A sparse autoencoder of any published format, whose latents are units then: sae:NAME/7. SITE where its files do not
    /// say where it stands. May be given several times.
    #[arg(long, value_name = "NAME=PATH[@SITE]")]
    pub(crate) dictionary: Vec<String>,
}

/// How weights are kept in memory and multiplied.
#[derive(Args, Clone, Copy)]
pub(crate) struct StorageArgs {
    /// How weights are kept in memory, whatever the arithmetic. `file` keeps block-quantised weights as they are:
    /// the numbers of f32 in a quarter of the memory or less.
    #[arg(long, value_enum, default_value_t = Dtype::F32)]
    pub(crate) dtype: Dtype,
    /// How linear layers are computed: `exact` in f32, `fast` with inputs and weights rounded to bf16 where this processor
    /// does that quicker. Exact unless said otherwise, but sweeps (`atlas build`) are fast; `pellucid check` states the
    /// error.
    #[arg(long, value_enum)]
    pub(crate) precision: Option<Fidelity>,
}

/// How linear layers are computed.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Fidelity {
    Exact,
    Fast,
}

impl From<Fidelity> for Precision {
    fn from(fidelity: Fidelity) -> Self {
        match fidelity {
            Fidelity::Exact => Precision::Exact,
            Fidelity::Fast => Precision::Fast,
        }
    }
}

impl StorageArgs {
    /// The same where a sweep is made: fast unless said otherwise.
    pub(crate) fn for_sweep(self) -> Self {
        StorageArgs { precision: self.precision.or(Some(Fidelity::Fast)), ..self }
    }
}

impl From<Dtype> for StorageArgs {
    fn from(dtype: Dtype) -> Self {
        StorageArgs { dtype, precision: None }
    }
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Dtype {
    F32,
    Bf16,
    F16,
    File,
}

impl From<Dtype> for Storage {
    fn from(dtype: Dtype) -> Self {
        match dtype {
            Dtype::F32 => Storage::F32,
            Dtype::Bf16 => Storage::Bf16,
            Dtype::F16 => Storage::F16,
            Dtype::File => Storage::File,
        }
    }
}

pub(crate) use pellucid::scope::Loaded;

impl ModelArgs {
    pub(crate) fn load(&self) -> Result<Loaded> {
        self.load_as(self.storage)
    }

    /// The model kept and multiplied another way than was asked for, and its dictionaries.
    pub(crate) fn load_as(&self, storage: StorageArgs) -> Result<Loaded> {
        let mut loaded = load(&self.model, storage)?;
        self.dictionary.iter().try_for_each(|one| crate::dictionaries::attach(&mut loaded, one))?;
        Ok(loaded)
    }
}

/// Loads a model; progress goes to stderr.
pub(crate) fn load(name: &str, how: impl Into<StorageArgs>) -> Result<Loaded> {
    let how = how.into();
    let mut shown = Shown::default();
    let path = match name {
        embedded::NAME => embedded::unpacked()?.display().to_string(),
        _ => name.to_owned(),
    };
    let model = Model::load(&path, how.dtype.into(), &mut |progress| shown.loading(progress))?;
    shown.done();
    let precision = how.precision.map_or(Precision::Exact, Into::into);
    Ok(Loaded::new(name, model.with_precision(precision)))
}

/// The bar of a fetch or a load.
#[derive(Default)]
pub(crate) struct Shown {
    bar: Option<indicatif::ProgressBar>,
    item: String,
}

impl Shown {
    fn loading(&mut self, progress: Loading) {
        match progress {
            Loading::Fetch(progress) => self.fetching(&progress),
            Loading::Blocks(done, all) => self.set("loading", done as u64, Some(all as u64)),
        }
    }

    pub(crate) fn fetching(&mut self, p: &Progress) {
        self.set(&format!("{} {}", p.stage, p.item), p.done, p.total);
    }

    fn set(&mut self, item: &str, done: u64, total: Option<u64>) {
        if self.item != item {
            self.done();
            item.clone_into(&mut self.item);
            self.bar = Some(bar(item, 0));
        }
        if let Some(bar) = &self.bar {
            bar.set_length(total.unwrap_or(done));
            bar.set_position(done);
        }
    }

    pub(crate) fn done(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.finish_and_clear();
        }
    }
}

/// Replaces the chat template by the one in a file.
pub(crate) fn with_template(loaded: Loaded, file: Option<&PathBuf>) -> Result<Loaded> {
    let Some(file) = file else { return Ok(loaded) };
    let source = read(file)?;
    let tokenizer = loaded.model.tokenizer();
    let piece = |id: Option<u32>| id.and_then(|id| tokenizer.piece(id)).unwrap_or_default().to_owned();
    let (bos, eos) = (piece(tokenizer.bos()), piece(tokenizer.eos().first().copied()));
    let template = ChatTemplate::new(&source, &bos, &eos).with_context(|| in_file(file))?;
    Ok(Loaded::new(&loaded.name, loaded.model.with_chat_template(template)))
}

/// Reads a text file, naming it in the error.
pub(crate) fn read(file: &Path) -> Result<String> {
    std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))
}

/// A file's bytes.
pub(crate) fn read_bytes(file: &Path) -> Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// Context for an error in a file's content.
pub(crate) fn in_file(file: &Path) -> String {
    format!("in {}", file.display())
}
