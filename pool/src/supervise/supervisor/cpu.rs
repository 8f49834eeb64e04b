//! Limits on the CPU time of tasks.
//!
//! Nobody tells how much CPU time a task has used: the driver can only read the clock of the whole process. It does so
//! for a task that has run for a moment, and counts from then ([`Event::UsedCpu`]); it looks again when the task can
//! have used up its limit at the earliest, if it had all CPUs since. So short tasks cost nothing, and no task is killed
//! before it has used its limit itself.

use super::*;

/// For how long a task has run when the clock is first read. What it uses before is not counted: little beside limits
/// that make sense, and most tasks end before.
const FIRST_LOOK_NS: u64 = 5_000_000;
/// There is at least this much time between two looks at a task.
const LEAST_LOOK_NS: u64 = 10_000_000;
/// First looks are at multiples of this: a millisecond. So the next time to look hardly ever changes while tasks are
/// short.
const STEP_NS: u64 = 1 << 20;

/// What is known about the CPU time of the head of a worker's queue.
#[derive(Debug, Clone, Copy, Default)]
pub(in crate::supervise) struct CpuWatch {
    /// How much it may use.
    pub(in crate::supervise) limit_ns: Option<u64>,
    /// What the process had used when the clock was first read in this task.
    base_ns: Option<u64>,
    /// When to read it next.
    pub(in crate::supervise) look_at: u64,
}

impl CpuWatch {
    /// For a task that begins now at the earliest.
    pub(in crate::supervise) fn from(now: u64) -> Self {
        let look_at = now.saturating_add(FIRST_LOOK_NS).next_multiple_of(STEP_NS);
        Self { limit_ns: None, base_ns: None, look_at }
    }

    /// The same for another task with this limit.
    pub(super) fn renewed(self, now: u64) -> Self {
        Self { limit_ns: self.limit_ns, ..Self::from(now) }
    }
}

impl Supervisor {
    /// For processes that can run on so many CPUs at once.
    pub(crate) fn with_cpus(mut self, cpus: usize) -> Self {
        self.cpus = cpus.max(1) as u64;
        self
    }

    /// The workers whose CPU time is to be read now, with the orders that they are at.
    pub(crate) fn cpu_looks(&self, now: u64) -> Vec<(WorkerId, Head)> {
        let is_due = |worker: &WorkerId| {
            let Worker { cpu, head_began, .. } = self.workers[*worker];
            head_began && cpu.limit_ns.is_some() && cpu.look_at <= now
        };
        let due = self.workers.due(now).into_iter().filter(is_due);
        due.filter_map(|id| Some((id, self.head(id)?))).collect()
    }

    /// Compares what the worker has used with the limit of its task, which it is at.
    pub(super) fn used_cpu(&mut self, worker: WorkerId, used_ns: Option<u64>) {
        let mut entry = self.workers.edit(worker);
        let Some(limit) = entry.cpu.limit_ns.filter(|_| entry.head_began) else { return };
        let Some(used) = used_ns else {
            entry.cpu.look_at = self.now.saturating_add(LEAST_LOOK_NS);
            return;
        };
        let spent = used.saturating_sub(*entry.cpu.base_ns.get_or_insert(used));
        let left = limit.saturating_add(entry.head_extra_ns).saturating_sub(spent);
        if left > 0 {
            entry.cpu.look_at = self.now.saturating_add((left / self.cpus).max(LEAST_LOOK_NS));
        } else {
            drop(entry);
            self.kill_for(worker, Cause::OutOfCpuTime { used: spent, limit });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: JobId = JobId::new(1);
    const WORKER: WorkerId = WorkerId(0);
    const MS: u64 = 1_000_000;

    /// A worker on a machine of four CPUs, with two tasks that may use 100 ms.
    struct Pool(Supervisor);

    impl Pool {
        fn new() -> Self {
            let mut pool = Self(Supervisor::new(1, false, true).with_cpus(4));
            let plan = Plan { total: Some(2), cpu_limit_ns: Some(100 * MS), ..Plan::plain() };
            pool.tell(0, Event::Opened { job: JOB, plan: Box::new(plan) });
            pool.tell(0, Event::Ready { worker: WORKER });
            pool.tell(0, Event::Sent { job: JOB, worker: WORKER, count: 2 });
            pool
        }

        fn tell(&mut self, at: u64, event: Event) -> Vec<Action> {
            let mut actions = Vec::new();
            self.0.handle(event, at, &mut actions);
            self.0.check();
            actions
        }

        /// When the worker's clock is to be read next. It is read then, and has this value.
        fn read(&mut self, used_ms: u64) -> (u64, Vec<Action>) {
            let at = self.0.deadline().expect("there is a limit");
            self.tell(at, Event::Tick);
            assert_eq!(self.0.cpu_looks(at).len(), 1);
            (at, self.tell(at, Event::UsedCpu { worker: WORKER, used_ns: Some(used_ms * MS) }))
        }
    }

    #[test]
    fn a_task_is_killed_once_it_has_used_its_limit_itself() {
        let mut pool = Pool::new();
        pool.0.head_began(WORKER, 0);
        let (first, actions) = pool.read(7000);
        assert!((5 * MS..7 * MS).contains(&first), "what was used before is not its own");
        assert_eq!(actions, []);
        let (at, actions) = pool.read(7000);
        assert_eq!((at, actions), (first + 25 * MS, vec![]), "it may have had all CPUs");
        assert_eq!(pool.read(7040), (first + 50 * MS, vec![]));
        assert_eq!(pool.read(7099), (first + 65 * MS, vec![]));
        assert_eq!(pool.read(7120), (first + 75 * MS, vec![Action::Kill { worker: WORKER }]));
        let died = pool.tell(first + 80 * MS, Event::Died { worker: WORKER, running: true });
        let cause = Cause::OutOfCpuTime { used: 120 * MS, limit: 100 * MS };
        assert!(matches!(died[..], [Action::FailTask { cause: of, .. }, ..] if of == cause), "{died:?}");
    }

    #[test]
    fn each_task_counts_from_its_own_begin() {
        let mut pool = Pool::new();
        pool.0.head_began(WORKER, 0);
        pool.read(0);
        let (at, _) = pool.read(90);
        pool.tell(at, Event::Done { worker: WORKER, count: 1, bytes: 1, pace_ns: 0 });
        assert_eq!(pool.0.cpu_looks(at + 60 * MS), [], "it is not known to have begun");
        pool.0.head_began(WORKER, at);
        assert_eq!(pool.read(150).1, []);
        assert_eq!(pool.read(249).1, []);
        assert_eq!(pool.read(250).1, [Action::Kill { worker: WORKER }]);
    }

    #[test]
    fn what_nobody_wants_has_no_limit_of_its_own() {
        let mut pool = Pool::new();
        pool.0.head_began(WORKER, 0);
        pool.read(0);
        pool.tell(50 * MS, Event::Closed { job: JOB });
        assert_eq!(pool.0.cpu_looks(500 * MS), []);
        assert_eq!(pool.tell(500 * MS, Event::UsedCpu { worker: WORKER, used_ns: Some(u64::MAX) }), []);
    }

    #[test]
    fn a_clock_that_cannot_be_read_kills_nobody() {
        let mut pool = Pool::new();
        pool.0.head_began(WORKER, 0);
        for _ in 0..100 {
            let at = pool.0.deadline().unwrap();
            assert_eq!(pool.tell(at, Event::UsedCpu { worker: WORKER, used_ns: None }), []);
            assert!(pool.0.deadline().unwrap() > at);
        }
    }
}
