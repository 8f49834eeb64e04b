//! Sleeping on a 32-bit word of memory that processes share.
#![allow(unsafe_code, reason = "futex has no safe wrapper in nix")]

use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// Sleeps while the word holds `seen`, at most this long; may also return for no reason.
pub(super) fn wait(word: &AtomicU32, seen: u32, limit: Option<Duration>) {
    let timeout = limit.map(|limit| libc::timespec {
        tv_sec: limit.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    });
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word is a live, aligned 32-bit atomic, and the timeout is null or a live timespec; FUTEX_WAIT reads
    // both and writes nothing.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, timeout) };
}

/// Wakes one of those that sleep on the word.
pub(super) fn wake_one(word: &AtomicU32) {
    wake(word, 1);
}

/// Wakes all that sleep on the word.
pub(super) fn wake_all(word: &AtomicU32) {
    wake(word, i32::MAX);
}

fn wake(word: &AtomicU32, most: i32) {
    // SAFETY: FUTEX_WAKE uses the word's address only.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, most) };
}
