//! Which format a path is in, told by what is in the folder or the file, and its dictionary.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use crate::dictionary::Dictionary;
use crate::error::{Error, Result};
use crate::files::tensors::{Fields, Tensors};
use crate::files::{
    circuit_tracer, dictionary_learning, gemma_scope, llama_scope, openai, saelens, sparsify, torch,
};

/// A published format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `cfg.json` and `sae_weights.safetensors`.
    SaeLens,
    /// `cfg.json` and `sae.safetensors`: sparsify and multimodal-sae.
    Sparsify,
    /// `params.npz`, or `params.safetensors` of the second Gemma Scope.
    GemmaScope,
    /// `hyperparams.json` and `checkpoints/final.safetensors`, or what llamascopium writes now.
    LlamaScope,
    /// `ae.pt` and `config.json`.
    DictionaryLearning,
    /// A `.pt` file of OpenAI's sparse_autoencoder.
    OpenAi,
    /// `layer_N.safetensors`.
    CircuitTracer,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Format::SaeLens => "SAELens",
            Format::Sparsify => "sparsify",
            Format::GemmaScope => "Gemma Scope",
            Format::LlamaScope => "Llama Scope",
            Format::DictionaryLearning => "dictionary_learning",
            Format::OpenAi => "OpenAI",
            Format::CircuitTracer => "circuit-tracer",
        })
    }
}

/// A dictionary with what its files say about themselves.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The dictionary.
    pub dictionary: Dictionary,
    /// The format it was in.
    pub format: Format,
    /// Where it says that it reads, in the words of its makers (mostly TransformerLens's hook names).
    pub input: Option<String>,
    /// Where it says that it writes, if that is said apart from where it reads.
    pub output: Option<String>,
}

/// Reads a dictionary of any known format: a folder, or the file in it that holds the weights. Fails with a list of what is
/// known where it is none of them.
pub fn open(path: &Path) -> Result<Opened> {
    if !path.exists() {
        let source = std::io::ErrorKind::NotFound.into();
        return Err(Error::File { action: "open the dictionary", path: path.to_owned(), source });
    }
    let (format, path) = if path.is_dir() { folder(path)? } else { file(path)? };
    let (dictionary, [input, output]) = match format {
        Format::SaeLens => (saelens::read_saelens(&path)?, saelens::hooks(&path)?),
        Format::Sparsify => (sparsify::read_sparsify(&path)?, [None, None]),
        Format::GemmaScope => (gemma_scope::read_gemma_scope(&path)?, [None, None]),
        Format::LlamaScope => (llama_scope::read_llama_scope(&path)?, llama_scope::hooks(&path)?),
        Format::DictionaryLearning => {
            (dictionary_learning::read_dictionary_learning(&path)?, dictionary_learning::hooks(&path)?)
        }
        Format::OpenAi => (openai::read_openai(&path)?, [None, None]),
        Format::CircuitTracer => (circuit_tracer::read_circuit_tracer(&path)?, circuit_tracer::hooks(&path)?),
    };
    Ok(Opened { dictionary, format, input, output })
}

/// The format of a folder, and what of it is to be read.
fn folder(path: &Path) -> Result<(Format, PathBuf)> {
    let has = |name: &str| path.join(name).exists();
    let whole = path.to_owned();
    if has("sae_weights.safetensors") {
        // llamascopium names its weights as SAELens does
        return Ok((if has("cfg.json") { Format::SaeLens } else { Format::LlamaScope }, whole));
    }
    if has("sae.safetensors") {
        return Ok((Format::Sparsify, whole));
    }
    if has("params.npz") || has("params.safetensors") {
        return Ok((Format::GemmaScope, whole));
    }
    if has("hyperparams.json") {
        return Ok((Format::LlamaScope, whole));
    }
    if has("ae.pt") {
        return Ok((Format::DictionaryLearning, whole));
    }
    let names = names(path)?;
    let layers: Vec<&String> =
        names.iter().filter(|name| circuit_tracer::layer(Path::new(name)).is_some()).collect();
    let pickles: Vec<&String> = names.iter().filter(|name| name.ends_with(".pt")).collect();
    match (&layers[..], &pickles[..]) {
        ([one], _) => Ok((Format::CircuitTracer, path.join(one))),
        ([], [one]) => file(&path.join(one)),
        ([], []) => Err(unknown(path, &names)),
        _ => Err(Error::Unsupported {
            what: format!("a folder of {} dictionaries", layers.len().max(pickles.len())),
            instead: format!(
                "name one of its files, such as {}",
                layers.first().or(pickles.first()).map_or("", |n| n)
            ),
            path: path.to_owned(),
        }),
    }
}

/// The names in a folder, sorted.
fn names(path: &Path) -> Result<Vec<String>> {
    let fault = |source| Error::File { action: "list the folder", path: path.to_owned(), source };
    let mut names = Vec::new();
    for entry in fs::read_dir(path).map_err(fault)? {
        names.push(entry.map_err(fault)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

fn unknown(path: &Path, names: &[String]) -> Error {
    let shown: Vec<&str> = names.iter().take(8).map(String::as_str).collect();
    let found = match names.len() {
        0 => "nothing".to_owned(),
        more if more > shown.len() => format!("{}, …", shown.join(", ")),
        _ => shown.join(", "),
    };
    Error::Unknown { found, path: path.to_owned() }
}

/// The format of a file, and what is to be read.
fn file(path: &Path) -> Result<(Format, PathBuf)> {
    let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let above = path.parent().map(Path::to_owned).unwrap_or_default();
    let whole = path.to_owned();
    match name.as_str() {
        "cfg.json" | "sae_weights.safetensors" | "sae.safetensors" | "hyperparams.json" => {
            return folder(if above.as_os_str().is_empty() { Path::new(".") } else { &above });
        }
        "final.safetensors" if above.ends_with("checkpoints") => {
            return Ok((Format::LlamaScope, above.join("..")));
        }
        _ => {}
    }
    if name.ends_with(".npz") {
        return Ok((Format::GemmaScope, whole));
    }
    if name.ends_with(".safetensors") {
        let tensors = Tensors::open(path, "safetensors")?;
        return match () {
            _ if tensors.has("w_enc") => Ok((Format::GemmaScope, whole)),
            _ if tensors.has("W_enc") && tensors.has("W_dec") => Ok((Format::CircuitTracer, whole)),
            _ if tensors.has("W_enc_0") || name.starts_with("W_enc_") => Err(tensors
                .unsupported("a cross-layer transcoder", "dictionaries that write to one layer are read")),
            _ => Err(unknown(path, &[name])),
        };
    }
    if name.ends_with(".pt") || name.ends_with(".pth") {
        let (tensors, _): (Tensors, Fields) = torch::open(path, "torch")?;
        return Ok(match tensors.has("pre_bias") && tensors.has("latent_bias") {
            true => (Format::OpenAi, whole),
            false => (Format::DictionaryLearning, whole),
        });
    }
    Err(unknown(path, &[name]))
}
