//! The tuned lens in closed form: for each depth the affine map that brings its stream nearest to a later one.
//!
//! Over tokens `t` of the train split, with `x` the stream at a depth and `y` at the later one, the map minimises
//! `Σ wₜ |y − (x + Δx + b)|² + λ Σᵢⱼ (Δᵢⱼ sᵢ)²`: it is drawn to the identity, so that with little text it falls back to the logit
//! lens. The weight `w = 1 / mean(y²)` makes every token count as the final norm will see it, and `sᵢ`, the spread of `x`'s
//! coordinate i, makes the penalty blind to the scale of coordinates, which differ a thousandfold where activations are
//! massive. A window's first token, where such activations live, is left out. Moments are summed batch by batch in f64.

use super::file::Map;
use super::solve::{Square, solve};
use crate::error::tensor;
use crate::stream::{depth_of, site_at};
use crate::sweep::next_batch;
use crate::{Error, Result};
use pellucid_core::Site;
use pellucid_model::{Batch, Logits, Model, Plan, Record, Tensor, with_numbers};
use pellucid_store::Window;
use rayon::prelude::*;

/// Tokens that run together.
const BATCH: usize = 1024;

/// What a lens is fitted on.
#[derive(Clone, Copy, Debug)]
pub struct Texts<'a> {
    /// Windows of the train split.
    pub windows: &'a [Window],
    /// Where the maps lead: a `resid_post`.
    pub to: Site,
}

impl Texts<'_> {
    /// The depth that maps lead to.
    pub(super) fn depth(&self, model: &Model) -> Result<usize> {
        model.check_site(self.to)?;
        let depth = depth_of(self.to).filter(|d| *d > 0);
        depth.ok_or_else(|| {
            Error::Request(format!("maps cannot lead to {}; name a resid_post, e.g. resid_post.4", self.to))
        })
    }

    /// Tokens that count.
    pub fn tokens(&self) -> usize {
        self.windows.iter().map(|w| w.tokens.len().saturating_sub(1)).sum()
    }
}

/// Sums of one depth.
struct Moments {
    xx: Tensor,
    xy: Tensor,
    x: Tensor,
}

