//! Attribution: what each unit contributes to a metric, predicted without removing it.
//!
//! For a unit with activation `a` at a position the effect is `a · ∂m/∂a`, signed. The methods differ in
//! what stands for the derivative:
//!
//! - gradient × activation: the true derivative (Baehrens et al. 2010; Shrikumar et al. 2016);
//! - RelP: the derivative under the rules of layer-wise relevance propagation, with norm scales and attention
//!   probabilities held constant, `f(x)` read as `x·(f(x)/x)`, and products shared half and half (Jafari et
//!   al. 2025, arXiv 2508.21258; Arora et al. 2026, arXiv 2601.22594);
//! - integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365): the mean derivative while a whole site
//!   grows from zero to what it is, one site at a time, midpoint rule; sites whose effects do not yet sum to what
//!   the method promises get more steps.
//!
//! The first two take one forward and one backward pass for every unit of every layer; the last takes
//! `steps` rows of a batch for each site, from that site's layer on.

use crate::error::tensor;
use crate::metric::{needs_logits, of_rows, stream_gradient};
use crate::{Error, Metric, Result};
use pellucid_core::{Index, Point, Site, UnitId};
use pellucid_model::{
    Batch, Logits, Model, Place, Plan, Record, Row, Rules, Tap, Tensor, Trace, times, with_numbers,
};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};

/// How effects are predicted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Method {
    /// Gradient under RelP's rules, times activation.
    Relp,
    /// True gradient times activation.
    GradAct,
    /// Integrated gradients with this many steps.
    IntegratedGradients {
        /// Points on the path; 8 to 32 are usual.
        steps: usize,
    },
}

/// What effects are summed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// Neurons: coordinates at `mlp_act`.
    Unit,
    /// Attention heads, at `z`.
    Head,
    /// What attention and the MLP of each layer add to the stream.
    Layer,
    /// Input tokens, at `embeddings`.
    Token,
    /// Latents of the model's dictionaries: their sites, whose effects [`latent_effects`](crate::latent_effects) reads.
    Latent,
}

impl By {
    /// The sites whose effects are summed.
    pub fn sites(self, model: &Model) -> Vec<Site> {
        let layers = 0..model.spec().n_layers;
        match self {
            By::Unit => layers.map(|l| Site::new(Point::MlpAct, l)).collect(),
            By::Head => layers.map(|l| Site::new(Point::Z, l)).collect(),
            By::Layer => layers
                .flat_map(|l| [Site::new(Point::AttnOutPost, l), Site::new(Point::MlpOutPost, l)])
                .collect(),
            By::Token => vec![Site::new(Point::Embeddings, 0)],
            By::Latent => {
                model.dictionaries().iter().map(|d| d.site).collect::<BTreeSet<_>>().into_iter().collect()
            }
        }
    }

    /// Whether effects at a point are summed to this.
    fn covers(self, point: Point) -> bool {
        match self {
            By::Unit => point == Point::MlpAct,
            By::Head => point == Point::Z,
            By::Layer => matches!(point, Point::AttnOutPost | Point::MlpOutPost),
            By::Token => point == Point::Embeddings,
            By::Latent => false,
        }
    }
}

/// Effects of every coordinate at every position of some sites.
#[derive(Debug)]
pub struct Effects {
    /// The metric of the run.
    pub metric: f64,
    /// The logits at the metric's token.
    pub logits: Vec<f32>,
    sites: BTreeMap<Site, SiteEffects>,
    /// What the method promises its effects to sum to, and what they do.
    pub completeness: Vec<Completeness>,
}

#[derive(Debug)]
struct SiteEffects {
    width: usize,
    heads: usize,
    /// `(tokens, …)`, `width` numbers a token.
    activations: Tensor,
    /// `(tokens · width)`.
    effects: Vec<f32>,
    /// Activations and what stood for the derivative by them, kept where a dictionary stands.
    sides: Option<[Vec<f32>; 2]>,
}

