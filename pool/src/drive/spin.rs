//! Spinning before a sleep, on both sides, where a core is free for that.

use super::workers::Workers;
use crate::ids::WorkerId;
use crate::lane::Spinner;

/// How long both sides spin before they sleep: about as long as a wake-up takes, so that a spin in vain at most doubles
/// the cost of the sleep.
const SPIN_NS: u32 = 50_000;

pub(super) struct Spin {
    cpus: usize,
    /// The spinning time last set for the workers.
    allowed_ns: u32,
    spinner: Spinner,
}

impl Spin {
    pub(super) fn new(cpus: usize) -> Self {
        Self { cpus, allowed_ns: 0, spinner: Spinner::default() }
    }

    /// The spinning time last set for the workers.
    pub(super) fn allowed_ns(&self) -> u32 {
        self.allowed_ns
    }

    /// Lets the workers spin if fewer than all CPUs are busy. Tells only those that have something to do, and the
    /// others with their next order.
    pub(super) fn allow(&mut self, busy: usize, workers: &mut Workers, active: &[WorkerId]) {
        let spin_ns = if busy < self.cpus { SPIN_NS } else { 0 };
        if spin_ns != self.allowed_ns {
            self.allowed_ns = spin_ns;
            workers.each(active, |worker| worker.let_spin(spin_ns));
        }
    }

    /// Spins for a reply if the workers leave a core free, and returns whether there is one. With several open calls it
    /// does not spin: it would hold the lock that their callers may need.
    pub(super) fn wait_for_reply(
        &mut self,
        busy: usize,
        jobs: usize,
        workers: &Workers,
        active: &[WorkerId],
    ) -> bool {
        if busy == 0 || busy >= self.cpus || jobs > 1 {
            return false;
        }
        self.spinner.spin_until(u64::from(SPIN_NS), || workers.has_replies(active))
    }
}
