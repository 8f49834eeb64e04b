//! Wakes the parent: an eventfd in its poll set.

use std::io;
use std::os::fd::OwnedFd;

use crate::sys::fd::Guarded;

/// A worker's descriptor for its parent's eventfd.
#[derive(Debug)]
pub(in crate::lane) struct ParentWaker(Guarded);

impl ParentWaker {
    pub(in crate::lane) fn new(eventfd: OwnedFd) -> io::Result<Self> {
        Ok(Self(Guarded::new(eventfd)?))
    }

    /// Ends the parent's sleep, or its next one if it is awake. False if a task has closed the descriptor, whose number
    /// may now belong to a file of the user's.
    #[must_use]
    pub(in crate::lane) fn wake(&self) -> bool {
        let is_ours = self.0.has_its_mark();
        if is_ours {
            // If the eventfd is full, the parent was woken already. After any other error its deadline wakes it.
            let _ = nix::unistd::write(&self.0, &1u64.to_ne_bytes());
        }
        is_ours
    }
}
