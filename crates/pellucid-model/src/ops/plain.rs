//! The plain definitions of the operations, in tensor primitives that differentiate themselves, and the
//! tests that hold the fast forms equal to them: values, and gradients against automatic differentiation.

use super::attention::{self, Mask, Memory, Scoring};
use super::linear::{Linear, linear, linear_back};
use super::mlp::{activate, activate_back};
use super::norm::{Norm, norm, norm_back};
use super::rotary::{Angles, rotate};
use super::{Precision, Rules, soft_cap, soft_cap_back};
use crate::Result;
use crate::spec::{Activation, NormKind};
use candle_core::{D, DType, Device, Tensor, Var};

fn random(shape: impl Into<candle_core::Shape>) -> Tensor {
    Tensor::randn(0f32, 1f32, shape, &Device::Cpu).unwrap()
}

/// Largest difference relative to the largest value.
fn difference(a: &Tensor, b: &Tensor) -> f32 {
    assert_eq!(a.dims(), b.dims());
    let scale = b.abs().unwrap().flatten_all().unwrap().max(0).unwrap().to_scalar::<f32>().unwrap();
    let worst = (a - b).unwrap().abs().unwrap().flatten_all().unwrap().max(0).unwrap();
    worst.to_scalar::<f32>().unwrap() / scale.max(1e-6)
}

#[track_caller]
fn same(fast: &Tensor, plain: &Tensor) {
    near(fast, plain, 2e-5);
}

#[track_caller]
fn near(fast: &Tensor, plain: &Tensor, tolerance: f32) {
    let d = difference(fast, plain);
    assert!(d < tolerance, "relative difference {d}\nfast  {fast}\nplain {plain}");
}

/// ∂ Σ g·f(x) / ∂x by candle's own differentiation of a plain form.
fn gradient(x: &Tensor, g: &Tensor, f: impl Fn(&Tensor) -> candle_core::Result<Tensor>) -> Tensor {
    let x = Var::from_tensor(x).unwrap();
    let loss = (f(x.as_tensor()).unwrap() * g).unwrap().sum_all().unwrap();
    loss.backward().unwrap().get(x.as_tensor()).unwrap().clone()
}

fn plain_norm(x: &Tensor, n: &Norm) -> candle_core::Result<Tensor> {
    let w = Tensor::new(n.weight.as_slice(), &Device::Cpu)?;
    let centred = match n.kind {
        NormKind::Rms => x.clone(),
        NormKind::Layer => x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?,
    };
    let scale = (centred.sqr()?.mean_keepdim(D::Minus1)? + f64::from(n.eps))?.sqrt()?;
    let y = centred.broadcast_div(&scale)?.broadcast_mul(&w)?;
    match &n.bias {
        Some(b) => y.broadcast_add(&Tensor::new(b.as_slice(), &Device::Cpu)?),
        None => Ok(y),
    }
}

fn norms() -> [Norm; 2] {
    let weight: Vec<f32> = random(24).to_vec1().unwrap();
    let bias = Some(random(24).to_vec1().unwrap());
    [
        Norm { kind: NormKind::Rms, weight: weight.clone(), bias: None, eps: 1e-5 },
        Norm { kind: NormKind::Layer, weight, bias, eps: 1e-5 },
    ]
}

#[test]
fn norms_equal_their_definition_and_its_gradient() -> Result<()> {
    for n in norms() {
        let (x, g) = (random((7, 24)), random((7, 24)));
        same(&norm(&x, &n)?, &plain_norm(&x, &n)?);
        let exact = norm_back(&x, &n, &g, Rules::EXACT)?;
        same(&exact, &gradient(&x, &g, |x| plain_norm(x, &n)));
    }
    Ok(())
}

#[test]
fn held_norm_scale_makes_the_norm_linear() -> Result<()> {
    for n in norms() {
        // with the scale held, norm(x) − bias is linear in x: it equals its own differential at x
        let (x, g) = (random((5, 24)), random((5, 24)));
        let back = norm_back(&x, &n, &g, Rules::RELP)?;
        let by_gradient = (back * &x)?.sum_all()?.to_scalar::<f32>()?;
        let bias = n.bias.clone().unwrap_or_else(|| vec![0.0; 24]);
        let y = norm(&x, &n)?.broadcast_sub(&Tensor::new(bias, &Device::Cpu)?)?;
        let by_value = (y * &g)?.sum_all()?.to_scalar::<f32>()?;
        assert!((by_gradient - by_value).abs() < 1e-3, "{by_gradient} {by_value}");
    }
    Ok(())
}

