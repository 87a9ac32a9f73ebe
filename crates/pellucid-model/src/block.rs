//! The one block: every supported architecture is this code with another `Spec`.
//!
//! The steps follow the points' names; each point offers its value to the tap before the run goes on. What
//! a backward pass needs is kept in [`Saved`] when one was announced.

use crate::batch::{Row, ranges};
use crate::cache::LayerCache;
use crate::ops::attention::{self, Heads, Mask, Memory, Scoring};
use crate::ops::linear::{Linear, activated, activates, linear, linears};
use crate::ops::mlp::Kept;
use crate::ops::norm::{Norm, norm};
use crate::ops::rotary::{Angles, rotate};
use crate::ops::{Precision, add, attention_text, mlp, tiled};
use crate::readers;
use crate::spec::{QkNorm, Spec};
use crate::tap::{Place, Readers, Tap};
use crate::weights::BlockWeights;
use crate::{Error, Result};
use candle_core::Tensor;
use pellucid_core::{Point, Site};

/// What the backward pass of one block reads.
#[derive(Debug)]
pub(crate) struct Saved {
    pub(crate) resid_pre: Tensor,
    pub(crate) q_norm_in: Option<Tensor>,
    pub(crate) k_norm_in: Option<Tensor>,
    /// Per row, after rotation: query, key, value.
    pub(crate) rows: Vec<SavedRow>,
    pub(crate) attn_out: Option<Tensor>,
    pub(crate) resid_mid: Tensor,
    pub(crate) pre: Kept,
    pub(crate) linear: Option<Kept>,
    pub(crate) mlp_out: Option<Tensor>,
    /// What attention's readers and the MLP read, where a tap gave them copies of their own.
    pub(crate) reads: Option<[Tensor; 2]>,
}

/// One row's attention, for the backward pass.
#[derive(Debug)]
pub(crate) struct SavedRow {
    pub(crate) q: Tensor,
    pub(crate) k: Tensor,
    pub(crate) v: Tensor,
    /// Scores and probabilities as they left the taps; kept only where a tap stood there, else recomputed.
    pub(crate) tapped: Option<Tapped>,
}

/// What taps made of a row's attention.
#[derive(Debug)]
pub(crate) struct Tapped {
    /// Scores before the tap saw them.
    pub(crate) scores: Tensor,
    /// Softmax of the scores after the tap.
    pub(crate) softmax: Tensor,
    /// Probabilities after the tap.
    pub(crate) probs: Tensor,
}

/// What a block's pass works with besides its weights and its input.
pub(crate) struct Pass<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) layer: usize,
    pub(crate) rows: &'a [Row],
    /// Rotary angles of each of the model's tables, for all packed tokens.
    pub(crate) angles: &'a [Angles],
    pub(crate) precision: Precision,
    pub(crate) tap: &'a mut dyn Tap,
}

impl Pass<'_> {
    /// Offers a value to the tap.
    pub(crate) fn at(&mut self, point: Point, x: Tensor) -> Result<Tensor> {
        let rows = self.rows;
        visit(self.tap, Place { site: Site::new(point, self.layer), rows, first_row: 0 }, x)
    }

    /// As [`Pass::at`], except where the layer's readers are split: there the point has no one value.
    fn unsplit(&mut self, point: Point, x: Tensor) -> Result<Tensor> {
        if self.tap.splits(self.layer) { Ok(x) } else { self.at(point, x) }
    }

    /// Whether a tap stands at one of these points of the layer, or its readers have values of their own there.
    fn watched(&self, points: &[Point]) -> bool {
        self.tap.splits(self.layer) || points.iter().any(|&p| self.tap.wants(Site::new(p, self.layer)))
    }

    /// What the tap gives the readers in place of the stream.
    pub(crate) fn read(&mut self, readers: Readers, x: &Tensor) -> Result<Tensor> {
        let (tokens, d) = x.dims2()?;
        let (point, n) = match readers {
            Readers::Attention => (Point::ResidPre, 3 * self.spec.n_heads),
            Readers::Mlp => (Point::ResidMid, 1),
        };
        let site = Site::new(point, self.layer);
        let read = self.tap.read(Place { site, rows: self.rows, first_row: 0 }, readers, x, n)?;
        if read.dims2()? != (n * tokens, d) {
            let why = format!("{n} readers were given {:?}, expected [{}, {d}]", read.dims(), n * tokens);
            return Err(Error::Edit { site, why });
        }
        Ok(read.contiguous()?)
    }

    /// Tokens of each row.
    fn texts(&self) -> Vec<usize> {
        self.rows.iter().map(|row| row.tokens.len()).collect()
    }

    fn attention_mask(&self, row: &Row) -> Mask {
        Mask { start: row.start, window: self.spec.attention[self.layer].window }
    }
}

