//! The model's side of a sweep: a corpus through the model once, each layer's activations handed to its collector
//! while they are hot, and nothing kept of them.

use crate::error::tensor;
use crate::{Error, Result};
use pellucid_core::{Point, Site};
use pellucid_model::{Attached, Batch, Logits, Model, Place, Plan, Tap, Tensor, Watch, with_numbers};
use pellucid_store::collect::{Block, CollectError, Parts, SiteCollector};
use pellucid_store::{Sweep, Window};
use rayon::prelude::*;
use std::ops::{ControlFlow, Range};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

/// How far a sweep is.
#[derive(Clone, Copy, Debug)]
pub struct Swept {
    /// Windows that the collectors have seen.
    pub windows: usize,
    /// Time spent in collectors since this call began, of `spent` in all.
    pub collecting: Duration,
    /// Time since this call began.
    pub spent: Duration,
}

/// The sites of a sweep with their widths.
///
/// # Errors
/// If the model lacks one, or its activations are not one vector a token.
pub fn sweep_sites(model: &Model, sites: &[Site]) -> Result<Vec<(Site, usize)>> {
    let width = |&site: &Site| {
        model.check_site(site)?;
        let width = model.spec().width_at(site.point).filter(|_| site.point.per_layer());
        width.map(|w| (site, w)).ok_or_else(|| {
            Error::Request(format!(
                "{site} cannot be swept: expected a site in a layer with one vector a token"
            ))
        })
    };
    sites.iter().map(width).collect()
}

/// A dictionary's site with the number of its latents: what a sweep of them has instead of [`sweep_sites`].
pub fn sweep_latents(dictionary: &Attached) -> (Site, usize) {
    (dictionary.site, dictionary.latents.count())
}

/// Runs `windows` (all of the corpus, in order) through the model from where `sweep` stands, `batch_tokens` or a
/// little more at a time. With a dictionary, what is collected at its site are its latents. `progress` is told after
/// each batch and may stop the sweep there.
///
/// # Errors
/// If the model refuses a window or an activation is no finite number. What the sweep saw before is unharmed only
/// if it was saved.
pub fn sweep(
    model: &Model,
    dictionary: Option<&Attached>,
    windows: &[Window],
    sweep: &mut Sweep,
    batch_tokens: usize,
    progress: &mut dyn FnMut(Swept, &Sweep) -> ControlFlow<()>,
) -> Result<()> {
    let begun = Instant::now();
    let mut collecting = Duration::ZERO;
    let last = sweep.collectors().iter().map(|c| c.site().layer as usize).max();
    let plan = Plan { logits: Logits::None, start: None, stop_after: last };
    while sweep.windows().len() < windows.len() {
        let batch = next_batch(&windows[sweep.windows().len()..], batch_tokens);
        let mut tap = Hand {
            collectors: sweep.collectors(),
            dictionary,
            windows: batch,
            spent: Duration::ZERO,
            failed: None,
        };
        let run = model.run(&Batch::new(batch.iter().map(|w| w.tokens.clone())), &plan, None, &mut tap);
        collecting += tap.spent;
        if let Some(error) = tap.failed {
            return Err(Error::Request(error));
        }
        run?;
        sweep.seen(batch);
        let swept = Swept { windows: sweep.windows().len(), collecting, spent: begun.elapsed() };
        if progress(swept, sweep).is_break() {
            break;
        }
    }
    Ok(())
}

/// The first windows that together have at least `tokens` tokens; the same ones wherever a sweep was stopped before.
pub(crate) fn next_batch(windows: &[Window], tokens: usize) -> &[Window] {
    let mut sum = 0;
    let count = windows.iter().take_while(|w| {
        let more = sum < tokens.max(1);
        sum += w.tokens.len();
        more
    });
    &windows[..count.count()]
}

/// Hands activations to collectors.
struct Hand<'a> {
    collectors: &'a mut [SiteCollector],
    dictionary: Option<&'a Attached>,
    windows: &'a [Window],
    spent: Duration,
    /// Why a collector refused; the run then ends.
    failed: Option<String>,
}

