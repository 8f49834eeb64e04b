//! The descriptors that this crate makes: never 0, 1 or 2, closed by exec, and known by number, so that a forked
//! child can close those of its parent without touching any of the user's.
#![allow(unsafe_code, reason = "closes by number what a fork copied")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::sync::{Mutex, PoisonError, TryLockError};

static OPEN: Mutex<Vec<RawFd>> = Mutex::new(Vec::new());

/// A descriptor of this crate's own.
#[derive(Debug)]
pub(crate) struct Fd {
    // The number is forgotten before it is closed, and may be another's.
    known: Known,
    fd: OwnedFd,
}

impl Fd {
    /// Takes a descriptor over.
    pub(crate) fn new(fd: OwnedFd) -> io::Result<Self> {
        let fd = above_standard(fd)?;
        Ok(Self { known: Known::new(&fd), fd })
    }

    /// Gives the descriptor away; it is no longer known.
    pub(crate) fn into_owned(self) -> OwnedFd {
        self.fd
    }
}

impl AsFd for Fd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Moves a descriptor if it is one of the standard three, which happens where the program was started with one of
/// them closed: whoever prints would write into it.
pub(crate) fn above_standard(fd: OwnedFd) -> io::Result<OwnedFd> {
    // std duplicates to the lowest free number from 3 on, closed by exec.
    if fd.as_raw_fd() > 2 { Ok(fd) } else { fd.try_clone() }
}

/// While it lives, the number is known as that of a descriptor of this crate's own. For those that another type
/// owns; to be dropped before them.
#[derive(Debug)]
pub(crate) struct Known(RawFd);

impl Known {
    pub(crate) fn new(fd: &impl AsFd) -> Self {
        let number = fd.as_fd().as_raw_fd();
        open().push(number);
        Self(number)
    }
}

impl Drop for Known {
    fn drop(&mut self) {
        let mut open = open();
        if let Some(at) = open.iter().position(|known| *known == self.0) {
            open.swap_remove(at);
        }
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
        let kept = keep.iter().any(|keep| keep.known.0 == *fd);
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
