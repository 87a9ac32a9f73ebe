//! A self-test of a loaded model: does what the taps show add up to what the model computes?
//!
//! Each claim is measured on a short text and reported with what it should be at most, so that a user can
//! see it of their own checkpoint: the identities of the residual stream, `probs·value == z`,
//! `down(mlp_act) == mlp_out`, gradients against finite differences, cached against uncached, a batch
//! against its rows, and edits that must change nothing.

use crate::ops::attention::{self, Mask};
use crate::ops::linear::linear;
use crate::ops::with_slice;
use crate::parity::relative_error;
use crate::{Apply, Batch, Logits, Model, Plan, Record, Result, Row, Rules, Tensor};
use candle_core::Device;
use pellucid_core::{Edit, Op, Point, Positions, Seed, Site, Target};

/// One claim, measured.
#[derive(Clone, Debug, PartialEq)]
pub struct Finding {
    /// The claim, as a formula where there is one.
    pub claim: String,
    /// What was measured: a relative error, or 0 and 1 for equal and unequal bits.
    pub error: f32,
    /// What it may be at most.
    pub tolerance: f32,
    /// Where the worst was found.
    pub at: String,
}

impl Finding {
    /// Whether the claim holds.
    pub fn holds(&self) -> bool {
        self.error <= self.tolerance
    }
}

const IDENTITY: f32 = 1e-4;
const BITS: f32 = 0.0;

/// Measures every claim on `tokens` (a few dozen are enough). `progress` is told the claim that comes next.
///
/// # Errors
/// If the model cannot run on the tokens at all.
pub fn check(model: &Model, tokens: &[u32], progress: &mut dyn FnMut(&str)) -> Result<Vec<Finding>> {
    let row = Row::new(tokens);
    let mut record = Record::new(model.spec().sites());
    progress("identities at every point");
    model.forward(&Batch::one(row.clone()), &mut record)?;
    let mut findings = identities(model, &record)?;
    progress("unembedding");
    findings.push(unembedding(model, &record)?);
    progress("cache and batch");
    findings.push(cached(model, &row, &record)?);
    findings.push(batched(model, &row, &record)?);
    progress("edits that change nothing");
    findings.extend(idle_edits(model, &row, &record)?);
    progress("gradients");
    findings.extend(gradients(model, &row)?);
    progress("completeness of RelP");
    findings.extend(relp_completeness(model, &row)?);
    Ok(findings)
}

/// Keeps the worst error of a claim over the layers.
struct Worst(Finding);

impl Worst {
    fn new(claim: &str, tolerance: f32) -> Self {
        Worst(Finding { claim: claim.to_owned(), error: 0.0, tolerance, at: String::new() })
    }

    fn take(&mut self, at: impl std::fmt::Display, error: f32) {
        if error > self.0.error || self.0.at.is_empty() {
            self.0.error = error;
            self.0.at = at.to_string();
        }
    }
}

