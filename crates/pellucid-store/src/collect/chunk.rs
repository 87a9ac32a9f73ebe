//! The state of up to [`UNITS`] neighbouring units, and the loop over activations: the sweep's innermost.
//!
//! Sixteen units at a time, a window's tokens go through one loop for extremes, sums and bins ([`count_rows`]). Exemplars are looked
//! at once a window, by its extremes.

use super::bins::{BINS, BOTH, SIDE, bin};
use super::exact::{Squares, Sum};
use super::keep::{Draw, Keep, List};
use super::shelf::{Column, Shelf, Wanted};
use super::site::all_finite;
use crate::harvest::{Exemplar, Kind, Sketch, Statistics, UnitHarvest};
use crate::window::Window;
use pellucid_core::{Polarity, Split};
use pellucid_kernels::kernel::LANES;
use pellucid_kernels::pages::{Pages, fetch_ahead};
use pellucid_kernels::tally::{COLUMNS, Tally, count_rows};
use std::ops::Range;

/// Units in a chunk.
pub(super) const UNITS: usize = 64;

/// Units whose activations at a window are taken in together, which then lie in the processor's nearest cache.
pub const PANEL: usize = LANES;

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

/// Rows that are asked for ahead of their use: about as many as are gone through while memory answers.
const AHEAD: usize = 16;

/// A window that is taken in.
pub(super) struct Seen<'a> {
    pub(super) window: &'a Window,
    /// Its tokens that count, and the others.
    pub(super) counted: Vec<u32>,
    pub(super) others: Vec<u32>,
    pub(super) hashes: [u64; 3],
}

impl<'a> Seen<'a> {
    pub(super) fn new(window: &'a Window, draw: &Draw) -> Self {
        let (counted, others) = (0..window.tokens.len() as u32)
            .partition(|&token| window.counted.get(token as usize).copied().unwrap_or(false));
        Seen { window, counted, others, hashes: draw.window(&window.document, window.index) }
    }
}

/// A window's activations, `(tokens, width)`.
pub(super) struct Piece<'a> {
    pub(super) seen: Seen<'a>,
    pub(super) values: &'a [f32],
    pub(super) width: usize,
}

impl Piece<'_> {
    /// The columns of a panel, row after row, filled up with zeros.
    fn panel(&self, column: usize, to: &mut Vec<f32>) {
        let end = (column + PANEL).min(self.width);
        to.clear();
        for row in self.values.chunks_exact(self.width) {
            fetch_ahead(&row[column..end], AHEAD * self.width * size_of::<f32>());
            to.extend_from_slice(&row[column..end]);
            to.resize(to.len().next_multiple_of(PANEL), 0.0);
        }
    }
}

/// What was found in a window at sixteen units.
struct Found {
    /// The largest positive and the largest negative numbers, and the first tokens with them.
    sizes: [[f32; COLUMNS]; 2],
    at: [[u32; COLUMNS]; 2],
    wanted: Wanted,
}

/// Tokens that the counters of the latest can count.
const LATEST: usize = u16::MAX as usize;

/// Most activations lie between these sizes, in every model and layer that was looked at.
const USUAL: [f32; 2] = [1.0 / 4096.0, 2.0];

/// Where among a unit's counters a bin's is: before those of each side stands the one of zeros, which nobody reads.
fn counter_of(side: usize, bin: u16) -> usize {
    side * SIDE + 1 + usize::from(bin)
}

/// How often units had which size: counts of the latest tokens, in few bits ([`count_rows`]), and of those before.
struct Counts {
    latest: Pages<u16>,
    earlier: Vec<[u32; BOTH]>,
    /// Tokens that can be counted before the latest of a panel must be emptied.
    room: Vec<usize>,
}

impl Counts {
    /// Of a unit.
    const BYTES: u64 = (BOTH * (size_of::<u16>() + size_of::<u32>())) as u64;