impl Tap for Hand<'_> {
    fn wants(&self, site: Site) -> bool {
        self.collectors.iter().any(|c| c.site() == site)
    }

    fn visit(&mut self, at: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        let begun = Instant::now();
        let windows = self.windows;
        let tokens: usize = windows.iter().map(|w| w.tokens.len()).sum();
        for collector in self.collectors.iter_mut().filter(|c| c.site() == at.site) {
            let width = x.elem_count() / tokens.max(1);
            let done = with_numbers(&x, |values| match self.dictionary {
                None => collector.collect_or_spoil(&Block { values, width, windows }),
                Some(dictionary) => collect_latents(dictionary, values, windows, collector),
            })?;
            done.map_err(|error| refused(at.site, &error, &mut self.failed))?;
        }
        self.spent += begun.elapsed();
        Ok(x)
    }

    fn only_looks(&self, _: Site) -> bool {
        true
    }

    fn watch(&mut self, at: Place<'_>) -> Option<Box<dyn Watch + '_>> {
        let mut here = self.collectors.iter_mut().filter(|c| c.site() == at.site);
        let (Some(one), None, None) = (here.next(), here.next(), self.dictionary) else { return None };
        // what is wrong with the windows, `visit` says
        let parts = one.begin(self.windows).ok()?;
        let (spent, failed) = (&mut self.spent, &mut self.failed);
        Some(Box::new(Pieces { site: at.site, parts, nanoseconds: AtomicU64::new(0), spent, failed }))
    }

    fn expects(&self) -> Vec<Site> {
        self.collectors.iter().map(SiteCollector::site).collect()
    }
}

/// Hands activations to a collector piece by piece.
struct Pieces<'a> {
    site: Site,
    parts: Parts<'a>,
    /// Spent by all threads together.
    nanoseconds: AtomicU64,
    spent: &'a mut Duration,
    failed: &'a mut Option<String>,
}

impl Watch for Pieces<'_> {
    fn see(&self, row: usize, first: usize, values: &[f32]) {
        const { assert!(pellucid_model::PANEL == pellucid_store::collect::PANEL) };
        let begun = Instant::now();
        self.parts.take(row, first, values);
        self.nanoseconds.fetch_add(begun.elapsed().as_nanos() as u64, Relaxed);
    }

    fn end(self: Box<Self>) -> pellucid_model::Result<()> {
        let threads = rayon::current_num_threads() as u64;
        *self.spent += Duration::from_nanos(self.nanoseconds.into_inner() / threads);
        self.parts.end().map_err(|error| refused(self.site, &error, self.failed))
    }
}

/// A collector's refusal as the error that ends a run, and kept in `failed`.
fn refused(site: Site, error: &CollectError, failed: &mut Option<String>) -> pellucid_model::Error {
    let why = format!("at {site}: {error}");
    *failed = Some(why.clone());
    pellucid_model::Error::Request(why)
}

/// Hands the latents of some windows to their collector, a window at a time: latents are many, and an array of a whole
/// batch of them is never made.
fn collect_latents(
    dictionary: &Attached,
    values: &[f32],
    windows: &[Window],
    collector: &mut SiteCollector,
) -> Result<(), CollectError> {
    let width = dictionary.latents.count();
    let (mut dense, mut rest) = (Vec::new(), values);
    for window in windows {
        let (mine, others) = rest.split_at(window.tokens.len() * dictionary.latents.width());
        rest = others;
        dense.clear();
        dense.resize(window.tokens.len() * width, 0.0);
        for (row, active) in dense.chunks_exact_mut(width).zip(dictionary.active(mine)) {
            active.into_iter().for_each(|(latent, value)| row[latent as usize] = value);
        }
        let block = Block { values: &dense, width, windows: std::slice::from_ref(window) };
        collector.collect_or_spoil(&block)?;
    }
    Ok(())
}

/// Output tokens that a neuron makes likelier or less likely by what it writes to the stream.
#[derive(Clone, Debug, PartialEq)]
pub struct Promoted {
    /// The likeliest more of a positive activation, strongest first: token and weight.
    pub up: Vec<(u32, f32)>,
    /// The likeliest less.
    pub down: Vec<(u32, f32)>,
}

/// Neurons whose output weights are multiplied by the unembedding together.
const NEURONS: usize = 256;

