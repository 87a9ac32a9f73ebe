//! Choosing the next token from logits.

use crate::{Error, Result};
use pellucid_core::Seed;

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
        let mut logits = logits.to_vec();
        if self.repetition != 1.0 {
            let mut seen: Vec<u32> = text.to_vec();
            seen.sort_unstable();
            seen.dedup();
            for token in seen {
                if let Some(l) = logits.get_mut(token as usize) {
                    *l = if *l > 0.0 { *l / self.repetition } else { *l * self.repetition };
                }
            }
        }
        let mut order: Vec<(u32, f32)> = (0u32..).zip(logits).collect();
        // ties go to the lower id, so a draw never depends on the sort
        order.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
        if self.temperature == 0.0 {
            return order.first().map_or(0, |t| t.0);
        }
        order.truncate(self.top_k.unwrap_or(order.len()).max(1));
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
        order[drawn.unwrap_or(weights.len().saturating_sub(1))].0
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

/// `log softmax` of one row of logits, in f64 where sums are long.
pub fn log_softmax(logits: &[f32]) -> Vec<f32> {
    let max = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let total: f64 = logits.iter().map(|l| f64::from(l - max).exp()).sum();
    let log_total = total.ln();
    logits.iter().map(|l| (f64::from(l - max) - log_total) as f32).collect()
}

/// The `k` largest values with their indices, largest first, ties to the lower index.
pub fn top_k(values: &[f32], k: usize) -> Vec<(usize, f32)> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    let by_value = |a: &usize, b: &usize| values[*b].total_cmp(&values[*a]).then(a.cmp(b));
    if k < order.len() {
        order.select_nth_unstable_by(k, by_value);
        order.truncate(k);
    }
    order.sort_by(by_value);
    order.into_iter().map(|i| (i, values[i])).collect()
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
    }
}
