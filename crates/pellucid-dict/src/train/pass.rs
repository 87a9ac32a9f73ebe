//! One batch forward: what is active, what is reconstructed, the losses, and what each active latent's value should change by.
//!
//! With prefixes p₁ < … < p_G the error is c/G Σ_j ‖x̂_{<p_j} − y‖². A latent in the group between two prefixes takes part in all later
//! ones, so its gradient is the sum of theirs: `slopes` holds these sums, a row for each group.
//!
//! A batch is cut into blocks of rows (`tiles::BLOCK`), each with room of its own that is kept from step to step; sums over a batch are
//! sums over blocks, in their order, so the number of threads changes no bit.

use pellucid_kernels::kernel::{LANES, ROWS, above};
use pellucid_kernels::rows::{add_scaled, dots, gather, spread};
use pellucid_kernels::simd::dot_wide;
use rayon::prelude::*;

use crate::product::times_transposed;
use crate::select::Largest;
use crate::tiles::{BLOCK, Operands, Panels};
use crate::train::config::{Auxiliary, Config, ErrorScale, Recipe};
use crate::train::rules::Rule;
use crate::train::trainer::Parameters;

/// Active latents of a block's rows.
#[derive(Default)]
pub(crate) struct Lot {
    /// Latent and value, row after row, latents ascending in each.
    pub(crate) terms: Vec<(u32, f32)>,
    /// The loss's slope by each latent's pre-activation.
    pub(crate) slopes: Vec<f32>,
    /// Where each row's terms end.
    pub(crate) ends: Vec<usize>,
    /// Entry for entry the pre-activation, where a recipe makes another value of it; otherwise empty.
    pub(crate) before: Vec<(u32, f32)>,
    /// The slopes of what a gate says alone, by pre-activations.
    pub(crate) by_gate: Vec<f32>,
    /// Entry for entry the loss's slope by what its latent has of its own: of JumpReLU the threshold, of a gate the bias, the scale's
    /// logarithm and the magnitude's bias.
    pub(crate) own: Vec<[f32; 3]>,
    /// The summed squared error of what a gate says alone.
    pub(crate) gate: f64,
    /// Room for one row.
    pub(crate) row: Vec<f32>,
    /// Each prefix's summed squared error.
    errors: Vec<f64>,
    /// The summed slopes of the first group: of the loss by the output's bias.
    pub(crate) bias: Vec<f32>,
}

impl Lot {
    fn begin(&mut self) {
        self.terms.clear();
        self.slopes.clear();
        self.ends.clear();
        self.before.clear();
        self.own.clear();
        self.gate = 0.0;
    }

    /// How many entries are active; others have the value 0.
    pub(crate) fn active(&self) -> usize {
        self.terms.iter().filter(|term| term.1 > 0.0).count()
    }

    /// Each row's stretch of terms.
    fn stretches(&self) -> impl Iterator<Item = std::ops::Range<usize>> {
        self.ends.iter().scan(0, |from, end| Some(std::mem::replace(from, *end)..*end))
    }
}

/// An active latent of a row of the batch.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) row: u32,
    pub(crate) latent: u32,
    pub(crate) value: f32,
    pub(crate) slope: f32,
}

/// Active latents row by row, and the slopes of the loss by what they add up to.
#[derive(Default)]
pub(crate) struct Term {
    rows: usize,
    lots: Vec<Lot>,
    /// (rows, groups, d_out).
    pub(crate) slopes: Vec<f32>,
    /// Where each group's latents end.
    pub(crate) ends: Vec<usize>,
}

impl Term {
    /// Room for so many rows, none of which has an active latent yet.
    fn begin(&mut self, rows: usize, ends: &[usize], width: usize) {
        self.rows = rows;
        let blocks = rows.div_ceil(BLOCK).max(self.lots.len());
        self.lots.resize_with(blocks, Lot::default);
        self.lots.iter_mut().for_each(Lot::begin);
        self.ends.clear();
        self.ends.extend_from_slice(ends);
        self.slopes.resize(rows * ends.len() * width, 0.0);
    }

