//! Finding a function vector, and trying it.

use super::prompts::{Asked, Pairs};
use crate::behaviour::packed;
use crate::error::tensor;
use crate::{Counted, Error, Interval, Result};
use pellucid_core::{Edit, Op, Point, Positions, Seed, Site, Target};
use pellucid_model::{
    Apply, Batch, Cache, Logits, Model, Place, Plan, Record, Row, Tap, Tensor, sample, with_numbers,
};
use serde::Serialize;

/// How a vector is found.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Settings {
    /// Examples before a question.
    pub shots: usize,
    /// Prompts that each head's mean is taken over.
    pub means: usize,
    /// Prompts with shuffled answers that each head's effect is taken over.
    pub trials: usize,
    /// Heads whose means are summed.
    pub heads: usize,
}

/// What a head's mean does behind shuffled examples.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct HeadEffect {
    /// Layer.
    pub layer: usize,
    /// Head.
    pub head: usize,
    /// Mean change of the right answer's probability.
    pub effect: f64,
}

/// A vector, with what it was made of.
#[derive(Clone, Debug, PartialEq)]
pub struct FunctionVector {
    /// `d_model` numbers.
    pub vector: Vec<f32>,
    /// Every head, the largest effect first.
    pub heads: Vec<HeadEffect>,
    /// As many random heads' sum, a control.
    pub random_heads: Vec<f32>,
    /// The right answer's mean probability behind shuffled examples.
    pub shuffled: f64,
}

/// Questions with a vector added.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Tried {
    /// The layer whose `resid_post` it was added to, at the last token.
    pub layer: usize,
    /// How many times.
    pub strength: f32,
    /// Share of questions whose likeliest next token is the answer.
    pub accuracy: Interval,
}

/// Tokens that run together.
const TOKENS: usize = 2048;

fn ranges(asked: &[Asked]) -> Vec<std::ops::Range<usize>> {
    packed(&asked.iter().map(|a| &a.row).collect::<Vec<_>>(), TOKENS)
}

/// Share of questions whose likeliest next token is the answer, with a vector added to `resid_post` of a layer at the last
/// token, or with none.
///
/// # Errors
/// If a run fails.
pub fn measure(model: &Model, asked: &[Asked], add: Option<(usize, &[f32], f32)>) -> Result<Interval> {
    let edits: Vec<Edit> = add
        .map(|(layer, vector, strength)| Edit {
            site: Site::new(Point::ResidPost, layer),
            target: Target::Whole,
            positions: Positions::At(vec![-1]),
            op: Op::Add(vector.iter().map(|v| v * strength).collect()),
        })
        .into_iter()
        .collect();
    let mut right = 0;
    for range in ranges(asked) {
        let part = &asked[range];
        let batch = Batch { rows: part.iter().map(|a| a.row.clone()).collect() };
        let mut tap = Apply::new(model, &edits)?;
        let rows = logits(model.run(&batch, &Plan::LAST, None, &mut tap)?.logits)?;
        right += rows
            .iter()
            .zip(part)
            .filter(|(l, a)| sample::top_k(l, 1).first().is_some_and(|t| t.0 as u32 == a.answer))
            .count();
    }
    Ok(Interval::share(right, asked.len()))
}

fn logits(logits: Option<Tensor>) -> Result<Vec<Vec<f32>>> {
    tensor(logits.ok_or_else(|| Error::Request("the run gave no logits".to_owned()))?.to_vec2())
}

/// Finds a task's function vector; `progress` is told after each head.
///
/// # Errors
/// If a number of the settings is zero, or a run fails or is stopped.
pub fn find(
    model: &Model,
    pairs: &Pairs,
    settings: Settings,
    seed: Seed,
    progress: Counted<'_>,
) -> Result<FunctionVector> {
    let spec = model.spec();
    let all = spec.n_layers * spec.n_heads;
    if settings.means == 0 || settings.trials == 0 || settings.heads == 0 || settings.heads > all {
        let what = format!("a function vector needs prompts, trials and 1 to {all} heads");
        return Err(Error::Request(what));
    }
    let shown = pairs.examples(model, settings.shots, settings.means, false, seed)?;
    let means = Means::over(model, &shown)?;
    let wrong = pairs.examples(model, settings.shots, settings.trials, true, seed.for_purpose("shuffled"))?;
    let mut last = LastToken::new(model, &wrong)?;
    let plain = last.probability(None)?;
    let mut heads = Vec::with_capacity(all);
    for layer in 0..spec.n_layers {
        for head in 0..spec.n_heads {
            let effect = last.probability(Some((layer, head, &means.z[layer][head])))? - plain;
            heads.push(HeadEffect { layer, head, effect });
            progress(heads.len(), all)?;
        }
    }
    heads.sort_by(|a, b| b.effect.total_cmp(&a.effect).then((a.layer, a.head).cmp(&(b.layer, b.head))));
    let sum = |chosen: &mut dyn Iterator<Item = (usize, usize)>| {
        let mut vector = vec![0f32; spec.d_model];
        for (layer, head) in chosen {
            vector.iter_mut().zip(&means.writes[layer][head]).for_each(|(v, w)| *v += w);
        }
        vector
    };
    let vector = sum(&mut heads.iter().take(settings.heads).map(|h| (h.layer, h.head)));
    let drawn = seed.for_purpose("random heads").choose(all, settings.heads);
    let random_heads = sum(&mut drawn.into_iter().map(|i| (i / spec.n_heads, i % spec.n_heads)));
    Ok(FunctionVector { vector, heads, random_heads, shuffled: plain })
}

/// Each head's mean at the last token: what it mixes, and what that adds to the stream.
struct Means {
    /// By layer and head, `head_dim` numbers.
    z: Vec<Vec<Vec<f32>>>,
    /// By layer and head, `d_model` numbers.
    writes: Vec<Vec<Vec<f32>>>,
}

