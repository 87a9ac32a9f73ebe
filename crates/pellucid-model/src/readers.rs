//! Attention whose readers each have a copy of the stream of their own: the query, the key and the value of every head.
//!
//! Circuits are made of edges from a writer to a reader, so a reader's input must be changed, and its gradient taken, apart
//! from the others' (Wang et al. 2022, arXiv 2211.00593; Conmy et al. 2023, arXiv 2304.14997). Where query heads share a
//! key and value head (Ainslie et al. 2023), each reads through it with a copy of its own. A head's part of the
//! projections alone is computed for its copy, so splitting costs the norm of each copy and the shared keys and values
//! once more for each head, not a projection for each reader.

use crate::backward::{BackPass, maybe_norm_back, rows_back};
use crate::block::{Pass, Saved, SavedRow};
use crate::ops::linear::{Linear, linear_outputs, linear_outputs_back};
use crate::ops::norm::{Norm, norm, norm_back};
use crate::ops::tensor;
use crate::spec::{QkNorm, Spec};
use crate::tap::{Place, Readers};
use crate::weights::BlockWeights;
use crate::{Error, Result};
use candle_core::Tensor;
use pellucid_core::{Point, Site};
use std::ops::Range;

/// Queries, keys and values of split readers.
pub(crate) struct Split {
    /// What was read, `(3 · heads · tokens, d_model)`.
    pub(crate) read: Tensor,
    /// `(tokens, heads, head_dim)` each, before rotation.
    pub(crate) qkv: [Tensor; 3],
    /// Queries and keys before their norm, where they have one.
    pub(crate) norm_in: [Option<Tensor>; 2],
}

fn check(spec: &Spec, layer: usize) -> Result<()> {
    if spec.qk_norm == Some(QkNorm::Whole) {
        let why =
            "its queries and keys are normalised over all heads together, so heads are no readers apart";
        return Err(Error::NoSuchSite { site: Site::new(Point::ResidPre, layer), why: why.to_owned() });
    }
    Ok(())
}

/// The outputs of a projection that a query head's reader uses.
fn outputs(spec: &Spec, part: usize, head: usize) -> Range<usize> {
    let at = if part == 0 { head } else { head / (spec.n_heads / spec.n_kv_heads) };
    at * spec.head_dim..(at + 1) * spec.head_dim
}

fn projections(w: &BlockWeights) -> [&Linear; 3] {
    [&w.q, &w.k, &w.v]
}

/// Asks the tap for every reader's copy and projects each by its own head.
pub(crate) fn forward(w: &BlockWeights, resid_pre: &Tensor, pass: &mut Pass<'_>) -> Result<Split> {
    let spec = pass.spec;
    check(spec, pass.layer)?;
    let (tokens, heads) = (resid_pre.dim(0)?, spec.n_heads);
    let read = pass.read(Readers::Attention, resid_pre)?;
    let x = match &w.attn_norm {
        Some(by) => norm(&read, by)?,
        None => read.clone(),
    };
    let project = |part: usize| -> Result<Tensor> {
        let one = |head: usize| {
            let x = x.narrow(0, (part * heads + head) * tokens, tokens)?;
            linear_outputs(&x, projections(w)[part], outputs(spec, part, head))
        };
        Ok(Tensor::stack(&(0..heads).map(one).collect::<Result<Vec<_>>>()?, 1)?)
    };
    let (q, q_norm_in) = normed(project(0)?, w.q_norm.as_ref())?;
    let (k, k_norm_in) = normed(project(1)?, w.k_norm.as_ref())?;
    Ok(Split { read, qkv: [q, k, project(2)?], norm_in: [q_norm_in, k_norm_in] })
}

fn normed(x: Tensor, by: Option<&Norm>) -> Result<(Tensor, Option<Tensor>)> {
    match by {
        None => Ok((x, None)),
        Some(by) => Ok((norm(&x, by)?, Some(x))),
    }
}

