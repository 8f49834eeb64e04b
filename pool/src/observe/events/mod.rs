//! What the parent tells its `tracing` subscriber: the lives and deaths of workers. It is noted where it happens, and told
//! when no lock is held.

use std::time::Duration;

use crate::error::{Death, TaskErrorKind};
use crate::ids::{TaskIndex, WorkerId};
use crate::observe::{logs, progress};
use crate::unwind;

/// What is to be told.
#[derive(Debug, Default)]
pub(crate) struct Events(Vec<Event>);

#[derive(Debug)]
enum Event {
    Started {
        worker: WorkerId,
        pid: Option<i32>,
        start: u32,
    },
    NotStarted {
        worker: WorkerId,
        error: String,
    },
    TimedOut {
        worker: WorkerId,
        task: &'static str,
        index: TaskIndex,
        limit: Duration,
    },
    Died {
        worker: WorkerId,
        death: Death,
        stderr_tail: Option<String>,
    },
    Ended {
        worker: WorkerId,
    },
    #[cfg(feature = "logs")]
    Logged {
        worker: WorkerId,
        record: logs::Record,
    },
}

impl Events {
    /// A worker was started, for the first time, or again.
    pub(crate) fn started(&mut self, worker: WorkerId, pid: Option<i32>, start: u32) {
        self.0.push(Event::Started { worker, pid, start });
    }

    pub(crate) fn not_started(&mut self, worker: WorkerId, error: &impl ToString) {
        self.0.push(Event::NotStarted { worker, error: error.to_string() });
    }

    /// An attempt at a task gave no result. What nobody else tells is that it took too long.
    pub(crate) fn lost(
        &mut self,
        worker: WorkerId,
        task: &'static str,
        index: TaskIndex,
        why: &TaskErrorKind,
    ) {
        if let TaskErrorKind::TimedOut(limit) = *why {
            self.0.push(Event::TimedOut { worker, task, index, limit });
        }
    }

    /// A worker ended that had not been told to.
    pub(crate) fn died(&mut self, worker: WorkerId, death: Death, stderr_tail: Option<&str>) {
        self.0.push(Event::Died { worker, death, stderr_tail: stderr_tail.map(str::to_owned) });
    }

    pub(crate) fn ended(&mut self, worker: WorkerId) {
        self.0.push(Event::Ended { worker });
    }

    #[cfg(feature = "logs")]
    pub(crate) fn logged(&mut self, worker: WorkerId, record: logs::Record) {
        self.0.push(Event::Logged { worker, record });
    }

    #[cfg(not(feature = "logs"))]
    pub(crate) fn logged(&mut self, _: WorkerId, record: logs::Record) {
        match record {}
    }

    /// Tells it. A subscriber that panics ends no call.
    #[inline]
    pub(crate) fn tell(self) {
        if !self.0.is_empty() {
            // Most subscribers write to stderr.
            progress::clear_bars_while(|| self.tell_all());
        }
    }

    fn tell_all(self) {
        for event in self.0 {
            let _ = unwind::catch(|| event.tell());
        }
    }
}

impl Event {
    #[cold]
    fn tell(self) {
        match self {
            Self::Started { worker, pid, start: 1 } => {
                tracing::debug!(target: "pool", worker = worker.0, pid, "worker started");
            }
            Self::Started { worker, pid, start } => {
                tracing::debug!(target: "pool", worker = worker.0, pid, start, "worker restarted");
            }
            Self::NotStarted { worker, error } => {
                tracing::error!(target: "pool", worker = worker.0, error, "worker could not be started");
            }
            Self::TimedOut { worker, task, index, limit } => {
                let (worker, index) = (worker.0, index.number());
                tracing::warn!(target: "pool", worker, task, task_index = index, ?limit, "task timed out");
            }
            Self::Died { worker, death, stderr_tail } => {
                tracing::warn!(target: "pool", worker = worker.0, %death, stderr_tail, "worker died");
            }
            Self::Ended { worker } => tracing::debug!(target: "pool", worker = worker.0, "worker ended"),
            #[cfg(feature = "logs")]
            Self::Logged { worker, record } => logs::replay(worker, &record),
        }
    }
}
