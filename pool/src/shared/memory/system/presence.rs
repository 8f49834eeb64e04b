//! Identifies a process to the others that use an object, and tells whether it is still there.
//!
//! A process that takes part in a lock has a *number* of its own, which it writes into the shared words: the offset of
//! a byte far beyond the end of the object's file, chosen at random and locked by the process (see
//! [`filelock`](super::filelock)). A page that a fork does not inherit carries the file lock. So a number stands for
//! one process, for as long as it has the object mapped; the kernel drops the file lock when the process ends, and no
//! later process gets the number. A stray write to a shared word leaves a number that no process has, which counts as
//! that of a dead process.
//!
//! A process keeps its own number in a page that the kernel clears in a forked child: the child finds that it has no
//! number yet, and takes one.
#![allow(unsafe_code, reason = "maps a page of its own, and one that carries a lock")]

use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap, mmap_anonymous, munmap};

use super::file::reopen;
use super::filelock::{Kind, is_locked, try_lock};
use super::lease::PAGE;
use crate::sys::fd::Guarded;
use crate::sys::random::random;

/// The bits of a word that may belong to a number. The others are flags.
pub(in crate::shared) const NUMBER_MASK: u64 = !0b11;
/// The range of numbers: beyond the data of any file, and below 2^63, where files end.
const NUMBERS: (u64, u64) = (1 << 61, 1 << 62);

/// The presence of this process in one object.
#[derive(Debug)]
pub(in crate::shared) struct Presence {
    own: NonNull<Own>,
}

/// The process's own page. All zeroes mean that this process has not joined yet.
#[repr(C)]
struct Own {
    number: AtomicU64,
    /// The address of the page that carries the lock.
    carrier: AtomicUsize,
    /// Lets one thread of this process at a time try for the object's lock: see `lock.rs`.
    gate: AtomicU32,
}

// SAFETY: the page is an address range of the process, valid on every thread, and all of its fields are atomics.
unsafe impl Send for Presence {}
// SAFETY: as above.
unsafe impl Sync for Presence {}

impl Presence {
    /// Makes it, with a number for this process.
    pub(in crate::shared) fn new(file: &Guarded) -> io::Result<Self> {
        let length = NonZeroUsize::new(size_of::<Own>()).ok_or(io::ErrorKind::InvalidInput)?;
        let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
        // SAFETY: a new mapping at an address that the kernel chooses replaces no other memory.
        let page = unsafe { mmap_anonymous(None, length, protection, MapFlags::MAP_PRIVATE)? };
        let presence = Self { own: page.cast() };
        // SAFETY: the range is the page that was just mapped, and the advice only changes what a fork finds there.
        unsafe { madvise(page, size_of::<Own>(), MmapAdvise::MADV_WIPEONFORK)? };
        presence.join(file)?;
        Ok(presence)
    }

    /// This process's number.
    ///
    /// # Panics
    /// In a forked process that can't get a number because descriptors or memory have run out.
    #[inline]
    pub(in crate::shared) fn number(&self, file: &Guarded) -> u64 {
        match self.own().number.load(Ordering::Relaxed) {
            0 => self.join(file).expect("a forked process opens shared objects that it uses again"),
            number => number,
        }
    }

    /// The number, if this process has one.
    #[inline]
    pub(in crate::shared) fn number_so_far(&self) -> u64 {
        self.own().number.load(Ordering::Relaxed)
    }

    /// The gate for the threads of this process.
    #[inline]
    pub(in crate::shared) fn gate(&self) -> &AtomicU32 {
        &self.own().gate
    }

    /// Takes a number.
    #[cold]
    fn join(&self, file: &Guarded) -> io::Result<u64> {
        static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());
        let _one = ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner);
        let own = self.own();
        if own.number.load(Ordering::Relaxed) != 0 {
            return Ok(own.number.load(Ordering::Relaxed));
        }
        let opening = reopen(file.intact()?)?;
        let number = loop {
            let number = (random()? % (NUMBERS.1 - NUMBERS.0) + NUMBERS.0) & NUMBER_MASK;
            if try_lock(&opening, Kind::Exclusive, number.cast_signed())? {
                break number;
            }
        };
        // SAFETY: a new mapping at an address that the kernel chooses replaces no other memory.
        let carrier = unsafe { mmap(None, PAGE, ProtFlags::PROT_NONE, MapFlags::MAP_SHARED, &opening, 0)? };
        own.carrier.store(carrier.as_ptr() as usize, Ordering::Relaxed);
        // SAFETY: the range is the page that was just mapped, and the advice only keeps forks from inheriting it.
        unsafe { madvise(carrier, PAGE.get(), MmapAdvise::MADV_DONTFORK)? };
        own.number.store(number, Ordering::Relaxed);
        Ok(number)
    }

    fn own(&self) -> &Own {
        // SAFETY: `new` mapped the page, which is aligned and at least as long as `Own`, and only `drop` unmaps it.
        // Zeroes are valid atomics, and nothing else has the address.
        unsafe { self.own.as_ref() }
    }
}

/// Whether another process with this number is still there. True if the kernel does not tell.
pub(in crate::shared) fn is_present(file: &Guarded, number: u64) -> bool {
    (NUMBERS.0..NUMBERS.1).contains(&number) && is_locked(file, number.cast_signed()).unwrap_or(true)
}

impl Drop for Presence {
    fn drop(&mut self) {
        let carrier = std::ptr::with_exposed_provenance_mut::<c_void>(*self.own_mut().carrier.get_mut());
        // SAFETY: the carrier is the page that this very process mapped in `join`, or null: in a forked child, which
        // has no such page, the kernel has cleared the address. The own page is the one that `new` mapped. Both were
        // used only through `self`.
        unsafe {
            if let Some(carrier) = NonNull::new(carrier) {
                let _ = munmap(carrier, PAGE.get());
            }
            let _ = munmap(self.own.cast(), size_of::<Own>());
        }
    }
}

impl Presence {
    fn own_mut(&mut self) -> &mut Own {
        // SAFETY: as in `own`, and `self` is borrowed exclusively.
        unsafe { self.own.as_mut() }
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::Memory;
    use super::*;

    #[test]
    fn a_number_lasts_as_long_as_its_presence() {
        let memory = Memory::create("pool test presence", 1).unwrap();
        let one = Presence::new(memory.file()).unwrap();
        let other = Presence::new(memory.file()).unwrap();
        let numbers = (one.number(memory.file()), other.number(memory.file()));
        assert_ne!(numbers.0, numbers.1);
        assert!(is_present(memory.file(), numbers.0) && is_present(memory.file(), numbers.1));
        drop(one);
        assert!(!is_present(memory.file(), numbers.0) && is_present(memory.file(), numbers.1));
        for nonsense in [0, 1, 42, u64::MAX, NUMBERS.0] {
            assert!(!is_present(memory.file(), nonsense));
        }
    }
}
