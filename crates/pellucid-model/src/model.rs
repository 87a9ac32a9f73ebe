//! A model: its architecture, weights and tokenizer, loaded once and never changed.

use crate::latents::Attached;
use crate::load::{Checkpoint, Format, Progress, TensorInfo};
use crate::ops::Precision;
use crate::ops::blocks::BlockType;
use crate::spec::Spec;
use crate::tokens::{ChatTemplate, GgufVocab, Tokenizer};
use crate::weights::{BlockWeights, Weights, read};
use crate::{Error, Result, arch};
use candle_core::DType;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

/// How weights are kept in memory. Arithmetic is f32 whatever they are kept as.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    /// 4 bytes a weight: the values of the file, exactly (dequantised).
    #[default]
    F32,
    /// 2 bytes: rounded to bf16 (exact for checkpoints published in bf16).
    Bf16,
    /// 2 bytes: rounded to f16.
    F16,
    /// Block-quantised weights stay as they are in the file (about a byte each, or less) and are written out where they
    /// are used; all else is f32. The values, and so the results, are those of [`Storage::F32`] to the bit.
    File,
}

impl Storage {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Storage::F32 => "f32",
            Storage::Bf16 => "bf16",
            Storage::F16 => "f16",
            Storage::File => "file",
        }
    }

    /// What a tensor becomes that is not kept as it is.
    pub(crate) fn dtype(self) -> DType {
        match self {
            Storage::F32 | Storage::File => DType::F32,
            Storage::Bf16 => DType::BF16,
            Storage::F16 => DType::F16,
        }
    }
}

/// A loaded model.
#[derive(Debug)]
pub struct Model {
    pub(crate) spec: Spec,
    pub(crate) weights: Weights,
    pub(crate) dictionaries: Vec<Attached>,
    /// ∂(mean logit)/∂(what the unembedding reads), `(d_model)`: the same wherever it is asked for.
    pub(crate) mean_unembedding: OnceLock<Vec<f32>>,
    tokenizer: Tokenizer,
    storage: Storage,
    precision: Precision,
    format: Format,
    path: PathBuf,
    parameters: u64,
    sha256: String,
}

/// How far loading is.
#[derive(Clone, Debug, PartialEq)]
pub enum Loading {
    /// Fetching files.
    Fetch(Progress),
    /// Reading weights: blocks done, and blocks in all.
    Blocks(usize, usize),
}

impl Model {
    /// Finds, opens and reads a model: a GGUF file, a safetensors directory, a Hugging Face id, or one of
    /// the built-in names (`smollm2`, `gemma3-270m`).
    ///
    /// # Errors
    /// If it cannot be found, fetched or read, if its architecture is not supported, or if memory will not
    /// suffice, foreseen from the header before anything is read.
    pub fn load(name_or_path: &str, storage: Storage, progress: &mut dyn FnMut(Loading)) -> Result<Self> {
        let path = Checkpoint::resolve(name_or_path, &mut |p| progress(Loading::Fetch(p)))?;
        Self::open(&path, storage, progress)
    }

    /// Reads a model from a path.
    ///
    /// # Errors
    /// As [`Model::load`].
    pub fn open(path: &Path, storage: Storage, progress: &mut dyn FnMut(Loading)) -> Result<Self> {
        let mut checkpoint = Checkpoint::open(path)?;
        let design = arch::design(&checkpoint)?;
        check_memory(&checkpoint, storage)?;
        // reads the whole file where its hash is not known yet
        let sha256 = checkpoint.sha256()?;
        checkpoint.forget();
        let tokenizer = tokenizer(&checkpoint)?;
        checkpoint.forget_vocabulary();
        let mut blocks = |done, all| progress(Loading::Blocks(done, all));
        let (spec, weights) = read(&checkpoint, design, storage, &mut blocks)?;
        if tokenizer.vocab_size() > spec.vocabulary {
            return Err(Error::Config {
                what: format!(
                    "the tokenizer has {} tokens and the embedding {} rows: they do not belong together",
                    tokenizer.vocab_size(),
                    spec.vocabulary
                ),
            });
        }
        Ok(Model {
            spec,
            weights,
            dictionaries: Vec::new(),
            mean_unembedding: OnceLock::new(),
            tokenizer,
            storage,
            precision: Precision::Exact,
            format: checkpoint.format(),
            path: path.to_owned(),
            parameters: checkpoint.parameter_count(),
            sha256,
        })
    }

    /// The architecture.
    pub fn spec(&self) -> &Spec {
        &self.spec
    }