/// Offers a value to a tap that wants it; a tap may change numbers, not shapes.
pub(crate) fn visit(tap: &mut dyn Tap, place: Place<'_>, x: Tensor) -> Result<Tensor> {
    if !tap.wants(place.site) {
        return Ok(x);
    }
    let shape = x.shape().clone();
    let y = tap.visit(place, x)?;
    if *y.shape() != shape {
        let why = format!("it turned shape {shape:?} into {:?}", y.shape());
        return Err(Error::Edit { site: place.site, why });
    }
    y.contiguous().map_err(Error::from)
}

fn maybe_norm(x: &Tensor, by: Option<&Norm>) -> Result<Tensor> {
    by.map_or_else(|| Ok(x.clone()), |by| norm(x, by))
}

/// Runs one block on `(tokens, d_model)`; fills `saved` if a backward pass will follow.
pub(crate) fn forward(
    w: &BlockWeights,
    x: Tensor,
    pass: &mut Pass<'_>,
    cache: Option<&mut LayerCache>,
    keep: bool,
) -> Result<(Tensor, Option<Saved>)> {
    let resid_pre = pass.at(Point::ResidPre, x)?;
    let whole = if keep || cache.is_some() { None } else { joined_attention(w, &resid_pre, pass)? };
    let (resid_mid, attended) = match whole {
        Some(resid_mid) => (pass.at(Point::ResidMid, resid_mid)?, None),
        None => {
            let attended = attention_part(w, &resid_pre, pass, cache, keep)?;
            let resid_mid = match pass.spec.parallel {
                true => resid_pre.clone(),
                false => pass.at(Point::ResidMid, add(&resid_pre, &attended.out)?)?,
            };
            (resid_mid, Some(attended))
        }
    };

    let split = pass.tap.splits(pass.layer);
    let read = if split { pass.read(Readers::Mlp, &resid_mid)? } else { resid_mid.clone() };
    let Fed { out, added, before } = match joined_mlp(w, &read, pass, keep)? {
        Some(fed) => fed,
        None => mlp_part(w, &read, pass, keep)?,
    };
    let (resid_post, mlp_out) = if added {
        (out, None)
    } else {
        let mlp_out = pass.at(Point::MlpOut, out)?;
        let mlp_post = pass.at(Point::MlpOutPost, maybe_norm(&mlp_out, w.mlp_post_norm.as_ref())?)?;
        let base = match &attended {
            Some(attended) if pass.spec.parallel => add(&resid_pre, &attended.out)?,
            _ => resid_mid.clone(),
        };
        (add(&base, &mlp_post)?, Some(mlp_out))
    };
    let resid_post = pass.at(Point::ResidPost, resid_post)?;

    let after = pass.spec.placement.after();
    let saved = before.zip(attended).filter(|_| keep).map(|((pre, second), attended)| Saved {
        resid_pre,
        q_norm_in: attended.q_norm_in,
        k_norm_in: attended.k_norm_in,
        rows: attended.rows,
        attn_out: attended.attn_out.filter(|_| after),
        resid_mid,
        pre,
        linear: second,
        mlp_out: mlp_out.filter(|_| after),
        reads: attended.read.map(|attention| [attention, read]),
    });
    Ok((resid_post, saved))
}

/// Layers of the normed stream, by way of the point between, where a tap stands there.
fn normed(
    by: Option<&Norm>,
    x: &Tensor,
    point: Point,
    layers: &[&Linear],
    pass: &mut Pass<'_>,
) -> Result<Vec<Tensor>> {
    if let Some(norm) = by.filter(|_| !pass.watched(&[point]) && tiled::joins(layers)) {
        return tiled::normed_linears(x, norm, layers);
    }
    let x = pass.unsplit(point, maybe_norm(x, by)?)?;
    linears(&x, layers)
}

