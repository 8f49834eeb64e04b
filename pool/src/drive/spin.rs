//! Spinning: both sides wait a little before they sleep, where a core is free for that.

use super::workers::Workers;
use crate::lane::Spinner;

/// How long both sides spin before they sleep: about one wake-up.
const SPIN_NS: u32 = 50_000;

pub(super) struct Spin {
    cpus: usize,
    /// How long the workers were told that they may spin.
    allowed_ns: u32,
    spinner: Spinner,
}

impl Spin {
    pub(super) fn new(cpus: usize) -> Self {
        Self { cpus, allowed_ns: 0, spinner: Spinner::default() }
    }

    /// How long workers may spin, as they were told.
    pub(super) fn allowed_ns(&self) -> u32 {
        self.allowed_ns
    }

    /// Tells the workers, of whom so many are busy, how long they may spin.
    pub(super) fn allow(&mut self, busy: usize, workers: &Workers) {
        let spin_ns = if busy < self.cpus { SPIN_NS } else { 0 };
        if spin_ns != self.allowed_ns {
            self.allowed_ns = spin_ns;
            workers.iter().for_each(|worker| worker.let_spin(spin_ns));
        }
    }

    /// Waits for a reply for about as long as a wake-up takes, where workers leave a core free for that. Says whether one
    /// has come.
    pub(super) fn wait_for_reply(&mut self, busy: usize, jobs: usize, workers: &Workers) -> bool {
        if busy == 0 || busy >= self.cpus || jobs > 1 {
            return false;
        }
        self.spinner.spin_until(u64::from(SPIN_NS), || workers.has_replies())
    }
}
