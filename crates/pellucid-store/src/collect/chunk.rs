//! The state of up to [`UNITS`] neighbouring units, and the loop over activations: the sweep's innermost.
//!
//! A row-major block is read in runs of 64 units, four cache lines of each token. Sixteen units at a time, a stretch of
//! tokens goes through one loop without branches for extremes, sums and bins, which the compiler vectorises, and through one of
//! increments: the counters of sixteen (37 kB) stay in the nearest cache. Exemplars are looked at once a window, by its extremes.

use super::bins::{BOTH, SIDE, counter};
use super::exact::{Squares, Sum};
use super::keep::{Draw, Keep, List};
use super::shelf::{Column, Shelf};
use crate::harvest::{Exemplar, Kind, Sketch, Statistics, UnitHarvest};
use crate::window::Window;
use pellucid_core::Polarity;
use pellucid_kernels::pages::fetch_ahead;
use pellucid_kernels::wide;

/// Units in a chunk.
pub(super) const UNITS: usize = 64;

/// What is summed of a unit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Moments {
    pub(super) sum: Sum,
    pub(super) squares: Squares,
    pub(super) most: f32,
    pub(super) least: f32,
}

impl Moments {
    const NONE: Moments =
        Moments { sum: Sum::ZERO, squares: Squares::ZERO, most: f32::NEG_INFINITY, least: f32::INFINITY };

    /// The statistics over so many tokens; all zero for none.
    fn statistics(&self, count: u64) -> Statistics {
        if count == 0 {
            return Statistics { count, mean: 0.0, variance: 0.0, max: 0.0, min: 0.0 };
        }
        let mean = self.sum.value() / count as f64;
        let variance = (self.squares.value() / count as f64 - mean * mean).max(0.0);
        Statistics { count, mean, variance, max: self.most, min: self.least }
    }
}

/// Units whose counters are counted up together: they stay in the nearest cache.
const TEAM: usize = 16;

/// Tokens whose bins are found before they are counted.
const STRETCH: usize = 64;

/// Extremes and sums of a team in one window.
#[derive(Clone, Copy)]
struct Totals {
    most: [f32; TEAM],
    least: [f32; TEAM],
    sum: [f64; TEAM],
    squares: [f64; TEAM],
}

impl Totals {
    const NONE: Totals = Totals {
        most: [f32::NEG_INFINITY; TEAM],
        least: [f32::INFINITY; TEAM],
        sum: [0.0; TEAM],
        squares: [0.0; TEAM],
    };
}

/// Takes in a team's activations at some tokens, and finds each one's counter. Units are summed beside each other, each in
/// the order of its tokens, so nothing depends on the processor's width.
#[inline(always)]
fn take_in_body<const FUSED: bool>(
    rows: &[&[f32; TEAM]],
    totals: &mut Totals,
    slots: &mut [[u16; TEAM]],
    ahead: usize,
) {
    let Totals { mut most, mut least, mut sum, mut squares } = *totals;
    for (row, slots) in rows.iter().zip(slots) {
        fetch_ahead(&row[..1], ahead);
        for i in 0..TEAM {
            let x = row[i];
            most[i] = if x > most[i] { x } else { most[i] };
            least[i] = if x < least[i] { x } else { least[i] };
            let wide = f64::from(x);
            sum[i] += wide;
            // the square of an f32 is exact in f64
            squares[i] += wide * wide;
            slots[i] = counter(x) as u16;
        }
    }
    *totals = Totals { most, least, sum, squares };
}

wide!(
    /// As its body; the memory `ahead` bytes beyond each row is asked for.
    take_in = take_in_body(rows: &[&[f32; TEAM]], totals: &mut Totals, slots: &mut [[u16; TEAM]], ahead: usize)
);

/// A window of a block, its rows, and its hashes.
pub(super) struct Piece<'a> {
    pub(super) window: &'a Window,
    pub(super) values: &'a [f32],
    pub(super) hashes: [u64; 3],
}

/// The state of some neighbouring units.
pub(super) struct Chunk {
    first: usize,
    pub(super) moments: Vec<Moments>,
    /// By unit and counter.
    pub(super) counters: Vec<u32>,
    pub(super) shelf: Shelf,
}

impl Chunk {
    /// Nothing seen yet of `units ≤ UNITS` units from `first` on.
    pub(super) fn new(first: usize, units: usize, keep: &Keep, draw: Draw) -> Self {
        Chunk {
            first,
            moments: vec![Moments::NONE; units],
            counters: vec![0; units * BOTH],
            shelf: Shelf::new(first, units, keep, draw),
        }
    }

    /// Bytes that a unit takes.
    pub(super) fn bytes(keep: &Keep) -> u64 {
        (size_of::<Moments>() + BOTH * size_of::<u32>()) as u64 + Shelf::bytes(keep)
    }

