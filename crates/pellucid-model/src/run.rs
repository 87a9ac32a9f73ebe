//! Running a model: forward, forward with a backward to follow, and the backward.

use crate::backward::{BackPass, backward, pull};
use crate::batch::{Batch, Row, ranges};
use crate::block::{Pass, Saved, forward, visit};
use crate::cache::Cache;
use crate::model::Model;
use crate::ops::linear::{linear, linear_back};
use crate::ops::norm::{norm, norm_back};
use crate::ops::rotary::Angles;
use crate::ops::{Rooms, Rules, add, embed, soft_cap, soft_cap_back, tensor, with_slice};
use crate::tap::{Place, Tap};
use crate::{Error, Result};
use candle_core::{DType, Tensor};
use pellucid_core::{Point, Site};

/// At which tokens logits are computed. The unembedding of a large vocabulary can cost as much as the model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Logits {
    /// Nowhere.
    None,
    /// At each row's last token: `(rows, vocabulary)`.
    Last,
    /// At every token: `(tokens, vocabulary)`.
    All,
    /// At these tokens of the packed batch.
    At(Vec<usize>),
}

impl Logits {
    /// Indices into the packed batch.
    pub(crate) fn tokens(&self, rows: &[Row]) -> Result<Vec<usize>> {
        let ranges = ranges(rows);
        let total = ranges.last().map_or(0, |r| r.end);
        match self {
            Logits::None => Ok(Vec::new()),
            Logits::Last => Ok(ranges.iter().map(|r| r.end - 1).collect()),
            Logits::All => Ok((0..total).collect()),
            Logits::At(list) => match list.iter().find(|&&t| t >= total) {
                Some(t) => Err(Error::Request(format!(
                    "logits were asked for at token {t} and the run has {total} tokens"
                ))),
                None => Ok(list.clone()),
            },
        }
    }
}

/// How far a run goes.
#[derive(Clone, Debug)]
pub struct Plan {
    /// Where logits are wanted.
    pub logits: Logits,
    /// The first block to run, with the value at its `resid_pre`, `(tokens, d_model)`; none starts with the tokens.
    pub start: Option<(usize, Tensor)>,
    /// The last block to run; none runs all. After an earlier stop there are no logits.
    pub stop_after: Option<usize>,
}

impl Plan {
    /// A whole run with logits at each row's last token.
    pub const LAST: Plan = Plan { logits: Logits::Last, start: None, stop_after: None };

    /// A whole run with logits at every token.
    pub const ALL: Plan = Plan { logits: Logits::All, start: None, stop_after: None };
}

/// What a run gives besides what its tap kept.
#[derive(Clone, Debug)]
pub struct Output {
    /// `(asked tokens, vocabulary)`, in the order asked; none where no logits were asked for.
    pub logits: Option<Tensor>,
    /// The stream after the last block that ran, `(tokens, d_model)`.
    pub resid: Tensor,
}

/// What a backward pass reads; one forward's worth.
#[derive(Debug)]
pub struct Trace {
    pub(crate) rows: Vec<Row>,
    angles: Vec<Angles>,
    first: usize,
    pub(crate) blocks: Vec<Saved>,
    pub(crate) resid: Tensor,
    pub(crate) asked: Vec<usize>,
    /// Logits before and after the final soft cap, where there is one.
    pub(crate) capped: Option<(Tensor, Tensor)>,
}

impl Model {
    /// Logits at every token, `(tokens, vocabulary)` over all rows.
    pub fn forward(&self, batch: &Batch, tap: &mut dyn Tap) -> Result<Tensor> {
        let output = self.run(batch, &Plan::ALL, None, tap)?;
        output.logits.ok_or_else(|| Error::Request("a whole run gave no logits".to_owned()))
    }

