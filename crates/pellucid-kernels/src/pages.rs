//! Memory for weights. They are read from end to end for every token, and with small pages the processor spends a good
//! part of that time finding where they lie; so large matrices get pages of their own, which the system is asked to make
//! large ones.

use bytemuck::Pod;
use memmap2::MmapMut;
use std::fmt;
use std::ops::{Deref, DerefMut};

/// Numbers in memory of their own.
pub struct Pages<T>(Held<T>);

enum Held<T> {
    Heap(Vec<T>),
    Map(MmapMut),
}

/// From this many bytes on, pages of its own are worth having: one large page.
const LARGE: usize = 2 << 20;

impl<T: Pod> Pages<T> {
    /// So many zeros.
    pub fn zeroed(count: usize) -> Self {
        let bytes = count.saturating_mul(size_of::<T>());
        let map = if bytes >= LARGE { MmapMut::map_anon(bytes).ok() } else { None };
        Pages(match map {
            Some(map) => {
                // only a wish: where it is refused the pages are small
                #[cfg(target_os = "linux")]
                let _ = map.advise(memmap2::Advice::HugePage);
                Held::Map(map)
            }
            None => Held::Heap(vec![T::zeroed(); count]),
        })
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
            Held::Map(map) => bytemuck::cast_slice(map),
        }
    }
}

impl<T: Pod> DerefMut for Pages<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match &mut self.0 {
            Held::Heap(all) => all,
            Held::Map(map) => bytemuck::cast_slice_mut(map),
        }
    }
}

impl<T> fmt::Debug for Pages<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if matches!(self.0, Held::Map(_)) { "pages" } else { "the heap" };
        write!(f, "numbers in {place}")
    }
}

/// Asks the processor to fetch what lies `ahead` bytes beyond the beginning of a slice, so much of it as the slice is long: for
/// loops over several streams at once, which its own foresight does not follow. It reads nothing, and may point anywhere.
#[inline(always)]
pub fn fetch_ahead<T>(here: &[T], ahead: usize) {
    #[cfg(target_arch = "x86_64")]
    for line in (0..size_of_val(here)).step_by(64) {
        let at = here.as_ptr().cast::<i8>().wrapping_add(ahead + line);
        // SAFETY: a prefetch has no effect but on caches and does not fault, whatever the address.
        #[allow(unsafe_code)]
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
