//! The format of dictionary_learning (Marks, Karvonen and Mueller): `ae.pt`, a pickled state dict, and `config.json`, whose
//! `trainer.dict_class` says what the tensors mean.
//!
//! AutoEncoder subtracts `bias` from its input and AutoEncoderNew (the April update) nothing; the others subtract the decoder's
//! bias but for JumpReluAutoEncoder. AutoEncoderTopK and BatchTopKSAE have the same tensors and differ in the
//! configuration alone. The library gives an AutoEncoder's decoder norms of 1 when it loads one, so latents are in those units here too.

use std::path::{Path, PathBuf};

use serde_json::json;

use crate::dictionary::{Activation, Dictionary, Normalisation, Shape};
use crate::error::{Result, setting};
use crate::files::saelens::{norm, unit_decoder};
use crate::files::tensors::{Fields, Tensors, make_folder, put, turned};
use crate::files::torch::{self, Item};

const FORMAT: &str = "dictionary_learning";
const CLASSES: &str = "AutoEncoder, AutoEncoderNew, GatedAutoEncoder, JumpReluAutoEncoder, AutoEncoderTopK, BatchTopKSAE and \
                       MatryoshkaBatchTopKSAE are read";

fn files(path: &Path) -> (PathBuf, PathBuf) {
    let file = if path.is_dir() { path.join("ae.pt") } else { path.to_owned() };
    let config = file.with_file_name("config.json");
    (file, config)
}

/// Reads a folder with `ae.pt` and `config.json`, or such a file with its configuration beside it. Nothing of a pickle is executed.
pub fn read_dictionary_learning(path: &Path) -> Result<Dictionary> {
    let (path, config) = files(path);
    let (file, _) = torch::open(&path, FORMAT)?;
    let fields = match config.exists() {
        true => Fields::open(&config, FORMAT)?.part("trainer"),
        false => Fields::new(serde_json::Map::new(), &config, FORMAT),
    };
    let class = class(&file, &fields)?;
    let capitals = matches!(class, "JumpReluAutoEncoder" | "MatryoshkaBatchTopKSAE");
    let (d, latents) = match capitals {
        true => file.shape::<2>("W_enc").map(|[d, n]| (d, n))?,
        false => file.shape::<2>("encoder.weight").map(|[n, d]| (d, n))?,
    };
    fields.agree("activation_dim", d)?;
    fields.agree("dict_size", latents)?;
    let [encoder_bias, decoder_bias] = match class {
        "AutoEncoder" => ["encoder.bias", "bias"],
        "AutoEncoderNew" => ["encoder.bias", "decoder.bias"],
        "GatedAutoEncoder" => ["gate_bias", "decoder_bias"],
        _ if capitals => ["b_enc", "b_dec"],
        _ => ["encoder.bias", "b_dec"],
    };
    let decoder_bias = file.get(decoder_bias, &[d])?;
    let shift = match class {
        "AutoEncoderNew" | "JumpReluAutoEncoder" => vec![0.0; d],
        _ => decoder_bias.clone(),
    };
    let mut dictionary = Dictionary {
        shape: Shape { d_in: d, latents, d_out: d },
        encoder: match capitals {
            true => turned(&file.get("W_enc", &[d, latents])?, d, latents),
            false => file.get("encoder.weight", &[latents, d])?,
        },
        encoder_bias: file.get(encoder_bias, &[latents])?,
        decoder: match capitals {
            true => file.get("W_dec", &[latents, d])?,
            false => turned(&file.get("decoder.weight", &[d, latents])?, d, latents),
        },
        decoder_bias,
        shift,
        skip: None,
        normalisation: Normalisation::None,
        activation: activation(class, &file, &fields, latents)?,
    };
    if class == "AutoEncoder" && !unit(&dictionary) {
        unit_decoder(&mut dictionary);
    }
    dictionary.check()?;
    Ok(dictionary)
}

/// The class that the configuration names, or the only one that has these tensors.
fn class<'a>(file: &Tensors, fields: &'a Fields) -> Result<&'a str> {
    if let Some(name) = fields.text("dict_class") {
        return Ok(name);
    }
    let has = |name: &str| file.has(name);
    match (has("r_mag"), has("group_sizes"), has("W_enc"), has("k"), has("bias"), has("decoder.bias")) {
        (true, ..) => Ok("GatedAutoEncoder"),
        (_, true, ..) => Ok("MatryoshkaBatchTopKSAE"),
        (_, _, true, ..) => Ok("JumpReluAutoEncoder"),
        (_, _, _, true, ..) => Err(fields.unsupported(
            "a dictionary without its config.json",
            "its `trainer.dict_class` decides between AutoEncoderTopK and BatchTopKSAE, whose tensors are the same",
        )),
        (.., true, _) => Ok("AutoEncoder"),
        (.., true) => Ok("AutoEncoderNew"),
        // whatever it is, it has no bias of a known name
        _ => Ok("AutoEncoder"),
    }
}

