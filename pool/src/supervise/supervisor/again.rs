//! Tasks that failed and may be tried again.
//!
//! 1. An attempt at a task fails: its worker died, it took too long, or, if the caller is asked, it reported an error.
//!    While attempts are left, the caller is asked if it wants to be ([`Action::Ask`]); its answer is
//!    [`Event::Decided`]. Otherwise the task is tried again at once if its worker died or it took too long.
//! 2. Before the next attempt the task waits, if there is a delay. Then it is sent like one that came back from a
//!    worker. It goes out at once if nobody wants it any more, since the driver then makes an end of it.
//!
//! In the meantime no worker has the task, and none waits for it. A job that is left forgets it.

use super::*;

impl Supervisor {
    /// Whether the caller is asked about this attempt at a task, which has failed.
    pub(super) fn asks(&self, id: JobId, index: TaskIndex, attempt: u32) -> bool {
        let job = self.jobs.get(id).filter(|job| job.open && job.plan.asks(attempt));
        job.is_some_and(|job| !job.dropped.contains(&index))
    }

    /// Asks the caller whether a task is to be tried again.
    #[expect(clippy::too_many_arguments, reason = "they are the action's")]
    pub(super) fn ask(
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
        job.put_off_mut().undecided.insert(index, attempts);
        self.actions.push(Action::Ask { bytes, worker, unit, job: id, index, attempts, cause });
    }

    /// Whether the caller was asked about this task and has not answered.
    pub(crate) fn is_undecided(&self, id: JobId, index: TaskIndex) -> bool {
        let put_off = self.jobs.get(id).and_then(|job| job.put_off.as_ref());
        put_off.is_some_and(|tasks| tasks.undecided.contains_key(&index))
    }

    /// Does what the caller has decided about a task.
    pub(super) fn decided(&mut self, id: JobId, index: TaskIndex, tries_again: bool, bytes: u64) {
        if !self.is_undecided(id, index) {
            return;
        }
        let Some(mut job) = self.jobs.edit(id) else { return };
        let attempts = job.put_off_mut().undecided.remove(&index).unwrap_or(1);
        let ends = !tries_again && job.lose(bytes);
        drop(job);
        if tries_again {
            self.try_again(id, index, attempts);
        }
        if ends {
            self.close(id);
        }
        self.finish_if_done(id);
        self.start_wanted();
    }

    /// Tries a task again that has failed so many times: after its delay, if it has one and anybody wants it.
    pub(super) fn try_again(&mut self, id: JobId, index: TaskIndex, attempts: u32) {
        let Some(job) = self.jobs.get(id).filter(|job| job.open) else { return };
        let retry = job.plan.retry.as_ref().filter(|_| !job.dropped.contains(&index));
        match retry.map_or(0, |retry| retry.delay_ns(index, attempts)) {
            0 => self.send_again(id, index, attempts),
            delay => self.jobs.delay(id, index, attempts, self.now.saturating_add(delay)),
        }
    }

    /// Lets a task be sent again that has failed so many times.
    pub(super) fn send_again(&mut self, id: JobId, index: TaskIndex, attempts: u32) {
        let attempt = attempts.saturating_add(1);
        let Some(mut job) = self.jobs.edit(id) else { return };
        if job.is_for_each() {
            drop(job);
            self.assign_again(id, WorkerId(index.as_usize()), attempt);
        } else {
            job.backlog.push_back((index, attempt));
        }
    }

