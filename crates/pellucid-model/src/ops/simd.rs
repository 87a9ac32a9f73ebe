//! Activations of the feed-forward part, compiled for each width of registers; the loops that know no model are in
//! `pellucid-kernels`.

use super::Rules;
use super::tiled_back::Wanted;
use crate::spec::Activation;
use pellucid_kernels::kernel::LANES;
use pellucid_kernels::pages::fetch_ahead;
pub(crate) use pellucid_kernels::simd::*;
use pellucid_kernels::wide;

#[inline(always)]
fn sigmoid<const FUSED: bool>(x: f32) -> f32 {
    1.0 / (1.0 + exp::<FUSED>(-x))
}

const TANH_SLOPE: f32 = 0.797_884_6; // √(2/π)
const TANH_CUBE: f32 = 0.044_715;

/// `σ(2z)` with z the tanh approximation's argument: equals `(1 + tanh z) / 2` without its cancellation.
#[inline(always)]
fn gelu_tanh_ratio<const FUSED: bool>(x: f32) -> f32 {
    sigmoid::<FUSED>(2.0 * TANH_SLOPE * x * (1.0 + TANH_CUBE * x * x))
}

fn normal_cdf(x: f32) -> f32 {
    0.5 * libm::erfcf(-x * std::f32::consts::FRAC_1_SQRT_2)
}

#[inline(always)]
fn map(x: &[f32], out: &mut [f32], f: impl Fn(f32) -> f32) {
    for (o, x) in out.iter_mut().zip(x) {
        *o = f(*x);
    }
}

/// `f(x) / x`, at 0 its limit, and `f'(x)`.
#[inline(always)]
fn silu_slopes<const FUSED: bool>(x: f32) -> [f32; 2] {
    let s = sigmoid::<FUSED>(x);
    [s, s * (1.0 + x * (1.0 - s))]
}

#[inline(always)]
fn gelu_tanh_slopes<const FUSED: bool>(x: f32) -> [f32; 2] {
    let s = gelu_tanh_ratio::<FUSED>(x);
    [s, s + x * s * (1.0 - s) * 2.0 * TANH_SLOPE * (1.0 + 3.0 * TANH_CUBE * x * x)]
}

fn gelu_slopes(x: f32) -> [f32; 2] {
    let density = (-0.5 * x * x).exp() * 0.398_942_3;
    let s = normal_cdf(x);
    [s, s + x * density]
}

#[inline(always)]
fn relu_slopes(x: f32) -> [f32; 2] {
    [if x > 0.0 { 1.0 } else { 0.0 }; 2]
}

#[inline(always)]
fn ratio_body<const FUSED: bool>(x: &[f32], out: &mut [f32], f: Activation) {
    match f {
        Activation::Silu => map(x, out, sigmoid::<FUSED>),
        Activation::GeluTanh => map(x, out, gelu_tanh_ratio::<FUSED>),
        Activation::Gelu => map(x, out, normal_cdf),
        Activation::Relu => map(x, out, |x| relu_slopes(x)[0]),
    }
}

#[inline(always)]
fn activation_body<const FUSED: bool>(x: &[f32], out: &mut [f32], f: Activation) {
    ratio_body::<FUSED>(x, out, f);
    for (o, x) in out.iter_mut().zip(x) {
        *o *= x;
    }
}

#[inline(always)]
fn gated_rows(
    pre: &[f32],
    linear: Option<&[f32]>,
    out: &mut [f32],
    stride: usize,
    ratio: impl Fn(f32) -> f32,
) {
    let out = out.chunks_mut(stride).filter_map(|out| out.first_chunk_mut::<LANES>());
    for (i, (out, pre)) in out.zip(pre.as_chunks::<LANES>().0).enumerate() {
        for (out, x) in out.iter_mut().zip(pre) {
            *out = ratio(*x) * x;
        }
        if let Some(linear) = linear {
            out.iter_mut().zip(&linear[i * LANES..]).for_each(|(out, y)| *out *= y);
        }
    }
}

