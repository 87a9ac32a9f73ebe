//! The Jacobian lens: the mean derivative of the later stream, `J = E[∂hₗₐₜₑᵣ(t) / ∂h(t)]` at the same token, as the map
//! `x ↦ E[hₗₐₜₑᵣ] + J (x − E[h])`: the first-order reading of what later layers make of a value (Hernandez et al. 2024, arXiv
//! 2308.09124, use such a mean of Jacobians for one relation; here it is taken over text).
//!
//! One row of `J` is one backward pass, so an exact mean over many tokens is `d_model` passes for each of them. The estimate
//! takes one pass for all tokens of a batch: token `t` is given one coordinate `i(t)` and a random sign `sₜ`, the later stream's
//! gradient is `sₜ · e_{i(t)}` at every token together, and row `i(t)` of the sum gets `sₜ` times what arrives at `h(t)`. What
//! arrives there from later tokens carries their signs too, and is zero on average; the identity in `J`, which the stream
//! itself carries, is met exactly. Coordinates go round in random order, so that after every `d_model` tokens each row has
//! been seen as often; each row of the estimate is the mean over `tokens / d_model` tokens.

use super::file::Map;
use super::fit::{Texts, counted};
use crate::error::tensor;
use crate::stream::site_at;
use crate::sweep::next_batch;
use crate::{Error, Result};
use pellucid_core::{Seed, Site};
use pellucid_model::{Batch, Logits, Model, Plan, Record, Row, Rules, Tensor, with_numbers};

/// Tokens that run together: what a backward pass keeps of them is every layer.
const BATCH: usize = 512;

/// Values and gradients of the stream at depths below `depth`, where the later stream's gradient is given, token by token; and
/// the later stream.
fn back(model: &Model, batch: &Batch, depth: usize, seeds: Vec<f32>) -> Result<(Record, Tensor)> {
    let mut record = Record::with_gradients((0..depth).map(site_at));
    let plan = Plan { logits: Logits::None, start: None, stop_after: Some(depth - 1) };
    let (output, trace) = model.trace(batch, &plan, &mut record)?;
    let g = tensor(Tensor::from_vec(seeds, output.resid.shape(), output.resid.device()))?;
    model.backward_from(trace, g, Rules::EXACT, &mut record)?;
    Ok((record, output.resid))
}

/// The derivative of the stream at depth `to` with respect to that at depth `from`, at one token of one text: row `i` is the
/// gradient of coordinate `i`, `(d_model, d_model)`.
///
/// # Errors
/// If the position or a depth does not exist, or the run fails.
pub fn exact_jacobian(
    model: &Model,
    row: &Row,
    position: usize,
    from: usize,
    to: usize,
) -> Result<Vec<Vec<f32>>> {
    let (d, n) = (model.spec().d_model, row.tokens.len());
    if position >= n || from >= to || to > model.spec().n_layers {
        let layers = model.spec().n_layers;
        return Err(Error::Request(format!(
            "there is no derivative from depth {from} to {to} at position {position}; the text has {n} tokens and depths go to {layers}"
        )));
    }
    let mut out = Vec::with_capacity(d);
    let at_once = (BATCH / n).max(1);
    for first in (0..d).step_by(at_once) {
        let coordinates: Vec<usize> = (first..(first + at_once).min(d)).collect();
        let batch = Batch { rows: vec![row.clone(); coordinates.len()] };
        let mut seeds = vec![0f32; coordinates.len() * n * d];
        for (r, i) in coordinates.iter().enumerate() {
            seeds[(r * n + position) * d + i] = 1.0;
        }
        let g = back(model, &batch, to, seeds)?.0.gradient(site_at(from))?;
        with_numbers(&g, |g| {
            out.extend((0..coordinates.len()).map(|r| g[(r * n + position) * d..][..d].to_vec()));
        })?;
    }
    Ok(out)
}

/// Sums of one depth.
struct Sums {
    rows: Vec<f64>,
    mean: Vec<f64>,
}

