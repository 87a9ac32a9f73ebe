//! The formats of Llama Scope (He et al. 2024, arXiv 2410.20526) and of its library.
//!
//! Published: `hyperparams.json` and `checkpoints/final.safetensors` with `encoder.weight` (n, d), `decoder.weight` (d, n), trained on
//! rows scaled to a mean norm of √d. What such a file means is what its library made of it when it was published
//! (OpenMOSS/Language-Model-SAEs, November 2024): the mean norms go into biases and decoder, then
//! (`sparsity_include_decoder_norm`) the decoder's norms into the encoder, and `jump_relu_threshold` counts in units of what comes of
//! that, so latents have the scale of the model's own activations.
//!
//! The library now (llamascopium 2): `config.json` with a `sae_type`, and `sae_weights.safetensors` with `W_E` (d, n), `W_D` (n, d),
//! `b_E`, `b_D`, the mean norms, and a threshold a latent as its logarithm. Latents there have the scale of the normalised
//! rows, and thresholds that of latents times their decoder's norm.

use std::path::Path;

use serde_json::{Value, json};

use crate::dictionary::{Activation, Dictionary, Normalisation, Shape};
use crate::error::{Result, setting};
use crate::files::saelens::{norm, unit_decoder};
use crate::files::tensors::{Fields, Tensors, make_folder, put, turned, write};

const FORMAT: &str = "Llama Scope";

/// Reads `hyperparams.json` and `checkpoints/final.safetensors` of a folder, or `config.json` and `sae_weights.safetensors`.
pub fn read_llama_scope(folder: &Path) -> Result<Dictionary> {
    let dictionary = match folder.join("hyperparams.json").exists() {
        true => published(folder)?,
        false => current(folder)?,
    };
    dictionary.check()?;
    Ok(dictionary)
}

/// Where such a dictionary reads, and where it writes: TransformerLens's names.
pub(crate) fn hooks(folder: &Path) -> Result<[Option<String>; 2]> {
    let name = match folder.join("hyperparams.json").exists() {
        true => "hyperparams.json",
        false => "config.json",
    };
    let fields = Fields::open(&folder.join(name), FORMAT)?;
    Ok(["hook_point_in", "hook_point_out"].map(|key| fields.text(key).map(str::to_owned)))
}

/// √d over the mean norm, for rows of one end.
fn factor(d: usize, mean_norm: f32, norms: &str) -> Result<f32> {
    match mean_norm > 0.0 && mean_norm.is_finite() {
        true => Ok((d as f64).sqrt() as f32 / mean_norm),
        false => Err(setting(norms, "finite and above 0", mean_norm)),
    }
}

fn refuse_gates(fields: &Fields) -> Result<()> {
    match fields.flag("use_glu_encoder") {
        true => {
            Err(fields
                .unsupported("an encoder with a gated linear unit", "encoders with one matrix are read"))
        }
        false => Ok(()),
    }
}

fn published(folder: &Path) -> Result<Dictionary> {
    let fields = Fields::open(&folder.join("hyperparams.json"), FORMAT)?;
    let file = Tensors::open(&folder.join("checkpoints/final.safetensors"), FORMAT)?;
    let [latents, d] = file.shape("encoder.weight")?;
    fields.agree("d_model", d)?;
    fields.agree("d_sae", latents)?;
    refuse_gates(&fields)?;
    let [input, output] = match fields.text("norm_activation") {
        // published files that leave it out state their norms all the same
        Some("dataset-wise") | None => {
            let norms = fields.part("dataset_average_activation_norm");
            [
                factor(d, norms.number("in")?, "the mean norm of inputs")?,
                factor(d, norms.number("out")?, "the mean norm of outputs")?,
            ]
        }
        Some("inference" | "none") => [1.0, 1.0],
        Some(other) => {
            let what = format!("`norm_activation: {other}`");
            return Err(fields.unsupported(what, "dataset-wise and inference are read"));
        }
    };
    let mut decoder = turned(&file.get("decoder.weight", &[d, latents])?, d, latents);
    decoder.iter_mut().for_each(|v| *v = *v * input / output);
    let mut encoder_bias = file.get("encoder.bias", &[latents])?;
    encoder_bias.iter_mut().for_each(|v| *v /= input);
    let mut decoder_bias = vec![0.0; d];
    if fields.get("use_decoder_bias").and_then(Value::as_bool).unwrap_or(true) {
        decoder_bias = file.get("decoder.bias", &[d])?;
        decoder_bias.iter_mut().for_each(|v| *v /= output);
    }
    let shift = match fields.flag("apply_decoder_bias_to_pre_encoder") {
        true => decoder_bias.clone(),
        false => vec![0.0; d],
    };
    let threshold = match fields.get("jump_relu_threshold") {
        None => 0.0,
        Some(_) => fields.number("jump_relu_threshold")?,
    };
    let activation = match fields.text("act_fn").unwrap_or("jumprelu") {
        "topk" if threshold <= 0.0 => Activation::TopK { k: fields.count("top_k", fields.get("top_k"))? },
        "jumprelu" | "topk" => Activation::JumpReLU { thresholds: vec![threshold; latents] },
        "relu" => Activation::ReLU,
        other => {
            return Err(
                fields.unsupported(format!("the activation {other}"), "jumprelu, topk and relu are read")
            );
        }
    };
    let mut dictionary = Dictionary {
        shape: Shape { d_in: d, latents, d_out: d },
        encoder: file.get("encoder.weight", &[latents, d])?,
        encoder_bias,
        decoder,
        decoder_bias,
        shift,
        skip: None,
        normalisation: Normalisation::None,
        activation,
    };
    if fields.get("sparsity_include_decoder_norm").and_then(Value::as_bool).unwrap_or(true) {
        unit_decoder(&mut dictionary);
    }
    Ok(dictionary)
}

