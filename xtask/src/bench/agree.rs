//! Whether the peers computed the same thing: a time of a different result is no comparison.

use std::fmt;

use super::peer::{Kind, Peer};
use super::{CASES, Samples};

/// Relative to the largest number of the case. Both sides are f32 on equal weights, so a true difference is far larger.
const TOLERANCE: f64 = 1e-2;

/// The same where one side computes in bf16, with eight bits to a number, through thirty layers.
const ROUNDED: f64 = 0.15;

/// One peer against ours in one case.
pub(super) struct Verdict {
    pub(super) case: &'static str,
    pub(super) peer: String,
    pub(super) holds: bool,
    /// The difference, in words.
    pub(super) found: String,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mark = if self.holds { "" } else { "**DISAGREES**: " };
        write!(f, "{} against {}: {mark}{}", self.case, self.peer, self.found)
    }
}

/// Every process of every peer against the first process of ours, which comes first among the peers.
pub(super) fn compare(peers: &[Peer], samples: &Samples) -> Vec<Verdict> {
    let Some((ours, others)) = peers.split_first() else { return Vec::new() };
    let check =
        |case, name: &str| samples.get(&(case, name.to_owned())).map(|all| all.iter().map(|s| &s.check[..]));
    let mut verdicts = Vec::new();
    for case in CASES.into_iter().filter(|case| *case != "load") {
        let Some(reference) = check(case, &ours.name).and_then(|mut all| all.next()) else { continue };
        // Ours is compared with itself too: two processes must agree.
        for peer in others.iter().chain([ours]) {
            let all = check(case, &peer.name).into_iter().flatten();
            let each = all.map(|found| difference(case, reference, found, peer.kind != Kind::Exact));
            let worst = each.max_by(|a, b| a.0.cmp(&b.0).reverse().then(a.1.total_cmp(&b.1)));
            let Some((holds, _, found)) = worst else { continue };
            verdicts.push(Verdict { case, peer: peer.name.clone(), holds, found });
        }
    }
    verdicts
}

/// Whether two results agree, how far they are apart, and that in words. Where one side is rounded, greedy tokens may part
/// ways after the first: that is said, not held against it.
fn difference(case: &str, ours: &[f64], theirs: &[f64], rounded: bool) -> (bool, f64, String) {
    if ours.is_empty() || ours.len() != theirs.len() {
        return (false, f64::INFINITY, format!("{} numbers beside our {}", theirs.len(), ours.len()));
    }
    let pairs = || ours.iter().zip(theirs);
    if matches!(case, "decode" | "start") {
        let first = pairs().position(|(a, b)| a != b);
        let Some(step) = first else { return (true, 0.0, format!("all {} ids equal", ours.len())) };
        return (
            rounded && step > 0,
            (ours.len() - step) as f64,
            format!("ids differ from step {step} of {} on", ours.len()),
        );
    }
    let size = theirs.iter().fold(0.0_f64, |largest, x| largest.max(x.abs()));
    // Not `f64::max`, which would pass over a NaN.
    let apart = pairs()
        .map(|(a, b)| (a - b).abs())
        .fold(0.0, |worst, x| if x > worst || x.is_nan() { x } else { worst });
    let relative = apart / size;
    (
        relative <= if rounded { ROUNDED } else { TOLERANCE },
        relative,
        format!("largest difference {relative:.1e} of the largest of {} numbers", ours.len()),
    )
}

#[cfg(test)]
mod tests {
    use super::difference;

    #[test]
    fn scale_errors_show() {
        assert!(difference("forward", &[1.0, -4.0], &[1.0, -4.001], false).0);
        assert!(!difference("forward", &[1.0, -4.0], &[1.1, -4.4], false).0);
        assert!(difference("forward", &[1.0, -4.0], &[1.1, -4.4], true).0);
        assert!(!difference("forward", &[1.0, -4.0], &[1.5, -5.0], true).0);
    }

    #[test]
    fn one_nan_or_nothing_to_compare_is_a_disagreement() {
        assert!(!difference("capture", &[f64::NAN, 1.0], &[1.0, 1.0], false).0);
        assert!(!difference("capture", &[0.0], &[0.0], false).0);
        assert!(!difference("capture", &[], &[], false).0);
        assert!(!difference("capture", &[1.0], &[1.0, 2.0], false).0);
    }

    #[test]
    fn ids_are_equal_or_not() {
        assert!(difference("decode", &[5.0, 7.0], &[5.0, 7.0], false).0);
        let (holds, _, words) = difference("decode", &[5000.0, 7.0], &[5000.0, 8.0], false);
        assert!(!holds);
        assert_eq!(words, "ids differ from step 1 of 2 on");
        assert!(difference("decode", &[5000.0, 7.0], &[5000.0, 8.0], true).0);
        assert!(!difference("decode", &[5000.0, 7.0], &[5.0, 7.0], true).0);
    }
}
