//! The format of circuit-tracer's single-layer transcoders: `layer_N.safetensors` with `W_enc` (n, d), `W_dec` (n, d), `b_enc`, `b_dec`,
//! perhaps `activation_function.threshold` (n; ReLU without it) and `W_skip` (d, d), and for all layers one `config.yaml` that names the
//! model and the hooks.

use std::path::Path;

use crate::dictionary::{Activation, Dictionary, Normalisation, Shape};
use crate::error::{Result, setting};
use crate::files::tensors::{Tensors, make_folder, read, write};

const FORMAT: &str = "circuit-tracer";

/// Reads one layer's file.
pub fn read_circuit_tracer(path: &Path) -> Result<Dictionary> {
    let file = Tensors::open(path, FORMAT)?;
    let [latents, d_in] = file.shape("W_enc")?;
    let [_, d_out] = file.shape("W_dec")?;
    let activation = match file.maybe("activation_function.threshold", &[latents])? {
        None => Activation::ReLU,
        // this library's JumpReLU has no ReLU in it: a threshold below zero would let negative values through
        Some(thresholds) if thresholds.iter().any(|v| *v < 0.0) => {
            return Err(
                file.unsupported("a threshold below zero", "raise it to 0, or train with positive ones")
            );
        }
        Some(thresholds) => Activation::JumpReLU { thresholds },
    };
    let dictionary = Dictionary {
        shape: Shape { d_in, latents, d_out },
        encoder: file.get("W_enc", &[latents, d_in])?,
        encoder_bias: file.get("b_enc", &[latents])?,
        decoder: file.get("W_dec", &[latents, d_out])?,
        decoder_bias: file.get("b_dec", &[d_out])?,
        shift: vec![0.0; d_in],
        skip: file.maybe("W_skip", &[d_out, d_in])?,
        normalisation: Normalisation::None,
        activation,
    };
    dictionary.check()?;
    Ok(dictionary)
}

/// The layer in a file's name, `layer_N.safetensors`.
pub(crate) fn layer(path: &Path) -> Option<usize> {
    path.file_name()?.to_str()?.strip_prefix("layer_")?.strip_suffix(".safetensors")?.parse().ok()
}

/// Where a layer's transcoder reads, and where it writes, as `config.yaml` beside it says for all: TransformerLens's names.
/// Of YAML no more is read than a line `name: value` at its beginning.
pub(crate) fn hooks(path: &Path) -> Result<[Option<String>; 2]> {
    let config = path.with_file_name("config.yaml");
    let (Some(layer), true) = (layer(path), config.exists()) else { return Ok([None, None]) };
    let text = String::from_utf8_lossy(&read(&config)?).into_owned();
    Ok(["feature_input_hook", "feature_output_hook"].map(|key| {
        let line = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(':'));
        line.map(|name| format!("blocks.{layer}.{}", name.trim().trim_matches(['"', '\''])))
    }))
}

/// Writes one layer's file so that circuit-tracer means the same by it; a `config.yaml` for all layers is the caller's. Fails where
/// the format cannot hold it.
pub fn write_circuit_tracer(dictionary: &Dictionary, path: &Path) -> Result<()> {
    dictionary.check()?;
    let Shape { d_in, latents, d_out } = dictionary.shape;
    let mut tensors = vec![
        ("W_enc", vec![latents, d_in], &dictionary.encoder[..]),
        ("W_dec", vec![latents, d_out], &dictionary.decoder[..]),
        ("b_enc", vec![latents], &dictionary.encoder_bias[..]),
        ("b_dec", vec![d_out], &dictionary.decoder_bias[..]),
    ];
    let thresholds;
    match &dictionary.activation {
        Activation::ReLU => {}
        Activation::JumpReLU { thresholds } if thresholds.iter().all(|v| *v >= 0.0) => {
            tensors.push(("activation_function.threshold", vec![latents], thresholds));
        }
        Activation::BatchTopK { threshold, .. } => {
            thresholds = vec![threshold.max(0.0); latents];
            tensors.push(("activation_function.threshold", vec![latents], &thresholds));
        }
        other => {
            let expected = "ReLU, BatchTopK or JumpReLU with thresholds of 0 or more for this format";
            return Err(setting("the activation", expected, format!("{other:?}")));
        }
    }
    if d_in != d_out
        || dictionary.normalisation != Normalisation::None
        || dictionary.shift.iter().any(|v| *v != 0.0)
    {
        let expected = "of one width, without normalisation and input shift for this format";
        return Err(setting("the dictionary", expected, "another"));
    }
    if let Some(skip) = &dictionary.skip {
        tensors.push(("W_skip", vec![d_out, d_in], skip));
    }
    if let Some(folder) = path.parent() {
        make_folder(folder)?;
    }
    write(path, FORMAT, &tensors)
}
