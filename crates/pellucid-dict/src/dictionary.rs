//! A dictionary as plain data, and what it means.
//!
//! With n(x) the normalised input, s the input shift, E and D encoder and decoder (a latent a row):
//!     pre = E (n(x) − s) + b_enc,    a = activation(pre),    x̂ = n⁻¹(Dᵀ a + b_dec + W_skip n(x))
//! ReLU: Bricken et al. 2023; TopK: Gao et al. 2024 (arXiv 2406.04093); BatchTopK: Bussmann et al. 2024 (2412.06410);
//! JumpReLU: Rajamanoharan et al. 2024 (2407.14435); Gated: Rajamanoharan et al. 2024 (2404.16014); skip transcoders:
//! Paulo et al. 2025 (2501.18823).

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::error::{Result, expect_finite, expect_length, setting};

/// How wide a dictionary is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    /// Coordinates of an input row.
    pub d_in: usize,
    /// Latents.
    pub latents: usize,
    /// Coordinates of an output row; `d_in` in an autoencoder, another site's width in a transcoder.
    pub d_out: usize,
}

/// What makes latents active, given pre = E (n(x) − s) + b_enc.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Activation {
    /// max(0, pre).
    ReLU,
    /// The k largest of a row, where positive; of equals the lower latent.
    TopK {
        /// Most active latents of a row.
        k: usize,
    },
    /// Those above one threshold, which training set so that k are active on average.
    BatchTopK {
        /// Active latents of a row on average, in training.
        k: usize,
        /// A latent is active above it.
        threshold: f32,
    },
    /// pre where it exceeds the latent's own threshold and 0.
    JumpReLU {
        /// A threshold a latent.
        thresholds: Vec<f32>,
    },
    /// With u = E (n(x) − s): active where u + b_enc > 0, with value max(0, exp(scale) · u + bias).
    Gated {
        /// r_mag, a latent an entry.
        log_scale: Vec<f32>,
        /// b_mag, a latent an entry.
        bias: Vec<f32>,
    },
}

/// What is done to a row before encoding and undone after decoding.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Normalisation {
    /// Nothing.
    None,
    /// Inputs are multiplied by one number, outputs divided by another.
    Scale {
        /// For inputs.
        input: f32,
        /// For outputs.
        output: f32,
    },
    /// A row gets norm √d_in.
    RowNorm,
    /// (x − mean) / (std + epsilon), with the sample's standard deviation (divisor d − 1).
    LayerNorm {
        /// Keeps the quotient finite.
        epsilon: f32,
    },
}

/// A sparse autoencoder or transcoder; the file's head has its formula.
#[derive(Clone, Debug, PartialEq)]
pub struct Dictionary {
    /// Its widths.
    pub shape: Shape,
    /// E, (latents, d_in).
    pub encoder: Vec<f32>,
    /// b_enc, (latents).
    pub encoder_bias: Vec<f32>,
    /// D, (latents, d_out): a row is a feature's direction.
    pub decoder: Vec<f32>,
    /// b_dec, (d_out).
    pub decoder_bias: Vec<f32>,
    /// s, (d_in); zeros where nothing is subtracted.
    pub shift: Vec<f32>,
    /// W_skip, (d_out, d_in).
    pub skip: Option<Vec<f32>>,
    /// n.
    pub normalisation: Normalisation,
    /// What makes latents active.
    pub activation: Activation,
}

impl Dictionary {
    /// Fails where a part has the wrong length, a number is not finite, or a setting is out of range.
    pub fn check(&self) -> Result<()> {
        let Shape { d_in, latents, d_out } = self.shape;
        if d_in == 0 || latents == 0 || d_out == 0 {
            return Err(setting(
                "the dictionary's shape",
                "at least 1 in each place",
                format!("{:?}", self.shape),
            ));
        }
        if u32::try_from(latents).is_err() {
            return Err(setting("the number of latents", "below 2³²", latents));
        }
        let parts = [
            ("the encoder", latents.checked_mul(d_in), &self.encoder),
            ("the encoder's bias", Some(latents), &self.encoder_bias),
            ("the decoder", latents.checked_mul(d_out), &self.decoder),
            ("the decoder's bias", Some(d_out), &self.decoder_bias),
            ("the input shift", Some(d_in), &self.shift),
        ];
        for (what, length, values) in parts {
            expect_length(what, length.unwrap_or(usize::MAX), values.len())?;
            expect_finite(what, values)?;
        }
        if let Some(skip) = &self.skip {
            expect_length("the skip connection", d_out.saturating_mul(d_in), skip.len())?;
            expect_finite("the skip connection", skip)?;
        }
        self.check_activation()?;
        self.check_normalisation()
    }

