//! A trained model as a folder that opens like any GPT-2: `config.json`, `model.safetensors`, and its vocabulary.

use crate::checkpoint::{bytes, put};
use crate::error::{Error, Result};
use crate::norm::EPSILON;
use crate::shape::Shape;
use crate::tokens::Vocabulary;
use crate::trainer::Trainer;
use safetensors::tensor::{Dtype, TensorView};
use std::fs;
use std::path::Path;

/// Writes the model as it is now, in f32, with its vocabulary. The folder is made where it is missing.
pub fn write(trainer: &Trainer, vocabulary: &Vocabulary, folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|source| Error::File {
        action: "make a folder",
        path: folder.to_owned(),
        source,
    })?;
    let path = folder.join("model.safetensors");
    let malformed =
        |e: safetensors::SafeTensorError| Error::Malformed { why: e.to_string(), path: path.clone() };
    let tensors = trainer.config.shape.tensors();
    let tensors: Vec<(&str, Vec<usize>, Vec<u8>)> =
        tensors.into_iter().map(|(name, shape, place)| (name, shape, bytes(&trainer.at[place]))).collect();
    let views: std::result::Result<Vec<_>, _> = tensors
        .iter()
        .map(|(name, shape, bytes)| Ok((*name, TensorView::new(Dtype::F32, shape.clone(), bytes)?)))
        .collect();
    let file = safetensors::serialize(views.map_err(malformed)?, None).map_err(malformed)?;
    put(&path, &file)?;
    vocabulary.write(folder)?;
    // last, since a folder without it is no model
    put(&folder.join("config.json"), format!("{:#}\n", config(&trainer.config.shape)).as_bytes())
}

/// As `transformers` reads it.
fn config(shape: &Shape) -> serde_json::Value {
    let Shape { vocabulary, context, d_model, heads, d_mlp } = *shape;
    serde_json::json!({
        "model_type": "gpt2",
        "architectures": ["GPT2LMHeadModel"],
        "vocab_size": vocabulary,
        "n_positions": context,
        "n_ctx": context,
        "n_embd": d_model,
        "n_head": heads,
        "n_layer": 1,
        "n_inner": d_mlp,
        "activation_function": "relu",
        "layer_norm_epsilon": EPSILON,
        "tie_word_embeddings": false,
        "bos_token_id": 0,
        "eos_token_id": 0,
        "torch_dtype": "float32",
    })
}
