//! The exemplars of some units: lists with fixed places that keep the best windows by a key.
//!
//! Every list keeps the `k` windows with the largest key, ties by the smaller (document, window). The key is the
//! peak's size for the strongest windows and a hash for drawn ones. The strongest windows further keep at most
//! `p` from a document: the best `p` of each document compete. That commutes with joining: how many windows
//! stand before a given one, at most `p` a document, can only grow when windows are added, so one that is out
//! stays out, and those that put it out are still there.

use super::chunk::PANEL;
use super::keep::{Draw, Keep, Layout, List};
use crate::window::{Document, Window};
use half::f16;
use half::slice::{HalfBitsSliceExt, HalfFloatSliceExt};
use pellucid_core::Split;
use pellucid_kernels::pages::{Pages, fetch_ahead};
use pellucid_kernels::tally::COLUMNS;
use pellucid_kernels::wide;
use std::cmp::Ordering;
use std::ops::Range;

/// An exemplar without its activations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Place {
    pub(super) document: Document,
    pub(super) window: u32,
    /// First token of the stretch in the window.
    pub(super) start: u32,
    /// Activation at the peak.
    pub(super) value: f32,
    /// The peak's token in the stretch.
    pub(super) peak: u16,
    /// Tokens in the stretch.
    pub(super) length: u16,
}

impl Place {
    const EMPTY: Place =
        Place { document: Document([0; 16]), window: 0, start: 0, value: 0.0, peak: 0, length: 0 };
}

/// A window's activations of one unit, as a candidate for lists.
#[derive(Clone, Copy)]
pub(super) struct Column<'a> {
    /// The panel that the unit's activations stand in, `(tokens, PANEL)`.
    pub(super) values: &'a [f32],
    /// The unit's place in each row.
    pub(super) column: usize,
    /// The window.
    pub(super) window: &'a Window,
    /// The largest size at counted tokens, of which there is one at least, and the first token with it: of positive and of
    /// negative activations. A size that is not above zero is none.
    pub(super) peaks: [(f32, u32); 2],
}

impl Column<'_> {
    fn at(&self, token: usize) -> f32 {
        self.values.get(token * PANEL + self.column).copied().unwrap_or(0.0)
    }

    /// The activations from a token on, in half precision; what is too large becomes the largest.
    fn halves(&self, start: usize, to: &mut [u16]) {
        let mut near = [0f32; 64];
        for (part, to) in to.chunks_mut(near.len()).enumerate() {
            let near = &mut near[..to.len()];
            for (i, near) in near.iter_mut().enumerate() {
                *near = self.at(start + part * 64 + i).clamp(-65504.0, 65504.0);
            }
            to.reinterpret_cast_mut::<f16>().convert_from_f32_slice(near);
        }
    }

    /// The first token with the largest size on either side.
    fn peak(&self) -> u32 {
        let [(most, most_at), (least, least_at)] = self.peaks;
        match most.partial_cmp(&least) {
            Some(Ordering::Greater) => most_at,
            Some(Ordering::Less) => least_at,
            _ => most_at.min(least_at),
        }
    }
}

/// The octave of a finite size above zero; the smallest floats, which have no exponent of their own, count as
/// the lowest.
pub(super) fn octave(size: f32) -> i16 {
    ((size.to_bits() >> 23) & 0xff) as i16 - 127
}

/// Where among the lists of octaves one stands that is kept.
fn row(octave: i16, bands: usize) -> usize {
    octave.rem_euclid(bands.max(1) as i16) as usize
}

/// The gate of a list that has room, or never has.
fn open(layout: &Layout, number: usize) -> u32 {
    if layout.room(number) == 0 { u32::MAX } else { 0 }
}

/// So much of a key as a gate compares: all of a size's, half of a hash.
fn short(list: List, key: u64) -> u32 {
    match list {
        List::Top { .. } => key as u32,
        List::Random { .. } | List::Band { .. } => (key >> 32) as u32,
    }
}