/// Maps from every depth before `to`. `progress` is told tokens done.
///
/// # Errors
/// If there is no text, a window does not fit the model, or a map is not determined.
pub fn fit_tuned(
    model: &Model,
    texts: Texts<'_>,
    ridge: f64,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Map>> {
    if !ridge.is_finite() || ridge <= 0.0 {
        return Err(Error::Request(format!("the ridge must be a positive number, found {ridge}")));
    }
    let depth = texts.depth(model)?;
    let mut all: Vec<Option<Moments>> = (0..depth).map(|_| None).collect();
    let (mut y_sum, mut weight, mut done) = (None, 0f64, 0);
    let mut windows = texts.windows;
    while !windows.is_empty() {
        let batch = next_batch(windows, BATCH);
        windows = &windows[batch.len()..];
        let Some(rows) = counted(batch) else { continue };
        let mut record = Record::new((0..=depth).map(site_at));
        let plan = Plan { logits: Logits::None, start: None, stop_after: Some(depth - 1) };
        model.run(&Batch::new(batch.iter().map(|w| w.tokens.clone())), &plan, None, &mut record)?;
        let wide = |d: usize| wide(&tensor(record.value(site_at(d))?.index_select(&rows, 0))?);
        let (y, roots) = weighted(&wide(depth)?)?;
        weight += sum(&tensor(roots.sqr())?)?;
        add(&mut y_sum, tensor(y.broadcast_mul(&roots).and_then(|y| y.sum(0)))?)?;
        for (d, moments) in all.iter_mut().enumerate() {
            let x = tensor(wide(d)?.broadcast_mul(&roots))?;
            let turned = tensor(x.t())?;
            let new = Moments {
                xx: tensor(turned.matmul(&x))?,
                xy: tensor(turned.matmul(&y))?,
                x: tensor(x.broadcast_mul(&roots).and_then(|x| x.sum(0)))?,
            };
            *moments = Some(match moments.take() {
                None => new,
                Some(old) => Moments {
                    xx: tensor(old.xx + new.xx)?,
                    xy: tensor(old.xy + new.xy)?,
                    x: tensor(old.x + new.x)?,
                },
            });
        }
        done += batch.iter().map(|w| w.tokens.len()).sum::<usize>();
        progress(done);
    }
    let none =
        || Error::Request("there is no text to fit a lens on; every window needs two tokens".to_owned());
    let y_mean = vector(&y_sum.ok_or_else(none)?, weight)?;
    let solved: Vec<Result<Map>> = all
        .into_par_iter()
        .enumerate()
        .map(|(d, moments)| map(site_at(d), &moments.ok_or_else(none)?, &y_mean, weight, ridge))
        .collect();
    solved.into_iter().collect()
}

/// Indices of every token but the first of each window; none where there is none.
pub(super) fn counted(batch: &[Window]) -> Option<Tensor> {
    let (mut index, mut first) = (Vec::new(), 0u32);
    for window in batch {
        let end = first + window.tokens.len() as u32;
        index.extend(first + 1..end);
        first = end;
    }
    if index.is_empty() { None } else { Tensor::new(index, &pellucid_model::CPU).ok() }
}

/// In f64.
fn wide(x: &Tensor) -> Result<Tensor> {
    let values: Vec<f64> = with_numbers(x, |x| x.iter().map(|v| f64::from(*v)).collect())?;
    tensor(Tensor::from_vec(values, x.shape(), x.device()))
}

/// Rows times the root of their weight, and those roots, `(rows, 1)`.
fn weighted(y: &Tensor) -> Result<(Tensor, Tensor)> {
    let squares = tensor(y.sqr().and_then(|s| s.mean_keepdim(1)))?;
    let roots = tensor(squares.affine(1.0, 1e-30).and_then(|s| s.sqrt()?.recip()))?;
    Ok((tensor(y.broadcast_mul(&roots))?, roots))
}

fn sum(x: &Tensor) -> Result<f64> {
    tensor(x.sum_all().and_then(|s| s.to_scalar::<f64>()))
}

fn add(total: &mut Option<Tensor>, more: Tensor) -> Result<()> {
    *total = Some(match total.take() {
        None => more,
        Some(old) => tensor(old + more)?,
    });
    Ok(())
}

fn vector(x: &Tensor, weight: f64) -> Result<Vec<f64>> {
    let values = tensor(x.flatten_all().and_then(|x| x.to_vec1::<f64>()))?;
    Ok(values.into_iter().map(|v| v / weight).collect())
}

/// From moments to the map.
fn map(from: Site, moments: &Moments, y_mean: &[f64], weight: f64, ridge: f64) -> Result<Map> {
    let x_mean = vector(&moments.x, weight)?;
    let (xx, xy) = (vector(&moments.xx, weight)?, vector(&moments.xy, weight)?);
    let d = x_mean.len();
    let (mut c, mut r) = (Square::zeros(d), Square::zeros(d));
    for i in 0..d {
        for j in 0..d {
            let at = i * d + j;
            c.values[at] = xx[at] - x_mean[i] * x_mean[j];
            // of y − x, so that the penalty draws to the identity
            r.values[at] = xy[at] - x_mean[i] * y_mean[j] - c.values[at];
        }
    }
    // a coordinate that never varies gets a little, or it would make the system singular
    let floor = 1e-9 * (0..d).map(|i| c.values[i * d + i]).sum::<f64>() / d as f64;
    for i in 0..d {
        let at = i * d + i;
        c.values[at] += ridge * c.values[at].max(0.0) + floor;
    }
    // (in, out): Δᵀ
    let delta = solve(c, r)?;
    let mut weights = vec![0f32; d * d];
    let mut bias = vec![0f32; d];
    for out in 0..d {
        let mut shift = y_mean[out];
        for i in 0..d {
            let w = delta.values[i * d + out] + f64::from(u8::from(i == out));
            shift -= w * x_mean[i];
            weights[out * d + i] = w as f32;
        }
        bias[out] = shift as f32;
    }
    let weight = tensor(Tensor::from_vec(weights, (d, d), &pellucid_model::CPU))?;
    Ok(Map { from, weight, bias })
}
