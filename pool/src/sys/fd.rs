//! The descriptors that this crate makes: never 0, 1 or 2, closed by exec, and known by number, so that a forked
//! child can close those of its parent without touching any of the user's.
#![allow(unsafe_code, reason = "closes by number what a fork copied")]

use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError, TryLockError};

static OPEN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// A descriptor of this crate's own.
#[derive(Debug)]
pub(crate) struct Fd(OwnedFd);

impl Fd {
    /// Takes a descriptor over. It moves if it is one of the standard three, which happens where the program was
    /// started with one of them closed: whoever prints would write into it.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        // std duplicates to the lowest free number from 3 on, closed by exec.
        let fd = if fd.as_raw_fd() > 2 { fd } else { fd.try_clone()? };
        open().push(fd.as_raw_fd());
        Ok(Self(fd))
    }

    /// Gives the descriptor away; it is no longer known.
    pub(crate) fn into_owned(self) -> OwnedFd {
        forget(self.0.as_raw_fd());
        let this = ManuallyDrop::new(self);
        // SAFETY: `this` is never dropped nor used again, so the descriptor is moved out, not copied.
        unsafe { std::ptr::read(&raw const this.0) }
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Drop for Fd {
    fn drop(&mut self) {
        forget(self.0.as_raw_fd());
    }
}

/// Closes the descriptors of this crate that a fork copied, except those to keep.
///
/// # Safety
/// The process was just forked, and no `Fd` of the parent's is used or dropped in it, except those to keep.
pub(super) unsafe fn close_inherited(keep: &[&Fd]) {
    // Another thread of the parent may have held the list as the process was copied, and no one here will ever
    // give it back. Then nothing is closed: the numbers can't be believed.
    let mut open = match OPEN.try_lock() {
        Ok(open) => open,
        Err(TryLockError::Poisoned(open)) => open.into_inner(),
        Err(TryLockError::WouldBlock) => return,
    };
    open.retain(|fd| {
        let kept = keep.iter().any(|keep| keep.0.as_raw_fd() == *fd);
        if !kept {
            // SAFETY: the number is that of a descriptor of this crate's own, whose owner is never used here: the
            // caller's word.
            unsafe { libc::close(*fd) };
        }
        kept
    });
}

fn open() -> std::sync::MutexGuard<'static, Vec<RawFd>> {
    OPEN.lock().unwrap_or_else(PoisonError::into_inner)
}

fn forget(fd: RawFd) {
    let mut open = open();
    if let Some(at) = open.iter().position(|known| *known == fd) {
        open.swap_remove(at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_is_known_while_it_is_owned() {
        let (end, _other) = io::pipe().unwrap();
        let fd = Fd::new(end.into()).unwrap();
        let number = fd.as_fd().as_raw_fd();
        assert!(open().contains(&number));
        let owned = fd.into_owned();
        assert_eq!(owned.as_raw_fd(), number);
        assert!(!open().contains(&number));
    }
}
