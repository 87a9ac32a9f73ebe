//! From what a batch said to new parameters, a latent at a time: its gradient is gathered in two short buffers and used at once,
//! so that no gradient of the size of the dictionary exists. All of it happens in one reading of the parameters and moments.

use pellucid_kernels::rows::{Stride, Term as Factor, adam, add_scaled, gather};
use pellucid_kernels::simd::{dot, dot_wide};
use rayon::prelude::*;

use crate::dictionary::Shape;
use crate::product::times_transposed;
use crate::train::config::{Config, Recipe};
use crate::train::init::unit;
use crate::train::pass::{Pass, Term, anew};
use crate::train::trainer::Parameters;

/// Latents of one task.
const TASK: usize = 64;

/// Entries by latent: those of latent i are `offsets[i]..offsets[i + 1]`, rows ascending.
#[derive(Default)]
struct Columns {
    offsets: Vec<usize>,
    next: Vec<usize>,
    /// Row of the inputs, and the slope: what the encoder's row changes by.
    encoder: Vec<Factor>,
    /// Row of the slopes, and the value: what the decoder's row changes by.
    decoder: Vec<Factor>,
}

impl Columns {
    fn sort(&mut self, term: &Term, latents: usize) {
        anew(&mut self.offsets, latents + 1, 0);
        for (latent, _) in term.lots().iter().flat_map(|lot| &lot.terms) {
            self.offsets[*latent as usize + 1] += 1;
        }
        (0..latents).for_each(|i| self.offsets[i + 1] += self.offsets[i]);
        self.next.clear();
        self.next.extend_from_slice(&self.offsets);
        self.encoder.resize(self.offsets[latents], (0, 0.0));
        self.decoder.resize(self.offsets[latents], (0, 0.0));
        let groups = term.ends.len() as u32;
        for entry in term.entries() {
            let place = &mut self.next[entry.latent as usize];
            let group = if groups > 1 { term.group(entry.latent as usize) as u32 } else { 0 };
            self.encoder[*place] = (entry.row, entry.slope);
            self.decoder[*place] = (entry.row * groups + group, entry.value);
            *place += 1;
        }
    }

    fn latent(&self, latent: usize) -> std::ops::Range<usize> {
        self.offsets[latent]..self.offsets[latent + 1]
    }
}

/// The gradient of one batch, which can be asked for latent by latent.
#[derive(Default)]
pub(crate) struct Gradient {
    main: Columns,
    auxiliary: Columns,
    /// By each latent's product with the inputs, (latents).
    slopes: Vec<f32>,
    /// By the encoder's bias, (latents).
    pub(crate) encoder_bias: Vec<f32>,
    /// By the other parameters that not every recipe has; empty as they are.
    pub(crate) thresholds: Vec<f32>,
    pub(crate) log_scale: Vec<f32>,
    pub(crate) magnitude_bias: Vec<f32>,
    pub(crate) skip: Vec<f32>,
    /// Slopes and inputs with rows and columns exchanged, for the skip connection.
    turned: [Vec<f32>; 2],
    /// By the decoder's bias, (d_out).
    pub(crate) bias: Vec<f32>,
    /// Each task's share of Eᵀ Σ slopes, (tasks, d_in).
    parts: Vec<f32>,
}

impl Gradient {
    pub(crate) fn sort(&mut self, config: &Config, at: &Parameters, pass: &Pass) {
        let latents = config.shape.latents;
        rayon::join(|| self.main.sort(&pass.main, latents), || self.auxiliary.sort(&pass.auxiliary, latents));
        let columns = [&self.main, &self.auxiliary];
        let slope =
            |i: usize| columns.iter().flat_map(|c| &c.encoder[c.latent(i)]).map(|entry| entry.1).sum::<f32>();
        self.slopes.resize(latents, 0.0);
        self.slopes.par_iter_mut().enumerate().with_min_len(TASK).for_each(|(i, to)| *to = slope(i));
        self.encoder_bias.clone_from(&self.slopes);
        self.own(config, pass);
        self.skip(config, pass);
        // the first group's slopes are those of all prefixes, and each holds the bias
        anew(&mut self.bias, config.shape.d_out, 0.0);
        pass.main.lots().iter().for_each(|lot| add_scaled(&mut self.bias, 1.0, &lot.bias));
        if config.subtract_bias {
            // −Σ_rows Eᵀ slopes = −Eᵀ Σ_rows slopes: one product with a vector for the whole batch
            let d = config.shape.d_in;
            self.parts.resize(latents.div_ceil(TASK) * d, 0.0);
            let work = self.parts.par_chunks_exact_mut(d).zip(at.encoder.par_chunks(TASK * d));
            work.zip(self.slopes.par_chunks(TASK)).for_each(|((sum, rows), slopes)| {
                sum.fill(0.0);
                rows.chunks_exact(d).zip(slopes).for_each(|(row, s)| add_scaled(sum, *s, row));
            });
            self.parts.chunks_exact(d).for_each(|part| add_scaled(&mut self.bias, -1.0, part));
        }
    }