    /// The blocks in use.
    pub(crate) fn lots(&self) -> &[Lot] {
        &self.lots[..self.rows.div_ceil(BLOCK)]
    }

    fn lots_mut(&mut self) -> &mut [Lot] {
        &mut self.lots[..self.rows.div_ceil(BLOCK)]
    }

    /// Which group a latent is in.
    pub(crate) fn group(&self, latent: usize) -> usize {
        self.ends.partition_point(|end| *end <= latent)
    }

    /// Rows of the batch; 0 where there is no such term.
    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    /// Everything that is active, rows ascending, and latents in each.
    pub(crate) fn entries(&self) -> impl Iterator<Item = Entry> {
        self.lots().iter().enumerate().flat_map(|(block, lot)| {
            lot.stretches().enumerate().flat_map(move |(row, here)| {
                let row = (block * BLOCK + row) as u32;
                let both = lot.terms[here.clone()].iter().zip(&lot.slopes[here]);
                both.map(move |((latent, value), slope)| Entry {
                    row,
                    latent: *latent,
                    value: *value,
                    slope: *slope,
                })
            })
        })
    }
}

/// What one block needs while its rows are chosen from.
#[derive(Default)]
struct Desk {
    operands: Operands,
    active: Vec<Largest>,
    idle: Vec<Largest>,
    floors: Vec<[f32; ROWS]>,
    sums: Vec<f64>,
    squares: f64,
}

/// What a batch said, and the room in which it was computed.
#[derive(Default)]
pub(crate) struct Pass {
    /// Inputs, shifted, (rows, d_in).
    pub(crate) inputs: Vec<f32>,
    pub(crate) main: Term,
    /// For dead latents; without rows where there is none.
    pub(crate) auxiliary: Term,
    /// FVU of the whole reconstruction.
    pub(crate) unexplained: f64,
    pub(crate) loss: f64,
    pub(crate) auxiliary_loss: f64,
    /// The smallest active value, where a whole batch was selected from.
    pub(crate) smallest: Option<f32>,
    panels: Panels,
    desks: Vec<Desk>,
    /// Decoder rows' norms, where the penalty counts them.
    norms: Vec<f32>,
    /// Of April's recipe, what a value times its direction's norm costs.
    pub(crate) by_norm: f32,
    /// Targets less what the skip connection says, where there is one.
    rest: Vec<f32>,
    /// y − x̂, where dead latents are to explain it.
    residual: Vec<f32>,
    /// Flipped bits of a value, row, latent: ascending is the order in which a batch keeps them.
    pool: Vec<(u32, u32, u32)>,
}

/// What is asked of the product.
#[derive(Clone, Copy)]
struct Ask<'a> {
    /// Of each row at most so many,
    k: usize,
    /// and only above this.
    floor: f32,
    /// Latents of which the largest `idle` are wanted beside.
    dead: &'a [u32],
    idle: usize,
}

/// What a run has come to when it meets a batch.
#[derive(Clone, Copy)]
pub(crate) struct Moment<'a> {
    /// Dead latents that are to explain what is left over.
    pub(crate) dead: &'a [u32],
    /// A guess of what a batch's smallest active value exceeds. It only saves work.
    pub(crate) hint: f32,
    /// The share of the penalty that counts.
    pub(crate) share: f32,
}

