//! Decides what a caller may send, and to which worker.

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

impl Supervisor {
    /// The next items that the job may send, if any.
    pub(crate) fn grant(&self, id: JobId) -> Option<Grant> {
        let sharing = self.jobs.values().filter(|job| job.has_work()).count().max(1) as u64;
        let job = self.jobs.get(&id).filter(|job| job.has_work())?;
        let workers = self.workers.len() as u64;
        let share = job.window(workers, !self.order_tasks);
        let window = (share.window / sharing).max(share.chunk.min(share.whole)).max(1);
        let fits = |worker: &Worker| {
            let queued = worker.queue.tasks_of(id);
            worker.takes_orders()
                && !worker.recalling
                && !worker.blocked
                && (queued == 0 || queued + share.chunk <= window)
                && self.life_left(worker) > 0
        };
        let chosen = if self.order_tasks {
            let worker = WorkerId((job.chunk() % workers) as usize);
            fits(&self.workers[worker]).then_some(worker)?
        } else {
            let fitting = self.workers.numbered().filter(|(_, worker)| fits(worker));
            fitting.min_by_key(|(_, worker)| (worker.queue.tasks(), worker.phase != Phase::Up))?.0
        };
        if let Some(&(index, attempt)) = job.backlog.front() {
            return (share.chunk > 0)
                .then_some(Grant { worker: chosen, work: Work::Again { index, attempt } });
        }
        let most = share.chunk.min(self.life_left(&self.workers[chosen]));
        let whole = share.whole.min(self.life_left(&self.workers[chosen]));
        let idle = self.workers[chosen].queue.tasks_of(id) == 0;
        let most = job.within_bytes(most, whole, idle, workers);
        (most > 0 && !job.ended && most >= whole)
            .then_some(Grant { worker: chosen, work: Work::Fresh { first: job.next, most, whole } })
    }

    /// How many more tasks the worker may be handed.
    pub(super) fn life_left(&self, worker: &Worker) -> u64 {
        self.lifespan.saturating_sub(worker.served)
    }

    /// Updates the lifespan of workers when a job is opened or closed.
    pub(super) fn update_lifespan(&mut self) {
        let lifespans = self.jobs.values().filter(|job| job.open).filter_map(|job| job.plan.lifespan);
        self.lifespan = lifespans.min().unwrap_or(u64::MAX);
    }

    /// Retires the worker if it has been handed as many tasks as an open job allows.
    pub(super) fn retire_if_old(&mut self, worker: WorkerId) {
        if self.life_left(&self.workers[worker]) == 0 {
            self.retire_worker(worker);
        }
    }

    /// Notes whether the worker's lane is too full for chunks.
    pub(crate) fn block(&mut self, worker: WorkerId, blocked: bool) {
        self.workers[worker].blocked = blocked;
    }

    /// The open jobs with tasks to be sent again.
    pub(crate) fn with_backlog(&self) -> Vec<JobId> {
        let waits = |job: &&Job| job.open && !job.backlog.is_empty();
        self.jobs.iter().filter(|(_, job)| waits(job)).map(|(id, _)| *id).collect()
    }
}
