//! Scores of edges: what cutting each alone is predicted to take from the log-odds.
//!
//! An edge's score is `Σ (now_u − other_u) · ∂m/∂(what v reads)` over tokens, averaged over items, positive where the edge
//! helps. The methods differ in where the derivative is taken:
//!
//! - EAP (Syed et al. 2023, arXiv 2310.10348): at the items as they are;
//! - EAP-IG (Hanna et al. 2024, arXiv 2403.17806): its mean over embeddings on the way from what replaces them, at 0, 1/m, …
//!   (m − 1)/m of the way, as the authors' code has it;
//! - EAP-IG (activations): its mean over runs in which one place alone goes that way: the input, or what one layer's heads together,
//!   or its MLP, add; at 1/m, … 1 of the way to what they are, as the authors' code has it;
//! - clean-corrupted: its mean over the two ends (ibid.);
//! - exact: no derivative; each edge is cut and the model run (activation patching of edges).

use super::bench::{Bench, Part};
use super::edges::Edges;
use crate::behaviour::{last_rows, odds_gradient};
use crate::error::tensor;
use crate::{Error, Progress, Result};
use pellucid_core::{Point, Site};
use pellucid_model::{Logits, Place, Plan, Readers, Record, Rules, Tap, Tensor, with_numbers};
use serde::Serialize;

/// How edges are scored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Scoring {
    /// One gradient, at the items.
    Eap,
    /// Gradients on the way from what replaces the items' embeddings.
    EapIg {
        /// Points on the way.
        steps: usize,
    },
    /// Gradients on the way of each place from its counterfactual: the input, each layer's heads, each MLP.
    EapIgActivations {
        /// Points on each way.
        steps: usize,
    },
    /// Gradients at both ends.
    CleanCorrupted,
    /// Each edge truly cut.
    Exact,
}

impl Bench<'_> {
    /// How often [`score`] tells its progress.
    pub fn score_steps(&self, by: Scoring) -> usize {
        let each = match by {
            Scoring::Eap | Scoring::CleanCorrupted => 0,
            Scoring::EapIg { steps } => steps,
            Scoring::EapIgActivations { steps } => steps * self.places().len(),
            Scoring::Exact => self.edges.len(),
        };
        self.parts.len() * (each + 1)
    }
}

/// Sums scores while a backward pass goes from reader to reader.
struct Sum<'a> {
    edges: &'a Edges,
    /// `other − now` of each writer: `(writers, tokens · d_model)`.
    differences: &'a Tensor,
    scores: &'a mut [f64],
    weight: f64,
}

impl Sum<'_> {
    fn add(&mut self, readers: std::ops::Range<usize>, g: &Tensor) -> pellucid_model::Result<()> {
        let (seen, n) = (self.edges.seen_by(readers.start), readers.len());
        let g = g.reshape((n, g.elem_count() / n))?;
        // (readers, tokens · d_model) with (writers, tokens · d_model)
        let products = g.matmul(&self.differences.narrow(0, 0, seen)?.t()?)?;
        let first = self.edges.reads(readers.start).start;
        with_numbers(&products.contiguous()?, |products| {
            let scores = &mut self.scores[first..first + products.len()];
            scores.iter_mut().zip(products).for_each(|(s, p)| *s -= self.weight * f64::from(*p));
        })
    }
}

impl Tap for Sum<'_> {
    fn wants(&self, _: Site) -> bool {
        false
    }
    fn visit(&mut self, _: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        Ok(x)
    }
    fn wants_reads(&self, _: usize) -> bool {
        true
    }
    fn read_gradient(&mut self, at: Place<'_>, readers: Readers, g: &Tensor) -> pellucid_model::Result<()> {
        let layer = at.site.layer as usize;
        match readers {
            Readers::Attention => self.add(self.edges.attention(layer), g),
            Readers::Mlp => self.add(self.edges.mlp(layer)..self.edges.mlp(layer) + 1, g),
        }
    }
}

/// Scores every edge; `progress` is told after each pass (or, for exact scores, each edge) of each batch.
///
/// # Errors
/// If there are no steps, or a run fails.
pub fn score(bench: &Bench<'_>, by: Scoring, progress: Progress<'_>) -> Result<Vec<f64>> {
    let mut scores = vec![0f64; bench.edges.len()];
    for part in &bench.parts {
        let differences = part.differences(0, &bench.writes(&part.batch)?.0)?;
        match by {
            Scoring::Exact => exact(bench, part, &differences, &mut scores, progress)?,
            Scoring::Eap => gradient(bench, part, &differences, None, 1.0, &mut scores)?,
            Scoring::CleanCorrupted => {
                gradient(bench, part, &differences, None, 0.5, &mut scores)?;
                gradient(bench, part, &differences, Some(0.0), 0.5, &mut scores)?;
            }
            Scoring::EapIg { steps: 0 } | Scoring::EapIgActivations { steps: 0 } => {
                return Err(Error::Request("integrated gradients need at least one step".to_owned()));
            }
            Scoring::EapIg { steps } => {
                for step in 0..steps {
                    let along = step as f32 / steps as f32;
                    gradient(bench, part, &differences, Some(along), 1.0 / steps as f64, &mut scores)?;
                    progress()?;
                }
            }
            Scoring::EapIgActivations { steps } => {
                activations(bench, part, &differences, steps, &mut scores, progress)?;
            }
        }
        progress()?;
    }
    let n = bench.items().len() as f64;
    scores.iter_mut().for_each(|s| *s /= n);
    Ok(scores)
}

