//! A head and a row of slots in which processes note their numbers: the base of the barrier and the semaphore.
#![allow(unsafe_code, reason = "knows where in shared memory its fields lie")]

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, MutexGuard, PoisonError};

use super::lock::Lock;
use crate::error::Error;
use crate::shared::memory::{Handle, Kind, Region, is_present};

/// The fields before the slots.
#[repr(C, align(64))]
pub(in crate::shared) struct Head {
    /// Guards `words`, and taking slots.
    lock: AtomicU64,
    /// Counts the events for which sleepers wait.
    pub(in crate::shared) event: AtomicU32,
    pub(in crate::shared) words: [AtomicU32; 3],
}

/// An object that consists of a head and `count` slots. The count is kept here, and never read from shared memory.
#[derive(Debug, Clone)]
pub(in crate::shared) struct Slots {
    region: Arc<Region>,
    count: usize,
}

impl Slots {
    fn bytes_of(count: usize) -> Option<usize> {
        count.checked_mul(size_of::<AtomicU64>())?.checked_add(size_of::<Head>())
    }

    pub(in crate::shared) fn create(kind: Kind, count: usize) -> Result<Self, Error> {
        let failed = |why: &dyn Display| Error::shared_memory(format!("a new {}", kind.what), why);
        let bytes = Self::bytes_of(count).ok_or_else(|| failed(&"there are not so many addresses"))?;
        let region = Region::create(kind, bytes)?;
        region.join().map_err(|error| failed(&error))?;
        Ok(Self { region, count })
    }

    pub(in crate::shared) fn attach(handle: &Handle, kind: Kind) -> Result<Self, String> {
        let count = usize::try_from(handle.count).map_err(|error| error.to_string())?;
        let region = Region::attach(handle, kind, Self::bytes_of(count))?;
        region.join().map_err(|error| format!("this process cannot use the {}: {error}", kind.what))?;
        Ok(Self { region, count })
    }

    pub(in crate::shared) fn handle(&self) -> Handle {
        self.region.handle(self.count)
    }

    pub(in crate::shared) fn count(&self) -> usize {
        self.count
    }

    pub(in crate::shared) fn head(&self) -> &Head {
        // SAFETY: `create` and `attach` made sure that the region has the bytes of a head and `count` slots. The head
        // is at the start of a page, and any bytes are valid atomics.
        unsafe { self.region.base().cast().as_ref() }
    }

    pub(in crate::shared) fn lock(&self) -> Lock<'_> {
        Lock::new(&self.head().lock, &self.region)
    }

    pub(in crate::shared) fn slots(&self) -> &[AtomicU64] {
        // SAFETY: as in `head`. The slots follow the head, whose size is a multiple of 64, so they are aligned; and
        // `self` owns the region, which keeps them mapped.
        unsafe {
            std::slice::from_raw_parts(self.region.base().cast::<Head>().add(1).cast().as_ptr(), self.count)
        }
    }

    /// This process's number, or 0 if it has none yet.
    pub(in crate::shared) fn own_number(&self) -> u64 {
        self.region.presence().number_so_far()
    }

    /// The slots that this process has taken, noted in memory that other processes can't reach.
    pub(in crate::shared) fn own_places(&self) -> MutexGuard<'_, BTreeSet<usize>> {
        self.region.places().lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the process that wrote this number is still there.
    pub(in crate::shared) fn is_there(&self, number: u64) -> bool {
        number == self.own_number() || is_present(self.region.file(), number)
    }
}

impl Head {
    /// Counts an event, for which sleepers may wait.
    pub(in crate::shared) fn note_event(&self) {
        // SYNC: event noted
        self.event.fetch_add(1, Ordering::Release);
    }
}
