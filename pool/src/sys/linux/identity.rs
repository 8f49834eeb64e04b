//! Which process this is. A copy of a process has all that lay in its memory, pools among it, and must not take
//! itself for the one whose they are.
//!
//! The number of a process would tell, but asking for it is a system call, a handler of `pthread_atfork` hears of
//! no raw `clone`, and the number may come again in another namespace or later. So a process's *identity* lies in a
//! page that the kernel empties in every copy of the process, however it was made. Who finds the page empty takes the
//! next identity; the counter is copied with all other memory, so no process gets that of one whose copy it is.
#![allow(unsafe_code, reason = "maps a page that a fork empties")]

use std::num::NonZeroUsize;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

/// The process that something belongs to: the one that was asked for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Owner {
    identity: u64,
    pid: u32,
}

impl Owner {
    /// This process.
    pub(crate) fn here() -> Self {
        Self { identity: identity(), pid: std::process::id() }
    }

    /// Whether it is this process.
    #[inline]
    pub(crate) fn is_here(self) -> bool {
        self.identity == identity()
    }

    /// # Errors
    /// In a copy of the owner.
    #[inline]
    pub(crate) fn check(self) -> Result<(), Forked> {
        if self.is_here() { Ok(()) } else { Err(Forked { owner: self.pid }) }
    }
}

/// This process is a copy of the one that something belongs to, which has this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Forked {
    pub(crate) owner: u32,
}

/// The page; null before it is needed, and where there can be none.
static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());

/// Another in every process that is a copy of this one, or of which this one is a copy.
#[inline]
fn identity() -> u64 {
    match NonNull::new(PAGE.load(Ordering::Acquire)) {
        Some(page) => {
            // SAFETY: the page was mapped before its address was stored, is never unmapped from then on, in no copy of
            // the process either, and holds nothing but this atomic.
            let word = unsafe { page.as_ref() };
            match word.load(Ordering::Relaxed) {
                0 => take_identity(word),
                identity => identity,
            }
        }
        None => without_page(),
    }
}

#[cold]
fn take_identity(word: &AtomicU64) -> u64 {
    static LAST: AtomicU64 = AtomicU64::new(0);
    let next = LAST.fetch_add(1, Ordering::Relaxed) + 1;
    match word.compare_exchange(0, next, Ordering::Relaxed, Ordering::Relaxed) {
        Ok(_) => next,
        Err(of_another_thread) => of_another_thread,
    }
}

/// Makes the page. Where the kernel has none to give, or can't empty it, the process's number must do.
#[cold]
fn without_page() -> u64 {
    const BYTES: NonZeroUsize = NonZeroUsize::new(size_of::<AtomicU64>()).unwrap();
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at an address of the kernel's choice disturbs no other memory.
    let page = unsafe { mmap_anonymous(None, BYTES, protection, MapFlags::MAP_PRIVATE) };
    let Ok(page) = page else { return u64::from(std::process::id()) };
    // SAFETY: the range is the page that was just mapped; the advice changes what a copy of the process finds there.
    let emptied = unsafe { madvise(page, BYTES.get(), MmapAdvise::MADV_WIPEONFORK) }.is_ok();
    let none = ptr::null_mut();
    let place = page.cast().as_ptr();
    if emptied && PAGE.compare_exchange(none, place, Ordering::AcqRel, Ordering::Acquire).is_ok() {
        return identity();
    }
    // SAFETY: the range is the page that was mapped above, and nobody else knows of it.
    let _ = unsafe { munmap(page, BYTES.get()) };
    // Another thread was faster, or there can be no such page.
    if emptied { identity() } else { u64::from(std::process::id()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_stays_the_same() {
        let owner = Owner::here();
        assert!(owner.is_here() && owner.check().is_ok());
        assert!(std::thread::spawn(Owner::here).join().unwrap() == owner);
    }

    #[test]
    fn another_process_is_another() {
        let owner = Owner { identity: identity() + 1, pid: 77 };
        assert_eq!(owner.check(), Err(Forked { owner: 77 }));
    }
}