    fn new(units: usize) -> Self {
        let room = vec![LATEST; units.div_ceil(PANEL)];
        Counts { latest: Pages::zeroed(units * BOTH), earlier: vec![[0; BOTH]; units], room }
    }

    /// Empties the latest counters of a panel's units where they cannot take so many tokens more. Of more than [`LATEST`] the caller
    /// empties them in between.
    fn make_room(&mut self, units: Range<usize>, tokens: usize) {
        let panel = units.start / PANEL;
        if tokens > self.room[panel] {
            self.empty(units);
            self.room[panel] = LATEST;
        }
        self.room[panel] = self.room[panel].saturating_sub(tokens);
    }

    /// Adds the latest counts of some units to those before.
    fn empty(&mut self, units: Range<usize>) {
        let latest = self.latest[units.start * BOTH..units.end * BOTH].iter_mut();
        for (latest, earlier) in latest.zip(self.earlier[units].as_flattened_mut()) {
            *earlier = earlier.saturating_add(u32::from(std::mem::take(latest)));
        }
    }

    /// The latest counters of some units.
    fn latest(&mut self, units: Range<usize>) -> &mut [[u16; BOTH]] {
        &mut self.latest.as_chunks_mut().0[units]
    }

    /// Asks for the latest counters of the sizes that activations mostly have.
    fn fetch(&self, units: Range<usize>) {
        let usual = USUAL.map(|size| usize::from(bin(size)));
        for unit in units {
            for side in [0, SIDE] {
                let from = unit * BOTH + side + 1;
                fetch_ahead(&self.latest[from + usual[0]..from + usual[1]], 0);
            }
        }
    }

    fn of(&self, unit: usize, side: usize, bin: u16) -> u32 {
        let at = counter_of(side, bin);
        self.earlier[unit][at].saturating_add(u32::from(self.latest[unit * BOTH + at]))
    }

    fn merge(&mut self, other: &Counts) {
        let there = other.earlier.as_flattened().iter().zip(&*other.latest);
        for (here, (earlier, latest)) in self.earlier.as_flattened_mut().iter_mut().zip(there) {
            *here = here.saturating_add(*earlier).saturating_add(u32::from(*latest));
        }
    }
}

/// The state of some neighbouring units.
pub(super) struct Chunk {
    first: usize,
    pub(super) moments: Vec<Moments>,
    counts: Counts,
    pub(super) shelf: Shelf,
}

impl Chunk {
    /// Nothing seen yet of `units ≤ UNITS` units from `first` on.
    pub(super) fn new(first: usize, units: usize, keep: &Keep, draw: Draw) -> Self {
        Chunk {
            first,
            moments: vec![Moments::NONE; units],
            counts: Counts::new(units),
            shelf: Shelf::new(first, units, keep, draw),
        }
    }

    /// Bytes that a unit takes.
    pub(super) fn bytes(keep: &Keep) -> u64 {
        size_of::<Moments>() as u64 + Counts::BYTES + Shelf::bytes(keep)
    }

