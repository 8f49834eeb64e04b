//! Recalls tasks from workers.

use super::*;

/// How long the tasks that are taken back for another job must take: several times the cost of a recall, which is one
/// wake-up of each side.
const WORTHWHILE_NS: u64 = 200_000;
/// How long each of them must take on average: many times the cost of taking one back and sending it again.
const WORTHWHILE_TASK_NS: u64 = 4_000;
/// How many batches of a queue are looked at for that, and for tasks that may go to an idle worker.
pub(super) const MOST_BATCHES: usize = 16;
/// How many workers are recalled for one task: the first that is done with its own gets it. One of them may be in a
/// very long task.
pub(super) const MOST_RECALLS: u32 = 2;

impl Supervisor {
    /// Lets the only task of a job that is under way, which was sent to this worker just now, wait for hardly more than
    /// the task that runs there: takes back the tasks before it if they take long. No worker is idle, or the task would
    /// be there. The same for a task that may go to no other worker. Jobs with a single task on the worker have no more
    /// than their share, and keep it.
    pub(super) fn make_way(&mut self, worker: WorkerId, id: JobId) {
        let has_recalled = |job: &Job| !job.is_for_each() && job.recalls >= MOST_RECALLS;
        if self.order_tasks || self.jobs.get(id).is_none_or(has_recalled) {
            return;
        }
        let entry = &self.workers[worker];
        let (mut takes_ns, mut last) = (0_u64, id);
        for batch in entry.queue.last(MOST_BATCHES) {
            if let OrderKind::Tasks { job: of, .. } = batch.kind
                && of != last
                && let Some(job) = self.jobs.get(of).filter(|_| of != id)
            {
                let tasks = job.queued_at(worker).saturating_sub(1);
                takes_ns = takes_ns.saturating_add(job.pace().saturating_mul(tasks));
                last = of;
            }
        }
        let costs_ns = entry.queue.tasks().saturating_mul(WORTHWHILE_TASK_NS);
        if entry.recalling || !entry.is_up || takes_ns < costs_ns.max(WORTHWHILE_NS) {
            return;
        }
        if let Some(mut job) = self.jobs.edit(id) {
            job.recalls += 1;
        }
        self.recall(worker);
    }

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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::Chunking;

    struct Pool {
        supervisor: Supervisor,
        now: u64,
    }

    impl Pool {
        /// Two workers that have as many tasks of a long job as they may have, each of 100 µs.
        fn at_work(chunking: Chunking) -> Self {
            let mut pool = Self { supervisor: Supervisor::new(2, false, true), now: 0 };
            let plan = Plan { chunking, total: Some(10_000), ..Plan::plain() };
            pool.tell(Event::Opened { job: LONG, plan: Box::new(plan) });
            for worker in WORKERS {
                pool.tell(Event::Ready { worker });
            }
            pool.send(LONG);
            for worker in [WORKERS, WORKERS].concat() {
                pool.tell(Event::Done { worker, count: 1, bytes: 1, pace_ns: 100_000 });
            }
            pool.send(LONG);
            assert!(WORKERS.iter().all(|worker| pool.tasks(*worker) >= 10));
            pool
        }

        fn tell(&mut self, event: Event) -> Vec<Action> {
            let mut actions = Vec::new();
            self.now += 1000;
            self.supervisor.handle(event, self.now, &mut actions);
            self.supervisor.check();
            actions
        }

        /// Sends what the supervisor grants; returns the workers that it recalls.
        fn send(&mut self, job: JobId) -> Vec<WorkerId> {
            let mut recalled = Vec::new();
            while let Some(grant) = self.supervisor.grant(job) {
                let count = match grant.work {
                    Work::Fresh { most, .. } if job == LONG => most,
                    _ => 1,
                };
                let worker = grant.worker;
                let actions = self.tell(Event::Sent { job, worker, count });
                if actions.contains(&Action::Recall { worker }) {
                    // It has claimed the task that it runs.
                    let kept_up_to = self.supervisor.head(worker).unwrap().unit() + 1;
                    self.tell(Event::Recalled { worker, kept_up_to });
                    recalled.push(worker);
                }
                if job != LONG && recalled.last() != Some(&worker) {
                    break;
                }
            }
            recalled
        }

        fn tasks(&self, worker: WorkerId) -> u64 {
            self.supervisor.workers[worker].queue.tasks()
        }

