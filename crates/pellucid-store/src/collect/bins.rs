//! Logarithmic bins: how often a unit had which size, in few counters that merge by addition.
//!
//! A bin is an eighth of an octave of the floating-point format itself: the exponent and the first three bits
//! of the mantissa, so that finding it takes a shift and no logarithm. Bins are as wide as an eighth of their
//! octave's lower end, 12.5 percent of a size at the octave's foot and 6.7 percent at its head. Sizes below
//! 2⁻²⁰ are counted in the lowest bin, sizes from 2¹⁶ in the highest; an exact zero is in none.
//!
//! The quantile of a sketch lies in the bin of the true one, which the empirical quantile's definition puts at a
//! seen value. It is interpolated by rank, so that the usual error is far below half a bin (6.25 percent at
//! most, 4.5 on average over an octave) and the worst, where all of a bin's values lie at one end of it, below
//! a bin (12.5 percent). In the two outermost bins, which are open, there is no bound.

use crate::harvest::Sketch;
pub use pellucid_kernels::tally::{BINS, HIGHEST, LOWEST, PER_OCTAVE};
pub(super) use pellucid_kernels::tally::{BOTH, SIDE};
use pellucid_kernels::tally::{FOOT, SHIFT};

/// The bin of a size, which is finite and above zero. The sign is not looked at.
pub fn bin(size: f32) -> u16 {
    let octave = (size.to_bits() & 0x7fff_ffff) >> SHIFT;
    (octave as i32 - FOOT).clamp(0, BINS as i32 - 1) as u16
}

/// The lower end of a bin; of `BINS`, the upper end of the last.
pub fn edge(bin: u16) -> f32 {
    let bin = i32::from(bin).min(BINS as i32);
    f32::from_bits(((bin + FOOT) as u32) << SHIFT)
}

/// The size that a share `1 − q` of all `count` tokens exceeds on this side of zero. 0 where fewer tokens than
/// that share are on this side at all. Where `1 − q` is less than one token, the answer lies in the highest
/// bin that was reached. None if nothing was counted or `q` is no share.
pub fn quantile(sketch: &Sketch, count: u64, q: f64) -> Option<f32> {
    if count == 0 || !(0.0..=1.0).contains(&q) {
        return None;
    }
    let mut beyond = (1.0 - q) * count as f64;
    for &(bin, here) in sketch.bins.iter().rev() {
        if beyond < f64::from(here) {
            let (low, high) = (f64::from(edge(bin)), f64::from(edge(bin + 1)));
            return Some((high - (high - low) * beyond / f64::from(here)) as f32);
        }
        beyond -= f64::from(here);
    }
    Some(0.0)
}

/// The share of all `count` tokens whose size on this side of zero exceeds a threshold, interpolated inside the
/// threshold's bin; for a threshold of 0 exactly the share of tokens on this side. None if nothing was counted
/// or the threshold is no number.
pub fn density(sketch: &Sketch, count: u64, threshold: f32) -> Option<f64> {
    if count == 0 || threshold.is_nan() {
        return None;
    }
    let mut beyond = 0.0;
    for &(bin, here) in &sketch.bins {
        let (low, high) = (f64::from(edge(bin)), f64::from(edge(bin + 1)));
        let share = if threshold <= 0.0 { 1.0 } else { (high - f64::from(threshold)) / (high - low) };
        beyond += f64::from(here) * share.clamp(0.0, 1.0);
    }
    Some(beyond / count as f64)
}

/// The sketch of two streams together.
pub fn merge(one: &Sketch, other: &Sketch) -> Sketch {
    let mut all: Vec<(u16, u32)> = one.bins.iter().chain(&other.bins).copied().collect();
    all.sort_unstable_by_key(|&(bin, _)| bin);
    let mut bins: Vec<(u16, u32)> = Vec::with_capacity(all.len());
    for (bin, count) in all {
        match bins.last_mut() {
            Some(last) if last.0 == bin => last.1 = last.1.saturating_add(count),
            _ => bins.push((bin, count)),
        }
    }
    Sketch { bins }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pellucid_kernels::tally::counter;
    use proptest::prelude::*;

    #[test]
    fn every_bin_begins_at_its_edge_and_ends_before_the_next() {
        for b in 0..BINS as u16 {
            assert_eq!(bin(edge(b)), b);
            let below_next = f32::from_bits(edge(b + 1).to_bits() - 1);
            assert_eq!(bin(below_next), b);
        }
        assert_eq!((edge(0), edge(BINS as u16)), (2f32.powi(LOWEST), 2f32.powi(HIGHEST)));
        assert_eq!((bin(f32::MAX), bin(f32::from_bits(1))), (BINS as u16 - 1, 0));
    }

    #[test]
    fn a_side_with_too_few_tokens_has_quantile_zero() {
        let sketch = Sketch { bins: vec![(bin(1.0), 3)] };
        assert_eq!(quantile(&sketch, 100, 0.9), Some(0.0));
        assert!(quantile(&sketch, 100, 0.98).is_some_and(|x| (1.0..1.125).contains(&x)));
        assert_eq!(quantile(&sketch, 0, 0.9), None);
        assert_eq!(quantile(&sketch, 100, 1.5), None);
        assert_eq!(density(&sketch, 100, 0.0), Some(0.03));
        assert_eq!(density(&sketch, 100, 2.0), Some(0.0));
    }

    proptest! {
        #[test]
        fn the_branchless_counter_is_the_bin_shifted_by_the_zeros(bits in any::<u32>()) {
            let x = f32::from_bits(bits);
            prop_assume!(x.is_finite());
            let side = if x.is_sign_negative() { SIDE } else { 0 };
            let slot = if x == 0.0 { 0 } else { side + usize::from(bin(x)) + 1 };
            prop_assert_eq!(counter(x), slot);
        }

        #[test]
        fn a_quantile_is_within_a_bin_of_the_sorted_values(
            values in prop::collection::vec(1e-4f32..1e4, 1..200), zeros in 0usize..100, q in 0.0f64..1.0,
        ) {
            let mut sketch = Sketch::default();
            for &x in &values {
                sketch = merge(&sketch, &Sketch { bins: vec![(bin(x), 1)] });
            }
            let count = values.len() + zeros;
            let mut sorted = values.clone();
            sorted.sort_by(|a, b| b.total_cmp(a));
            // The largest size that at least this many tokens reach or exceed.
            let rank = ((1.0 - q) * count as f64).floor() as usize;
            let truth = sorted.get(rank).copied().unwrap_or(0.0);
            let found = quantile(&sketch, count as u64, q).unwrap();
            prop_assert!((found - truth).abs() <= truth * 0.125 + 1e-12, "{found} for {truth}");
        }

        #[test]
        fn merging_sketches_is_counting_all_values(a in prop::collection::vec(1e-4f32..1e4, 0..40), b in prop::collection::vec(1e-4f32..1e4, 0..40)) {
            let of = |values: &[f32]| {
                let mut counts = std::collections::BTreeMap::new();
                for &x in values { *counts.entry(bin(x)).or_insert(0u32) += 1; }
                Sketch { bins: counts.into_iter().collect() }
            };
            prop_assert_eq!(merge(&of(&a), &of(&b)), of(&[a, b].concat()));
        }
    }
}
