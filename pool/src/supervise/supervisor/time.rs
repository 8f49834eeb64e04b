//! What must happen when.

use super::*;

/// How long a task whose job is gone may hold its worker.
const ABANDON_NS: u64 = 500_000_000;
/// How long a worker may take from its start to its first word.
const BOOT_NS: u64 = 30_000_000_000;
/// How much longer a worker may take that has not even begun: on a busy machine it may not have had its turn.
const GRACE_NS: u64 = 5_000_000_000;
/// How much longer a worker may take whose task has panicked: to find the names and places of a backtrace takes as
/// long as the program is large.
const TELL_NS: u64 = 30_000_000_000;
/// How long a worker may take to end that has answered its exit order, where exit functions have no limit: handlers that
/// the user's code has registered run then.
const LEAVE_NS: u64 = 10_000_000_000;
/// How soon it is looked again whether such a worker has begun.
const LOOK_AGAIN_NS: u64 = 5_000_000;
/// How long a queue may stand still while another worker has nothing to do, before it is taken back.
const STALL_NS: u64 = 300_000;

/// A time in which the parent stood still, and which no limit counts.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Standstill {
    pub(super) from: u64,
    pub(super) until: u64,
}

impl Standstill {
    /// From when to count what has begun at this time, so that the standstill is not counted.
    fn leave_out(self, began: u64) -> u64 {
        if began >= self.until { began } else { began.min(self.from) + (self.until - self.from) }
    }
}

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
        if worker.killed_for.is_some() {
            return None;
        }
        let limit = self.limit_of(worker).map(|limit| {
            let due = worker.head_since.saturating_add(limit).saturating_add(worker.head_extra_ns);
            if worker.head_began || self.now < due { due } else { self.now + LOOK_AGAIN_NS }
        });
        let stall = (another_is_idle && self.can_rebalance(worker)).then(|| worker.head_since + STALL_NS);
        limit.into_iter().chain(stall).min()
    }

    /// The limit that the head of the queue has gone past by now, if it has.
    fn overdue(&self, worker: &Worker, now: u64) -> Option<u64> {
        let grace = if worker.head_began { worker.head_extra_ns } else { GRACE_NS };
        let late = |limit: &u64| worker.head_since.saturating_add(limit.saturating_add(grace)) <= now;
        self.limit_of(worker).filter(late)
    }

    /// How long the head of the queue may take.
    pub(super) fn limit_of(&self, worker: &Worker) -> Option<u64> {
        let Some(head) = worker.queue.head() else {
            let leaves = worker.phase == Phase::Leaving && self.killable;
            return leaves.then(|| self.exit_limit_ns.unwrap_or(LEAVE_NS));
        };
        let limit = match head.what {
            OrderKind::Tasks { job, .. } => match self.jobs.get(&job) {
                Some(job) if job.open => job.plan.task_limit_ns,
                _ => Some(ABANDON_NS),
            },
            OrderKind::Init { profile } => {
                let wanted = |job: &&Job| job.plan.profile == profile;
                self.jobs.values().filter(wanted).filter_map(|job| job.plan.init_limit_ns).min()
            }
            OrderKind::Exit => self.exit_limit_ns,
            OrderKind::Resume => None,
        };
        limit.filter(|_| self.killable)
    }

    /// The order at the head of the worker's queue, if it has a time limit and is not known to have begun.
    pub(crate) fn head_to_begin(&self, worker: usize) -> Option<Head> {
        let seat = &self.workers[worker];
        self.limit_of(seat).filter(|_| !seat.head_began)?;
        self.head(worker)
    }

    /// Notes when the head of the worker's queue began, as the worker says: the first word counts, and a time to come
    /// is now.
    pub(crate) fn head_began(&mut self, worker: usize, at: u64) {
        let at = self.standstill.leave_out(at.min(self.now));
        let seat = &mut self.workers[worker];
        (seat.head_since, seat.head_began) = (at, true);
    }

    /// The orders that have run out of time by now, each with its worker.
    pub(crate) fn running_out(&self, now: u64) -> Vec<(usize, Head)> {
        let overdue = |worker: &usize| self.overdue(&self.workers[*worker], now).is_some();
        (0..self.workers.len()).filter(overdue).filter_map(|id| Some((id, self.head(id)?))).collect()
    }

    /// Notes that what runs on the worker has panicked, which it has yet to tell of: once only, for a worker may say so
    /// without end.
    pub(crate) fn head_panicked(&mut self, worker: usize) {
        let seat = &mut self.workers[worker];
        (seat.head_extra_ns, seat.head_began) = (TELL_NS, true);
    }

    /// What runs now has so much more time.
    pub(super) fn stood_still(&mut self, mut standstill: Standstill) {
        // Several callers may have noticed the same one.
        standstill.from = standstill.from.max(self.standstill.until).min(standstill.until);
        self.standstill = standstill;
        for worker in &mut self.workers {
            worker.head_since = standstill.leave_out(worker.head_since);
        }
    }

    pub(super) fn tick(&mut self) {
        let idle = self.workers.iter().any(|w| w.takes_orders() && w.queue.is_empty());
        for worker in 0..self.workers.len() {
            if self.deadline_of(worker, idle).is_none_or(|deadline| deadline > self.now) {
                continue;
            }
            let seat = &self.workers[worker];
            match (seat.phase, self.overdue(seat, self.now)) {
                (Phase::Absent, _) => self.start(&[worker]),
                (Phase::Starting, _) => self.doom(worker, Cause::TimedOut(BOOT_NS)),
                (_, Some(limit)) => self.doom(worker, Cause::TimedOut(limit)),
                _ if idle && self.can_rebalance(seat) && seat.head_since + STALL_NS <= self.now => {
                    self.recall(worker);
                }
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_standstill_is_not_counted() {
        let standstill = Standstill { from: 100, until: 400 };
        assert_eq!(standstill.leave_out(30), 330, "70 were over before it, and still are");
        assert_eq!(standstill.leave_out(100), 400);
        assert_eq!(standstill.leave_out(250), 400, "what began in it begins at its end");
        assert_eq!(standstill.leave_out(400), 400);
        assert_eq!(standstill.leave_out(500), 500);
        assert_eq!(Standstill::default().leave_out(7), 7);
    }
}
