//! Recalls tasks from workers.

use super::*;

impl Supervisor {
    pub(super) fn recall(&mut self, worker: WorkerId) {
        let mut entry = self.workers.edit(worker);
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
            self.push(worker, OrderKind::Resume);
            self.actions.push(Action::SendResume { worker });
        }
        self.start_next();
    }

    /// Removes everything from this unit on from the queue, or the whole queue. Open jobs get their tasks back.
    pub(super) fn requeue_from(&mut self, worker: WorkerId, from: Option<Unit>) {
        let mut jobs = Vec::new();
        let head = self.workers[worker].queue.head();
        let taken = self.workers.edit(worker).queue.take(from);
        for Batch { unit, kind } in taken {
            let OrderKind::Tasks { job, first, count, attempt } = kind else { continue };
            self.unload(worker, job, count);
            let mut entry = self.workers.edit(worker);
            entry.served = entry.served.saturating_sub(count);
            drop(entry);
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