#[inline(always)]
fn draw_keys_body<const FUSED: bool>(hash: u64, first: usize, keys: &mut [u64; COLUMNS]) {
    for (i, key) in keys.iter_mut().enumerate() {
        *key = Draw::key(hash, first + i);
    }
}

wide!(
    /// [`Draw::key`] of neighbouring units.
    draw_keys = draw_keys_body(hash: u64, first: usize, keys: &mut [u64; COLUMNS])
);

/// Where the gates of sixteen units' list are among those of all their lists: those of a split lie together.
fn gate_in_team(list: List, bands: usize) -> usize {
    let (split, at) = match list {
        List::Random { split } => (split, 0),
        List::Top { side, split } => (split, 1 + side),
        List::Band { side, split, row } => (split, 3 + side * bands + row),
    };
    split as usize * (3 + 2 * bands) + at
}

/// Which of sixteen units want a window, bit by bit: for lists of drawn windows, of the strongest and of octaves, on either side.
#[derive(Clone, Copy, Default)]
pub(super) struct Wanted {
    random: u16,
    top: [u16; 2],
    band: [u16; 2],
}

impl Wanted {
    /// The units with their lists of a split; the row of a list of octaves is not known yet.
    pub(super) fn lists(&self, split: Split) -> impl Iterator<Item = (usize, List)> + use<> {
        let all = [
            (self.random, List::Random { split }),
            (self.top[0], List::Top { side: 0, split }),
            (self.top[1], List::Top { side: 1, split }),
            (self.band[0], List::Band { side: 0, split, row: 0 }),
            (self.band[1], List::Band { side: 1, split, row: 0 }),
        ];
        all.into_iter().flat_map(|(units, list)| Ones(units).map(move |unit| (unit, list)))
    }
}

/// The places of the bits that are set.
struct Ones(u16);

impl Iterator for Ones {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        let first = self.0.trailing_zeros() as usize;
        self.0 &= self.0.wrapping_sub(1);
        (first < COLUMNS).then_some(first)
    }
}

/// The exemplars of some units that follow one another.
pub(super) struct Shelf {
    pub(super) layout: Layout,
    keep: Keep,
    draw: Draw,
    /// Number of the first unit at the site.
    first: usize,
    /// By unit and place.
    pub(super) places: Vec<Place>,
    /// By unit, place and token of the stretch.
    pub(super) activations: Pages<u16>,
    /// How many places are taken, by unit and list.
    pub(super) taken: Vec<u16>,
    /// A window whose key, [`short`], is below this is not kept: by sixteen units, split, list ([`Shelf::gate`]) and unit. What is asked
    /// together lies together.
    gates: Vec<[u32; COLUMNS]>,
    /// The row of each octave, from that of the smallest floats on.
    rows: [u8; 256],
    /// The largest peak's octave, by unit and side; `i16::MIN` before the first.
    pub(super) highest: Vec<[i16; 2]>,
}

impl Shelf {
    /// Empty lists for `units` units from `first` on.
    pub(super) fn new(first: usize, units: usize, keep: &Keep, draw: Draw) -> Self {
        let layout = Layout::new(keep);
        let (places, lists) = (units * layout.places(), units * layout.lists());
        let mut gates = vec![[0; COLUMNS]; units.div_ceil(COLUMNS) * layout.lists()];
        for list in layout.all() {
            let gate = open(&layout, layout.number(list));
            let at = gate_in_team(list, keep.bands);
            gates.iter_mut().skip(at).step_by(layout.lists()).for_each(|gates| gates.fill(gate));
        }
        Shelf {
            keep: *keep,
            draw,
            first,
            places: vec![Place::EMPTY; places],
            activations: Pages::zeroed(places * keep.stretch),
            taken: vec![0; lists],
            gates,
            highest: vec![[i16::MIN; 2]; units],
            rows: std::array::from_fn(|i| row(i as i16 - 127, keep.bands) as u8),
            layout,
        }
    }

    /// Bytes that a unit takes.
    pub(super) fn bytes(keep: &Keep) -> u64 {
        let layout = Layout::new(keep);
        let place = size_of::<Place>() + 2 * keep.stretch;
        (layout.places() * place + layout.lists() * (2 + 4) + size_of::<[i16; 2]>()) as u64
    }

