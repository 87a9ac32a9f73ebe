//! The block's backward pass, written out: the forward's steps in reverse, each point offering its gradient
//! to the tap. Weights are frozen, so no weight gradient is ever computed, and a linear layer needs nothing
//! but its weights. [`Rules`] choose between the true gradient and RelP.

use crate::batch::{Row, ranges};
use crate::block::{Saved, SavedRow};
use crate::ops::attention::{self, Mask, Scoring};
use crate::ops::linear::linear_back;
use crate::ops::norm::{Norm, norm_back};
use crate::ops::rotary::{Angles, rotate};
use crate::ops::{Precision, Rules, add, mlp, tiled_back};
use crate::readers;
use crate::spec::{QkNorm, Spec};
use crate::tap::{Place, Readers, Tap};
use crate::weights::BlockWeights;
use crate::{Error, Result};
use candle_core::Tensor;
use pellucid_core::{Point, Site};

/// What a block's backward pass works with.
pub(crate) struct BackPass<'a> {
    pub(crate) spec: &'a Spec,
    pub(crate) layer: usize,
    pub(crate) rows: &'a [Row],
    pub(crate) angles: &'a [Angles],
    pub(crate) rules: Rules,
    pub(crate) precision: Precision,
    pub(crate) tap: &'a mut dyn Tap,
}

impl BackPass<'_> {
    fn at(&mut self, point: Point, g: Tensor) -> Result<Tensor> {
        let rows = self.rows;
        pull(self.tap, Place { site: Site::new(point, self.layer), rows, first_row: 0 }, g)
    }
}

/// Takes a gradient back through a tap that stood at a site.
pub(crate) fn pull(tap: &mut dyn Tap, place: Place<'_>, g: Tensor) -> Result<Tensor> {
    if tap.wants(place.site) || tap.wants_gradient(place.site) { tap.pullback(place, g) } else { Ok(g) }
}

pub(crate) fn maybe_norm_back(
    x: Option<&Tensor>,
    by: Option<&Norm>,
    g: Tensor,
    rules: Rules,
) -> Result<Tensor> {
    match (x, by) {
        (Some(x), Some(by)) => norm_back(x, by, &g, rules),
        _ => Ok(g),
    }
}

/// From ∂m/∂resid_post to ∂m/∂(the block's input).
pub(crate) fn backward(
    w: &BlockWeights,
    saved: &Saved,
    g: Tensor,
    pass: &mut BackPass<'_>,
) -> Result<Tensor> {
    let g = pass.at(Point::ResidPost, g)?;
    let through_mlp = mlp_back(w, saved, g.clone(), pass)?;
    let g_mid = if pass.spec.parallel {
        g.clone()
    } else {
        let sum = add(&g, &through_mlp)?;
        pass.at(Point::ResidMid, sum)?
    };
    let through_attention = attention_back(w, saved, g_mid.clone(), pass)?;
    let mut g = add(&g_mid, &through_attention)?;
    if pass.spec.parallel {
        g = add(&g, &through_mlp)?;
    }
    pass.at(Point::ResidPre, g)
}

fn mlp_back(w: &BlockWeights, saved: &Saved, g: Tensor, pass: &mut BackPass<'_>) -> Result<Tensor> {
    let rules = pass.rules;
    let g = pass.at(Point::MlpOutPost, g)?;
    let g = maybe_norm_back(saved.mlp_out.as_ref(), w.mlp_post_norm.as_ref(), g, rules)?;
    let g = pass.at(Point::MlpOut, g)?;
    let g_in = match joined_mlp_back(w, saved, &g, pass)? {
        Some(g_in) => g_in,
        None => mlp_steps_back(w, saved, &g, pass)?,
    };
    let read = match &saved.reads {
        Some([_, read]) => read,
        None => &saved.resid_mid,
    };
    let g_in = if saved.reads.is_some() { g_in } else { pass.at(Point::MlpIn, g_in)? };
    let g = maybe_norm_back(Some(read), w.mlp_norm.as_ref(), g_in, rules)?;
    if pass.tap.wants_reads(pass.layer) {
        let site = Site::new(Point::ResidMid, pass.layer);
        pass.tap.read_gradient(Place { site, rows: pass.rows, first_row: 0 }, Readers::Mlp, &g)?;
    }
    Ok(g)
}

