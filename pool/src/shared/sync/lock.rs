//! A lock between processes that outlives whoever holds it.
//!
//! The shared word holds the number of the process that has the lock (see [`presence`](crate::shared::memory::presence)), or 0, and a
//! bit that says that others wait. Taking and giving back a free lock is one atomic operation on it. Who finds it
//! taken asks the kernel whether its holder is still there, and then sleeps on the word: until the holder wakes it,
//! but at most for [`LOOK`], then it asks again. A lock whose holder is gone passes on to who finds that out, with the
//! word that it was left so.
//!
//! Before a thread goes for the word it takes the process's own gate, which others can't reach. So the word never
//! names this process while a thread goes for it: if it does, it was scribbled there, and counts as left behind.
//!
//! What can't happen: two have the lock. The word passes from number to number by compare-and-swap, and a number's
//! process gives it back itself or is gone for good: the kernel drops the lock on a process's number only when none
//! of its threads runs any more. What can: a scribble that gives the lock to two, or to nobody, or to a process that
//! does not know it; then the object's data is as good as any that was scribbled over, and whoever waits does so
//! until that process ends, as it would for one that never gives its lock back.
#![allow(unsafe_code, reason = "sleeps on half of a word")]

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::shared::memory::presence::{NUMBER_MASK, is_present};
use crate::shared::memory::region::Region;
use crate::sys::futex;

/// How long a sleep lasts before the next look at whoever is waited for.
pub(in crate::shared) const LOOK: Duration = Duration::from_millis(20);
/// For how long a lock is waited for that is held for a few steps at a time, whatever the limit of the wait itself: a
/// holder that is only kept off its core is back by then.
pub(in crate::shared) const LONGEST_HOLD: Duration = Duration::from_secs(2);
/// So many looks at a taken lock before the first sleep: about a microsecond.
const SPINS: u32 = 40;
/// Others wait for the word.
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

    /// This long, if it is shorter.
    pub(in crate::shared) fn at_least(self, limit: Duration) -> Self {
        match (self, Self::of(limit)) {
            (Self::None, least) => least,
            (Self::Until(end), Self::Until(least)) => Self::Until(end.max(least)),
            (patience, _) => patience,
        }
    }

    /// For how long to sleep, if at all; at most this long.
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

/// How a lock was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::shared) enum Found {
    GivenBack,
    /// Its holder ended without giving it back.
    LeftBehind,
}

/// A lock's word, and the object that it lies in.
#[derive(Debug, Clone, Copy)]
pub(in crate::shared) struct Lock<'a> {
    word: &'a AtomicU64,
    region: &'a Region,
}

impl<'a> Lock<'a> {
    pub(in crate::shared) fn new(word: &'a AtomicU64, region: &'a Region) -> Self {
        Self { word, region }
    }

    /// Takes the lock; none when patience ends. With it comes the number that it was taken by.
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
            Ok(_) => Some(Found::GivenBack),
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
                // Others may wait too.
                let mine = me | WAITED_FOR;
                // SYNC: lock handed over
                if self.word.compare_exchange(seen, mine, Ordering::Acquire, Ordering::Relaxed).is_ok() {
                    return Some(if gone { Found::LeftBehind } else { Found::GivenBack });
                }
                continue;
            }
            let sleep = patience.sleep(LOOK)?;
            let waited_for = seen | WAITED_FOR;
            let marked = self.word.compare_exchange(seen, waited_for, Ordering::Relaxed, Ordering::Relaxed);
            if marked.is_ok() {
                futex::wait(self.low_half(), waited_for as u32, Some(sleep));
            }
        }
    }

    /// Gives the lock back that was taken by this number. A child that was forked in between has none to give back.
    #[inline]
    pub(in crate::shared) fn give_back(self, number: u64) {
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

    /// What the kernel compares, and wakes by.
    fn low_half(&self) -> &AtomicU32 {
        // SAFETY: the first half of a word of a little-endian machine, which is its low one, aligned as the word is.
        // Only its address is used.
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

/// Opens the gate when the word could not be had, or looking for it panics.
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
    use crate::shared::memory::presence::Presence;
    use crate::shared::memory::region::Kind;

    fn region() -> Arc<Region> {
        let region = Region::create(Kind { what: "test", key: 1 }, 8).unwrap();
        region.join().unwrap();
        region
    }

    fn word(region: &Region) -> &AtomicU64 {
        // SAFETY: the region has eight bytes, aligned to a page, that are accessed as an atomic only.
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
                        assert_eq!(found, Found::GivenBack);
                        assert_eq!(inside.fetch_add(1, Ordering::Relaxed), 0);
                        inside.fetch_sub(1, Ordering::Relaxed);
                        lock.give_back(number);
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
            lock.give_back(number);
            assert_eq!(word(&region).load(Ordering::Relaxed), 0);
        }
        word(&region).store(3, Ordering::Relaxed);
        assert_eq!(
            lock.take(Patience::None).unwrap().0,
            Found::GivenBack,
            "bits without a number are no holder"
        );
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
