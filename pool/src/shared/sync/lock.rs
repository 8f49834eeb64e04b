//! A lock between processes that survives the death of its holder.
//!
//! The shared word contains the number of the process that holds the lock (see `memory/system/presence.rs`), or 0, and
//! a bit that says that others wait. Taking a free lock is one atomic operation, and so is releasing it. A process that
//! finds the lock taken asks the kernel whether its holder is still there, and then sleeps on the word until the holder
//! wakes it, but for at most [`CHECK_INTERVAL`]; then it asks again. The first to find the holder gone gets the lock,
//! and is told that it was left behind.
//!
//! Before a thread tries for the word, it takes the process's own gate, which other processes can't reach. So the word
//! never names this process while one of its threads tries for it. If it does, a stray write put the number there, and
//! the lock counts as left behind.
//!
//! **The lock never has two holders.** The word changes by compare-and-swap, from 0 or from a number; and from a number
//! only if its process releases the lock or is gone for good: the kernel drops the file lock on a process's number once
//! none of its threads runs any more. A stray write to the word can break this: it may give the lock to two processes,
//! to none, or to one that does not know of it. But the data is open to the same stray writes, and a waiter waits at
//! most until that process ends, as it would for one that never releases the lock.
#![allow(unsafe_code, reason = "sleeps on half of a 64-bit word")]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::shared::memory::{NUMBER_MASK, Region, is_present};
use crate::sys::futex;

/// How long a waiter sleeps before it checks again whether the holder is alive: too short for a user to notice, and
/// rare enough to cost hardly any CPU time.
pub(in crate::shared) const CHECK_INTERVAL: Duration = Duration::from_millis(20);
/// How long to wait at least for an object's inner lock, which is held for only a few instructions at a time: a holder
/// that has merely lost its core is back by then.
pub(in crate::shared) const LONGEST_HOLD: Duration = Duration::from_secs(2);
/// How often to check a taken lock before the first sleep: it takes about a microsecond.
const SPINS: u32 = 40;
/// The bit of the word that says that others wait.
const WAITED_FOR: u64 = 1;

/// How long to wait.
#[derive(Debug, Clone, Copy)]
pub(in crate::shared) enum Patience {
    /// Not at all.
    None,
    Until(Instant),
    Endless,
}

impl Patience {
    pub(in crate::shared) fn of(limit: Duration) -> Self {
        Instant::now().checked_add(limit).map_or(Self::Endless, Self::Until)
    }

    /// This patience, but at least for `limit`.
    pub(in crate::shared) fn at_least(self, limit: Duration) -> Self {
        match (self, Self::of(limit)) {
            (Self::None, least) => least,
            (Self::Until(end), Self::Until(least)) => Self::Until(end.max(least)),
            (patience, _) => patience,
        }
    }

    /// How long to sleep now, at most `most`; none if patience has ended.
    pub(in crate::shared) fn sleep(self, most: Duration) -> Option<Duration> {
        match self {
            Self::None => None,
            Self::Endless => Some(most),
            Self::Until(end) => {
                let left = end.saturating_duration_since(Instant::now());
                (!left.is_zero()).then_some(left.min(most))
            }
        }
    }
}

/// The state in which a lock was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::shared) enum Found {
    Free,
    /// Its holder ended without releasing it.
    LeftBehind,
}

/// A lock: its word, and the object that contains it.
#[derive(Debug, Clone, Copy)]
pub(in crate::shared) struct Lock<'a> {
    word: &'a AtomicU64,
    region: &'a Region,
}

impl<'a> Lock<'a> {
    pub(in crate::shared) fn new(word: &'a AtomicU64, region: &'a Region) -> Self {
        Self { word, region }
    }

    /// Takes the lock with this process's number, which it returns; none if patience ends first.
    ///
    /// # Panics
    /// In a forked process that can't get a number.
    #[inline]
    pub(in crate::shared) fn take(self, patience: Patience) -> Option<(Found, u64)> {
        let presence = self.region.presence();
        if !Gate(presence.gate()).enter(patience) {
            return None;
        }
        let gate = LeaveGate(presence.gate());
        let me = presence.number(self.region.file());
        // SYNC: lock handed over
        let free = self.word.compare_exchange(0, me, Ordering::Acquire, Ordering::Relaxed);
        let found = match free {
            Ok(_) => Some(Found::Free),
            Err(_) => self.take_from(me, patience),
        };
        let found = found?;
        std::mem::forget(gate);
        Some((found, me))
    }

    #[cold]
    fn take_from(self, me: u64, patience: Patience) -> Option<Found> {
        for _ in 0..SPINS {
            if self.word.load(Ordering::Relaxed) == 0 {
                break;
            }
            std::hint::spin_loop();
        }
        loop {
            let seen = self.word.load(Ordering::Relaxed);
            let holder = seen & NUMBER_MASK;
            let gone = holder == me || holder != 0 && !is_present(self.region.file(), holder);
            if holder == 0 || gone {
                // The bit stays set, because others may wait too.
                let mine = me | WAITED_FOR;
                // SYNC: lock handed over
                if self.word.compare_exchange(seen, mine, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                    return Some(if gone { Found::LeftBehind } else { Found::Free });
                }
                continue;
            }
            let sleep = patience.sleep(CHECK_INTERVAL)?;
            let waited_for = seen | WAITED_FOR;
            let marked = self.word.compare_exchange(seen, waited_for, Ordering::Relaxed, Ordering::Relaxed);
            if marked.is_ok() {
                futex::wait(self.low_half(), waited_for as u32, Some(sleep));
            }
        }
    }