fn identities(model: &Model, record: &Record) -> Result<Vec<Finding>> {
    let spec = model.spec();
    let mut mid = Worst::new("resid_pre + attn_out_post == resid_mid", IDENTITY);
    let mut post = Worst::new("resid_pre + attn_out_post + mlp_out_post == resid_post", IDENTITY);
    let mut next = Worst::new("resid_post of a layer == resid_pre of the next", BITS);
    let mut mixed = Worst::new("probs·value == z", IDENTITY);
    let mut out = Worst::new("o(z) == attn_out", IDENTITY);
    let mut down = Worst::new("down(mlp_act) == mlp_out", IDENTITY);
    for layer in 0..spec.n_layers {
        let site = |p| Site::new(p, layer);
        let value = |p| record.value(site(p));
        let sum = (value(Point::ResidPre)? + value(Point::AttnOutPost)?)?;
        if !spec.parallel {
            mid.take(site(Point::ResidMid), relative_error(&sum, &value(Point::ResidMid)?)?);
        }
        let sum = (sum + value(Point::MlpOutPost)?)?;
        post.take(site(Point::ResidPost), relative_error(&sum, &value(Point::ResidPost)?)?);
        if layer + 1 < spec.n_layers {
            let after = record.value(Site::new(Point::ResidPre, layer + 1))?;
            next.take(site(Point::ResidPost), bits(&value(Point::ResidPost)?, &after)?);
        }
        let mask = Mask { start: 0, window: spec.attention[layer].window };
        let probs = &record.parts(site(Point::AttnProbs))[0];
        let z = attention::mix(probs, &value(Point::Value)?, mask, model.precision())?;
        mixed.take(site(Point::Z), relative_error(&z, &value(Point::Z)?)?);
        let w = &model.weights.blocks[layer];
        let by_weights = linear(&value(Point::Z)?.flatten_from(1)?, &w.o)?;
        out.take(site(Point::AttnOut), relative_error(&by_weights, &value(Point::AttnOut)?)?);
        let by_weights = linear(&value(Point::MlpAct)?, &w.down)?;
        down.take(site(Point::MlpOut), relative_error(&by_weights, &value(Point::MlpOut)?)?);
    }
    let all = if spec.parallel {
        vec![post, next, mixed, out, down]
    } else {
        vec![mid, post, next, mixed, out, down]
    };
    Ok(all.into_iter().map(|w| w.0).collect())
}

fn bits(a: &Tensor, b: &Tensor) -> Result<f32> {
    let same =
        with_slice(a, |a| with_slice(b, |b| a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())))??;
    Ok(if same { 0.0 } else { 1.0 })
}

fn last_logits(record: &Record) -> Result<Tensor> {
    let logits = record.value(Site::new(Point::LmHead, 0))?;
    Ok(logits.narrow(0, logits.dim(0)? - 1, 1)?)
}

fn unembedding(model: &Model, record: &Record) -> Result<Finding> {
    let last = Site::new(Point::ResidPost, model.spec().n_layers - 1);
    let mut worst = Worst::new("unembed(final_norm(last resid_post)) == lm_head", IDENTITY);
    let logits = record.value(Site::new(Point::LmHead, 0))?;
    worst.take(last, relative_error(&model.unembed(&record.value(last)?)?, &logits)?);
    Ok(worst.0)
}

/// The text in three passes with a cache: some tokens, one token, the rest.
fn cached(model: &Model, row: &Row, record: &Record) -> Result<Finding> {
    let n = row.tokens.len();
    let mut cache = model.cache(1, n)?;
    let cuts = [0, n / 2, n / 2 + 1, n];
    let mut logits = None;
    for cut in cuts.windows(2).filter(|c| c[1] > c[0] && c[1] <= n) {
        let part = Row { tokens: row.tokens[cut[0]..cut[1]].to_vec(), start: cut[0], ..row.clone() };
        logits = model.run(&Batch::one(part), &Plan::LAST, Some(&mut cache), &mut ())?.logits;
    }
    let mut worst = Worst::new("with a key–value cache == without", IDENTITY);
    if let Some(logits) = logits {
        worst.take("lm_head, last token", relative_error(&logits, &last_logits(record)?)?);
    }
    Ok(worst.0)
}

/// The text in a batch between a shorter and a longer one.
fn batched(model: &Model, row: &Row, record: &Record) -> Result<Finding> {
    let tokens = &row.tokens;
    let shorter = tokens[..tokens.len().div_ceil(2)].to_vec();
    let longer: Vec<u32> = tokens.iter().chain(tokens).copied().take(model.spec().context).collect();
    let batch = Batch::new([shorter, tokens.clone(), longer]);
    let logits = model.run(&batch, &Plan::LAST, None, &mut ())?.logits;
    let mut worst = Worst::new("a row of a batch == the row alone", IDENTITY);
    if let Some(logits) = logits {
        let error = relative_error(&logits.narrow(0, 1, 1)?, &last_logits(record)?)?;
        worst.take("lm_head, last token", error);
    }
    Ok(worst.0)
}