    /// Which units of a team might keep a window with such largest sizes of positive and of negative activations: nearly none of them,
    /// found at little cost. Other lists have no place for it.
    pub(super) fn wants(
        &self,
        team: Range<usize>,
        split: Split,
        sizes: [[f32; COLUMNS]; 2],
        hashes: [u64; 3],
    ) -> Wanted {
        let bands = self.keep.bands;
        let gates = &self.gates[self.gates_of(team.start, split)];
        let mut wanted = Wanted::default();
        let mut keys = [0; COLUMNS];
        draw_keys(hashes[0], self.first + team.start, &mut keys);
        for (i, (key, gate)) in keys.iter().zip(&gates[0]).enumerate() {
            wanted.random |= u16::from((key >> 32) as u32 >= *gate) << i;
        }
        for side in 0..2 {
            draw_keys(hashes[1 + side], self.first + team.start, &mut keys);
            let rows = &gates[3 + side * bands..3 + (side + 1) * bands];
            for (i, &size) in sizes[side].iter().enumerate().take(team.len()) {
                let octave = octave(size);
                let above = i32::from(octave) - i32::from(self.highest[team.start + i][side]);
                let row = usize::from(self.rows[(octave + 127) as usize]);
                let gate = rows.get(row).map_or(u32::MAX, |gates| gates[i]);
                let drawn = above > -(bands as i32) && (keys[i] >> 32) as u32 >= gate;
                wanted.top[side] |= u16::from(size > 0.0 && size.to_bits() >= gates[1 + side][i]) << i;
                wanted.band[side] |= u16::from(size > 0.0 && (above > 0 || drawn)) << i;
            }
        }
        wanted.random &= ((1u32 << team.len()) - 1) as u16;
        wanted
    }

    /// Asks for what [`Self::wants`] looks at.
    pub(super) fn fetch_gates(&self, team: usize, split: Split) {
        fetch_ahead(&self.gates[self.gates_of(team, split)], 0);
        fetch_ahead(&self.highest[team..], 0);
    }

    /// The gates of a team's lists of a split.
    fn gates_of(&self, team: usize, split: Split) -> Range<usize> {
        let lists = self.layout.lists();
        let from = team / COLUMNS * lists + gate_in_team(List::Random { split }, self.keep.bands);
        from..from + lists / 3
    }

    /// Asks for the memory of the lists that want a window, some time before it is offered.
    pub(super) fn fetch(&self, team: usize, split: Split, wanted: &Wanted) {
        for (unit, list) in wanted.lists(split) {
            // of an octave's list any row: they lie together
            let number = self.layout.number(list);
            let from = self.first_place(team + unit, number);
            fetch_ahead(&self.taken[(team + unit) * self.layout.lists() + number..][..1], 0);
            fetch_ahead(&self.places[from..from + self.layout.room(number)], 0);
        }
    }

    /// Offers a window, of such hashes, to a unit's list; to the one of its peak's octave where it is a list of octaves.
    pub(super) fn offer(&mut self, unit: usize, list: List, column: Column<'_>, hashes: [u64; 3]) {
        match list {
            List::Random { .. } => {
                let key = Draw::key(hashes[0], self.first + unit);
                self.keep_peak(unit, list, key, column, column.peak());
            }
            List::Top { side, .. } => {
                let (size, peak) = column.peaks[side];
                self.keep_peak(unit, list, u64::from(size.to_bits()), column, peak);
            }
            List::Band { side, split, .. } => {
                let (size, peak) = column.peaks[side];
                if let Some(list) = self.band(unit, side, split, octave(size)) {
                    let key = Draw::key(hashes[1 + side], self.first + unit);
                    self.keep_peak(unit, list, key, column, peak);
                }
            }
        }
    }

