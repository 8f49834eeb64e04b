//! The life of a job: opened, fed, complete, closed.

use super::*;

impl Supervisor {
    pub(super) fn opened(&mut self, id: JobId, plan: Box<Plan>) {
        let profile = plan.profile;
        let limits = self.limits_of_orders(profile);
        self.shutting_down = false;
        self.exit_limit_ns = plan.exit_limit_ns.or(self.exit_limit_ns);
        let is_for_each = plan.each_worker.is_some();
        self.jobs.insert(id, Box::new(Job::new(plan, self.workers.len() as u64)));
        self.retire_old();
        if let Some(profile) = profile {
            self.send_init_to_all(profile);
        }
        if limits != self.limits_of_orders(profile) {
            self.renew_limits();
        }
        if is_for_each {
            self.begin_each(id);
        }
        self.start_wanted();
    }

    /// The limits of init orders of this profile, and of exit orders.
    fn limits_of_orders(&self, profile: Option<ProfileId>) -> (Option<u64>, Option<u64>) {
        let profile = profile.and_then(|profile| self.jobs.profile(profile));
        (profile.and_then(|profile| profile.limit_ns), self.exit_limit_ns)
    }

    pub(super) fn sent(&mut self, id: JobId, worker: WorkerId, count: u64) {
        let Some(mut job) = self.jobs.edit(id) else { return };
        let (first, attempt) = if job.is_for_each() {
            job.take_assigned(&mut self.workers.edit(worker), id)
        } else {
            job.take_next(count)
        };
        job.chunks += 1;
        let makes_way = job.in_flight == 0 || job.is_for_each();
        job.load(worker, count);
        drop(job);
        let (workers, heads) = self.split();
        let mut entry = workers.edit(worker);
        entry.served += count;
        let served = entry.served;
        heads.push(&mut entry, OrderKind::Tasks { job: id, first, count, attempt });
        drop(entry);
        self.most_served = self.most_served.max(served);
        if makes_way && self.workers[worker].queue.len() > 1 {
            self.make_way(worker, id);
        }
        self.retire_if_old(worker);
        self.start_next();
    }

    /// Counts tasks that the worker no longer has.
    pub(super) fn unload(&mut self, worker: WorkerId, id: JobId, count: u64) {
        if let Some(mut job) = self.jobs.edit(id) {
            job.unload(worker, count);
        }
    }

    /// Fails the next item, which could not be encoded, or not be kept to be sent again.
    pub(super) fn unsendable(&mut self, id: JobId, worker: WorkerId) {
        let Some(mut job) = self.jobs.edit(id) else { return };
        let (index, attempt) = if job.is_for_each() {
            job.take_assigned(&mut self.workers.edit(worker), id)
        } else {
            job.take_next(1)
        };
        drop(job);
        let unit = self.workers[worker].queue.next_unit();
        self.fail_task(worker, unit, id, index, attempt, Cause::Reported, 0);
        self.finish_if_done(id);
        self.start_next();
    }

    pub(super) fn input_ended(&mut self, id: JobId) {
        if let Some(mut job) = self.jobs.edit(id).filter(|job| !job.ended) {
            job.ended = true;
        }
        self.finish_if_done(id);
    }

    pub(super) fn close(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(id) else { return };
        let (profile, is_awaiting) = (job.plan.profile, job.awaiting > 0);
        let limits = self.limits_of_orders(profile);
        if self.jobs.leave(id) {
            if is_awaiting {
                self.await_no_worker(id);
            }
            if limits != self.limits_of_orders(profile) {
                self.renew_limits();
            }
            let queued = self.jobs.get(id).into_iter().flat_map(|job| job.queued.workers());
            for worker in queued.collect::<Vec<_>>() {
                self.leave(worker, id);
            }
        }
        self.finish_if_done(id);
    }

    /// Takes a task that nobody wants from the worker that has it. If that runs it, it gets the same grace as the tasks
    /// of a job that was left. The driver sees to tasks that no worker has.
    pub(super) fn dropped(&mut self, id: JobId, index: TaskIndex) {
        if let Some(attempts) = self.jobs.end_delay(id, index) {
            self.send_again(id, index, attempts);
            return self.start_wanted();
        }
        let Some(job) = self.jobs.get(id).filter(|job| job.open) else { return };
        let has_it = |worker: &WorkerId| self.workers[*worker].queue.has(id, index);
        let Some(worker) = job.queued.workers().find(has_it) else { return };
        if !self.jobs.edit(id).is_some_and(|mut job| job.dropped.insert(index)) {
            return;
        }
        let head = self.workers[worker].queue.head().map(|head| head.kind);
        if matches!(head, Some(OrderKind::Tasks { job, first, .. }) if (job, first) == (id, index)) {
            let mut entry = self.workers.edit(worker);
            (entry.head_since, entry.head_began) = (self.now, true);
            drop(entry);
            self.renew_limit(worker);
        } else {
            self.recall(worker);
        }
    }

    /// Takes the tasks of a job that was left from a worker that has some, unless it may run one and has nothing else.
    fn leave(&mut self, worker: WorkerId, id: JobId) {
        let queue = &self.workers[worker].queue;
        let (is_only, head) = (queue.len() <= 1 && queue.tasks() <= 1, queue.head());
        if !is_only || !self.workers[worker].is_up {
            self.recall(worker);
        }
        if head.is_some_and(|head| matches!(head.kind, OrderKind::Tasks { job, .. } if job == id)) {
            let mut entry = self.workers.edit(worker);
            (entry.head_since, entry.head_began) = (self.now, true);
            drop(entry);
            self.renew_limit(worker);
        }
    }

    /// Reports that a job is complete, and removes it once no worker has a task of it.
    pub(super) fn finish_if_done(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(id) else { return };
        if job.open && job.is_complete() {
            self.actions.push(Action::Complete { job: id });
        }
        if !job.open && job.in_flight == 0 {
            self.jobs.remove(id);
        }
    }

    pub(super) fn fail_jobs(&mut self, worker: WorkerId, cause: JobCause, which: impl Fn(&Job) -> bool) {
        for job in self.jobs.open_where(which) {
            self.actions.push(Action::Fail { job, worker, cause });
            self.close(job);
        }
    }
}