/// An MLP's values before its activation.
type Before = (Kept, Option<Kept>);

/// What an MLP made.
struct Fed {
    /// What it writes, or where `added` says so the stream after it.
    out: Tensor,
    added: bool,
    before: Option<Before>,
}

/// The MLP step by step; the values before its activation are made for those who want them.
fn mlp_part(w: &BlockWeights, read: &Tensor, pass: &mut Pass<'_>, keep: bool) -> Result<Fed> {
    let f = pass.spec.activation;
    let layers: Vec<&Linear> = [&w.pre].into_iter().chain(&w.linear).collect();
    let unseen = !keep && !pass.watched(&[Point::MlpPre, Point::MlpPreLinear]);
    let (act, before) = if unseen && activates(read.dim(0)?, &layers) {
        let x = pass.at(Point::MlpIn, maybe_norm(read, w.mlp_norm.as_ref())?)?;
        (activated(&x, &w.pre, w.linear.as_ref(), f)?, None)
    } else {
        let mut made = normed(w.mlp_norm.as_ref(), read, Point::MlpIn, &layers, pass)?.into_iter();
        let (Some(pre), second) = (made.next(), made.next()) else {
            return Err(Error::Request("an MLP without a layer before its activation".to_owned()));
        };
        let pre = pass.at(Point::MlpPre, pre)?;
        let second = second.map(|second| pass.at(Point::MlpPreLinear, second)).transpose()?;
        let act = mlp::activate(&pre, second.as_ref(), f)?;
        (act, Some((Kept::in_rows(pre)?, second.map(Kept::in_rows).transpose()?)))
    };
    let act = pass.at(Point::MlpAct, act)?;
    Ok(Fed { out: linear(&act, &w.down)?, added: false, before })
}

/// The same with the steps taken together, where that can be done and no tap stands between them; at `mlp_act` one may. Where none
/// stands behind it either and no backward pass asks for what it writes, that is added to the stream at once.
fn joined_mlp(w: &BlockWeights, read: &Tensor, pass: &mut Pass<'_>, keep: bool) -> Result<Option<Fed>> {
    let between = [Point::MlpIn, Point::MlpPre, Point::MlpPreLinear];
    let layers: Vec<&Linear> = [&w.pre, &w.down].into_iter().chain(&w.linear).collect();
    let Some(norm) = w.mlp_norm.as_ref().filter(|_| !pass.watched(&between) && tiled::joins(&layers)) else {
        return Ok(None);
    };
    let site = Site::new(Point::MlpAct, pass.layer);
    let (watched, looks) = (pass.tap.wants(site), pass.tap.only_looks(site));
    let kept = keep && pass.spec.placement.after();
    let added = !pass.spec.parallel && !kept && !pass.watched(&[Point::MlpOut, Point::MlpOutPost]);
    let texts = pass.texts();
    // who can look at pieces sees them where they are made; nobody keeps the whole
    let watch = if watched && !keep && tiled::watchable(&texts) {
        pass.tap.watch(Place { site, rows: pass.rows, first_row: 0 })
    } else {
        None
    };
    let whole = watched && watch.is_none();
    let wanted =
        tiled::Values { pre: keep, linear: keep && w.linear.is_some(), act: whole, out: !whole || looks };
    let mlp = tiled::Mlp {
        norm,
        pre: &w.pre,
        linear: w.linear.as_ref(),
        down: &w.down,
        activation: pass.spec.activation,
        watched: watch.as_deref().map(|watch| (watch, texts.as_slice())),
        added: (wanted.out && added).then_some(w.mlp_post_norm.as_ref()),
        wanted,
    };
    let added = mlp.added.is_some();
    let Some(tiled::Made { pre, linear: second, act, out }) = tiled::mlp(read, &mlp)? else {
        return Ok(None);
    };
    watch.map_or(Ok(()), |watch| watch.end())?;
    let act = act.map(|act| pass.at(Point::MlpAct, act)).transpose()?;
    let out = match (out, act) {
        (Some(out), _) => out,
        (None, Some(act)) => linear(&act, &w.down)?,
        (None, None) => return Ok(None),
    };
    Ok(Some(Fed { out, added, before: pre.map(|pre| (pre, second)) }))
}

