//! The driver's clock. It stands still while a caller holds the lock, so that all events of one turn have one time.

use std::time::Duration;

use crate::sys::clock::now_ns;

pub(super) struct Clock {
    now: u64,
    watched_until: u64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { now: now_ns(), watched_until: 0 }
    }

    /// The time of this turn.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    /// Sets the time of a new turn. Time never goes back.
    pub(super) fn advance_to(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    /// Reads the time again within a turn, after a step that may have taken long.
    pub(super) fn refresh(&mut self) {
        self.advance_to(now_ns());
    }

    /// When the workers were last watched: a caller drained their lanes, or slept on the poll set.
    pub(super) fn watched_until(&self) -> u64 {
        self.watched_until
    }

    /// Records that a caller watches the workers now.
    pub(super) fn mark_watched(&mut self) {
        self.watched_until = self.now;
    }
}

/// A time in which no caller watched the workers, and how long it should have lasted at most.
#[derive(Debug, Clone, Copy)]
pub(super) struct Gap {
    pub(super) from: u64,
    pub(super) limit: Duration,
    pub(super) until: u64,
}

impl Gap {
    /// A gap that is longer than its limit by this much shows that the process was suspended, as by Ctrl-Z. It is far
    /// more than the scheduler delays a thread on a busy machine, and short beside any useful time limit.
    const TOLERANCE: Duration = Duration::from_millis(500);

    pub(super) fn was_suspension(&self) -> bool {
        Duration::from_nanos(self.until.saturating_sub(self.from)) > self.limit + Self::TOLERANCE
    }
}
