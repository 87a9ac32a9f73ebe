//! Memory of large pages. Weights are read from end to end for every token, and with small pages the processor spends a good
//! part of that time finding where they lie; so matrices lie side by side in regions that the system is asked to make of large
//! pages. It is asked the same for the large matrices that a run makes.

#![allow(unsafe_code)] // parts of a region, and asking for memory ahead: each with its argument

use bytemuck::Pod;
use memmap2::{MmapOptions, MmapRaw};
use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, PoisonError};

/// Numbers in memory of their own.
pub struct Pages<T>(Held<T>);

enum Held<T> {
    Heap(Vec<T>),
    Part(Part<T>),
}

/// Some numbers of a region, and of nobody else.
struct Part<T> {
    start: *mut T,
    count: usize,
    /// Keeps the memory.
    _region: Arc<MmapRaw>,
}

// SAFETY: a part owns its numbers as a vector does: nobody else has a pointer to them.
unsafe impl<T: Send> Send for Part<T> {}
// SAFETY: as above.
unsafe impl<T: Sync> Sync for Part<T> {}

/// A region that still has room, and how many of its bytes are given away.
static OPEN: Mutex<Option<(Arc<MmapRaw>, usize)>> = Mutex::new(None);

/// Bytes of a region, if nothing larger is asked for.
const REGION: usize = 32 << 20;

/// Bytes from which on a place in a region is worth having.
const LARGE: usize = 64 << 10;

/// Parts begin at a multiple of this.
const LINE: usize = 64;

impl<T: Pod> Part<T> {
    /// So many zeros, if the system has the memory.
    fn zeroed(count: usize) -> Option<Self> {
        const { assert!(align_of::<T>() <= LINE) };
        let bytes = count.checked_mul(size_of::<T>())?.checked_next_multiple_of(LINE)?;
        let mut open = OPEN.lock().unwrap_or_else(PoisonError::into_inner);
        let (region, from) = match open.take() {
            Some((region, used)) if region.len() - used >= bytes => (region, used),
            _ => (Arc::new(fresh(bytes.max(REGION))?), 0),
        };
        // SAFETY: the part ends within the region (as was asked, or as it was made).
        let start = unsafe { region.as_mut_ptr().add(from) }.cast::<T>();
        *open = Some((Arc::clone(&region), from + bytes));
        Some(Part { start, count, _region: region })
    }
}

/// Memory that nobody has written to.
fn fresh(bytes: usize) -> Option<MmapRaw> {
    let region = MmapRaw::from(MmapOptions::new().len(bytes).map_anon().ok()?);
    // only a wish: where it is refused the pages are small
    #[cfg(all(target_os = "linux", not(miri)))]
    let _ = region.advise(memmap2::Advice::HugePage);
    Some(region)
}

impl<T: Pod> Pages<T> {
    /// So many zeros.
    pub fn zeroed(count: usize) -> Self {
        let large = count.saturating_mul(size_of::<T>()) >= LARGE;
        let part = if large { Part::zeroed(count) } else { None };
        Pages(part.map_or_else(|| Held::Heap(vec![T::zeroed(); count]), Held::Part))
    }

    /// Bytes held.
    pub fn bytes(&self) -> usize {
        size_of_val(&**self)
    }
}

impl<T: Pod> Deref for Pages<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match &self.0 {
            Held::Heap(all) => all,
            // SAFETY: the numbers lie in the region, which the part keeps; they were zeros, or are what was written, and any
            // bytes are a `T`; who borrows them borrows the part, which alone has them.
            Held::Part(part) => unsafe { std::slice::from_raw_parts(part.start, part.count) },
        }
    }
}

impl<T: Pod> DerefMut for Pages<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Held::Heap(all) => all,
            // SAFETY: as above, and the part is borrowed by this caller alone.
            Held::Part(part) => unsafe { std::slice::from_raw_parts_mut(part.start, part.count) },
        }
    }
}

impl<T> fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if matches!(self.0, Held::Part(_)) { "pages" } else { "the heap" };
        write!(f, "numbers in {place}")
    }
}

/// Room for so many numbers that a whole layer's rows make: of large pages, if the system agrees. Rows lie far apart, and what reads or
/// writes a few columns of all of them needs a page for each.
pub fn room<T>(count: usize) -> Vec<T> {
    let room = Vec::with_capacity(count);
    #[cfg(all(target_os = "linux", not(miri)))]
    {
        let from = (room.as_ptr() as usize).next_multiple_of(HUGE);
        let to = (room.as_ptr() as usize + room.capacity() * size_of::<T>()) / HUGE * HUGE;
        if from < to {
            // SAFETY: only a wish for memory of our own allocation, whose content it does not change.
            unsafe { libc::madvise(from as *mut libc::c_void, to - from, libc::MADV_HUGEPAGE) };
        }
    }
    room
}

/// Bytes of a large page.
#[cfg(all(target_os = "linux", not(miri)))]
const HUGE: usize = 2 << 20;

/// Asks the processor to fetch what lies `ahead` bytes beyond the beginning of a slice, so much of it as the slice is long: for
/// loops over several streams at once, which its own foresight does not follow. It reads nothing, and may point anywhere.
#[inline(always)]
pub fn fetch_ahead<T>(here: &[T], ahead: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..size_of_val(here)).step_by(64) {
        let at = here.as_ptr().cast::<i8>().wrapping_add(ahead + line);
        // SAFETY: a prefetch has no effect but on caches and does not fault, whatever the address.
        unsafe {
            std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at);
        }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (here, ahead);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_and_large_are_zeros_that_can_be_written() {
        for count in [0, 1, 1000, LARGE / 4, LARGE] {
            let mut pages = Pages::<f32>::zeroed(count);
            assert_eq!((pages.len(), pages.bytes()), (count, 4 * count));
            assert!(pages.iter().all(|v| *v == 0.0));
            if let Some(last) = pages.last_mut() {
                *last = 3.0;
            }
            assert_eq!(pages.iter().sum::<f32>(), if count == 0 { 0.0 } else { 3.0 });
        }
    }
}
