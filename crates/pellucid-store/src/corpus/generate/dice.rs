//! Choices from a seed.

use pellucid_core::Seed;

/// A seeded source of choices.
pub(super) struct Dice(Seed);

impl Dice {
    pub(super) fn new(seed: Seed) -> Self {
        Dice(seed)
    }

    /// One of several; the default of an empty list.
    pub(super) fn pick<T: Copy + Default>(&mut self, of: &[T]) -> T {
        of.get(self.0.below(of.len())).copied().unwrap_or_default()
    }

    /// Uniform, both ends included.
    pub(super) fn range(&mut self, from: i64, to: i64) -> i64 {
        from + self.0.below((to - from + 1).max(1) as usize) as i64
    }

    /// Uniform below n.
    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0.below(n)
    }

    /// True once in n.
    pub(super) fn once_in(&mut self, n: usize) -> bool {
        self.0.below(n) == 0
    }

    pub(super) fn byte(&mut self) -> u8 {
        (self.0.next() >> 32) as u8
    }

    pub(super) fn log_uniform(&mut self, from: f64, to: f64) -> f64 {
        from * (to / from).powf(self.0.uniform())
    }

    /// A number with a random number of digits up to `digits`, so that small ones are not rare.
    pub(super) fn number(&mut self, digits: u32) -> i64 {
        let digits = self.range(1, i64::from(digits.clamp(1, 18))) as u32;
        self.range(10i64.pow(digits - 1), 10i64.pow(digits) - 1)
    }

    /// `n` different ones, in random order; all if there are fewer.
    pub(super) fn some<T: Copy>(&mut self, of: &[T], n: usize) -> Vec<T> {
        self.0.choose(of.len(), n).into_iter().filter_map(|i| of.get(i).copied()).collect()
    }

    /// Hexadecimal digits.
    pub(super) fn hex(&mut self, digits: usize) -> String {
        (0..digits).map(|_| self.pick(&HEX)).collect()
    }
}

const HEX: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];

/// Pieces until the document has its size.
pub(super) fn fill(
    dice: &mut Dice,
    size: usize,
    mut piece: impl FnMut(&mut Dice, usize) -> String,
) -> String {
    let (mut text, mut count) = (String::new(), 0);
    while text.len() < size {
        text.push_str(&piece(dice, count));
        count += 1;
    }
    text
}
