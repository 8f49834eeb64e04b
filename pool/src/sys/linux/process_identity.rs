//! Which process this is. A fork has a copy of all memory, with the pools in it, and must not take itself for their
//! owner.
//!
//! A process ID would not do: asking for it is a system call, and IDs are reused later or in another namespace. Nor
//! would a `pthread_atfork` handler, which does not run on a raw `clone`. So a process's *identity* is in a page that
//! the kernel clears in every fork, however it was made. A process that finds the page empty takes the next identity.
//! The counter is copied with all other memory, so no process gets the identity of an ancestor.
#![allow(unsafe_code, reason = "maps a page that a fork empties")]

use std::num::NonZeroUsize;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

use nix::sys::mman::{MapFlags, MmapAdvise, ProtFlags, madvise, mmap_anonymous, munmap};

/// The page; null before it is first needed, and [`NO_PAGE`] once the kernel has given none.
static PAGE: AtomicPtr<AtomicU64> = AtomicPtr::new(ptr::null_mut());

/// Means that the process ID must do, here and in all forks, however much memory there is later: an owner compares its
/// identity with one of the same kind. No page has this address.
const NO_PAGE: *mut AtomicU64 = NonNull::dangling().as_ptr();

/// This process's identity, which no ancestor and no fork of it has.
#[inline]
pub(crate) fn identity() -> u64 {
    match NonNull::new(PAGE.load(Ordering::Acquire)) {
        Some(page) if page.as_ptr() != NO_PAGE => {
            // SAFETY: the page was mapped before its address was stored, and is never unmapped, neither here nor in a
            // fork. It holds only this atomic, for which any bytes are valid.
            let word = unsafe { page.as_ref() };
            match word.load(Ordering::Relaxed) {
                0 => take_identity(word),
                identity => identity,
            }
        }
        Some(_) => u64::from(std::process::id()),
        None => make_page(),
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

/// Makes the page. If the kernel gives none, or can't clear it in forks, the process ID must do.
#[cold]
fn make_page() -> u64 {
    const BYTES: NonZeroUsize = NonZeroUsize::new(size_of::<AtomicU64>()).unwrap();
    let protection = ProtFlags::PROT_READ | ProtFlags::PROT_WRITE;
    // SAFETY: a new mapping at an address that the kernel chooses replaces no other memory.
    let page = unsafe { mmap_anonymous(None, BYTES, protection, MapFlags::MAP_PRIVATE) }.ok();
    let emptied = page.filter(|page| {
        // SAFETY: the range is the page that was just mapped, and the advice only changes what a fork finds there.
        unsafe { madvise(*page, BYTES.get(), MmapAdvise::MADV_WIPEONFORK) }.is_ok()
    });
    let place = emptied.map_or(NO_PAGE, |page| page.cast().as_ptr());
    let is_first = PAGE.compare_exchange(ptr::null_mut(), place, Ordering::AcqRel, Ordering::Acquire).is_ok();
    if let Some(page) = page.filter(|_| emptied.is_none() || !is_first) {
        // SAFETY: the range is the page that was mapped above, and its address was stored nowhere.
        let _ = unsafe { munmap(page, BYTES.get()) };
    }
    identity()
}