/// Attention of whole texts, added to the stream, where that can be done at once and no tap stands in between.
fn joined_attention(w: &BlockWeights, resid_pre: &Tensor, pass: &Pass<'_>) -> Result<Option<Tensor>> {
    use Point::{
        AttnIn, AttnOut, AttnOutPost, AttnProbs, AttnScores, KNormIn, KNormOut, QNormIn, QNormOut, Value, Z,
    };
    let (spec, attention) = (pass.spec, &pass.spec.attention[pass.layer]);
    let between =
        [AttnIn, QNormIn, QNormOut, KNormIn, KNormOut, Value, AttnScores, AttnProbs, Z, AttnOut, AttnOutPost];
    let whole = spec.parallel || spec.qk_norm == Some(QkNorm::Whole) || pass.watched(&between);
    let Some(norm) = w.attn_norm.as_ref().filter(|_| !whole && pass.rows.iter().all(|row| row.start == 0))
    else {
        return Ok(None);
    };
    let layer = attention_text::Layer {
        norm,
        linears: [&w.q, &w.k, &w.v, &w.o],
        qk_norms: [w.q_norm.as_ref(), w.k_norm.as_ref()],
        heads: Heads { heads: spec.n_heads, kv_heads: spec.n_kv_heads, dim: spec.head_dim },
        angles: attention.rope.map(|table| &pass.angles[table]),
        scoring: Scoring::of(spec, pass.precision),
        window: attention.window,
        post_norm: w.attn_post_norm.as_ref(),
    };
    attention_text::texts(resid_pre, &pass.texts(), &layer)
}

/// What attention hands to the rest of the block, and to the backward pass.
struct Attended {
    out: Tensor,
    q_norm_in: Option<Tensor>,
    k_norm_in: Option<Tensor>,
    rows: Vec<SavedRow>,
    attn_out: Option<Tensor>,
    read: Option<Tensor>,
}

fn attention_part(
    w: &BlockWeights,
    resid_pre: &Tensor,
    pass: &mut Pass<'_>,
    cache: Option<&mut LayerCache>,
    keep: bool,
) -> Result<Attended> {
    let spec = pass.spec;
    let tokens = resid_pre.dim(0)?;
    if pass.tap.splits(pass.layer) {
        if cache.is_some() {
            return Err(Error::Request(
                "a run with split readers works on whole texts, without a cache".to_owned(),
            ));
        }
        let split = readers::forward(w, resid_pre, pass)?;
        return mixed(w, split.qkv, split.norm_in, Some(split.read), pass, cache, keep);
    }
    let layers = [&w.q, &w.k, &w.v];
    let qkv = normed(w.attn_norm.as_ref(), resid_pre, Point::AttnIn, &layers, pass)?;
    let [q, k, v]: [Tensor; 3] =
        qkv.try_into().map_err(|_| Error::Request("three layers gave another number".to_owned()))?;
    // (tokens, heads · head_dim) to (tokens, heads, head_dim)
    let q = q.reshape((tokens, spec.n_heads, spec.head_dim))?;
    let k = k.reshape((tokens, spec.n_kv_heads, spec.head_dim))?;
    let v = v.reshape((tokens, spec.n_kv_heads, spec.head_dim))?;
    let (q, q_norm_in) = qk_norm(q, w.q_norm.as_ref(), [Point::QNormIn, Point::QNormOut], pass)?;
    let (k, k_norm_in) = qk_norm(k, w.k_norm.as_ref(), [Point::KNormIn, Point::KNormOut], pass)?;
    let v = pass.at(Point::Value, v)?;
    mixed(w, [q, k, v], [q_norm_in, k_norm_in], None, pass, cache, keep)
}

