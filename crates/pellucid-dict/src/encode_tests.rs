//! The fast encoder and decoder against the definition, written out in f64 with one dense array.

use super::*;
use crate::dictionary::Shape;
use pellucid_core::Seed;

pub(crate) fn random(shape: Shape, activation: Activation, seed: u64) -> Dictionary {
    let mut seed = Seed(seed);
    let mut draw = |n: usize, s: f64| (0..n).map(|_| (s * seed.normal()) as f32).collect::<Vec<_>>();
    let Shape { d_in, latents, d_out } = shape;
    Dictionary {
        shape,
        encoder: draw(latents * d_in, 0.4),
        encoder_bias: draw(latents, 0.2),
        decoder: draw(latents * d_out, 0.4),
        decoder_bias: draw(d_out, 0.3),
        shift: draw(d_in, 0.3),
        skip: None,
        normalisation: Normalisation::None,
        activation,
    }
}

fn rows(n: usize, d: usize) -> Vec<f32> {
    let mut seed = Seed(9);
    (0..n * d).map(|_| (1.0 + 2.0 * seed.normal()) as f32).collect()
}

/// A row as the encoder sees it, and the shift and scale that put its reconstruction back.
fn normalised(dictionary: &Dictionary, x: &[f32]) -> (Vec<f64>, f64, f64) {
    let d = x.len() as f64;
    let x: Vec<f64> = x.iter().map(|v| f64::from(*v)).collect();
    let mean = x.iter().sum::<f64>() / d;
    let (shift, scale) = match dictionary.normalisation {
        Normalisation::None => (0.0, 1.0),
        Normalisation::Scale { input, .. } => (0.0, 1.0 / f64::from(input)),
        Normalisation::RowNorm => (0.0, x.iter().map(|v| v * v).sum::<f64>().sqrt() / d.sqrt()),
        Normalisation::LayerNorm { epsilon } => {
            let variance = x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (d - 1.0);
            let divisor = variance.sqrt() + f64::from(epsilon);
            return (x.iter().map(|v| (v - mean) / divisor).collect(), mean, variance.sqrt());
        }
    };
    (x.iter().map(|v| (v - shift) / scale).collect(), shift, scale)
}

/// A row's dense activations and its reconstruction.
fn plain(dictionary: &Dictionary, x: &[f32]) -> (Vec<f64>, Vec<f64>) {
    let Shape { d_in, latents, d_out } = dictionary.shape;
    let (z, shift, scale) = normalised(dictionary, x);
    let wide = |v: f32| f64::from(v);
    let product = |i: usize| -> f64 {
        (0..d_in).map(|j| wide(dictionary.encoder[i * d_in + j]) * (z[j] - wide(dictionary.shift[j]))).sum()
    };
    let u: Vec<f64> = (0..latents).map(product).collect();
    let pre: Vec<f64> = u.iter().zip(&dictionary.encoder_bias).map(|(u, b)| u + wide(*b)).collect();
    let mut order: Vec<usize> = (0..latents).collect();
    order.sort_by(|a, b| pre[*b].total_cmp(&pre[*a]));
    let rank = |i: usize| order.iter().position(|at| *at == i).unwrap();
    let active = |i: usize| match &dictionary.activation {
        Activation::ReLU => pre[i].max(0.0),
        Activation::TopK { k } => pre[i].max(0.0) * f64::from(rank(i) < *k),
        Activation::BatchTopK { threshold, .. } => pre[i].max(0.0) * f64::from(pre[i] > wide(*threshold)),
        Activation::JumpReLU { thresholds } => pre[i].max(0.0) * f64::from(pre[i] > wide(thresholds[i])),
        Activation::Gated { log_scale, bias } => {
            (u[i] * wide(log_scale[i]).exp() + wide(bias[i])).max(0.0) * f64::from(pre[i] > 0.0)
        }
    };
    let a: Vec<f64> = (0..latents).map(active).collect();
    let output = |j: usize| {
        let sum: f64 = (0..latents).map(|i| a[i] * wide(dictionary.decoder[i * d_out + j])).sum();
        let skip =
            dictionary.skip.as_ref().map_or(0.0, |w| (0..d_in).map(|l| wide(w[j * d_in + l]) * z[l]).sum());
        let y = sum + wide(dictionary.decoder_bias[j]) + skip;
        match dictionary.normalisation {
            Normalisation::Scale { output, .. } => y / wide(output),
            _ => y * scale + shift,
        }
    };
    let y = (0..d_out).map(output).collect();
    (a, y)
}