fn plain_activation(x: &Tensor, f: Activation) -> candle_core::Result<Tensor> {
    match f {
        Activation::Silu => x.silu(),
        Activation::Gelu => x.gelu_erf(),
        Activation::GeluTanh => x.gelu(),
        Activation::Relu => x.relu(),
    }
}

#[test]
fn activations_equal_their_definition_and_its_gradient() -> Result<()> {
    for f in [Activation::Silu, Activation::Gelu, Activation::GeluTanh, Activation::Relu] {
        let (pre, lin, g) = (random((6, 40)), random((6, 40)), random((6, 40)));
        same(&activate(&pre, None, f)?, &plain_activation(&pre, f)?);
        let gated = |p: &Tensor, l: &Tensor| plain_activation(p, f)? * l;
        same(&activate(&pre, Some(&lin), f)?, &gated(&pre, &lin)?);
        let (d_pre, none) = activate_back(&pre, None, &g, f, Rules::EXACT)?;
        assert!(none.is_none());
        same(&d_pre, &gradient(&pre, &g, |x| plain_activation(x, f)));
        let (d_pre, d_lin) = activate_back(&pre, Some(&lin), &g, f, Rules::EXACT)?;
        same(&d_pre, &gradient(&pre, &g, |x| gated(x, &lin)));
        same(&d_lin.unwrap(), &gradient(&lin, &g, |x| gated(&pre, x)));
    }
    Ok(())
}

#[test]
fn relp_shares_a_gated_product_without_loss() -> Result<()> {
    // Σ pre·∂pre + Σ linear·∂linear == Σ out·g: what goes in comes out
    for f in [Activation::Silu, Activation::GeluTanh, Activation::Gelu] {
        let (pre, lin, g) = (random((6, 40)), random((6, 40)), random((6, 40)));
        let (d_pre, d_lin) = activate_back(&pre, Some(&lin), &g, f, Rules::RELP)?;
        let inner = |a: &Tensor, b: &Tensor| (a * b)?.sum_all()?.to_scalar::<f32>();
        let shared = inner(&pre, &d_pre)? + inner(&lin, &d_lin.unwrap())?;
        let whole = inner(&activate(&pre, Some(&lin), f)?, &g)?;
        assert!((shared - whole).abs() < 1e-3, "{shared} {whole}");
    }
    Ok(())
}

#[test]
fn linear_equals_its_definition_at_every_number_of_rows_and_storage() -> Result<()> {
    let bias: Vec<f32> = random(70).to_vec1()?;
    // 128 inputs are what is widened at a time
    let cases = [48, 128, 300]
        .into_iter()
        .flat_map(|inner| [DType::F32, DType::BF16, DType::F16].map(|d| (inner, d)));
    for (inner, dtype) in cases {
        let weight = random((70, inner));
        let stored = weight.to_dtype(dtype)?;
        let layer = Linear::new(&stored, Some(bias.clone()))?;
        let w = stored.to_dtype(DType::F32)?;
        for rows in [1, 2, 5, 12, 33, 200] {
            let x = random((rows, inner));
            let plain = x.matmul(&w.t()?)?.broadcast_add(&Tensor::new(bias.as_slice(), &Device::Cpu)?)?;
            same(&linear(&x, &layer)?, &plain);
            let g = random((rows, 70));
            same(&linear_back(&g, &layer)?, &gradient(&x, &g, |x| x.matmul(&w.t()?)));
        }
    }
    Ok(())
}

/// Some angles of so many tokens.
fn angles(tokens: usize, dim: usize) -> Angles {
    let angle: Vec<f32> = (0..tokens * dim / 2).map(|i| i as f32 * 0.3).collect();
    let (cos, sin) = (angle.iter().map(|a| a.cos()).collect(), angle.iter().map(|a| a.sin()).collect());
    Angles { cos, sin, dim }
}

#[test]
fn rotation_turns_back() -> Result<()> {
    let angles = angles(5, 8);
    let x = random((5, 3, 12));
    same(&rotate(&rotate(&x, &angles, 0, false)?, &angles, 0, true)?, &x);
    // an inner product with the rotated equals that of the other turned back: the backward is the transpose
    let g = random((5, 3, 12));
    let a = (rotate(&x, &angles, 0, false)? * &g)?.sum_all()?.to_scalar::<f32>()?;
    let b = (&x * rotate(&g, &angles, 0, true)?)?.sum_all()?.to_scalar::<f32>()?;
    assert!((a - b).abs() < 1e-3);
    Ok(())
}

