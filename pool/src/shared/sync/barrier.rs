//! [`SharedBarrier`].
//!
//! The lock of its slots guards the number of parties that have arrived in this round, their numbers in the slots, the
//! number of the round, and whether the barrier is broken. The last to arrive asks the kernel whether all the others
//! are still there, and opens the next round. The others sleep on the event count for a short while at a time; one that
//! wakes up in the same round asks the kernel too. A lock that was left behind, or an impossible count, also breaks the
//! barrier.

use std::fmt;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::lock::{CHECK_INTERVAL, Found, LONGEST_HOLD, Patience};
use super::slots::Slots;
use crate::error::Error;
use crate::shared::memory::{Handle, Kind};
use crate::shared::type_key;
use crate::sys::futex;

/// A reusable barrier between processes: in each round, a number of parties must arrive before any of them goes on.
///
/// It *breaks* if a process that waits at it is killed or exits, or if a [`wait_timeout`](Self::wait_timeout) ends
/// before all have arrived. Then all waits fail, including later ones, until [`reset`](Self::reset). The barrier does
/// not know of a worker that dies before it arrives: if that can happen, give each wait a limit.
///
/// ```
/// # fn main() -> Result<(), pool::Error> {
/// let barrier = pool::shared::SharedBarrier::new(2)?;
/// std::thread::scope(|scope| {
///     let first = scope.spawn(|| barrier.wait());
///     let second = barrier.wait();
///     assert_ne!(first.join().unwrap(), second);
/// });
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedBarrier(Slots);

/// Why a wait at a [`SharedBarrier`] ended before all had arrived.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[non_exhaustive]
pub enum BarrierError {
    /// A waiting process has ended or given up.
    #[error("the barrier is broken: a process that waited at it has ended or given up; `reset` it")]
    Broken,
    /// The limit passed before all had arrived, which broke the barrier.
    #[error("not all have come to the barrier in time: it is broken now, `reset` it")]
    TimedOut,
}

impl SharedBarrier {
    fn kind() -> Kind {
        Kind { what: "SharedBarrier", key: type_key::<Self>() }
    }

    /// Makes a barrier for this many parties. Each wait counts as one party, so several threads of a process may take
    /// part.
    ///
    /// # Errors
    /// [`Error::Option`] for 0 parties, [`Error::SharedMemory`] if no memory or no descriptor is left.
    pub fn new(parties: usize) -> Result<Self, Error> {
        match u32::try_from(parties) {
            Ok(1..) => Slots::create(Self::kind(), parties).map(Self),
            _ => Err(Error::option("parties", parties, "a barrier is for 1 to 4294967295")),
        }
    }

    /// The number of parties that must arrive.
    #[must_use]
    pub fn parties(&self) -> usize {
        self.0.count()
    }

    /// Waits until all have arrived. Returns this party's place in the order of arrival, from 0; each number is
    /// returned once per round.
    ///
    /// # Errors
    /// [`BarrierError::Broken`] if the barrier is broken, or breaks meanwhile.
    ///
    /// # Panics
    /// In a worker that inherited the barrier by fork, if it has no descriptor or memory left to take part in it.
    pub fn wait(&self) -> Result<usize, BarrierError> {
        self.wait_with(Patience::Endless)
    }

    /// Waits for at most this long, and up to 2 seconds longer if a process was stopped (by SIGSTOP, say) while it used
    /// the barrier.
    ///
    /// # Errors
    /// [`BarrierError::TimedOut`] if the limit passes; [`BarrierError::Broken`] as for [`wait`](Self::wait).
    ///
    /// # Panics
    /// As for [`wait`](Self::wait).
    pub fn wait_timeout(&self, limit: Duration) -> Result<usize, BarrierError> {
        self.wait_with(Patience::of(limit))
    }

    /// Whether the barrier is broken now.
    #[must_use]
    pub fn is_broken(&self) -> bool {
        self.broken().load(Relaxed) != 0
    }

    /// Makes the barrier usable again. Running waits end with [`BarrierError::Broken`]. If a process was stopped (by
    /// SIGSTOP, say) while it used the barrier, the barrier stays broken, as [`is_broken`](Self::is_broken) tells.
    ///
    /// # Panics
    /// As for [`wait`](Self::wait).
    pub fn reset(&self) {
        self.locked(Patience::None, |_| {
            self.next_round(Ending::Broken);
            self.broken().store(0, Relaxed);
        });
    }

    fn arrived(&self) -> &AtomicU32 {
        &self.0.head().words[0]
    }

    /// The number of the round; its lowest bit says how the previous round ended.
    fn round(&self) -> &AtomicU32 {
        &self.0.head().words[1]
    }

