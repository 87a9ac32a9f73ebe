//! Round trips, and what is said of files that are not right.

use std::fs;
use std::path::Path;

use super::tensors::write;
use super::*;
use crate::dictionary::{Activation, Dictionary, Normalisation, Shape};
use crate::encode::tests::random;

const SHAPE: Shape = Shape { d_in: 4, latents: 7, d_out: 4 };

fn activations() -> Vec<Activation> {
    let some: Vec<f32> = (0..7).map(|i| 0.1 * i as f32).collect();
    vec![
        Activation::ReLU,
        Activation::TopK { k: 3 },
        Activation::JumpReLU { thresholds: some.clone() },
        Activation::Gated { log_scale: some.clone(), bias: some },
    ]
}

fn tied(activation: Activation) -> Dictionary {
    let mut dictionary = random(SHAPE, activation, 1);
    dictionary.shift = dictionary.decoder_bias.clone();
    dictionary
}

#[test]
fn saelens_files_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    for activation in activations() {
        for normalisation in
            [Normalisation::None, Normalisation::RowNorm, Normalisation::LayerNorm { epsilon: 1e-5 }]
        {
            let mut dictionary = tied(activation.clone());
            dictionary.normalisation = normalisation;
            write_saelens(&dictionary, None, folder.path()).unwrap();
            assert!(read_saelens(folder.path()).unwrap() == dictionary);
            dictionary.shift = vec![0.0; 4];
            write_saelens(&dictionary, None, folder.path()).unwrap();
            assert!(read_saelens(folder.path()).unwrap() == dictionary);
        }
    }
    let batch = tied(Activation::BatchTopK { k: 2, threshold: 0.25 });
    write_saelens(&batch, None, folder.path()).unwrap();
    let read = read_saelens(folder.path()).unwrap();
    assert_eq!(read.activation, Activation::JumpReLU { thresholds: vec![0.25; 7] });
    let x = [0.3, -1.0, 2.0, 0.7];
    assert_eq!(read.encode(&x).unwrap(), batch.encode(&x).unwrap());
}

#[test]
fn sparsify_files_come_back_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let dictionary = tied(Activation::TopK { k: 3 });
    write_sparsify(&dictionary, folder.path()).unwrap();
    assert!(read_sparsify(folder.path()).unwrap() == dictionary);
    let mut transcoder = random(Shape { d_out: 3, ..SHAPE }, Activation::TopK { k: 2 }, 2);
    transcoder.shift = vec![0.0; 4];
    transcoder.skip = Some((0..12).map(|i| i as f32).collect());
    write_sparsify(&transcoder, folder.path()).unwrap();
    assert!(read_sparsify(folder.path()).unwrap() == transcoder);
    assert!(write_sparsify(&tied(Activation::ReLU), folder.path()).is_err());
}

fn said(folder: &Path) -> String {
    read_saelens(folder).unwrap_err().to_string()
}

#[test]
fn faults_of_files_are_named() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path();
    assert!(said(at).contains("cannot read"));
    let mut dictionary = tied(Activation::ReLU);
    write_saelens(&dictionary, Some("blocks.3.hook_resid_post"), at).unwrap();
    let weights = at.join("sae_weights.safetensors");
    let whole = fs::read(&weights).unwrap();
    for length in [0, 9, 80, whole.len() - 1] {
        fs::write(&weights, &whole[..length]).unwrap();
        assert!(said(at).contains("not a readable SAELens file"), "{}", said(at));
    }
    fs::write(&weights, &whole).unwrap();
    let config = fs::read_to_string(at.join("cfg.json")).unwrap();
    fs::write(at.join("cfg.json"), config.replace("\"d_in\":4", "\"d_in\":5")).unwrap();
    assert!(said(at).contains("`d_in` is 5, but the tensors say 4"), "{}", said(at));
    fs::write(at.join("cfg.json"), config.replace("standard", "crosscoder")).unwrap();
    assert!(said(at).contains("the architecture crosscoder is not supported"), "{}", said(at));
    fs::write(at.join("cfg.json"), config.replace("standard", "gated")).unwrap();
    assert!(said(at).contains("no tensor `r_mag`") && said(at).contains("W_enc"), "{}", said(at));
    fs::write(at.join("cfg.json"), config).unwrap();
    dictionary.decoder[5] = f32::NAN;
    let d = &dictionary;
    let wrong = |decoder: Vec<usize>| {
        let tensors = [
            ("W_enc", vec![4, 7], &d.encoder[..]),
            ("W_dec", decoder.clone(), &d.decoder[..decoder[0] * decoder[1]]),
            ("b_enc", vec![7], &d.encoder_bias[..]),
            ("b_dec", vec![4], &d.decoder_bias[..]),
        ];
        write(&weights, "test", &tensors).unwrap();
        said(at)
    };
    assert!(wrong(vec![7, 4]).contains("the decoder holds NaN at position 5"));
    assert!(wrong(vec![6, 4]).contains("tensor `W_dec` is [6, 4] and must be [7, 4]"));
}