    /// Offers what another shelf of the same units and configuration keeps.
    pub(super) fn merge(&mut self, other: &Shelf) {
        for unit in 0..self.highest.len() {
            for list in self.layout.all() {
                let number = self.layout.number(list);
                let from = other.first_place(unit, number);
                for index in from..from + other.taken_in(unit, number) {
                    let (place, activations) = (other.places[index], other.stretch(index));
                    let here = match list {
                        List::Band { side, split, .. } => {
                            self.band(unit, side, split, octave(place.value.abs()))
                        }
                        _ => Some(list),
                    };
                    let Some(here) = here else { continue };
                    let key = self.key(here, unit, &place);
                    if let Some(to) = self.place_for(unit, here, key, &place) {
                        self.place(to, place).copy_from_slice(activations);
                        self.settle(unit, here);
                    }
                }
            }
        }
        self.catch_up(other);
    }

    /// Takes over another shelf's highest octaves: a larger peak may be in a split of which no octaves are kept.
    fn catch_up(&mut self, other: &Shelf) {
        for (unit, highest) in other.highest.iter().enumerate() {
            for (side, &octave) in highest.iter().enumerate() {
                if octave > i16::MIN {
                    self.rise(unit, side, octave);
                }
            }
        }
    }

    /// The list of an octave if it is among the highest; lists of octaves that no longer are, are emptied.
    #[inline]
    fn band(&mut self, unit: usize, side: usize, split: Split, octave: i16) -> Option<List> {
        self.rise(unit, side, octave);
        let bands = self.keep.bands as i16;
        let low = self.highest[unit][side] - bands;
        (bands > 0 && octave > low).then(|| List::Band { side, split, row: row(octave, self.keep.bands) })
    }

    /// Raises the highest octave, and empties the lists that the new octaves take over.
    #[inline]
    fn rise(&mut self, unit: usize, side: usize, octave: i16) {
        let highest = self.highest[unit][side];
        if octave <= highest {
            return;
        }
        self.highest[unit][side] = octave;
        let bands = self.keep.bands as i16;
        if bands == 0 || highest == i16::MIN {
            return;
        }
        for new in (highest + 1).max(octave - bands + 1)..=octave {
            for split in Split::ALL {
                let list = List::Band { side, split, row: row(new, self.keep.bands) };
                self.empty(unit, list);
            }
        }
    }

    fn empty(&mut self, unit: usize, list: List) {
        let number = self.layout.number(list);
        self.taken[unit * self.layout.lists() + number] = 0;
        *self.gate(unit, list) = open(&self.layout, number);
    }

    fn gate(&mut self, unit: usize, list: List) -> &mut u32 {
        let gates = unit / COLUMNS * self.layout.lists() + gate_in_team(list, self.keep.bands);
        &mut self.gates[gates][unit % COLUMNS]
    }

    #[cold]
    fn keep_peak(&mut self, unit: usize, list: List, key: u64, column: Column<'_>, peak: u32) {
        let peak = peak as usize;
        let tokens = column.window.tokens.len();
        let length = tokens.min(self.keep.stretch);
        // More of what comes before the peak is kept than of what follows: only that can have caused it.
        let start = peak.saturating_sub(self.keep.stretch * 3 / 4).min(tokens - length);
        let place = Place {
            document: column.window.document,
            window: column.window.index,
            start: start as u32,
            value: column.at(peak),
            peak: (peak - start) as u16,
            length: length as u16,
        };
        if let Some(to) = self.place_for(unit, list, key, &place) {
            column.halves(start, self.place(to, place));
            self.settle(unit, list);
        }
    }

    /// The place that a window takes in a list, or none if it is not good enough.
    fn place_for(&mut self, unit: usize, list: List, key: u64, new: &Place) -> Option<usize> {
        let number = self.layout.number(list);
        let (from, taken) = (self.first_place(unit, number), self.taken_in(unit, number));
        if self.layout.room(number) == 0 {
            return None;
        }
        let held = from..from + taken;
        if matches!(list, List::Top { .. }) {
            let same = held.clone().filter(|&i| self.places[i].document == new.document);
            if same.clone().count() >= self.keep.per_document {
                return self.worst(unit, list, same).filter(|&i| self.before(unit, list, (key, new), i));
            }
        }
        if taken < self.layout.room(number) {
            self.taken[unit * self.layout.lists() + number] += 1;
            return Some(from + taken);
        }
        self.worst(unit, list, held).filter(|&i| self.before(unit, list, (key, new), i))
    }

