//! Choosing the next token from logits.

use crate::ops::{sheet, simd};
use crate::{Error, Result};
use pellucid_core::Seed;
use std::borrow::Cow;

/// How the next token is drawn. The steps are taken in the order of the fields, as `transformers` does.
#[derive(Clone, Debug, PartialEq)]
pub struct Sampling {
    /// Logits of tokens already in the text are divided by this if positive, multiplied if negative (Keskar
    /// et al. 2019); 1 does nothing.
    pub repetition: f32,
    /// Logits are divided by this; 0 always takes the likeliest token.
    pub temperature: f32,
    /// Only the k likeliest tokens.
    pub top_k: Option<usize>,
    /// Only the likeliest tokens that together reach this probability (Holtzman et al. 2020).
    pub top_p: Option<f32>,
    /// Only tokens at least this likely relative to the likeliest (Nguyen et al. 2024).
    pub min_p: Option<f32>,
    /// Makes the draws repeatable.
    pub seed: u64,
}

impl Sampling {
    /// Always the likeliest token.
    pub const GREEDY: Sampling =
        Sampling { repetition: 1.0, temperature: 0.0, top_k: None, top_p: None, min_p: None, seed: 0 };

    /// Refuses values that mean nothing.
    pub(crate) fn check(&self) -> Result<()> {
        let bad = |what: &str, found: f32, expected: &str| {
            Err(Error::Request(format!("{what} is {found}, expected {expected}")))
        };
        if !(self.temperature.is_finite() && self.temperature >= 0.0) {
            return bad("temperature", self.temperature, "0 or more");
        }
        if !(self.repetition.is_finite() && self.repetition > 0.0) {
            return bad("repetition penalty", self.repetition, "more than 0");
        }
        for (what, value) in [("top-p", self.top_p), ("min-p", self.min_p)] {
            if let Some(p) = value.filter(|p| !(0.0..=1.0).contains(p)) {
                return bad(what, p, "0 to 1");
            }
        }
        if self.top_k == Some(0) {
            return bad("top-k", 0.0, "1 or more");
        }
        Ok(())
    }

    /// Draws a token; `text` is what stands before it.
    pub(crate) fn draw(&self, logits: &[f32], text: &[u32], seed: &mut Seed) -> u32 {
        let mut logits = Cow::Borrowed(logits);
        if self.repetition != 1.0 {
            let logits = logits.to_mut();
            let mut seen: Vec<u32> = text.to_vec();
            seen.sort_unstable();
            seen.dedup();
            for token in seen {
                if let Some(l) = logits.get_mut(token as usize) {
                    *l = if *l > 0.0 { *l / self.repetition } else { *l * self.repetition };
                }
            }
        }
        let wanted = if self.temperature == 0.0 { 1 } else { self.top_k.unwrap_or(logits.len()).max(1) };
        let order = top_k(&logits, wanted);
        if self.temperature == 0.0 {
            return order.first().map_or(0, |t| t.0 as u32);
        }
        let max = order.first().map_or(0.0, |t| t.1);
        let mut weights: Vec<f64> =
            order.iter().map(|t| f64::from((t.1 - max) / self.temperature).exp()).collect();
        self.keep_likely(&mut weights);
        let total: f64 = weights.iter().sum();
        let mut left = seed.uniform() * total;
        let drawn = weights.iter().position(|w| {
            left -= w;
            left < 0.0
        });
        order[drawn.unwrap_or(weights.len().saturating_sub(1))].0 as u32
    }

    /// Cuts descending weights by top-p and then min-p; the first always stays.
    fn keep_likely(&self, weights: &mut Vec<f64>) {
        if let Some(p) = self.top_p {
            let total: f64 = weights.iter().sum();
            let mut reached = 0.0;
            let keep = weights.iter().take_while(|w| {
                let wanted = reached < f64::from(p) * total;
                reached += **w;
                wanted
            });
            let keep = keep.count().max(1);
            weights.truncate(keep);
        }
        if let Some(p) = self.min_p {
            let least = weights.first().copied().unwrap_or(0.0) * f64::from(p);
            let keep = weights.iter().take_while(|w| **w >= least).count().max(1);
            weights.truncate(keep);
        }
    }
}

