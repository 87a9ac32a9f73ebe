//! All exemplars of one unit as one blob.
//!
//! Three million rows of their own would cost more in keys than in data, so a unit's exemplars stand together:
//! a version, the precision, the length of the rest before compression, then a zlib stream (whose checksum
//! finds damage) of columns: heads, window numbers, places, values, and last the activations.
//!
//! Activations are either kept bit for bit (low and high bytes apart, since only the high ones compress) or
//! rounded to seven bits on a grid of the stretch's own: with `m` the largest size in the stretch the step is
//! `2^(⌊log₂ m⌋ − 6)`, so that the error is at most `m / 128`. A rounded stretch rounds to itself.

use super::blob::{Fault, Reader, put_varint, unzigzag, zigzag};
use crate::harvest::{Exemplar, Kind};
use flate2::{Compression, read::ZlibDecoder, write::ZlibEncoder};
use half::f16;
use pellucid_core::{Polarity, Split};
use std::io::{Read, Write};

/// How exactly the activations of exemplars are kept. Peaks (`value`) are always exact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// Bit for bit.
    Exact,
    /// To 1/128 of the largest activation in the stretch: less than half the size.
    Rounded,
}

const VERSION: u8 = 1;
/// A stretch that keeps its half precision bits in a rounded blob: it holds an infinity or a NaN.
const RAW: u8 = 127;
/// Zlib never shrinks by more than this.
const RATIO: u64 = 1032;
/// No unit's exemplars are larger than this before compression: 10⁴ stretches of 10³ tokens fit.
const LARGEST: u64 = 1 << 25;

/// An exemplar whose window is a number in the file.
pub(super) struct Stored {
    pub(super) window: u64,
    pub(super) exemplar: Exemplar,
}

fn head(exemplar: &Exemplar) -> u8 {
    let kind = match exemplar.kind {
        Kind::Top => 0,
        Kind::Random => 1,
        Kind::Band(_) => 2,
    };
    let polarity = match exemplar.polarity {
        None => 0,
        Some(Polarity::Positive) => 1,
        Some(Polarity::Negative) => 2,
    };
    kind | polarity << 2 | split_code(exemplar.split) << 4
}

pub(super) fn split_code(split: Split) -> u8 {
    match split {
        Split::Train => 0,
        Split::Validation => 1,
        Split::Test => 2,
    }
}

pub(super) fn split_from(code: i64) -> Option<Split> {
    usize::try_from(code).ok().and_then(|code| Split::ALL.get(code).copied())
}

fn size(bits: u16) -> f32 {
    f16::from_bits(bits & 0x7fff).to_f32()
}

/// The binary exponent of a stretch's step; `None` where a value is not finite.
fn step(activations: &[u16]) -> Option<i8> {
    let largest = activations.iter().map(|&bits| bits & 0x7fff).max().unwrap_or(0);
    let largest = f16::from_bits(largest);
    if !largest.is_finite() {
        return None;
    }
    let largest = largest.to_f32();
    if largest == 0.0 {
        return Some(-24);
    }
    // Half precision's smallest number is 2⁻²⁴, a normal number in single precision: its exponent bits are exact.
    let exponent = (largest.to_bits() >> 23) as i32 - 127;
    let step = (exponent - 6).max(-24);
    let fits = (largest / 2f32.powi(step)).round_ties_even() <= 127.0;
    i8::try_from(if fits { step } else { step + 1 }).ok()
}

fn code(bits: u16, step: i8) -> i8 {
    let size = (size(bits) / 2f32.powi(i32::from(step))).round_ties_even();
    // The grid's last point must not leave half precision: 65,504 is its largest number.
    let last = (65_504.0 / 2f32.powi(i32::from(step))).floor().min(127.0);
    let size = size.min(last) as i8;
    if bits & 0x8000 == 0 { size } else { -size }
}

fn decode(code: i8, step: i8) -> u16 {
    f16::from_f32(f32::from(code) * 2f32.powi(i32::from(step))).to_bits()
}

/// Activations as they will be read back.
pub fn rounded(activations: &[u16], precision: Precision) -> Vec<u16> {
    match (precision, step(activations)) {
        (Precision::Rounded, Some(step)) => {
            activations.iter().map(|&bits| decode(code(bits, step), step)).collect()
        }
        _ => activations.to_vec(),
    }
}

