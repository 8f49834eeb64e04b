//! Tells whether processes have an array mapped, and whether one has it alone.
//!
//! Every process that has an array's memory mapped has a *lease*: a shared lock on the file's first byte, carried by a
//! mapping of one page beside the array's own (see [`filelock`](super::filelock)). The page is never touched. A fork
//! copies it together with the array, so a child has a lease of its own.
//!
//! To have the array alone, a process opens the file again, takes a shared lock with the new opening too, and moves its
//! lease to a page of that opening. It no longer uses the old opening then; if a forked child still does, the old lock
//! remains. The kernel makes the new lock exclusive only if no other opening has a lock, and then no other process gets
//! a lease.
#![allow(unsafe_code, reason = "maps a page that carries a lock")]

use std::ffi::c_void;
use std::io;
use std::num::NonZeroUsize;
use std::os::fd::OwnedFd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicPtr, Ordering};

use nix::sys::mman::{MapFlags, ProtFlags, mmap, munmap};

use super::file::reopen;
use super::filelock::{Kind, try_lock};
use crate::sys::fd::{Fd, Guarded};

/// The offset of the byte that leases lock.
const LEASE: i64 = 0;
/// A length of one page, whatever its size: the kernel rounds 1 up.
pub(in crate::shared) const PAGE: NonZeroUsize = NonZeroUsize::MIN;

/// This process's lease.
#[derive(Debug)]
pub(in crate::shared) struct Lease {
    page: AtomicPtr<c_void>,
}

impl Lease {
    /// Takes a lease; none if another process has the array alone.
    pub(in crate::shared) fn take(file: &Guarded) -> io::Result<Option<Self>> {
        let opening = reopen(file.intact()?)?;
        Ok(carry(&opening)?.map(|page| Self { page: AtomicPtr::new(page.as_ptr()) }))
    }

    /// Makes the lease exclusive; none if another process has a lease. Call it from one thread at a time.
    pub(in crate::shared) fn exclude(&self, file: &Guarded) -> io::Result<Option<Exclusive>> {
        let opening = reopen(file.intact()?)?;
        let Some(page) = carry(&opening)? else { return Ok(None) };
        unmap(self.page.swap(page.as_ptr(), Ordering::Relaxed));
        let opening = Fd::new(opening)?;
        Ok(try_lock(&opening, Kind::Exclusive, LEASE)?.then_some(Exclusive { opening }))
    }

    /// Gives the lease up, for good.
    pub(in crate::shared) fn leave(&self) {
        unmap(self.page.swap(std::ptr::null_mut(), Ordering::Relaxed));
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        unmap(*self.page.get_mut());
    }
}

/// Takes a shared lock and maps a page that carries it; none if another process has an exclusive lock.
fn carry(opening: &OwnedFd) -> io::Result<Option<NonNull<c_void>>> {
    if !try_lock(opening, Kind::Shared, LEASE)? {
        return Ok(None);
    }
    // SAFETY: a new mapping at an address that the kernel chooses replaces no other memory.
    let page = unsafe { mmap(None, PAGE, ProtFlags::PROT_NONE, MapFlags::MAP_SHARED, opening, 0)? };
    Ok(Some(page))
}

fn unmap(page: *mut c_void) {
    let Some(page) = NonNull::new(page) else { return };
    // SAFETY: `page` came from `carry` and was taken out of its lease, so it is mapped, and nothing else unmaps it.
    // Nothing reads or writes it.
    let unmapped = unsafe { munmap(page, PAGE.get()) };
    debug_assert!(unmapped.is_ok());
}

/// A lease that stays exclusive until [`Exclusive::end`]. Its descriptor is closed in forked children, which have no
/// part in it.
#[derive(Debug)]
pub(in crate::shared) struct Exclusive {
    opening: Fd,
}

impl Exclusive {
    /// Lets others have leases again. False if the system refuses.
    pub(in crate::shared) fn end(&self) -> bool {
        self.opening.is_intact() && matches!(try_lock(&self.opening, Kind::Shared, LEASE), Ok(true))
    }
}

#[cfg(test)]
mod tests {
    use super::super::file::Memory;
    use super::*;

    #[test]
    fn an_exclusive_lease_is_the_only_one() {
        let memory = Memory::create("pool test lease", 1).unwrap();
        let one = Lease::take(memory.file()).unwrap().unwrap();
        let other = Lease::take(memory.file()).unwrap().unwrap();
        assert!(one.exclude(memory.file()).unwrap().is_none());
        drop(other);
        let exclusive = one.exclude(memory.file()).unwrap().unwrap();
        assert!(Lease::take(memory.file()).unwrap().is_none());
        assert!(exclusive.end());
        let other = Lease::take(memory.file()).unwrap().unwrap();
        assert!(one.exclude(memory.file()).unwrap().is_none());
        drop((one, exclusive));
        assert!(other.exclude(memory.file()).unwrap().is_some());
    }
}
