//! The formats of Gemma Scope (Lieberum et al. 2024, arXiv 2408.05147) and Gemma Scope 2: JumpReLU dictionaries and transcoders as
//! `params.npz` or, in the second, `params.safetensors`: `w_enc` (d_in, n), `w_dec` (n, d_out), `b_enc`, `b_dec`, `threshold` (n)
//! and perhaps `affine_skip_connection` (d_in, d_out). Names are published in capitals too.
//!
//! What a file does not say: dictionaries of the embedding were trained on embeddings that were not yet multiplied by √d.

use std::path::{Path, PathBuf};

use crate::dictionary::{Activation, Dictionary, Normalisation, Shape};
use crate::error::{Result, setting};
use crate::files::npz;
use crate::files::tensors::{Tensors, make_folder, turned};

const FORMAT: &str = "Gemma Scope";

/// The file that a folder of this format has.
fn file(path: &Path) -> PathBuf {
    let within = ["params.npz", "params.safetensors"].map(|name| path.join(name));
    match path.is_dir() {
        true => within.iter().find(|file| file.exists()).unwrap_or(&within[0]).clone(),
        false => path.to_owned(),
    }
}

/// Reads `params.npz` or `params.safetensors`, or the one in a folder.
pub fn read_gemma_scope(path: &Path) -> Result<Dictionary> {
    let path = file(path);
    let tensors = match path.extension().is_some_and(|e| e == "safetensors") {
        true => Tensors::open(&path, FORMAT)?,
        false => npz::open(&path, FORMAT)?,
    };
    let tensors = tensors.renamed(str::to_lowercase)?;
    let [d_in, latents] = tensors.shape("w_enc")?;
    if tensors.shape::<2>("w_dec").is_err() && tensors.shape::<3>("w_dec").is_ok() {
        let what = "a cross-layer transcoder";
        return Err(tensors.unsupported(what, "dictionaries that write to one layer are read"));
    }
    let [_, d_out] = tensors.shape("w_dec")?;
    if tensors.has("scaling_factor") && tensors.number("scaling_factor").is_ok_and(|v| v != 1.0) {
        return Err(tensors.unsupported("a scale of the latents", "fold `scaling_factor` into `w_dec`"));
    }
    let skip = tensors.maybe("affine_skip_connection", &[d_in, d_out])?;
    let dictionary = Dictionary {
        shape: Shape { d_in, latents, d_out },
        encoder: turned(&tensors.get("w_enc", &[d_in, latents])?, d_in, latents),
        encoder_bias: tensors.get("b_enc", &[latents])?,
        decoder: tensors.get("w_dec", &[latents, d_out])?,
        decoder_bias: tensors.get("b_dec", &[d_out])?,
        shift: vec![0.0; d_in],
        skip: skip.map(|skip| turned(&skip, d_in, d_out)),
        normalisation: Normalisation::None,
        activation: Activation::JumpReLU { thresholds: tensors.get("threshold", &[latents])? },
    };
    dictionary.check()?;
    Ok(dictionary)
}

/// Writes a folder with `params.npz` as Gemma Scope has it: a ReLU dictionary has thresholds of 0, a BatchTopK one the same
/// threshold everywhere. Fails where the format cannot hold it.
pub fn write_gemma_scope(dictionary: &Dictionary, folder: &Path) -> Result<()> {
    dictionary.check()?;
    let Shape { d_in, latents, d_out } = dictionary.shape;
    let thresholds = match &dictionary.activation {
        Activation::JumpReLU { thresholds } => thresholds.clone(),
        Activation::BatchTopK { threshold, .. } => vec![*threshold; latents],
        Activation::ReLU => vec![0.0; latents],
        other => {
            return Err(setting(
                "the activation",
                "JumpReLU, BatchTopK or ReLU for this format",
                format!("{other:?}"),
            ));
        }
    };
    if dictionary.normalisation != Normalisation::None || dictionary.skip.is_some() {
        return Err(setting(
            "the dictionary",
            "without normalisation and skip connection for this format",
            "with one",
        ));
    }
    if dictionary.shift.iter().any(|v| *v != 0.0) {
        return Err(setting("the input shift", "zero for this format", "another"));
    }
    let encoder = turned(&dictionary.encoder, latents, d_in);
    make_folder(folder)?;
    let tensors = [
        ("W_enc", vec![d_in, latents], &encoder[..]),
        ("W_dec", vec![latents, d_out], &dictionary.decoder[..]),
        ("b_enc", vec![latents], &dictionary.encoder_bias[..]),
        ("b_dec", vec![d_out], &dictionary.decoder_bias[..]),
        ("threshold", vec![latents], &thresholds[..]),
    ];
    npz::write(&folder.join("params.npz"), &tensors)
}