/// Exemplars and the numbers of their windows to bytes.
pub(super) fn to(rows: &[(u64, &Exemplar)], precision: Precision) -> Result<Vec<u8>, Fault> {
    let mut body = Vec::new();
    put_varint(&mut body, rows.len() as u64);
    for (_, exemplar) in rows {
        body.push(head(exemplar));
        if let Kind::Band(octave) = exemplar.kind {
            body.push(octave as u8);
        }
    }
    for (window, exemplar) in rows {
        put_varint(&mut body, *window);
        put_varint(&mut body, u64::from(exemplar.start));
        put_varint(&mut body, zigzag(i64::from(exemplar.peak) - i64::from(exemplar.start)));
        put_varint(&mut body, exemplar.activations.len() as u64);
    }
    rows.iter().for_each(|(_, exemplar)| body.extend(exemplar.value.to_bits().to_le_bytes()));
    match precision {
        Precision::Exact => {
            let all = || rows.iter().flat_map(|(_, exemplar)| &exemplar.activations);
            body.extend(all().map(|bits| (bits >> 8) as u8));
            body.extend(all().map(|bits| *bits as u8));
        }
        Precision::Rounded => {
            let steps: Vec<_> = rows.iter().map(|(_, exemplar)| step(&exemplar.activations)).collect();
            body.extend(steps.iter().map(|step| step.map_or(RAW, |step| step as u8)));
            for ((_, exemplar), step) in rows.iter().zip(steps) {
                match step {
                    Some(step) => body.extend(exemplar.activations.iter().map(|&a| code(a, step) as u8)),
                    None => body.extend(exemplar.activations.iter().flat_map(|a| a.to_le_bytes())),
                }
            }
        }
    }
    if body.len() as u64 > LARGEST {
        return Err(Fault::Large);
    }
    let mut to = vec![VERSION, u8::from(precision == Precision::Rounded)];
    put_varint(&mut to, body.len() as u64);
    let mut zlib = ZlibEncoder::new(to, LEVEL);
    zlib.write_all(&body).and_then(|()| zlib.finish()).map_err(|_| Fault::Deflate)
}

/// Level 6 gains less than 1% over it on activations, which are noise to a search for repeats, at twice the time.
const LEVEL: Compression = Compression::new(3);

fn inflate(bytes: &[u8]) -> Result<(Precision, Vec<u8>), Fault> {
    let mut from = Reader(bytes);
    from.version(VERSION)?;
    let precision = match from.byte()? {
        0 => Precision::Exact,
        1 => Precision::Rounded,
        other => return Err(Fault::Code(other)),
    };
    let length = from.varint()?;
    if length > LARGEST.min(from.0.len() as u64 * RATIO) {
        return Err(Fault::Count { found: length, left: from.0.len() });
    }
    let mut body = Vec::new();
    let mut zlib = ZlibDecoder::new(from.0).take(length + 1);
    zlib.read_to_end(&mut body).map_err(|_| Fault::Deflate)?;
    if body.len() as u64 != length || zlib.into_inner().total_in() != from.0.len() as u64 {
        return Err(Fault::Deflate);
    }
    Ok((precision, body))
}

fn heads(from: &mut Reader<'_>, count: usize) -> Result<Vec<(Kind, Option<Polarity>, Split)>, Fault> {
    let mut heads = Vec::with_capacity(count);
    for _ in 0..count {
        let head = from.byte()?;
        let kind = match head & 3 {
            0 => Kind::Top,
            1 => Kind::Random,
            2 => Kind::Band(from.byte()? as i8),
            _ => return Err(Fault::Code(head)),
        };
        let polarity = match head >> 2 & 3 {
            0 => None,
            1 => Some(Polarity::Positive),
            2 => Some(Polarity::Negative),
            _ => return Err(Fault::Code(head)),
        };
        let split = split_from(i64::from(head >> 4)).ok_or(Fault::Code(head))?;
        heads.push((kind, polarity, split));
    }
    Ok(heads)
}

/// Bytes to exemplars; their documents are to be filled in by the window's number.
pub(super) fn from(bytes: &[u8]) -> Result<Vec<Stored>, Fault> {
    let (precision, body) = inflate(bytes)?;
    let mut from = Reader(&body);
    let count = from.count(9)?;
    let heads = heads(&mut from, count)?;
    let mut rows = Vec::with_capacity(count);
    let mut lengths = Vec::with_capacity(count);
    for (kind, polarity, split) in heads {
        let window = from.varint()?;
        let start = from.number()?;
        let peak = i64::from(start).checked_add(unzigzag(from.varint()?)).ok_or(Fault::Large)?;
        let peak = u32::try_from(peak).map_err(|_| Fault::Large)?;
        lengths.push(from.count(1)?);
        let document = crate::window::Document([0; 16]);
        let (value, activations) = (0.0, Vec::new());
        let exemplar =
            Exemplar { kind, polarity, split, document, window: 0, start, peak, value, activations };
        rows.push(Stored { window, exemplar });
    }
    for row in &mut rows {
        let value = from.take(4)?;
        row.exemplar.value = f32::from_le_bytes([value[0], value[1], value[2], value[3]]);
    }
    match precision {
        Precision::Exact => exact(&mut from, &lengths, &mut rows)?,
        Precision::Rounded => codes(&mut from, &lengths, &mut rows)?,
    }
    from.end()?;
    Ok(rows)
}

fn exact(from: &mut Reader<'_>, lengths: &[usize], rows: &mut [Stored]) -> Result<(), Fault> {
    // Each length was below the body's, and there are fewer than the body's bytes of them: no overflow in 64 bits.
    let total: u64 = lengths.iter().map(|&length| length as u64).sum();
    let total = usize::try_from(total).map_err(|_| Fault::Large)?;
    let (mut high, mut low) = (Reader(from.take(total)?), Reader(from.take(total)?));
    for (row, &length) in rows.iter_mut().zip(lengths) {
        let pairs = high.take(length)?.iter().zip(low.take(length)?);
        row.exemplar.activations = pairs.map(|(&high, &low)| u16::from_be_bytes([high, low])).collect();
    }
    Ok(())
}

