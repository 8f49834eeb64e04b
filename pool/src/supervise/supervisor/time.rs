//! What must happen when.

use super::*;

/// How long a task whose job is gone may hold its worker.
const ABANDON_NS: u64 = 500_000_000;
/// How long a worker may take from its start to its first word.
const BOOT_NS: u64 = 30_000_000_000;
/// How long a queue may stand still while another worker has nothing to do, before it is taken back.
const STALL_NS: u64 = 300_000;

impl Supervisor {
    /// When something must happen even if nothing is heard.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let idle = self.workers.iter().any(|w| w.takes_orders() && w.queue.is_empty());
        (0..self.workers.len()).filter_map(|worker| self.deadline_of(worker, idle)).min()
    }

    pub(super) fn deadline_of(&self, id: usize, another_is_idle: bool) -> Option<u64> {
        let worker = &self.workers[id];
        if worker.phase == Phase::Absent {
            return worker.retry_at.filter(|_| self.needs_workers());
        }
        if worker.phase == Phase::Starting {
            return Some(worker.head_since + BOOT_NS);
        }
        if worker.doomed.is_some() {
            return None;
        }
        let limit = self.limit_of(worker).map(|limit| worker.head_since.saturating_add(limit));
        let stall = (another_is_idle && self.can_rebalance(worker)).then(|| worker.head_since + STALL_NS);
        limit.into_iter().chain(stall).min()
    }

    /// How long the head of the queue may take.
    pub(super) fn limit_of(&self, worker: &Worker) -> Option<u64> {
        let limit = match worker.queue.front()?.what {
            What::Tasks { job, .. } => match self.jobs.get(&job) {
                Some(job) if job.open => job.plan.task_limit_ns,
                _ => Some(ABANDON_NS),
            },
            What::Init { profile } => {
                let wanted = |job: &&Job| job.plan.profile == profile;
                self.jobs.values().filter(wanted).filter_map(|job| job.plan.init_limit_ns).min()
            }
            What::Exit => self.exit_limit_ns,
            What::Resume => None,
        };
        limit.filter(|_| self.mortal)
    }

    /// Notes when the head of the worker's queue began, as the worker says; never later than it was seen.
    pub(crate) fn head_began(&mut self, worker: usize, at: u64) {
        let worker = &mut self.workers[worker];
        worker.head_since = worker.head_since.min(at.min(self.now));
    }

    pub(super) fn tick(&mut self) {
        let idle = self.workers.iter().any(|w| w.takes_orders() && w.queue.is_empty());
        for worker in 0..self.workers.len() {
            if self.deadline_of(worker, idle).is_none_or(|deadline| deadline > self.now) {
                continue;
            }
            let seat = &self.workers[worker];
            if seat.phase == Phase::Absent {
                self.start(worker);
                continue;
            }
            let limit =
                self.limit_of(seat).filter(|limit| seat.head_since.saturating_add(*limit) <= self.now);
            if seat.phase == Phase::Starting || limit.is_some() {
                self.doom(worker, Cause::TimedOut(limit.unwrap_or(BOOT_NS)));
            } else {
                self.recall(worker);
            }
        }
    }
}