fn activations(latents: usize) -> Vec<Activation> {
    let mut seed = Seed(4);
    let mut draw = |s: f64| (0..latents).map(|_| (s * seed.normal()) as f32).collect::<Vec<_>>();
    vec![
        Activation::ReLU,
        Activation::TopK { k: 1 },
        Activation::TopK { k: 7 },
        Activation::TopK { k: latents },
        Activation::BatchTopK { k: 5, threshold: 0.8 },
        Activation::JumpReLU { thresholds: draw(1.0) },
        Activation::Gated { log_scale: draw(0.3), bias: draw(0.3) },
    ]
}

fn compare(dictionary: &Dictionary, x: &[f32]) {
    dictionary.check().unwrap();
    let Shape { d_in, latents, d_out } = dictionary.shape;
    let sparse = dictionary.encode(x).unwrap();
    let y = dictionary.decode(&sparse, Some(x)).unwrap();
    assert_eq!(sparse.rows(), x.len() / d_in);
    for (row, x) in x.chunks_exact(d_in).enumerate() {
        let (a, want) = plain(dictionary, x);
        let mut dense = vec![0f64; latents];
        let mut last = None;
        for (latent, value) in sparse.row(row) {
            assert!(last < Some(latent) && value > 0.0);
            last = Some(latent);
            dense[latent as usize] = f64::from(value);
        }
        for (i, (a, b)) in a.iter().zip(&dense).enumerate() {
            assert!((a - b).abs() < 1e-4, "{:?} row {row} latent {i}: {a} and {b}", dictionary.activation);
        }
        for (a, b) in want.iter().zip(&y[row * d_out..]) {
            assert!((a - f64::from(*b)).abs() < 1e-3, "{a} and {b}");
        }
    }
}

#[test]
fn every_activation_equals_its_definition() {
    // more rows than a block, and latents over several blocks with a rest
    let shape = Shape { d_in: 11, latents: 2 * LATENTS + 37, d_out: 11 };
    for activation in activations(shape.latents) {
        compare(&random(shape, activation, 1), &rows(ROWS + 9, 11));
    }
}

#[test]
fn every_normalisation_and_a_skip_equal_their_definition() {
    let shape = Shape { d_in: 9, latents: 40, d_out: 9 };
    let kinds = [
        Normalisation::Scale { input: 0.5, output: 3.0 },
        Normalisation::RowNorm,
        Normalisation::LayerNorm { epsilon: 1e-5 },
    ];
    for normalisation in kinds {
        let mut dictionary = random(shape, Activation::TopK { k: 4 }, 2);
        dictionary.normalisation = normalisation;
        compare(&dictionary, &rows(12, 9));
    }
    let mut dictionary = random(Shape { d_out: 5, ..shape }, Activation::ReLU, 3);
    dictionary.skip = Some(rows(5, 9));
    compare(&dictionary, &rows(12, 9));
}

#[test]
fn wrong_inputs_are_refused() {
    let dictionary = random(Shape { d_in: 4, latents: 8, d_out: 4 }, Activation::TopK { k: 2 }, 1);
    assert!(dictionary.encode(&[0.0; 6]).unwrap_err().to_string().contains("must hold 8 numbers"));
    let error = dictionary.encode(&[0.0, f32::NAN, 0.0, 0.0]).unwrap_err().to_string();
    assert!(error.contains("NaN at position 1"), "{error}");
    let mut sparse = Sparse::default();
    sparse.push([(8, 1.0)]);
    assert!(dictionary.decode(&sparse, None).is_err());
    let mut wide = dictionary.clone();
    wide.activation = Activation::TopK { k: 9 };
    assert!(wide.check().unwrap_err().to_string().contains("between 1 and the 8 latents"));
    wide = dictionary;
    wide.decoder.pop();
    assert!(wide.check().unwrap_err().to_string().contains("must hold 32 numbers and holds 31"));
}
