//! What the program's `tracing` subscriber hears of workers: starts, ends, timeouts, and what they log.
//!
//! A subscriber is user code, so no event is emitted under a lock: events are recorded where things happen, and emitted
//! by whoever drives once it holds no lock.

use std::time::Duration;

use super::{logs, progress};
use crate::error::{CallSite, Death};
use crate::ids::{TaskIndex, WorkerId};
use crate::unwind;

/// Events not emitted yet, in the order in which they happened.
#[derive(Debug, Default)]
pub(crate) struct Events(Vec<(WorkerId, Event)>);

/// What happened to a worker.
#[derive(Debug)]
#[cfg_attr(not(feature = "tracing"), expect(dead_code, reason = "there is no subscriber that could read it"))]
pub(super) enum Event {
    /// The worker's start of this number, counted from 1.
    Started {
        pid: Option<i32>,
        start: u32,
    },
    NotStarted {
        error: String,
    },
    TimedOut {
        task: &'static str,
        site: CallSite,
        index: TaskIndex,
        limit: Duration,
    },
    /// A task used more CPU time than its limit.
    OutOfCpuTime {
        task: &'static str,
        site: CallSite,
        index: TaskIndex,
        used: Duration,
        limit: Duration,
    },
    /// It held this many bytes, more than twice the limit.
    OverMemoryLimit {
        task: &'static str,
        site: CallSite,
        index: TaskIndex,
        held: u64,
        limit: u64,
    },
    /// It ended without being told to.
    Died {
        death: Death,
        stderr_tail: Option<String>,
    },
    /// It ended as it was told to.
    Ended,
    Logged(logs::Record),
}

impl Events {
    pub(super) fn record(&mut self, worker: WorkerId, event: Event) {
        if cfg!(feature = "tracing") {
            self.0.push((worker, event));
        }
    }

    /// Emits all events. A subscriber that panics ends no call.
    #[inline]
    pub(crate) fn emit(self) {
        if !self.0.is_empty() {
            // Most subscribers write to stderr.
            progress::clear_bars_while(|| self.emit_all());
        }
    }

    #[cold]
    fn emit_all(self) {
        for (worker, event) in self.0 {
            let _ = unwind::catch(|| event.emit(worker));
        }
    }
}

impl Event {
    #[cfg(not(feature = "tracing"))]
    fn emit(self, _: WorkerId) {}

    #[cfg(feature = "tracing")]
    fn emit(self, id: WorkerId) {
        let worker = id.0;
        match self {
            Self::Started { pid, start: 1 } => {
                tracing::debug!(target: "pool", worker, pid, "worker started");
            }
            Self::Started { pid, start } => {
                tracing::debug!(target: "pool", worker, pid, start, "worker restarted");
            }
            Self::NotStarted { error } => {
                tracing::error!(target: "pool", worker, error, "worker could not be started");
            }
            Self::TimedOut { task, site, index, limit } => {
                let (index, label, called_at) = (index.number(), site.shown_label(), site.at);
                tracing::warn!(
                    target: "pool", worker, task, task_index = index, ?limit, label, %called_at, "task timed out"
                );
            }
            Self::OutOfCpuTime { task, site, index, used, limit } => {
                let (index, label, called_at) = (index.number(), site.shown_label(), site.at);
                tracing::warn!(
                    target: "pool", worker, task, task_index = index, ?used, ?limit, label, %called_at,
                    "task over CPU limit"
                );
            }
            Self::OverMemoryLimit { task, site, index, held, limit } => {
                let (index, label, called_at) = (index.number(), site.shown_label(), site.at);
                tracing::warn!(
                    target: "pool", worker, task, task_index = index, held, limit, label, %called_at,
                    "task over memory limit"
                );
            }
            Self::Died { death, stderr_tail } => {
                tracing::warn!(target: "pool", worker, %death, stderr_tail, "worker died");
            }
            Self::Ended => tracing::debug!(target: "pool", worker, "worker ended"),
            #[cfg(feature = "logs")]
            Self::Logged(record) => logs::replay(id, &record),
        }
    }
}
