//! The format of SAELens (version 6, and what it still reads of older ones): `cfg.json` and `sae_weights.safetensors` with `W_enc`
//! (d_in, n) and `W_dec` (n, d_out).
//!
//! `architecture` is standard, topk, jumprelu, gated, transcoder, skip_transcoder, jumprelu_transcoder or
//! jumprelu_skip_transcoder; BatchTopK and Matryoshka dictionaries are saved as jumprelu. `apply_b_dec_to_input` is true where it
//! is not said. `normalize_activations` is none, constant_norm_rescale or layer_norm; expected_average_only_in does nothing when
//! SAELens runs a dictionary, because it belongs into the weights, and does nothing here. With `reshape_activations: hook_z` rows are
//! all heads side by side, as they are here.

use std::path::Path;

use serde_json::{Value, json};

use crate::dictionary::{Activation, Dictionary, Normalisation, Shape};
use crate::error::{Result, setting};
use crate::files::tensors::{Fields, Tensors, make_folder, put, turned, write};

const FORMAT: &str = "SAELens";
const ARCHITECTURES: [&str; 8] = [
    "standard",
    "topk",
    "jumprelu",
    "gated",
    "transcoder",
    "skip_transcoder",
    "jumprelu_transcoder",
    "jumprelu_skip_transcoder",
];

/// Reads `cfg.json` and `sae_weights.safetensors` of a folder.
pub fn read_saelens(folder: &Path) -> Result<Dictionary> {
    let fields = Fields::open(&folder.join("cfg.json"), FORMAT)?;
    let file = Tensors::open(&folder.join("sae_weights.safetensors"), FORMAT)?;
    let [d_in, latents] = file.shape("W_enc")?;
    let [_, d_out] = file.shape("W_dec")?;
    fields.agree("d_in", d_in)?;
    fields.agree("d_sae", latents)?;
    let kind = architecture(&fields)?;
    let transcoder = kind.ends_with("transcoder");
    fields.agree("d_out", if transcoder { d_out } else { d_in })?;
    refuse_oddities(&fields, &file, transcoder)?;
    let (activation, bias) = activation(kind, &fields, &file, latents)?;
    let decoder_bias = file.get("b_dec", &[d_out])?;
    let subtracted = fields.get("apply_b_dec_to_input").and_then(Value::as_bool).unwrap_or(!transcoder);
    let shift = match subtracted && !transcoder {
        true => decoder_bias.clone(),
        false => vec![0.0; d_in],
    };
    let mut dictionary = Dictionary {
        shape: Shape { d_in, latents, d_out },
        encoder: turned(&file.get("W_enc", &[d_in, latents])?, d_in, latents),
        encoder_bias: file.get(bias, &[latents])?,
        decoder: file.get("W_dec", &[latents, d_out])?,
        decoder_bias,
        shift,
        skip: match kind.contains("skip") {
            true => Some(file.get("W_skip", &[d_out, d_in])?),
            false => None,
        },
        normalisation: normalisation(&fields)?,
        activation,
    };
    if fields.flag("rescale_acts_by_decoder_norm") && kind == "topk" {
        unit_decoder(&mut dictionary);
    }
    dictionary.check()?;
    Ok(dictionary)
}

/// The same function with decoder rows of norm 1: their norms go into the encoder, and so into the latents. A threshold stays as
/// it is; whoever calls this says in what units it was.
pub(crate) fn unit_decoder(dictionary: &mut Dictionary) {
    let Shape { d_in, d_out, .. } = dictionary.shape;
    // a width of 0 is refused later, with the rest of the dictionary's checks
    let decoder = dictionary.decoder.chunks_exact_mut(d_out.max(1));
    let rows = decoder.zip(dictionary.encoder.chunks_exact_mut(d_in.max(1)));
    for ((decoder, encoder), bias) in rows.zip(&mut dictionary.encoder_bias) {
        let norm = norm(decoder);
        decoder.iter_mut().for_each(|v| *v /= norm);
        encoder.iter_mut().for_each(|v| *v *= norm);
        *bias *= norm;
    }
}

/// A direction's length; 1 for one that is nowhere, which nothing should be divided by.
pub(crate) fn norm(row: &[f32]) -> f32 {
    let norm = row.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt() as f32;
    if norm > 0.0 { norm } else { 1.0 }
}

