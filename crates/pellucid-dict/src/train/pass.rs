//! One batch forward: what is active, what is reconstructed, the losses, and what each active latent's value should change by.
//!
//! With prefixes p₁ < … < p_G the error is c/G Σ_j ‖x̂_{<p_j} − y‖². A latent in the group between two prefixes takes part in all later
//! ones, so its gradient is the sum of theirs: `slopes` holds these sums, one matrix a group.

use rayon::prelude::*;

use crate::encode::{Largest, ROWS, products, room, with_bias};
use crate::product::{add_scaled, dot};
use crate::train::config::{Auxiliary, Config, ErrorScale, Recipe};
use crate::train::trainer::Parameters;

/// An active latent of a row: its value, and the loss's slope by its pre-activation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) latent: u32,
    pub(crate) value: f32,
    pub(crate) slope: f32,
}

/// Active latents row by row, and the slopes of the loss by what they add up to.
pub(crate) struct Term {
    /// Latents ascending in each row.
    pub(crate) rows: Vec<Vec<Entry>>,
    /// A matrix (rows, d_out) for each group of latents.
    pub(crate) slopes: Vec<Vec<f32>>,
    /// Where each group's latents end.
    pub(crate) ends: Vec<usize>,
}

impl Term {
    /// Which group a latent is in.
    pub(crate) fn group(&self, latent: usize) -> usize {
        self.ends.partition_point(|end| *end <= latent)
    }
}

/// What a batch said.
pub(crate) struct Pass {
    /// Inputs, shifted, (rows, d_in).
    pub(crate) inputs: Vec<f32>,
    pub(crate) main: Term,
    pub(crate) auxiliary: Option<Term>,
    /// FVU of the whole reconstruction.
    pub(crate) unexplained: f64,
    pub(crate) loss: f64,
    pub(crate) auxiliary_loss: f64,
    /// The smallest active value, where a whole batch was selected from.
    pub(crate) smallest: Option<f32>,
}

type Rows = Vec<Vec<(u32, f32)>>;

/// Runs a batch x (rows, d_in) to be reconstructed as y (rows, d_out).
pub(crate) fn run(config: &Config, at: &Parameters, x: &[f32], y: &[f32], dead: &[u32], hint: f32) -> Pass {
    let d_out = config.shape.d_out;
    let mut inputs = x.to_vec();
    if config.subtract_bias {
        inputs.par_chunks_exact_mut(config.shape.d_in).for_each(|row| add_scaled(row, -1.0, &at.bias));
    }
    let (active, idle) = select(config, at, &inputs, dead, hint);
    let smallest = match config.recipe {
        Recipe::BatchTopK { .. } | Recipe::Matryoshka { .. } => {
            active.iter().flatten().map(|entry| entry.1).min_by(f32::total_cmp)
        }
        _ => None,
    };
    let variance = variance(y, d_out);
    let rows = (y.len() / d_out) as f64;
    let unit = match config.error {
        ErrorScale::Variance => variance.max(f64::MIN_POSITIVE),
        ErrorScale::Rows => rows,
        ErrorScale::Elements => rows * d_out as f64,
    };
    let ends = config.prefixes();
    let (slopes, errors, residual) = reconstruct(&ends, at, &active, y, 2.0 / (unit * ends.len() as f64));
    let mut loss = errors.iter().sum::<f64>() / (unit * ends.len() as f64);
    let mut penalty = 0.0;
    if let Recipe::ReLU { l1 } = config.recipe {
        let sum: f64 = active.iter().flatten().map(|entry| f64::from(entry.1)).sum();
        penalty = l1 / rows as f32;
        loss += f64::from(l1) * sum / rows;
    }
    let mut main = Term { rows: Vec::new(), slopes, ends };
    main.rows = entries(&main, at, active, penalty, d_out);
    let (auxiliary, auxiliary_loss) = match (config.auxiliary, idle) {
        (Some(setting), Some(idle)) => auxiliary(config, setting, at, idle, &residual),
        _ => (None, 0.0),
    };
    let unexplained = errors.last().copied().unwrap_or(0.0) / variance.max(f64::MIN_POSITIVE);
    Pass { inputs, main, auxiliary, unexplained, loss: loss + auxiliary_loss, auxiliary_loss, smallest }
}

