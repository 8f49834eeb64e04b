//! The driver's clock. It stands still while a caller holds the lock, so that all events of one turn have one time.

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