    /// Whether a window comes before the one in a place.
    fn before(&self, unit: usize, list: List, new: (u64, &Place), index: usize) -> bool {
        let old = &self.places[index];
        order(new, (self.key(list, unit, old), old)) == Ordering::Less
    }

    fn worst(&self, unit: usize, list: List, among: impl Iterator<Item = usize>) -> Option<usize> {
        let keyed = among.map(|i| (i, self.key(list, unit, &self.places[i])));
        keyed.max_by(|a, b| order((a.1, &self.places[a.0]), (b.1, &self.places[b.0]))).map(|(i, _)| i)
    }

    /// Puts an exemplar to a place: where its activations go, as many as its stretch is long.
    fn place(&mut self, index: usize, place: Place) -> &mut [u16] {
        self.places[index] = place;
        let from = index * self.keep.stretch;
        let to = &mut self.activations[from..from + usize::from(place.length)];
        fetch_ahead(to, 0);
        to
    }

    /// Sets the gate of a list whose content has changed.
    pub(super) fn settle(&mut self, unit: usize, list: List) {
        let number = self.layout.number(list);
        let taken = self.taken_in(unit, number);
        if taken > 0 && taken == self.layout.room(number) {
            let from = self.first_place(unit, number);
            let keys = (from..from + taken).map(|i| self.key(list, unit, &self.places[i]));
            let lowest = keys.min().unwrap_or(0);
            *self.gate(unit, list) = short(list, lowest);
        }
    }

    /// The key of a window in a list.
    fn key(&self, list: List, unit: usize, place: &Place) -> u64 {
        let hash = |which| self.draw.window_for(which, &place.document, place.window);
        match list {
            List::Top { .. } => u64::from(place.value.abs().to_bits()),
            List::Random { .. } => Draw::key(hash(0), self.first + unit),
            List::Band { side, .. } => Draw::key(hash(1 + side), self.first + unit),
        }
    }

    /// The first place of a list, counted from the shelf's first.
    pub(super) fn first_place(&self, unit: usize, number: usize) -> usize {
        unit * self.layout.places() + self.layout.start(number)
    }

    /// How many windows a list holds.
    pub(super) fn taken_in(&self, unit: usize, number: usize) -> usize {
        usize::from(self.taken[unit * self.layout.lists() + number])
    }

    /// The activations of the stretch in a place.
    pub(super) fn stretch(&self, index: usize) -> &[u16] {
        let from = index * self.keep.stretch;
        &self.activations[from..from + usize::from(self.places[index].length)]
    }

    /// The places of a list that are taken, best first.
    pub(super) fn sorted(&self, unit: usize, list: List) -> Vec<usize> {
        let number = self.layout.number(list);
        let from = self.first_place(unit, number);
        let mut held: Vec<usize> = (from..from + self.taken_in(unit, number)).collect();
        let keyed = |i: usize| (self.key(list, unit, &self.places[i]), &self.places[i]);
        held.sort_by(|&a, &b| order(keyed(a), keyed(b)));
        held
    }

    /// Whether an octave, as a file states it, belongs in a list: its row, and not dropped.
    pub(super) fn belongs(&self, unit: usize, list: List, value: f32) -> bool {
        let List::Band { side, row, .. } = list else { return true };
        let (octave, bands, highest) =
            (octave(value.abs()), self.keep.bands as i16, self.highest[unit][side]);
        octave <= highest
            && octave > highest.saturating_sub(bands)
            && self::row(octave, self.keep.bands) == row
    }
}

/// Better first: the larger key, then the smaller document and window.
fn order(a: (u64, &Place), b: (u64, &Place)) -> Ordering {
    b.0.cmp(&a.0).then_with(|| (a.1.document, a.1.window).cmp(&(b.1.document, b.1.window)))
}