impl Means {
    fn over(model: &Model, asked: &[Asked]) -> Result<Self> {
        let spec = model.spec();
        let (layers, heads) = (spec.n_layers, spec.n_heads);
        let zero = |d: usize| vec![vec![vec![0f32; d]; heads]; layers];
        let mut means = Means { z: zero(spec.head_dim), writes: zero(spec.d_model) };
        let n = asked.len() as f32;
        for range in ranges(asked) {
            let batch = Batch { rows: asked[range].iter().map(|a| a.row.clone()).collect() };
            let points = [Point::Z, Point::AttnOut];
            let mut record = Record::new((0..layers).flat_map(|l| points.map(|p| Site::new(p, l))));
            let plan = Plan { logits: Logits::None, start: None, stop_after: None };
            model.run(&batch, &plan, None, &mut record)?;
            let index: Vec<u32> = batch.ranges().iter().map(|r| r.end as u32 - 1).collect();
            let index = tensor(Tensor::new(index, &pellucid_model::CPU))?;
            for layer in 0..layers {
                let value = |point| record.value(Site::new(point, layer));
                let z = tensor(value(Point::Z)?.index_select(&index, 0))?;
                let out = tensor(value(Point::AttnOut)?.index_select(&index, 0))?;
                // (prompts, heads, head_dim) and (heads, prompts, d_model)
                let writes = model.head_writes(layer, &z, &out)?;
                let z = tensor(z.transpose(0, 1).and_then(|z| z.contiguous()))?;
                for (from, to) in [(&z, &mut means.z[layer]), (&writes, &mut means.writes[layer])] {
                    let d = tensor(from.dim(2))?;
                    let prompts = tensor(from.dim(1))?;
                    with_numbers(from, |x| {
                        for (head, rows) in x.chunks_exact(prompts * d).enumerate() {
                            for row in rows.chunks_exact(d) {
                                to[head].iter_mut().zip(row).for_each(|(m, v)| *m += v / n);
                            }
                        }
                    })?;
                }
            }
        }
        Ok(means)
    }
}

/// The last tokens of some prompts, run again and again behind what comes before them: what is changed there reaches no
/// earlier token.
struct LastToken<'a> {
    model: &'a Model,
    cache: Cache,
    batch: Batch,
    answers: Vec<u32>,
    /// `resid_pre` of each layer at the last tokens.
    pre: Vec<Tensor>,
}

impl<'a> LastToken<'a> {
    fn new(model: &'a Model, asked: &[Asked]) -> Result<Self> {
        let most = asked.iter().map(|a| a.row.tokens.len()).max().unwrap_or(0);
        let mut cache = model.cache(asked.len(), most)?;
        let split = |a: &Asked| {
            let before = a.row.tokens.len() - 1;
            let horizon = a.row.horizon;
            let first = Row { horizon, ..Row::new(a.row.tokens[..before].to_vec()) };
            let last = Row {
                start: before,
                prompt: before + 1,
                tokens: a.row.tokens[before..].to_vec(),
                ..a.row.clone()
            };
            (first, last)
        };
        let (before, rows): (Vec<Row>, Vec<Row>) = asked.iter().map(split).unzip();
        let none = Plan { logits: Logits::None, start: None, stop_after: None };
        model.run(&Batch { rows: before }, &none, Some(&mut cache), &mut ())?;
        let batch = Batch { rows };
        let sites: Vec<Site> = (0..model.spec().n_layers).map(|l| Site::new(Point::ResidPre, l)).collect();
        let mut record = Record::new(sites.iter().copied());
        model.run(&batch, &none, Some(&mut cache), &mut record)?;
        let pre = sites.into_iter().map(|s| record.value(s)).collect::<pellucid_model::Result<_>>()?;
        let answers = asked.iter().map(|a| a.answer).collect();
        let mut last = LastToken { model, cache, batch, answers, pre };
        last.back();
        Ok(last)
    }

    fn back(&mut self) {
        for (i, row) in self.batch.rows.iter().enumerate() {
            self.cache.truncate(i, row.start);
        }
    }

    /// The answers' mean probability, with one head's value put there, or none.
    fn probability(&mut self, head: Option<(usize, usize, &[f32])>) -> Result<f64> {
        let mut tap = Head { head };
        let start = head.map(|(layer, _, _)| (layer, self.pre[layer].clone()));
        let plan = Plan { logits: Logits::All, start, stop_after: None };
        let rows = logits(self.model.run(&self.batch, &plan, Some(&mut self.cache), &mut tap)?.logits)?;
        self.back();
        let each = rows.iter().zip(&self.answers);
        let sum: f64 = each.map(|(l, &a)| f64::from(sample::log_softmax(l)[a as usize]).exp()).sum();
        Ok(sum / self.answers.len() as f64)
    }
}

/// Puts one vector into one head.
struct Head<'a> {
    head: Option<(usize, usize, &'a [f32])>,
}

impl Tap for Head<'_> {
    fn wants(&self, site: Site) -> bool {
        self.head.is_some_and(|(layer, _, _)| site == Site::new(Point::Z, layer))
    }
    fn visit(&mut self, _: Place<'_>, x: Tensor) -> pellucid_model::Result<Tensor> {
        let Some((_, head, value)) = self.head else { return Ok(x) };
        let (_, heads, dim) = x.dims3()?;
        let mut numbers = with_numbers(&x, <[f32]>::to_vec)?;
        for token in numbers.chunks_exact_mut(heads * dim) {
            token[head * dim..(head + 1) * dim].copy_from_slice(value);
        }
        Ok(Tensor::from_vec(numbers, x.shape(), x.device())?)
    }
}
