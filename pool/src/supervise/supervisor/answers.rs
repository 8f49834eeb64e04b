//! What a worker's answers mean.

use super::*;

impl Supervisor {
    pub(super) fn done(&mut self, worker: usize, count: u64, bytes: u64, pace_ns: u64) {
        let Some(Batch { what: OrderKind::Tasks { job: id, .. }, .. }) = self.workers[worker].queue.head()
        else {
            return;
        };
        self.workers[worker].failed_starts = 0;
        self.pop_head(worker, count);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.done += count;
            if job.open {
                job.hold(count, bytes);
                job.note_result_bytes(bytes / count.max(1));
            }
            if pace_ns > 0 {
                let last = job.pace_ns.unwrap_or(pace_ns);
                job.pace_ns = Some(last.midpoint(pace_ns).max(1));
            }
        }
        self.finish_if_done(id);
    }

    pub(super) fn failed(&mut self, worker: usize, bytes: u64) {
        let Some(batch) = self.workers[worker].queue.head() else { return };
        match batch.what {
            OrderKind::Tasks { job, first, attempt, .. } => {
                self.pop_head(worker, 1);
                self.lose(worker, batch.unit, job, first, attempt, Cause::Reported, bytes);
                self.finish_if_done(job);
            }
            OrderKind::Init { profile } => {
                self.pop_head(worker, 0);
                self.workers[worker].profiles.retain(|known| *known != profile);
                let cause = JobCause::Init(Cause::Reported);
                self.fail_jobs(worker, cause, |job| job.plan.profile == profile);
            }
            OrderKind::Exit | OrderKind::Resume => {}
        }
    }

    pub(super) fn order_done(&mut self, worker: usize) {
        let Some(batch) = self.workers[worker].queue.head() else { return };
        let began = Some(self.workers[worker].head_since).filter(|_| self.workers[worker].head_began);
        self.pop_head(worker, 0);
        let seat = &mut self.workers[worker];
        match batch.what {
            OrderKind::Resume => seat.recalling = false,
            // What else the worker does at its end is a part of its exit.
            OrderKind::Exit => (seat.head_since, seat.head_began) = (began.unwrap_or(seat.head_since), true),
            OrderKind::Tasks { .. } | OrderKind::Init { .. } => {}
        }
    }

    /// The head of the queue is answered: `count` of its tasks, or the order that it is.
    pub(super) fn pop_head(&mut self, worker: usize, count: u64) {
        let seat = &mut self.workers[worker];
        seat.next_head(self.now);
        let head = seat.queue.head();
        seat.queue.pop(count);
        if let Some(Batch { what: OrderKind::Tasks { job, .. }, .. }) = head
            && let Some(job) = self.jobs.get_mut(&job)
        {
            job.in_flight -= count;
        }
    }

    #[expect(clippy::too_many_arguments, reason = "they are the action's")]
    pub(super) fn lose(
        &mut self,
        worker: usize,
        unit: u32,
        id: JobId,
        index: u64,
        attempts: u32,
        cause: Cause,
        bytes: u64,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.done += 1;
        if job.open {
            job.hold(1, bytes);
            self.actions.push(Action::FailTask { bytes, worker, unit, job: id, index, attempts, cause });
            if job.plan.fail_fast {
                self.close(id);
            }
        }
    }

    /// Tasks that a worker will not do come back to their job.
    pub(super) fn keep(&mut self, worker: usize, unit: u32, id: JobId, first: u64, count: u64, attempt: u32) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.open {
            self.actions.push(Action::Requeue { worker, unit, job: id, first, count });
            job.backlog.extend((first..first + count).map(|index| (index, attempt)));
        }
    }
}