    /// Lets those tasks be sent again that have waited long enough.
    pub(super) fn end_delays(&mut self) {
        let mut is_any = false;
        while let Some((_, id, index)) = self.jobs.first_delayed().filter(|(until, ..)| *until <= self.now) {
            if let Some(attempts) = self.jobs.end_delay(id, index) {
                self.send_again(id, index, attempts);
            }
            is_any = true;
        }
        if is_any {
            self.start_wanted();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::work::RetryPlan;

    const JOB: JobId = JobId::new(1);
    const WORKER: WorkerId = WorkerId(0);
    const FIRST: TaskIndex = TaskIndex::new(0);
    const SECOND: TaskIndex = TaskIndex::new(1);

    /// A supervisor of one worker, which is up and has the first of two tasks.
    struct Pool(Supervisor);

    impl Pool {
        fn with(retries: u32, asks: bool, delay_ns: u64, most_failed: Option<u64>) -> Self {
            let retry = RetryPlan { first_ns: delay_ns, most_ns: 2 * delay_ns, jitter: None, asks };
            let mut pool = Self(Supervisor::new(1, false, true));
            let plan = Plan {
                total: Some(2),
                retries,
                retry: Some(Box::new(retry)),
                most_failed,
                max_active: Some(2),
                ..Plan::plain()
            };
            pool.tell(0, Event::Opened { job: JOB, plan: Box::new(plan) });
            pool.tell(0, Event::Ready { worker: WORKER });
            pool.tell(0, Event::Sent { job: JOB, worker: WORKER, count: 1 });
            pool
        }

        fn tell(&mut self, at: u64, event: Event) -> Vec<Action> {
            let mut actions = Vec::new();
            self.0.handle(event, at, &mut actions);
            self.0.check();
            actions
        }

        fn granted(&self) -> Option<Work> {
            self.0.grant(JOB).map(|grant| grant.work)
        }
    }

    #[test]
    fn a_delayed_task_waits_and_nothing_else_does() {
        let mut pool = Pool::with(2, false, 1000, None);
        pool.tell(100, Event::Died { worker: WORKER, running: true });
        pool.tell(100, Event::Ready { worker: WORKER });
        assert_eq!(pool.granted(), Some(Work::Fresh { first: SECOND, most: 1, whole: 1 }));
        pool.tell(100, Event::Sent { job: JOB, worker: WORKER, count: 1 });
        assert_eq!(pool.granted(), None, "two are active");
        assert!(pool.0.deadline().is_some_and(|deadline| deadline <= 1100));
        pool.tell(1099, Event::Tick);
        assert_eq!(pool.granted(), None);
        pool.tell(1100, Event::Tick);
        assert_eq!(pool.granted(), Some(Work::Again { index: FIRST, attempt: 2 }));
    }

    #[test]
    fn a_dropped_or_closed_one_does_not_wait() {
        let mut pool = Pool::with(2, false, 1000, None);
        pool.tell(100, Event::Died { worker: WORKER, running: true });
        pool.tell(200, Event::Ready { worker: WORKER });
        assert!(matches!(pool.granted(), Some(Work::Fresh { .. })));
        pool.tell(300, Event::Dropped { job: JOB, index: FIRST });
        assert_eq!(pool.granted(), Some(Work::Again { index: FIRST, attempt: 2 }));
        let mut pool = Pool::with(2, false, 1000, None);
        pool.tell(100, Event::Died { worker: WORKER, running: true });
        pool.tell(200, Event::Closed { job: JOB });
        assert!(pool.0.is_idle());
        pool.tell(200, Event::Ready { worker: WORKER });
        assert_eq!(pool.0.deadline(), None);
    }

    #[test]
    fn a_caller_that_is_asked_decides() {
        let mut pool = Pool::with(1, true, 0, Some(1));
        let asked = pool.tell(100, Event::Failed { worker: WORKER, bytes: 7 });
        assert!(matches!(asked[..], [Action::Ask { index: FIRST, attempts: 1, bytes: 7, .. }]), "{asked:?}");
        assert!(pool.0.is_undecided(JOB, FIRST));
        let decide = |index, tries_again| Event::Decided { job: JOB, index, tries_again, bytes: 7 };
        assert_eq!(pool.tell(200, decide(SECOND, true)), [], "nobody was asked about that");
        assert_eq!(pool.tell(200, decide(FIRST, true)), []);
        assert_eq!(pool.granted(), Some(Work::Again { index: FIRST, attempt: 2 }));
        pool.tell(200, Event::Sent { job: JOB, worker: WORKER, count: 1 });
        let failed = pool.tell(300, Event::Failed { worker: WORKER, bytes: 7 });
        assert!(matches!(failed[..], [Action::FailTask { attempts: 2, .. }]), "{failed:?}");
        assert!(pool.0.is_idle(), "the job has ended with it");
        let mut pool = Pool::with(1, true, 0, Some(1));
        pool.tell(100, Event::Died { worker: WORKER, running: true });
        assert_eq!(pool.tell(200, decide(FIRST, false)), []);
        assert!(pool.0.is_idle(), "the job has ended with it");
    }
}