    /// Releases the lock that was taken with this number. A child that was forked in between has another number, and
    /// does not hold the lock.
    #[inline]
    pub(in crate::shared) fn release(self, number: u64) {
        let presence = self.region.presence();
        if presence.number_so_far() != number {
            return;
        }
        // SYNC: lock handed over
        if self.word.swap(0, Ordering::Release) != number {
            futex::wake_one(self.low_half());
        }
        Gate(presence.gate()).leave();
    }

    /// The half of the word that serves as the futex.
    fn low_half(&self) -> &AtomicU32 {
        // SAFETY: the pointer is to the first four bytes of a live atomic of eight bytes, so it is valid and aligned.
        // Only the kernel reads through it. (On the little-endian machines that the crate supports, these bytes are the
        // low half.)
        unsafe { AtomicU32::from_ptr(self.word.as_ptr().cast()) }
    }
}

/// The lock between the threads of one process. 0: open; 1: taken; 2: taken, and others may wait.
struct Gate<'a>(&'a AtomicU32);

impl Gate<'_> {
    #[inline]
    fn enter(&self, patience: Patience) -> bool {
        // SYNC: gate opened
        self.0.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok() || self.wait(patience)
    }

    #[cold]
    fn wait(&self, patience: Patience) -> bool {
        for _ in 0..SPINS {
            if self.0.load(Ordering::Relaxed) == 0 {
                break;
            }
            std::hint::spin_loop();
        }
        loop {
            // SYNC: gate opened
            if self.0.compare_exchange(0, 2, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                return true;
            }
            let Some(sleep) = patience.sleep(Duration::MAX) else { return false };
            // SYNC: gate opened
            if self.0.swap(2, Ordering::Acquire) == 0 {
                return true;
            }
            futex::wait(self.0, 2, (sleep != Duration::MAX).then_some(sleep));
        }
    }

    #[inline]
    fn leave(&self) {
        // SYNC: gate opened
        if self.0.swap(0, Ordering::Release) == 2 {
            futex::wake_one(self.0);
        }
    }
}

/// Opens the gate again if the word could not be taken, or the attempt panics.
struct LeaveGate<'a>(&'a AtomicU32);

impl Drop for LeaveGate<'_> {
    fn drop(&mut self) {
        Gate(self.0).leave();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::shared::memory::Kind;
    use crate::shared::memory::system::Presence;

    fn region() -> Arc<Region> {
        let region = Region::create(Kind { what: "test", key: 1 }, 8).unwrap();
        region.join().unwrap();
        region
    }

    fn word(region: &Region) -> &AtomicU64 {
        // SAFETY: the region has eight bytes, aligned to a page, that are accessed only as an atomic.
        unsafe { AtomicU64::from_ptr(region.base().cast().as_ptr()) }
    }

    #[test]
    fn one_thread_at_a_time() {
        let region = region();
        let lock = Lock::new(word(&region), &region);
        let inside = AtomicU32::new(0);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for _ in 0..1000 {
                        let (found, number) = lock.take(Patience::Endless).unwrap();
                        assert_eq!(found, Found::Free);
                        assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                        inside.fetch_sub(1, Ordering::Relaxed);
                        lock.release(number);
                    }
                });
            }
        });
        assert_eq!(word(&region).load(Ordering::Relaxed), 0);
    }

    #[test]
    fn nonsense_and_the_dead_are_not_waited_for() {
        let region = region();
        let lock = Lock::new(word(&region), &region);
        let dead = Presence::new(region.file()).unwrap().number_so_far();
        let own = region.presence().number_so_far();
        for left in [dead, dead | WAITED_FOR, own, own | 3, 1 << 63, u64::MAX, 0xdead_beef] {
            word(&region).store(left, Ordering::Relaxed);
            let (found, number) = lock.take(Patience::None).unwrap();
            assert_eq!(found, Found::LeftBehind, "{left:#x}");
            lock.release(number);
            assert_eq!(word(&region).load(Ordering::Relaxed), 0);
        }
        word(&region).store(3, Ordering::Relaxed);
        assert_eq!(lock.take(Patience::None).unwrap().0, Found::Free, "bits without a number are no holder");
    }

    #[test]
    fn the_living_are_waited_for_until_they_go() {
        let region = region();
        let lock = Lock::new(word(&region), &region);
        let other = Presence::new(region.file()).unwrap();
        word(&region).store(other.number_so_far(), Ordering::Relaxed);
        assert!(lock.take(Patience::None).is_none());
        assert!(lock.take(Patience::of(Duration::from_millis(30))).is_none());
        let taken = std::thread::scope(|scope| {
            let waits = scope.spawn(|| lock.take(Patience::Endless));
            drop(other);
            waits.join().unwrap()
        });
        assert_eq!(taken.unwrap().0, Found::LeftBehind);
    }
}