/// Attention as it is defined, heads by explicit repetition; `(queries, heads, dim)`.
fn plain_attention(
    q: &Tensor,
    k: &Tensor,
    v: &Tensor,
    mask: &Tensor,
    cap: Option<f64>,
) -> candle_core::Result<Tensor> {
    let group = q.dim(1)? / k.dim(1)?;
    let repeat = |x: &Tensor| -> candle_core::Result<Tensor> {
        let (t, h, d) = x.dims3()?;
        x.unsqueeze(2)?.expand((t, h, group, d))?.reshape((t, h * group, d))?.transpose(0, 1)?.contiguous()
    };
    let scores =
        (q.transpose(0, 1)?.contiguous()?.matmul(&repeat(k)?.transpose(1, 2)?.contiguous()?)? * 0.3)?;
    let scores = match cap {
        Some(cap) => ((scores / cap)?.tanh()? * cap)?,
        None => scores,
    };
    let scores = scores.broadcast_add(mask)?;
    let e = scores.broadcast_sub(&scores.max_keepdim(2)?.detach())?.exp()?;
    let p = e.broadcast_div(&e.sum_keepdim(2)?)?;
    p.matmul(&repeat(v)?)?.transpose(0, 1)?.contiguous()
}

#[test]
fn attention_equals_its_definition_and_its_gradient() -> Result<()> {
    for (window, cap) in [(None, None), (Some(3), None), (None, Some(2.0)), (Some(2), Some(1.5))] {
        let (start, queries, keys) = (2, 5, 7);
        let (q, k, v) = (random((queries, 6, 8)), random((keys, 2, 8)), random((keys, 2, 8)));
        let g = random((queries, 6, 8));
        let bias = plain_mask(start, queries, keys, window)?;
        let plain = |q: &Tensor, k: &Tensor, v: &Tensor| plain_attention(q, k, v, &bias, cap.map(f64::from));
        let (scoring, mask) = (exactly(cap), Mask { start, window });
        let scores = attention::scores(&q, &k, scoring, mask)?;
        let probs = attention::probabilities(&scores, mask)?;
        same(&attention::mix(&probs, &v, mask, Precision::Exact)?, &plain(&q, &k, &v)?);
        let (d_probs, d_v) = attention::mix_back(&probs, &v, &g, true)?;
        let d_scores = attention::probabilities_back(&probs, &d_probs.unwrap())?;
        let (d_q, d_k) = attention::scores_back(&q, &k, Some(&scores), &d_scores, scoring)?;
        same(&d_q, &gradient(&q, &g, |x| plain(x, &k, &v)));
        same(&d_k, &gradient(&k, &g, |x| plain(&q, x, &v)));
        same(&d_v, &gradient(&v, &g, |x| plain(&q, &k, x)));
    }
    Ok(())
}

/// Head sizes that do and do not fill tiles, earlier keys, windows.
#[test]
fn attention_back_on_tiles_is_near_its_definition() -> Result<()> {
    for (start, queries, dim, window) in
        [(0, 16, 64, None), (0, 75, 64, None), (5, 40, 40, None), (0, 70, 32, Some(33))]
    {
        let keys = start + queries;
        let (q, k, v) = (random((queries, 6, dim)), random((keys, 2, dim)), random((keys, 2, dim)));
        let (g, mask) = (random((queries, 6, dim)), Mask { start, window });
        let bias = plain_mask(start, queries, keys, window)?;
        let plain = |q: &Tensor, k: &Tensor, v: &Tensor| plain_attention(q, k, v, &bias, None);
        let scoring = Scoring { precision: Precision::Fast, ..exactly(None) };
        let mut rooms = super::Rooms::default();
        let mut found = |angles, through| {
            attention::attend_back([&q, &k, &v, &g], mask, scoring, angles, through, &mut rooms)
        };
        let Some((Some([d_q, d_k]), d_v)) = found(None, true)? else { return Ok(()) };
        near(&d_q, &gradient(&q, &g, |x| plain(x, &k, &v)), 0.03);
        near(&d_k, &gradient(&k, &g, |x| plain(&q, x, &v)), 0.03);
        near(&d_v, &gradient(&v, &g, |x| plain(&q, &k, x)), 0.03);
        // in rooms that are used already, and with the rotation undone
        let angles = angles(3 + keys, dim / 2);
        let [turned_q, turned_k] = found(Some((&angles, 3)), true)?.unwrap().0.unwrap();
        same(&turned_q, &rotate(&d_q, &angles, 3, true)?);
        same(&turned_k, &rotate(&d_k, &angles, 3, true)?);
        let held = found(None, false)?.unwrap();
        assert!(held.0.is_none());
        near(&held.1, &d_v, 1e-6);
    }
    Ok(())
}

