//! A dictionary and a model: the rows it learns from, and what the model loses where the dictionary speaks for the site.
//!
//! The first token of a window is left out on both sides: massive activations live there, and a dictionary that must speak
//! for them spends its latents on one token.

use crate::sweep::next_batch;
use crate::{Error, Result};
use pellucid_core::Site;
use pellucid_dict::Dictionary;
use pellucid_model::sample::Mass;
use pellucid_model::{Batch, Logits, Model, Place, Plan, Record, Row, Tap, Tensor, with_numbers};
use pellucid_store::Window;

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
pub fn rows(model: &Model, site: Site, mut windows: &[Window]) -> Result<Vec<f32>> {
    let plan = Plan { logits: Logits::None, start: None, stop_after: Some(site.layer as usize) };
    let mut out = Vec::new();
    while !windows.is_empty() {
        let batch = next_batch(windows, BATCH);
        windows = &windows[batch.len()..];
        let mut record = Record::new([site]);
        model.run(&Batch::new(batch.iter().map(|w| w.tokens.clone())), &plan, None, &mut record)?;
        let value = record.value(site)?;
        let tokens: usize = batch.iter().map(|w| w.tokens.len()).sum();
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
    Ok(out)
}

/// The mean next-token loss in nats, with different things at the site.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Losses {
    /// The model as it is.
    pub plain: f64,
    /// The dictionary's reconstruction instead of the value.
    pub spliced: f64,
    /// Zeros instead.
    pub zero: f64,
    /// The mean instead.
    pub mean: f64,
}

impl Losses {
    /// The share of what is lost by zeros that the dictionary keeps; none where zeros cost nothing.
    pub fn recovered_from_zero(&self) -> Option<f64> {
        self.recovered(self.zero)
    }

    /// The same against the mean.
    pub fn recovered_from_mean(&self) -> Option<f64> {
        self.recovered(self.mean)
    }

    fn recovered(&self, without: f64) -> Option<f64> {
        (without > self.plain).then(|| (without - self.spliced) / (without - self.plain))
    }
}

/// Measures all four on these windows. `mean` is the site's mean row.
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
    let zero = vec![0.0; mean.len()];
    let with = |instead: Instead<'_>| loss(model, windows, &mut Splice { site, instead });
    Ok(Losses {
        plain: loss(model, windows, &mut ())?,
        spliced: with(Instead::Dictionary(dictionary))?,
        zero: with(Instead::Row(&zero))?,
        mean: with(Instead::Row(mean))?,
    })
}

fn loss(model: &Model, windows: &[Window], tap: &mut dyn Tap) -> Result<f64> {
    let (mut sum, mut count) = (0.0, 0usize);
    for window in windows {
        let logits = model.forward(&Batch::one(Row::new(window.tokens.as_slice())), tap)?;
        let width = model.spec().vocabulary;
        with_numbers(&logits, |logits| {
            for (row, &next) in logits.chunks_exact(width).zip(window.tokens.iter().skip(1)).skip(1) {
                sum += Mass::of(row).log_total - f64::from(row[next as usize]);
                count += 1;
            }
        })?;
    }
    Ok(sum / count.max(1) as f64)
}

/// What stands at the site, for every token but the first.
enum Instead<'a> {
    Dictionary(&'a Dictionary),
    Row(&'a [f32]),
}

struct Splice<'a> {
    site: Site,
    instead: Instead<'a>,
}

impl Tap for Splice<'_> {
    fn wants(&self, site: Site) -> bool {
        site == self.site
    }

    fn visit(&mut self, at: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        let tokens: usize = at.rows.iter().map(|r| r.tokens.len()).sum();
        let width = x.elem_count() / tokens.max(1);
        let mut values = with_numbers(&x, <[f32]>::to_vec)?;
        let new = match self.instead {
            Instead::Row(row) => row.repeat(tokens),
            Instead::Dictionary(dictionary) => dictionary
                .reconstruct(&values)
                .map_err(|e| pellucid_model::Error::Request(format!("at {}: {e}", self.site)))?,
        };
        let mut first = 0;
        for row in at.rows {
            let end = first + row.tokens.len();
            values[(first + 1) * width..end * width].copy_from_slice(&new[(first + 1) * width..end * width]);
            first = end;
        }
        Ok(Tensor::from_vec(values, x.shape(), x.device())?)
    }

    fn expects(&self) -> Vec<Site> {
        vec![self.site]
    }
}
