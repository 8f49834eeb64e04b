//! The life of a job: opened, fed, complete, closed.

use super::*;

impl Supervisor {
    pub(super) fn opened(&mut self, id: JobId, plan: Box<Plan>, encoded: u64) {
        let profile = plan.profile;
        self.shutting_down = false;
        self.exit_limit_ns = plan.exit_limit_ns.or(self.exit_limit_ns);
        let mut job = Job::new(plan);
        // Items that are encoded already wait like tasks that are sent again.
        job.next = TaskIndex::new(encoded);
        job.ended = encoded > 0;
        job.backlog.extend(TaskIndex::default().range(encoded).map(|index| (index, 1)));
        self.jobs.insert(id, job);
        self.update_lifespan();
        for worker in self.workers.ids() {
            self.retire_if_old(worker);
            if self.workers[worker].takes_orders() {
                profile.into_iter().for_each(|profile| self.send_init(worker, profile));
            }
        }
        self.start_wanted();
    }

    pub(super) fn sent(&mut self, id: JobId, worker: WorkerId, count: u64) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let (first, attempt) = job.take_next(count);
        job.in_flight += count;
        job.chunks += 1;
        let entry = &mut self.workers[worker];
        entry.push(OrderKind::Tasks { job: id, first, count, attempt }, self.now);
        entry.served += count;
        self.retire_if_old(worker);
        self.start_next();
    }

    /// Fails the next item, which could not be encoded, or not be kept to be sent again.
    pub(super) fn unsendable(&mut self, id: JobId, worker: WorkerId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let (index, attempt) = job.take_next(1);
        let unit = self.workers[worker].queue.next_unit();
        self.fail_task(worker, unit, id, index, attempt, Cause::Reported, 0);
        self.finish_if_done(id);
        self.start_next();
    }

    pub(super) fn input_ended(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.ended = true;
        }
        self.finish_if_done(id);
    }

    pub(super) fn close(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.open = false;
        job.backlog.clear();
        self.update_lifespan();
        for worker in self.workers.ids() {
            let entry = &self.workers[worker];
            if entry.queue.tasks_of(id) > 0 && !entry.queue.is_only(id) {
                self.recall(worker);
            }
            let entry = &mut self.workers[worker];
            if matches!(entry.queue.head(), Some(Batch { kind: OrderKind::Tasks { job, .. }, .. }) if job == id)
            {
                (entry.head_since, entry.head_began) = (self.now, true);
            }
        }
        self.finish_if_done(id);
    }

    /// Reports that a job is complete, and removes it once no worker has a task of it.
    pub(super) fn finish_if_done(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        if job.open && job.is_complete() {
            self.actions.push(Action::Complete { job: id });
        }
        if !job.open && job.in_flight == 0 {
            self.jobs.remove(&id);
        }
    }

    pub(super) fn fail_jobs(&mut self, worker: WorkerId, cause: JobCause, which: impl Fn(&Job) -> bool) {
        let failed: Vec<JobId> =
            self.jobs.iter().filter(|(_, job)| job.open && which(job)).map(|(id, _)| *id).collect();
        for job in failed {
            self.actions.push(Action::Fail { job, worker, cause });
            self.close(job);
        }
    }
}
