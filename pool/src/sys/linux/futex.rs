//! The futex calls: sleep on a word, and wake its sleepers. Not the private kind, because a sleeper may be in another
//! process.
#![allow(unsafe_code, reason = "futex has no safe wrapper in nix")]

use std::sync::atomic::AtomicU32;
use std::time::Duration;

use nix::libc;

/// A word to sleep on.
pub(crate) type Word = AtomicU32;

/// Sleeps while the word is `seen`, for at most `limit`. May also return spuriously.
pub(crate) fn wait(word: &Word, seen: u32, limit: Option<Duration>) {
    let timeout = limit.map(|limit| libc::timespec {
        tv_sec: limit.as_secs().try_into().unwrap_or(libc::time_t::MAX),
        tv_nsec: limit.subsec_nanos().into(),
    });
    let timeout = timeout.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: the word is a live, aligned 32-bit atomic, and the timeout is null or a live timespec; FUTEX_WAIT reads
    // both and writes nothing.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAIT, seen, timeout) };
}

/// Wakes one sleeper on the word.
pub(crate) fn wake_one(word: &Word) {
    wake(word, 1);
}

/// Wakes all sleepers on the word.
pub(crate) fn wake_all(word: &Word) {
    wake(word, i32::MAX);
}

fn wake(word: &Word, most: i32) {
    // SAFETY: FUTEX_WAKE only uses the word's address, and does not access the word.
    unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), libc::FUTEX_WAKE, most) };
}
