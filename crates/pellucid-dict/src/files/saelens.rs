//! The format of SAELens: `architecture` standard, topk, jumprelu, gated, transcoder, skip_transcoder or jumprelu_transcoder;
//! `apply_b_dec_to_input`; `normalize_activations` none, constant_norm_rescale or layer_norm (expected_average_only_in is folded
//! into the weights by SAELens when it saves).

use std::path::Path;

use serde_json::{Value, json};

use crate::dictionary::{Activation, Dictionary, Normalisation, Shape};
use crate::error::{Result, setting};
use crate::files::tensors::{Fields, Tensors, make_folder, put, turned, write};

const FORMAT: &str = "SAELens";
const ARCHITECTURES: &str =
    "standard, topk, jumprelu, gated, transcoder, skip_transcoder and jumprelu_transcoder are read";

/// Reads `cfg.json` and `sae_weights.safetensors` of a folder.
pub fn read_saelens(folder: &Path) -> Result<Dictionary> {
    let fields = Fields::open(folder.join("cfg.json"), FORMAT)?;
    let file = Tensors::open(folder.join("sae_weights.safetensors"), FORMAT)?;
    let [d_in, latents] = file.shape("W_enc")?;
    let [_, d_out] = file.shape("W_dec")?;
    let shape = Shape { d_in, latents, d_out };
    fields.agree("d_in", d_in)?;
    fields.agree("d_sae", latents)?;
    fields.agree("d_out", d_out)?;
    for flag in ["rescale_acts_by_decoder_norm", "reshape_activations_hook_z"] {
        if fields.flag(flag) {
            return Err(fields.unsupported(format!("`{flag}`"), "save it again without"));
        }
    }
    let (activation, bias) = activation(&fields, &file, latents)?;
    let decoder_bias = file.get("b_dec", &[d_out])?;
    let shift = match fields.flag("apply_b_dec_to_input") {
        true => decoder_bias.clone(),
        false => vec![0.0; d_in],
    };
    let dictionary = Dictionary {
        shape,
        encoder: turned(&file.get("W_enc", &[d_in, latents])?, d_in, latents),
        encoder_bias: file.get(bias, &[latents])?,
        decoder: file.get("W_dec", &[latents, d_out])?,
        decoder_bias,
        shift,
        skip: if file.has("W_skip")? { Some(file.get("W_skip", &[d_out, d_in])?) } else { None },
        normalisation: normalisation(&fields)?,
        activation,
    };
    dictionary.check()?;
    Ok(dictionary)
}

/// The activation, and the name of the encoder's bias.
fn activation(fields: &Fields, file: &Tensors, latents: usize) -> Result<(Activation, &'static str)> {
    // before version 4 TopK was a standard one with another function
    let older = fields.text("activation_fn_str").or(fields.text("activation_fn"));
    let kind = match (fields.text("architecture").unwrap_or("standard"), older) {
        ("standard" | "transcoder", Some("topk")) => "topk",
        ("standard" | "transcoder", Some(other)) if other != "relu" => {
            return Err(fields.unsupported(format!("the activation {other}"), "relu and topk are read"));
        }
        (kind, _) => kind,
    };
    Ok(match kind {
        "standard" | "transcoder" | "skip_transcoder" => (Activation::ReLU, "b_enc"),
        "topk" => {
            let nested = fields.get("activation_fn_kwargs").and_then(|all| all.get("k"));
            (Activation::TopK { k: fields.count("k", fields.get("k").or(nested))? }, "b_enc")
        }
        "jumprelu" | "jumprelu_transcoder" => {
            (Activation::JumpReLU { thresholds: file.get("threshold", &[latents])? }, "b_enc")
        }
        "gated" => {
            let log_scale = file.get("r_mag", &[latents])?;
            (Activation::Gated { log_scale, bias: file.get("b_mag", &[latents])? }, "b_gate")
        }
        other => return Err(fields.unsupported(format!("the architecture {other}"), ARCHITECTURES)),
    })
}

fn normalisation(fields: &Fields) -> Result<Normalisation> {
    match fields.get("normalize_activations") {
        None => Ok(Normalisation::None),
        Some(Value::String(name)) => match name.as_str() {
            "none" | "expected_average_only_in" => Ok(Normalisation::None),
            "constant_norm_rescale" => Ok(Normalisation::RowNorm),
            "layer_norm" => Ok(Normalisation::LayerNorm { epsilon: 1e-5 }),
            other => Err(fields.unsupported(
                format!("the normalisation {other}"),
                "none, constant_norm_rescale and layer_norm are read",
            )),
        },
        Some(other) => Err(fields.unsupported(format!("the normalisation {other}"), "its name is expected")),
    }
}

/// Writes a dictionary so that SAELens means the same by it; BatchTopK becomes JumpReLU, as SAELens itself does it. Fails where
/// the format cannot hold it.
pub fn write_saelens(dictionary: &Dictionary, folder: &Path) -> Result<()> {
    dictionary.check()?;
    let Shape { d_in, latents, d_out } = dictionary.shape;
    let normalisation = match dictionary.normalisation {
        Normalisation::None => "none",
        Normalisation::RowNorm => "constant_norm_rescale",
        Normalisation::LayerNorm { epsilon: 1e-5 } => "layer_norm",
        other => return Err(setting("the normalisation", "one of SAELens's", format!("{other:?}"))),
    };
    let shifted = dictionary.shift == dictionary.decoder_bias;
    if !shifted && dictionary.shift.iter().any(|v| *v != 0.0) {
        return Err(setting("the input shift", "zero or the decoder's bias for this format", "another"));
    }
    if d_in != d_out || dictionary.skip.is_some() {
        return Err(setting("the dictionary", "an autoencoder to be written here", "a transcoder"));
    }
    let encoder = turned(&dictionary.encoder, latents, d_in);
    let thresholds;
    let mut config = json!({
        "d_in": d_in, "d_sae": latents, "dtype": "float32", "apply_b_dec_to_input": shifted,
        "normalize_activations": normalisation,
    });
    let one = vec![latents];
    let mut tensors = vec![
        ("W_enc", vec![d_in, latents], &encoder[..]),
        ("W_dec", vec![latents, d_out], &dictionary.decoder[..]),
        ("b_dec", vec![d_out], &dictionary.decoder_bias[..]),
    ];
    let (architecture, bias) = match &dictionary.activation {
        Activation::ReLU => ("standard", "b_enc"),
        Activation::TopK { k } => {
            config["k"] = json!(k);
            ("topk", "b_enc")
        }
        Activation::BatchTopK { threshold, .. } => {
            thresholds = vec![*threshold; latents];
            tensors.push(("threshold", one.clone(), &thresholds));
            ("jumprelu", "b_enc")
        }
        Activation::JumpReLU { thresholds } => {
            tensors.push(("threshold", one.clone(), thresholds));
            ("jumprelu", "b_enc")
        }
        Activation::Gated { log_scale, bias } => {
            tensors.push(("r_mag", one.clone(), log_scale));
            tensors.push(("b_mag", one.clone(), bias));
            ("gated", "b_gate")
        }
    };
    tensors.push((bias, one, &dictionary.encoder_bias));
    config["architecture"] = json!(architecture);
    if architecture == "topk" {
        config["rescale_acts_by_decoder_norm"] = json!(false);
    }
    make_folder(folder)?;
    write(&folder.join("sae_weights.safetensors"), FORMAT, &tensors)?;
    put(&folder.join("cfg.json"), config.to_string().as_bytes())
}