/// A sum that a method promises.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Completeness {
    /// Where the sum is taken.
    pub site: Site,
    /// The sum of effects.
    pub sum: f64,
    /// What it should be.
    pub expected: f64,
}

/// One unit's effect, summed over positions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct UnitEffect {
    /// Which unit: a neuron, a head, a part of a layer, or none for an input token.
    pub unit: Option<UnitId>,
    /// Where it stands.
    pub site: Site,
    /// Predicted contribution to the metric, over all positions.
    pub effect: f64,
    /// The position where it contributes most (by size).
    pub position: usize,
    /// Its contribution there.
    pub effect_there: f64,
    /// Its activation there; none where several coordinates are summed.
    pub activation: Option<f32>,
}

/// Predicts the effect of every coordinate at `sites` on `metric`. Edits and other taps stand in `tap`.
///
/// # Errors
/// If the metric does not fit the text or a site does not exist.
pub fn attribute(
    model: &Model,
    row: &Row,
    metric: Metric,
    method: Method,
    sites: &[Site],
    tap: &mut dyn Tap,
) -> Result<Effects> {
    metric.check(model, row)?;
    match method {
        Method::Relp => one_backward(model, row, metric, Rules::RELP, sites, tap),
        Method::GradAct => one_backward(model, row, metric, Rules::EXACT, sites, tap),
        Method::IntegratedGradients { steps: 0 } => {
            Err(Error::Request("integrated gradients need at least one step".to_owned()))
        }
        Method::IntegratedGradients { steps } => integrated(model, row, metric, steps, sites, tap),
    }
}

fn seed_tensor(model: &Model, metric: Metric, rows: usize) -> Result<Tensor> {
    let vocabulary = model.spec().vocabulary;
    let one = metric.gradient(vocabulary);
    let values: Vec<f32> = std::iter::repeat_n(one, rows).flatten().collect();
    tensor(Tensor::from_vec(values, (rows, vocabulary), &pellucid_model::CPU))
}

fn numbers(x: &Tensor) -> Result<Vec<f32>> {
    tensor(x.flatten_all().and_then(|x| x.to_vec1::<f32>()))
}

fn logits_of(output: pellucid_model::Output) -> Result<Tensor> {
    output.logits.ok_or_else(|| Error::Request("the run gave no logits".to_owned()))
}

fn one_backward(
    model: &Model,
    row: &Row,
    metric: Metric,
    rules: Rules,
    sites: &[Site],
    tap: &mut dyn Tap,
) -> Result<Effects> {
    let mut products = Products::new(model, row.tokens.len(), sites);
    let plan = Plan { logits: Logits::At(vec![metric.position]), start: None, stop_after: None };
    let mut taps = (tap, &mut products);
    let (output, trace) = model.trace(&Batch::one(row.clone()), &plan, &mut taps)?;
    back(model, metric, trace, &output.resid, 1, rules, &mut taps)?;
    let logits = numbers(&logits_of(output)?)?;
    let value = metric.value(&logits);
    let all = products.effects()?;
    let mut completeness = Vec::new();
    if rules == Rules::RELP && model.is_homogeneous() {
        let whole = all.iter().filter(|(site, _)| site.point == Point::Embeddings);
        completeness.extend(whole.map(|(&site, found)| Completeness {
            site,
            sum: total(&found.effects),
            expected: value,
        }));
    }
    Ok(Effects { metric: value, logits, sites: all, completeness })
}

/// The metric of each of `rows` rows taken back through everything that `trace` ran.
fn back(
    model: &Model,
    metric: Metric,
    trace: Trace,
    resid: &Tensor,
    rows: usize,
    rules: Rules,
    tap: &mut dyn Tap,
) -> Result<()> {
    match stream_gradient(model, metric, resid, rows, rules, tap)? {
        Some(g) => model.backward_from(trace, g, rules, tap)?,
        None => model.backward(trace, &seed_tensor(model, metric, rows)?, rules, tap)?,
    };
    Ok(())
}

