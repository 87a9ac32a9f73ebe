//! Which windows a sweep keeps of each unit, and where they lie in memory.
//!
//! All exemplars of a unit have fixed places, reserved before the sweep starts, so that the memory is known
//! then. A place belongs to a list; a list keeps its best few windows by a key of 64 bits.

use super::CollectError;
use crate::window::Document;
use pellucid_core::{Seed, Split};

/// One thing for each split.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PerSplit<T> {
    /// What an explainer may see.
    pub train: T,
    /// What chooses between explanations.
    pub validation: T,
    /// What a reported score is measured on.
    pub test: T,
}

impl<T> PerSplit<T> {
    /// The one of a split.
    pub fn of(&self, split: Split) -> &T {
        match split {
            Split::Train => &self.train,
            Split::Validation => &self.validation,
            Split::Test => &self.test,
        }
    }
}

/// Which windows are kept of each unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// The strongest windows of each polarity.
    pub top: PerSplit<usize>,
    /// Windows drawn uniformly from all, other ones for each unit.
    pub random: PerSplit<usize>,
    /// From how many octaves of peaks windows are drawn, counted down from the octave of the unit's and
    /// polarity's largest peak in any split.
    pub bands: usize,
    /// Windows drawn from each octave and polarity.
    pub per_band: PerSplit<usize>,
    /// Longest stretch of a window that is kept, in tokens.
    pub stretch: usize,
    /// How many of a polarity's and split's strongest windows may come from one document.
    pub per_document: usize,
    /// Decides the draws.
    pub seed: Seed,
}

impl Keep {
    /// A sensible choice for a sweep over all neurons of a model: 12 train, 5 validation and 8 test windows of
    /// each polarity with at most one from a document, 3, 2 and 4 random ones, one train and one test window
    /// from each of six octaves, 48 tokens each. About 13.6 kB a unit; 625 MB for the 46,080 neurons of
    /// SmolLM2-135M.
    pub const fn for_sweep(seed: Seed) -> Keep {
        Keep {
            top: PerSplit { train: 12, validation: 5, test: 8 },
            random: PerSplit { train: 3, validation: 2, test: 4 },
            bands: 6,
            per_band: PerSplit { train: 1, validation: 0, test: 1 },
            stretch: 48,
            per_document: 1,
            seed,
        }
    }

    /// Whether it can be worked with: places in a list and tokens in a stretch are counted in 16 bits.
    pub(super) fn check(&self) -> Result<(), CollectError> {
        let within = |what, found, least: usize, most: usize, expected| {
            if (least..=most).contains(&found) {
                Ok(())
            } else {
                Err(CollectError::Keep { what, found, expected })
            }
        };
        within("the longest stretch", self.stretch, 1, 65_535, "1 to 65535 tokens")?;
        within("the number of windows from one document", self.per_document, 1, usize::MAX, "at least 1")?;
        within("the number of octaves", self.bands, 0, 64, "0 to 64")?;
        for split in Split::ALL {
            for (what, of) in [
                ("the number of strongest windows", &self.top),
                ("the number of random windows", &self.random),
                ("the number of windows from an octave", &self.per_band),
            ] {
                within(what, *of.of(split), 0, 4096, "0 to 4096")?;
            }
        }
        Ok(())
    }
}

/// One list of a unit. `side` is 0 for positive, 1 for negative; `row` is the octave modulo the number of bands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum List {
    /// The strongest windows.
    Top { side: usize, split: Split },
    /// Drawn from all windows.
    Random { split: Split },
    /// Drawn from an octave.
    Band { side: usize, split: Split, row: usize },
}

/// Where a unit's lists lie.
#[derive(Clone, Debug)]
pub(super) struct Layout {
    keep: Keep,
    /// First place of each list, and one more entry: the number of places.
    starts: Vec<usize>,
}

impl Layout {
    /// The layout of a configuration that was checked.
    pub(super) fn new(keep: &Keep) -> Self {
        let mut layout = Layout { keep: *keep, starts: vec![0] };
        let mut end = 0;
        for list in layout.all().collect::<Vec<_>>() {
            end += layout.length(list);
            layout.starts.push(end);
        }
        layout
    }

    /// All lists, by number.
    pub(super) fn all(&self) -> impl Iterator<Item = List> + use<> {
        let bands = self.keep.bands;
        let sides = || (0..2).flat_map(|side| Split::ALL.into_iter().map(move |split| (side, split)));
        let top = sides().map(|(side, split)| List::Top { side, split });
        let random = Split::ALL.into_iter().map(|split| List::Random { split });
        let band =
            sides().flat_map(move |(side, split)| (0..bands).map(move |row| List::Band { side, split, row }));
        top.chain(random).chain(band)
    }