    /// Takes in the chunk's units at some windows; says whether all numbers were finite. If not, the chunk is good for nothing.
    pub(super) fn collect(&mut self, pieces: &[Piece<'_>]) -> bool {
        let units = self.moments.len();
        let mut finite = true;
        let mut panel = Vec::new();
        for piece in pieces {
            for from in (0..units).step_by(PANEL) {
                piece.panel(self.first + from, &mut panel);
                finite &= self.collect_panel(from, &piece.seen, &panel);
            }
        }
        finite
    }

    /// Takes in [`PANEL`] of the chunk's units, or the last of them, at a window, `(tokens, PANEL)`: what stands behind the last is not
    /// looked at. Says whether all numbers were finite.
    pub(super) fn collect_panel(&mut self, from: usize, seen: &Seen<'_>, values: &[f32]) -> bool {
        let units = PANEL.min(self.moments.len() - from);
        let finite = |&token: &u32| all_finite(&values[token as usize * PANEL..][..units]);
        let mut all = seen.others.iter().all(finite);
        if seen.counted.is_empty() {
            return all;
        }
        self.counts.make_room(from..from + units, seen.counted.len());
        // memory that is looked at when numbers are counted comes meanwhile
        self.fetch(from, seen.window.split);
        let mut found = [const { None }; PANEL / COLUMNS];
        for (at, found) in (0..units).step_by(COLUMNS).zip(&mut found) {
            let team = from + at..from + (at + COLUMNS).min(units);
            *found = self.count_team(team, at, seen, values);
            all &= found.is_some();
        }
        for (at, found) in found.iter().enumerate() {
            if let Some(found) = found {
                self.offer_team([from + at * COLUMNS, at * COLUMNS], found, seen, values);
            }
        }
        all
    }

    /// Asks for what a panel's numbers of a window are held against and added to.
    fn fetch(&self, from: usize, split: Split) {
        let units = from..(from + PANEL).min(self.moments.len());
        for team in units.clone().step_by(COLUMNS) {
            self.shelf.fetch_gates(team, split);
        }
        fetch_ahead(&self.moments[units], 0);
    }

    /// As [`Self::fetch`], and for the counters: some time before the panel comes.
    pub(super) fn fetch_all(&self, from: usize, split: Split) {
        self.fetch(from, split);
        self.counts.fetch(from..(from + PANEL).min(self.moments.len()));
    }

    /// Counts sizes and sums a window's activations, in the order of its tokens, and adds the sums to the units'; none where a number
    /// is not finite. The team's units stand in a panel from `column` on.
    fn count_team(
        &mut self,
        team: Range<usize>,
        column: usize,
        seen: &Seen<'_>,
        values: &[f32],
    ) -> Option<Found> {
        let mut totals = Tally::NONE;
        for (i, rows) in seen.counted.chunks(LATEST).enumerate() {
            if i > 0 {
                self.counts.empty(team.clone());
            }
            count_rows(values, [PANEL, column], rows, &mut totals, self.counts.latest(team.clone()));
        }
        // numbers of f32 cannot sum to more than f64 holds
        if !totals.sum[..team.len()].iter().all(|sum| sum.is_finite()) {
            return None;
        }
        // Adding 0 makes a negative zero positive: which of the two is met first must not show.
        let sizes = [totals.most.map(|most| most + 0.0), totals.least.map(|least| -(least + 0.0))];
        let (split, first) = (seen.window.split, team.start);
        let wanted = self.shelf.wants(team.clone(), split, sizes, seen.hashes);
        self.shelf.fetch(first, split, &wanted);
        for (i, moments) in self.moments[team].iter_mut().enumerate() {
            moments.sum.add(totals.sum[i]);
            moments.squares.add(totals.squares[i]);
            moments.most = moments.most.max(sizes[0][i]);
            moments.least = moments.least.min(-sizes[1][i]);
        }
        Some(Found { sizes, at: [totals.most_at, totals.least_at], wanted })
    }

    /// Offers a window to the lists of a team that want it.
    fn offer_team(&mut self, [first, column]: [usize; 2], found: &Found, seen: &Seen<'_>, values: &[f32]) {
        for (i, list) in found.wanted.lists(seen.window.split) {
            let peaks = [0, 1].map(|side| (found.sizes[side][i], found.at[side][i]));
            let column = Column { values, column: column + i, window: seen.window, peaks };
            self.shelf.offer(first + i, list, column, seen.hashes);
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
        self.counts.merge(&other.counts);
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

    /// The bins of a side that hold something, with their counts.
    pub(super) fn filled(&self, unit: usize, side: usize) -> impl Iterator<Item = (u16, u32)> {
        let bins = (0..BINS as u16).map(move |bin| (bin, self.counts.of(unit, side, bin)));
        bins.filter(|(_, count)| *count > 0)
    }

    /// Puts a count to a bin, of which nothing was counted yet.
    pub(super) fn fill(&mut self, unit: usize, side: usize, bin: u16, count: u32) {
        self.counts.earlier[unit][counter_of(side, bin)] = count;
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