    /// Runs `batch` as far as `plan` says. With a cache, the rows are what follows the cached tokens, and the
    /// cache grows by them; the result equals that of the whole text at once.
    ///
    /// # Errors
    /// If the batch does not fit the model, if a tap expects a site that this run does not reach, and
    /// whatever the tap returns.
    pub fn run(
        &self,
        batch: &Batch,
        plan: &Plan,
        cache: Option<&mut Cache>,
        tap: &mut dyn Tap,
    ) -> Result<Output> {
        Ok(self.pass(batch, plan, cache, tap, false)?.0)
    }

    /// As [`Model::run`], keeping what [`Model::backward`] reads.
    pub fn trace(&self, batch: &Batch, plan: &Plan, tap: &mut dyn Tap) -> Result<(Output, Trace)> {
        let (output, trace) = self.pass(batch, plan, None, tap, true)?;
        let trace = trace.ok_or_else(|| Error::Request("nothing was kept for a backward pass".to_owned()))?;
        Ok((output, trace))
    }

    fn pass(
        &self,
        batch: &Batch,
        plan: &Plan,
        mut cache: Option<&mut Cache>,
        tap: &mut dyn Tap,
        keep: bool,
    ) -> Result<(Output, Option<Trace>)> {
        let (spec, precision) = (&self.spec, self.precision());
        batch.check(spec.vocabulary, spec.context)?;
        let (first, end) = self.layers(plan)?;
        let asked = plan.logits.tokens(&batch.rows)?;
        self.check_reach(&tap.expects(), plan, first, end)?;
        check_cache(batch, cache.as_deref())?;
        let rows = &batch.rows;
        let angles = self.angles(rows);
        let mut x = match &plan.start {
            Some((_, x)) => checked_start(x, batch.tokens(), spec.d_model)?,
            None => self.embedded(rows, tap)?,
        };
        let mut blocks = Vec::new();
        for layer in first..end {
            let mut pass = Pass { spec, layer, rows, angles: &angles, precision, tap };
            let cache = cache.as_deref_mut().map(|c| &mut c.layers[layer]);
            let (y, saved) = forward(&self.weights.blocks[layer], x, &mut pass, cache, keep)?;
            blocks.extend(saved);
            x = y;
        }
        let (logits, capped) = self.logits(&x, &asked, rows, end, tap)?;
        let output = Output { logits, resid: x.clone() };
        let trace =
            keep.then(|| Trace { rows: rows.clone(), angles, first, blocks, resid: x, asked, capped });
        Ok((output, trace))
    }

    /// The blocks a plan runs, from the first to one past the last.
    fn layers(&self, plan: &Plan) -> Result<(usize, usize)> {
        let n = self.spec.n_layers;
        let first = plan.start.as_ref().map_or(0, |s| s.0);
        let end = plan.stop_after.map_or(n, |l| l.saturating_add(1));
        if end > n || first >= end {
            return Err(Error::Request(format!(
                "layers {first} to {} were asked for and the model has layers 0 to {}",
                end.saturating_sub(1),
                n - 1
            )));
        }
        if end < n && plan.logits != Logits::None {
            return Err(Error::Request(format!("a run that stops after layer {} has no logits", end - 1)));
        }
        Ok((first, end))
    }

    /// Refuses expectations that this run would silently disappoint.
    fn check_reach(&self, expected: &[Site], plan: &Plan, first: usize, end: usize) -> Result<()> {
        for &site in expected {
            self.check_site(site)?;
            let layer = site.layer as usize;
            let why = match site.point {
                Point::Embeddings if plan.start.is_some() => Some(format!("it starts at layer {first}")),
                Point::FinalNorm | Point::LmHead if plan.logits == Logits::None => {
                    Some("no logits were asked for".to_owned())
                }
                p if p.per_layer() && !(first..end).contains(&layer) => {
                    Some(format!("it runs layers {first} to {}", end - 1))
                }
                _ => None,
            };
            if let Some(why) = why {
                return Err(Error::NotReached { site, why });
            }
        }
        Ok(())
    }

    /// Whether the model has this site.
    pub fn check_site(&self, site: Site) -> Result<()> {
        if let Some(why) = self.spec.lacks(site.point) {
            return Err(Error::NoSuchSite { site, why: why.to_owned() });
        }
        let n = self.spec.n_layers;
        if site.layer as usize >= n {
            return Err(Error::NoSuchSite { site, why: format!("its layers are 0 to {}", n - 1) });
        }
        Ok(())
    }

