//! Processes that were killed, until they are reaped: the start that failed does not wait for their ends.

use std::time::Duration;

use super::{Process, due_in, is_over};

/// When to look again whether they have ended. A killed process is gone within a few milliseconds.
const LOOK_AGAIN: Duration = Duration::from_millis(5);

/// How long their ends are waited for when the pool ends. Only a process that hangs inside the kernel needs longer.
const LIMIT: Duration = Duration::from_secs(2);

/// Killed processes. Dropping this waits for their ends.
#[derive(Debug, Default)]
pub(super) struct Killed {
    processes: Vec<(Process, Children)>,
    due: u64,
}

/// Whether a process has children that this process does not know.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Children {
    None,
    /// Siblings, which it has forked into its group.
    Unknown,
}

impl Killed {
    pub(super) fn add(&mut self, mut process: Process, children: Children) {
        process.kill();
        self.processes.push((process, children));
        self.reap();
    }

    /// Reaps those that have ended.
    pub(super) fn reap(&mut self) {
        self.processes.retain_mut(|(process, children)| {
            if process.is_stuck() {
                process.give_up();
                return false;
            }
            let are_reaped = *children == Children::None || process.reap_unknown();
            !are_reaped || process.try_reap().is_none()
        });
        self.due = due_in(LOOK_AGAIN);
    }

    /// When to reap again.
    pub(super) fn deadline(&self) -> Option<u64> {
        (!self.processes.is_empty()).then_some(self.due)
    }

    /// Waits for their ends.
    pub(super) fn reap_all(&mut self) {
        let due = due_in(LIMIT);
        while !self.processes.is_empty() && !is_over(due) {
            self.reap();
            if !self.processes.is_empty() {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }
}

impl Drop for Killed {
    fn drop(&mut self) {
        self.reap_all();
    }
}