    /// Everything but rows of the encoder and the decoder, in the order of [`Parameters::others`].
    fn others(&self) -> [&[f32]; 6] {
        [&self.encoder_bias, &self.bias, &self.thresholds, &self.log_scale, &self.magnitude_bias, &self.skip]
    }

    /// What latents have of their own: sums over their entries, batch order.
    fn own(&mut self, config: &Config, pass: &Pass) {
        let latents = config.shape.latents;
        let entries = || {
            let lots = pass.main.lots().iter();
            lots.flat_map(|lot| lot.terms.iter().zip(&lot.own)).map(|(term, own)| (term.0 as usize, own))
        };
        match config.recipe {
            Recipe::JumpReLU { .. } => {
                anew(&mut self.thresholds, latents, 0.0);
                entries().for_each(|(latent, own)| self.thresholds[latent] += own[0]);
            }
            Recipe::Gated { .. } => {
                anew(&mut self.encoder_bias, latents, 0.0);
                anew(&mut self.log_scale, latents, 0.0);
                anew(&mut self.magnitude_bias, latents, 0.0);
                for (latent, own) in entries() {
                    self.encoder_bias[latent] += own[0];
                    self.log_scale[latent] += own[1];
                    self.magnitude_bias[latent] += own[2];
                }
            }
            _ => {}
        }
    }

    /// Σ_rows slopes ⊗ x, of all prefixes.
    fn skip(&mut self, config: &Config, pass: &Pass) {
        if !config.skip {
            return;
        }
        let Shape { d_in, d_out, .. } = config.shape;
        let rows = pass.main.rows();
        let [slopes, inputs] = &mut self.turned;
        turn(&pass.main.slopes, pass.main.slopes.len() / rows, d_out, slopes);
        turn(&pass.inputs, d_in, d_in, inputs);
        self.skip.resize(d_out * d_in, 0.0);
        let work = self.skip.par_chunks_mut(TASK * d_in).zip(slopes.par_chunks(TASK * rows));
        work.for_each(|(to, slopes)| times_transposed(slopes, inputs, rows, to));
    }

    /// Writes the gradient by a latent's rows of the encoder and the decoder, whose row is `at`.
    pub(crate) fn latent(&self, pass: &Pass, latent: usize, at: &[f32], [encoder, decoder]: [&mut [f32]; 2]) {
        encoder.fill(0.0);
        decoder.fill(0.0);
        for (columns, term) in [(&self.main, &pass.main), (&self.auxiliary, &pass.auxiliary)] {
            let here = columns.latent(latent);
            gather(encoder, &pass.inputs, &columns.encoder[here.clone()]);
            gather(decoder, &term.slopes, &columns.decoder[here]);
        }
        if pass.by_norm != 0.0 {
            // λ/h Σ a ‖d‖ by d is λ/h Σ a · d/‖d‖
            let sum: f32 = self.main.decoder[self.main.latent(latent)].iter().map(|entry| entry.1).sum();
            let norm = dot(at, at).sqrt();
            if norm > 0.0 {
                add_scaled(decoder, pass.by_norm * sum / norm, at);
            }
        }
    }
}

/// Room for a latent's gradient in each task, and for each task's share of the norm.
#[derive(Default)]
pub(crate) struct Room {
    rows: Vec<f32>,
    squares: Vec<f64>,
}

/// A step of a configuration from a batch's gradient.
#[derive(Clone, Copy)]
pub(crate) struct Update<'a> {
    pub(crate) config: &'a Config,
    pub(crate) gradient: &'a Gradient,
    pub(crate) pass: &'a Pass,
    /// From 0.
    pub(crate) step: u64,
}