/// The architecture's name, as version 6 has it.
fn architecture(fields: &Fields) -> Result<&str> {
    // before version 4 TopK was a standard one with another function
    let older = fields.text("activation_fn_str").or(fields.text("activation_fn"));
    match (fields.text("architecture").unwrap_or("standard"), older) {
        ("standard", Some("topk")) => Ok("topk"),
        ("standard" | "transcoder", Some(other)) if other != "relu" => {
            Err(fields.unsupported(format!("the activation {other}"), "relu and topk are read"))
        }
        (kind, _) if ARCHITECTURES.contains(&kind) => Ok(kind),
        (other, _) => Err(fields.unsupported(
            format!("the architecture {other}"),
            &format!("{} are read", ARCHITECTURES.join(", ")),
        )),
    }
}

/// What changes a dictionary's meaning and is not read.
fn refuse_oddities(fields: &Fields, file: &Tensors, transcoder: bool) -> Result<()> {
    if !matches!(fields.text("reshape_activations"), None | Some("none" | "hook_z")) {
        let what = format!("`reshape_activations: {}`", fields.text("reshape_activations").unwrap_or(""));
        return Err(fields.unsupported(what, "none and hook_z are read"));
    }
    // SAELens normalises a transcoder's input and leaves its output as it is
    if transcoder && normalisation(fields)? != Normalisation::None {
        return Err(
            fields.unsupported("a transcoder that normalises its input", "fold the scale into its weights")
        );
    }
    let scaled = |name: &str| -> Result<bool> {
        Ok(match file.has(name) {
            true => file.get(name, &file.shape::<1>(name)?)?.iter().any(|v| *v != 1.0),
            false => false,
        })
    };
    if scaled("scaling_factor")? || scaled("finetuning_scaling_factor")? {
        return Err(
            file.unsupported("a dictionary fine-tuned by a scale of its latents", "fold it into `W_dec`")
        );
    }
    Ok(())
}

/// The activation, and the name of the encoder's bias.
fn activation(
    kind: &str,
    fields: &Fields,
    file: &Tensors,
    latents: usize,
) -> Result<(Activation, &'static str)> {
    Ok(match kind {
        "standard" | "transcoder" | "skip_transcoder" => (Activation::ReLU, "b_enc"),
        "topk" => {
            let nested = fields.get("activation_fn_kwargs").and_then(|all| all.get("k"));
            (Activation::TopK { k: fields.count("k", fields.get("k").or(nested))? }, "b_enc")
        }
        "jumprelu" | "jumprelu_transcoder" | "jumprelu_skip_transcoder" => {
            (Activation::JumpReLU { thresholds: file.get("threshold", &[latents])? }, "b_enc")
        }
        _ => {
            let log_scale = file.get("r_mag", &[latents])?;
            (Activation::Gated { log_scale, bias: file.get("b_mag", &[latents])? }, "b_gate")
        }
    })
}