/// Adds the products of a gradient, taken at the items or on the way to them.
fn gradient(
    bench: &Bench<'_>,
    part: &Part,
    differences: &Tensor,
    along: Option<f32>,
    weight: f64,
    scores: &mut [f64],
) -> Result<()> {
    let start = match along {
        None => None,
        Some(along) => {
            let [now, other] = &part.input;
            let x = (now - other).and_then(|d| other + (d * f64::from(along))?);
            Some((0, held(part, &tensor(x)?)?))
        }
    };
    let mut sum = Sum { edges: &bench.edges, differences, scores, weight };
    gradient_of(bench, part, start, &mut sum, &mut ())
}

/// Adds the products of the gradient of a run from some start, under a tap that adds a constant or does nothing.
fn gradient_of(
    bench: &Bench<'_>,
    part: &Part,
    start: Option<(usize, Tensor)>,
    sum: &mut Sum<'_>,
    tap: &mut dyn Tap,
) -> Result<()> {
    let items = &bench.items()[part.range.clone()];
    let plan = Plan { logits: Logits::None, start, stop_after: None };
    let (output, trace) = bench.model.trace(&part.batch, &plan, &mut (&mut *tap, &mut *sum))?;
    let last = last_rows(&part.batch, &output.resid)?;
    let g = odds_gradient(bench.model, &part.batch, items, &last, Rules::EXACT)?;
    let logits = bench.edges.logits();
    sum.add(logits..logits + 1, &g)?;
    bench.model.backward_from(trace, g, Rules::EXACT, &mut (&mut *tap, &mut *sum))?;
    Ok(())
}

/// Adds a constant at one site.
struct Shifted {
    site: Site,
    by: Tensor,
}

impl Tap for Shifted {
    fn wants(&self, site: Site) -> bool {
        site == self.site
    }
    fn visit(&mut self, _: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        Ok((x + &self.by)?)
    }
    fn expects(&self) -> Vec<Site> {
        vec![self.site]
    }
}

impl Bench<'_> {
    /// Where writers stand that go on their way together, and which they are.
    fn places(&self) -> Vec<(Site, std::ops::Range<usize>)> {
        let mut places = vec![(Site::new(Point::ResidPre, 0), 0..1)];
        for layer in 0..self.edges.layers() {
            let (first, heads) = (self.edges.before(layer), self.edges.heads());
            places.push((Site::new(Point::AttnOutPost, layer), first..first + heads));
            places.push((Site::new(Point::MlpOutPost, layer), first + heads..first + heads + 1));
        }
        places
    }
}

/// The mean over places and points on their way; what the writers of a place add moves together by the sum of their differences.
fn activations(
    bench: &Bench<'_>,
    part: &Part,
    differences: &Tensor,
    steps: usize,
    scores: &mut [f64],
    progress: Progress<'_>,
) -> Result<()> {
    let (tokens, d) = (part.batch.tokens(), bench.model.spec().d_model);
    let places = bench.places();
    let weight = 1.0 / (places.len() * steps) as f64;
    for (site, writers) in places {
        let whole = tensor(differences.narrow(0, writers.start, writers.len()).and_then(|x| x.sum(0)))?;
        let whole = tensor(whole.reshape((tokens, d)))?;
        for step in 1..=steps {
            let by = tensor(&whole * (1.0 - step as f64 / steps as f64))?;
            let mut sum = Sum { edges: &bench.edges, differences, scores: &mut *scores, weight };
            gradient_of(bench, part, None, &mut sum, &mut Shifted { site, by })?;
            progress()?;
        }
    }
    Ok(())
}

/// First tokens that keep their own value keep it on the way too.
fn held(part: &Part, x: &Tensor) -> Result<Tensor> {
    if !part.held.contains(&true) {
        return Ok(x.clone());
    }
    let rows = part.held.iter().enumerate().map(|(t, held)| {
        let from = if *held { &part.input[0] } else { x };
        from.narrow(0, t, 1)
    });
    tensor(rows.collect::<std::result::Result<Vec<_>, _>>().and_then(|rows| Tensor::cat(&rows, 0)))
}

/// Cuts each edge alone; the layers below its reader are not run again.
fn exact(
    bench: &Bench<'_>,
    part: &Part,
    differences: &Tensor,
    scores: &mut [f64],
    progress: Progress<'_>,
) -> Result<()> {
    let layers = bench.edges.layers();
    let mut record = Record::new((0..layers).map(|l| Site::new(Point::ResidPre, l)));
    let plan = Plan { logits: Logits::None, start: None, stop_after: None };
    bench.model.run(&part.batch, &plan, None, &mut record)?;
    let plain: f64 = bench.whole()[part.range.clone()].iter().sum();
    let mut amount = vec![0f32; bench.edges.len()];
    for (edge, score) in scores.iter_mut().enumerate() {
        // an edge into the logits is cut behind the last block
        let layer = bench.edges.layer_of(bench.edges.ends(edge).1).min(layers - 1);
        amount[edge] = 1.0;
        let resid = record.value(Site::new(Point::ResidPre, layer))?;
        let odds = bench.odds_from(part, &amount, (layer, &resid), differences)?;
        *score += plain - odds.iter().sum::<f64>();
        amount[edge] = 0.0;
        progress()?;
    }
    Ok(())
}
