//! From what a batch said to new parameters, a latent at a time: its gradient is gathered in two short buffers and used at once,
//! so that no gradient of the size of the dictionary exists.

use rayon::prelude::*;

use crate::product::{add_scaled, dot};
use crate::train::config::{Adam, Config};
use crate::train::init::unit;
use crate::train::pass::{Pass, Term};
use crate::train::trainer::Parameters;

/// Entries by latent: those of latent i are `offsets[i]..offsets[i + 1]`, rows ascending.
struct Columns<'a> {
    term: &'a Term,
    offsets: Vec<usize>,
    /// Row, value and slope.
    entries: Vec<(u32, f32, f32)>,
}

impl<'a> Columns<'a> {
    fn of(term: &'a Term, latents: usize) -> Self {
        let mut offsets = vec![0usize; latents + 1];
        term.rows.iter().flatten().for_each(|entry| offsets[entry.latent as usize + 1] += 1);
        (0..latents).for_each(|i| offsets[i + 1] += offsets[i]);
        let mut next = offsets.clone();
        let mut entries = vec![(0, 0.0, 0.0); offsets[latents]];
        for (row, active) in term.rows.iter().enumerate() {
            for entry in active {
                let place = &mut next[entry.latent as usize];
                entries[*place] = (row as u32, entry.value, entry.slope);
                *place += 1;
            }
        }
        Columns { term, offsets, entries }
    }

    fn latent(&self, latent: usize) -> &[(u32, f32, f32)] {
        &self.entries[self.offsets[latent]..self.offsets[latent + 1]]
    }
}

/// The gradient of one batch, which can be asked for latent by latent.
pub(crate) struct Gradient<'a> {
    config: &'a Config,
    pass: &'a Pass,
    columns: Vec<Columns<'a>>,
    /// By the encoder's bias, (latents).
    pub(crate) encoder_bias: Vec<f32>,
    /// By the decoder's bias, (d_out).
    pub(crate) bias: Vec<f32>,
}

impl<'a> Gradient<'a> {
    pub(crate) fn of(config: &'a Config, at: &Parameters, pass: &'a Pass) -> Self {
        let latents = config.shape.latents;
        let terms = [Some(&pass.main), pass.auxiliary.as_ref()];
        let columns: Vec<Columns> = terms.into_iter().flatten().map(|t| Columns::of(t, latents)).collect();
        let slope = |i: usize| columns.iter().flat_map(|c| c.latent(i)).map(|entry| entry.2).sum();
        let encoder_bias: Vec<f32> = (0..latents).into_par_iter().map(slope).collect();
        let mut bias = vec![0f32; config.shape.d_out];
        // the first group's slopes are those of all prefixes, and each holds the bias
        pass.main.slopes[0].chunks_exact(bias.len()).for_each(|row| add_scaled(&mut bias, 1.0, row));
        if config.subtract_bias {
            // −Σ_rows Eᵀ slopes = −Eᵀ Σ_rows slopes: one product with a vector for the whole batch
            let d = config.shape.d_in;
            let part = |(rows, slopes): (&[f32], &[f32])| {
                let mut sum = vec![0f32; d];
                rows.chunks_exact(d).zip(slopes).for_each(|(row, s)| add_scaled(&mut sum, *s, row));
                sum
            };
            let parts: Vec<Vec<f32>> =
                at.encoder.par_chunks(256 * d).zip(encoder_bias.par_chunks(256)).map(part).collect();
            parts.iter().for_each(|part| add_scaled(&mut bias, -1.0, part));
        }
        Gradient { config, pass, columns, encoder_bias, bias }
    }

    /// Writes the gradient by a latent's rows of the encoder and the decoder.
    pub(crate) fn latent(&self, latent: usize, encoder: &mut [f32], decoder: &mut [f32]) {
        encoder.fill(0.0);
        decoder.fill(0.0);
        let (d_in, d_out) = (self.config.shape.d_in, self.config.shape.d_out);
        for columns in &self.columns {
            let slopes = &columns.term.slopes[columns.term.group(latent)];
            for (row, value, slope) in columns.latent(latent) {
                let row = *row as usize;
                add_scaled(encoder, *slope, &self.pass.inputs[row * d_in..][..d_in]);
                add_scaled(decoder, *value, &slopes[row * d_out..][..d_out]);
            }
        }
    }
}

/// Adam for one step: its rate with both corrections for the first steps' bias.
#[derive(Clone, Copy)]
struct Stride {
    adam: Adam,
    rate: f32,
    first: f32,
    second: f32,
}

impl Stride {
    fn apply(&self, values: &mut [f32], first: &mut [f32], second: &mut [f32], gradient: &[f32]) {
        let Adam { beta1, beta2, epsilon } = self.adam;
        for (((p, m), v), g) in values.iter_mut().zip(first).zip(second).zip(gradient) {
            *m = beta1 * *m + (1.0 - beta1) * g;
            *v = beta2 * *v + (1.0 - beta2) * g * g;
            *p -= self.rate * (*m / self.first) / ((*v / self.second).sqrt() + epsilon);
        }
    }
}

/// One step of Adam; `step` counts from 0.
pub(crate) fn apply(
    gradient: &Gradient<'_>,
    step: u64,
    at: &mut Parameters,
    first: &mut Parameters,
    second: &mut Parameters,
) {
    let config = gradient.config;
    let (d_in, d_out) = (config.shape.d_in, config.shape.d_out);
    let adam = config.adam;
    let gone = |beta: f32| (1.0 - f64::from(beta).powf(step as f64 + 1.0)) as f32;
    let stride = Stride { adam, rate: config.rate(step), first: gone(adam.beta1), second: gone(adam.beta2) };
    let encoders = at.encoder.par_chunks_exact_mut(d_in);
    let encoders = encoders.zip(first.encoder.par_chunks_exact_mut(d_in));
    let encoders = encoders.zip(second.encoder.par_chunks_exact_mut(d_in));
    let decoders = at.decoder.par_chunks_exact_mut(d_out);
    let decoders = decoders.zip(first.decoder.par_chunks_exact_mut(d_out));
    let decoders = decoders.zip(second.decoder.par_chunks_exact_mut(d_out));
    encoders.zip(decoders).enumerate().for_each_init(
        || (vec![0f32; d_in], vec![0f32; d_out]),
        |(by_encoder, by_decoder), (latent, (((e, e1), e2), ((d, d1), d2)))| {
            gradient.latent(latent, by_encoder, by_decoder);
            if config.unit_norm {
                let along = dot(by_decoder, d);
                add_scaled(by_decoder, -along, d);
            }
            stride.apply(e, e1, e2, by_encoder);
            stride.apply(d, d1, d2, by_decoder);
            if config.unit_norm {
                unit(d);
            }
        },
    );
    let by = &gradient.encoder_bias;
    stride.apply(&mut at.encoder_bias, &mut first.encoder_bias, &mut second.encoder_bias, by);
    stride.apply(&mut at.bias, &mut first.bias, &mut second.bias, &gradient.bias);
}