    pub(crate) fn angles(&self, rows: &[Row]) -> Vec<Angles> {
        let table = |rope: &crate::rope::Rope| {
            let (mut cos, mut sin) = (Vec::new(), Vec::new());
            for row in rows {
                let (c, s) = rope.table(row.span(), row.horizon.max(row.span().end));
                cos.extend(c);
                sin.extend(s);
            }
            Angles { cos, sin, dim: rope.dim }
        };
        self.spec.ropes.iter().map(table).collect()
    }

    fn embedded(&self, rows: &[Row], tap: &mut dyn Tap) -> Result<Tensor> {
        let ids: Vec<u32> = rows.iter().flat_map(|r| r.tokens.iter().copied()).collect();
        let x = embed(&self.weights.embed, &ids, self.spec.embed_scale)?;
        let x = visit(tap, Place { site: Site::new(Point::Embeddings, 0), rows, first_row: 0 }, x)?;
        match &self.weights.positions {
            None => Ok(x),
            Some(table) => {
                let positions: Vec<u32> = rows.iter().flat_map(|r| r.span().map(|p| p as u32)).collect();
                add(&x, &embed(table, &positions, 1.0)?)
            }
        }
    }

    #[expect(clippy::type_complexity)]
    fn logits(
        &self,
        x: &Tensor,
        asked: &[usize],
        rows: &[Row],
        end: usize,
        tap: &mut dyn Tap,
    ) -> Result<(Option<Tensor>, Option<(Tensor, Tensor)>)> {
        if asked.is_empty() || end < self.spec.n_layers {
            return Ok((None, None));
        }
        let picked = pick(x, asked)?;
        // the taps at the two last points see the asked tokens, as rows of their own
        let rows = asked_rows(rows, asked);
        let place = |point| Place { site: Site::new(point, 0), rows: &rows, first_row: 0 };
        let normed = visit(tap, place(Point::FinalNorm), norm(&picked, &self.weights.final_norm)?)?;
        let raw = linear(&normed, &self.weights.head)?;
        let (logits, capped) = match self.spec.final_softcap {
            None => (raw, None),
            Some(cap) => {
                let logits = soft_cap(&raw, cap)?;
                (logits.clone(), Some((raw, logits)))
            }
        };
        Ok((Some(visit(tap, place(Point::LmHead), logits)?), capped))
    }

    /// What the unembedding makes of stream values `(n, d_model)`: final norm, unembedding, soft cap. This is
    /// the logit lens (nostalgebraist 2020) when `x` is an inner value.
    pub fn unembed(&self, x: &Tensor) -> Result<Tensor> {
        let raw = linear(&norm(&x.contiguous()?, &self.weights.final_norm)?, &self.weights.head)?;
        self.spec.final_softcap.map_or_else(|| Ok(raw.clone()), |cap| soft_cap(&raw, cap))
    }

    /// As [`Model::unembed`], for a few tokens of the vocabulary: `(n, tokens)`. Where the vocabulary is large
    /// and only a contrast of two logits is asked for, this is most of a short run saved.
    pub fn unembed_tokens(&self, x: &Tensor, tokens: &[u32]) -> Result<Tensor> {
        let normed = norm(&x.contiguous()?, &self.weights.final_norm)?;
        let raw = linear(&normed, &self.weights.head.only(tokens)?)?;
        self.spec.final_softcap.map_or_else(|| Ok(raw.clone()), |cap| soft_cap(&raw, cap))
    }

    /// ∂(logit of `target` − logit of `foil`)/∂x for stream values x, `(n, d_model)`: what [`Model::backward`]
    /// starts from, without a gradient for the whole vocabulary.
    pub fn contrast_gradient(&self, x: &Tensor, target: u32, foil: u32, rules: Rules) -> Result<Tensor> {
        let signs: Vec<f32> = [1.0, -1.0].repeat(x.dim(0)?);
        let signs = tensor(signs, (x.dim(0)?, 2))?;
        self.tokens_gradient(x, &[target, foil], &signs, rules)
    }

