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
    let zero = vec![0.0; mean.len()];
    let with = |instead: Instead<'_>| loss(model, windows, &mut Splice { from, to, instead, read: None });
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
