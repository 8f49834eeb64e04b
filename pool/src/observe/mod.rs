//! What is seen of a pool: its workers' lives, what they print and log, how far calls are, and where the time goes.

use crate::error::Error;

pub(crate) mod events;
pub(crate) mod insights;
#[cfg_attr(not(feature = "logs"), path = "logs/none.rs")]
pub(crate) mod logs;
mod observer;
mod probes;
#[cfg_attr(not(feature = "progress"), path = "progress/none.rs")]
pub(crate) mod progress;
mod stderr;
pub(crate) mod stopwatch;
pub(crate) mod timeline;

pub(crate) use observer::{Ended, Observer};
pub(crate) use probes::{ProbeEnds, Probes};

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
