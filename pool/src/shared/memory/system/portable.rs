//! The memory of objects, where all of their users are threads of one process.

use std::collections::BTreeSet;
use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::sys::fd::OwnedFd;
use crate::sys::zeroed::Zeroed;

/// Elsewhere, what tells the processes that have an object mapped.
#[derive(Debug)]
pub(crate) struct File;

/// An object's memory.
#[derive(Debug)]
pub(in crate::shared) struct Memory {
    memory: Zeroed,
    file: File,
}

/// Why another process's memory could not be opened.
#[derive(Debug)]
pub(in crate::shared) enum Unopened {
    /// There is no such memory, or not any more.
    Gone,
    Hidden(io::Error),
    Refused(io::Error),
}

impl Memory {
    /// Makes new memory, filled with zeroes.
    pub(in crate::shared) fn create(_name: &str, len: usize) -> io::Result<Self> {
        Ok(Self { memory: Zeroed::new(len)?, file: File })
    }

    /// None: the registry of this process has all that there is.
    pub(in crate::shared) fn open(
        _process: u32,
        _descriptor: i32,
        _name: &str,
        _len: usize,
    ) -> Result<Self, Unopened> {
        Err(Unopened::Gone)
    }

    /// Does nothing: no process has memory that it does not use.
    pub(in crate::shared) fn free(&self) {}

    pub(in crate::shared) fn file(&self) -> &File {
        &self.file
    }

    /// Nobody needs it to find the memory.
    pub(in crate::shared) fn descriptor(&self) -> i32 {
        -1
    }

    /// The address of the first byte, which is aligned to a page.
    pub(in crate::shared) fn base(&self) -> NonNull<u8> {
        self.memory.base()
    }

    /// Its length in bytes, which can't change.
    pub(in crate::shared) fn len(&self) -> usize {
        self.memory.len()
    }
}

/// Tells whether processes have an array mapped: only this one can.
#[derive(Debug)]
pub(in crate::shared) struct Lease;

impl Lease {
    pub(in crate::shared) fn take(_: &File) -> io::Result<Option<Self>> {
        Ok(Some(Self))
    }

    /// No other process has a lease. Whether other handles of this process are there, the registry knows.
    pub(in crate::shared) fn exclude(&self, _: &File) -> io::Result<Option<Exclusive>> {
        Ok(Some(Exclusive))
    }

    pub(in crate::shared) fn leave(&self) {}
}

/// A lease that stays exclusive until [`Exclusive::end`].
#[derive(Debug)]
pub(in crate::shared) struct Exclusive;

impl Exclusive {
    /// Lets others have leases again.
    pub(in crate::shared) fn end(&self) -> bool {
        true
    }
}

/// The bits of a word that may belong to a number. The others are flags.
pub(in crate::shared) const NUMBER_MASK: u64 = !0b11;
/// The distance of one number from the next.
const STEP: u64 = !NUMBER_MASK + 1;

/// Identifies this process among the users of an object. A stray write to a shared word leaves a number that nobody
/// has, which counts as that of a dead process.
#[derive(Debug)]
pub(in crate::shared) struct Presence {
    number: u64,
    /// Lets one thread at a time try for the object's lock: see `lock.rs`.
    gate: AtomicU32,
}

/// The numbers that are taken.
static PRESENT: Mutex<BTreeSet<u64>> = Mutex::new(BTreeSet::new());

fn present() -> MutexGuard<'static, BTreeSet<u64>> {
    PRESENT.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Presence {
    /// Makes it, with a number that nothing had before.
    pub(in crate::shared) fn new(_: &File) -> io::Result<Self> {
        static NEXT: AtomicU64 = AtomicU64::new(1 << 61);
        let number = NEXT.fetch_add(STEP, Ordering::Relaxed);
        present().insert(number);
        Ok(Self { number, gate: AtomicU32::new(0) })
    }

    #[inline]
    pub(in crate::shared) fn number(&self, _: &File) -> u64 {
        self.number
    }

    #[inline]
    pub(in crate::shared) fn number_so_far(&self) -> u64 {
        self.number
    }

    /// The gate for the threads of this process.
    #[inline]
    pub(in crate::shared) fn gate(&self) -> &AtomicU32 {
        &self.gate
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        present().remove(&self.number);
    }
}

/// Whether this number is still someone's.
pub(in crate::shared) fn is_present(_: &File, number: u64) -> bool {
    present().contains(&number)
}

/// Decodes a value. No files come with it.
pub(crate) fn with_granted<R>(_: Vec<OwnedFd>, decode: impl FnOnce() -> R) -> io::Result<R> {
    Ok(decode())
}
