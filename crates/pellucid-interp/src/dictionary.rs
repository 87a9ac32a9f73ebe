//! A dictionary and a model: the rows it learns from, and what the model loses where the dictionary speaks for the site.
//!
//! The first token of a window is left out on both sides: massive activations live there, and a dictionary that must speak
//! for them spends its latents on one token.

use crate::sweep::next_batch;
use crate::{Error, Result};
use pellucid_core::Site;
use pellucid_dict::Dictionary;
use pellucid_model::sample::{divergence, log_softmax};
use pellucid_model::{Batch, Logits, Model, Place, Plan, Record, Row, Tap, Tensor, with_numbers};
use pellucid_store::Window;
use rayon::prelude::*;

/// Tokens that run together.
const BATCH: usize = 2048;

impl From<pellucid_dict::Error> for Error {
    fn from(error: pellucid_dict::Error) -> Self {
        Error::Request(error.to_string())
    }
}

/// How many rows [`rows`] gives for these windows.
pub fn row_count(windows: &[Window]) -> usize {
    windows.iter().map(|w| w.tokens.len().saturating_sub(1)).sum()
}

/// What the model computes at a site for every token but the first of each window, `(rows, width)`.
///
/// # Errors
/// If a window does not fit the model.
pub fn rows(model: &Model, site: Site, windows: &[Window]) -> Result<Vec<f32>> {
    let [rows] = rows_of(model, [site], windows)?;
    Ok(rows)
}

/// The same of several sites, from one run: what a transcoder reads, and what it should write.
///
/// # Errors
/// If a window does not fit the model.
pub fn rows_of<const N: usize>(
    model: &Model,
    sites: [Site; N],
    mut windows: &[Window],
) -> Result<[Vec<f32>; N]> {
    let last = sites.iter().map(|site| site.layer as usize).max();
    let plan = Plan { logits: Logits::None, start: None, stop_after: last };
    let mut out = [const { Vec::new() }; N];
    while !windows.is_empty() {
        let batch = next_batch(windows, BATCH);
        windows = &windows[batch.len()..];
        let mut record = Record::new(sites);
        model.run(&Batch::new(batch.iter().map(|w| w.tokens.clone())), &plan, None, &mut record)?;
        let tokens: usize = batch.iter().map(|w| w.tokens.len()).sum();
        for (site, out) in sites.into_iter().zip(&mut out) {
            let value = record.value(site)?;
            let width = value.elem_count() / tokens.max(1);
            with_numbers(&value, |values| {
                let mut rest = values;
                for window in batch {
                    let (mine, others) = rest.split_at(window.tokens.len() * width);
                    rest = others;
                    out.extend_from_slice(mine.get(width..).unwrap_or_default());
                }
            })?;
        }
    }
    Ok(out)
}

/// What the model says with something else at the site: means over next tokens, in nats.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Said {
    /// Next-token loss.
    pub loss: f64,
    /// KL divergence from what the model says as it is.
    pub kl: f64,
}

/// The model as it is, and with three things at the site.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Losses {
    /// The next-token loss of the model as it is.
    pub plain: f64,
    /// With the dictionary's reconstruction.
    pub spliced: Said,
    /// With zeros.
    pub zero: Said,
    /// With the site's mean.
    pub mean: Said,
}

impl Losses {
    /// The share of the loss that zeros cost and the dictionary does not; none where zeros cost nothing.
    pub fn recovered_from_zero(&self) -> Option<f64> {
        share(self.zero.loss - self.plain, self.spliced.loss - self.plain)
    }

    /// The same against the mean.
    pub fn recovered_from_mean(&self) -> Option<f64> {
        share(self.mean.loss - self.plain, self.spliced.loss - self.plain)
    }

    /// The share of the KL divergence that zeros cause and the dictionary does not.
    pub fn kl_recovered_from_zero(&self) -> Option<f64> {
        share(self.zero.kl, self.spliced.kl)
    }

    /// The same against the mean.
    pub fn kl_recovered_from_mean(&self) -> Option<f64> {
        share(self.mean.kl, self.spliced.kl)
    }
}

fn share(without: f64, with: f64) -> Option<f64> {
    (without > 0.0).then(|| (without - with) / without)
}

/// Measures all of it on these windows. `mean` is the site's mean row.
///
/// # Errors
/// If a window or the dictionary does not fit the model.
pub fn losses(
    model: &Model,
    site: Site,
    windows: &[Window],
    dictionary: &Dictionary,
    mean: &[f32],
) -> Result<Losses> {
    losses_between(model, [site, site], windows, dictionary, mean)
}

