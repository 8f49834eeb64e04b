//! Recalls tasks from workers.

use super::*;

impl Supervisor {
    /// Whether the worker has tasks that another one could take over.
    pub(super) fn can_rebalance(&self, worker: &Worker) -> bool {
        let movable = |job| self.jobs.get(&job).is_some_and(|job| job.open && job.ended);
        !self.order_tasks
            && !worker.recalling
            && worker.is_there()
            && worker.queue.tasks() > 1
            && worker.queue.jobs().any(movable)
    }

    pub(super) fn recall(&mut self, worker: WorkerId) {
        let entry = &mut self.workers[worker];
        if entry.is_there() && !entry.recalling {
            entry.recalling = true;
            self.actions.push(Action::Recall { worker });
        }
    }

    pub(super) fn recalled(&mut self, worker: WorkerId, kept_up_to: Unit) {
        if !self.workers[worker].recalling {
            return;
        }
        self.requeue_from(worker, Some(kept_up_to));
        if self.workers[worker].takes_orders() {
            self.workers[worker].push(OrderKind::Resume, self.now);
            self.actions.push(Action::SendResume { worker });
        }
        self.start_next();
    }

    /// Removes everything from this unit on from the queue, or the whole queue. Open jobs get their tasks back.
    pub(super) fn requeue_from(&mut self, worker: WorkerId, from: Option<Unit>) {
        let mut jobs = Vec::new();
        let head = self.workers[worker].queue.head();
        for Batch { unit, kind } in self.workers[worker].queue.take(from) {
            let OrderKind::Tasks { job, first, count, attempt } = kind else { continue };
            if let Some(job) = self.jobs.get_mut(&job) {
                job.in_flight -= count;
            }
            self.workers[worker].served = self.workers[worker].served.saturating_sub(count);
            self.requeue(worker, unit, job, first, count, attempt);
            jobs.push(job);
        }
        if self.workers[worker].queue.head().map(|head| head.unit) != head.map(|head| head.unit) {
            self.next_head(worker, head);
        }
        for job in jobs {
            self.finish_if_done(job);
        }
    }
}