fn plain_mask(start: usize, queries: usize, keys: usize, window: Option<usize>) -> Result<Tensor> {
    let hidden = |i: usize, j: usize| j > start + i || window.is_some_and(|w| start + i - j >= w);
    let bias: Vec<f32> =
        (0..queries).flat_map(|i| (0..keys).map(move |j| if hidden(i, j) { -1e9 } else { 0.0 })).collect();
    Ok(Tensor::from_vec(bias, (1, queries, keys), &Device::Cpu)?)
}

fn exactly(cap: Option<f32>) -> Scoring {
    Scoring { scale: 0.3, cap, precision: Precision::Exact }
}

#[test]
fn attention_in_one_go_has_the_bits_of_its_steps() -> Result<()> {
    // rows around the block's length, with and without earlier keys, together and alone
    let rows = [(0, 1), (0, 16), (0, 63), (0, 64), (0, 65), (7, 1), (3, 130), (0, 300)];
    let kinds = [(None, None), (Some(40), None), (None, Some(2.0)), (Some(90), Some(1.5))];
    for ((window, cap), precision) in
        kinds.into_iter().flat_map(|k| [(k, Precision::Exact), (k, Precision::Fast)])
    {
        let scoring = Scoring { precision, ..exactly(cap) };
        let (mut queries, mut memories, mut stepped) = (Vec::new(), Vec::new(), Vec::new());
        for (start, count) in rows {
            let (q, k) = (random((count, 6, 40)), random((start + count, 2, 40)));
            let (v, mask) = (random((start + count, 2, 40)), Mask { start, window });
            let probs = attention::probabilities(&attention::scores(&q, &k, scoring, mask)?, mask)?;
            stepped.push(attention::mix(&probs, &v, mask, precision)?);
            let bias = plain_mask(start, count, start + count, window)?;
            let plain = plain_attention(&q, &k, &v, &bias, cap.map(f64::from))?;
            let found = &stepped[stepped.len() - 1];
            match precision {
                Precision::Exact => same(found, &plain),
                Precision::Fast => near(found, &plain, 0.02),
            }
            queries.push(q);
            memories.push(Memory { k, v, mask });
        }
        let counts = rows.map(|r| r.1);
        let together = attention::attend(&Tensor::cat(&queries, 0)?, &counts, &memories, scoring)?;
        let bits = |x: &Tensor| -> Result<Vec<f32>> { Ok(x.flatten_all()?.to_vec1()?) };
        assert!(bits(&together)? == bits(&Tensor::cat(&stepped, 0)?)?, "{window:?} {cap:?} {precision:?}");
    }
    Ok(())
}

#[test]
fn what_a_tap_puts_on_a_masked_key_is_mixed() -> Result<()> {
    let (probs, v) = (random((4, 70, 70)), random((70, 2, 8)));
    let bias = Tensor::zeros((4, 70, 70), DType::F32, &Device::Cpu)?;
    let shared = v.transpose(0, 1)?.contiguous()?;
    let shared = Tensor::stack(&[shared.get(0)?, shared.get(0)?, shared.get(1)?, shared.get(1)?], 0)?;
    let plain = (&probs + bias)?.matmul(&shared)?.transpose(0, 1)?.contiguous()?;
    let mask = Mask { start: 0, window: None };
    same(&attention::mix(&probs, &v, mask, Precision::Exact)?, &plain);
    Ok(())
}

#[test]
fn soft_cap_equals_its_definition_and_its_gradient() -> Result<()> {
    let (x, g) = ((random((4, 9)) * 3.0)?, random((4, 9)));
    let plain = |x: &Tensor| (x / 2.0)?.tanh()? * 2.0;
    let y = soft_cap(&x, 2.0)?;
    same(&y, &plain(&x)?);
    same(&soft_cap_back(&x, &y, &g, 2.0, Rules::EXACT)?, &gradient(&x, &g, plain));
    Ok(())
}
