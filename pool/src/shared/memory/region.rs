//! The objects that this process has mapped, each once, and the handles by which others find them.
//!
//! A handle is data: a process that has the object, the descriptor that it has it open as, the object's random name,
//! its type and its size. Who decodes a handle looks first among the objects that it has already (the owner itself
//! does, threads do, and forked processes, which inherit them), and otherwise maps the memory of that process.
//! A handle is good for as long as the process that encoded it keeps its value.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::os::fd::{AsFd, AsRawFd};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use serde::{Deserialize, Serialize};

use super::available;
use super::file::{Memory, Unopened};
use super::lease::Lease;
use super::presence::{Presence, random};
use crate::error::Error;
use crate::sys::fd::Guarded;

mod exclusive;

pub(in crate::shared) use exclusive::{Excluded, Holder};
pub(crate) use exclusive::{leave_lent, refuse_fork};

/// What an object is called: two random numbers.
pub(in crate::shared) type Id = [u64; 2];

/// The kind of an object: its name in messages, and the key of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::shared) struct Kind {
    pub(in crate::shared) what: &'static str,
    pub(in crate::shared) key: u64,
}

/// An object's memory, as this process has it.
#[derive(Debug)]
pub(in crate::shared) struct Region {
    id: Id,
    kind: Kind,
    memory: Memory,
    lease: Lease,
    /// For objects that have a lock.
    presence: OnceLock<Presence>,
    /// For objects with slots: those that this process has taken.
    places: Mutex<BTreeSet<usize>>,
    /// This process has it for itself alone, by one `&mut`. Written with the registry locked.
    exclusive: AtomicBool,
    /// A call has that `&mut`. Written with the registry locked.
    lent: AtomicBool,
    /// It was lent before: workers may have it mapped without a lease, and not use it.
    was_lent: AtomicBool,
}

/// The encoded form of every shared object.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(in crate::shared) struct Handle {
    pub(in crate::shared) id: Id,
    kind: u64,
    /// How many elements, parties or permits.
    pub(in crate::shared) count: u64,
    pub(in crate::shared) process: u32,
    descriptor: i32,
}

static REGIONS: Mutex<BTreeMap<Id, Weak<Region>>> = Mutex::new(BTreeMap::new());

fn regions() -> MutexGuard<'static, BTreeMap<Id, Weak<Region>>> {
    REGIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Region {
    /// A new object of so many bytes, all zero.
    pub(in crate::shared) fn create(kind: Kind, len: usize) -> Result<Arc<Self>, Error> {
        let failed = |why: &dyn Display| Error::shared_memory(format!("a new {}", kind.what), why);
        available::check(len).map_err(|why| failed(&why))?;
        let id = [random(), random()].map(|number| number.map_err(|error| failed(&error)));
        let [Ok(one), Ok(other)] = id else { return Err(failed(&"the system gave no random number")) };
        let id = [one, other];
        let memory = Memory::create(&name(id, kind), len).map_err(|error| failed(&error))?;
        let lease = match Lease::take(memory.file()) {
            Ok(Some(lease)) => lease,
            Ok(None) => return Err(failed(&"someone else has it already")),
            Err(error) => return Err(failed(&format!("opening it through /proc: {error}"))),
        };
        let region = Arc::new(Self::new(id, kind, memory, lease));
        regions().insert(id, Arc::downgrade(&region));
        Ok(region)
    }

    /// The object that a handle stands for, which must be of this kind and size.
    pub(in crate::shared) fn attach(
        handle: &Handle,
        kind: Kind,
        len: Option<usize>,
    ) -> Result<Arc<Self>, String> {
        let what = kind.what;
        let other = || format!("this is the handle of another type than {what}");
        if handle.kind != kind.key {
            return Err(other());
        }
        let len = len.ok_or_else(other)?;
        let mut regions = regions();
        let busy = || {
            format!(
                "the memory of this {what} is borrowed exclusively: end the borrow (`as_mut_slice`) before tasks use it"
            )
        };
        if let Some(region) = regions.get(&handle.id).and_then(Weak::upgrade) {
            // What is refused may be the last use by now, and its end needs the registry.
            let exclusive = region.exclusive.load(Ordering::Relaxed);
            drop(regions);
            return match region {
                region if region.kind != kind || region.memory.len() != len => Err(other()),
                _ if exclusive => Err(busy()),
                region => Ok(region),
            };
        }
        let memory = handle.open(kind, len)?;
        let lease = Lease::take(memory.file()).map_err(|error| refused(kind, &error))?.ok_or_else(busy)?;
        let region = Arc::new(Self::new(handle.id, kind, memory, lease));
        regions.insert(handle.id, Arc::downgrade(&region));
        Ok(region)
    }

    fn new(id: Id, kind: Kind, memory: Memory, lease: Lease) -> Self {
        let (presence, places) = (OnceLock::new(), Mutex::default());
        let (exclusive, lent, was_lent) =
            (AtomicBool::default(), AtomicBool::default(), AtomicBool::default());
        Self { id, kind, memory, lease, presence, places, exclusive, lent, was_lent }
    }

    /// The handle, for whoever is to have the object too.
    pub(in crate::shared) fn handle(self: &Arc<Self>, count: usize) -> Handle {
        KEPT.with_borrow_mut(|kept| {
            if let Some(kept) = kept {
                kept.push(self.clone());
            }
        });
        self.handle_on_loan(count)
    }

    /// The handle, for whoever is to have the object while a call lends it.
    pub(in crate::shared) fn handle_on_loan(&self, count: usize) -> Handle {
        Handle {
            id: self.id,
            kind: self.kind.key,
            count: count as u64,
            process: std::process::id(),
            descriptor: self.memory.file().as_fd().as_raw_fd(),
        }
    }

    /// The object that a handle stands for, which this process itself lends.
    pub(in crate::shared) fn own_on_loan(handle: &Handle, kind: Kind, len: usize) -> Option<Arc<Self>> {
        let region = regions().get(&handle.id).and_then(Weak::upgrade)?;
        (region.kind == kind && handle.kind == kind.key && region.memory.len() == len).then_some(region)
    }

    pub(in crate::shared) fn base(&self) -> NonNull<u8> {
        self.memory.base()
    }

    pub(in crate::shared) fn file(&self) -> &Guarded {
        self.memory.file()
    }

    /// Makes this process one that the object's other users can tell from the rest.
    pub(in crate::shared) fn join(&self) -> std::io::Result<&Presence> {
        if let Some(presence) = self.presence.get() {
            return Ok(presence);
        }
        let presence = Presence::new(self.file())?;
        Ok(self.presence.get_or_init(|| presence))
    }

    /// This process's part in the object, which has joined.
    #[inline]
    pub(in crate::shared) fn presence(&self) -> &Presence {
        self.presence.get().expect("an object with a lock is joined when it is made or attached")
    }

    pub(in crate::shared) fn places(&self) -> &Mutex<BTreeSet<usize>> {
        &self.places
    }
}

