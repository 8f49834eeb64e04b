//! [`SharedSemaphore`].
//!
//! Each permit has a slot: 0 while it is free, otherwise the number of the process that has it. Slots are taken under
//! the lock and released without it. A process that finds no free slot asks the kernel about each number; a permit
//! whose process is gone is free. Each process notes which permits are its own, so its number in any other slot is a
//! stray write.

use std::fmt;
use std::sync::atomic::Ordering;
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::lock::{CHECK_INTERVAL, LONGEST_HOLD, Patience};
use super::slots::Slots;
use crate::error::Error;
use crate::shared::memory::{Handle, Kind};
use crate::shared::type_key;
use crate::sys::futex;

/// A number of permits that processes share: a worker with a permit goes on, and others wait for one.
///
/// A permit is released when it is dropped, and when its process is killed or exits; waiters notice that within 20 ms.
///
/// ```
/// # fn main() -> Result<(), pool::Error> {
/// let downloads = pool::shared::SharedSemaphore::new(2)?;
/// let (one, two) = (downloads.acquire(), downloads.acquire());
/// assert!(downloads.try_acquire().is_none());
/// drop(one);
/// assert!(downloads.try_acquire().is_some());
/// # drop(two);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct SharedSemaphore {
    slots: Slots,
}

impl SharedSemaphore {
    fn kind() -> Kind {
        Kind { what: "SharedSemaphore", key: type_key::<Self>() }
    }

    /// Makes a semaphore with this many permits, at least 1.
    ///
    /// # Errors
    /// [`Error::Option`] for 0 permits, [`Error::SharedMemory`] if no memory or no descriptor is left.
    pub fn new(permits: usize) -> Result<Self, Error> {
        if permits == 0 {
            return Err(Error::option("permits", permits, "a semaphore has at least 1 permit"));
        }
        Slots::create(Self::kind(), permits).map(|slots| Self { slots })
    }

    /// The total number of permits.
    #[must_use]
    pub fn permits(&self) -> usize {
        self.slots.count()
    }

    /// Waits for a permit.
    ///
    /// # Panics
    /// In a worker that inherited the semaphore by fork, if it has no descriptor or memory left to take part in it.
    pub fn acquire(&self) -> SharedPermit<'_> {
        self.take(Patience::Endless).expect("patience without end does not end")
    }

    /// Takes a permit if one is free. May take up to 2 seconds if a process was stopped (by SIGSTOP, say) while it used
    /// the semaphore.
    ///
    /// # Panics
    /// As for [`acquire`](Self::acquire).
    #[must_use]
    pub fn try_acquire(&self) -> Option<SharedPermit<'_>> {
        self.take(Patience::None)
    }

    /// Waits for a permit for at most this long, or for as long as [`try_acquire`](Self::try_acquire) takes.
    ///
    /// # Panics
    /// As for [`acquire`](Self::acquire).
    #[must_use]
    pub fn acquire_timeout(&self, limit: Duration) -> Option<SharedPermit<'_>> {
        self.take(Patience::of(limit))
    }

    fn take(&self, patience: Patience) -> Option<SharedPermit<'_>> {
        let head = self.slots.head();
        loop {
            // SYNC: event noted
            let event = head.event.load(Ordering::Acquire);
            if let Some(permit) = self.find(patience) {
                return Some(permit);
            }
            let sleep = patience.sleep(CHECK_INTERVAL)?;
            futex::wait(&head.event, event, Some(sleep));
        }
    }

    /// Finds a permit that is free, or whose process is gone.
    fn find(&self, patience: Patience) -> Option<SharedPermit<'_>> {
        let lock = self.slots.lock();
        // It is held for only a few instructions at a time, unless its holder is stopped. A dead holder leaves no slot
        // half written.
        let (_, number) = lock.take(patience.at_least(LONGEST_HOLD))?;
        let slots = self.slots.slots();
        let free = slots.iter().position(|slot| slot.load(Ordering::Acquire) == 0);
        let place = free.or_else(|| (0..slots.len()).find(|&place| self.is_left(place, number)));
        if let Some(place) = place {
            let mut own = self.slots.own_places();
            own.insert(place);
            slots[place].store(number, Ordering::Relaxed);
        }
        lock.release(number);
        place.map(|place| SharedPermit { semaphore: self, place, number })
    }

    fn is_left(&self, place: usize, me: u64) -> bool {
        let holder = self.slots.slots()[place].load(Ordering::Acquire);
        if holder == me { !self.slots.own_places().contains(&place) } else { !self.slots.is_there(holder) }
    }
}

/// A permit of a [`SharedSemaphore`]. Dropping it releases the permit.
#[must_use = "the permit is released when this is dropped"]
pub struct SharedPermit<'a> {
    semaphore: &'a SharedSemaphore,
    place: usize,
    /// The number of the process that has it.
    number: u64,
}

impl Drop for SharedPermit<'_> {
    fn drop(&mut self) {
        let Self { semaphore: SharedSemaphore { slots }, place, number } = *self;
        // In a forked child this is a copy: the permit is its parent's.
        if slots.own_number() != number {
            return;
        }
        let mut own = slots.own_places();
        let _ = slots.slots()[place].compare_exchange(number, 0, Ordering::Release, Ordering::Relaxed);
        own.remove(&place);
        drop(own);
        slots.head().note_event();
        futex::wake_one(&slots.head().event);
    }
}

impl fmt::Debug for SharedPermit<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SharedPermit({} of {})", self.place, self.semaphore.permits())
    }
}

impl fmt::Debug for SharedSemaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedSemaphore").field("permits", &self.permits()).finish_non_exhaustive()
    }
}

impl Serialize for SharedSemaphore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.slots.handle().serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SharedSemaphore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let handle = Handle::deserialize(deserializer)?;
        Slots::attach(&handle, Self::kind()).map(|slots| Self { slots }).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permits_that_nobody_has_are_free() {
        let semaphore = SharedSemaphore::new(3).unwrap();
        let held = semaphore.acquire();
        let own = semaphore.slots.own_number();
        // Stray writes: nonsense, and this process's number in a slot where it has no permit.
        semaphore.slots.slots()[1].store(42, Ordering::Relaxed);
        semaphore.slots.slots()[2].store(own, Ordering::Relaxed);
        let (one, two) = (semaphore.try_acquire(), semaphore.try_acquire());
        assert!(one.is_some() && two.is_some() && semaphore.try_acquire().is_none());
        drop((held, one));
        assert!(semaphore.try_acquire().is_some());
    }
}