/// From ∂m/∂(what an MLP writes) to ∂m/∂(what its projections read), step by step.
fn mlp_steps_back(w: &BlockWeights, saved: &Saved, g: &Tensor, pass: &mut BackPass<'_>) -> Result<Tensor> {
    let g = pass.at(Point::MlpAct, linear_back(g, &w.down)?)?;
    let (f, rules) = (pass.spec.activation, pass.rules);
    let (g_pre, g_linear) = mlp::activate_back(&saved.pre, saved.linear.as_ref(), &g, f, rules)?;
    drop(g);
    let g_pre = pass.at(Point::MlpPre, g_pre)?;
    let g_in = linear_back(&g_pre, &w.pre)?;
    match (g_linear, &w.linear) {
        (Some(g_linear), Some(second)) => {
            let g_linear = pass.at(Point::MlpPreLinear, g_linear)?;
            add(&g_in, &linear_back(&g_linear, second)?)
        }
        _ => Ok(g_in),
    }
}

/// The same with the steps taken together, where no tap stands between them; at `mlp_act` one may that only looks.
fn joined_mlp_back(
    w: &BlockWeights,
    saved: &Saved,
    g: &Tensor,
    pass: &mut BackPass<'_>,
) -> Result<Option<Tensor>> {
    let asks = |point| {
        let site = Site::new(point, pass.layer);
        pass.tap.wants(site) || pass.tap.wants_gradient(site)
    };
    let wants_act = asks(Point::MlpAct);
    let looks = pass.tap.only_looks(Site::new(Point::MlpAct, pass.layer));
    if asks(Point::MlpPre) || asks(Point::MlpPreLinear) || (wants_act && !looks) {
        return Ok(None);
    }
    let made = tiled_back::mlp_back(
        g,
        &tiled_back::MlpBack {
            pre: (&w.pre, &saved.pre),
            linear: w.linear.as_ref().zip(saved.linear.as_ref()),
            down: &w.down,
            activation: pass.spec.activation,
            rules: pass.rules,
            wants_act,
        },
    )?;
    let Some(tiled_back::Gradients { act, read }) = made else { return Ok(None) };
    if let Some(act) = act {
        pass.at(Point::MlpAct, act)?;
    }
    Ok(Some(read))
}

/// From ∂m/∂(what attention adds) to ∂m/∂(the stream that it reads).
pub(crate) fn attention_back(
    w: &BlockWeights,
    saved: &Saved,
    g: Tensor,
    pass: &mut BackPass<'_>,
) -> Result<Tensor> {
    let spec = pass.spec;
    let rules = pass.rules;
    let tokens = g.dim(0)?;
    let g = pass.at(Point::AttnOutPost, g)?;
    let g = maybe_norm_back(saved.attn_out.as_ref(), w.attn_post_norm.as_ref(), g, rules)?;
    let g = pass.at(Point::AttnOut, g)?;
    let g = linear_back(&g, &w.o)?.reshape((tokens, spec.n_heads, spec.head_dim))?;
    let g = pass.at(Point::Z, g)?;
    if saved.reads.is_some() || pass.tap.wants_reads(pass.layer) {
        return readers::backward(w, saved, &g, pass);
    }
    let (g_qk, g_v) = rows_back(&saved.rows, &g, pass)?;
    let g_v = pass.at(Point::Value, g_v)?;
    let mut g_in = linear_back(&g_v.flatten_from(1)?, &w.v)?;
    if let Some((g_q, g_k)) = g_qk {
        let (g_q, g_k) = match spec.attention[pass.layer].rope {
            Some(t) => (rotate(&g_q, &pass.angles[t], true)?, rotate(&g_k, &pass.angles[t], true)?),
            None => (g_q, g_k),
        };
        let points = [Point::QNormIn, Point::QNormOut];
        let g_q = qk_norm_back(g_q, saved.q_norm_in.as_ref(), w.q_norm.as_ref(), points, pass)?;
        let points = [Point::KNormIn, Point::KNormOut];
        let g_k = qk_norm_back(g_k, saved.k_norm_in.as_ref(), w.k_norm.as_ref(), points, pass)?;
        g_in = add(&g_in, &linear_back(&g_q.flatten_from(1)?, &w.q)?)?;
        g_in = add(&g_in, &linear_back(&g_k.flatten_from(1)?, &w.k)?)?;
    }
    let g_in = pass.at(Point::AttnIn, g_in)?;
    maybe_norm_back(Some(&saved.resid_pre), w.attn_norm.as_ref(), g_in, rules)
}