    /// Takes in the chunk's columns of some windows, whose values are finite.
    pub(super) fn collect(&mut self, pieces: &[Piece<'_>], width: usize) {
        for piece in pieces.iter().filter(|piece| piece.window.counted.contains(&true)) {
            let totals = self.count(piece, width);
            self.fold(&totals, piece, width);
        }
    }

    /// Counts sizes and sums a window's activations, in the order of its tokens: totals team by team.
    fn count(&mut self, piece: &Piece<'_>, width: usize) -> [Totals; UNITS / TEAM] {
        let mut totals = [Totals::NONE; UNITS / TEAM];
        let mut tails = [[0f32; TEAM]; STRETCH];
        let mut slots = [[0u16; TEAM]; STRETCH];
        let counted = piece.values.chunks_exact(width).zip(&piece.window.counted);
        let rows: Vec<&[f32]> = counted.filter(|(_, counted)| **counted).map(|(row, _)| row).collect();
        for rows in rows.chunks(STRETCH) {
            let teams = self.counters.chunks_mut(TEAM * BOTH).zip(&mut totals);
            for (team, (counters, totals)) in teams.enumerate() {
                let from = self.first + team * TEAM;
                let mut runs = [&[0f32; TEAM]; STRETCH];
                for ((run, row), tail) in runs.iter_mut().zip(rows).zip(&mut tails) {
                    let here = &row[from..from + counters.len() / BOTH];
                    *run = <&[f32; TEAM]>::try_from(here).unwrap_or_else(|_| {
                        tail[..here.len()].copy_from_slice(here);
                        &*tail
                    });
                }
                let slots = &mut slots[..rows.len()];
                take_in(&runs[..rows.len()], totals, slots, STRETCH * size_of_val(rows[0]));
                for slots in &*slots {
                    for (counters, &slot) in counters.as_chunks_mut::<BOTH>().0.iter_mut().zip(slots) {
                        if let Some(count) = counters.get_mut(usize::from(slot)) {
                            *count += 1;
                        }
                    }
                }
            }
        }
        totals
    }

    /// Adds a window's sums to the units', and offers it to their lists.
    fn fold(&mut self, totals: &[Totals; UNITS / TEAM], piece: &Piece<'_>, width: usize) {
        for (unit, moments) in self.moments.iter_mut().enumerate() {
            let (totals, i) = (&totals[unit / TEAM], unit % TEAM);
            // Adding 0 makes a negative zero positive: which of the two is met first must not show.
            let (most, least) = (totals.most[i] + 0.0, totals.least[i] + 0.0);
            moments.sum.add(totals.sum[i]);
            moments.squares.add(totals.squares[i]);
            moments.most = moments.most.max(most);
            moments.least = moments.least.min(least);
            let column =
                Column { values: piece.values, width, unit: self.first + unit, window: piece.window };
            self.shelf.offer(unit, column, [most, least], piece.hashes);
        }
    }

    /// Adds what another chunk of the same units has seen.
    pub(super) fn merge(&mut self, other: &Chunk) {
        for (here, there) in self.moments.iter_mut().zip(&other.moments) {
            here.sum.merge(&there.sum);
            here.squares.merge(&there.squares);
            here.most = here.most.max(there.most);
            here.least = here.least.min(there.least);
        }
        for (here, there) in self.counters.iter_mut().zip(&other.counters) {
            *here = here.saturating_add(*there);
        }
        self.shelf.merge(&other.shelf);
    }

    /// What is left of each unit after `count` tokens.
    pub(super) fn harvest(&self, count: u64) -> Vec<UnitHarvest> {
        let units = self.moments.iter().enumerate();
        units
            .map(|(unit, moments)| UnitHarvest {
                statistics: moments.statistics(count),
                sketches: [0, 1].map(|side| Sketch { bins: self.filled(unit, side).collect() }),
                exemplars: self.exemplars(unit),
            })
            .collect()
    }

    /// The bins of a side that hold something, with their counts. The counter of zeros is not among them.
    pub(super) fn filled(&self, unit: usize, side: usize) -> impl Iterator<Item = (u16, u32)> {
        let from = unit * BOTH + side * SIDE + 1;
        let bins = self.counters[from..from + SIDE - 1].iter().enumerate();
        bins.filter(|(_, count)| **count > 0).map(|(bin, &count)| (bin as u16, count))
    }

    fn exemplars(&self, unit: usize) -> Vec<Exemplar> {
        let mut all = Vec::with_capacity(self.shelf.layout.places());
        for list in self.shelf.layout.all() {
            all.extend(self.shelf.sorted(unit, list).into_iter().map(|index| self.exemplar(list, index)));
        }
        let side = |e: &Exemplar| (e.kind, e.polarity, e.split);
        all.sort_by(|a, b| {
            side(a)
                .cmp(&side(b))
                .then_with(|| b.value.abs().total_cmp(&a.value.abs()))
                .then_with(|| (a.document, a.window).cmp(&(b.document, b.window)))
        });
        all
    }

    fn exemplar(&self, list: List, index: usize) -> Exemplar {
        let place = self.shelf.places[index];
        let polarity = |side| if side == 0 { Polarity::Positive } else { Polarity::Negative };
        let (kind, polarity, split) = match list {
            List::Top { side, split } => (Kind::Top, Some(polarity(side)), split),
            List::Random { split } => (Kind::Random, None, split),
            List::Band { side, split, .. } => {
                let octave = super::shelf::octave(place.value.abs());
                (Kind::Band(octave.clamp(-128, 127) as i8), Some(polarity(side)), split)
            }
        };
        Exemplar {
            kind,
            polarity,
            split,
            document: place.document,
            window: place.window,
            start: place.start,
            peak: place.start + u32::from(place.peak),
            value: place.value,
            activations: self.shelf.stretch(index).to_vec(),
        }
    }
}
