//! The pool gets more workers, or fewer.
//!
//! When it shrinks, the workers with the highest numbers are *surplus*. A surplus worker gets no more tasks, those that
//! it has not begun are recalled, and then it is told to leave. But a job that concerns each worker concerns those that
//! were there when it was opened: a task of it that waits for a surplus worker still runs there first.

use super::*;

impl Supervisor {
    /// How many workers the pool has.
    pub(crate) fn size(&self) -> usize {
        self.workers.len()
    }

    /// Whether surplus workers have not left yet.
    pub(crate) fn awaits_surplus(&self) -> bool {
        self.workers.are_any_surplus()
    }

    pub(super) fn resize(&mut self, workers: usize) {
        for worker in self.workers.resize(workers) {
            self.give_up_warmth(worker);
            if self.workers[worker].queue.tasks() > 0 {
                self.recall(worker);
            }
        }
        // Some that were surplus may stay.
        self.expect_idle();
        self.start_wanted();
    }

    /// Tells surplus workers to leave that have no more use.
    pub(super) fn dismiss_unwanted(&mut self) {
        while let Some(worker) = self.workers.first_unwanted() {
            self.retire_worker(worker);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::EachWorker;

    const JOB: JobId = JobId::new(1);

    /// A supervisor, and the time.
    struct Pool(Supervisor, u64);

    impl Pool {
        /// All workers are up, and the job is open. It has ten tasks.
        fn up(workers: usize) -> Self {
            let mut pool = Self(Supervisor::new(workers, false, true), 0);
            pool.open(JOB, None);
            (0..workers).for_each(|worker| _ = pool.tell(Event::Ready { worker: WorkerId(worker) }));
            pool
        }

        fn open(&mut self, job: JobId, each_worker: Option<EachWorker>) -> Vec<Action> {
            self.tell(Event::Opened {
                job,
                plan: Box::new(Plan { each_worker, total: Some(10), ..Plan::plain() }),
            })
        }

        fn tell(&mut self, event: Event) -> Vec<Action> {
            let mut actions = Vec::new();
            self.1 += 1000;
            self.0.handle(event, self.1, &mut actions);
            self.0.check();
            actions
        }

        fn done(&mut self, worker: WorkerId) -> Vec<Action> {
            self.tell(Event::Done { worker, count: 1, bytes: 1, pace_ns: 100_000 })
        }

        /// The workers that the next tasks go to.
        fn next(&self, job: JobId) -> Option<WorkerId> {
            self.0.grant(job).map(|grant| grant.worker)
        }
    }

    const FIRST: WorkerId = WorkerId(0);
    const SECOND: WorkerId = WorkerId(1);

    #[test]
    fn more_workers_start_at_once_where_there_is_work() {
        let mut pool = Pool::up(1);
        let started = pool.tell(Event::Resized { workers: 3 });
        assert_eq!(started, [SECOND, WorkerId(2)].map(|worker| Action::Start { worker }));
        let mut idle = Pool(Supervisor::new(1, false, true), 0);
        assert_eq!(idle.tell(Event::Resized { workers: 3 }), []);
        assert_eq!(idle.open(JOB, None).len(), 3);
    }

    #[test]
    fn surplus_workers_finish_one_task_and_leave() {
        let mut pool = Pool::up(2);
        for worker in [SECOND, SECOND, FIRST] {
            pool.tell(Event::Sent { job: JOB, worker, count: 1 });
        }
        assert_eq!(pool.tell(Event::Resized { workers: 1 }), [Action::Recall { worker: SECOND }]);
        assert!(pool.0.awaits_surplus());
        let back = pool.tell(Event::Recalled { worker: SECOND, kept_up_to: Unit::new(1) });
        assert!(
            matches!(back[..], [Action::Requeue { count: 1, .. }, Action::SendResume { .. }]),
            "{back:?}"
        );
        assert_eq!(pool.next(JOB), Some(FIRST));
        pool.done(SECOND);
        assert_eq!(pool.tell(Event::OrderDone { worker: SECOND }), [Action::SendExit { worker: SECOND }]);
        pool.tell(Event::OrderDone { worker: SECOND });
        assert_eq!(pool.tell(Event::Died { worker: SECOND, running: false }), []);
        assert!(!pool.0.awaits_surplus());
        assert_eq!(pool.tell(Event::Resized { workers: 2 }), [Action::Start { worker: SECOND }]);
    }

    #[test]
    fn a_surplus_worker_that_dies_is_not_started_again() {
        let mut pool = Pool::up(2);
        pool.tell(Event::Sent { job: JOB, worker: SECOND, count: 1 });
        pool.tell(Event::Resized { workers: 1 });
        let lost = pool.tell(Event::Died { worker: SECOND, running: true });
        assert!(matches!(lost[..], [Action::FailTask { .. }]), "{lost:?}");
        assert!(!pool.0.awaits_surplus());
    }

    #[test]
    fn a_surplus_worker_does_not_back_off() {
        let mut pool = Pool::up(2);
        for is_final in [false, true] {
            pool.tell(Event::Died { worker: SECOND, running: false });
            while pool.0.census().backing_off == 0 {
                pool.tell(Event::NotStarted { worker: SECOND, is_final });
            }
            pool.tell(Event::Resized { workers: 1 });
            assert_eq!(pool.0.census().backing_off, 0);
            pool.tell(Event::Resized { workers: 2 });
            pool.1 = pool.0.deadline().expect("it is to be tried again").max(pool.1);
            assert_eq!(pool.tell(Event::Tick), [Action::Start { worker: SECOND }]);
            pool.tell(Event::Ready { worker: SECOND });
        }
    }

    #[test]
    fn it_is_kept_if_the_pool_grows_in_time() {
        let mut pool = Pool::up(2);
        pool.tell(Event::Sent { job: JOB, worker: SECOND, count: 1 });
        pool.tell(Event::Resized { workers: 1 });
        assert_eq!(pool.tell(Event::Resized { workers: 2 }), []);
        pool.tell(Event::Recalled { worker: SECOND, kept_up_to: Unit::new(1) });
        pool.done(SECOND);
        assert_eq!(pool.tell(Event::OrderDone { worker: SECOND }), []);
        assert!(!pool.0.awaits_surplus());
    }

    #[test]
    fn a_task_for_each_still_runs_on_a_surplus_worker() {
        let (mut pool, each) = (Pool::up(2), JOB.next());
        pool.open(each, Some(EachWorker::RunsTask));
        assert_eq!(pool.tell(Event::Resized { workers: 1 }), []);
        assert_eq!(pool.next(JOB), Some(FIRST), "it gets nothing else");
        let died = pool.tell(Event::Died { worker: SECOND, running: false });
        assert!(died.contains(&Action::Start { worker: SECOND }), "{died:?}");
        pool.tell(Event::Ready { worker: SECOND });
        pool.tell(Event::Sent { job: each, worker: FIRST, count: 1 });
        let granted = pool.0.grant_again().map(|(job, grant)| (job, grant.worker));
        assert_eq!(granted, Some((each, SECOND)));
        let sent = pool.tell(Event::Sent { job: each, worker: SECOND, count: 1 });
        assert_eq!(sent, [Action::SendExit { worker: SECOND }]);
    }

    #[test]
    fn nobody_waits_until_a_surplus_worker_is_warm() {
        let (mut pool, each) = (Pool(Supervisor::new(2, false, true), 0), JOB.next());
        pool.open(each, Some(EachWorker::WarmsUp));
        pool.tell(Event::Ready { worker: FIRST });
        let over = pool.tell(Event::Resized { workers: 1 });
        assert_eq!(over, [Action::Complete { job: each }, Action::SendExit { worker: SECOND }]);
    }
}