fn qk_norm_back(
    g: Tensor,
    x: Option<&Tensor>,
    by: Option<&Norm>,
    [before, after]: [Point; 2],
    pass: &mut BackPass<'_>,
) -> Result<Tensor> {
    let (Some(x), Some(by)) = (x, by) else { return Ok(g) };
    let g = pass.at(after, g)?;
    let g = match pass.spec.qk_norm {
        Some(QkNorm::Whole) => {
            norm_back(&x.flatten_from(1)?, by, &g.flatten_from(1)?, pass.rules)?.reshape(x.shape())?
        }
        _ => norm_back(x, by, &g, pass.rules)?,
    };
    pass.at(before, g)
}

pub(crate) type QueryKey = Option<(Tensor, Tensor)>;

/// Attention's backward, row by row: gradients of rotated queries and keys (none where the rules hold the
/// probabilities), and of the values.
pub(crate) fn rows_back(
    rows: &[SavedRow],
    g: &Tensor,
    pass: &mut BackPass<'_>,
) -> Result<(QueryKey, Tensor)> {
    let (mut g_q, mut g_k, mut g_v) = (Vec::new(), Vec::new(), Vec::new());
    for (i, range) in ranges(pass.rows).into_iter().enumerate() {
        let g = g.narrow(0, range.start, range.len())?;
        let (qk, v) = row_back(&rows[i], &g, i, pass)?;
        g_v.push(v);
        if let Some((q, k)) = qk {
            g_q.push(q);
            g_k.push(k);
        }
    }
    let join = |parts: Vec<Tensor>| Tensor::cat(&parts, 0).map_err(Error::from);
    let qk = if g_q.is_empty() { None } else { Some((join(g_q)?, join(g_k)?)) };
    Ok((qk, join(g_v)?))
}

fn row_back(row: &SavedRow, g: &Tensor, i: usize, pass: &mut BackPass<'_>) -> Result<(QueryKey, Tensor)> {
    let spec = pass.spec;
    let mask = Mask { start: pass.rows[i].start, window: spec.attention[pass.layer].window };
    let scoring = Scoring::of(spec, pass.precision);
    let sites = [Point::AttnScores, Point::AttnProbs].map(|p| Site::new(p, pass.layer));
    let watched = sites.iter().any(|s| pass.tap.wants_gradient(*s));
    let through = !pass.rules.hold_attention;
    if row.tapped.is_none() && !watched {
        let all = [&row.q, &row.k, &row.v, g];
        if let Some((qk, v)) = attention::attend_back(all, mask, scoring, through)? {
            return Ok((qk.map(|[q, k]| (q, k)), v));
        }
    }
    let recomputed;
    let (softmax, probs) = match &row.tapped {
        Some(t) => (&t.softmax, &t.probs),
        None => {
            recomputed = attention::probabilities(&attention::scores(&row.q, &row.k, scoring, mask)?, mask)?;
            (&recomputed, &recomputed)
        }
    };
    let place = |point| Place { site: Site::new(point, pass.layer), rows: &pass.rows[i..=i], first_row: i };
    let (at_scores, at_probs) = (place(Point::AttnScores), place(Point::AttnProbs));
    let (g_probs, g_v) = attention::mix_back(probs, &row.v, g, through || watched)?;
    let Some(g_probs) = g_probs else { return Ok((None, g_v)) };
    let g_probs = pull(pass.tap, at_probs, g_probs)?;
    if !through {
        return Ok((None, g_v));
    }
    let g_scores = pull(pass.tap, at_scores, attention::probabilities_back(softmax, &g_probs)?)?;
    // the slope of a soft cap needs the scores themselves
    let capped = match (&row.tapped, scoring.cap) {
        (_, None) => None,
        (Some(t), Some(_)) => Some(t.scores.clone()),
        (None, Some(_)) => Some(attention::scores(&row.q, &row.k, scoring, mask)?),
    };
    let qk = attention::scores_back(&row.q, &row.k, capped.as_ref(), &g_scores, scoring)?;
    Ok((Some(qk), g_v))
}
