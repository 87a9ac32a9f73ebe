//! The block's backward pass, written out: the forward's steps in reverse, each point offering its gradient
//! to the tap. Weights are frozen, so no weight gradient is ever computed, and a linear layer needs nothing
//! but its weights. [`Rules`] choose between the true gradient and RelP.

use crate::batch::{Row, ranges};
use crate::block::{Saved, SavedRow};
use crate::ops::attention::{self, Mask, Scoring};
use crate::ops::linear::{linear_back, linears_back};
use crate::ops::mlp::Kept;
use crate::ops::norm::{Norm, norm_back, norm_back_onto};
use crate::ops::rotary::{Angles, rotate};
use crate::ops::{Precision, Rooms, Rules, add, mlp, tensor, tiled_back};
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
    pub(crate) rooms: &'a mut Rooms,
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

/// A gradient added to another, where there is one.
fn added(onto: Option<&Tensor>, g: Tensor) -> Result<Tensor> {
    match onto {
        Some(onto) => add(onto, &g),
        None => Ok(g),
    }
}

/// Back through a norm, where there is one, and added to another gradient, where there is one.
fn norm_back_onto_stream(
    x: &Tensor,
    by: Option<&Norm>,
    g: Tensor,
    onto: Option<&Tensor>,
    rules: Rules,
) -> Result<Tensor> {
    match by {
        Some(by) => norm_back_onto(x, by, &g, onto, rules),
        None => added(onto, g),
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
    let g = if pass.spec.parallel {
        let through_mlp = mlp_back(w, saved, &g, None, pass)?;
        add(&attention_back(w, saved, &g, Some(&g), pass)?, &through_mlp)?
    } else {
        let sum = mlp_back(w, saved, &g, Some(&g), pass)?;
        let g_mid = pass.at(Point::ResidMid, sum)?;
        attention_back(w, saved, &g_mid, Some(&g_mid), pass)?
    };
    pass.at(Point::ResidPre, g)
}

/// From ∂m/∂(what the MLP adds) to ∂m/∂(the stream that it reads), added to `onto` where that is given.
fn mlp_back(
    w: &BlockWeights,
    saved: &Saved,
    g: &Tensor,
    onto: Option<&Tensor>,
    pass: &mut BackPass<'_>,
) -> Result<Tensor> {
    let rules = pass.rules;
    let g = pass.at(Point::MlpOutPost, g.clone())?;
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
    if !pass.tap.wants_reads(pass.layer) {
        return norm_back_onto_stream(read, w.mlp_norm.as_ref(), g_in, onto, rules);
    }
    let g = maybe_norm_back(Some(read), w.mlp_norm.as_ref(), g_in, rules)?;
    let site = Site::new(Point::ResidMid, pass.layer);
    pass.tap.read_gradient(Place { site, rows: pass.rows, first_row: 0 }, Readers::Mlp, &g)?;
    added(onto, g)
}

/// From ∂m/∂(what an MLP writes) to ∂m/∂(what its projections read), step by step.
fn mlp_steps_back(w: &BlockWeights, saved: &Saved, g: &Tensor, pass: &mut BackPass<'_>) -> Result<Tensor> {
    let g = pass.at(Point::MlpAct, linear_back(g, &w.down)?)?;
    let (f, rules) = (pass.spec.activation, pass.rules);
    let (pre, second) = (saved.pre.all()?, saved.linear.as_ref().map(Kept::all).transpose()?);
    let (g_pre, g_linear) = mlp::activate_back(&pre, second.as_ref(), &g, f, rules)?;
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
    let site = Site::new(Point::MlpAct, pass.layer);
    let wants_act = asks(Point::MlpAct);
    let looks = pass.tap.only_looks(site);
    if asks(Point::MlpPre) || asks(Point::MlpPreLinear) || (wants_act && !looks) {
        return Ok(None);
    }
    let product = pass.tap.wants_product(site);
    let made = tiled_back::mlp_back(
        g,
        &tiled_back::MlpBack {
            pre: (&w.pre, &saved.pre),
            linear: w.linear.as_ref().zip(saved.linear.as_ref()),
            down: &w.down,
            activation: pass.spec.activation,
            rules: pass.rules,
            wanted: match (wants_act, product) {
                (false, _) => tiled_back::Wanted::Nothing,
                (true, false) => tiled_back::Wanted::Gradient,
                (true, true) => tiled_back::Wanted::Product,
            },
        },
        pass.rooms,
    )?;
    let Some(tiled_back::Gradients { act, read }) = made else { return Ok(None) };
    match act {
        Some(made) if product => pass.tap.product(Place { site, rows: pass.rows, first_row: 0 }, made)?,
        Some(gradient) => {
            pass.at(Point::MlpAct, tensor(gradient, (g.dim(0)?, saved.pre.width()))?)?;
        }
        None => {}
    }
    Ok(Some(read))
}

/// From ∂m/∂(what attention adds) to ∂m/∂(the stream that it reads), added to `onto` where that is given.
pub(crate) fn attention_back(
    w: &BlockWeights,
    saved: &Saved,
    g: &Tensor,
    onto: Option<&Tensor>,
    pass: &mut BackPass<'_>,
) -> Result<Tensor> {
    let spec = pass.spec;
    let rules = pass.rules;
    let tokens = g.dim(0)?;
    let g = pass.at(Point::AttnOutPost, g.clone())?;
    let g = maybe_norm_back(saved.attn_out.as_ref(), w.attn_post_norm.as_ref(), g, rules)?;
    let g = pass.at(Point::AttnOut, g)?;
    let g = linear_back(&g, &w.o)?.reshape((tokens, spec.n_heads, spec.head_dim))?;
    let g = pass.at(Point::Z, g)?;
    if saved.reads.is_some() || pass.tap.wants_reads(pass.layer) {
        return added(onto, readers::backward(w, saved, &g, pass)?);
    }
    let (g_qk, g_v) = rows_back(&saved.rows, &g, pass)?;
    let g_v = pass.at(Point::Value, g_v)?.flatten_from(1)?;
    let g_in = match g_qk {
        None => linear_back(&g_v, &w.v)?,
        Some((g_q, g_k)) => {
            let points = [Point::QNormIn, Point::QNormOut];
            let g_q = qk_norm_back(g_q, saved.q_norm_in.as_ref(), w.q_norm.as_ref(), points, pass)?;
            let points = [Point::KNormIn, Point::KNormOut];
            let g_k = qk_norm_back(g_k, saved.k_norm_in.as_ref(), w.k_norm.as_ref(), points, pass)?;
            let (g_q, g_k) = (g_q.flatten_from(1)?, g_k.flatten_from(1)?);
            linears_back([(&g_v, &w.v), (&g_q, &w.q), (&g_k, &w.k)])?
        }
    };
    let g_in = pass.at(Point::AttnIn, g_in)?;
    norm_back_onto_stream(&saved.resid_pre, w.attn_norm.as_ref(), g_in, onto, rules)
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

/// Attention's backward, row by row: gradients of queries and keys before rotation (none where the rules hold the
/// probabilities), and of the values.
pub(crate) fn rows_back(
    rows: &[SavedRow],
    g: &Tensor,
    pass: &mut BackPass<'_>,
) -> Result<(QueryKey, Tensor)> {
    let (mut g_q, mut g_k, mut g_v) = (Vec::new(), Vec::new(), Vec::new());
    for (i, range) in ranges(pass.rows).into_iter().enumerate() {
        let g = g.narrow(0, range.start, range.len())?;
        let (qk, v) = row_back(&rows[i], &g, [i, range.start], pass)?;
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

/// Row `i`, which begins with token `first` of all.
fn row_back(
    row: &SavedRow,
    g: &Tensor,
    [i, first]: [usize; 2],
    pass: &mut BackPass<'_>,
) -> Result<(QueryKey, Tensor)> {
    let spec = pass.spec;
    let mask = Mask { start: pass.rows[i].start, window: spec.attention[pass.layer].window };
    let scoring = Scoring::of(spec, pass.precision);
    let sites = [Point::AttnScores, Point::AttnProbs].map(|p| Site::new(p, pass.layer));
    let watched = sites.iter().any(|s| pass.tap.wants_gradient(*s));
    let through = !pass.rules.hold_attention;
    let angles = match spec.attention[pass.layer].rope {
        Some(table) if through => Some((&pass.angles[table], first)),
        _ => None,
    };
    if row.tapped.is_none() && !watched {
        let all = [&row.q, &row.k, &row.v, g];
        if let Some((qk, v)) = attention::attend_back(all, mask, scoring, angles, through, pass.rooms)? {
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
    let (g_q, g_k) = attention::scores_back(&row.q, &row.k, capped.as_ref(), &g_scores, scoring)?;
    let unrotated = |g: Tensor| match angles {
        Some((angles, first)) => rotate(&g, angles, first, true),
        None => Ok(g),
    };
    Ok((Some((unrotated(g_q)?, unrotated(g_k)?)), g_v))
}