    fn broken(&self) -> &AtomicU32 {
        &self.0.head().words[2]
    }

    fn wait_with(&self, patience: Patience) -> Result<usize, BarrierError> {
        let came = self.locked(patience, |me| (self.come(me), self.0.head().event.load(Relaxed)));
        let (came, mut event) = came.ok_or(BarrierError::TimedOut)?;
        let (place, round) = came?;
        if place + 1 == self.parties() {
            return Ok(place);
        }
        loop {
            let sleep = patience.sleep(CHECK_INTERVAL);
            if let Some(sleep) = sleep {
                futex::wait(&self.0.head().event, event, Some(sleep));
            }
            // SYNC: event noted
            event = self.0.head().event.load(Ordering::Acquire);
            if let Some(ended) = self.ended(round) {
                return ended.map(|()| place);
            }
            if sleep.is_none() {
                let ended = self.locked(patience, |_| self.give_up(round));
                return ended.unwrap_or(Err(BarrierError::TimedOut)).map(|()| place);
            }
            if self.somebody_is_gone() {
                self.locked(patience, |_| self.find_dead(round));
            }
        }
    }

    /// Arrives at the barrier. Returns this party's place, and the round.
    fn come(&self, me: u64) -> Result<(usize, u32), BarrierError> {
        if self.is_broken() {
            return Err(BarrierError::Broken);
        }
        let (place, round) = (self.arrived().load(Relaxed) as usize, self.round().load(Relaxed));
        let Some(slot) = self.0.slots().get(place) else {
            self.break_it();
            return Err(BarrierError::Broken);
        };
        slot.store(me, Relaxed);
        self.arrived().store(place as u32 + 1, Relaxed);
        if place + 1 == self.parties() {
            if self.somebody_is_gone() {
                self.break_it();
                return Err(BarrierError::Broken);
            }
            self.next_round(Ending::Complete);
        }
        Ok((place, round))
    }

    /// How this round has ended, if it has.
    fn ended(&self, round: u32) -> Option<Result<(), BarrierError>> {
        let broken = self.is_broken();
        // SYNC: all have come
        let now = self.round().load(Ordering::Acquire);
        if now == round {
            return broken.then_some(Err(BarrierError::Broken));
        }
        let complete = now & 1 == Ending::Complete as u32;
        Some(if complete { Ok(()) } else { Err(BarrierError::Broken) })
    }

    fn give_up(&self, round: u32) -> Result<(), BarrierError> {
        match self.ended(round) {
            Some(ended) => ended,
            None => {
                self.break_it();
                Err(BarrierError::TimedOut)
            }
        }
    }

    fn somebody_is_gone(&self) -> bool {
        let arrived = self.arrived().load(Relaxed) as usize;
        let came = self.0.slots().iter().take(arrived);
        came.into_iter().any(|slot| !self.0.is_there(slot.load(Relaxed)))
    }

    fn find_dead(&self, round: u32) {
        if self.ended(round).is_none() && self.somebody_is_gone() {
            self.break_it();
        }
    }

    fn break_it(&self) {
        self.broken().store(1, Relaxed);
        self.tell_all();
    }

    fn next_round(&self, ending: Ending) {
        self.arrived().store(0, Relaxed);
        let next = (self.round().load(Relaxed) >> 1).wrapping_add(1) << 1;
        // SYNC: all have come
        self.round().store(next | ending as u32, Ordering::Release);
        self.tell_all();
    }

    fn tell_all(&self) {
        self.0.head().note_event();
        futex::wake_all(&self.0.head().event);
    }

    /// Calls `act` under the lock, with this process's number. If the lock can't be taken, breaks the barrier and
    /// returns none: the lock is held for only a few instructions at a time, so its holder was stopped.
    fn locked<R>(&self, patience: Patience, act: impl FnOnce(u64) -> R) -> Option<R> {
        let lock = self.0.lock();
        let Some((found, number)) = lock.take(patience.at_least(LONGEST_HOLD)) else {
            self.break_it();
            return None;
        };
        if found == Found::LeftBehind {
            // Its holder may have left a change half done.
            self.break_it();
        }
        let result = act(number);
        lock.release(number);
        Some(result)
    }
}

/// How a round ends.
#[derive(Debug, Clone, Copy)]
enum Ending {
    Broken,
    Complete,
}

impl fmt::Debug for SharedBarrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(slots) = self;
        f.debug_struct("SharedBarrier").field("parties", &slots.count()).finish_non_exhaustive()
    }
}

impl Serialize for SharedBarrier {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.handle().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedBarrier {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let handle = Handle::deserialize(deserializer)?;
        Slots::attach(&handle, Self::kind()).map(Self).map_err(D::Error::custom)
    }
}
