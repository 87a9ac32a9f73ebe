//! The format of EleutherAI's sparsify, which multimodal-sae shares: TopK, inputs less the decoder's bias unless it is a
//! transcoder (`transcode`), an optional `W_skip` (d_out, d_in).

use std::path::Path;

use serde_json::{Value, json};

use crate::dictionary::{Activation, Dictionary, Normalisation, Shape};
use crate::error::{Result, setting};
use crate::files::tensors::{Fields, Tensors, make_folder, put, write};

const FORMAT: &str = "sparsify";

/// Reads `cfg.json` and `sae.safetensors` of a folder.
pub fn read_sparsify(folder: &Path) -> Result<Dictionary> {
    let fields = Fields::open(&folder.join("cfg.json"), FORMAT)?;
    let file = Tensors::open(&folder.join("sae.safetensors"), FORMAT)?;
    if fields.text("activation").is_some_and(|name| name != "topk") {
        let what = format!("the activation {:?}", fields.text("activation"));
        return Err(fields.unsupported(what, "topk is read"));
    }
    if fields.flag("signed") {
        return Err(
            fields.unsupported("a dictionary with latents below zero", "save it with `signed: false`")
        );
    }
    let [latents, d_in] = file.shape("encoder.weight")?;
    let [_, d_out] = file.shape("W_dec")?;
    fields.agree("d_in", d_in)?;
    if fields.get("num_latents").and_then(Value::as_u64).is_some_and(|n| n > 0) {
        fields.agree("num_latents", latents)?;
    }
    let decoder_bias = file.get("b_dec", &[d_out])?;
    let skip = file.maybe("W_skip", &[d_out, d_in])?;
    let shift = match fields.flag("transcode") || d_in != d_out {
        true => vec![0.0; d_in],
        false => decoder_bias.clone(),
    };
    let dictionary = Dictionary {
        shape: Shape { d_in, latents, d_out },
        encoder: file.get("encoder.weight", &[latents, d_in])?,
        encoder_bias: file.get("encoder.bias", &[latents])?,
        decoder: file.get("W_dec", &[latents, d_out])?,
        decoder_bias,
        shift,
        skip,
        normalisation: Normalisation::None,
        activation: Activation::TopK { k: fields.count("k", fields.get("k"))? },
    };
    dictionary.check()?;
    Ok(dictionary)
}

/// Writes a TopK dictionary so that sparsify means the same by it. Fails where the format cannot hold it.
pub fn write_sparsify(dictionary: &Dictionary, folder: &Path) -> Result<()> {
    dictionary.check()?;
    let Shape { d_in, latents, d_out } = dictionary.shape;
    let Activation::TopK { k } = dictionary.activation else {
        return Err(setting(
            "the activation",
            "TopK for this format",
            format!("{:?}", dictionary.activation),
        ));
    };
    if dictionary.normalisation != Normalisation::None {
        return Err(setting("the normalisation", "none for this format", "another"));
    }
    let transcode = dictionary.shift != dictionary.decoder_bias;
    if transcode && dictionary.shift.iter().any(|v| *v != 0.0) {
        return Err(setting("the input shift", "zero or the decoder's bias for this format", "another"));
    }
    let config = json!({
        "activation": "topk", "k": k, "d_in": d_in, "num_latents": latents, "normalize_decoder": false, "multi_topk": false,
        "skip_connection": dictionary.skip.is_some(), "transcode": transcode, "expansion_factor": latents.div_ceil(d_in),
    });
    let mut tensors = vec![
        ("encoder.weight", vec![latents, d_in], &dictionary.encoder[..]),
        ("encoder.bias", vec![latents], &dictionary.encoder_bias[..]),
        ("W_dec", vec![latents, d_out], &dictionary.decoder[..]),
        ("b_dec", vec![d_out], &dictionary.decoder_bias[..]),
    ];
    if let Some(skip) = &dictionary.skip {
        tensors.push(("W_skip", vec![d_out, d_in], skip));
    }
    make_folder(folder)?;
    write(&folder.join("sae.safetensors"), FORMAT, &tensors)?;
    put(&folder.join("cfg.json"), config.to_string().as_bytes())
}
