//! Objects in exclusive use through a `&mut`: the user's, or that of a call that lends pieces to its tasks.

use std::fmt::Display;
use std::sync::atomic::{Ordering, fence};
use std::sync::{Arc, TryLockError, Weak};

use super::{REGIONS, Region, regions};
use crate::error::Error;
use crate::shared::memory::system::Exclusive;
use crate::sys::identity::Owner;

/// The holder of an exclusive object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::shared) enum Holder {
    /// The user, who may keep it anywhere.
    User,
    /// A call, which keeps it in its frame and lends it to its tasks.
    Call,
}

impl Region {
    /// Makes this the only use of the object, in all processes, until the result is dropped. The caller must have this
    /// handle borrowed exclusively.
    pub(in crate::shared) fn exclude(self: &Arc<Self>, holder: Holder) -> Result<Excluded<'_>, Error> {
        let refused = |why: &dyn Display| {
            Error::shared_memory(format!("the {} cannot be borrowed exclusively", self.kind.what), why)
        };
        let _others_wait = regions();
        if Arc::strong_count(self) > 1 {
            let why = "this process has other handles to it: drop its clones, and the pools and tasks that have one";
            return Err(refused(&why));
        }
        // Accesses through handles that were dropped happen before those through the borrow.
        fence(Ordering::Acquire);
        match self.lease.exclude(self.memory.file()) {
            Ok(Some(lease)) => {
                self.exclusive.store(true, Ordering::Relaxed);
                self.lent.store(holder == Holder::Call, Ordering::Relaxed);
                Ok(Excluded { region: self, lease, owner: Owner::here() })
            }
            Ok(None) => Err(refused(
                &"another process has it mapped: a worker that has it in its `#[shared]` value or state keeps it as \
                  long as the pool lives (join the pool first), one that has it as an argument until its task ends; \
                  and workers of `StartMethod::Fork` have all that this process had when it was copied",
            )),
            Err(error) => Err(refused(&error)),
        }
    }

    /// Whether a call of this process lends it, so that nothing else uses it.
    pub(in crate::shared) fn is_lent(&self) -> bool {
        self.lent.load(Ordering::Relaxed)
    }

    /// Notes that pieces of it go to other processes.
    pub(in crate::shared) fn note_lent(&self) {
        self.was_lent.store(true, Ordering::Relaxed);
    }

    /// Frees the memory if no process has a lease. Called when the last use here ends. Workers to which it was lent may
    /// still have it mapped, but do not use it.
    pub(in crate::shared) fn free_if_lent(&self) {
        if self.was_lent.load(Ordering::Relaxed)
            && let Ok(Some(_alone)) = self.lease.exclude(self.memory.file())
        {
            self.memory.free();
        }
    }
}

/// The only use of an object. Dropping it lets others use it again.
#[derive(Debug)]
pub(in crate::shared) struct Excluded<'a> {
    region: &'a Region,
    lease: Exclusive,
    owner: Owner,
}

impl Drop for Excluded<'_> {
    fn drop(&mut self) {
        if !self.owner.is_here() {
            // The lock belongs to the opening, which a fork shares: the child must not end its parent's exclusive use.
            return;
        }
        let _others_wait = regions();
        // A lease that can't be given back stays exclusive, which is safe.
        let ended = self.lease.end();
        self.region.exclusive.store(!ended, Ordering::Relaxed);
        self.region.lent.store(false, Ordering::Relaxed);
    }
}

/// An error if an object in this process is borrowed exclusively or locked.
pub(in crate::shared) fn refuse_fork() -> Result<(), String> {
    let regions: Vec<Arc<Region>> = regions().values().filter_map(Weak::upgrade).collect();
    let borrowed = regions.iter().find(|region| {
        let locked =
            || region.presence.get().is_some_and(|presence| presence.gate().load(Ordering::Relaxed) != 0);
        // A lending call has its `&mut` in its own frame, to which a forked child never returns.
        let kept = region.exclusive.load(Ordering::Relaxed) && !region.lent.load(Ordering::Relaxed);
        kept || locked()
    });
    match borrowed {
        Some(region) => Err(format!(
            "a {} is borrowed exclusively or locked here, and a fork would copy that: end the borrow first",
            region.kind.what
        )),
        None => Ok(()),
    }
}

/// Gives up a forked child's part in the objects that a call was lending when the process was forked. Must be called
/// first in the child. The frame of that call, with the only handles, never runs here. If such an object arrives again,
/// it arrives as a handle and is attached again.
pub(crate) fn leave_lent() -> Result<(), String> {
    let mut regions = match REGIONS.try_lock() {
        Ok(regions) => regions,
        Err(TryLockError::Poisoned(regions)) => regions.into_inner(),
        Err(TryLockError::WouldBlock) => {
            return Err("another thread was busy with a shared object when this process was copied".into());
        }
    };
    let mut left = Vec::new();
    regions.retain(|_, region| {
        let lent = region.upgrade().filter(|region| region.lent.load(Ordering::Relaxed));
        let stays = lent.is_none();
        left.extend(lent);
        stays
    });
    drop(regions);
    for region in left {
        region.lease.leave();
        // Dropping the child's copy must not free the memory.
        region.was_lent.store(false, Ordering::Relaxed);
    }
    Ok(())
}