fn codes(from: &mut Reader<'_>, lengths: &[usize], rows: &mut [Stored]) -> Result<(), Fault> {
    let steps = from.take(rows.len())?;
    for ((row, &length), &step) in rows.iter_mut().zip(lengths).zip(steps) {
        row.exemplar.activations = if step == RAW {
            let bytes = from.take(length.checked_mul(2).ok_or(Fault::Large)?)?;
            bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
        } else if (-24..=10).contains(&(step as i8)) {
            from.take(length)?.iter().map(|&code| decode(code as i8, step as i8)).collect()
        } else {
            return Err(Fault::Code(step));
        };
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::window::Document;
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn kind() -> impl Strategy<Value = Kind> {
        prop_oneof![Just(Kind::Top), Just(Kind::Random), any::<i8>().prop_map(Kind::Band)]
    }

    fn polarity() -> impl Strategy<Value = Option<Polarity>> {
        prop_oneof![Just(None), Just(Some(Polarity::Positive)), Just(Some(Polarity::Negative))]
    }

    fn exemplar() -> impl Strategy<Value = (u64, Exemplar)> {
        let place = (any::<u64>(), any::<u32>(), any::<u32>(), any::<f32>());
        (kind(), polarity(), 0usize..3, place, vec(any::<u16>(), 0..40)).prop_map(
            |(kind, polarity, split, (id, start, peak, value), activations)| {
                let (split, document, window) = (Split::ALL[split], Document([0; 16]), 0);
                let row =
                    Exemplar { kind, polarity, split, document, window, start, peak, value, activations };
                (id, row)
            },
        )
    }

    /// Equal to the bit, NaN included.
    fn same(a: &Exemplar, b: &Exemplar) -> bool {
        let plain = |e: &Exemplar| Exemplar { value: 0.0, ..e.clone() };
        a.value.to_bits() == b.value.to_bits() && plain(a) == plain(b)
    }

    proptest! {
        #[test]
        fn exemplars_survive(rows in vec(exemplar(), 0..20)) {
            let refs: Vec<_> = rows.iter().map(|(id, row)| (*id, row)).collect();
            for precision in [Precision::Exact, Precision::Rounded] {
                let back = from(&to(&refs, precision).unwrap()).unwrap();
                prop_assert_eq!(back.len(), rows.len());
                for ((id, row), back) in rows.iter().zip(back) {
                    let activations = rounded(&row.activations, precision);
                    let expected = Exemplar { activations, ..row.clone() };
                    prop_assert!(same(&expected, &back.exemplar));
                    prop_assert_eq!(*id, back.window);
                }
            }
        }

        #[test]
        fn rounding_twice_is_rounding_once(row in vec(0u16..0x7c00, 1..40), signs in vec(any::<bool>(), 40)) {
            let row: Vec<u16> = row.iter().zip(signs).map(|(a, minus)| a | u16::from(minus) << 15).collect();
            let once = rounded(&row, Precision::Rounded);
            prop_assert_eq!(&rounded(&once, Precision::Rounded), &once);
            let largest = row.iter().map(|&a| size(a)).fold(0.0, f32::max);
            for (&a, &b) in row.iter().zip(&once) {
                let (a, b) = (f16::from_bits(a).to_f32(), f16::from_bits(b).to_f32());
                // Rounding to the grid: half a step, and the largest value is at least 63.75 of them (where 127.5 of half
                // the step would have been rounded to 128); beyond the last point of half precision's grid one step.
                prop_assert!((a - b).abs() <= largest / 127.5 + 6e-8 || largest > 65_000.0, "{} {} {}", a, b, largest);
            }
        }

        #[test]
        fn damage_is_found(rows in vec(exemplar(), 1..8), at: prop::sample::Index, flip in 1u8..) {
            let refs: Vec<_> = rows.iter().map(|(id, row)| (*id, row)).collect();
            let whole = to(&refs, Precision::Rounded).unwrap();
            let mut bytes = whole.clone();
            let at = at.index(bytes.len());
            bytes[at] ^= flip;
            if let Ok(back) = from(&bytes) {
                // The checksum covers the rows; what is left are bits of the zlib header that say nothing.
                prop_assert_eq!(back.len(), rows.len());
            }
            prop_assert!(from(&whole[..at]).is_err());
        }

        #[test]
        fn any_bytes_are_a_value_or_an_error(bytes in vec(any::<u8>(), 0..200)) {
            let _ = from(&bytes);
        }

        #[test]
        fn any_body_is_a_value_or_an_error(body in vec(any::<u8>(), 0..200), precision in 0u8..2) {
            let mut to = vec![VERSION, precision];
            put_varint(&mut to, body.len() as u64);
            let mut zlib = ZlibEncoder::new(to, LEVEL);
            zlib.write_all(&body).unwrap();
            let _ = from(&zlib.finish().unwrap());
        }
    }
}
