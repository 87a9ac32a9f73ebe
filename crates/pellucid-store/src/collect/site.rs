//! All statistics of one site in one state: what the sweep uses.

use super::chunk::{Chunk, PANEL, Piece, Seen, UNITS};
use super::keep::{Draw, Keep};
use super::{Block, CollectError, Collector};
use crate::harvest::SiteHarvest;
use crate::window::{Document, Window};
use pellucid_core::{Site, Split};
use pellucid_kernels::sheet::one_by_one;
use pellucid_kernels::wide;
use rayon::prelude::*;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Statistics, sketches and exemplars of all units of one site; works on all threads of rayon's pool.
pub struct SiteCollector {
    pub(super) site: Site,
    pub(super) width: usize,
    pub(super) keep: Keep,
    pub(super) draw: Draw,
    /// Counted tokens.
    pub(super) count: u64,
    pub(super) chunks: Vec<Chunk>,
}

/// Bytes that a collector of so many units takes, from its first block to its last.
pub fn memory(width: usize, keep: &Keep) -> u64 {
    let chunks = width.div_ceil(UNITS) as u64;
    (width as u64).saturating_mul(Chunk::bytes(keep)) + chunks * 2 * size_of::<Chunk>() as u64
}

impl SiteCollector {
    /// Nothing seen yet. All memory is reserved here.
    ///
    /// # Errors
    /// If the configuration cannot be worked with, or the site has no units.
    pub fn new(site: Site, width: usize, keep: &Keep) -> Result<Self, CollectError> {
        keep.check()?;
        if width == 0 {
            return Err(CollectError::Keep {
                what: "the site's width",
                found: 0,
                expected: "at least 1 unit",
            });
        }
        let draw = Draw::new(keep.seed, &site.to_string());
        let starts = (0..width).step_by(UNITS);
        let chunks = starts.map(|first| Chunk::new(first, UNITS.min(width - first), keep, draw)).collect();
        Ok(SiteCollector { site, width, keep: *keep, draw, count: 0, chunks })
    }

    /// Where it collects.
    pub fn site(&self) -> Site {
        self.site
    }

    /// Tokens counted so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Site, width and configuration, in words: two collectors can be joined if these are the same.
    pub(super) fn described(&self) -> String {
        let three = |of: &super::PerSplit<usize>| Split::ALL.map(|s| of.of(s).to_string()).join("/");
        let keep = &self.keep;
        format!(
            "{} with {} units, top {}, random {}, {} octaves of {}, {} tokens, {} from a document, seed {}",
            self.site,
            self.width,
            three(&keep.top),
            three(&keep.random),
            keep.bands,
            three(&keep.per_band),
            keep.stretch,
            keep.per_document,
            keep.seed.0
        )
    }

    /// The count with so many more tokens, if the bins can hold them.
    pub(super) fn with(&self, more: u64) -> Result<u64, CollectError> {
        let found = self.count.saturating_add(more);
        if found > u64::from(u32::MAX) { Err(CollectError::Full { found }) } else { Ok(found) }
    }