#[inline(always)]
fn gated_body<const FUSED: bool>(
    pre: &[f32],
    linear: Option<&[f32]>,
    out: &mut [f32],
    stride: usize,
    f: Activation,
) {
    match f {
        Activation::Silu => gated_rows(pre, linear, out, stride, sigmoid::<FUSED>),
        Activation::GeluTanh => gated_rows(pre, linear, out, stride, gelu_tanh_ratio::<FUSED>),
        Activation::Gelu => gated_rows(pre, linear, out, stride, normal_cdf),
        Activation::Relu => gated_rows(pre, linear, out, stride, |x| relu_slopes(x)[0]),
    }
}

#[inline(always)]
fn slope_body<const FUSED: bool>(x: &[f32], out: &mut [f32], f: Activation) {
    match f {
        Activation::Silu => map(x, out, |x| silu_slopes::<FUSED>(x)[1]),
        Activation::GeluTanh => map(x, out, |x| gelu_tanh_slopes::<FUSED>(x)[1]),
        Activation::Gelu => map(x, out, |x| gelu_slopes(x)[1]),
        Activation::Relu => map(x, out, |x| relu_slopes(x)[1]),
    }
}

/// Up to 32 neurons of up to 32 rows of what an MLP's forward pass left.
pub(super) struct Neurons<'a> {
    pub(super) pre: &'a [f32],
    /// A gated MLP's second values.
    pub(super) linear: Option<&'a [f32]>,
    /// Numbers from row to row.
    pub(super) stride: usize,
    pub(super) columns: usize,
    pub(super) rows: usize,
    pub(super) wanted: Wanted,
}

/// A square of numbers for each of some gradients, 32 rows of 32 neurons.
pub(super) struct Slopes {
    /// At the activations: given.
    pub(super) g: Square,
    /// Before the activation, and at the second values.
    pub(super) pre: Square,
    pub(super) linear: Square,
}

type Square = [f32; LANES * LANES];

impl Slopes {
    /// Room.
    pub(super) fn new() -> Self {
        let square = [0.0; LANES * LANES];
        Slopes { g: square, pre: square, linear: square }
    }
}

/// Rows whose numbers are asked for ahead.
const AHEAD: usize = 24;

/// A row's numbers at the neurons, filled up with zeros.
#[inline(always)]
fn neurons_row(of: &[f32], row: usize, n: &Neurons<'_>) -> [f32; LANES] {
    let from = &of[row * n.stride..];
    fetch_ahead(&from[..n.columns], AHEAD * n.stride * size_of::<f32>());
    match from.first_chunk() {
        Some(whole) if n.columns == LANES => *whole,
        _ => {
            let mut filled = [0f32; LANES];
            filled[..n.columns].copy_from_slice(&from[..n.columns]);
            filled
        }
    }
}

#[inline(always)]
fn neurons_back_body<const FUSED: bool>(
    n: &Neurons<'_>,
    f: Activation,
    rules: Rules,
    to: &mut Slopes,
    wanted: &mut [f32],
    stride: usize,
) {
    match f {
        Activation::Silu => rows_back(n, silu_slopes::<FUSED>, rules, to, wanted, stride),
        Activation::GeluTanh => rows_back(n, gelu_tanh_slopes::<FUSED>, rules, to, wanted, stride),
        Activation::Gelu => rows_back(n, gelu_slopes, rules, to, wanted, stride),
        Activation::Relu => rows_back(n, relu_slopes, rules, to, wanted, stride),
    }
}

#[inline(always)]
fn rows_back(
    n: &Neurons<'_>,
    slopes: impl Fn(f32) -> [f32; 2],
    rules: Rules,
    to: &mut Slopes,
    wanted: &mut [f32],
    stride: usize,
) {
    let (half, held) = (rules.half(), rules.ratio_activation);
    let rows = to.g.as_chunks::<LANES>().0.iter().zip(to.pre.as_chunks_mut::<LANES>().0);
    for (row, ((g, d_pre), d_linear)) in
        rows.zip(to.linear.as_chunks_mut::<LANES>().0).enumerate().take(n.rows)
    {
        let mut product = [0f32; LANES];
        let pre = neurons_row(n.pre, row, n);
        match n.linear {
            None => {
                for i in 0..LANES {
                    let [ratio, slope] = slopes(pre[i]);
                    d_pre[i] = if held { ratio } else { slope } * g[i];
                    product[i] = ratio * pre[i] * g[i];
                }
            }
            Some(linear) => {
                let linear = neurons_row(linear, row, n);
                for i in 0..LANES {
                    let [ratio, slope] = slopes(pre[i]);
                    d_pre[i] = if held { ratio } else { slope } * (half * g[i] * linear[i]);
                    d_linear[i] = ratio * pre[i] * (half * g[i]);
                    product[i] = ratio * pre[i] * linear[i] * g[i];
                }
            }
        }
        if let Some(to) = wanted.get_mut(row * stride..).and_then(|to| to.first_chunk_mut()) {
            *to = if n.wanted == Wanted::Product { product } else { *g };
        }
    }
}

