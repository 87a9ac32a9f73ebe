//! Balanced accuracy for yes-or-no judgements (detection, fuzzing): the mean of the share of yeses found and the
//! share of noes found, so that always saying no is worth one half whatever the mixture.

use super::score::{Bootstrap, middle};
use std::collections::BTreeMap;

/// One judgement on one text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// Which example it was on; the interval draws examples, so two judgements on one stay together.
    pub example: usize,
    /// What is so.
    pub truth: bool,
    /// What was said.
    pub answer: bool,
}

/// A balanced accuracy.
#[derive(Clone, Copy, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Balanced {
    /// From 0 to 1; one half is chance.
    pub value: f64,
    /// Lower end of the 95% interval.
    pub low: f64,
    /// Upper end.
    pub high: f64,
    /// Judgements where the truth was yes.
    pub positives: usize,
    /// Judgements where it was no.
    pub negatives: usize,
    /// Whether one side was missing, so that the value is one half by convention.
    pub one_sided: bool,
}

#[derive(Clone, Copy, Default)]
struct Counts {
    yes: f64,
    yes_found: f64,
    no: f64,
    no_found: f64,
}

impl Counts {
    fn add(self, o: Counts) -> Counts {
        Counts {
            yes: self.yes + o.yes,
            yes_found: self.yes_found + o.yes_found,
            no: self.no + o.no,
            no_found: self.no_found + o.no_found,
        }
    }

    fn value(self) -> Option<f64> {
        (self.yes > 0.0 && self.no > 0.0).then(|| (self.yes_found / self.yes + self.no_found / self.no) / 2.0)
    }
}

/// Balanced accuracy with a bootstrap interval over examples (resamples that miss one side are left out).
pub fn balanced_accuracy(judgements: &[Judgement], bootstrap: &Bootstrap) -> Balanced {
    let mut by_example: BTreeMap<usize, Counts> = BTreeMap::new();
    for j in judgements {
        let hit = f64::from(u8::from(j.truth == j.answer));
        let one = if j.truth {
            Counts { yes: 1.0, yes_found: hit, ..Counts::default() }
        } else {
            Counts { no: 1.0, no_found: hit, ..Counts::default() }
        };
        let entry = by_example.entry(j.example).or_default();
        *entry = entry.add(one);
    }
    let parts: Vec<Counts> = by_example.into_values().collect();
    let total = parts.iter().fold(Counts::default(), |a, &b| a.add(b));
    let value = total.value();
    let mut seed = bootstrap.seed.for_purpose("bootstrap of an accuracy");
    let mut draws: Vec<f64> = (0..bootstrap.resamples)
        .filter_map(|_| {
            let draw = |s: Counts, _| s.add(parts[seed.below(parts.len())]);
            (0..parts.len()).fold(Counts::default(), draw).value()
        })
        .collect();
    let known = value.unwrap_or(0.5);
    let (low, high) = if draws.is_empty() { (known, known) } else { middle(&mut draws) };
    Balanced {
        value: known,
        low,
        high,
        positives: total.yes as usize,
        negatives: total.no as usize,
        one_sided: value.is_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pellucid_core::Seed;

    const DRAW: Bootstrap = Bootstrap { seed: Seed(3), resamples: 200 };

    fn judged(truth: bool, answer: bool, from: usize, n: usize) -> Vec<Judgement> {
        (from..from + n).map(|example| Judgement { example, truth, answer }).collect()
    }

    #[test]
    fn always_saying_no_is_worth_one_half() {
        let all = [judged(true, false, 0, 5), judged(false, false, 5, 45)].concat();
        let got = balanced_accuracy(&all, &DRAW);
        assert_eq!((got.value, got.positives, got.negatives), (0.5, 5, 45));
    }

    #[test]
    fn right_is_one_wrong_is_zero_and_one_side_is_flagged() {
        let right = [judged(true, true, 0, 4), judged(false, false, 4, 4)].concat();
        let got = balanced_accuracy(&right, &DRAW);
        assert_eq!((got.value, got.low, got.high), (1.0, 1.0, 1.0));
        let wrong = [judged(true, false, 0, 4), judged(false, true, 4, 4)].concat();
        assert_eq!(balanced_accuracy(&wrong, &DRAW).value, 0.0);
        assert!(balanced_accuracy(&judged(true, true, 0, 4), &DRAW).one_sided);
        assert!(balanced_accuracy(&[], &DRAW).one_sided);
    }
}
