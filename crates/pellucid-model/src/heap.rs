//! One setting of the C library's allocator.

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
