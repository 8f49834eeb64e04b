//! Cancels calls from outside.

use std::sync::Weak;

use crate::engine::Engine;
use crate::error::Error;

/// Cancels the running calls of a pool from another thread; from
/// [`WorkerPool::cancel_handle`](crate::WorkerPool::cancel_handle).
///
/// The handle does not keep the pool alive.
#[derive(Clone)]
pub struct CancelHandle {
    pub(super) engine: Weak<Engine>,
}

impl std::fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelHandle").finish_non_exhaustive()
    }
}

impl CancelHandle {
    /// Ends every running call with [`Error::Cancelled`]; the pool stays usable. Workers whose tasks do not end soon
    /// are killed and replaced. Does nothing once the pool is gone, or in a fork of the process that built it.
    pub fn cancel(&self) {
        if let Some(engine) = self.engine.upgrade().filter(|engine| engine.is_here()) {
            engine.cancel_all(&Error::Cancelled);
        }
    }
}
