//! The format of OpenAI's sparse_autoencoder (Gao et al. 2024, arXiv 2406.04093; versions 1, 4 and 5): a `.pt` file with
//! `pre_bias`, `latent_bias`, `encoder.weight` (n, d), `decoder.weight` (d, n), the name of an `activation` and its state. TopK stands for a
//! layer norm before and after, as the library has it. Read, not written: SAELens's format says the same and is no pickle.

use std::path::Path;

use crate::dictionary::{Activation, Dictionary, Normalisation, Shape};
use crate::error::Result;
use crate::files::tensors::turned;
use crate::files::torch;

const FORMAT: &str = "OpenAI sparse_autoencoder";

/// Reads one `.pt` file. Nothing of a pickle is executed.
pub fn read_openai(path: &Path) -> Result<Dictionary> {
    let (file, fields) = torch::open(path, FORMAT)?;
    let [latents, d] = file.shape("encoder.weight")?;
    let (activation, normalisation) = match fields.text("activation").unwrap_or("ReLU") {
        "ReLU" => (Activation::ReLU, Normalisation::None),
        "TopK" => {
            let name = "activation_state_dict/postact_fn";
            if fields.text(name).is_some_and(|name| name != "ReLU") {
                let what = format!("TopK with {}", fields.text(name).unwrap_or(""));
                return Err(fields.unsupported(what, "TopK with ReLU is read"));
            }
            let k = fields.count("k", fields.get("activation_state_dict/k"))?;
            (Activation::TopK { k }, Normalisation::LayerNorm { epsilon: 1e-5 })
        }
        other => return Err(fields.unsupported(format!("the activation {other}"), "ReLU and TopK are read")),
    };
    let bias = file.get("pre_bias", &[d])?;
    let dictionary = Dictionary {
        shape: Shape { d_in: d, latents, d_out: d },
        encoder: file.get("encoder.weight", &[latents, d])?,
        encoder_bias: file.get("latent_bias", &[latents])?,
        decoder: turned(&file.get("decoder.weight", &[d, latents])?, d, latents),
        decoder_bias: bias.clone(),
        shift: bias,
        skip: None,
        normalisation,
        activation,
    };
    dictionary.check()?;
    Ok(dictionary)
}
