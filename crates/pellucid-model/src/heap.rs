//! The C library's allocator: what it keeps, when it gives back, and of what pages.

#![allow(unsafe_code)] // calls of the C library: each with its argument

use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

/// Whether freed memory is kept.
static KEPT: AtomicBool = AtomicBool::new(false);

/// Keeps freed memory with the process instead of giving it back after every operation, and asks for large pages. A run makes and
/// frees the same large tensors layer after layer; fetching fresh pages for each costs a fifth of a short run's time, and small pages
/// a twentieth of one that keeps its values for a backward pass. Peak memory stays the same. For programs, once at their start; a
/// library must not decide this for its host.
pub fn keep_freed_memory() {
    KEPT.store(true, Relaxed);
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const KEEP: libc::c_int = 1 << 30;
        // SAFETY: `mallopt` takes two integers and changes thresholds of the allocator; it touches no memory of ours.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, KEEP);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEEP);
        }
        large_pages();
    }
}

/// Gives freed memory back to the system once, whatever is kept otherwise: for after a large passing need.
pub(crate) fn give_back_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        // SAFETY: `malloc_trim` takes a number of bytes to leave and returns free pages to the system; no live allocation moves.
        unsafe {
            libc::malloc_trim(0);
        }
        if KEPT.load(Relaxed) {
            large_pages();
        }
    }
}

/// Lets the heap grow once by more than a run needs and asks for large pages there, before anything is written: memory takes the
/// pages that it is first written with. Nothing of it counts before that.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn large_pages() {
    const GROWTH: libc::c_int = 512 << 20;
    const LATER: libc::c_int = 128 << 10;
    const PAGE: usize = 2 << 20;
    // SAFETY: as in `keep_freed_memory`.
    unsafe { libc::mallopt(libc::M_TOP_PAD, GROWTH) };
    // more than is left, so that the heap must grow
    let beyond = std::hint::black_box(Vec::<u8>::with_capacity(2 * PAGE));
    let from = (beyond.as_ptr() as usize).next_multiple_of(PAGE);
    // SAFETY: as above, back to what it is by itself; and `sbrk(0)` says where the heap ends.
    let end = unsafe {
        libc::mallopt(libc::M_TOP_PAD, LATER);
        libc::sbrk(0) as usize
    };
    // where the heap could not grow, or somebody else has put an allocator in place, the bytes lie elsewhere
    if from < end && end - from <= 2 * GROWTH as usize {
        // SAFETY: only a wish for memory of this process, whose content it does not change.
        unsafe { libc::madvise(from as *mut libc::c_void, end - from, libc::MADV_HUGEPAGE) };
    }
}
