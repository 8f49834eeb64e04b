//! Tasks are taken back from workers.

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

    pub(super) fn recall(&mut self, worker: usize) {
        let seat = &mut self.workers[worker];
        if seat.is_there() && !seat.recalling {
            seat.recalling = true;
            self.actions.push(Action::Recall { worker });
        }
    }

    pub(super) fn recalled(&mut self, worker: usize, kept_up_to: u32) {
        if !self.workers[worker].recalling {
            return;
        }
        self.give_back_queue(worker, Some(kept_up_to));
        if self.workers[worker].takes_orders() {
            self.workers[worker].push(OrderKind::Resume, self.now);
            self.actions.push(Action::SendResume { worker });
        }
    }

    /// Empties the queue, from this unit on, or whole: open jobs get their tasks back.
    pub(super) fn give_back_queue(&mut self, worker: usize, from: Option<u32>) {
        let mut jobs = Vec::new();
        for Batch { unit, what } in self.workers[worker].queue.take(from) {
            let OrderKind::Tasks { job, first, count, attempt } = what else { continue };
            if let Some(job) = self.jobs.get_mut(&job) {
                job.in_flight -= count;
            }
            self.workers[worker].served = self.workers[worker].served.saturating_sub(count);
            self.keep(worker, unit, job, first, count, attempt);
            jobs.push(job);
        }
        for job in jobs {
            self.finish_if_done(job);
        }
    }
}