fn total(effects: &[f32]) -> f64 {
    effects.iter().map(|e| f64::from(*e)).sum()
}

impl SiteEffects {
    /// Without what is kept of a dictionary's site.
    fn of(model: &Model, site: Site, tokens: usize, activations: Tensor, effects: Vec<f32>) -> Self {
        let width = effects.len() / tokens.max(1);
        let heads = model.spec().heads_at(site.point).unwrap_or(1);
        SiteEffects { width, heads, activations, effects, sides: None }
    }

    fn new(model: &Model, site: Site, tokens: usize, activations: Tensor, gradient: &Tensor) -> Result<Self> {
        let effects = times(&activations, gradient)?;
        let sides = if has_dictionary(model, site) {
            Some([numbers(&activations)?, numbers(gradient)?])
        } else {
            None
        };
        Ok(SiteEffects { sides, ..SiteEffects::of(model, site, tokens, activations, effects) })
    }
}

fn has_dictionary(model: &Model, site: Site) -> bool {
    model.dictionaries().iter().any(|d| d.site == site)
}

/// Multiplies the activations at some sites with their gradients as these come, so that neither a copy of the ones nor all of the
/// others are kept.
struct Products<'a> {
    model: &'a Model,
    tokens: usize,
    /// Activations until a gradient comes, and what is then made of both.
    sites: BTreeMap<Site, (Option<Tensor>, Option<Result<SiteEffects>>)>,
}

impl<'a> Products<'a> {
    fn new(model: &'a Model, tokens: usize, sites: &[Site]) -> Self {
        Products { model, tokens, sites: sites.iter().map(|&site| (site, (None, None))).collect() }
    }

    fn effects(self) -> Result<BTreeMap<Site, SiteEffects>> {
        let one = |(site, (_, made)): (Site, (_, Option<Result<SiteEffects>>))| {
            let missing = || Err(Error::Request(format!("no gradient reached {site}")));
            Ok((site, made.unwrap_or_else(missing)?))
        };
        self.sites.into_iter().map(one).collect()
    }
}

impl Tap for Products<'_> {
    fn wants(&self, site: Site) -> bool {
        self.sites.contains_key(&site)
    }
    fn visit(&mut self, at: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        if let Some((activations, _)) = self.sites.get_mut(&at.site) {
            *activations = Some(x.clone());
        }
        Ok(x)
    }
    fn only_looks(&self, _: Site) -> bool {
        true
    }
    fn wants_gradient(&self, site: Site) -> bool {
        self.wants(site)
    }
    fn pullback(&mut self, at: Place<'_>, g: Tensor) -> pellucid_model::Result<Tensor> {
        if let Some((activations, made)) = self.sites.get_mut(&at.site)
            && let Some(activations) = activations.take()
        {
            *made = Some(SiteEffects::new(self.model, at.site, self.tokens, activations, &g));
        }
        Ok(g)
    }
    /// At a dictionary's site the gradient is kept too.
    fn wants_product(&self, site: Site) -> bool {
        self.wants(site) && !has_dictionary(self.model, site)
    }
    fn product(&mut self, at: Place<'_>, product: Vec<f32>) -> pellucid_model::Result<()> {
        if let Some((activations, made)) = self.sites.get_mut(&at.site)
            && let Some(activations) = activations.take()
        {
            *made = Some(Ok(SiteEffects::of(self.model, at.site, self.tokens, activations, product)));
        }
        Ok(())
    }
    fn expects(&self) -> Vec<Site> {
        self.sites.keys().copied().collect()
    }
}

/// Scales a site by another factor in each row, and keeps the gradient there.
struct Path<'a> {
    site: Site,
    scales: &'a [f64],
    gradient: Option<Tensor>,
}