impl Pass {
    /// Runs a batch x (rows, d_in) to be reconstructed as y (rows, d_out).
    pub(crate) fn run(&mut self, config: &Config, at: &Parameters, [x, y]: [&[f32]; 2], moment: Moment<'_>) {
        let Moment { dead, hint, share } = moment;
        let (d_in, d_out) = (config.shape.d_in, config.shape.d_out);
        let rows = x.len() / d_in;
        let ends = config.prefixes();
        self.main.begin(rows, &ends, d_out);
        self.auxiliary.begin(if dead.is_empty() { 0 } else { rows }, &[config.shape.latents], d_out);
        if self.desks.len() < rows.div_ceil(BLOCK) {
            self.desks.resize_with(rows.div_ceil(BLOCK), Desk::default);
        }
        self.centre(x, d_in, config.subtract_bias.then_some(&at.bias));
        self.panels.pack(&at.encoder, &at.encoder_bias, d_in, config.precision);
        self.select(config, at, dead, hint);
        let variance = variance(y, d_out, &mut self.desks);
        let unit = match config.error {
            ErrorScale::Variance => variance.max(f64::MIN_POSITIVE),
            ErrorScale::Rows => rows as f64,
            ErrorScale::Elements => (rows * d_out) as f64,
        };
        let each = unit * ends.len() as f64;
        let norms = self.norms(config, at);
        let rule = |active: usize| Rule::of(config, &norms, share, [rows as f32, active as f32]);
        self.main.lots_mut().par_iter_mut().for_each(|lot| rule(0).values(lot, at));
        let rule = rule(self.main.lots().iter().map(Lot::active).sum());
        self.by_norm = if let Rule::Norms { weight, .. } = rule { weight } else { 0.0 };
        let rest = self.less_skip(at, y);
        self.reconstruct(at, rest.as_deref().unwrap_or(y), (2.0 / each) as f32, rule);
        let errors = |g: usize| self.main.lots().iter().map(|lot| lot.errors[g]).sum::<f64>();
        self.loss = (0..ends.len()).map(errors).sum::<f64>() / each;
        self.unexplained = errors(ends.len() - 1) / variance.max(f64::MIN_POSITIVE);
        let gate: f64 = self.main.lots().iter().map(|lot| lot.gate).sum();
        let penalised: f64 = self.main.lots().iter().map(|lot| rule.penalised(lot)).sum();
        self.loss += gate / each + f64::from(share) * config.recipe.penalty(penalised / rows as f64);
        self.auxiliary_loss = match config.auxiliary {
            Some(setting) if !dead.is_empty() => self.explain_residual(at, setting, each / 2.0),
            _ => 0.0,
        };
        self.loss += self.auxiliary_loss;
        self.norms = norms;
        self.rest = rest.unwrap_or_default();
    }

    /// Norms of decoder rows, where the penalty counts them, in the room that is there for them.
    fn norms(&mut self, config: &Config, at: &Parameters) -> Vec<f32> {
        let mut norms = std::mem::take(&mut self.norms);
        if matches!(config.recipe, Recipe::April { .. }) {
            norms.resize(config.shape.latents, 0.0);
            let rows = at.decoder.par_chunks_exact(config.shape.d_out);
            norms.par_iter_mut().zip(rows).for_each(|(norm, row)| *norm = dot_wide(row, row).sqrt() as f32);
        }
        norms
    }

    /// Targets less the skip connection's part of them, W x; none without one.
    fn less_skip(&mut self, at: &Parameters, y: &[f32]) -> Option<Vec<f32>> {
        if at.skip.is_empty() {
            return None;
        }
        let (d_out, d_in) = (at.bias.len(), at.skip.len() / at.bias.len());
        let mut rest = std::mem::take(&mut self.rest);
        rest.resize(y.len(), 0.0);
        let work = rest.par_chunks_mut(BLOCK * d_out).zip(self.inputs.par_chunks(BLOCK * d_in));
        work.zip(y.par_chunks(BLOCK * d_out)).for_each(|((rest, x), y)| {
            times_transposed(x, &at.skip, d_in, rest);
            rest.iter_mut().zip(y).for_each(|(said, y)| *said = y - *said);
        });
        Some(rest)
    }

    fn centre(&mut self, x: &[f32], d: usize, bias: Option<&Vec<f32>>) {
        self.inputs.resize(x.len(), 0.0);
        let work = self.inputs.par_chunks_mut(BLOCK * d).zip(x.par_chunks(BLOCK * d));
        work.for_each(|(to, from)| {
            to.copy_from_slice(from);
            if let Some(bias) = bias {
                to.chunks_exact_mut(d).for_each(|row| add_scaled(row, -1.0, bias));
            }
        });
    }

