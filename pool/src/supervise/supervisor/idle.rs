//! Workers that are idle for long leave.
//!
//! No event tells that a worker has been idle for long, and no idle worker pays for being one: all are looked at when
//! the first of them may have been idle for so long, and never more often than [`LOOKS`] times in that span.

use super::*;
use crate::options::IdlePolicy;

/// How often all workers are looked at within the time after which idle ones leave. One leaves too late by at most the
/// time between two looks.
const LOOKS: u64 = 16;
/// The least time between two looks: beside it, a look at the workers of a large pool costs little.
const LEAST_NS: u64 = 1_000_000;

/// When idle workers leave.
#[derive(Debug)]
pub(super) struct Idle {
    policy: IdlePolicy,
    /// When to look for them, if any may leave then.
    look_at: Option<u64>,
}

impl Supervisor {
    /// Lets idle workers leave.
    pub(crate) fn with_idle_policy(mut self, policy: Option<IdlePolicy>) -> Self {
        self.idle = policy.map(|policy| Idle { policy, look_at: None });
        self
    }

    /// Whether to wait until idle workers may leave, or have left, even if no job is open.
    pub(crate) fn awaits_idle(&self) -> bool {
        self.idle.is_some() && (self.idle_look_at().is_some() || !self.workers.active().is_empty())
    }

    /// When to look for workers that were idle for long.
    pub(super) fn idle_look_at(&self) -> Option<u64> {
        self.idle.as_ref()?.look_at.filter(|_| self.may_any_leave())
    }

    /// Notes that there are more workers, which may leave again.
    pub(super) fn expect_idle(&mut self) {
        let may_leave = self.may_any_leave();
        if let Some(idle) = &mut self.idle
            && may_leave
            && idle.look_at.is_none()
        {
            idle.look_at = Some(self.now.saturating_add(idle.policy.timeout_ns));
        }
    }

    /// Looks for no idle workers any more: all are about to end.
    pub(super) fn expect_no_idle(&mut self) {
        self.idle.iter_mut().for_each(|idle| idle.look_at = None);
    }

    /// Whether more workers take orders than stay in any case.
    fn may_any_leave(&self) -> bool {
        let least = self.idle.as_ref().map_or(usize::MAX, |idle| idle.policy.least);
        !self.shutting_down && self.workers.taking() > least
    }

    /// Lets the workers leave that were idle for long, if enough others are left. Those with the highest numbers leave
    /// first, because tasks go to those with the lowest ones.
    pub(super) fn let_idle_leave(&mut self) {
        let Some(IdlePolicy { timeout_ns, least }) = self.idle.as_ref().map(|idle| idle.policy) else {
            return;
        };
        // A job that could keep this many busy would start others in their place.
        let stay = match self.order_tasks {
            true => least,
            false => least.max(usize::try_from(self.jobs.demand()).unwrap_or(usize::MAX)),
        };
        let mut spare = self.workers.taking().saturating_sub(stay);
        let mut look_at = self.now.saturating_add(timeout_ns);
        for worker in self.workers.ids().rev() {
            let entry = &self.workers[worker];
            if !entry.is_idle() || entry.is_awaited() {
                continue;
            }
            let until = entry.head_since.saturating_add(timeout_ns);
            if until > self.now {
                look_at = look_at.min(until);
            } else if spare > 0 && !(self.order_tasks && self.is_next(worker)) {
                spare -= 1;
                self.retire_worker(worker);
            }
        }
        let look_at = look_at.max(self.now.saturating_add((timeout_ns / LOOKS).max(LEAST_NS)));
        let look_at = self.may_any_leave().then_some(look_at);
        self.idle.iter_mut().for_each(|idle| idle.look_at = look_at);
    }
}