impl Tap for Path<'_> {
    fn wants(&self, site: Site) -> bool {
        site == self.site
    }
    fn visit(&mut self, at: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        let factors: Vec<f32> = (at.rows.iter().zip(self.scales))
            .flat_map(|(row, s)| std::iter::repeat_n(*s as f32, row.tokens.len()))
            .collect();
        let shape: Vec<usize> =
            std::iter::once(factors.len()).chain(std::iter::repeat_n(1, x.rank() - 1)).collect();
        Ok(x.broadcast_mul(&Tensor::from_vec(factors, shape, x.device())?)?)
    }
    fn pullback(&mut self, _: Place<'_>, g: Tensor) -> pellucid_model::Result<Tensor> {
        self.gradient = Some(g.clone());
        // what lies before the site is not asked for
        Ok(g)
    }
}

/// Tokens of a batch on a path; more would only take memory.
const PATH_TOKENS: usize = 1024;

fn integrated(
    model: &Model,
    row: &Row,
    metric: Metric,
    steps: usize,
    sites: &[Site],
    tap: &mut dyn Tap,
) -> Result<Effects> {
    let pre = |site: &Site| Site::new(Point::ResidPre, site.layer as usize);
    let from_layer = |site: &Site| site.point.per_layer();
    let mut record =
        Record::new(sites.iter().copied().chain(sites.iter().filter(|s| from_layer(s)).map(pre)));
    let plan = Plan { logits: Logits::At(vec![metric.position]), start: None, stop_after: None };
    let output = model.run(&Batch::one(row.clone()), &plan, None, &mut (&mut *tap, &mut record))?;
    let logits = numbers(&logits_of(output)?)?;
    let value = metric.value(&logits);
    let (mut all, mut completeness) = (BTreeMap::new(), Vec::new());
    for &site in sites {
        let start =
            if from_layer(&site) { Some((site.layer as usize, record.value(pre(&site))?)) } else { None };
        let path = PathRun { model, row, metric, site, start };
        let expected = value - path.metric_at(0.0, tap)?;
        let found = path.complete(steps, expected, value, &record.value(site)?, tap)?;
        completeness.push(Completeness { site, sum: total(&found.effects), expected });
        all.insert(site, found);
    }
    Ok(Effects { metric: value, logits, sites: all, completeness })
}

struct PathRun<'a> {
    model: &'a Model,
    row: &'a Row,
    metric: Metric,
    site: Site,
    start: Option<(usize, Tensor)>,
}

