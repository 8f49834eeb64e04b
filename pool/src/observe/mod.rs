//! What users see of a running pool. The driver tells one [`Observer`] each fact once, and reads each worker's
//! [`Probes`] with it. From there the facts reach `tracing` events, insights and timelines; what workers print and log
//! is passed on. Progress bars are the calls' own.

use crate::error::Error;

pub(crate) mod events;
pub(crate) mod insights;
#[cfg_attr(not(feature = "logs"), path = "logs/none.rs")]
pub(crate) mod logs;
mod observer;
mod probes;
#[cfg_attr(not(feature = "progress"), path = "progress/none.rs")]
pub(crate) mod progress;
pub(crate) mod stats;
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
    /// It was cancelled or dropped, exceeded its deadline, or its pool was closed.
    Interrupted,
}

impl End {
    pub(crate) fn of(result: &Result<(), Error>) -> Self {
        match result {
            Ok(()) => Self::Done,
            Err(Error::Cancelled | Error::DeadlineExceeded | Error::Closed) => Self::Interrupted,
            Err(_) => Self::Failed,
        }
    }
}
