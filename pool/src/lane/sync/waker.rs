//! The bell: an eventfd in the parent's poll set.

use std::io;
use std::os::fd::OwnedFd;

use crate::sys::fd::Guarded;

/// A worker's hold of its parent's bell.
#[derive(Debug)]
pub(in crate::lane) struct ParentWaker(Guarded);

impl ParentWaker {
    pub(in crate::lane) fn new(eventfd: OwnedFd) -> io::Result<Self> {
        Ok(Self(Guarded::new(eventfd)?))
    }

    /// Ends the parent's sleep, this one or the next. False if a task has closed the descriptor: what may have its number
    /// now is the user's.
    #[must_use]
    pub(in crate::lane) fn wake(&self) -> bool {
        let is_ours = self.0.has_its_mark();
        if is_ours {
            // A full eventfd means that the parent has been woken already; other errors leave its deadline to wake it.
            let _ = nix::unistd::write(&self.0, &1u64.to_ne_bytes());
        }
        is_ours
    }
}