fn idle_edits(model: &Model, row: &Row, record: &Record) -> Result<Vec<Finding>> {
    let plain = model.forward(&Batch::one(row.clone()), &mut ())?;
    let middle = Site::new(Point::MlpAct, model.spec().n_layers / 2);
    let values = record.value(middle)?.to_vec2::<f32>()?;
    let position = row.tokens.len() - 1;
    let whole = |positions, op| Edit { site: middle, target: Target::Whole, positions, op };
    let lists = [
        ("an empty list of edits changes no bit", vec![]),
        (
            "setting a layer's neurons to what they are changes no bit",
            vec![whole(Positions::At(vec![position as i64]), Op::Set(values[position].clone()))],
        ),
        (
            "patching a layer's neurons from the same run changes no bit",
            vec![whole(Positions::All, Op::PatchFrom { tokens: row.tokens.clone(), from: Positions::All })],
        ),
        ("scaling by 1 changes no bit", vec![whole(Positions::All, Op::Scale(1.0))]),
    ];
    let mut findings = Vec::new();
    for (claim, edits) in lists {
        let mut apply = Apply::new(model, &edits)?;
        let edited = model.forward(&Batch::one(row.clone()), &mut apply)?;
        let mut worst = Worst::new(claim, BITS);
        worst.take(middle, bits(&plain, &edited)?);
        findings.push(worst.0);
    }
    let mut worst = Worst::new("watching every point changes no bit", BITS);
    worst.take("lm_head", bits(&plain, &record.value(Site::new(Point::LmHead, 0))?)?);
    findings.push(worst.0);
    Ok(findings)
}

/// The seed of `logit[top] − mean(logits)` at the last token, `(1, vocabulary)`, and the metric's value.
fn metric_of(logits: &[f32], top: usize) -> f64 {
    let mean = logits.iter().map(|l| f64::from(*l)).sum::<f64>() / logits.len() as f64;
    f64::from(logits[top]) - mean
}

fn metric_seed(vocabulary: usize, top: usize) -> Result<Tensor> {
    let mut seed = vec![-1.0 / vocabulary as f32; vocabulary];
    seed[top] += 1.0;
    Ok(Tensor::from_vec(seed, (1, vocabulary), &Device::Cpu)?)
}

/// Gradients at first, middle and last layer against central differences along the gradient itself and
/// along a random direction, relative to the gradient's length.
fn gradients(model: &Model, row: &Row) -> Result<Vec<Finding>> {
    let n = model.spec().n_layers;
    let mut layers = vec![0, n / 2, n - 1];
    layers.dedup();
    let points = [Point::MlpAct, Point::ResidPost, Point::Z];
    let sites: Vec<Site> =
        points.iter().flat_map(|&p| layers.iter().map(move |&l| Site::new(p, l))).collect();
    let mut record = Record::with_gradients(sites.iter().copied());
    let batch = Batch::one(row.clone());
    let (output, trace) = model.trace(&batch, &Plan::LAST, &mut record)?;
    let logits = output.logits.map(|l| l.flatten_all()?.to_vec1::<f32>()).transpose()?.unwrap_or_default();
    let top = crate::sample::top_k(&logits, 1).first().map_or(0, |t| t.0);
    model.backward(trace, &metric_seed(logits.len(), top)?, Rules::EXACT, &mut record)?;
    let mut worst = Worst::new("gradient == finite difference (mlp_act, z, resid_post)", 2e-2);
    let mut seed = Seed(0).for_purpose("finite differences");
    for site in sites {
        let g = record.gradient(site)?.flatten_from(1)?.to_vec2::<f32>()?;
        let x = record.value(site)?.flatten_from(1)?.to_vec2::<f32>()?;
        // the last token but one where there is one: what happens there must pass through attention
        let at = row.tokens.len().saturating_sub(2);
        let (g, x) = (&g[at], &x[at]);
        let length = norm_of(g);
        if length == 0.0 {
            continue;
        }
        let random: Vec<f32> = (0..g.len()).map(|_| seed.normal() as f32).collect();
        for direction in [g.clone(), random] {
            let unit = norm_of(&direction);
            let direction: Vec<f32> = direction.iter().map(|d| (f64::from(*d) / unit) as f32).collect();
            let analytic: f64 = g.iter().zip(&direction).map(|(g, d)| f64::from(*g) * f64::from(*d)).sum();
            let numeric = slope(model, row, site, at, &direction, norm_of(x), top)?;
            worst.take(site, ((numeric - analytic).abs() / length) as f32);
        }
    }
    Ok(vec![worst.0])
}