    /// The number of a list; the order of [`Layout::all`].
    pub(super) fn number(&self, list: List) -> usize {
        match list {
            List::Top { side, split } => side * 3 + split as usize,
            List::Random { split } => 6 + split as usize,
            List::Band { side, split, row } => 9 + (side * 3 + split as usize) * self.keep.bands + row,
        }
    }

    /// Lists of a unit.
    pub(super) fn lists(&self) -> usize {
        self.starts.len() - 1
    }

    /// Places of a unit.
    pub(super) fn places(&self) -> usize {
        self.starts[self.lists()]
    }

    /// First place of a list, counted from the unit's first.
    pub(super) fn start(&self, number: usize) -> usize {
        self.starts[number]
    }

    /// How many windows the list with this number keeps.
    pub(super) fn room(&self, number: usize) -> usize {
        self.starts[number + 1] - self.starts[number]
    }

    fn length(&self, list: List) -> usize {
        match list {
            List::Top { split, .. } => *self.keep.top.of(split),
            List::Random { split } => *self.keep.random.of(split),
            List::Band { split, .. } => *self.keep.per_band.of(split),
        }
    }
}

/// The hashes that draw windows: one stream for each purpose, so that a window drawn for one is not likelier to
/// be drawn for another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Draw {
    random: Seed,
    bands: [Seed; 2],
}

impl Draw {
    /// The draws of a site, named so that a unit of one layer and its namesake in another draw different windows.
    pub(super) fn new(seed: Seed, site: &str) -> Self {
        let of = |purpose: &str| seed.for_purpose(&format!("{purpose} {site}"));
        Draw { random: of("random windows"), bands: [of("windows of octaves +"), of("windows of octaves -")] }
    }

    /// A window's hashes for all units: random, positive octaves, negative octaves.
    pub(super) fn window(&self, document: &Document, window: u32) -> [u64; 3] {
        [0, 1, 2].map(|which| self.window_for(which, document, window))
    }

    /// One of them.
    pub(super) fn window_for(&self, which: usize, document: &Document, window: u32) -> u64 {
        let seed = match which {
            0 => self.random,
            1 => self.bands[0],
            _ => self.bands[1],
        };
        let mut words = [0u64; 2];
        for (word, bytes) in words.iter_mut().zip(document.0.chunks_exact(8)) {
            *word = bytes.iter().fold(0, |w, &b| w << 8 | u64::from(b));
        }
        let first = Seed(seed.0 ^ words[0]).next();
        let second = Seed(first ^ words[1]).next();
        Seed(second ^ u64::from(window)).next()
    }

    /// The key of a window for one unit: the unit's number of the stream that the window's hash starts.
    #[inline]
    pub(super) fn key(hash: u64, unit: usize) -> u64 {
        Seed(hash.wrapping_add((unit as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15))).next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_numbered_in_their_order_and_fill_the_places() {
        let layout = Layout::new(&Keep::for_sweep(Seed(1)));
        for (number, list) in layout.all().enumerate() {
            assert_eq!(layout.number(list), number);
        }
        assert_eq!(layout.lists(), 6 + 3 + 36);
        assert_eq!(layout.places(), 2 * 25 + 9 + 2 * 6 * 2);
    }

    #[test]
    fn nonsense_is_refused() {
        let good = Keep::for_sweep(Seed(1));
        assert!(good.check().is_ok());
        for bad in [
            Keep { stretch: 0, ..good },
            Keep { stretch: 70_000, ..good },
            Keep { per_document: 0, ..good },
            Keep { bands: 65, ..good },
            Keep { random: PerSplit { train: 5000, validation: 0, test: 0 }, ..good },
        ] {
            assert!(bad.check().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn hashes_differ_by_everything_that_they_are_made_of() {
        let key = |seed, site: &str, document: [u8; 16], window, unit| {
            Draw::key(Draw::new(Seed(seed), site).window(&Document(document), window)[0], unit)
        };
        let mut last = [0; 16];
        last[15] = 1;
        let mut all = vec![
            key(1, "a", [0; 16], 0, 0),
            key(2, "a", [0; 16], 0, 0),
            key(1, "b", [0; 16], 0, 0),
            key(1, "a", [1; 16], 0, 0),
            key(1, "a", last, 0, 0),
            key(1, "a", [0; 16], 1, 0),
            key(1, "a", [0; 16], 0, 1),
        ];
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), 7);
    }
}