/// `log softmax` of one row of logits.
pub fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let mass = Mass::of(logits);
    logits.iter().map(|logit| mass.log_prob(*logit)).collect()
}

/// KL divergence in nats of two rows of log-probabilities: Σ p (ln p − ln q), summed in f64.
pub fn divergence(p: &[f32], q: &[f32]) -> f64 {
    let term = |(p, q): (&f32, &f32)| {
        let (p, q) = (f64::from(*p), f64::from(*q));
        p.exp() * (p - q)
    };
    p.iter().zip(q).map(term).sum()
}

/// What the softmax of a row of logits comes to, in one pass; sums are taken in f64.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Mass {
    /// ln Σ e^logit: a logit less this is a log-probability.
    pub log_total: f64,
    /// Entropy in nats.
    pub entropy: f64,
}

impl Mass {
    /// Of one row, which all threads share out: in parts of one length, so that sums do not depend on how many there are.
    pub fn of(logits: &[f32]) -> Self {
        const PART: usize = 1 << 13;
        let mut parts: Vec<(&[f32], f32, [f64; 2])> =
            logits.chunks(PART).map(|part| (part, f32::NEG_INFINITY, [0.0; 2])).collect();
        sheet::one_by_one(&mut parts, |_, (part, largest, _)| *largest = simd::largest(part));
        let max = parts.iter().map(|part| part.1).fold(f32::NEG_INFINITY, f32::max);
        sheet::one_by_one(&mut parts, |_, (part, _, mass)| *mass = simd::mass(part, max));
        let sum = |which: usize| parts.iter().map(|(_, _, mass)| mass[which]).sum::<f64>();
        let [total, weighted] = [0, 1].map(sum);
        let log = total.ln();
        Mass { log_total: f64::from(max) + log, entropy: log - weighted / total }
    }

    /// The log-probability that a logit of this row stands for.
    pub fn log_prob(&self, logit: f32) -> f32 {
        (f64::from(logit) - self.log_total) as f32
    }
}

/// Σ weight · value, in f64.
pub fn expectation(weights: &[f32], values: &[f32]) -> f64 {
    simd::dot_wide(weights, values)
}

/// Up to this many, the largest values are kept while one pass runs; beyond, all are put in order.
const FEW: usize = 64;

/// Values that are looked at together.
const STRETCH: usize = 64;

/// An integer that is larger the larger a number is, in the order of [`f32::total_cmp`].
fn in_order(value: f32) -> i32 {
    let bits = value.to_bits().cast_signed();
    bits ^ ((bits >> 31) & i32::MAX)
}