/// Active latents of each row, and of each row the largest dead ones where there are any.
fn select(config: &Config, at: &Parameters, inputs: &[f32], dead: &[u32], hint: f32) -> (Rows, Option<Rows>) {
    let rows = inputs.len() / config.shape.d_in;
    let (mut active, idle) = match config.recipe {
        Recipe::TopK { k } => scan(config, at, inputs, k, 0.0, dead),
        Recipe::ReLU { .. } => scan(config, at, inputs, usize::MAX, 0.0, dead),
        Recipe::BatchTopK { k, .. } | Recipe::Matryoshka { k, .. } => {
            // what lies above the hint holds the k · rows largest if it is that many; otherwise all positive ones are needed
            let guess = scan(config, at, inputs, usize::MAX, hint.max(0.0), dead);
            let enough = guess.0.iter().map(Vec::len).sum::<usize>() >= k * rows;
            let (all, idle) =
                if enough || hint <= 0.0 { guess } else { scan(config, at, inputs, usize::MAX, 0.0, dead) };
            (largest_of_batch(all, k * rows), idle)
        }
    };
    active.truncate(rows);
    (active, (!dead.is_empty()).then_some(idle))
}

/// The product, block by block: of each row either the `k` largest or everything above `floor`, and the largest dead ones.
fn scan(
    config: &Config,
    at: &Parameters,
    inputs: &[f32],
    k: usize,
    floor: f32,
    dead: &[u32],
) -> (Rows, Rows) {
    let d = config.shape.d_in;
    let k_idle = config.auxiliary.map_or(0, |auxiliary| auxiliary.k);
    let block = |inputs: &[f32]| {
        let rows = inputs.len() / d;
        let mut largest = vec![Largest::new(if k == usize::MAX { 0 } else { k }); rows];
        let mut above: Rows = vec![Vec::new(); rows];
        let mut idle = vec![Largest::new(if dead.is_empty() { 0 } else { k_idle }); rows];
        let mut sums = room();
        products(inputs, &at.encoder, d, |row, first, values| {
            let values = with_bias(values, &at.encoder_bias[first..], &mut sums);
            match k {
                usize::MAX => {
                    let all = values.iter().enumerate().filter(|(_, v)| **v > floor);
                    above[row].extend(all.map(|(i, v)| ((first + i) as u32, *v)));
                }
                _ => largest[row].take(first as u32, values),
            }
            let from = dead.partition_point(|latent| (*latent as usize) < first);
            for latent in dead[from..].iter().take_while(|l| (**l as usize) < first + values.len()) {
                idle[row].offer(*latent, values[*latent as usize - first]);
            }
        });
        let finish = |all: Vec<Largest>| -> Rows { all.into_iter().map(Largest::finish).collect() };
        (if k == usize::MAX { above } else { finish(largest) }, finish(idle))
    };
    let blocks: Vec<(Rows, Rows)> = inputs.par_chunks(ROWS * d).map(block).collect();
    let (active, idle): (Vec<Rows>, Vec<Rows>) = blocks.into_iter().unzip();
    (active.into_iter().flatten().collect(), idle.into_iter().flatten().collect())
}

/// The `count` largest of all rows; of equals the earlier row's, then the lower latent.
fn largest_of_batch(mut rows: Rows, count: usize) -> Rows {
    let mut all: Vec<(f32, u32, u32)> = rows
        .iter()
        .enumerate()
        .flat_map(|(row, entries)| entries.iter().map(move |(latent, value)| (*value, row as u32, *latent)))
        .collect();
    if all.len() > count && count > 0 {
        let order =
            |a: &(f32, u32, u32), b: &(f32, u32, u32)| b.0.total_cmp(&a.0).then((a.1, a.2).cmp(&(b.1, b.2)));
        let (_, last, _) = all.select_nth_unstable_by(count - 1, order);
        let (value, row, latent) = *last;
        for (at, entries) in rows.iter_mut().enumerate() {
            entries.retain(|(l, v)| *v > value || *v == value && (at as u32, *l) <= (row, latent));
        }
    }
    rows
}

/// Σ ‖y − ȳ‖², summed in f64 in an order that the number of threads does not change.
pub(crate) fn variance(y: &[f32], width: usize) -> f64 {
    let rows = (y.len() / width).max(1) as f64;
    let add = |mut a: Vec<f64>, b: Vec<f64>| {
        a.iter_mut().zip(b).for_each(|(a, b)| *a += b);
        a
    };
    let sums = |part: &[f32]| {
        let mut sum = vec![0f64; width];
        for row in part.chunks_exact(width) {
            sum.iter_mut().zip(row).for_each(|(s, v)| *s += f64::from(*v));
        }
        sum
    };
    let parts: Vec<Vec<f64>> = y.par_chunks(ROWS * width).map(sums).collect();
    let mean: Vec<f64> = parts.into_iter().fold(vec![0.0; width], add).iter().map(|s| s / rows).collect();
    let squares = |part: &[f32]| -> f64 {
        let of_row =
            |row: &[f32]| row.iter().zip(&mean).map(|(v, m)| (f64::from(*v) - m).powi(2)).sum::<f64>();
        part.chunks_exact(width).map(of_row).sum()
    };
    let parts: Vec<f64> = y.par_chunks(ROWS * width).map(squares).collect();
    parts.iter().sum()
}