    fn check_activation(&self) -> Result<()> {
        let latents = self.shape.latents;
        match &self.activation {
            Activation::ReLU => Ok(()),
            Activation::TopK { k } | Activation::BatchTopK { k, .. } if *k == 0 || *k > latents => {
                Err(setting("k", &format!("between 1 and the {latents} latents"), k))
            }
            Activation::TopK { .. } => Ok(()),
            Activation::BatchTopK { threshold, .. } => expect_finite("the threshold", &[*threshold]),
            Activation::JumpReLU { thresholds } => {
                expect_length("the thresholds", latents, thresholds.len())?;
                expect_finite("the thresholds", thresholds)
            }
            Activation::Gated { log_scale, bias } => {
                for (what, values) in [("the gate's scale", log_scale), ("the magnitude's bias", bias)] {
                    expect_length(what, latents, values.len())?;
                    expect_finite(what, values)?;
                }
                Ok(())
            }
        }
    }

    fn check_normalisation(&self) -> Result<()> {
        match self.normalisation {
            Normalisation::Scale { input, output } if !(input.is_normal() && output.is_normal()) => Err(
                setting("the normalisation's scales", "finite and not zero", format!("{input} and {output}")),
            ),
            Normalisation::LayerNorm { epsilon } if !(epsilon.is_finite() && epsilon >= 0.0) => {
                Err(setting("the layer norm's epsilon", "finite and not negative", epsilon))
            }
            Normalisation::LayerNorm { .. } | Normalisation::RowNorm
                if self.shape.d_in != self.shape.d_out =>
            {
                Err(setting(
                    "the normalisation",
                    "none or a scale, where inputs and outputs have different widths",
                    "row by row",
                ))
            }
            _ => Ok(()),
        }
    }

    /// A latent's direction in the output.
    pub fn feature(&self, latent: usize) -> &[f32] {
        &self.decoder[latent * self.shape.d_out..][..self.shape.d_out]
    }

    /// The same function with a scale of its rows worked into its weights: SAELens and others keep dictionaries so.
    #[must_use]
    pub fn folded(mut self) -> Self {
        let Normalisation::Scale { input, output } = self.normalisation else { return self };
        self.encoder.iter_mut().for_each(|v| *v *= input);
        self.shift.iter_mut().for_each(|v| *v /= input);
        self.decoder.iter_mut().chain(&mut self.decoder_bias).for_each(|v| *v /= output);
        self.skip.iter_mut().flatten().for_each(|v| *v *= input / output);
        self.normalisation = Normalisation::None;
        self
    }

    /// SHA-256 of its shape, settings and numbers, in hexadecimal.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        let skip = self.skip.as_deref().unwrap_or_default();
        let settings = format!("{:?} {:?} {:?}", self.shape, self.normalisation, self.activation);
        hash.update(settings.as_bytes());
        let parts = [&self.encoder, &self.encoder_bias, &self.decoder, &self.decoder_bias, &self.shift];
        for part in parts.map(Vec::as_slice).into_iter().chain([skip]) {
            // in pieces: the bytes of all of it would be a second copy
            for some in part.chunks(1 << 16) {
                let bytes: Vec<u8> = some.iter().flat_map(|v| v.to_le_bytes()).collect();
                hash.update(&bytes);
            }
        }
        hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// The number of bytes its numbers take as f32.
    pub fn bytes(&self) -> usize {
        let Shape { d_in, latents, d_out } = self.shape;
        let skip = self.skip.as_ref().map_or(0, Vec::len);
        4 * (latents * (d_in + d_out + 1) + d_out + d_in + skip)
    }
}