/// From ∂m/∂z, `(tokens, heads, head_dim)`, to ∂m/∂(the stream before attention), telling the tap every reader's gradient.
pub(crate) fn backward(
    w: &BlockWeights,
    saved: &Saved,
    g: &Tensor,
    pass: &mut BackPass<'_>,
) -> Result<Tensor> {
    let (spec, rules) = (pass.spec, pass.rules);
    check(spec, pass.layer)?;
    let (tokens, heads) = (g.dim(0)?, spec.n_heads);
    let rows = saved.rows.iter().map(|row| each_head_its_own(row, heads)).collect::<Result<Vec<_>>>()?;
    let (g_qk, g_v) = rows_back(&rows, g, pass)?;
    let mut parts = Vec::with_capacity(3 * heads);
    match g_qk {
        None => parts.push(Tensor::zeros(
            (2 * heads * tokens, spec.d_model),
            candle_core::DType::F32,
            g.device(),
        )?),
        Some((g_q, g_k)) => {
            let before = |g: Tensor, x: Option<&Tensor>, by: Option<&Norm>| match x {
                Some(x) => maybe_norm_back(Some(&expanded(x, heads)?), by, g, rules),
                None => Ok(g),
            };
            let g_q = before(g_q, saved.q_norm_in.as_ref(), w.q_norm.as_ref())?;
            let g_k = before(g_k, saved.k_norm_in.as_ref(), w.k_norm.as_ref())?;
            parts.extend(projected_back(w, spec, 0, &g_q)?);
            parts.extend(projected_back(w, spec, 1, &g_k)?);
        }
    }
    parts.extend(projected_back(w, spec, 2, &g_v)?);
    // (3 · heads · tokens, d_model)
    let mut g = Tensor::cat(&parts, 0)?;
    drop(parts);
    if let Some(by) = &w.attn_norm {
        let read = match &saved.reads {
            Some([read, _]) => read.clone(),
            None => Tensor::cat(&vec![&saved.resid_pre; 3 * heads], 0)?,
        };
        g = norm_back(&read, by, &g, rules)?;
    }
    if pass.tap.wants_reads(pass.layer) {
        let site = Site::new(Point::ResidPre, pass.layer);
        pass.tap.read_gradient(Place { site, rows: pass.rows, first_row: 0 }, Readers::Attention, &g)?;
    }
    Ok(g.reshape((3 * heads, tokens, spec.d_model))?.sum(0)?)
}

/// Each head's gradient back through its part of a projection.
fn projected_back(w: &BlockWeights, spec: &Spec, part: usize, g: &Tensor) -> Result<Vec<Tensor>> {
    let one = |head: usize| {
        let g = g.narrow(1, head, 1)?.squeeze(1)?.contiguous()?;
        linear_outputs_back(&g, projections(w)[part], outputs(spec, part, head))
    };
    (0..spec.n_heads).map(one).collect()
}

/// A row whose keys and values are repeated for every query head.
fn each_head_its_own(row: &SavedRow, heads: usize) -> Result<SavedRow> {
    let tapped = row.tapped.as_ref().map(|t| crate::block::Tapped {
        scores: t.scores.clone(),
        softmax: t.softmax.clone(),
        probs: t.probs.clone(),
    });
    Ok(SavedRow { q: row.q.clone(), k: expanded(&row.k, heads)?, v: expanded(&row.v, heads)?, tapped })
}

/// `(tokens, kv_heads, head_dim)` to `(tokens, heads, head_dim)`.
fn expanded(x: &Tensor, heads: usize) -> Result<Tensor> {
    let (tokens, kv_heads, dim) = x.dims3()?;
    if kv_heads == heads {
        return Ok(x.clone());
    }
    let repeated = x.reshape((tokens, kv_heads, 1, dim))?.repeat((1, 1, heads / kv_heads, 1))?;
    Ok(repeated.reshape((tokens, heads, dim))?.contiguous()?)
}

/// Each head's part of what attention adds to the stream: `(heads, tokens, d_model)` from `z`, `(tokens, heads, head_dim)`,
/// and `attn_out`, `(tokens, d_model)`. Where attention's output is normalised before it is added, a part goes through
/// that norm with the scale of the whole, so that the parts and the shifts sum to what is added.
pub(crate) fn head_writes(w: &BlockWeights, spec: &Spec, z: &Tensor, attn_out: &Tensor) -> Result<Tensor> {
    let (tokens, heads, dim) = z.dims3()?;
    let one = |head: usize| {
        let z = z.narrow(1, head, 1)?.squeeze(1)?.contiguous()?;
        crate::ops::linear::linear_inputs(&z, &w.o, head * dim..(head + 1) * dim)
    };
    let parts = Tensor::stack(&(0..heads).map(one).collect::<Result<Vec<_>>>()?, 0)?;
    let Some(by) = &w.attn_post_norm else { return Ok(parts) };
    let scaled = crate::ops::norm::part_of(&parts, attn_out, by)?;
    tensor(scaled, (heads, tokens, spec.d_model))
}
