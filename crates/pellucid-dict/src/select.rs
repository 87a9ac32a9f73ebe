//! Choosing a row's active latents from a stream of values: the k largest, or all above a floor.

/// The largest k values above a floor of a stream, with the latents they came from; of equals the lower latent.
///
/// Entries are kept as one number each, so that a plain ascending order is "larger value first, then lower latent": the
/// flipped bits of a positive value above the latent. Every so often all but the k largest are dropped, and the floor rises to
/// the smallest of them: most of a row's values then fail one comparison. Latents come in ascending order, so of equal values
/// the lower latent was seen first, and "strictly above" settles ties as the definition does.
#[derive(Clone, Debug, Default)]
pub(crate) struct Largest {
    k: usize,
    floor: f32,
    held: Vec<u64>,
}

impl Largest {
    /// Begins a row: at most `k` values above `floor`, which is at least 0.
    pub(crate) fn begin(&mut self, k: usize, floor: f32) {
        self.k = k;
        self.floor = if k == 0 { f32::INFINITY } else { floor.max(0.0) };
        self.held.clear();
    }

    /// What a value must exceed to be of interest.
    pub(crate) fn floor(&self) -> f32 {
        self.floor
    }

    /// Takes one value. Latents must come in ascending order from call to call.
    #[inline]
    pub(crate) fn offer(&mut self, latent: u32, value: f32) {
        if value > self.floor {
            self.held.push(u64::from(!value.to_bits()) << 32 | u64::from(latent));
            if self.held.len() >= self.k.saturating_mul(4).saturating_add(16) {
                self.shrink();
            }
        }
    }

    /// Takes the values of a chunk of latents from `first` on.
    pub(crate) fn take(&mut self, first: u32, values: &[f32]) {
        for (at, chunk) in values.chunks(16).enumerate() {
            // most chunks hold nothing of interest, and one comparison of a chunk's maximum says so
            if chunk.iter().fold(f32::MIN, |m, v| if *v > m { *v } else { m }) > self.floor {
                for (i, v) in chunk.iter().enumerate() {
                    self.offer(first + (16 * at + i) as u32, *v);
                }
            }
        }
    }

    /// Keeps the k largest.
    fn shrink(&mut self) {
        if self.held.len() > self.k && self.k > 0 {
            let (_, last, _) = self.held.select_nth_unstable(self.k - 1);
            self.floor = value(*last);
            self.held.truncate(self.k);
        }
    }

    /// The k largest, latents ascending, into `out`.
    pub(crate) fn finish(&mut self, out: &mut Vec<(u32, f32)>) {
        self.shrink();
        self.held.sort_unstable_by_key(|entry| *entry as u32);
        out.extend(self.held.iter().map(|entry| (*entry as u32, value(*entry))));
    }
}

/// An entry's value.
fn value(entry: u64) -> f32 {
    f32::from_bits(!((entry >> 32) as u32))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pellucid_core::Seed;

    #[test]
    fn what_is_kept_is_what_sorting_would_keep() {
        let mut seed = Seed(3);
        let mut largest = Largest::default();
        for (n, k) in [(0, 3), (1, 1), (50, 3), (1000, 32), (1000, 1), (700, 700), (300, usize::MAX), (9, 0)]
        {
            // few different values, so that there are ties; some negative, some no number
            let values: Vec<f32> = (0..n).map(|_| (seed.normal() * 8.0).round() as f32 / 8.0).collect();
            for floor in [0.0, 0.4] {
                let mut want: Vec<(u32, f32)> = (0..n as u32).zip(values.iter().copied()).collect();
                want.retain(|(_, v)| *v > floor);
                want.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
                want.truncate(k);
                want.sort_by_key(|entry| entry.0);
                let (mut found, mut chunked) = (Vec::new(), Vec::new());
                largest.begin(k, floor);
                (0..n as u32).zip(&values).for_each(|(latent, v)| largest.offer(latent, *v));
                largest.offer(n as u32, f32::NAN);
                largest.finish(&mut found);
                largest.begin(k, floor);
                largest.take(0, &values);
                largest.finish(&mut chunked);
                assert!(found == want && chunked == want, "{k} of {n} above {floor}");
            }
        }
    }

    #[test]
    fn of_equal_values_the_lower_latents_stand() {
        let (mut largest, mut kept) = (Largest::default(), Vec::new());
        largest.begin(3, 0.0);
        (0..8).for_each(|block| largest.take(block * 64, &[1.0; 64]));
        largest.finish(&mut kept);
        assert_eq!(kept, [(0, 1.0), (1, 1.0), (2, 1.0)]);
    }
}