    /// The tokenizer that came with the weights.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.tokenizer
    }

    /// The model with another chat template, for one without or with a faulty one.
    #[must_use]
    pub fn with_chat_template(mut self, template: ChatTemplate) -> Self {
        self.tokenizer = self.tokenizer.with_chat_template(template);
        self
    }

    /// The model with its linear layers, the unembedding among them, computed so; [`Precision::Exact`] as it is loaded. On
    /// matrix tiles their gradients are too, and attention's products with keys and values for texts of sixteen tokens and
    /// more. Norms, softmax and attention's own gradients are f32 in either.
    #[must_use]
    pub fn with_precision(mut self, precision: Precision) -> Self {
        self.set_precision(precision);
        self
    }

    /// As [`Model::with_precision`], for who owns the model and shares it with nobody yet.
    pub fn set_precision(&mut self, precision: Precision) {
        self.precision = precision;
        self.weights.blocks.iter_mut().flat_map(BlockWeights::linears).for_each(|l| l.precision = precision);
        self.weights.head.precision = precision;
    }

    /// How linear layers are computed.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// How weights are kept.
    pub fn storage(&self) -> Storage {
        self.storage
    }

    /// What kind of file it came from.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Where it came from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Parameters in the file.
    pub fn parameters(&self) -> u64 {
        self.parameters
    }

    /// Whether RelP's rules make this model homogeneous of degree one in its embeddings: no bias and no
    /// learned position adds anything by itself.
    pub fn is_homogeneous(&self) -> bool {
        let linear = |l: &crate::ops::linear::Linear| l.bias.is_none();
        let norm = |n: &Option<crate::ops::norm::Norm>| n.as_ref().is_none_or(|n| n.bias.is_none());
        let block = |b: &BlockWeights| {
            // biases on queries and keys only move attention probabilities, which are held
            [&b.v, &b.o, &b.pre, &b.down].into_iter().all(linear)
                && b.linear.as_ref().is_none_or(linear)
                && [&b.attn_norm, &b.attn_post_norm, &b.mlp_norm, &b.mlp_post_norm].into_iter().all(norm)
        };
        let w = &self.weights;
        w.positions.is_none() && w.final_norm.bias.is_none() && linear(&w.head) && w.blocks.iter().all(block)
    }

    /// Bytes that the weights of linear layers and embeddings take in memory; tied ones count once.
    pub fn weight_bytes(&self) -> usize {
        let w = &self.weights;
        let mut all = vec![w.embed.bytes()];
        all.extend(w.positions.iter().map(crate::ops::packed::Packed::bytes));
        if !std::sync::Arc::ptr_eq(&w.embed, &w.head.weight) {
            all.push(w.head.weight.bytes());
        }
        for b in &w.blocks {
            let linears = [&b.q, &b.k, &b.v, &b.o, &b.pre, &b.down].into_iter().chain(&b.linear);
            all.extend(linears.map(|l| l.weight.bytes()));
        }
        all.iter().sum()
    }

    /// SHA-256 of the weight files.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }
}

/// Bytes of a tensor that stays as it is in the file.
fn kept(info: &TensorInfo) -> u64 {
    let weights = info.elements() as u64;
    BlockType::named(info.dtype.name()).map_or(weights * 4, |kind| kind.kept(weights))
}

fn check_memory(checkpoint: &Checkpoint, storage: Storage) -> Result<()> {
    let needed = match storage {
        Storage::File => checkpoint.tensors().iter().map(kept).sum(),
        other => checkpoint.bytes_as(other.dtype()),
    };
    match crate::load::available_memory() {
        Some(available) if needed > available => Err(Error::Memory {
            needed_mib: needed >> 20,
            available_mib: available >> 20,
            dtype: storage.name(),
        }),
        _ => Ok(()),
    }
}

fn tokenizer(checkpoint: &Checkpoint) -> Result<Tokenizer> {
    if let Some(metadata) = checkpoint.gguf() {
        return Ok(Tokenizer::from_gguf(gguf_vocab(metadata)?)?);
    }
    let json = checkpoint
        .tokenizer_json()
        .ok_or_else(|| Error::Config { what: "there is no tokenizer.json beside the weights".to_owned() })?;
    let (config, generation) = (checkpoint.tokenizer_config(), checkpoint.generation_config());
    Ok(Tokenizer::from_json(json, config, generation, checkpoint.config())?)
}

fn gguf_vocab(metadata: &crate::load::gguf::Metadata) -> Result<GgufVocab> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let id = |name: &str| metadata.u32(&key(name)).ok();
    let flag = |name: &str| metadata.bool(&key(name)).ok();
    Ok(GgufVocab {
        model: metadata.str(&key("model"))?.to_owned(),
        pre: metadata.str(&key("pre")).ok().map(str::to_owned),
        tokens: metadata.array_str(&key("tokens"))?.to_vec(),
        scores: metadata.array_f32(&key("scores")).ok().map(<[f32]>::to_vec),
        token_types: metadata.array_i32(&key("token_type")).ok(),
        merges: metadata.array_str(&key("merges")).ok().map(<[String]>::to_vec),
        bos: id("bos_token_id"),
        eos: id("eos_token_id"),
        eot: id("eot_token_id"),
        unk: id("unknown_token_id"),
        pad: id("padding_token_id"),
        add_bos: flag("add_bos_token"),
        add_eos: flag("add_eos_token"),
        add_space_prefix: flag("add_space_prefix"),
        chat_template: metadata.str("tokenizer.chat_template").ok().map(str::to_owned),
    })
}