    /// Active latents of each row, and of each row the largest dead ones where there are any.
    fn select(&mut self, config: &Config, at: &Parameters, dead: &[u32], hint: f32) {
        let d = config.shape.d_in;
        let rows = self.main.rows;
        let idle = config.auxiliary.map_or(0, |auxiliary| auxiliary.k);
        let all = Ask { k: usize::MAX, floor: 0.0, dead, idle };
        self.smallest = None;
        match config.recipe {
            Recipe::TopK { k } => self.scan(Ask { k, ..all }, d),
            Recipe::ReLU { .. } | Recipe::April { .. } | Recipe::Gated { .. } => self.scan(all, d),
            Recipe::JumpReLU { bandwidth, .. } => {
                // nothing below the lowest threshold's kernel matters
                let lowest = at.thresholds.iter().copied().fold(f32::INFINITY, f32::min);
                self.scan(Ask { floor: (lowest - 0.5 * bandwidth).max(0.0), ..all }, d);
            }
            Recipe::BatchTopK { k, .. } | Recipe::Matryoshka { k, .. } => {
                // what lies above the hint holds the k · rows largest if it is that many; otherwise all positive ones are needed
                self.scan(Ask { floor: hint.max(0.0), ..all }, d);
                let found: usize = self.main.lots().iter().map(|lot| lot.terms.len()).sum();
                if found < k * rows && hint > 0.0 {
                    self.scan(all, d);
                }
                self.keep_largest(k * rows);
                let values = self.main.lots().iter().flat_map(|lot| &lot.terms).map(|term| term.1);
                self.smallest = values.min_by(f32::total_cmp);
            }
        }
    }

    /// The product, tile by tile.
    fn scan(&mut self, ask: Ask<'_>, d: usize) {
        let (panels, inputs) = (&self.panels, &self.inputs);
        let work = self.desks.par_iter_mut().zip(inputs.par_chunks(BLOCK * d)).zip(self.main.lots_mut());
        if ask.dead.is_empty() {
            work.for_each(|((desk, x), lot)| scan_block(panels, desk, x, ask, [lot, &mut Lot::default()]));
        } else {
            let work = work.zip(self.auxiliary.lots_mut());
            work.for_each(|(((desk, x), lot), idle)| scan_block(panels, desk, x, ask, [lot, idle]));
        }
    }

    /// Of all rows' terms only the `count` largest; of equals the earlier row's, then the lower latent.
    fn keep_largest(&mut self, count: usize) {
        let pool = &mut self.pool;
        pool.clear();
        for (block, lot) in self.main.lots().iter().enumerate() {
            for (row, here) in lot.stretches().enumerate() {
                let row = (block * BLOCK + row) as u32;
                pool.extend(lot.terms[here].iter().map(|(latent, v)| (!v.to_bits(), row, *latent)));
            }
        }
        if pool.len() <= count || count == 0 {
            return;
        }
        let last = *pool.select_nth_unstable(count - 1).1;
        self.main.lots_mut().iter_mut().enumerate().for_each(|(block, lot)| {
            let (mut kept, mut from) = (0, 0);
            for row in 0..lot.ends.len() {
                for i in from..lot.ends[row] {
                    let (latent, value) = lot.terms[i];
                    if (!value.to_bits(), (block * BLOCK + row) as u32, latent) <= last {
                        lot.terms[kept] = lot.terms[i];
                        kept += 1;
                    }
                }
                from = std::mem::replace(&mut lot.ends[row], kept);
            }
            lot.terms.truncate(kept);
        });
    }

