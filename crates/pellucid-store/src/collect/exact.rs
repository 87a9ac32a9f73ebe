//! Sums that do not depend on their order: fixed-point integers wide enough for every f32 and its square.
//!
//! After Kulisch's long accumulator (Kulisch and Miranker 1986): a number is added at the place that its exponent
//! says, and integer addition is associative. Here a window's sum is taken in f64 in the order of its tokens and
//! added as one number.

/// Exponent of the lowest bit; that of the smallest f32's square is −298, so that nothing is cut off.
const LOW: i32 = -320;

/// A two's complement fixed-point number of `64 · LIMBS` bits, lowest limb first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Exact<const LIMBS: usize>(pub(super) [u64; LIMBS]);

/// Holds 2⁶² sums as large as the largest f32.
pub(super) type Sum = Exact<8>;

/// Holds 2⁶² squares as large as that of the largest f32.
pub(super) type Squares = Exact<10>;

impl<const LIMBS: usize> Exact<LIMBS> {
    /// Nothing added yet.
    pub(super) const ZERO: Self = Self([0; LIMBS]);

    /// Adds a finite number; what is not finite is left out.
    pub(super) fn add(&mut self, value: f64) {
        if value == 0.0 || !value.is_finite() {
            return;
        }
        let bits = value.to_bits();
        let exponent = ((bits >> 52) & 0x7ff) as i32;
        let fraction = bits & ((1 << 52) - 1);
        let mantissa = if exponent == 0 { fraction } else { fraction | (1 << 52) };
        let place = exponent.max(1) - 1075 - LOW;
        let (mantissa, place) = match u32::try_from(place) {
            Ok(place) => (mantissa, place),
            Err(_) => (mantissa.checked_shr(place.unsigned_abs()).unwrap_or(0), 0),
        };
        let wide = u128::from(mantissa) << (place % 64);
        // what is taken away is added as its complement, whose ones go on upwards: no branch asks for the sign
        let sign = (value.to_bits() as i64 >> 63) as u64;
        let signed = (wide as i128 ^ i128::from(sign as i64)) - i128::from(sign as i64);
        self.carry(place as usize / 64, [signed as u64, (signed >> 64) as u64], sign);
    }

    /// Adds two limbs at a place, and `above` to each limb further up, as far as that changes anything.
    fn carry(&mut self, from: usize, parts: [u64; 2], above: u64) {
        let mut carry = false;
        for (i, limb) in self.0.iter_mut().skip(from).enumerate() {
            let part = parts.get(i).copied().unwrap_or(above);
            if i >= 2 && part.wrapping_add(u64::from(carry)) == 0 {
                break;
            }
            let (once, first) = limb.overflowing_add(part);
            let (twice, second) = once.overflowing_add(u64::from(carry));
            (*limb, carry) = (twice, first | second);
        }
    }

    /// Adds another sum.
    pub(super) fn merge(&mut self, other: &Self) {
        let mut carry = false;
        for (limb, &part) in self.0.iter_mut().zip(&other.0) {
            let (once, first) = limb.overflowing_add(part);
            let (twice, second) = once.overflowing_add(u64::from(carry));
            (*limb, carry) = (twice, first | second);
        }
    }

    /// The sum as f64, right to the last bit but one.
    pub(super) fn value(&self) -> f64 {
        let negative = self.0.last().is_some_and(|top| top >> 63 == 1);
        let mut size = Self::ZERO;
        if negative {
            // The size of a negative number is its complement plus one.
            size.carry(0, [1, 0], 0);
            let flipped = Self(self.0.map(|limb| !limb));
            size.merge(&flipped);
        } else {
            size = *self;
        }
        let Some(top) = size.0.iter().rposition(|&limb| limb != 0) else { return 0.0 };
        let below = if top == 0 { 0 } else { size.0[top - 1] };
        let leading = (u128::from(size.0[top]) << 64) | u128::from(below);
        let scaled = leading as f64 * power(64 * (top as i32 - 1) + LOW);
        if negative { -scaled } else { scaled }
    }
}

/// Two to a power within f64's normal range, exactly; `powi` does not promise that.
fn power(exponent: i32) -> f64 {
    f64::from_bits(((exponent + 1023) as u64) << 52)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn finite() -> impl Strategy<Value = f64> {
        any::<f32>().prop_filter("finite", |x| x.is_finite()).prop_map(f64::from)
    }

    proptest! {
        #[test]
        fn one_number_comes_back(x in finite()) {
            let (mut sum, mut squares) = (Sum::ZERO, Squares::ZERO);
            sum.add(x);
            squares.add(x * x);
            prop_assert_eq!(sum.value(), x);
            prop_assert_eq!(squares.value(), x * x);
        }

        #[test]
        fn order_and_grouping_do_not_matter(values in prop::collection::vec(finite(), 1..40), cut in 0usize..40) {
            let of = |values: &[f64]| values.iter().fold(Sum::ZERO, |mut s, &x| { s.add(x); s });
            let cut = cut.min(values.len());
            let mut joined = of(&values[cut..]);
            joined.merge(&of(&values[..cut]));
            prop_assert_eq!(joined, of(&values));
            let mut back = joined;
            for &x in &values { back.add(-x); }
            prop_assert_eq!(back, Sum::ZERO);
        }

        #[test]
        fn it_is_the_integer_sum_where_integers_suffice(values in prop::collection::vec(-(1i64 << 50)..(1i64 << 50), 1..50)) {
            let mut sum = Squares::ZERO;
            for &x in &values { sum.add(x as f64 / 1024.0); }
            let truth: i128 = values.iter().map(|&x| i128::from(x)).sum();
            prop_assert_eq!(sum.value(), truth as f64 / 1024.0);
        }
    }
}