/// The `k` most promoted and suppressed tokens of every neuron of a layer: its output weights through the final
/// norm's weights and the unembedding, with the mean over the vocabulary taken away (Geva et al. 2022; the norm's
/// scale, a positive number that depends on the text, is left out). `progress` is told neurons done.
///
/// # Errors
/// If there is no such layer.
pub fn promoted(
    model: &Model,
    layer: usize,
    k: usize,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Promoted>> {
    model.check_site(Site::new(Point::MlpAct, layer))?;
    let writes = model.neuron_writes(layer)?;
    let count = tensor(writes.dim(0))?;
    let mut all = Vec::with_capacity(count);
    for from in (0..count).step_by(NEURONS) {
        let some = tensor(writes.narrow(0, from, NEURONS.min(count - from)))?;
        all.extend(spoken_for(model, &some, k)?);
        progress(all.len());
    }
    Ok(all)
}

/// As [`promoted`], for one neuron.
///
/// # Errors
/// If there is no such neuron.
pub fn promoted_of(model: &Model, layer: usize, neuron: usize, k: usize) -> Result<Promoted> {
    model.check_site(Site::new(Point::MlpAct, layer))?;
    let writes = model.neuron_writes(layer)?;
    let count = tensor(writes.dim(0))?;
    if neuron >= count {
        return Err(Error::Request(format!(
            "mlp_act.{layer}/{neuron} does not exist: there are {count} neurons"
        )));
    }
    let found = spoken_for(model, &tensor(writes.narrow(0, neuron, 1))?, k)?.into_iter().next();
    found.ok_or_else(|| Error::Request("the neuron writes nothing".to_owned()))
}

/// As [`promoted`], for the latents of a dictionary in the stream, or of a layer's neurons: what their directions speak for, there through
/// the neurons' output weights.
///
/// # Errors
/// If the dictionary stands at a site whose rows are not in the stream's space.
pub fn promoted_latents(
    model: &Model,
    dictionary: &Attached,
    of: Range<usize>,
    k: usize,
    progress: &mut dyn FnMut(usize),
) -> Result<Vec<Promoted>> {
    let (width, latents) = (dictionary.latents.width(), &dictionary.latents);
    if !leads_to_stream(dictionary.site.point) {
        return Err(Error::Request(format!(
            "what the latents of {} speak for is not known: rows of {} are neither in the residual stream nor neurons",
            dictionary.name, dictionary.site
        )));
    }
    let mut all = Vec::with_capacity(of.len());
    for from in of.clone().step_by(NEURONS) {
        let some = from..(from + NEURONS).min(of.end);
        let writes: Vec<f32> = some.flat_map(|latent| latents.direction(latent as u32)).copied().collect();
        let shape = (writes.len() / width, width);
        let mut writes = tensor(Tensor::from_vec(writes, shape, &pellucid_model::CPU))?;
        if dictionary.site.point == Point::MlpAct {
            let neurons = model.neuron_writes(dictionary.site.layer as usize)?;
            writes = tensor(writes.matmul(&neurons))?;
        }
        all.extend(spoken_for(model, &writes, k)?);
        progress(all.len());
    }
    Ok(all)
}

/// Whether a row of this point is one of the residual stream, or added to it as it is or through neurons' output weights.
pub fn leads_to_stream(point: Point) -> bool {
    use Point::{AttnOutPost, Embeddings, MlpAct, MlpOutPost, ResidMid, ResidPost, ResidPre};
    matches!(point, Embeddings | ResidPre | ResidMid | ResidPost | AttnOutPost | MlpOutPost | MlpAct)
}

fn spoken_for(model: &Model, writes: &Tensor, k: usize) -> Result<Vec<Promoted>> {
    let logits = model.direct_logits(writes)?;
    let width = tensor(logits.dim(1))?;
    Ok(with_numbers(&logits, |logits| {
        logits.par_chunks_exact(width).map(|row| strongest(row, k)).collect::<Vec<_>>()
    })?)
}

fn strongest(row: &[f32], k: usize) -> Promoted {
    let mean = (row.iter().map(|v| f64::from(*v)).sum::<f64>() / row.len().max(1) as f64) as f32;
    let kept = |sign: f32| {
        let kept = largest(row.iter().map(|v| sign * (v - mean)), k);
        kept.into_iter().map(|(i, v)| (i, sign * v)).collect()
    };
    Promoted { up: kept(1.0), down: kept(-1.0) }
}

/// The `k` largest values with their places, largest first; of equal ones the earlier. One look at each value.
fn largest(values: impl Iterator<Item = f32>, k: usize) -> Vec<(u32, f32)> {
    let mut kept: Vec<(u32, f32)> = Vec::with_capacity(k + 1);
    let mut least = f32::NEG_INFINITY;
    for (i, v) in values.enumerate() {
        if kept.len() == k && v <= least {
            continue;
        }
        let at = kept.partition_point(|&(_, other)| other >= v);
        kept.insert(at, (i as u32, v));
        kept.truncate(k);
        least = kept.last().map_or(f32::NEG_INFINITY, |l| l.1);
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::largest;

    #[test]
    fn the_largest_are_those_of_a_sort() {
        for (n, k) in [(0, 3), (1, 3), (3, 3), (100, 7), (50, 0)] {
            let values: Vec<f32> = (0..n).map(|i| ((i * 37) % 11) as f32 - 5.0).collect();
            let mut sorted: Vec<(u32, f32)> =
                values.iter().enumerate().map(|(i, v)| (i as u32, *v)).collect();
            sorted.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
            sorted.truncate(k);
            assert_eq!(largest(values.into_iter(), k), sorted);
        }
    }
}