    /// ∂(logit of `target` − mean of all logits)/∂x for stream values x, `(n, d_model)`, by the unembedding's mean, which is made once;
    /// none where a soft cap makes the logits' mean another function of x.
    pub fn deviation_gradient(&self, x: &Tensor, target: u32, rules: Rules) -> Result<Option<Tensor>> {
        if self.spec.final_softcap.is_some() {
            return Ok(None);
        }
        let mut towards = self.weights.head.weight.rows(&[target]);
        towards.iter_mut().zip(self.mean_unembedding()?).for_each(|(w, mean)| *w -= mean);
        let g = tensor(towards.repeat(x.dim(0)?), x.shape())?;
        Ok(Some(norm_back(&x.contiguous()?, &self.weights.final_norm, &g, rules)?))
    }

    fn mean_unembedding(&self) -> Result<&[f32]> {
        if let Some(mean) = self.mean_unembedding.get() {
            return Ok(mean);
        }
        let vocabulary = self.spec.vocabulary;
        let each = tensor(vec![1.0 / vocabulary as f32; vocabulary], (1, vocabulary))?;
        let mean = with_slice(&linear_back(&each, &self.weights.head)?, <[f32]>::to_vec)?;
        Ok(self.mean_unembedding.get_or_init(|| mean))
    }

    /// ∂m/∂x for stream values x, `(n, d_model)`, from ∂m/∂(the logits of a few tokens), `(n, tokens)`.
    pub fn tokens_gradient(&self, x: &Tensor, tokens: &[u32], g: &Tensor, rules: Rules) -> Result<Tensor> {
        let x = x.contiguous()?;
        let head = self.weights.head.only(tokens)?;
        let raw = linear(&norm(&x, &self.weights.final_norm)?, &head)?;
        let mut g = g.contiguous()?;
        if let Some(cap) = self.spec.final_softcap {
            g = soft_cap_back(&raw, &soft_cap(&raw, cap)?, &g, cap, rules)?;
        }
        norm_back(&x, &self.weights.final_norm, &linear_back(&g, &head)?, rules)
    }

    /// An empty cache for `rows` texts of at most `capacity` tokens.
    pub fn cache(&self, rows: usize, capacity: usize) -> Result<Cache> {
        let spec = &self.spec;
        if capacity > spec.context {
            return Err(Error::TooLong { found: capacity, context: spec.context });
        }
        Cache::new(spec.n_layers, rows, capacity, spec.n_kv_heads, spec.head_dim)
    }

    /// Takes ∂m/∂logits, `(asked tokens, vocabulary)`, back through everything that `trace` ran, offering
    /// each site's gradient to `tap` (which must be the tap of the forward pass, so that edits are met).
    /// Returns ∂m/∂(the value at the start): embeddings, or the given `resid_pre`. The trace is used up, block
    /// by block, so that memory falls as the pass goes.
    pub fn backward(
        &self,
        trace: Trace,
        g_logits: &Tensor,
        rules: Rules,
        tap: &mut dyn Tap,
    ) -> Result<Tensor> {
        let expected = (trace.asked.len(), self.spec.vocabulary);
        if g_logits.dims2().ok() != Some(expected) {
            let found = g_logits.dims();
            return Err(Error::Request(format!(
                "the logits' gradient has shape {found:?}, expected {expected:?}"
            )));
        }
        let g = self.logits_back(&trace, g_logits, rules, tap)?;
        self.backward_from(trace, g, rules, tap)
    }

