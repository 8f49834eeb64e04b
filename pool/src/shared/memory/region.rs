//! The objects that this process has mapped, each once, and the handles by which other processes find them.
//!
//! A handle is data: the ID of a process that has the object and its descriptor there, the object's random name, its
//! type and its size. A process that decodes a handle first looks among the objects that it already has: it may be the
//! owner, have threads as workers, or be a fork that inherited them. Otherwise it maps that process's memory. A handle
//! is valid as long as the process that encoded it keeps its value.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::mem::ManuallyDrop;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};

use serde::{Deserialize, Serialize};

use super::available;
use super::system::{File, Lease, Memory, Presence, Unopened};
use crate::error::Error;
use crate::sys::random::random;

mod exclusive;

pub(crate) use exclusive::leave_lent;
pub(in crate::shared) use exclusive::{Excluded, Holder, refuse_fork};

/// An object's name: two random numbers.
pub(in crate::shared) type Id = [u64; 2];

/// The kind of an object: its name in messages, and the key of its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::shared) struct Kind {
    pub(in crate::shared) what: &'static str,
    pub(in crate::shared) key: u64,
}

/// An object's memory in this process.
#[derive(Debug)]
pub(in crate::shared) struct Region {
    id: Id,
    kind: Kind,
    memory: Memory,
    lease: Lease,
    /// For objects that have a lock.
    presence: OnceLock<Presence>,
    /// For objects with slots: those of this process.
    places: Mutex<BTreeSet<usize>>,
    /// A `&mut` of this process has it exclusively. Written with the registry locked.
    exclusive: AtomicBool,
    /// A call has that `&mut`. Written with the registry locked.
    lent: AtomicBool,
    /// It was lent at some time: workers may still have it mapped, without a lease and without using it.
    was_lent: AtomicBool,
}

/// The encoded form of every shared object.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(in crate::shared) struct Handle {
    pub(in crate::shared) id: Id,
    kind: u64,
    /// The number of elements, parties or permits.
    pub(in crate::shared) count: u64,
    pub(in crate::shared) process: u32,
    descriptor: i32,
}

static REGIONS: Mutex<BTreeMap<Id, Weak<Region>>> = Mutex::new(BTreeMap::new());

fn regions() -> MutexGuard<'static, BTreeMap<Id, Weak<Region>>> {
    REGIONS.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Region {
    /// Makes an object of `len` bytes, all zero.
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

    /// The object of a handle, which must have this kind and size.
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
            // This may be the last use by now, and dropping the last use locks the registry.
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

    /// The handle, for other users. Noted if [`retain_handles`] is running on this thread.
    pub(in crate::shared) fn handle(self: &Arc<Self>, count: usize) -> Handle {
        RETAINED.with_borrow_mut(|retained| {
            if let Some(retained) = retained {
                retained.push(self.clone());
            }
        });
        self.handle_on_loan(count)
    }

    /// The handle, for borrowers while a call lends the object.
    pub(in crate::shared) fn handle_on_loan(&self, count: usize) -> Handle {
        Handle {
            id: self.id,
            kind: self.kind.key,
            count: count as u64,
            process: std::process::id(),
            descriptor: self.memory.descriptor(),
        }
    }

    /// The object of a handle that this process itself lends.
    pub(in crate::shared) fn own_on_loan(handle: &Handle, kind: Kind, len: usize) -> Option<Arc<Self>> {
        let region = regions().get(&handle.id).and_then(Weak::upgrade)?;
        (region.kind == kind && handle.kind == kind.key && region.memory.len() == len).then_some(region)
    }

    pub(in crate::shared) fn base(&self) -> NonNull<u8> {
        self.memory.base()
    }

    pub(in crate::shared) fn file(&self) -> &File {
        self.memory.file()
    }

    /// Gives this process a number, by which the object's other users identify it.
    pub(in crate::shared) fn join(&self) -> std::io::Result<&Presence> {
        if let Some(presence) = self.presence.get() {
            return Ok(presence);
        }
        let presence = Presence::new(self.file())?;
        Ok(self.presence.get_or_init(|| presence))
    }

    /// This process's number, after [`join`](Self::join).
    #[inline]
    pub(in crate::shared) fn presence(&self) -> &Presence {
        self.presence.get().expect("an object with a lock is joined when it is made or attached")
    }

    pub(in crate::shared) fn places(&self) -> &Mutex<BTreeSet<usize>> {
        &self.places
    }
}

impl Handle {
    /// Maps the memory of another process.
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
            Unopened::Hidden(error) => format!(
                "the memory of this {} cannot be reached: {error}; its owner (process {owner}) has given up \
                 privileges, is not dumpable or is another user's, and the system shows its files to no other \
                 process: put the object into the pool's shared value, or let process {owner} call \
                 prctl(PR_SET_DUMPABLE, 1) after it has given up privileges",
                kind.what,
                owner = self.process,
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
        // The object may have been attached again since its last use ended.
        if regions.get(&self.id).is_some_and(|known| known.strong_count() == 0) {
            regions.remove(&self.id);
        }
    }
}

/// The name of the object's file.
fn name(id: Id, kind: Kind) -> String {
    format!("pool {} {:016x}{:016x} {:016x}", kind.what, id[0], id[1], kind.key)
}

thread_local! {
    /// The objects that were encoded on this thread since [`retain_handles`] began. Not dropped with the thread, so
    /// that it is there while destructors of other thread-local values make calls.
    static RETAINED: RefCell<Option<ManuallyDrop<Vec<Arc<Region>>>>> = const { RefCell::new(None) };
}

fn take_retained() -> Vec<Arc<Region>> {
    RETAINED.take().map_or_else(Vec::new, ManuallyDrop::into_inner)
}

/// Keeps alive the objects whose handles are in some encoded bytes.
#[derive(Clone, Default)]
pub(crate) struct Retained(Arc<[Arc<Region>]>);

impl Retained {
    /// The file of each object.
    pub(crate) fn files(&self) -> impl Iterator<Item = &File> {
        let regions: BTreeMap<Id, &Region> = self.0.iter().map(|region| (region.id, &**region)).collect();
        regions.into_values().map(Region::file)
    }
}

/// Encodes a value, and retains the shared objects in it.
pub(crate) fn retain_handles<T>(encode: impl FnOnce() -> T) -> (T, Retained) {
    /// Clears the list, even if encoding panics.
    struct Forget;
    impl Drop for Forget {
        fn drop(&mut self) {
            take_retained();
        }
    }
    RETAINED.set(Some(ManuallyDrop::default()));
    let forget = Forget;
    let encoded = encode();
    let retained = take_retained();
    drop(forget);
    (encoded, Retained(retained.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_region_is_forgotten() {
        let region = Region::create(Kind { what: "test", key: 1 }, 8).unwrap();
        let id = region.id;
        assert!(regions().contains_key(&id));
        drop(region);
        assert!(!regions().contains_key(&id));
    }
}
