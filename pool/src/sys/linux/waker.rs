//! Wakes the parent: an eventfd in its poll set.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use nix::unistd::write;
use serde::{Deserialize, Serialize};

use super::fd::Guarded;
use super::named;
use super::passed::Passed;

/// A descriptor for the parent's eventfd, on its way to a new worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SentWaker(Passed);

impl SentWaker {
    pub(super) fn new(eventfd: OwnedFd) -> io::Result<Self> {
        Ok(Self(Passed::new(eventfd)?))
    }

    /// The worker's end.
    pub(crate) fn open(self) -> io::Result<ParentWaker> {
        Ok(ParentWaker(Guarded::new(self.0.into_owned())?))
    }

    /// Another end for the same worker.
    pub(crate) fn copy(&self) -> io::Result<ParentWaker> {
        let copy = self.0.as_fd().try_clone_to_owned().map_err(named("a copy of the eventfd"))?;
        Ok(ParentWaker(Guarded::new(copy)?))
    }
}

/// A worker's descriptor for its parent's eventfd.
#[derive(Debug)]
pub(crate) struct ParentWaker(Guarded);

impl ParentWaker {
    /// Ends the parent's sleep, or its next one if it is awake. False if a task has closed the descriptor, whose number
    /// may now belong to a file of the user's.
    #[must_use]
    pub(crate) fn wake(&self) -> bool {
        let is_ours = self.0.has_its_mark();
        if is_ours {
            // If the eventfd is full, the parent was woken already. After any other error its deadline wakes it.
            let _ = write(&self.0, &1u64.to_ne_bytes());
        }
        is_ours
    }
}