/// Maps from every depth before `to`, by the mean Jacobian. `progress` is told tokens done.
///
/// # Errors
/// If the text has fewer tokens than the stream has coordinates, or a window does not fit the model.
pub fn fit_jacobian(
    model: &Model,
    texts: Texts<'_>,
    seed: Seed,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Map>> {
    let (depth, d) = (texts.depth(model)?, model.spec().d_model);
    if texts.tokens() < d {
        let (have, to) = (texts.tokens(), texts.to);
        return Err(Error::Request(format!(
            "a Jacobian to {to} needs at least {d} tokens, one for each coordinate, and the train split has {have}; take more --tokens"
        )));
    }
    let mut draw = seed.for_purpose("jacobian probes");
    let mut order: Vec<usize> = Vec::new();
    let mut sums: Vec<Sums> =
        (0..depth).map(|_| Sums { rows: vec![0.0; d * d], mean: vec![0.0; d] }).collect();
    let (mut seen, mut later, mut count, mut done) = (vec![0f64; d], vec![0f64; d], 0f64, 0);
    let mut windows = texts.windows;
    while !windows.is_empty() {
        let part = next_batch(windows, BATCH);
        windows = &windows[part.len()..];
        let Some(index) = counted(part) else { continue };
        let batch = Batch::new(part.iter().map(|w| w.tokens.clone()));
        let mut seeds = vec![0f32; batch.tokens() * d];
        let mut probes = Vec::new();
        for token in tensor(index.to_vec1::<u32>())? {
            if order.is_empty() {
                order = draw.choose(d, d);
            }
            let coordinate = order.pop().unwrap_or(0);
            let sign = if draw.below(2) == 0 { 1f32 } else { -1f32 };
            seeds[token as usize * d + coordinate] = sign;
            probes.push((token as usize, coordinate, f64::from(sign)));
        }
        let (record, ends) = back(model, &batch, depth, seeds)?;
        for (at, sums) in sums.iter_mut().enumerate() {
            let g = record.gradient(site_at(at))?;
            with_numbers(&g, |g| {
                for &(token, coordinate, sign) in &probes {
                    let row = &mut sums.rows[coordinate * d..][..d];
                    row.iter_mut().zip(&g[token * d..]).for_each(|(s, g)| *s += sign * f64::from(*g));
                }
            })?;
            add_means(&mut sums.mean, &record.value(site_at(at))?, &probes)?;
        }
        add_means(&mut later, &ends, &probes)?;
        probes.iter().for_each(|(_, coordinate, _)| seen[*coordinate] += 1.0);
        count += probes.len() as f64;
        done += batch.tokens();
        progress(done);
    }
    let later: Vec<f64> = later.into_iter().map(|v| v / count).collect();
    let map = |(at, sums): (usize, Sums)| map(site_at(at), sums, &seen, &later, count);
    sums.into_iter().enumerate().map(map).collect()
}

fn add_means(mean: &mut [f64], x: &Tensor, probes: &[(usize, usize, f64)]) -> Result<()> {
    let d = mean.len();
    with_numbers(x, |x| {
        for (token, _, _) in probes {
            mean.iter_mut().zip(&x[token * d..]).for_each(|(m, v)| *m += f64::from(*v));
        }
    })?;
    Ok(())
}

fn map(from: Site, sums: Sums, seen: &[f64], later: &[f64], count: f64) -> Result<Map> {
    let d = later.len();
    let mut weights = vec![0f32; d * d];
    let mut bias = vec![0f32; d];
    for out in 0..d {
        let mut shift = later[out];
        for i in 0..d {
            let w = sums.rows[out * d + i] / seen[out].max(1.0);
            shift -= w * sums.mean[i] / count;
            weights[out * d + i] = w as f32;
        }
        bias[out] = shift as f32;
    }
    let weight = tensor(Tensor::from_vec(weights, (d, d), &pellucid_model::CPU))?;
    Ok(Map { from, weight, bias })
}