        fn open(&mut self, job: JobId) {
            self.tell(Event::Opened { job, plan: Box::new(Plan::plain()) });
        }
    }

    const LONG: JobId = JobId::new(1);
    const SHORT: JobId = JobId::new(2);
    const WORKERS: [WorkerId; 2] = [WorkerId(0), WorkerId(1)];

    #[test]
    fn a_short_job_waits_for_one_task_of_a_long_one() {
        for chunking in [Chunking::Adaptive, Chunking::Size(100)] {
            let mut pool = Pool::at_work(chunking);
            pool.open(SHORT);
            let mut recalled = pool.send(SHORT);
            recalled.sort_unstable();
            assert_eq!(recalled, WORKERS, "each keeps the task that runs");
            assert_eq!(WORKERS.map(|worker| pool.tasks(worker)), [1, 1]);
            assert!(pool.supervisor.grant_again().is_none(), "both are being recalled");
            let worker = WORKERS[1];
            pool.tell(Event::Done { worker, count: 1, bytes: 1, pace_ns: 100_000 });
            pool.tell(Event::OrderDone { worker });
            let (job, grant) = pool.supervisor.grant_again().unwrap();
            assert_eq!(
                (job, grant.worker),
                (SHORT, worker),
                "it comes before the tasks that were taken back"
            );
            assert!(!pool.tell(Event::Sent { job, worker, count: 1 }).contains(&Action::Recall { worker }));
            assert!(matches!(pool.supervisor.head(worker), Some(Head::Tasks { job: SHORT, .. })));
            assert_eq!(pool.supervisor.grant_again().unwrap().0, LONG);
        }
    }

    #[test]
    fn tasks_move_to_an_idle_worker_before_the_input_ends() {
        for waiting in [0, 1] {
            let mut pool = Pool { supervisor: Supervisor::new(2, false, true), now: 0 };
            let plan = Box::new(Plan { total: Some(10), ..Plan::plain() });
            pool.tell(Event::Opened { job: LONG, plan });
            pool.tell(Event::Ready { worker: WORKERS[0] });
            pool.tell(Event::Sent { job: LONG, worker: WORKERS[0], count: 2 });
            pool.supervisor.set_waiting(LONG, waiting);
            pool.tell(Event::Ready { worker: WORKERS[1] });
            pool.now = pool.supervisor.deadline().expect("one worker is idle");
            let recalls = pool.tell(Event::Tick).contains(&Action::Recall { worker: WORKERS[0] });
            assert_eq!(recalls, waiting == 0, "a task that waits goes to the idle worker instead");
            assert!(recalls || pool.supervisor.deadline() > Some(pool.now));
        }
    }

    #[test]
    fn the_pace_of_another_job_is_not_believed() {
        let mut pool = Pool::at_work(Chunking::Adaptive);
        let worker = WORKERS[0];
        for pace_ns in [100_000, 100_000] {
            pool.tell(Event::Done { worker, count: 1, bytes: 1, pace_ns });
        }
        pool.open(SHORT);
        pool.tell(Event::Sent { job: SHORT, worker, count: 2 });
        while !matches!(pool.supervisor.head(worker), Some(Head::Tasks { job: SHORT, .. })) {
            pool.tell(Event::Done { worker, count: 1, bytes: 1, pace_ns: 100_000 });
        }
        let pace = |pool: &Pool| pool.supervisor.jobs.get(SHORT).unwrap().pace_ns;
        pool.tell(Event::Done { worker, count: 1, bytes: 1, pace_ns: 100_000 });
        assert_eq!(pace(&pool), None, "the worker may not have measured it yet");
        pool.tell(Event::Done { worker, count: 1, bytes: 1, pace_ns: 70 });
        assert_eq!(pace(&pool), Some(70));
    }

    #[test]
    fn jobs_with_their_share_are_left_alone() {
        let mut pool = Pool { supervisor: Supervisor::new(1, false, true), now: 0 };
        let jobs = (1..10).map(JobId::new);
        for job in jobs.clone() {
            pool.tell(Event::Opened { job, plan: Box::new(Plan { total: Some(1), ..Plan::plain() }) });
        }
        pool.tell(Event::Ready { worker: WorkerId(0) });
        for job in jobs {
            assert!(pool.send(job).is_empty(), "each has one task");
        }
        assert_eq!(pool.tasks(WorkerId(0)), 9);
    }
}