#[inline(always)]
fn times_both_body<const FUSED: bool>(x: &mut [f32], y: &[f32], z: &[f32], share: f32) {
    x.iter_mut().zip(y).zip(z).for_each(|((x, y), z)| *x *= share * y * z);
}

#[inline(always)]
fn times_share_body<const FUSED: bool>(x: &mut [f32], y: &[f32], share: f32) {
    x.iter_mut().zip(y).for_each(|(x, y)| *x *= share * y);
}

#[inline(always)]
fn dot_centred_body<const FUSED: bool>(a: &[f32], b: &[f32], mean: f32) -> f32 {
    let mut lanes = [0f32; LANES];
    let (a, b) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = a.remainder().iter().zip(b.remainder()).map(|(a, b)| a * (b - mean)).sum();
    for (a, b) in a.zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * (b - mean);
        }
    }
    lanes.iter().sum::<f32>() + tail
}

#[inline(always)]
fn centred_back_body<const FUSED: bool>(u: &mut [f32], x: &[f32], [mean, scale, centre, along]: [f32; 4]) {
    u.iter_mut().zip(x).for_each(|(u, x)| *u = scale * (*u - centre - (x - mean) * along));
}

wide!(
    /// `Σ a · (b − mean)`.
    pub(crate) dot_centred = dot_centred_body(a: &[f32], b: &[f32], mean: f32) -> f32
);
wide!(
    /// `u ← scale · (u − centre − (x − mean) · along)`, one by one: the gradient through a norm.
    pub(crate) centred_back = centred_back_body(u: &mut [f32], x: &[f32], by: [f32; 4])
);
wide!(
    /// `x ← x · (share · y · z)`, one by one.
    pub(crate) times_both = times_both_body(x: &mut [f32], y: &[f32], z: &[f32], share: f32)
);
wide!(
    /// `x ← x · (share · y)`, one by one.
    pub(crate) times_share = times_share_body(x: &mut [f32], y: &[f32], share: f32)
);
wide!(
    /// Gradients before the activation of an MLP, from those at its activations. What else is wanted of these goes to rows of
    /// `stride` numbers, where there are any.
    pub(super) neurons_back = neurons_back_body(
        n: &Neurons<'_>, f: Activation, rules: Rules, to: &mut Slopes, wanted: &mut [f32], stride: usize
    )
);
wide!(
    /// `f(x)` for each element.
    pub(crate) activation = activation_body(x: &[f32], out: &mut [f32], f: Activation)
);
wide!(
    /// `f(pre)`, or `f(pre) · linear`, of rows of 32, to the first 32 of every `stride` numbers.
    pub(super) gated = gated_body(
        pre: &[f32], linear: Option<&[f32]>, out: &mut [f32], stride: usize, f: Activation
    )
);
wide!(
    /// `f(x) / x` for each element, at 0 its limit.
    pub(crate) ratio = ratio_body(x: &[f32], out: &mut [f32], f: Activation)
);
wide!(
    /// `f'(x)` for each element.
    pub(crate) slope = slope_body(x: &[f32], out: &mut [f32], f: Activation)
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slopes_are_those_of_finite_differences() {
        for f in [Activation::Silu, Activation::Gelu, Activation::GeluTanh] {
            for i in -60..60 {
                let x = i as f32 * 0.1 + 0.05;
                let h = 1e-2;
                let (mut up, mut down, mut slope_at) = ([0f32], [0f32], [0f32]);
                activation(&[x + h], &mut up, f);
                activation(&[x - h], &mut down, f);
                slope(&[x], &mut slope_at, f);
                let numeric = (up[0] - down[0]) / (2.0 * h);
                assert!((numeric - slope_at[0]).abs() < 2e-4, "{f:?} at {x}: {numeric} {}", slope_at[0]);
            }
        }
    }
}