#[cfg(test)]
impl Supervisor {
    /// Checks that idle workers are looked for while any of them may leave.
    pub(super) fn check_idle(&self) {
        let Some(idle) = &self.idle else { return };
        assert!(idle.look_at.is_some() || !self.may_any_leave(), "nobody looks for idle workers");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: u64 = 1_000_000;
    const JOB: JobId = JobId::new(1);

    /// A supervisor, of which idle workers leave after 100 ms, and the time in milliseconds.
    struct Pool(Supervisor, u64);

    impl Pool {
        /// All workers are up, and have nothing to do.
        fn idle(workers: usize, least: usize) -> Self {
            let policy = IdlePolicy { timeout_ns: 100 * MS, least };
            let mut pool = Self(Supervisor::new(workers, false, true).with_idle_policy(Some(policy)), 0);
            let plan = Plan { total: Some(workers as u64), ..Plan::plain() };
            pool.tell(Event::Opened { job: JOB, plan: Box::new(plan) });
            (0..workers).for_each(|worker| _ = pool.tell(Event::Ready { worker: WorkerId(worker) }));
            pool.tell(Event::Closed { job: JOB });
            pool
        }

        fn tell(&mut self, event: Event) -> Vec<Action> {
            let mut actions = Vec::new();
            self.0.handle(event, self.1 * MS, &mut actions);
            self.0.check();
            actions
        }

        /// The workers that are told to leave at the next deadline.
        fn tick(&mut self) -> Vec<usize> {
            let deadline = self.0.deadline().expect("something is to come");
            self.1 = self.1.max(deadline.div_ceil(MS));
            let actions = self.tell(Event::Tick);
            let leaves = |action: &Action| match action {
                Action::SendExit { worker } => Some(worker.0),
                _ => None,
            };
            actions.iter().filter_map(leaves).collect()
        }

        fn leave(&mut self, worker: usize) {
            let worker = WorkerId(worker);
            self.tell(Event::OrderDone { worker });
            self.tell(Event::Died { worker, running: false });
        }
    }

    #[test]
    fn idle_workers_leave_down_to_the_least_number() {
        for (least, leave) in [(0, vec![2, 1, 0]), (1, vec![2, 1]), (3, vec![]), (9, vec![])] {
            let mut pool = Pool::idle(3, least);
            assert_eq!(pool.0.awaits_idle(), !leave.is_empty());
            if !leave.is_empty() {
                assert_eq!(pool.tick(), leave);
                assert_eq!(pool.1, 100);
                assert!(pool.0.awaits_idle(), "until they have left");
                leave.iter().for_each(|worker| pool.leave(*worker));
            }
            assert!(!pool.0.awaits_idle() && pool.0.deadline().is_none());
            let plan = Plan { total: Some(3), ..Plan::plain() };
            let started = pool.tell(Event::Opened { job: JOB.next(), plan: Box::new(plan) });
            assert_eq!(started.len(), leave.len(), "as many come back: {started:?}");
        }
    }

    #[test]
    fn only_the_time_since_the_last_task_counts() {
        let mut pool = Pool::idle(2, 0);
        pool.1 = 70;
        let job = JOB.next();
        pool.tell(Event::Opened { job, plan: Box::new(Plan { total: Some(1), ..Plan::plain() }) });
        pool.tell(Event::Sent { job, worker: WorkerId(0), count: 1 });
        assert_eq!(pool.tick(), [1]);
        pool.leave(1);
        pool.1 = 250;
        pool.tell(Event::Done { worker: WorkerId(0), count: 1, bytes: 1, pace_ns: 1000 });
        pool.tell(Event::Closed { job });
        while pool.1 < 350 {
            assert!(pool.0.awaits_idle());
            let leave = pool.tick();
            assert_eq!(leave.is_empty(), pool.1 < 350, "{leave:?} at {}", pool.1);
        }
        assert!(pool.1 <= 357, "at most a look later");
    }

    #[test]
    fn workers_that_a_job_would_start_anew_stay() {
        let mut pool = Pool::idle(3, 0);
        let job = JOB.next();
        // Its tasks can't be sent yet, as while its caller is away.
        pool.tell(Event::Opened { job, plan: Box::new(Plan { total: Some(2), ..Plan::plain() }) });
        assert_eq!(pool.tick(), [2]);
        assert_eq!(pool.tick(), [0; 0]);
    }

    #[test]
    fn nobody_waits_for_workers_that_have_died() {
        let mut pool = Pool::idle(2, 1);
        assert!(pool.0.awaits_idle());
        pool.tell(Event::Died { worker: WorkerId(0), running: false });
        assert!(!pool.0.awaits_idle() && pool.0.deadline().is_none());
    }

    #[test]
    fn a_pool_that_shuts_down_looks_for_nobody() {
        let mut pool = Pool::idle(2, 0);
        assert_eq!(pool.tell(Event::ShutDown).len(), 2);
        pool.leave(0);
        pool.leave(1);
        assert!(!pool.0.awaits_idle() && pool.0.deadline().is_none());
    }
}
