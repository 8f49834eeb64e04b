//! Handles the answers of workers.

use super::*;

impl Supervisor {
    pub(super) fn done(&mut self, worker: WorkerId, count: u64, bytes: u64, pace_ns: u64) {
        let Some(Batch { kind: OrderKind::Tasks { job: id, .. }, .. }) = self.workers[worker].queue.head()
        else {
            return;
        };
        let entry = &self.workers[worker];
        // A pace that comes with the first result of a job may be that of the job before.
        let is_its_pace = pace_ns > 0 && (entry.last_job == Some(id) || count > 1);
        if let Some(mut job) = self.jobs.edit(id) {
            job.unload(worker, count);
            job.done += count;
            job.recalls = 0;
            // One value for many tasks: what is left for the caller does not grow with their number.
            if job.open && !job.plan.folds {
                job.hold(count, bytes);
                job.record_result_bytes(bytes / count.max(1));
            }
            if is_its_pace {
                let last = job.pace_ns.unwrap_or(pace_ns);
                job.pace_ns = Some(last.midpoint(pace_ns).max(1));
            }
        }
        let (workers, heads) = self.split();
        let mut entry = workers.edit(worker);
        (entry.failed_starts, entry.last_job) = (0, Some(id));
        heads.pop(&mut entry, count);
        drop(entry);
        self.finish_if_done(id);
    }

    pub(super) fn failed(&mut self, worker: WorkerId, bytes: u64) {
        let Some(batch) = self.workers[worker].queue.head() else { return };
        match batch.kind {
            OrderKind::Tasks { job, first, attempt, .. } => {
                self.pop_head(worker, 1);
                if self.asks(job, first, attempt) {
                    self.ask(worker, batch.unit, job, first, attempt, Cause::Reported, bytes);
                } else {
                    self.fail_task(worker, batch.unit, job, first, attempt, Cause::Reported, bytes);
                }
                self.finish_if_done(job);
            }
            OrderKind::Init { profile } => {
                self.pop_head(worker, 0);
                self.workers.edit(worker).profiles.retain(|known| *known != profile);
                self.jobs.profile_mut(profile).is_everywhere = false;
                let cause = JobCause::Init(Cause::Reported);
                self.fail_jobs(worker, cause, |job| job.plan.profile == Some(profile));
            }
            OrderKind::Exit | OrderKind::Resume => {}
        }
    }

    /// Gives the tasks at the head of the queue, whose folded results are lost, back to their job. They must run again,
    /// but none of them is to blame, so this is no attempt at them.
    pub(super) fn unfolded(&mut self, worker: WorkerId, count: u64) {
        let Some(Batch { unit, kind: OrderKind::Tasks { job, first, attempt, .. } }) =
            self.workers[worker].queue.head()
        else {
            return;
        };
        let entry = &self.workers[worker];
        let (since, began, extra_ns) = (entry.head_since, entry.head_began, entry.head_extra_ns);
        self.pop_head(worker, count);
        let mut entry = self.workers.edit(worker);
        (entry.head_since, entry.head_began, entry.head_extra_ns) = (since, began, extra_ns);
        drop(entry);
        self.requeue(worker, unit, job, first, count, attempt);
        self.finish_if_done(job);
    }

    pub(super) fn order_done(&mut self, worker: WorkerId) {
        let Some(batch) = self.workers[worker].queue.head() else { return };
        let began = Some(self.workers[worker].head_since).filter(|_| self.workers[worker].head_began);
        self.pop_head(worker, 0);
        let mut entry = self.workers.edit(worker);
        match batch.kind {
            OrderKind::Resume => entry.recalling = false,
            // The exit lasts until the worker's end, so its clock goes on.
            OrderKind::Exit => {
                (entry.head_since, entry.head_began) = (began.unwrap_or(entry.head_since), true);
            }
            OrderKind::Init { .. } => {
                drop(entry);
                self.note_warmth(worker);
            }
            OrderKind::Tasks { .. } => {}
        }
    }

    /// Removes the answered head of the queue: `count` tasks, or one order of another kind.
    pub(super) fn pop_head(&mut self, worker: WorkerId, count: u64) {
        if let Some(OrderKind::Tasks { job, .. }) = self.workers[worker].queue.head().map(|head| head.kind) {
            self.unload(worker, job, count);
        }
        let (workers, heads) = self.split();
        heads.pop(&mut workers.edit(worker), count);
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
        let Some(mut job) = self.jobs.edit(id) else { return };
        if !job.open {
            job.done += 1;
            // A call that gave up still takes what workers report before it is closed, if it is final. A worker that
            // died may have been killed because of that.
            if job.has_given_up() && cause == Cause::Reported && !job.plan.asks(attempts) {
                drop(job);
                self.actions.push(Action::FailTask { bytes, worker, unit, job: id, index, attempts, cause });
            }
            return;
        }
        let ends = job.lose(bytes);
        drop(job);
        self.actions.push(Action::FailTask { bytes, worker, unit, job: id, index, attempts, cause });
        if ends {
            self.close(id);
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
        let Some(mut job) = self.jobs.edit(id) else { return };
        if job.open {
            self.actions.push(Action::Requeue { worker, unit, job: id, first, count });
            if job.is_for_each() {
                drop(job);
                return self.assign_again(id, worker, attempt);
            }
            job.backlog.extend(first.range(count).map(|index| (index, attempt)));
        }
    }
}