impl PathRun<'_> {
    /// The text `rows` times over, from the site's layer on. With a foil no logits are asked for: two of them
    /// are all the metric needs.
    fn batch(&self, rows: usize, tap: &dyn Tap) -> Result<(Batch, Plan)> {
        let start = match &self.start {
            Some((layer, x)) => Some((*layer, tensor(Tensor::cat(&vec![x.clone(); rows], 0))?)),
            None => None,
        };
        let logits = if needs_logits(self.metric, tap) {
            Logits::At(self.metric.in_rows(rows * self.row.tokens.len(), rows))
        } else {
            Logits::None
        };
        Ok((Batch { rows: vec![self.row.clone(); rows] }, Plan { logits, start, stop_after: None }))
    }

    /// Effects that sum to what they promise: where the path bends sharply (a site that holds a massive
    /// activation), steps are doubled until the sum is within 2% of the promise, or of a twentieth of the
    /// metric where the promise is smaller than that; at most to 4 times as many (how far the sum then is from the
    /// promise is reported).
    fn complete(
        &self,
        steps: usize,
        expected: f64,
        metric: f64,
        activations: &Tensor,
        tap: &mut dyn Tap,
    ) -> Result<SiteEffects> {
        let allowed = 0.02 * expected.abs().max(0.05 * metric.abs());
        let mut taken = steps;
        loop {
            let gradient = self.mean_gradient(taken, activations.elem_count(), tap)?;
            let gradient = tensor(Tensor::from_vec(gradient, activations.shape(), &pellucid_model::CPU))?;
            let tokens = self.row.tokens.len();
            let found = SiteEffects::new(self.model, self.site, tokens, activations.clone(), &gradient)?;
            if (total(&found.effects) - expected).abs() <= allowed || taken >= 4 * steps {
                return Ok(found);
            }
            taken *= 2;
        }
    }

    fn mean_gradient(&self, steps: usize, width: usize, tap: &mut dyn Tap) -> Result<Vec<f32>> {
        let scales: Vec<f64> = (0..steps).map(|k| (k as f64 + 0.5) / steps as f64).collect();
        let mut mean = vec![0f64; width];
        for scales in scales.chunks((PATH_TOKENS / self.row.tokens.len()).max(1)) {
            let (batch, plan) = self.batch(scales.len(), tap)?;
            let mut path = Path { site: self.site, scales, gradient: None };
            let mut later =
                AfterStart { tap: &mut *tap, start: self.start.as_ref().map(|s| s.0), site: self.site };
            let mut taps = (&mut later, &mut path);
            let (output, trace) = self.model.trace(&batch, &plan, &mut taps)?;
            let rows = scales.len();
            back(self.model, self.metric, trace, &output.resid, rows, Rules::EXACT, &mut taps)?;
            let gradient =
                path.gradient.ok_or_else(|| Error::Request(format!("no gradient reached {}", self.site)))?;
            for row in numbers(&gradient)?.chunks_exact(width) {
                mean.iter_mut().zip(row).for_each(|(m, g)| *m += f64::from(*g) / steps as f64);
            }
        }
        Ok(mean.into_iter().map(|m| m as f32).collect())
    }

    fn metric_at(&self, scale: f64, tap: &mut dyn Tap) -> Result<f64> {
        let (batch, plan) = self.batch(1, tap)?;
        let mut path = Path { site: self.site, scales: &[scale], gradient: None };
        let mut later = AfterStart { tap, start: self.start.as_ref().map(|s| s.0), site: self.site };
        Ok(of_rows(self.model, self.metric, &batch, plan.start, &mut (&mut later, &mut path))?[0])
    }
}

/// The caller's tap, where it still has something to do when a run starts at a layer's `resid_pre`: that
/// value has already passed it.
struct AfterStart<'a> {
    tap: &'a mut dyn Tap,
    start: Option<usize>,
    site: Site,
}

impl Tap for AfterStart<'_> {
    fn wants(&self, site: Site) -> bool {
        let passed = self.start.is_some_and(|l| site == Site::new(Point::ResidPre, l));
        !passed && self.tap.wants(site)
    }
    fn visit(&mut self, at: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        self.tap.visit(at, x)
    }
    fn pullback(&mut self, at: Place<'_>, g: Tensor) -> pellucid_model::Result<Tensor> {
        // gradients before the path's site are not asked for, and its own edits come before the scaling
        if at.site == self.site { Ok(g) } else { self.tap.pullback(at, g) }
    }
}