impl Update<'_> {
    /// A latent's gradient, without the part along its row of the decoder where that keeps norm 1.
    fn latent(&self, latent: usize, decoder: &[f32], [by_encoder, by_decoder]: [&mut [f32]; 2]) {
        self.gradient.latent(self.pass, latent, decoder, [&mut *by_encoder, &mut *by_decoder]);
        if self.config.unit_norm {
            let along = dot(by_decoder, decoder);
            add_scaled(by_decoder, -along, decoder);
        }
    }

    /// The norm of the whole gradient. It needs all of it before any is used, so a clipped step gathers twice.
    fn norm(&self, at: &Parameters, room: &mut Room) -> f64 {
        let (d_in, d_out) = (self.config.shape.d_in, self.config.shape.d_out);
        room.squares.resize(self.config.shape.latents.div_ceil(TASK), 0.0);
        let work = room.squares.par_iter_mut().zip(room.rows.par_chunks_exact_mut(d_in + d_out));
        work.zip(at.decoder.par_chunks(TASK * d_out)).enumerate().for_each(|(task, ((sum, room), rows))| {
            let (by_encoder, by_decoder) = room.split_at_mut(d_in);
            *sum = 0.0;
            for (i, row) in rows.chunks_exact(d_out).enumerate() {
                self.latent(task * TASK + i, row, [by_encoder, by_decoder]);
                *sum += dot_wide(by_encoder, by_encoder) + dot_wide(by_decoder, by_decoder);
            }
        });
        let squares: f64 = self.gradient.others().into_iter().map(|by| dot_wide(by, by)).sum();
        (squares + room.squares.iter().sum::<f64>()).sqrt()
    }

    fn stride(&self, at: &Parameters, room: &mut Room) -> Stride {
        let Config { adam, clip, .. } = self.config;
        let shrunk = |clip: f32| (f64::from(clip) / self.norm(at, room).max(f64::MIN_POSITIVE)).min(1.0);
        adam.stride(self.step, self.config.rate(self.step), clip.map_or(1.0, shrunk) as f32)
    }

    /// One step of Adam: parameters, first and second moments.
    pub(crate) fn apply(&self, [at, first, second]: [&mut Parameters; 3], room: &mut Room) {
        let (d_in, d_out) = (self.config.shape.d_in, self.config.shape.d_out);
        room.rows.resize(self.config.shape.latents.div_ceil(TASK) * (d_in + d_out), 0.0);
        let stride = self.stride(at, room);
        let encoders = at.encoder.par_chunks_mut(TASK * d_in);
        let encoders = encoders.zip(first.encoder.par_chunks_mut(TASK * d_in));
        let encoders = encoders.zip(second.encoder.par_chunks_mut(TASK * d_in));
        let decoders = at.decoder.par_chunks_mut(TASK * d_out);
        let decoders = decoders.zip(first.decoder.par_chunks_mut(TASK * d_out));
        let decoders = decoders.zip(second.decoder.par_chunks_mut(TASK * d_out));
        let work = encoders.zip(decoders).zip(room.rows.par_chunks_exact_mut(d_in + d_out)).enumerate();
        work.for_each(|(task, ((((e, e1), e2), ((d, d1), d2)), room))| {
            let (by_encoder, by_decoder) = room.split_at_mut(d_in);
            let of_latent = |width| move |i: usize| i * width..(i + 1) * width;
            let (e_at, d_at) = (of_latent(d_in), of_latent(d_out));
            for i in 0..d.len() / d_out {
                let row = &mut d[d_at(i)];
                self.latent(task * TASK + i, row, [by_encoder, by_decoder]);
                adam(&mut e[e_at(i)], &mut e1[e_at(i)], &mut e2[e_at(i)], by_encoder, stride);
                adam(row, &mut d1[d_at(i)], &mut d2[d_at(i)], by_decoder, stride);
                if self.config.unit_norm {
                    unit(row);
                }
            }
        });
        let [fields, ones, twos] = [&mut *at, first, second].map(Parameters::others);
        for (((at, first), second), by) in fields.into_iter().zip(ones).zip(twos).zip(self.gradient.others())
        {
            adam(at, first, second, by, stride);
        }
        // a threshold below 0 would be none, and nothing would bring it back
        at.thresholds.iter_mut().for_each(|threshold| *threshold = threshold.max(0.0));
    }
}

/// Rows of a table, of each its first `width` numbers, as columns.
fn turn(table: &[f32], span: usize, width: usize, out: &mut Vec<f32>) {
    let rows = table.len() / span;
    out.resize(width * rows, 0.0);
    out.par_chunks_exact_mut(rows).enumerate().for_each(|(column, out)| {
        out.iter_mut().zip(table.chunks_exact(span)).for_each(|(to, row)| *to = row[column]);
    });
}
