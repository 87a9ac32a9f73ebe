//! Bytes of the columns that are no plain numbers. Every blob begins with a version byte; integers are
//! LEB128 varints. A reader checks every length against the bytes that are there before it allocates.

use crate::harvest::Sketch;

/// What is wrong with a blob.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("the bytes end too early")]
    Short,
    #[error("{0} bytes are left over")]
    Long(usize),
    #[error("unknown version {0}")]
    Version(u8),
    #[error("a number is too large")]
    Large,
    #[error("a count of {found} where {left} bytes are left")]
    Count { found: u64, left: usize },
    #[error("bins that do not ascend, or are empty")]
    Bins,
    #[error("an unknown code {0}")]
    Code(u8),
    #[error("the compressed part is damaged")]
    Deflate,
    #[error("a stretch or a mask that does not fit")]
    Shape,
}

pub(super) fn put_varint(to: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        to.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}

/// Small sizes of either sign become small numbers: 0, −1, 1, −2, …
pub(super) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

pub(super) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// Reads from the front of some bytes.
pub(super) struct Reader<'a>(pub(super) &'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8], Fault> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Fault::Short)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8, Fault> {
        Ok(self.take(1)?[0])
    }

    pub(super) fn version(&mut self, known: u8) -> Result<(), Fault> {
        let found = self.byte()?;
        if found == known { Ok(()) } else { Err(Fault::Version(found)) }
    }

    pub(super) fn varint(&mut self) -> Result<u64, Fault> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Fault::Large);
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Fault::Large)
    }

    pub(super) fn number(&mut self) -> Result<u32, Fault> {
        u32::try_from(self.varint()?).map_err(|_| Fault::Large)
    }

    /// A count of things that take at least `each` bytes of what is left.
    pub(super) fn count(&mut self, each: usize) -> Result<usize, Fault> {
        let found = self.varint()?;
        let left = self.0.len();
        match usize::try_from(found) {
            Ok(count) if count <= left / each.max(1) => Ok(count),
            _ => Err(Fault::Count { found, left }),
        }
    }

    pub(super) fn end(&self) -> Result<(), Fault> {
        if self.0.is_empty() { Ok(()) } else { Err(Fault::Long(self.0.len())) }
    }
}

const SKETCH: u8 = 1;

/// Version, number of bins, then for each bin its distance to the one before and its count.
pub(super) fn sketch_to(sketch: &Sketch) -> Result<Vec<u8>, Fault> {
    let mut to = vec![SKETCH];
    put_varint(&mut to, sketch.bins.len() as u64);
    let mut next = 0u64;
    for &(bin, count) in &sketch.bins {
        let distance = u64::from(bin).checked_sub(next).ok_or(Fault::Bins)?;
        if count == 0 {
            return Err(Fault::Bins);
        }
        put_varint(&mut to, distance);
        put_varint(&mut to, u64::from(count));
        next = u64::from(bin) + 1;
    }
    Ok(to)
}

pub(super) fn sketch_from(bytes: &[u8]) -> Result<Sketch, Fault> {
    let mut from = Reader(bytes);
    from.version(SKETCH)?;
    let count = from.count(2)?;
    let mut bins = Vec::with_capacity(count);
    let mut next = 0u64;
    for _ in 0..count {
        let bin = next.checked_add(from.varint()?).ok_or(Fault::Large)?;
        let times = from.number()?;
        if times == 0 {
            return Err(Fault::Bins);
        }
        bins.push((u16::try_from(bin).map_err(|_| Fault::Large)?, times));
        next = bin + 1;
    }
    from.end()?;
    Ok(Sketch { bins })
}

const TOKENS: u8 = 1;

/// Version, number of tokens, their ids, then the lengths of the runs of counted and not counted tokens in turn
/// (the first run is of counted ones and may be empty).
pub(super) fn window_to(tokens: &[u32], counted: &[bool]) -> Result<Vec<u8>, Fault> {
    if tokens.len() != counted.len() {
        return Err(Fault::Shape);
    }
    let mut to = vec![TOKENS];
    put_varint(&mut to, tokens.len() as u64);
    tokens.iter().for_each(|&token| put_varint(&mut to, u64::from(token)));
    let (mut state, mut run) = (true, 0u64);
    for &flag in counted {
        if flag != state {
            put_varint(&mut to, run);
            (state, run) = (flag, 0);
        }
        run += 1;
    }
    put_varint(&mut to, run);
    Ok(to)
}

pub(super) fn window_from(bytes: &[u8]) -> Result<(Vec<u32>, Vec<bool>), Fault> {
    let mut from = Reader(bytes);
    from.version(TOKENS)?;
    let count = from.count(1)?;
    let mut tokens = Vec::with_capacity(count);
    for _ in 0..count {
        tokens.push(from.number()?);
    }
    let (mut counted, mut state) = (Vec::with_capacity(count), true);
    while !from.0.is_empty() {
        let run = usize::try_from(from.varint()?).map_err(|_| Fault::Large)?;
        if run > count - counted.len() {
            return Err(Fault::Shape);
        }
        counted.resize(counted.len() + run, state);
        state = !state;
    }
    if counted.len() == count { Ok((tokens, counted)) } else { Err(Fault::Shape) }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use proptest::collection::{btree_map, vec};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn varints_survive(value: u64, signed: i64) {
            let mut bytes = Vec::new();
            put_varint(&mut bytes, value);
            let mut from = Reader(&bytes);
            prop_assert_eq!(from.varint().unwrap(), value);
            prop_assert!(from.end().is_ok());
            prop_assert_eq!(unzigzag(zigzag(signed)), signed);
        }

        #[test]
        fn sketches_survive(bins in btree_map(any::<u16>(), 1u32.., 0..200)) {
            let sketch = Sketch { bins: bins.into_iter().collect() };
            prop_assert_eq!(sketch_from(&sketch_to(&sketch).unwrap()).unwrap(), sketch);
        }

        #[test]
        fn windows_survive(rows in vec((any::<u32>(), any::<bool>()), 0..300)) {
            let (tokens, counted): (Vec<u32>, Vec<bool>) = rows.into_iter().unzip();
            let bytes = window_to(&tokens, &counted).unwrap();
            prop_assert_eq!(window_from(&bytes).unwrap(), (tokens, counted));
        }

        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
            let _ = sketch_from(&bytes);
            let _ = window_from(&bytes);
            let versioned = [&[1u8][..], &bytes].concat();
            let _ = sketch_from(&versioned);
            let _ = window_from(&versioned);
        }
    }

    #[test]
    fn a_stated_count_allocates_nothing_that_is_not_there() {
        let mut bytes = vec![1];
        put_varint(&mut bytes, u64::MAX);
        assert_eq!(sketch_from(&bytes), Err(Fault::Count { found: u64::MAX, left: 0 }));
        assert_eq!(window_from(&bytes), Err(Fault::Count { found: u64::MAX, left: 0 }));
    }

    #[test]
    fn bins_out_of_order_are_refused_when_written() {
        let wrong = Sketch { bins: vec![(3, 1), (3, 1)] };
        assert_eq!(sketch_to(&wrong), Err(Fault::Bins));
        assert_eq!(sketch_to(&Sketch { bins: vec![(3, 0)] }), Err(Fault::Bins));
    }
}