impl Effects {
    /// The sites that were asked for.
    pub fn sites(&self) -> impl Iterator<Item = Site> + '_ {
        self.sites.keys().copied()
    }

    /// The effect of every coordinate at a site, summed over positions.
    pub fn summed(&self, site: Site) -> Option<Vec<f64>> {
        let s = self.sites.get(&site)?;
        let mut sums = vec![0f64; s.width];
        for row in s.effects.chunks_exact(s.width) {
            sums.iter_mut().zip(row).for_each(|(sum, e)| *sum += f64::from(*e));
        }
        Some(sums)
    }

    /// A site's width, its activations and what stood for the derivative by them, where that was kept: where a dictionary
    /// stands.
    pub(crate) fn gradient_at(&self, site: Site) -> Option<(usize, &[f32], &[f32])> {
        let s = self.sites.get(&site)?;
        s.sides.as_ref().map(|[activations, gradient]| (s.width, activations.as_slice(), gradient.as_slice()))
    }

    /// Keeps the effects at some positions; elsewhere there are none.
    pub fn keep_positions(&mut self, kept: &std::ops::Range<usize>) {
        for site in self.sites.values_mut() {
            for (position, row) in site.effects.chunks_exact_mut(site.width.max(1)).enumerate() {
                if !kept.contains(&position) {
                    row.fill(0.0);
                }
            }
        }
    }

    /// An entry's effect at each position.
    pub fn by_position(&self, entry: &UnitEffect) -> Vec<f64> {
        let Some(site) = self.sites.get(&entry.site) else { return Vec::new() };
        let part = match entry.unit {
            Some(UnitId::Site { index: Index::Coordinate(i), .. }) => i as usize..i as usize + 1,
            Some(UnitId::Site { index: Index::Head(h), .. }) => {
                let size = site.width / site.heads.max(1);
                h as usize * size..(h as usize + 1) * size
            }
            _ => 0..site.width,
        };
        let rows = site.effects.chunks_exact(site.width.max(1));
        rows.map(|row| row.get(part.clone()).map_or(0.0, total)).collect()
    }

    /// All effects summed as `by` says, largest first by size; at most `top`. Sites of other points are left out.
    pub fn ranked(&self, by: By, top: usize) -> Vec<UnitEffect> {
        let ours = self.sites.iter().filter(|(site, _)| by.covers(site.point));
        let mut all: Vec<UnitEffect> =
            ours.flat_map(|(&site, effects)| effects.summed(site, by, top)).collect();
        all.sort_by(|a, b| {
            let by_size = b.effect.abs().total_cmp(&a.effect.abs());
            by_size
                .then_with(|| a.site.cmp(&b.site))
                .then_with(|| a.unit.cmp(&b.unit))
                .then(a.position.cmp(&b.position))
        });
        all.truncate(top);
        all
    }
}

impl SiteEffects {
    fn summed(&self, site: Site, by: By, top: usize) -> Vec<UnitEffect> {
        match by {
            By::Token => self.tokens(site),
            By::Latent => Vec::new(),
            By::Unit => self.groups(site, self.width, top, UnitId::coordinate),
            By::Head => self.groups(site, self.heads, top, UnitId::head),
            By::Layer => self.groups(site, 1, top, |site, _| UnitId::coordinate(site, 0)),
        }
        .into_iter()
        .map(|mut e| {
            if by == By::Layer {
                e.unit = None;
            }
            e
        })
        .collect()
    }

    fn activation(&self, at: usize) -> Option<f32> {
        with_numbers(&self.activations, |all| all.get(at).copied()).ok().flatten()
    }

    /// One entry per position, over all coordinates.
    fn tokens(&self, site: Site) -> Vec<UnitEffect> {
        let rows = self.effects.chunks_exact(self.width).enumerate();
        rows.map(|(position, row)| {
            let effect = total(row);
            UnitEffect { unit: None, site, effect, position, effect_there: effect, activation: None }
        })
        .collect()
    }

    /// The `top` largest of `count` equal groups of coordinates, over all positions.
    fn groups(
        &self,
        site: Site,
        count: usize,
        top: usize,
        name: impl Fn(Site, usize) -> UnitId,
    ) -> Vec<UnitEffect> {
        let size = self.width / count.max(1);
        let positions = self.effects.len() / self.width.max(1);
        let at = |position: usize, group: usize| {
            let from = position * self.width + group * size;
            total(&self.effects[from..from + size])
        };
        let mut sums: Vec<(usize, f64)> =
            (0..count).map(|g| (g, (0..positions).map(|p| at(p, g)).sum())).collect();
        sums.sort_by(|a, b| b.1.abs().total_cmp(&a.1.abs()).then(a.0.cmp(&b.0)));
        sums.truncate(top);
        let entry = |(group, effect): (usize, f64)| {
            let peak = (0..positions)
                .max_by(|&a, &b| at(a, group).abs().total_cmp(&at(b, group).abs()).then(b.cmp(&a)));
            let position = peak.unwrap_or(0);
            let activation = if size == 1 { self.activation(position * self.width + group) } else { None };
            let effect_there = at(position, group);
            UnitEffect { unit: Some(name(site, group)), site, effect, position, effect_there, activation }
        };
        sums.into_iter().map(entry).collect()
    }
}
