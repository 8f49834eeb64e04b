//! Decides what a caller may send, and to which worker.

use super::recall::MOST_RECALLS;
use super::*;

/// Permission to send some items of a job to a worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) worker: WorkerId,
    pub(crate) work: Work,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// New items: up to `most`, beginning with index `first`; fewer than `whole` only at the input's end.
    Fresh { first: TaskIndex, most: u64, whole: u64 },
    /// A task that is sent again.
    Again { index: TaskIndex, attempt: u32 },
}

/// At most this many workers, those with the fewest tasks, are compared for a job, and at most this many jobs for a
/// worker that has tasks. If none of them can take more, no worker is about to run out of work.
const MOST_COMPARED: usize = 16;

impl Supervisor {
    /// The next items that the job may send, if any.
    pub(crate) fn grant(&self, id: JobId) -> Option<Grant> {
        let sharing = self.jobs.with_work().max(1) as u64;
        let job = self.jobs.get(id).filter(|job| job.has_work())?;
        let workers = self.workers.len() as u64;
        let share = job.window(workers, !self.order_tasks);
        let window = (share.window / sharing).max(share.chunk.min(share.whole)).max(1);
        // Further recalls would not help: the tasks that run now come first everywhere.
        let waits = job.in_flight == 0 && job.recalls >= MOST_RECALLS;
        let fits = |worker: &WorkerId| {
            if waits {
                return self.workers[*worker].queue.tasks() <= 1;
            }
            let queued = job.queued_at(*worker);
            queued == 0 || queued + share.chunk <= window
        };
        let chosen = if self.order_tasks {
            let worker = WorkerId((job.chunk() % workers) as usize);
            Some(worker).filter(|worker| self.workers[*worker].takes_tasks() && fits(worker))?
        } else {
            self.workers.by_load().take(MOST_COMPARED).find(fits)?
        };
        debug_assert!(self.life_left(&self.workers[chosen]) > 0, "an old worker takes no orders");
        if let Some(&(index, attempt)) = job.backlog.front() {
            return (share.chunk > 0)
                .then_some(Grant { worker: chosen, work: Work::Again { index, attempt } });
        }
        let most = share.chunk.min(self.life_left(&self.workers[chosen]));
        let whole = share.whole.min(self.life_left(&self.workers[chosen]));
        let idle = job.queued_at(chosen) == 0;
        let most = job.within_bytes(most, whole, idle, workers);
        (most > 0 && !job.ended && most >= whole)
            .then_some(Grant { worker: chosen, work: Work::Fresh { first: job.next, most, whole } })
    }

    /// How many more tasks the worker may be handed.
    pub(super) fn life_left(&self, worker: &Worker) -> u64 {
        self.jobs.lifespan().saturating_sub(worker.served)
    }

    /// Retires the worker if it has been handed as many tasks as an open job allows.
    pub(super) fn retire_if_old(&mut self, worker: WorkerId) {
        if self.life_left(&self.workers[worker]) == 0 {
            self.retire_worker(worker);
        }
    }

    /// Retires all such workers when a job was opened. Looks at the others only if it is likely to find one.
    pub(super) fn retire_old(&mut self) {
        if self.most_served < self.jobs.lifespan() {
            return;
        }
        self.most_served = 0;
        for worker in self.workers.ids() {
            self.retire_if_old(worker);
            let entry = &self.workers[worker];
            if entry.takes_orders() {
                self.most_served = self.most_served.max(entry.served);
            }
        }
    }

    /// Notes whether the worker's lane is too full for chunks.
    pub(crate) fn block(&mut self, worker: WorkerId, blocked: bool) {
        if self.workers[worker].blocked != blocked {
            self.workers.edit(worker).blocked = blocked;
        }
    }

    /// The next task that is assigned to a worker or to be sent again, and to which worker. Of tasks to be sent again,
    /// those of a job that has none under way come first.
    pub(crate) fn grant_again(&self) -> Option<(JobId, Grant)> {
        if let Some(assigned) = self.grant_assigned() {
            return Some(assigned);
        }
        self.workers.by_load().next()?;
        let most = if self.workers.is_any_idle() { usize::MAX } else { MOST_COMPARED };
        self.jobs.with_backlog().take(most).find_map(|job| Some((job, self.grant(job)?)))
    }
}
