//! Wakes the parent: rings the bell of its poll set.

use std::io;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::local::Local;
use super::poll::Bell;

/// A waker on its way to a new worker.
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SentWaker(pub(super) Local<Arc<Bell>>);

impl SentWaker {
    /// The worker's end.
    pub(crate) fn open(self) -> io::Result<ParentWaker> {
        Ok(ParentWaker(self.0.0))
    }

    /// Another end for the same worker.
    pub(crate) fn copy(&self) -> io::Result<ParentWaker> {
        Ok(ParentWaker(Arc::clone(&self.0.0)))
    }
}

/// A worker's end.
#[derive(Debug)]
pub(crate) struct ParentWaker(Arc<Bell>);

impl ParentWaker {
    /// Ends the parent's sleep, or its next one if it is awake. True: nothing can part it from its parent.
    #[must_use]
    pub(crate) fn wake(&self) -> bool {
        self.0.wake();
        true
    }
}