fn normalisation(fields: &Fields) -> Result<Normalisation> {
    match fields.get("normalize_activations") {
        // before names there were truths, and true meant the average
        None | Some(Value::Bool(_)) => Ok(Normalisation::None),
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

/// Where SAELens says a dictionary reads, and where it writes: TransformerLens's names.
pub(crate) fn hooks(folder: &Path) -> Result<[Option<String>; 2]> {
    let fields = Fields::open(&folder.join("cfg.json"), FORMAT)?;
    let metadata = fields.part("metadata");
    let name = |keys: &[&str]| {
        keys.iter().find_map(|key| metadata.text(key).or(fields.text(key))).map(str::to_owned)
    };
    Ok([name(&["hook_name", "hook_point"]), name(&["hook_name_out", "hook_point_out"])])
}

/// SAELens's names for a dictionary's normalisation and architecture, or why it has none.
fn names(dictionary: &Dictionary, transcoder: bool) -> Result<[&'static str; 2]> {
    let Shape { d_in, d_out, .. } = dictionary.shape;
    let normalisation = match dictionary.normalisation {
        Normalisation::None => "none",
        Normalisation::RowNorm => "constant_norm_rescale",
        Normalisation::LayerNorm { epsilon: 1e-5 } => "layer_norm",
        other => return Err(setting("the normalisation", "one of SAELens's", format!("{other:?}"))),
    };
    let zero = dictionary.shift.iter().all(|v| *v == 0.0);
    if !zero && dictionary.shift != dictionary.decoder_bias {
        return Err(setting("the input shift", "zero or the decoder's bias for this format", "another"));
    }
    let kind = match &dictionary.activation {
        Activation::ReLU => "standard",
        Activation::TopK { .. } => "topk",
        Activation::BatchTopK { .. } | Activation::JumpReLU { .. } => "jumprelu",
        Activation::Gated { .. } => "gated",
    };
    if !transcoder && d_in == d_out && dictionary.skip.is_none() {
        return Ok([normalisation, kind]);
    }
    if normalisation != "none" || !zero {
        return Err(setting(
            "a transcoder",
            "without normalisation and input shift for this format",
            "with one",
        ));
    }
    let transcoder = match (kind, dictionary.skip.is_some()) {
        ("standard", false) => "transcoder",
        ("standard", true) => "skip_transcoder",
        ("jumprelu", false) => "jumprelu_transcoder",
        ("jumprelu", true) => "jumprelu_skip_transcoder",
        (other, _) => {
            return Err(setting("a transcoder's activation", "ReLU or JumpReLU for this format", other));
        }
    };
    Ok([normalisation, transcoder])
}

/// Writes a dictionary so that SAELens means the same by it; BatchTopK becomes JumpReLU, as SAELens itself does it. Fails where
/// the format cannot hold it. `hook` says where it stands, in TransformerLens's words.
pub fn write_saelens(dictionary: &Dictionary, hook: Option<&str>, folder: &Path) -> Result<()> {
    let metadata = hook.map(|hook| json!({ "hook_name": hook }));
    put_together(dictionary, false, metadata, folder)
}

/// The same for a transcoder, which reads one hook and writes another.
pub fn write_saelens_transcoder(dictionary: &Dictionary, [from, to]: [&str; 2], folder: &Path) -> Result<()> {
    put_together(dictionary, true, Some(json!({ "hook_name": from, "hook_name_out": to })), folder)
}

fn put_together(
    dictionary: &Dictionary,
    transcoder: bool,
    metadata: Option<Value>,
    folder: &Path,
) -> Result<()> {
    dictionary.check()?;
    let Shape { d_in, latents, d_out } = dictionary.shape;
    let [normalisation, architecture] = names(dictionary, transcoder)?;
    let transcoder = architecture.ends_with("transcoder");
    let encoder = turned(&dictionary.encoder, latents, d_in);
    let thresholds;
    let mut config = json!({
        "architecture": architecture, "d_in": d_in, "d_sae": latents, "dtype": "float32",
        "apply_b_dec_to_input": !transcoder && dictionary.shift == dictionary.decoder_bias,
        "normalize_activations": normalisation,
    });
    if transcoder {
        config["d_out"] = json!(d_out);
    }
    if let Some(metadata) = metadata {
        config["metadata"] = metadata;
    }
    let one = vec![latents];
    let bias = if architecture == "gated" { "b_gate" } else { "b_enc" };
    let mut tensors = vec![
        ("W_enc", vec![d_in, latents], &encoder[..]),
        ("W_dec", vec![latents, d_out], &dictionary.decoder[..]),
        (bias, one.clone(), &dictionary.encoder_bias[..]),
        ("b_dec", vec![d_out], &dictionary.decoder_bias[..]),
    ];
    match &dictionary.activation {
        Activation::ReLU => {}
        Activation::TopK { k } => {
            config["k"] = json!(k);
            config["rescale_acts_by_decoder_norm"] = json!(false);
        }
        Activation::BatchTopK { threshold, .. } => {
            thresholds = vec![*threshold; latents];
            tensors.push(("threshold", one, &thresholds));
        }
        Activation::JumpReLU { thresholds } => tensors.push(("threshold", one, thresholds)),
        Activation::Gated { log_scale, bias } => {
            tensors.push(("r_mag", one.clone(), log_scale));
            tensors.push(("b_mag", one, bias));
        }
    }
    if let Some(skip) = &dictionary.skip {
        tensors.push(("W_skip", vec![d_out, d_in], skip));
    }
    make_folder(folder)?;
    write(&folder.join("sae_weights.safetensors"), FORMAT, &tensors)?;
    put(&folder.join("cfg.json"), config.to_string().as_bytes())
}