    /// Each row's reconstruction and at once, while its latents' rows are near, the slopes.
    fn reconstruct(&mut self, at: &Parameters, y: &[f32], factor: f32, rule: Rule<'_>) {
        let width = at.bias.len();
        let Term { rows, lots, slopes, ends } = &mut self.main;
        let lots = &mut lots[..rows.div_ceil(BLOCK)];
        let span = ends.len() * width;
        let work = lots.par_iter_mut().zip(slopes.par_chunks_mut(BLOCK * span));
        work.zip(y.par_chunks(BLOCK * width)).for_each(|((lot, slopes), y)| {
            let Lot { terms, slopes: by_value, ends: stops, errors, bias, .. } = lot;
            anew(errors, ends.len(), 0.0);
            anew(bias, width, 0.0);
            by_value.resize(terms.len(), 0.0);
            let (targets, mut from) = (y, 0);
            for (row, stop) in stops.iter().enumerate() {
                let here = from..*stop;
                from = *stop;
                let slopes = &mut slopes[row * span..][..span];
                let y = &targets[row * width..][..width];
                let places = Places { ends, at, width };
                let (terms, by_value) = (&terms[here.clone()], &mut by_value[here]);
                places.errors(terms, y, slopes, errors);
                places.slopes(terms, factor, slopes, by_value);
                add_scaled(bias, 1.0, &slopes[..width]);
            }
            rule.back(lot, at, targets, factor);
        });
    }

    /// α ‖ê − e‖² / Σ‖e − ē‖² with e = y − x̂ held constant and ê what dead latents say, without a bias. Times `unit`, the last
    /// group's slopes are x̂ − y.
    fn explain_residual(&mut self, at: &Parameters, setting: Auxiliary, unit: f64) -> f64 {
        let (width, span) = (at.bias.len(), self.main.ends.len() * at.bias.len());
        self.residual.resize(self.main.rows * width, 0.0);
        let slopes = self.main.slopes.par_chunks_exact(span);
        self.residual.par_chunks_exact_mut(width).zip(slopes).for_each(|(to, slopes)| {
            to.iter_mut().zip(&slopes[span - width..]).for_each(|(to, s)| *to = -(unit as f32) * s);
        });
        let variance = variance(&self.residual, width, &mut self.desks);
        if variance <= 0.0 {
            self.auxiliary.rows = 0;
            return 0.0;
        }
        let scale = f64::from(setting.coefficient) / variance;
        let residual = &self.residual;
        let Term { rows, lots, slopes, .. } = &mut self.auxiliary;
        let lots = &mut lots[..rows.div_ceil(BLOCK)];
        let work = lots.par_iter_mut().zip(slopes.par_chunks_mut(BLOCK * width));
        work.zip(residual.par_chunks(BLOCK * width)).for_each(|((lot, slopes), residual)| {
            lot.slopes.resize(lot.terms.len(), 0.0);
            anew(&mut lot.errors, 1, 0.0);
            let rows = slopes.chunks_exact_mut(width).zip(residual.chunks_exact(width));
            let mut from = 0;
            for ((slope, residual), end) in rows.zip(&lot.ends) {
                let here = from..*end;
                from = *end;
                slope.iter_mut().zip(residual).for_each(|(s, r)| *s = -r);
                gather(slope, &at.decoder, &lot.terms[here.clone()]);
                lot.errors[0] += dot_wide(slope, slope);
                slope.iter_mut().for_each(|s| *s *= (2.0 * scale) as f32);
                dots(slope, &at.decoder, &lot.terms[here.clone()], &mut lot.slopes[here]);
            }
        });
        scale * self.auxiliary.lots().iter().map(|lot| lot.errors[0]).sum::<f64>()
    }
}

/// Groups of latents and their rows of the decoder.
struct Places<'a> {
    ends: &'a [usize],
    at: &'a Parameters,
    width: usize,
}