/// The `k` largest values with their indices, largest first, ties to the lower index.
pub fn top_k(values: &[f32], k: usize) -> Vec<(usize, f32)> {
    let before = |a: &(usize, f32), b: &(usize, f32)| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0));
    if k <= FEW {
        let mut best: Vec<(usize, f32)> = Vec::with_capacity(k + 1);
        for (stretch, values) in values.chunks(STRETCH).enumerate() {
            // nearly all stretches have nothing to give, which is seen of all of it at once
            let last = best.last().filter(|_| best.len() == k).map(|last| in_order(last.1));
            let any =
                values.iter().fold(false, |any, value| any | last.is_none_or(|last| in_order(*value) > last));
            if !any || k == 0 {
                continue;
            }
            for (i, &value) in values.iter().enumerate() {
                // equal values keep their order: the earlier index stays in front
                let at = best.partition_point(|held| held.1.total_cmp(&value).is_ge());
                best.insert(at, (stretch * STRETCH + i, value));
                best.truncate(k);
            }
        }
        return best;
    }
    let mut order: Vec<(usize, f32)> = values.iter().copied().enumerate().collect();
    if k < order.len() {
        order.select_nth_unstable_by(k, before);
        order.truncate(k);
    }
    order.sort_unstable_by(before);
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGITS: [f32; 5] = [1.0, 3.0, 2.0, 3.0, -1.0];

    fn counts(sampling: &Sampling, text: &[u32]) -> [usize; 5] {
        let mut seed = Seed(7);
        let mut counts = [0; 5];
        for _ in 0..4000 {
            counts[sampling.draw(&LOGITS, text, &mut seed) as usize] += 1;
        }
        counts
    }

    #[test]
    fn greedy_takes_the_first_of_the_likeliest() {
        assert_eq!(Sampling::GREEDY.draw(&LOGITS, &[], &mut Seed(0)), 1);
        let repeated = Sampling { repetition: 2.0, ..Sampling::GREEDY };
        assert_eq!(repeated.draw(&LOGITS, &[1], &mut Seed(0)), 3);
    }

    #[test]
    fn draws_follow_the_probabilities() {
        let plain = Sampling { temperature: 1.0, ..Sampling::GREEDY };
        let total: f32 = LOGITS.iter().map(|l| l.exp()).sum();
        for (count, logit) in counts(&plain, &[]).into_iter().zip(LOGITS) {
            let p = logit.exp() / total;
            assert!((count as f32 / 4000.0 - p).abs() < 0.03, "{count} {p}");
        }
    }

    #[test]
    fn cuts_keep_what_they_say() {
        let base = Sampling { temperature: 1.0, ..Sampling::GREEDY };
        assert_eq!(counts(&Sampling { top_k: Some(2), ..base.clone() }, &[])[2], 0);
        // the two likeliest have 0.40 each
        let nucleus = counts(&Sampling { top_p: Some(0.5), ..base.clone() }, &[]);
        assert!(nucleus[1] > 0 && nucleus[3] > 0 && nucleus[2] == 0);
        let min = counts(&Sampling { min_p: Some(0.3), ..base }, &[]);
        assert!(min[2] > 0 && min[0] == 0);
    }

    #[test]
    fn log_softmax_sums_to_one_and_top_k_is_sorted() {
        let p: f32 = log_softmax(&LOGITS).iter().map(|l| l.exp()).sum();
        assert!((p - 1.0).abs() < 1e-6);
        assert_eq!(top_k(&LOGITS, 3), vec![(1, 3.0), (3, 3.0), (2, 2.0)]);
        assert_eq!(top_k(&LOGITS, 9).len(), 5);
        assert!(top_k(&LOGITS, 0).is_empty());
        // both ways of finding the largest agree, ties and all
        let many: Vec<f32> = (0..500).map(|i| ((i * 37) % 101) as f32 - 50.0).collect();
        assert_eq!(top_k(&many, FEW), top_k(&many, 500)[..FEW]);
    }

    #[test]
    fn the_mass_of_a_row_is_that_of_its_definition() {
        let logits: Vec<f32> = (0..1000).map(|i| (i as f32 * 0.37).sin() * 20.0).collect();
        let exact: f64 = logits.iter().map(|l| f64::from(*l).exp()).sum();
        let p: Vec<f64> = logits.iter().map(|l| f64::from(*l).exp() / exact).collect();
        let entropy: f64 = p.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
        let mass = Mass::of(&logits);
        assert!((mass.log_total - exact.ln()).abs() < 1e-7, "{mass:?} {}", exact.ln());
        assert!((mass.entropy - entropy).abs() < 1e-6, "{mass:?} {entropy}");
        let values: Vec<f32> = p.iter().map(|p| *p as f32).collect();
        let want: f64 = values.iter().zip(&logits).map(|(p, l)| f64::from(*p) * f64::from(*l)).sum();
        assert!((expectation(&values, &logits) - want).abs() < 1e-12);
    }
}