    fn seen<'a>(&self, window: &'a Window) -> Result<Seen<'a>, CollectError> {
        if window.tokens.len() == window.counted.len() {
            return Ok(Seen::new(window, &self.draw));
        }
        Err(CollectError::Counted {
            document: window.document,
            window: window.index,
            tokens: window.tokens.len(),
            counted: window.counted.len(),
        })
    }

    /// Cuts a block into its windows, after checking that they fill it; with the count after them.
    fn pieces<'a>(&self, block: &Block<'a>) -> Result<(Vec<Piece<'a>>, u64), CollectError> {
        if block.width != self.width {
            return Err(CollectError::Width { expected: self.width, found: block.width });
        }
        let tokens: usize = block.windows.iter().map(|window| window.tokens.len()).sum();
        let (expected, found) = (tokens.saturating_mul(self.width), block.values.len());
        if found != expected {
            return Err(CollectError::Length { expected, tokens, width: self.width, found });
        }
        let mut pieces = Vec::with_capacity(block.windows.len());
        let mut rest = block.values;
        for window in block.windows {
            let (values, below) = rest.split_at(window.tokens.len() * self.width);
            rest = below;
            pieces.push(Piece { seen: self.seen(window)?, values, width: self.width });
        }
        let count = self.with(counted(pieces.iter().map(|piece| &piece.seen)))?;
        Ok((pieces, count))
    }

    /// As [`Collector::collect`], but looks for numbers that are not finite on the way and not before: for a caller who throws the
    /// collector away if there is one.
    ///
    /// # Errors
    /// As there; of the collector nothing is then good.
    pub fn collect_or_spoil(&mut self, block: &Block<'_>) -> Result<(), CollectError> {
        let (pieces, count) = self.pieces(block)?;
        self.count = count;
        let spoilt = AtomicBool::new(false);
        one_by_one(&mut self.chunks, |_, chunk| {
            if !chunk.collect(&pieces) {
                spoilt.store(true, Relaxed);
            }
        });
        if spoilt.into_inner() { Err(self.first_not_finite(&pieces)) } else { Ok(()) }
    }

    /// Takes windows in as their activations are made, see [`Parts`].
    ///
    /// # Errors
    /// If the windows cannot be collected. The collector is then as it was before.
    pub fn begin<'a>(&'a mut self, windows: &'a [Window]) -> Result<Parts<'a>, CollectError> {
        let seen = windows.iter().map(|window| self.seen(window)).collect::<Result<Vec<_>, _>>()?;
        self.count = self.with(counted(&seen))?;
        let (width, chunks) = (self.width, self.chunks.iter_mut().map(Mutex::new).collect());
        Ok(Parts { width, seen, chunks, taken: AtomicUsize::new(0), failed: Mutex::new(None) })
    }

    fn first_not_finite(&self, pieces: &[Piece<'_>]) -> CollectError {
        let first = pieces.iter().find_map(|piece| {
            let (token, unit, value) = first_bad(piece.values, self.width, self.width)?;
            Some(not_finite(piece.seen.window, token, unit, value))
        });
        // There is one, or this would not be asked; a default spares a panic.
        first.unwrap_or(CollectError::NotFinite {
            unit: 0,
            document: Document([0; 16]),
            window: 0,
            token: 0,
            value: f32::NAN,
        })
    }
}

/// The first number that is not finite among the first `units` of rows of such a width: its row, its place in it, and itself.
fn first_bad(values: &[f32], width: usize, units: usize) -> Option<(usize, usize, f32)> {
    values.chunks_exact(width).enumerate().find_map(|(token, row)| {
        let unit = row[..units].iter().position(|value| !value.is_finite())?;
        Some((token, unit, row[unit]))
    })
}

fn not_finite(window: &Window, token: usize, unit: usize, value: f32) -> CollectError {
    CollectError::NotFinite { unit, document: window.document, window: window.index, token, value }
}

/// Counted tokens of windows.
fn counted<'a>(all: impl IntoIterator<Item = &'a Seen<'a>>) -> u64 {
    all.into_iter().map(|seen| seen.counted.len() as u64).sum()
}

/// Windows that a collector takes in while their activations are made: [`PANEL`] units at a time, in any order and from any thread. The
/// harvest is that of the same windows in a [`Block`], bit for bit.
pub struct Parts<'a> {
    width: usize,
    seen: Vec<Seen<'a>>,
    chunks: Vec<Mutex<&'a mut Chunk>>,
    taken: AtomicUsize,
    /// The first window, token and unit whose activation is no finite number, or what else was wrong.
    failed: Mutex<Option<Failed>>,
}

/// What was wrong with a part: the earliest is told.
type Failed = (usize, usize, usize, CollectError);

