//! The C library's allocator: what it keeps, and when it gives back.

#![allow(unsafe_code)] // see the safety comment below

/// Keeps freed memory with the process instead of giving it back after every operation. A run makes and frees the
/// same large tensors layer after layer; fetching fresh pages for each costs a fifth of a short run's time. Peak memory
/// stays the same. For programs, once at their start; a library must not decide this for its host.
pub fn keep_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const KEEP: libc::c_int = 1 << 30;
        // SAFETY: `mallopt` takes two integers and changes thresholds of the allocator; it touches no memory of ours.
        unsafe {
            libc::mallopt(libc::M_MMAP_THRESHOLD, KEEP);
            libc::mallopt(libc::M_TRIM_THRESHOLD, KEEP);
        }
    }
}

/// Gives freed memory back to the system once, whatever is kept otherwise: for after a large passing need.
pub(crate) fn give_back_freed_memory() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: `malloc_trim` takes a number of bytes to leave and returns free pages to the system; no live allocation moves.
    unsafe {
        libc::malloc_trim(0);
    }
}
