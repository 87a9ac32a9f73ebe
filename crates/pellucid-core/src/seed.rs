//! Seeds: one number that makes every random choice repeatable.

/// A seed, and the generator it starts (SplitMix64, Steele et al. 2014): small, fast and the same on every
/// machine and in every version. Not for secrets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

impl Seed {
    /// An independent seed for a named purpose, so that two uses of one seed do not share their numbers.
    pub fn for_purpose(self, purpose: &str) -> Seed {
        let mixed = purpose
            .bytes()
            .fold(self.0 ^ 0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
        Seed(Seed(mixed).next())
    }

    /// The next 64 random bits.
    #[inline]
    #[expect(clippy::should_implement_trait)] // an endless generator is no iterator one would collect
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Uniform in [0, 1).
    pub fn uniform(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1u64 << 53) as f64
    }

    /// Uniform in `0..n`; 0 for an empty range. The bias of the plain remainder is below 2⁻³² for any n < 2³².
    pub fn below(&mut self, n: usize) -> usize {
        if n == 0 { 0 } else { (self.next() % n as u64) as usize }
    }

    /// Standard normal, by Box and Muller's transform.
    pub fn normal(&mut self) -> f64 {
        let (u, v) = (1.0 - self.uniform(), self.uniform());
        (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
    }

    /// `k` different numbers out of `0..n`, in random order; all of them if `k ≥ n`.
    pub fn choose(&mut self, n: usize, k: usize) -> Vec<usize> {
        let mut all: Vec<usize> = (0..n).collect();
        let k = k.min(n);
        for i in 0..k {
            all.swap(i, i + self.below(n - i));
        }
        all.truncate(k);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_numbers_are_those_of_the_published_generator() {
        let mut seed = Seed(1_234_567);
        assert_eq!(seed.next(), 6_457_827_717_110_365_317);
        assert_eq!(seed.next(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn chosen_numbers_differ_and_lie_in_the_range() {
        let mut chosen = Seed(1).choose(50, 20);
        chosen.sort_unstable();
        chosen.dedup();
        assert_eq!(chosen.len(), 20);
        assert!(chosen.iter().all(|&i| i < 50));
        assert_ne!(Seed(1).for_purpose("a"), Seed(1).for_purpose("b"));
    }
}