/// From queries, keys and values to what attention adds to the stream.
fn mixed(
    w: &BlockWeights,
    [q, k, v]: [Tensor; 3],
    [q_norm_in, k_norm_in]: [Option<Tensor>; 2],
    read: Option<Tensor>,
    pass: &mut Pass<'_>,
    cache: Option<&mut LayerCache>,
    keep: bool,
) -> Result<Attended> {
    let (spec, tokens) = (pass.spec, q.dim(0)?);
    let (q, k) = match spec.attention[pass.layer].rope {
        Some(table) => {
            let angles = &pass.angles[table];
            (rotate(&q, angles, 0, false)?, rotate(&k, angles, 0, false)?)
        }
        None => (q, k),
    };
    let (z, rows) = rows_attention(&q, &k, &v, pass, cache, keep)?;
    let z = pass.at(Point::Z, z)?.reshape((tokens, spec.n_heads * spec.head_dim))?;
    let attn_out = pass.at(Point::AttnOut, linear(&z, &w.o)?)?;
    let out = pass.at(Point::AttnOutPost, maybe_norm(&attn_out, w.attn_post_norm.as_ref())?)?;
    Ok(Attended { out, q_norm_in, k_norm_in, rows, attn_out: Some(attn_out), read })
}

pub(crate) fn qk_norm(
    x: Tensor,
    by: Option<&Norm>,
    [before, after]: [Point; 2],
    pass: &mut Pass<'_>,
) -> Result<(Tensor, Option<Tensor>)> {
    let Some(by) = by else { return Ok((x, None)) };
    let x = pass.at(before, x)?;
    // the norm's width decides: a head, or the whole vector
    let y = match pass.spec.qk_norm {
        Some(QkNorm::Whole) => norm(&x.flatten_from(1)?, by)?.reshape(x.shape())?,
        _ => norm(&x, by)?,
    };
    Ok((pass.at(after, y)?, Some(x)))
}

/// Attention looks at one row at a time; gives `(tokens, heads, head_dim)`.
pub(crate) fn rows_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    pass: &mut Pass<'_>,
    mut cache: Option<&mut LayerCache>,
    keep: bool,
) -> Result<(Tensor, Vec<SavedRow>)> {
    let mut rows = Vec::new();
    for (i, range) in ranges(pass.rows).into_iter().enumerate() {
        let part = |x: &Tensor| x.narrow(0, range.start, range.len()).map_err(Error::from);
        let (q, mut k, mut v) = (part(q)?, part(k)?, part(v)?);
        if let Some(cache) = cache.as_deref_mut() {
            (k, v) = cache.extend(i, &k, &v)?;
        }
        rows.push(SavedRow { q, k, v, tapped: None });
    }
    let watched = [Point::AttnScores, Point::AttnProbs].map(|p| pass.tap.wants(Site::new(p, pass.layer)));
    let z = if watched.contains(&true) {
        let mut mixed = Vec::new();
        for (i, row) in rows.iter_mut().enumerate() {
            let (z, tapped) = tapped_row(row, i, pass)?;
            row.tapped = Some(tapped);
            mixed.push(z);
        }
        Tensor::cat(&mixed, 0)?
    } else {
        let tokens: Vec<usize> = pass.rows.iter().map(|r| r.tokens.len()).collect();
        let memory = |(i, row): (usize, &SavedRow)| Memory {
            k: row.k.clone(),
            v: row.v.clone(),
            mask: pass.attention_mask(&pass.rows[i]),
        };
        let memories: Vec<Memory> = rows.iter().enumerate().map(memory).collect();
        attention::attend(q, &tokens, &memories, Scoring::of(pass.spec, pass.precision))?
    };
    Ok((z, if keep { rows } else { Vec::new() }))
}

/// The steps of attention one by one, with a tap between them.
fn tapped_row(row: &SavedRow, i: usize, pass: &mut Pass<'_>) -> Result<(Tensor, Tapped)> {
    let mask = pass.attention_mask(&pass.rows[i]);
    let place = |point| Place { site: Site::new(point, pass.layer), rows: &pass.rows[i..=i], first_row: i };
    let (at_scores, at_probs) = (place(Point::AttnScores), place(Point::AttnProbs));
    let scores = attention::scores(&row.q, &row.k, Scoring::of(pass.spec, pass.precision), mask)?;
    let seen = visit(pass.tap, at_scores, scores.clone())?;
    let softmax = attention::probabilities(&seen, mask)?;
    let probs = visit(pass.tap, at_probs, softmax.clone())?;
    let z = attention::mix(&probs, &row.v, mask, pass.precision)?;
    Ok((z, Tapped { scores, softmax, probs }))
}
