//! Handles the answers of workers.

use super::*;

impl Supervisor {
    pub(super) fn done(&mut self, worker: WorkerId, count: u64, bytes: u64, pace_ns: u64) {
        let Some(Batch { kind: OrderKind::Tasks { job: id, .. }, .. }) = self.workers[worker].queue.head()
        else {
            return;
        };
        self.workers[worker].failed_starts = 0;
        self.pop_head(worker, count);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.done += count;
            if job.open {
                job.hold(count, bytes);
                job.record_result_bytes(bytes / count.max(1));
            }
            if pace_ns > 0 {
                let last = job.pace_ns.unwrap_or(pace_ns);
                job.pace_ns = Some(last.midpoint(pace_ns).max(1));
            }
        }
        self.finish_if_done(id);
    }

    pub(super) fn failed(&mut self, worker: WorkerId, bytes: u64) {
        let Some(batch) = self.workers[worker].queue.head() else { return };
        match batch.kind {
            OrderKind::Tasks { job, first, attempt, .. } => {
                self.pop_head(worker, 1);
                self.fail_task(worker, batch.unit, job, first, attempt, Cause::Reported, bytes);
                self.finish_if_done(job);
            }
            OrderKind::Init { profile } => {
                self.pop_head(worker, 0);
                self.workers[worker].profiles.retain(|known| *known != profile);
                let cause = JobCause::Init(Cause::Reported);
                self.fail_jobs(worker, cause, |job| job.plan.profile == Some(profile));
            }
            OrderKind::Exit | OrderKind::Resume => {}
        }
    }

    pub(super) fn order_done(&mut self, worker: WorkerId) {
        let Some(batch) = self.workers[worker].queue.head() else { return };
        let began = Some(self.workers[worker].head_since).filter(|_| self.workers[worker].head_began);
        self.pop_head(worker, 0);
        let entry = &mut self.workers[worker];
        match batch.kind {
            OrderKind::Resume => entry.recalling = false,
            // The exit lasts until the worker's end, so its clock goes on.
            OrderKind::Exit => {
                (entry.head_since, entry.head_began) = (began.unwrap_or(entry.head_since), true);
            }
            OrderKind::Tasks { .. } | OrderKind::Init { .. } => {}
        }
    }

    /// Removes the answered head of the queue: `count` tasks, or one order of another kind.
    pub(super) fn pop_head(&mut self, worker: WorkerId, count: u64) {
        let head = self.workers[worker].queue.head();
        self.workers[worker].queue.pop(count);
        if let Some(Batch { kind: OrderKind::Tasks { job, .. }, .. }) = head
            && let Some(job) = self.jobs.get_mut(&job)
        {
            job.in_flight -= count;
        }
        self.next_head(worker, head);
    }

    #[expect(clippy::too_many_arguments, reason = "they are the action's")]
    pub(super) fn fail_task(
        &mut self,
        worker: WorkerId,
        unit: Unit,
        id: JobId,
        index: TaskIndex,
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

    /// Returns tasks that a worker will not run to their job.
    pub(super) fn requeue(
        &mut self,
        worker: WorkerId,
        unit: Unit,
        id: JobId,
        first: TaskIndex,
        count: u64,
        attempt: u32,
    ) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.open {
            self.actions.push(Action::Requeue { worker, unit, job: id, first, count });
            job.backlog.extend(first.range(count).map(|index| (index, attempt)));
        }
    }
}
