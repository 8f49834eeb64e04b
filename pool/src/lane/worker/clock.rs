//! How a worker measures its time, without reading the clock for each task.

use std::sync::atomic::Ordering;

use crate::lane::{Activity, WorkerControlBlock, pace};
use crate::sys::clock::now_ns;

/// How long a worker works before it reads the clock again. A reading costs as much as a small task; at once in 50 µs,
/// that is less than one part in a thousand.
const LAP_NS: u64 = 50_000;

#[derive(Debug)]
pub(super) struct Clock {
    /// When it was last read.
    read_at: u64,
    /// How many tasks were done since then.
    tasks: u32,
    /// The recent duration of a task; 0 before it is known.
    pace_ns: u64,
    /// The function of these tasks, by its index in the registry.
    task: u32,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { read_at: now_ns(), tasks: 0, pace_ns: 0, task: 0 }
    }

    pub(super) fn read_at(&self) -> u64 {
        self.read_at
    }

    pub(super) fn pace_ns(&self) -> u64 {
        self.pace_ns
    }

    /// Whether tasks were done since the clock was read.
    pub(super) fn is_behind(&self) -> bool {
        self.tasks > 0
    }

    /// Measures tasks of another function from now on.
    pub(super) fn measure(&mut self, task: u32) {
        (self.task, self.pace_ns) = (task, 0);
    }

    /// Counts tasks that are done. True if it is time to read the clock.
    #[inline]
    pub(super) fn count(&mut self, tasks: u32) -> bool {
        self.tasks += tasks;
        u64::from(self.tasks).saturating_mul(self.pace_ns.max(1)) >= LAP_NS || self.pace_ns == 0
    }

    /// Reads the clock: adds the time since it was last read to this activity, and computes how long a task took.
    pub(super) fn spend(&mut self, what: Activity, own: &WorkerControlBlock) {
        let now = now_ns();
        let took = now.saturating_sub(self.read_at);
        self.read_at = now;
        // Only this thread writes here, so load and store need not be one atomic operation.
        let word = own.spent.of(what);
        word.store(word.load(Ordering::Relaxed).wrapping_add(took), Ordering::Relaxed);
        if let Some(pace_ns) = took.checked_div(u64::from(std::mem::take(&mut self.tasks))) {
            self.pace_ns = pace_ns.max(1);
            own.pace.store(pace::pack(self.task, self.pace_ns), Ordering::Relaxed);
        }
    }
}