    /// As [`Model::backward`], from ∂m/∂(the stream after the last block that ran), `(tokens, d_model)`.
    pub fn backward_from(&self, trace: Trace, g: Tensor, rules: Rules, tap: &mut dyn Tap) -> Result<Tensor> {
        let Trace { rows, angles, first, mut blocks, .. } = trace;
        let mut g = g;
        let mut rooms = Rooms::default();
        while let Some(saved) = blocks.pop() {
            let layer = first + blocks.len();
            let (spec, precision) = (&self.spec, self.precision());
            let (rows, angles, rooms) = (&rows, &angles, &mut rooms);
            let mut pass = BackPass { spec, layer, rows, angles, rules, precision, tap, rooms };
            g = backward(&self.weights.blocks[layer], &saved, g, &mut pass)?;
        }
        if first == 0 {
            let place = Place { site: Site::new(Point::Embeddings, 0), rows: &rows, first_row: 0 };
            g = pull(tap, place, g)?;
        }
        Ok(g)
    }

    fn logits_back(&self, trace: &Trace, g: &Tensor, rules: Rules, tap: &mut dyn Tap) -> Result<Tensor> {
        let rows = asked_rows(&trace.rows, &trace.asked);
        let place = |point| Place { site: Site::new(point, 0), rows: &rows, first_row: 0 };
        let mut g = pull(tap, place(Point::LmHead), g.clone())?;
        if let (Some(cap), Some((raw, capped))) = (self.spec.final_softcap, &trace.capped) {
            g = soft_cap_back(raw, capped, &g, cap, rules)?;
        }
        let g = pull(tap, place(Point::FinalNorm), linear_back(&g, &self.weights.head)?)?;
        let picked = pick(&trace.resid, &trace.asked)?;
        let g = norm_back(&picked, &self.weights.final_norm, &g, rules)?;
        let (tokens, d) = trace.resid.dims2()?;
        let mut whole = vec![0f32; tokens * d];
        with_slice(&g, |g| {
            for (row, &t) in g.chunks_exact(d).zip(&trace.asked) {
                whole[t * d..(t + 1) * d].iter_mut().zip(row).for_each(|(w, g)| *w += g);
            }
        })?;
        tensor(whole, (tokens, d))
    }
}

fn pick(x: &Tensor, tokens: &[usize]) -> Result<Tensor> {
    if tokens.iter().copied().eq(0..x.dim(0)?) {
        return Ok(x.clone());
    }
    let index: Vec<u32> = tokens.iter().map(|&t| t as u32).collect();
    Ok(x.index_select(&Tensor::new(index, x.device())?, 0)?)
}

/// The asked tokens as rows of one token each, so that edits find their positions at the last points too.
fn asked_rows(rows: &[Row], asked: &[usize]) -> Vec<Row> {
    let ranges = ranges(rows);
    asked
        .iter()
        .filter_map(|&t| {
            let (row, range) = rows.iter().zip(&ranges).find(|(_, range)| range.contains(&t))?;
            let offset = t - range.start;
            Some(Row { tokens: vec![row.tokens[offset]], start: row.start + offset, ..row.clone() })
        })
        .collect()
}

fn checked_start(x: &Tensor, tokens: usize, d: usize) -> Result<Tensor> {
    if x.dims2().ok() != Some((tokens, d)) || x.dtype() != DType::F32 {
        let found = x.dims();
        return Err(Error::Request(format!(
            "the run's start has shape {found:?}, expected [{tokens}, {d}] f32"
        )));
    }
    Ok(x.contiguous()?)
}

fn check_cache(batch: &Batch, cache: Option<&Cache>) -> Result<()> {
    let bad = |what: String| Err(Error::Request(what));
    match cache {
        None => match batch.rows.iter().find(|r| r.start != 0) {
            Some(row) => {
                bad(format!("a row starts at position {} and there is no cache before it", row.start))
            }
            None => Ok(()),
        },
        Some(cache) => {
            if cache.rows() != batch.rows.len() {
                return bad(format!(
                    "the cache has {} rows and the batch {}",
                    cache.rows(),
                    batch.rows.len()
                ));
            }
            for (i, row) in batch.rows.iter().enumerate() {
                if cache.used(i) != row.start {
                    return bad(format!(
                        "row {i} starts at {} and {} tokens are cached",
                        row.start,
                        cache.used(i)
                    ));
                }
            }
            Ok(())
        }
    }
}