/// The same for a transcoder: it reads the first site and speaks for the second, whose mean row `mean` is.
///
/// # Errors
/// If a window or the dictionary does not fit the model, or the second site comes before the first.
pub fn losses_between(
    model: &Model,
    [from, to]: [Site; 2],
    windows: &[Window],
    dictionary: &Dictionary,
    mean: &[f32],
) -> Result<Losses> {
    let zeros = vec![0.0; mean.len()];
    let mut sums = Losses::default();
    let mut count = 0usize;
    for window in windows {
        let plain = said(model, window, &mut ())?;
        // the token after the first is told by the first alone, which nobody changes
        let asked: Vec<(&Vec<f32>, u32)> =
            plain.iter().zip(window.tokens.iter().skip(1).copied()).skip(1).collect();
        count += asked.len();
        sums.plain -= asked.iter().map(|(row, next)| f64::from(row[*next as usize])).sum::<f64>();
        let Losses { spliced, zero, mean: by_mean, .. } = &mut sums;
        let arms = [
            (spliced, Instead::Dictionary(dictionary)),
            (zero, Instead::Row(&zeros)),
            (by_mean, Instead::Row(mean)),
        ];
        for (sum, instead) in arms {
            let changed = said(model, window, &mut Splice { from, to, instead, read: None })?;
            for ((plain, next), changed) in asked.iter().zip(changed.iter().skip(1)) {
                sum.loss -= f64::from(changed[*next as usize]);
                sum.kl += divergence(plain, changed);
            }
        }
    }
    let count = count.max(1) as f64;
    let of = |sum: Said| Said { loss: sum.loss / count, kl: sum.kl / count };
    let Losses { plain, spliced, zero, mean } = sums;
    Ok(Losses { plain: plain / count, spliced: of(spliced), zero: of(zero), mean: of(mean) })
}

/// Log-probabilities of what follows each token.
fn said(model: &Model, window: &Window, tap: &mut dyn Tap) -> Result<Vec<Vec<f32>>> {
    let logits = model.forward(&Batch::one(Row::new(window.tokens.as_slice())), tap)?;
    let width = model.spec().vocabulary;
    Ok(with_numbers(&logits, |logits| logits.par_chunks_exact(width).map(log_softmax).collect())?)
}

/// What stands at the site, for every token but the first.
enum Instead<'a> {
    Dictionary(&'a Dictionary),
    Row(&'a [f32]),
}

struct Splice<'a> {
    from: Site,
    to: Site,
    instead: Instead<'a>,
    /// What stood at the site that is read, until the other one is reached.
    read: Option<Vec<f32>>,
}

impl Splice<'_> {
    fn new_rows(&mut self, tokens: usize) -> pellucid_model::Result<Vec<f32>> {
        let (from, to) = (self.from, self.to);
        let fault = |why: String| pellucid_model::Error::Request(why);
        match self.instead {
            Instead::Row(row) => Ok(row.repeat(tokens)),
            Instead::Dictionary(dictionary) => {
                let read = self.read.take();
                let read = read.ok_or_else(|| fault(format!("{to} is reached before {from}")))?;
                dictionary.reconstruct(&read).map_err(|e| fault(format!("from {from} to {to}: {e}")))
            }
        }
    }
}

impl Tap for Splice<'_> {
    fn wants(&self, site: Site) -> bool {
        site == self.to || site == self.from
    }

    fn visit(&mut self, at: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        if at.site == self.from {
            self.read = Some(with_numbers(&x, <[f32]>::to_vec)?);
        }
        if at.site != self.to {
            return Ok(x);
        }
        let tokens: usize = at.rows.iter().map(|r| r.tokens.len()).sum();
        let width = x.elem_count() / tokens.max(1);
        let mut values = with_numbers(&x, <[f32]>::to_vec)?;
        let new = self.new_rows(tokens)?;
        let mut first = 0;
        for row in at.rows {
            let end = first + row.tokens.len();
            values[(first + 1) * width..end * width].copy_from_slice(&new[(first + 1) * width..end * width]);
            first = end;
        }
        Ok(Tensor::from_vec(values, x.shape(), x.device())?)
    }

    fn expects(&self) -> Vec<Site> {
        vec![self.from, self.to]
    }
}
