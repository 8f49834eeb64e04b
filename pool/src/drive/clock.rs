//! When things happen, for the driver. All that is done under one lock is done at one time.

use crate::sys::clock::now_ns;

pub(super) struct Clock {
    now: u64,
    watched_until: u64,
}

impl Clock {
    pub(super) fn new() -> Self {
        Self { now: now_ns(), watched_until: 0 }
    }

    /// The time of all that is done now.
    pub(super) fn now(&self) -> u64 {
        self.now
    }

    pub(super) fn move_to(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    /// What was done has taken its time.
    pub(super) fn move_on(&mut self) {
        self.move_to(now_ns());
    }

    /// Until when somebody watched the workers: took in what had happened, or slept on the poll set.
    pub(super) fn watched_until(&self) -> u64 {
        self.watched_until
    }

    /// Somebody watches the workers now.
    pub(super) fn note_watched(&mut self) {
        self.watched_until = self.now;
    }
}
