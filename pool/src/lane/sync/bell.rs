//! The bell: an eventfd in the parent's poll set.

use std::os::fd::OwnedFd;

/// A worker's hold of its parent's bell.
#[derive(Debug)]
pub(in crate::lane) struct Bell(OwnedFd);

impl Bell {
    pub(in crate::lane) fn new(eventfd: OwnedFd) -> Self {
        Self(eventfd)
    }

    /// Ends the parent's sleep, this one or the next.
    pub(in crate::lane) fn ring(&self) {
        // A full eventfd means that the parent has been woken already; other errors leave its deadline to wake it.
        let _ = nix::unistd::write(&self.0, &1u64.to_ne_bytes());
    }
}
