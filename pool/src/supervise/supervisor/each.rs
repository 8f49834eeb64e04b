//! Jobs that concern each worker: one task for each, or the state that each is to make.
//!
//! Such a job has `next` tasks from the beginning, one a worker. A task waits in the `assigned` list of its worker,
//! which outlives the worker's process, until it can be sent there; it comes back to that list if it is recalled, if it
//! is to be tried again, or if its worker ends before it began. So it never gets to another worker, and an absent
//! worker is started for it, even one that the pool has no more since it was resized.

use super::*;
use crate::work::EachWorker;

impl Supervisor {
    /// Begins a job that concerns each worker.
    pub(super) fn begin_each(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(id) else { return };
        match job.plan.each_worker {
            None => {}
            Some(EachWorker::RunsTask) => self.assign(id),
            Some(EachWorker::WarmsUp) => {
                let profile = job.plan.profile;
                for worker in self.workers.current() {
                    if self.workers[worker].is_warm(profile) {
                        self.jobs.edit(id).into_iter().for_each(|mut job| job.done += 1);
                    } else {
                        self.jobs.edit(id).into_iter().for_each(|mut job| job.awaiting += 1);
                        self.workers.edit(worker).warming.insert(id);
                    }
                }
                self.finish_if_done(id);
            }
        }
    }

    /// Assigns tasks of the job to their workers, as many as may be under way.
    pub(super) fn assign(&mut self, id: JobId) {
        while let Some(worker) =
            self.jobs.edit(id).filter(|job| job.open).and_then(|mut job| job.assign_next())
        {
            self.workers.edit(worker).assigned.insert(id, 1);
        }
        self.start_wanted();
    }

    /// Gives a task back to its worker, which did not run it or is to run it again.
    pub(super) fn assign_again(&mut self, id: JobId, worker: WorkerId, attempt: u32) {
        self.jobs.edit(id).into_iter().for_each(|mut job| job.awaiting += 1);
        self.workers.edit(worker).assigned.insert(id, attempt);
    }

    /// The next task that is assigned to a worker that takes tasks now.
    pub(super) fn grant_assigned(&self) -> Option<(JobId, Grant)> {
        let worker = self.workers.first_assigned()?;
        let (job, attempt) = self.workers[worker].assigned.first_key_value()?;
        let work = Work::Again { index: TaskIndex::new(worker.0 as u64), attempt: *attempt };
        Some((*job, Grant { worker, work }))
    }

    /// Counts the worker for the jobs that have waited until it is warm, if it is.
    pub(super) fn note_warmth(&mut self, worker: WorkerId) {
        let is_warm = |job: &JobId| {
            let job = self.jobs.get(*job);
            job.is_some_and(|job| self.workers[worker].is_warm(job.plan.profile))
        };
        let warm: Vec<JobId> = self.workers[worker].warming.iter().copied().filter(is_warm).collect();
        for id in warm {
            self.workers.edit(worker).warming.remove(&id);
            if let Some(mut job) = self.jobs.edit(id) {
                job.awaiting -= 1;
                job.done += 1;
            }
            self.finish_if_done(id);
        }
    }

    /// Counts a worker as warm for the jobs that wait for that: the pool has it no more.
    pub(super) fn give_up_warmth(&mut self, worker: WorkerId) {
        let warming = std::mem::take(&mut self.workers.edit(worker).warming);
        for id in warming {
            if let Some(mut job) = self.jobs.edit(id) {
                job.awaiting -= 1;
                job.done += 1;
            }
            self.finish_if_done(id);
        }
    }

    /// Lets no worker be awaited for this job, which was left.
    pub(super) fn await_no_worker(&mut self, id: JobId) {
        self.jobs.edit(id).into_iter().for_each(|mut job| job.awaiting = 0);
        for worker in self.workers.ids() {
            let mut entry = self.workers.edit(worker);
            entry.assigned.remove(&id);
            entry.warming.remove(&id);
        }
    }

