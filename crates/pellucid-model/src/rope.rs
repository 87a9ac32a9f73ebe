//! Rotary positions (Su et al. 2021, arXiv 2104.09864) and the ways in which models stretch them.
//!
//! The two halves of a head's rotated part are paired (coordinate `i` with `i + dim/2`): the layout of
//! Hugging Face checkpoints. GGUF files of llama models hold the interleaved layout and are permuted back
//! when loaded, so that a unit at `q_norm_out` or `z` is the same in both formats.

use std::f64::consts::PI;

/// One rotary table: frequencies and the factor on cosine and sine.
#[derive(Clone, Debug, PartialEq)]
pub struct Rope {
    /// Rotated coordinates of a head; the rest pass through.
    pub dim: usize,
    /// Angle per position for each of the `dim / 2` pairs.
    pub inv_freq: Vec<f32>,
    /// Frequencies to use instead when the text is longer than `.0` tokens (long rope).
    pub long: Option<(usize, Vec<f32>)>,
    /// Factor on cosine and sine (yarn, long rope).
    pub factor: f32,
}

/// How a model stretches rotary positions, as configuration files say it.
#[derive(Clone, Debug, PartialEq)]
pub enum Scaling {
    /// Not at all.
    None,
    /// Positions divided by a factor.
    Linear {
        /// The factor.
        factor: f64,
    },
    /// Llama 3.1: low frequencies divided by the factor, high ones kept, a ramp between.
    Llama3 {
        /// The factor.
        factor: f64,
        /// Wavelengths longer than the original context over this are divided.
        low: f64,
        /// Wavelengths shorter than the original context over this are kept.
        high: f64,
        /// The original context.
        original: f64,
    },
    /// YaRN (Peng et al. 2023, arXiv 2309.00071).
    Yarn {
        /// The factor.
        factor: f64,
        /// Rotations over the original context above which a frequency is kept.
        fast: f64,
        /// Rotations below which it is divided.
        slow: f64,
        /// The original context.
        original: f64,
        /// Factor on cosine and sine; none means `0.1 ln(factor) + 1`.
        attention: Option<f64>,
        /// Whether the ramp's ends are rounded to whole coordinates.
        truncate: bool,
    },
    /// Phi-3: a divisor for each frequency, one list for short texts and one for long.
    Long {
        /// Divisors up to the original context.
        short: Vec<f64>,
        /// Divisors beyond it.
        long: Vec<f64>,
        /// The original context.
        original: f64,
        /// Factor on cosine and sine.
        attention: f64,
    },
    /// A divisor for each frequency, as GGUF files store Llama 3's scaling.
    Divisors(Vec<f64>),
}

impl Rope {
    /// The table for `dim` rotated coordinates with base `theta`.
    pub fn new(dim: usize, theta: f64, scaling: &Scaling) -> Self {
        let plain: Vec<f64> = (0..dim / 2).map(|i| theta.powf(-2.0 * i as f64 / dim as f64)).collect();
        let divided = |by: &[f64]| plain.iter().zip(by).map(|(f, d)| (f / d) as f32).collect::<Vec<f32>>();
        let mut rope = Rope { dim, inv_freq: Vec::new(), long: None, factor: 1.0 };
        rope.inv_freq = match scaling {
            Scaling::None => plain.iter().map(|&f| f as f32).collect(),
            Scaling::Linear { factor } => plain.iter().map(|f| (f / factor) as f32).collect(),
            Scaling::Llama3 { factor, low, high, original } => {
                plain.iter().map(|&f| llama3(f, *factor, *low, *high, *original) as f32).collect()
            }
            Scaling::Yarn { factor, attention, .. } => {
                rope.factor =
                    attention.unwrap_or(if *factor > 1.0 { 0.1 * factor.ln() + 1.0 } else { 1.0 }) as f32;
                yarn(&plain, dim, theta, scaling)
            }
            Scaling::Long { short, long, original, attention } => {
                rope.factor = *attention as f32;
                rope.long = Some((*original as usize, divided(long)));
                divided(short)
            }
            Scaling::Divisors(by) => divided(by),
        };
        rope
    }

    /// Cosines and sines for the given positions, each `(positions, dim / 2)`, for a text that will have
    /// `horizon` tokens in all.
    pub fn table(&self, positions: impl Iterator<Item = usize>, horizon: usize) -> (Vec<f32>, Vec<f32>) {
        let frequencies = match &self.long {
            Some((original, long)) if horizon > *original => long,
            _ => &self.inv_freq,
        };
        let (mut cos, mut sin) = (Vec::new(), Vec::new());
        for position in positions {
            for f in frequencies {
                // f32 angles, as the reference implementations have them
                let angle = position as f32 * f;
                cos.push(angle.cos() * self.factor);
                sin.push(angle.sin() * self.factor);
            }
        }
        (cos, sin)
    }
}

fn llama3(f: f64, factor: f64, low: f64, high: f64, original: f64) -> f64 {
    let wavelength = 2.0 * PI / f;
    if wavelength > original / low {
        f / factor
    } else if wavelength < original / high {
        f
    } else {
        let smooth = (original / wavelength - low) / (high - low);
        (1.0 - smooth) * f / factor + smooth * f
    }
}

fn yarn(plain: &[f64], dim: usize, theta: f64, scaling: &Scaling) -> Vec<f32> {
    let Scaling::Yarn { factor, fast, slow, original, truncate, .. } = scaling else { return Vec::new() };
    // The (fractional) pair that turns `rotations` times over the original context.
    let pair = |rotations: f64| dim as f64 * (original / (rotations * 2.0 * PI)).ln() / (2.0 * theta.ln());
    let (mut low, mut high) = (pair(*fast), pair(*slow));
    if *truncate {
        (low, high) = (low.floor(), high.ceil());
    }
    let (low, mut high) = (low.max(0.0), high.min(dim as f64 - 1.0));
    if low == high {
        high += 0.001;
    }
    let ramp = |i: usize| ((i as f64 - low) / (high - low)).clamp(0.0, 1.0);
    plain.iter().enumerate().map(|(i, f)| (f / factor * ramp(i) + f * (1.0 - ramp(i))) as f32).collect()
}