/// Each group's slopes, each prefix's summed squared error, and y − x̂ of the whole.
fn reconstruct(
    ends: &[usize],
    at: &Parameters,
    active: &Rows,
    y: &[f32],
    factor: f64,
) -> (Vec<Vec<f32>>, Vec<f64>, Vec<f32>) {
    let width = at.bias.len();
    // a row of every prefix's error: (group, d_out)
    let row = |(entries, y): (&Vec<(u32, f32)>, &[f32])| {
        let mut errors = vec![0f32; ends.len() * width];
        let mut sum = at.bias.clone();
        let mut entries = entries.iter().peekable();
        for (end, error) in ends.iter().zip(errors.chunks_exact_mut(width)) {
            while let Some((latent, value)) = entries.next_if(|entry| (entry.0 as usize) < *end) {
                add_scaled(&mut sum, *value, at.feature(*latent));
            }
            error.iter_mut().zip(&sum).zip(y).for_each(|((e, s), y)| *e = s - y);
        }
        errors
    };
    let by_row: Vec<Vec<f32>> = active.par_iter().zip(y.par_chunks_exact(width)).map(row).collect();
    let square = |errors: &[f32]| errors.iter().map(|e| f64::from(*e).powi(2)).sum::<f64>();
    let squares: Vec<Vec<f64>> =
        by_row.par_iter().map(|errors| errors.chunks_exact(width).map(square).collect()).collect();
    let totals = (0..ends.len()).map(|g| squares.iter().map(|s| s[g]).sum()).collect();
    let mut slopes = vec![vec![0f32; y.len()]; ends.len()];
    for g in 0..ends.len() {
        slopes[g].par_chunks_exact_mut(width).zip(&by_row).for_each(|(slope, errors)| {
            errors[g * width..].chunks_exact(width).for_each(|error| add_scaled(slope, factor as f32, error));
        });
    }
    let last = (ends.len() - 1) * width;
    let residual = by_row.iter().flat_map(|errors| errors[last..].iter().map(|e| -e)).collect();
    (slopes, totals, residual)
}

/// The slope of the loss by each active value.
fn entries(term: &Term, at: &Parameters, active: Rows, penalty: f32, width: usize) -> Vec<Vec<Entry>> {
    let row = |(row, active): (usize, Vec<(u32, f32)>)| {
        let slope = |latent: u32| {
            let of_row = &term.slopes[term.group(latent as usize)][row * width..][..width];
            dot(of_row, at.feature(latent)) + penalty
        };
        active.into_iter().map(|(latent, value)| Entry { latent, value, slope: slope(latent) }).collect()
    };
    active.into_par_iter().enumerate().map(row).collect()
}

/// α ‖ê − e‖² / Σ‖e − ē‖² with e = y − x̂ held constant and ê what dead latents say, without a bias.
fn auxiliary(
    config: &Config,
    setting: Auxiliary,
    at: &Parameters,
    idle: Rows,
    residual: &[f32],
) -> (Option<Term>, f64) {
    let width = config.shape.d_out;
    let variance = variance(residual, width);
    if variance <= 0.0 {
        return (None, 0.0);
    }
    let scale = f64::from(setting.coefficient) / variance;
    let mut slopes = vec![0f32; residual.len()];
    let work = slopes.par_chunks_exact_mut(width).zip(residual.par_chunks_exact(width)).zip(&idle);
    let squares: Vec<f64> = work
        .map(|((slope, residual), idle)| {
            slope.iter_mut().zip(residual).for_each(|(s, r)| *s = -r);
            idle.iter().for_each(|(latent, value)| add_scaled(slope, *value, at.feature(*latent)));
            let square = slope.iter().map(|s| f64::from(*s).powi(2)).sum::<f64>();
            slope.iter_mut().for_each(|s| *s *= (2.0 * scale) as f32);
            square
        })
        .collect();
    let mut term = Term { rows: Vec::new(), slopes: vec![slopes], ends: vec![config.shape.latents] };
    term.rows = entries(&term, at, idle, 0.0, width);
    (Some(term), scale * squares.iter().sum::<f64>())
}