    /// Fails the jobs that wait for this worker, which can't be started.
    pub(super) fn fail_awaiting(&mut self, worker: WorkerId) {
        let entry = &self.workers[worker];
        let jobs: Vec<JobId> = entry.assigned.keys().chain(&entry.warming).copied().collect();
        for job in jobs {
            self.actions.push(Action::Fail { job, worker, cause: JobCause::NotStarted });
            self.close(job);
        }
    }
}

#[cfg(test)]
impl Supervisor {
    /// Compares what jobs count with the lists of the workers.
    pub(super) fn check_awaiting(&self) {
        let mut awaiting = std::collections::BTreeMap::<JobId, u64>::new();
        for worker in self.workers.ids() {
            let entry = &self.workers[worker];
            for job in entry.assigned.keys().chain(&entry.warming) {
                *awaiting.entry(*job).or_default() += 1;
            }
        }
        assert_eq!(awaiting, self.jobs.awaiting());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EACH: JobId = JobId::new(1);
    const OTHER: JobId = JobId::new(2);
    const WORKERS: [WorkerId; 2] = [WorkerId(0), WorkerId(1)];

    /// A supervisor of two workers, of which the first is up, with a job that concerns both and one that does not.
    struct Pool(Supervisor, u64);

    impl Pool {
        fn with(each: EachWorker) -> Self {
            let mut pool = Self(Supervisor::new(2, false, true), 0);
            let started = pool.tell(Event::Opened { job: EACH, plan: plan(Some(each)) });
            assert_eq!(started, WORKERS.map(|worker| Action::Start { worker }));
            pool.tell(Event::Opened { job: OTHER, plan: plan(None) });
            pool.tell(Event::Ready { worker: WORKERS[0] });
            pool
        }

        fn tell(&mut self, event: Event) -> Vec<Action> {
            let mut actions = Vec::new();
            self.1 += 1000;
            self.0.handle(event, self.1, &mut actions);
            self.0.check();
            actions
        }

        fn fail_to_start(&mut self, is_final: bool) -> Vec<Action> {
            self.tell(Event::NotStarted { worker: WORKERS[1], is_final })
        }
    }

    fn plan(each_worker: Option<EachWorker>) -> Box<Plan> {
        Box::new(Plan { each_worker, total: Some(2), ..Plan::plain() })
    }

    #[test]
    fn a_worker_that_does_not_start_fails_what_waits_for_it() {
        let start = [Action::Start { worker: WORKERS[1] }];
        let fail = [Action::Fail { job: EACH, worker: WORKERS[1], cause: JobCause::NotStarted }];
        for each in [EachWorker::RunsTask, EachWorker::WarmsUp] {
            let mut pool = Pool::with(each);
            assert_eq!(pool.fail_to_start(false), start);
            assert_eq!(pool.fail_to_start(false), start);
            assert_eq!(pool.fail_to_start(false), fail, "the other job goes on");
            let mut pool = Pool::with(each);
            for expected in [&[][..], &[], &fail] {
                assert_eq!(pool.fail_to_start(true), expected, "it may start a little later");
                pool.1 = pool.0.deadline().unwrap_or(pool.1);
                let is_over = !expected.is_empty();
                assert!(is_over || pool.tell(Event::Tick) == start);
            }
            assert!(pool.0.jobs.is_open(OTHER) && !pool.0.jobs.is_open(EACH));
        }
    }

    #[test]
    fn a_task_comes_back_to_its_worker() {
        let mut pool = Pool::with(EachWorker::RunsTask);
        for worker in WORKERS {
            assert_eq!(pool.0.grant_again().map(|(job, grant)| (job, grant.worker)), Some((EACH, worker)));
            pool.tell(Event::Sent { job: EACH, worker, count: 1 });
        }
        assert_eq!(pool.0.grant_again(), None);
        let actions = pool.tell(Event::Died { worker: WORKERS[1], running: false });
        assert!(actions.contains(&Action::Start { worker: WORKERS[1] }), "{actions:?}");
        let work = Work::Again { index: TaskIndex::new(1), attempt: 1 };
        assert_eq!(pool.0.grant_again(), Some((EACH, Grant { worker: WORKERS[1], work })));
        assert_eq!(pool.0.grant(EACH), None);
    }
}