impl Handle {
    /// Maps the memory, which another process has.
    pub(in crate::shared) fn open(&self, kind: Kind, len: usize) -> Result<Memory, String> {
        if self.kind != kind.key {
            return Err(format!("this is the handle of another type than {}", kind.what));
        }
        let memory = Memory::open(self.process, self.descriptor, &name(self.id, kind), len);
        memory.map_err(|why| match why {
            Unopened::Gone => format!(
                "the memory of this {} is not there: its owner (process {}) has dropped it or ended; keep it alive \
                 while tasks use it",
                kind.what, self.process
            ),
            Unopened::Refused(error) => refused(kind, &error),
        })
    }
}

fn refused(kind: Kind, error: &dyn Display) -> String {
    format!("the memory of this {} cannot be reached: {error}", kind.what)
}

impl Drop for Region {
    fn drop(&mut self) {
        self.free_if_lent();
        let mut regions = regions();
        // It may have been attached anew since its last use ended.
        if regions.get(&self.id).is_some_and(|known| known.strong_count() == 0) {
            regions.remove(&self.id);
        }
    }
}

/// The name that the object's file is made with, and known by.
fn name(id: Id, kind: Kind) -> String {
    format!("pool {} {:016x}{:016x} {:016x}", kind.what, id[0], id[1], kind.key)
}

thread_local! {
    /// What was encoded on this thread since someone wants to know.
    static KEPT: RefCell<Option<Vec<Arc<Region>>>> = const { RefCell::new(None) };
}

/// The objects whose handles are among some bytes; keeps them alive.
#[derive(Clone, Default)]
pub(crate) struct Retained(#[expect(dead_code, reason = "held, not looked at")] Arc<[Arc<Region>]>);

/// Encodes something, and keeps the shared objects that are in it.
pub(crate) fn retain_handles<T>(encode: impl FnOnce() -> T) -> (T, Retained) {
    /// Also if encoding panics.
    struct Forget;
    impl Drop for Forget {
        fn drop(&mut self) {
            KEPT.take();
        }
    }
    KEPT.set(Some(Vec::new()));
    let forget = Forget;
    let encoded = encode();
    let kept = KEPT.take().unwrap_or_default();
    drop(forget);
    (encoded, Retained(kept.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dropped_is_forgotten() {
        let region = Region::create(Kind { what: "test", key: 1 }, 8).unwrap();
        let id = region.id;
        assert!(regions().contains_key(&id));
        drop(region);
        assert!(!regions().contains_key(&id));
    }
}