fn activation(class: &str, file: &Tensors, fields: &Fields, latents: usize) -> Result<Activation> {
    let k = || -> Result<usize> {
        let stated = fields.count("k", fields.get("k"));
        if !file.has("k") {
            return stated;
        }
        // small whole numbers are exact as f32
        let kept = file.number("k")?;
        let kept = if (0.0..16_777_216.0).contains(&kept) { kept as usize } else { 0 };
        fields.agree("k", kept)?;
        Ok(kept)
    };
    Ok(match class {
        "AutoEncoder" | "AutoEncoderNew" => Activation::ReLU,
        "GatedAutoEncoder" => Activation::Gated {
            log_scale: file.get("r_mag", &[latents])?,
            bias: file.get("mag_bias", &[latents])?,
        },
        "JumpReluAutoEncoder" => Activation::JumpReLU { thresholds: file.get("threshold", &[latents])? },
        "AutoEncoderTopK" => Activation::TopK { k: k()? },
        "BatchTopKSAE" | "MatryoshkaBatchTopKSAE" => {
            Activation::BatchTopK { k: k()?, threshold: file.number("threshold")? }
        }
        other => return Err(fields.unsupported(format!("the class {other}"), CLASSES)),
    })
}

/// Whether the library would take its decoder's norms for 1.
fn unit(dictionary: &Dictionary) -> bool {
    dictionary
        .decoder
        .chunks_exact(dictionary.shape.d_out.max(1))
        .all(|row| (norm(row) - 1.0).abs() <= 1.1e-5)
}

/// Where such a dictionary reads and writes, in the words of those who trained it.
pub(crate) fn hooks(path: &Path) -> Result<[Option<String>; 2]> {
    let (_, config) = files(path);
    if !config.exists() {
        return Ok([None, None]);
    }
    let fields = Fields::open(&config, FORMAT)?.part("trainer");
    let place = fields.text("submodule_name").map(|name| match name.split_once("_layer_") {
        Some((point, layer)) => format!("{point}.{layer}"),
        None => name.to_owned(),
    });
    Ok([place, None])
}

/// The class that can hold a dictionary, with its names of the encoder's and the decoder's bias.
fn class_of(dictionary: &Dictionary) -> Result<[&'static str; 3]> {
    let Shape { d_in, d_out, .. } = dictionary.shape;
    if d_in != d_out || dictionary.skip.is_some() || dictionary.normalisation != Normalisation::None {
        let expected = "of one width, without normalisation and skip connection for this format";
        return Err(setting("the dictionary", expected, "another"));
    }
    let zero = dictionary.shift.iter().all(|v| *v == 0.0);
    let shifted = dictionary.shift == dictionary.decoder_bias;
    match &dictionary.activation {
        Activation::ReLU if zero => Ok(["AutoEncoderNew", "encoder.bias", "decoder.bias"]),
        Activation::ReLU if shifted && !unit(dictionary) => {
            let expected = "rows of norm 1 where the input is shifted: the library makes them so, and scales the latents";
            Err(setting("the decoder", expected, "others"))
        }
        Activation::ReLU if shifted => Ok(["AutoEncoder", "encoder.bias", "bias"]),
        Activation::JumpReLU { .. } if zero => Ok(["JumpReluAutoEncoder", "b_enc", "b_dec"]),
        Activation::TopK { .. } if shifted => Ok(["AutoEncoderTopK", "encoder.bias", "b_dec"]),
        Activation::BatchTopK { .. } if shifted => Ok(["BatchTopKSAE", "encoder.bias", "b_dec"]),
        Activation::Gated { .. } if shifted => Ok(["GatedAutoEncoder", "gate_bias", "decoder_bias"]),
        _ => {
            let expected =
                "zero for ReLU and JumpReLU, the decoder's bias for all but JumpReLU in this format";
            Err(setting("the input shift", expected, "another"))
        }
    }
}

/// Writes `ae.pt` and `config.json` so that the library means the same by it. Fails where the format cannot hold it.
pub fn write_dictionary_learning(dictionary: &Dictionary, folder: &Path) -> Result<()> {
    dictionary.check()?;
    let Shape { d_in, latents, d_out } = dictionary.shape;
    let [class, encoder_bias, decoder_bias] = class_of(dictionary)?;
    let (encoder, decoder) =
        (turned(&dictionary.encoder, latents, d_in), turned(&dictionary.decoder, latents, d_out));
    let mut items = match class {
        "JumpReluAutoEncoder" => vec![
            ("W_enc", Item::Floats(vec![d_in, latents], &encoder)),
            ("W_dec", Item::Floats(vec![latents, d_out], &dictionary.decoder)),
        ],
        _ => vec![
            ("encoder.weight", Item::Floats(vec![latents, d_in], &dictionary.encoder)),
            ("decoder.weight", Item::Floats(vec![d_out, latents], &decoder)),
        ],
    };
    items.push((encoder_bias, Item::Floats(vec![latents], &dictionary.encoder_bias)));
    items.push((decoder_bias, Item::Floats(vec![d_out], &dictionary.decoder_bias)));
    let mut trainer = json!({ "dict_class": class, "activation_dim": d_in, "dict_size": latents });
    let mut counted = |k: usize, threshold: f32| {
        trainer["k"] = json!(k);
        items.push(("k", Item::Int(k as i32)));
        items.push(("threshold", Item::Float(threshold)));
    };
    match &dictionary.activation {
        Activation::ReLU => {}
        // −1 is what the library keeps where it has not found one
        Activation::TopK { k } => counted(*k, -1.0),
        Activation::BatchTopK { k, threshold } => counted(*k, *threshold),
        Activation::JumpReLU { thresholds } => {
            items.push(("threshold", Item::Floats(vec![latents], thresholds)));
        }
        Activation::Gated { log_scale, bias } => {
            items.push(("r_mag", Item::Floats(vec![latents], log_scale)));
            items.push(("mag_bias", Item::Floats(vec![latents], bias)));
        }
    }
    make_folder(folder)?;
    torch::write(&folder.join("ae.pt"), &items)?;
    put(&folder.join("config.json"), json!({ "trainer": trainer }).to_string().as_bytes())
}