fn norm_of(x: &[f32]) -> f64 {
    x.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>().sqrt()
}

/// The best of central differences over a ladder of steps: too large a step bends and then neighbouring steps disagree,
/// too small a one drowns in rounding.
fn slope(
    model: &Model,
    row: &Row,
    site: Site,
    at: usize,
    direction: &[f32],
    size: f64,
    top: usize,
) -> Result<f64> {
    let metric = |step: f64| -> Result<f64> {
        let vector = direction.iter().map(|d| (f64::from(*d) * step) as f32).collect();
        let positions = Positions::At(vec![at as i64]);
        let edit = Edit { site, target: Target::Whole, positions, op: Op::Add(vector) };
        let mut apply = Apply::new(model, &[edit])?;
        Ok(metric_of(&model.next_logits(row, &mut apply)?, top))
    };
    let mut slopes = Vec::new();
    for share in [9e-2, 3e-2, 1e-2, 3e-3, 1e-3] {
        let step = share * size.max(1e-3);
        let (up, down) = (metric(step)?, metric(-step)?);
        // what f32 rounding of the logits may do to this slope
        let rounding = f64::from(f32::EPSILON) * (up.abs() + down.abs()) / step;
        slopes.push(((up - down) / (2.0 * step), rounding));
    }
    // Richardson: the error of a central difference falls with the square of the step
    let pairs = slopes.windows(2).map(|s| {
        let ((wide, _), (narrow, rounding)) = (s[0], s[1]);
        (narrow + (narrow - wide) / 9.0, (narrow - wide).abs() + rounding)
    });
    Ok(pairs.min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0.0, |p| p.0))
}

/// Under RelP's rules a model without biases is homogeneous of degree one in its embeddings, so
/// `Σ embedding · gradient` is the metric itself.
fn relp_completeness(model: &Model, row: &Row) -> Result<Vec<Finding>> {
    if !model.is_homogeneous() {
        return Ok(Vec::new());
    }
    let site = Site::new(Point::Embeddings, 0);
    let mut record = Record::with_gradients([site]);
    let plan = Plan { logits: Logits::Last, start: None, stop_after: None };
    let (output, trace) = model.trace(&Batch::one(row.clone()), &plan, &mut record)?;
    let logits = output.logits.map(|l| l.flatten_all()?.to_vec1::<f32>()).transpose()?.unwrap_or_default();
    let top = crate::sample::top_k(&logits, 1).first().map_or(0, |t| t.0);
    model.backward(trace, &metric_seed(logits.len(), top)?, Rules::RELP, &mut record)?;
    let sum = (record.value(site)? * record.gradient(site)?)?.sum_all()?.to_scalar::<f32>()?;
    let metric = metric_of(&logits, top);
    let mut worst = Worst::new("RelP: Σ embedding·gradient == metric", 1e-3);
    worst.take(site, ((f64::from(sum) - metric).abs() / metric.abs().max(1.0)) as f32);
    Ok(vec![worst.0])
}