impl Places<'_> {
    /// Calls `see(group, terms)` for each group's stretch of a row's terms.
    fn groups(&self, terms: &[(u32, f32)], mut see: impl FnMut(usize, std::ops::Range<usize>)) {
        let mut from = 0;
        for (g, end) in self.ends.iter().enumerate() {
            let to = from + terms[from..].partition_point(|term| (term.0 as usize) < *end);
            see(g, from..to);
            from = to;
        }
    }

    /// x̂ − y of every prefix into `rows` (groups, d_out), and their squares added to `squares`.
    fn errors(&self, terms: &[(u32, f32)], y: &[f32], rows: &mut [f32], squares: &mut [f64]) {
        let width = self.width;
        self.groups(terms, |g, here| {
            // what the last prefix said, and its own latents
            match g {
                0 => rows[..width].copy_from_slice(&self.at.bias),
                _ => rows.copy_within((g - 1) * width..g * width, g * width),
            }
            gather(&mut rows[g * width..][..width], &self.at.decoder, &terms[here]);
        });
        for (row, square) in rows.chunks_exact_mut(width).zip(squares) {
            add_scaled(row, -1.0, y);
            *square += dot_wide(row, row);
        }
    }

    /// Errors in `rows` to slopes, and the slopes by each value into `out`.
    fn slopes(&self, terms: &[(u32, f32)], factor: f32, rows: &mut [f32], out: &mut [f32]) {
        let width = self.width;
        rows.iter_mut().for_each(|v| *v *= factor);
        for g in (1..self.ends.len()).rev() {
            let (before, later) = rows.split_at_mut(g * width);
            add_scaled(&mut before[(g - 1) * width..], 1.0, &later[..width]);
        }
        self.groups(terms, |g, here| {
            let out = &mut out[here.clone()];
            dots(&rows[g * width..][..width], &self.at.decoder, &terms[here], out);
        });
    }
}

/// A block's rows through all panels: what each row keeps into the first lot, the dead latents' into the second.
fn scan_block(panels: &Panels, desk: &mut Desk, x: &[f32], ask: Ask<'_>, [lot, idle]: [&mut Lot; 2]) {
    let Desk { operands, active, idle: sleeping, floors, .. } = desk;
    active.resize_with(BLOCK, Largest::default);
    active.iter_mut().for_each(|row| row.begin(ask.k, ask.floor));
    sleeping.resize_with(if ask.dead.is_empty() { 0 } else { BLOCK }, Largest::default);
    sleeping.iter_mut().for_each(|row| row.begin(ask.idle, 0.0));
    anew(floors, BLOCK / ROWS, [active[0].floor(); ROWS]);
    let mut rows = 0;
    panels.multiply(x, operands, |first, count, latent, sums| {
        rows = rows.max(first + count);
        let floors = &mut floors[first / ROWS];
        for (r, mut bits) in above(count, sums, floors).into_iter().enumerate() {
            while bits != 0 {
                let lane = bits.trailing_zeros();
                bits &= bits - 1;
                active[first + r].offer(latent as u32 + lane, sums[r].0[lane as usize]);
            }
            floors[r] = active[first + r].floor();
        }
        let from = ask.dead.partition_point(|l| (*l as usize) < latent);
        for l in ask.dead[from..].iter().take_while(|l| (**l as usize) < latent + LANES) {
            let here = sleeping[first..].iter_mut().zip(sums).take(count);
            here.for_each(|(row, sums)| row.offer(*l, sums.0[*l as usize - latent]));
        }
    });
    for (lot, found) in [(lot, active), (idle, sleeping)] {
        lot.begin();
        for row in found.iter_mut().take(rows) {
            row.finish(&mut lot.terms);
            lot.ends.push(lot.terms.len());
        }
    }
}

/// So many of a value, in the memory that the list has.
pub(super) fn anew<T: Copy>(all: &mut Vec<T>, count: usize, value: T) {
    all.clear();
    all.resize(count, value);
}

/// Σ ‖y − ȳ‖² in f64, from one reading: sums are of differences from the first row, so that a large mean costs no digits.
fn variance(y: &[f32], width: usize, desks: &mut [Desk]) -> f64 {
    let blocks = (y.len() / width).div_ceil(BLOCK);
    let origin = &y[..width.min(y.len())];
    desks.par_iter_mut().zip(y.par_chunks(BLOCK * width)).for_each(|(desk, part)| {
        anew(&mut desk.sums, width, 0.0);
        desk.squares = part.chunks_exact(width).map(|row| spread(row, origin, &mut desk.sums)).sum();
    });
    let sum = |j: usize| desks[..blocks].iter().map(|desk| desk.sums[j]).sum::<f64>();
    let of_mean: f64 = (0..width).map(|j| sum(j).powi(2)).sum::<f64>() / (y.len() / width).max(1) as f64;
    let squares: f64 = desks[..blocks].iter().map(|desk| desk.squares).sum();
    (squares - of_mean).max(0.0)
}
