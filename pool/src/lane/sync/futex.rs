//! The futex calls: sleep on a word, wake who sleeps on it. Not the private kind: the sleeper is another process.
#![allow(unsafe_code, reason = "futex has no safe wrapper in nix")]

use std::sync::atomic::AtomicU32;
use std::time::Duration;

/// What can be slept on.
pub(in crate::lane) type Word = AtomicU32;

/// Sleeps while the word holds `seen`, at most this long; may also return for no reason.
pub(in crate::lane) fn wait(word: &Word, seen: u32, limit: Option<Duration>) {
    let timeout = limit.map(|limit| libc::timespec {
        tv_sec: limit.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    });
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word is a live, aligned 32-bit atomic, and the timeout is null or a live timespec; FUTEX_WAIT reads
    // both and writes nothing.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, timeout) };
}

/// Wakes the one that sleeps on the word.
pub(in crate::lane) fn wake(word: &Word) {
    // SAFETY: FUTEX_WAKE uses the word's address only.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, 1) };
}