fn current(folder: &Path) -> Result<Dictionary> {
    let fields = Fields::open(&folder.join("config.json"), FORMAT)?;
    let file = Tensors::open(&folder.join("sae_weights.safetensors"), FORMAT)?;
    if fields.text("sae_type") != Some("sae") {
        let what = format!("`sae_type: {}`", fields.text("sae_type").unwrap_or(""));
        return Err(fields.unsupported(what, "sae, which transcoders are too, is read"));
    }
    refuse_gates(&fields)?;
    let [d, latents] = file.shape("W_E")?;
    fields.agree("d_model", d)?;
    let normalisation = match fields.text("norm_activation") {
        Some("dataset-wise") | None => {
            let ends = [("hook_point_in", "inputs"), ("hook_point_out", "outputs")];
            let [input, output] = ends.map(|(key, rows)| {
                let name =
                    format!("dataset_average_activation_norm.{}", fields.text(key).unwrap_or_default());
                factor(d, file.number(&name)?, &format!("the mean norm of {rows}"))
            });
            Normalisation::Scale { input: input?, output: output? }
        }
        Some("inference") => Normalisation::None,
        Some(other) => {
            let what = format!("`norm_activation: {other}`");
            return Err(fields.unsupported(what, "dataset-wise and inference are read"));
        }
    };
    let decoder = file.get("W_D", &[latents, d])?;
    let by_norm = fields.get("sparsity_include_decoder_norm").and_then(Value::as_bool).unwrap_or(true);
    let activation = match fields.text("act_fn").unwrap_or("relu") {
        "relu" => Activation::ReLU,
        "jumprelu" => {
            let mut thresholds = file.get("activation_function.log_jumprelu_threshold", &[latents])?;
            thresholds.iter_mut().for_each(|v| *v = v.exp());
            if by_norm {
                thresholds
                    .iter_mut()
                    .zip(decoder.chunks_exact(d.max(1)))
                    .for_each(|(v, row)| *v /= norm(row));
            }
            Activation::JumpReLU { thresholds }
        }
        "topk" if !by_norm => Activation::TopK { k: fields.count("top_k", fields.get("top_k"))? },
        "topk" => {
            let what = "TopK by latents times their decoder's norm";
            return Err(fields.unsupported(what, "let the library give the decoder norms of 1 first"));
        }
        other => {
            return Err(fields.unsupported(
                format!("the activation {other}"),
                "relu, jumprelu and topk are read; let the library make BatchTopK a JumpReLU first",
            ));
        }
    };
    let biased = fields.get("use_decoder_bias").and_then(Value::as_bool).unwrap_or(true);
    Ok(Dictionary {
        shape: Shape { d_in: d, latents, d_out: d },
        encoder: turned(&file.get("W_E", &[d, latents])?, d, latents),
        encoder_bias: file.get("b_E", &[latents])?,
        decoder,
        decoder_bias: if biased { file.get("b_D", &[d])? } else { vec![0.0; d] },
        shift: vec![0.0; d],
        skip: None,
        normalisation,
        activation,
    })
}

/// Writes the published format, with everything in the weights (`norm_activation: inference`, no decoder norms in thresholds).
/// Fails where the format cannot hold it: it has one threshold for all latents.
pub fn write_llama_scope(dictionary: &Dictionary, folder: &Path) -> Result<()> {
    dictionary.check()?;
    let Shape { d_in, latents, d_out } = dictionary.shape;
    let (name, k, threshold) = match &dictionary.activation {
        Activation::ReLU => ("relu", 0, 0.0),
        Activation::TopK { k } => ("topk", *k, 0.0),
        Activation::BatchTopK { k, threshold } => ("jumprelu", *k, *threshold),
        Activation::JumpReLU { thresholds } if thresholds.iter().all(|v| *v == thresholds[0]) => {
            ("jumprelu", 0, thresholds[0])
        }
        Activation::JumpReLU { .. } => {
            return Err(setting("the thresholds", "one and the same for this format", "several"));
        }
        Activation::Gated { .. } => {
            return Err(setting(
                "the activation",
                "ReLU, TopK, BatchTopK or JumpReLU for this format",
                "Gated",
            ));
        }
    };
    if d_in != d_out || dictionary.skip.is_some() || dictionary.normalisation != Normalisation::None {
        let expected = "of one width, without normalisation and skip connection for this format";
        return Err(setting("the dictionary", expected, "another"));
    }
    let shifted = dictionary.shift == dictionary.decoder_bias;
    if !shifted && dictionary.shift.iter().any(|v| *v != 0.0) {
        return Err(setting("the input shift", "zero or the decoder's bias for this format", "another"));
    }
    let config = json!({
        "d_model": d_in, "d_sae": latents, "act_fn": name, "top_k": k, "jump_relu_threshold": threshold,
        "norm_activation": "inference", "sparsity_include_decoder_norm": false, "use_decoder_bias": true,
        "apply_decoder_bias_to_pre_encoder": shifted, "use_glu_encoder": false,
    });
    let decoder = turned(&dictionary.decoder, latents, d_out);
    let tensors = [
        ("encoder.weight", vec![latents, d_in], &dictionary.encoder[..]),
        ("encoder.bias", vec![latents], &dictionary.encoder_bias[..]),
        ("decoder.weight", vec![d_out, latents], &decoder[..]),
        ("decoder.bias", vec![d_out], &dictionary.decoder_bias[..]),
    ];
    make_folder(&folder.join("checkpoints"))?;
    write(&folder.join("checkpoints/final.safetensors"), FORMAT, &tensors)?;
    put(&folder.join("hyperparams.json"), config.to_string().as_bytes())
}
