//! What is seen of a pool: its workers' lives, what they print and log, how far calls are, and where the time goes.

use serde::{Deserialize, Serialize};

use crate::error::Error;

#[cfg_attr(not(feature = "tracing"), path = "events/none.rs")]
pub(crate) mod events;
pub(crate) mod insights;
#[cfg_attr(not(feature = "logs"), path = "logs/none.rs")]
pub(crate) mod logs;
#[cfg_attr(not(feature = "progress"), path = "progress/none.rs")]
pub(crate) mod progress;
pub(crate) mod stderr;
pub(crate) mod stopwatch;
pub(crate) mod timeline;

/// Handles of memory in which a worker notes what its parent may look at, where somebody wants to know.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct ProbeHandles {
    /// What it does when: a [`Track`](crate::observe::timeline::Track).
    pub(crate) track: Option<Vec<u8>>,
    /// How far the calls of its own pools are: a [`NestedProgress`](crate::observe::progress::Board).
    pub(crate) board: Option<Vec<u8>>,
}

/// How a call has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    Done,
    Failed,
    /// It was cancelled or left.
    Interrupted,
}

impl End {
    pub(crate) fn of(result: &Result<(), Error>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(Error::Cancelled | Error::Closed) => Self::Interrupted,
            Err(_) => Self::Failed,
        }
    }
}