impl Parts<'_> {
    /// Takes in a window's activations at the units from `first` on, a multiple of [`PANEL`]: `(tokens, PANEL)`, where fewer units are
    /// left with anything behind them.
    pub fn take(&self, window: usize, first: usize, values: &[f32]) {
        // one that nobody waits for is one too many
        self.taken.fetch_add(1, Relaxed);
        let Some(seen) = self.seen.get(window) else { return };
        let tokens = seen.window.tokens.len();
        let units = PANEL.min(self.width.saturating_sub(first));
        if values.len() != tokens * PANEL || units == 0 || !first.is_multiple_of(PANEL) {
            let found = values.len();
            let error = CollectError::Length { expected: tokens * PANEL, tokens, width: PANEL, found };
            return self.fail((window, 0, first, error));
        }
        let good = awaited(&self.chunks[first / UNITS]).collect_panel(first % UNITS, seen, values);
        if good {
            return self.fetch(first + PANEL, seen.window.split);
        }
        // there is one, or the panel would be good
        let (token, unit, value) = first_bad(values, PANEL, units).unwrap_or((0, 0, f32::NAN));
        let error = not_finite(seen.window, token, first + unit, value);
        self.fail((window, token, first + unit, error));
    }

    /// Asks for what the panel after the last takes, which usually comes next on this thread, and after a while. Where another thread is at
    /// it, that has it near.
    fn fetch(&self, first: usize, split: Split) {
        if first < self.width
            && let Ok(chunk) = self.chunks[first / UNITS].try_lock()
        {
            chunk.fetch_all(first % UNITS, split);
        }
    }

    fn fail(&self, new: Failed) {
        let mut failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner);
        let place = |of: &Failed| (of.0, of.1, of.2);
        if failed.as_ref().is_none_or(|old| place(&new) < place(old)) {
            *failed = Some(new);
        }
    }

    /// Whether all was taken in.
    ///
    /// # Errors
    /// As [`Collector::collect`], and if a part is missing or there was one too many; of the collector nothing is then good.
    pub fn end(self) -> Result<(), CollectError> {
        if let Some((.., error)) = self.failed.into_inner().unwrap_or_else(PoisonError::into_inner) {
            return Err(error);
        }
        let lengths = || self.seen.iter().map(|seen| seen.window.tokens.len());
        let (tokens, windows) = (lengths().sum(), lengths().filter(|tokens| *tokens > 0).count());
        let (expected, found) = (windows * self.width.div_ceil(PANEL), self.taken.into_inner());
        if expected != found {
            return Err(CollectError::Length { expected, tokens, width: self.width, found });
        }
        Ok(())
    }
}

/// What a lock keeps. Whoever has it gives it back in microseconds: going to sleep would take longer than waiting.
fn awaited<T>(lock: &Mutex<T>) -> MutexGuard<'_, T> {
    for _ in 0..LOOKS {
        if let Ok(guard) = lock.try_lock() {
            return guard;
        }
        std::hint::spin_loop();
    }
    lock.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Looks at a lock before sleep.
const LOOKS: usize = 1000;

wide!(
    /// Whether all values are finite.
    pub(super) all_finite = all_finite_body(values: &[f32]) -> bool
);

/// Whether all values are finite: an exponent of ones is the only one to which adding one carries into the sign.
#[inline(always)]
fn all_finite_body<const FUSED: bool>(values: &[f32]) -> bool {
    let carried = values.iter().fold(0, |all, x| all | ((x.to_bits() & 0x7fff_ffff) + 0x0080_0000));
    carried >> 31 == 0
}

impl Collector for SiteCollector {
    type Harvest = SiteHarvest;

    fn collect(&mut self, block: &Block<'_>) -> Result<(), CollectError> {
        let (pieces, count) = self.pieces(block)?;
        if !block.values.par_chunks(1 << 15).all(all_finite) {
            return Err(self.first_not_finite(&pieces));
        }
        self.count = count;
        one_by_one(&mut self.chunks, |_, chunk| {
            chunk.collect(&pieces);
        });
        Ok(())
    }

    fn merge(&mut self, other: Self) -> Result<(), CollectError> {
        let (expected, found) = (self.described(), other.described());
        if expected != found {
            return Err(CollectError::Differs { expected, found });
        }
        self.count = self.with(other.count)?;
        self.chunks.par_iter_mut().zip(&other.chunks).for_each(|(here, there)| here.merge(there));
        Ok(())
    }

    fn harvest(self) -> SiteHarvest {
        let units = self.chunks.par_iter().flat_map_iter(|chunk| chunk.harvest(self.count)).collect();
        SiteHarvest { site: self.site, units }
    }
}
