//! The allocator of the process.
#![allow(unsafe_code, reason = "malloc_trim has no safe wrapper in nix")]

/// Returns freed memory to the system, where the C library keeps it for later: after vectors of tens of MiB, glibc
/// keeps as much again.
pub(crate) fn give_back() {
    #[cfg(target_env = "gnu")]
    // SAFETY: any thread may call it at any time, and it touches only what is free.
    unsafe {
        nix::libc::malloc_trim(0);
    }
}
