//! Activations of the feed-forward part, compiled for each width of registers; the loops that know no model are in
//! `pellucid-kernels`.

use crate::spec::Activation;
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

#[inline(always)]
fn ratio_body<const FUSED: bool>(x: &[f32], out: &mut [f32], f: Activation) {
    match f {
        Activation::Silu => map(x, out, sigmoid::<FUSED>),
        Activation::GeluTanh => map(x, out, gelu_tanh_ratio::<FUSED>),
        Activation::Gelu => map(x, out, normal_cdf),
        Activation::Relu => map(x, out, |x| if x > 0.0 { 1.0 } else { 0.0 }),
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
fn slope_body<const FUSED: bool>(x: &[f32], out: &mut [f32], f: Activation) {
    match f {
        Activation::Silu => map(x, out, |x| {
            let s = sigmoid::<FUSED>(x);
            s * (1.0 + x * (1.0 - s))
        }),
        Activation::GeluTanh => map(x, out, |x| {
            let s = gelu_tanh_ratio::<FUSED>(x);
            s + x * s * (1.0 - s) * 2.0 * TANH_SLOPE * (1.0 + 3.0 * TANH_CUBE * x * x)
        }),
        Activation::Gelu => map(x, out, |x| {
            let density = (-0.5 * x * x).exp() * 0.398_942_3;
            normal_cdf(x) + x * density
        }),
        Activation::Relu => ratio_body::<FUSED>(x, out, f),
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

wide!(
    /// `x ← x · (share · y · z)`, one by one.
    pub(crate) times_both = times_both_body(x: &mut [f32], y: &[f32], z: &[f32], share: f32)
);
wide!(
    /// `x ← x · (share · y)`, one by one.
    pub(crate) times_share = times_share_body(x: &mut [f32], y: &[f32], share: f32)
);
wide!(
    /// `f(x)` for each element.
    pub(crate) activation = activation_body(x: &[f32], out: &mut [f32], f: Activation)
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
