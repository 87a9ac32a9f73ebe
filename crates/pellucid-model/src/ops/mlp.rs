//! The MLP's nonlinearity, gated (`f(pre) · linear`, Shazeer 2020, arXiv 2002.05202) or not, with backward.

use super::kernel::LANES;
use super::sheet::made;
use super::{CHUNK, Rules, simd, tensor, with_slice};
use crate::Result;
use crate::spec::Activation;
use candle_core::Tensor;

/// Values at an MLP's neurons that a backward pass will read.
#[derive(Debug)]
pub(crate) struct Kept {
    /// `(tokens, width)`, or as 32 neurons of all tokens after the 32 before, filled up with zeros: `(⌈width / 32⌉, tokens, 32)`.
    values: Tensor,
    width: usize,
}

impl Kept {
    /// Row after row, `(tokens, width)`.
    pub(crate) fn in_rows(values: Tensor) -> Result<Self> {
        let width = values.dim(1)?;
        Ok(Kept { values, width })
    }

    /// As [`Layout::Panels`](super::sheet::Layout::Panels).
    pub(crate) fn in_panels(values: Vec<f32>, tokens: usize, width: usize) -> Result<Self> {
        Ok(Kept { values: tensor(values, (width.div_ceil(LANES), tokens, LANES))?, width })
    }

    pub(crate) fn width(&self) -> usize {
        self.width
    }

    /// All of them, `(tokens, width)`.
    pub(crate) fn all(&self) -> Result<Tensor> {
        self.as_rows(&self.values)
    }

    /// Those of some tokens, `(n, width)`.
    pub(crate) fn at(&self, tokens: &Tensor) -> Result<Tensor> {
        self.as_rows(&self.values.index_select(tokens, self.values.rank() - 2)?)
    }

    fn as_rows(&self, values: &Tensor) -> Result<Tensor> {
        if values.rank() == 2 {
            return Ok(values.clone());
        }
        let tokens = values.dim(1)?;
        let rows = values.transpose(0, 1)?.reshape((tokens, ()))?;
        Ok(rows.narrow(1, 0, self.width)?.contiguous()?)
    }

    /// The numbers as they lie.
    pub(super) fn numbers(&self) -> &Tensor {
        &self.values
    }

    /// Where a token's values at the 32 neurons from `column` on begin, and how far the next token's lie from them.
    pub(super) fn place(&self, token: usize, column: usize) -> [usize; 2] {
        match *self.values.dims() {
            [_, tokens, _] => [(column / LANES * tokens + token) * LANES + column % LANES, LANES],
            _ => [token * self.width + column, self.width],
        }
    }
}

/// `f(pre)`, or `f(pre) · linear` in a gated MLP; same shape.
pub(crate) fn activate(pre: &Tensor, linear: Option<&Tensor>, f: Activation) -> Result<Tensor> {
    let out = with_slice(pre, |pre| {
        let activated = |from: usize, out: &mut [f32]| {
            simd::activation(&pre[from..from + out.len()], out, f);
        };
        match linear {
            None => Ok(made(pre.len(), CHUNK, activated)),
            Some(linear) => with_slice(linear, |linear| {
                made(pre.len(), CHUNK, |from, out| {
                    activated(from, out);
                    simd::times(out, &linear[from..]);
                })
            }),
        }
    })??;
    tensor(out, pre.shape())
}

/// Gradients of [`activate`] with respect to `pre` and `linear`.
pub(crate) fn activate_back(
    pre: &Tensor,
    linear: Option<&Tensor>,
    g: &Tensor,
    f: Activation,
    rules: Rules,
) -> Result<(Tensor, Option<Tensor>)> {
    let (d_pre, d_linear) = with_slice(pre, |pre| {
        with_slice(g, |g| match linear {
            None => {
                let d = made(pre.len(), CHUNK, |from, d| {
                    let here = from..from + d.len();
                    pre_slopes(&pre[here.clone()], None, &g[here], d, f, rules);
                });
                Ok((d, None))
            }
            Some(linear) => with_slice(linear, |linear| gated_back(pre, linear, g, f, rules)),
        })
    })???;
    let d_linear = d_linear.map(|d| tensor(d, pre.shape())).transpose()?;
    Ok((tensor(d_pre, pre.shape())?, d_linear))
}

fn gated_back(
    pre: &[f32],
    linear: &[f32],
    g: &[f32],
    f: Activation,
    rules: Rules,
) -> (Vec<f32>, Option<Vec<f32>>) {
    let d_pre = made(pre.len(), CHUNK, |from, d| {
        let here = from..from + d.len();
        pre_slopes(&pre[here.clone()], Some(&linear[here.clone()]), &g[here], d, f, rules);
    });
    let d_linear = made(pre.len(), CHUNK, |from, d| {
        let here = from..from + d.len();
        linear_slopes(&pre[here.clone()], &g[here], d, f, rules);
    });
    (d_pre, Some(d_linear))
}

/// The gradient with respect to some of `pre`, from that of the activation; `linear` are a gated MLP's second values.
fn pre_slopes(pre: &[f32], linear: Option<&[f32]>, g: &[f32], d: &mut [f32], f: Activation, rules: Rules) {
    slopes(pre, d, f, rules);
    match linear {
        None => simd::times(d, g),
        Some(linear) => simd::times_both(d, g, linear, rules.half()),
    }
}

/// The gradient with respect to some of a gated MLP's second values.
fn linear_slopes(pre: &[f32], g: &[f32], d: &mut [f32], f: Activation, rules: Rules) {
    simd::activation(pre, d, f);
    simd::times_share(d, g, rules.half());
}

/// The slope of `f`, or `f(x)/x` under the ratio rule.
fn slopes(x: &[f32], out: &mut [f32], f: Activation, rules: Rules) {
    if rules.ratio_activation { simd::ratio(x, out, f) } else { simd::slope(x, out, f) }
}
