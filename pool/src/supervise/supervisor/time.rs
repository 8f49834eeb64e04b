//! Time limits, and the next time at which something must happen.

use super::recall::MOST_BATCHES;
use super::*;
use crate::supervise::worker::BOOT_NS;

/// How long the tasks of a job that was left may occupy a worker, all together: long enough for those that are about to
/// end, and short for the next call.
const ABANDON_NS: u64 = 500_000_000;
/// How far an order that the worker has not begun may exceed its limit: on a busy machine the worker may not have had a
/// core.
const GRACE_NS: u64 = 5_000_000_000;
/// How far a task that has panicked may exceed its limit: in a large program it takes seconds to resolve the names and
/// locations of a backtrace.
const BACKTRACE_NS: u64 = 30_000_000_000;
/// How long a worker may take to end after it has answered its exit order, if exit functions have no limit: the user's
/// own exit handlers run then.
const RETIRE_NS: u64 = 10_000_000_000;
/// When to check again whether an order that is out of time has begun.
const RECHECK_NS: u64 = 5_000_000;
/// How long the head of a queue may take while another worker is idle before the rest is recalled: the time of three
/// chunks, so that only tasks that take longer than expected cause a recall.
const STALL_NS: u64 = 300_000;
/// The same for tasks whose results are folded: at the input's end, several times what a fold takes there. Tasks that
/// are sent again are folded no more.
const FOLD_STALL_NS: u64 = 20_000_000;

/// A period in which the parent was suspended. It counts towards no limit.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Suspension {
    pub(super) from: u64,
    pub(super) until: u64,
}

impl Suspension {
    /// Shifts the start of an order so that the suspension does not count.
    fn exclude_from(self, began: u64) -> u64 {
        if began >= self.until { began } else { began.min(self.from) + (self.until - self.from) }
    }
}

impl Supervisor {
    /// The latest time for the next [`Event::Tick`].
    pub(crate) fn deadline(&self) -> Option<u64> {
        let mut retries = self.workers.retries(u64::MAX);
        let retry = if self.order_tasks {
            retries.find(|(_, worker)| self.is_wanted(*worker))
        } else {
            retries.next().filter(|(_, worker)| self.is_wanted(*worker))
        };
        let awaited = self.workers.first_awaited().filter(|_| !self.shutting_down);
        let retry = retry.map(|(at, _)| at).into_iter().chain(awaited);
        let stall = self.workers.first_movable().filter(|_| self.rebalances());
        let idle = self.idle_look_at();
        let delay = self.jobs.first_delayed().map(|(until, ..)| until);
        self.workers.deadline().into_iter().chain(retry).chain(stall).chain(idle).chain(delay).min()
    }

    /// Whether tasks may be taken from one worker for another, which has nothing to do.
    fn rebalances(&self) -> bool {
        !self.order_tasks && self.workers.is_any_idle()
    }

    /// The limit that the head of the queue has exceeded, if any.
    fn overdue(&self, worker: &Worker, now: u64) -> Option<u64> {
        let grace = if worker.head_began { worker.head_extra_ns } else { GRACE_NS };
        let late = |limit: &u64| worker.head_since.saturating_add(limit.saturating_add(grace)) <= now;
        worker.head_limit_ns.filter(late)
    }

    /// The workers, and what is to know about the heads of their queues.
    pub(super) fn split(&mut self) -> (&mut Workers, Heads<'_>) {
        let Self { workers, jobs, exit_limit_ns, killable, now, .. } = self;
        (workers, Heads { jobs, exit_limit_ns: *exit_limit_ns, killable: *killable, now: *now })
    }

    /// Notes that another order is at the head of the queue, after this one.
    pub(super) fn next_head(&mut self, worker: WorkerId, last: Option<Batch>) {
        let (workers, heads) = self.split();
        heads.next(&mut workers.edit(worker), last);
    }

    /// Sets the limit of the head of the queue, which may have changed.
    pub(super) fn renew_limit(&mut self, worker: WorkerId) {
        let (workers, heads) = self.split();
        let mut entry = workers.edit(worker);
        heads.renew_limits(&mut entry);
    }

    /// Sets the limits of all heads: those of init or exit orders have changed.
    pub(super) fn renew_limits(&mut self) {
        for worker in self.workers.active().to_vec() {
            self.renew_limit(worker);
        }
    }

    /// The order at the head of the worker's queue, if it has a time limit and is not known to have begun.
    pub(crate) fn head_to_begin(&self, worker: WorkerId) -> Option<Head> {
        let entry = &self.workers[worker];
        entry.head_limit_ns.or(entry.cpu.limit_ns).filter(|_| !entry.head_began)?;
        self.head(worker)
    }

    /// Notes when the head of the queue began, as the worker says. Its first answer counts, and a time in the future
    /// counts as now.
    pub(crate) fn head_began(&mut self, worker: WorkerId, at: u64) {
        let at = self.suspension.exclude_from(at.min(self.now));
        let mut entry = self.workers.edit(worker);
        (entry.head_since, entry.head_began) = (at, true);
    }

    /// Notes that the worker has run this many of the tasks at the head of its queue, with results that are folded and
    /// not handed over, and since when it runs the next one. A worker that takes one back would gain time: it is not
    /// believed.
    pub(crate) fn head_folded(&mut self, worker: WorkerId, tasks: u32, at: u64) {
        let entry = &self.workers[worker];
        if tasks <= entry.head_folded {
            return;
        }
        let (since, head) = (entry.head_since, entry.queue.head().map(|head| head.kind));
        let now = self.now;
        let mut entry = self.workers.edit(worker);
        (entry.head_folded, entry.cpu) = (tasks, entry.cpu.renewed(now));
        drop(entry);
        // The tasks of a job that was left share one grace.
        if matches!(head, Some(OrderKind::Tasks { job, .. }) if self.jobs.is_open(job)) {
            self.head_began(worker, at.max(since));
        }
    }

    /// The workers whose current order is out of time, with that order.
    pub(crate) fn overdue_heads(&self, now: u64) -> Vec<(WorkerId, Head)> {
        let overdue = |worker: &WorkerId| self.overdue(&self.workers[*worker], now).is_some();
        self.workers
            .due(now)
            .into_iter()
            .filter(overdue)
            .filter_map(|id| Some((id, self.head(id)?)))
            .collect()
    }

    /// Notes that the running task has panicked and the worker is about to report it. Counts only once, because a
    /// worker might claim it forever.
    pub(crate) fn head_panicked(&mut self, worker: WorkerId) {
        let mut entry = self.workers.edit(worker);
        (entry.head_extra_ns, entry.head_began) = (BACKTRACE_NS, true);
    }

    /// Extends each running order's time by the suspension.
    pub(super) fn suspended(&mut self, mut suspension: Suspension) {
        // Several callers may report the same suspension.
        suspension.from = suspension.from.max(self.suspension.until).min(suspension.until);
        self.suspension = suspension;
        for worker in self.workers.ids() {
            let mut entry = self.workers.edit(worker);
            entry.head_since = suspension.exclude_from(entry.head_since);
            entry.started_at = entry.started_at.map(|at| suspension.exclude_from(at));
        }
    }

    pub(super) fn tick(&mut self) {
        for (_, worker) in self.workers.retries(self.now).collect::<Vec<_>>() {
            if self.is_wanted(worker) {
                self.start(&[worker]);
            }
        }
        if self.idle_look_at().is_some_and(|at| at <= self.now) {
            self.let_idle_leave();
        }
        self.end_delays();
        let rebalances = self.rebalances();
        for worker in self.workers.due(self.now) {
            let entry = &self.workers[worker];
            match (entry.phase, self.overdue(entry, self.now)) {
                _ if !entry.is_up => self.kill_for(worker, Cause::TimedOut(BOOT_NS)),
                (_, Some(limit)) => self.kill_for(worker, Cause::TimedOut(limit)),
                // It may not have had a core.
                _ => self.workers.edit(worker).recheck_at = self.now + RECHECK_NS,
            }
        }
        for worker in if rebalances { self.workers.movable(self.now) } else { Vec::new() } {
            if self.may_lose_tasks(worker) {
                self.recall(worker);
            } else {
                self.workers.edit(worker).kept_at = self.now;
            }
        }
    }

    /// Whether tasks of this worker may go to an idle one: their job has no others to give instead. It has none even
    /// before its input ends, while its caller is away or may submit no more.
    fn may_lose_tasks(&self, worker: WorkerId) -> bool {
        let entry = &self.workers[worker];
        let gives_none = |id: JobId| {
            let job = self.jobs.get(id).filter(|job| job.open);
            job.is_some_and(|job| job.ended || job.waiting == 0 || self.grant(id).is_none())
        };
        !entry.is_up
            || entry.queue.last(MOST_BATCHES).any(|batch| match batch.kind {
                OrderKind::Tasks { job, .. } => gives_none(job),
                OrderKind::Init { .. } | OrderKind::Exit | OrderKind::Resume => false,
            })
    }
}

/// What is to know about the heads of queues.
pub(super) struct Heads<'s> {
    jobs: &'s Jobs,
    exit_limit_ns: Option<u64>,
    killable: bool,
    now: u64,
}

impl Heads<'_> {
    /// How long the head of the worker's queue may take, and how much CPU time it may use.
    pub(super) fn limits_of(&self, worker: &Worker) -> (Option<u64>, Option<u64>) {
        if !self.killable || !worker.is_up {
            return (None, None);
        }
        let Some(head) = worker.queue.head() else {
            let is_ending = worker.phase == Phase::Retiring;
            return (is_ending.then(|| self.exit_limit_ns.unwrap_or(RETIRE_NS)), None);
        };
        let limit_ns = match head.kind {
            OrderKind::Tasks { job, .. } => match self.jobs.get(job) {
                Some(of) if of.open && !self.jobs.is_dropped(Some(head)) => {
                    return (of.plan.task_limit_ns, of.plan.cpu_limit_ns);
                }
                _ => Some(ABANDON_NS),
            },
            OrderKind::Init { profile } => self.jobs.profile(profile).and_then(|profile| profile.limit_ns),
            OrderKind::Exit => self.exit_limit_ns,
            OrderKind::Resume => None,
        };
        (limit_ns, None)
    }

    /// How long the head of the queue may take before the rest is recalled for an idle worker.
    fn stall_of(&self, worker: &Worker) -> u64 {
        match worker.queue.head().map(|head| head.kind) {
            Some(OrderKind::Tasks { job, .. }) if self.jobs.folds(job) => FOLD_STALL_NS,
            _ => STALL_NS,
        }
    }

    /// Sets the limits of the head of the queue.
    fn renew_limits(&self, worker: &mut Worker) {
        (worker.head_limit_ns, worker.cpu.limit_ns) = self.limits_of(worker);
        worker.head_stall_ns = self.stall_of(worker);
    }

    /// Notes that another order is at the head of the worker's queue, after this one. The tasks of a job that was left
    /// share one grace. It counts from when the job was left, or when the first of them came to the head if that is
    /// later. The worker need not say when it began them: it notes times only for jobs with a limit.
    pub(super) fn next(&self, worker: &mut Worker, last: Option<Batch>) {
        let left = |batch: Option<Batch>| match batch?.kind {
            OrderKind::Tasks { job, .. } => Some(job).filter(|job| !self.jobs.is_open(*job)),
            OrderKind::Init { .. } | OrderKind::Exit | OrderKind::Resume => None,
        };
        let next = left(worker.queue.head());
        let shares_grace = next.is_some() && next == left(last) && worker.head_extra_ns == 0;
        if !shares_grace {
            worker.next_head(self.now);
            worker.head_began = next.is_some() || self.jobs.is_dropped(worker.queue.head());
            self.renew_limits(worker);
        }
    }

    /// Removes the answered head of the worker's queue: `count` tasks, or one order of another kind.
    pub(super) fn pop(&self, worker: &mut Worker, count: u64) {
        let head = worker.queue.head();
        worker.queue.pop(count);
        self.next(worker, head);
    }

    /// Adds an order to the worker's queue.
    pub(super) fn push(&self, worker: &mut Worker, kind: OrderKind) {
        let is_first = worker.queue.is_empty();
        worker.queue.push(kind);
        if is_first {
            self.next(worker, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claimed_tasks_of_a_left_job_share_half_a_second() {
        let (worker, job, mut actions) = (WorkerId(0), JobId::new(1), Vec::new());
        let mut supervisor = Supervisor::new(1, false, true);
        let mut at = |supervisor: &mut Supervisor, ms: u64, event| {
            actions.clear();
            supervisor.handle(event, ms * 1_000_000, &mut actions);
            actions.contains(&Action::Kill { worker })
        };
        let done = Event::Done { worker, count: 1, bytes: 1, pace_ns: 1000 };
        let plan = Box::new(Plan { total: Some(9), ..Plan::plain() });
        at(&mut supervisor, 0, Event::Opened { job, plan });
        at(&mut supervisor, 1, Event::Ready { worker });
        at(&mut supervisor, 1, Event::Sent { job, worker, count: 9 });
        at(&mut supervisor, 7000, done.clone());
        at(&mut supervisor, 9000, Event::Closed { job });
        at(&mut supervisor, 9001, Event::Recalled { worker, kept_up_to: Unit::new(4) });
        at(&mut supervisor, 9100, done.clone());
        // Its note of when it began is old, because the job has no limit.
        assert_eq!(supervisor.head_to_begin(worker), None);
        assert!(!at(&mut supervisor, 9101, Event::Tick), "another task of the claim runs");
        at(&mut supervisor, 9300, done);
        assert!(!at(&mut supervisor, 9499, Event::Tick));
        assert_eq!(supervisor.deadline(), Some(9_500_000_000));
        assert!(at(&mut supervisor, 9500, Event::Tick), "all together have half a second");
    }

    #[test]
    fn a_dropped_task_has_half_a_second_whatever_else_is_dropped() {
        let (worker, job, mut actions) = (WorkerId(0), JobId::new(1), Vec::new());
        let mut supervisor = Supervisor::new(1, false, true);
        let mut at = |supervisor: &mut Supervisor, ms: u64, event| {
            actions.clear();
            supervisor.handle(event, ms * 1_000_000, &mut actions);
            actions.clone()
        };
        let drop = |index| Event::Dropped { job, index: TaskIndex::new(index) };
        let plan = Box::new(Plan { total: Some(3), ..Plan::plain() });
        at(&mut supervisor, 0, Event::Opened { job, plan });
        at(&mut supervisor, 1, Event::Ready { worker });
        at(&mut supervisor, 1, Event::Sent { job, worker, count: 3 });
        assert_eq!(at(&mut supervisor, 1000, drop(0)), [], "it runs");
        assert_eq!(at(&mut supervisor, 1400, drop(2)), [Action::Recall { worker }], "it waits");
        at(&mut supervisor, 1400, Event::Recalled { worker, kept_up_to: Unit::new(1) });
        assert_eq!(at(&mut supervisor, 1450, drop(0)), [], "again");
        assert_eq!(supervisor.deadline(), Some(1_500_000_000));
        assert_eq!(at(&mut supervisor, 1499, Event::Tick), []);
        assert_eq!(at(&mut supervisor, 1500, Event::Tick), [Action::Kill { worker }]);
    }

    #[test]
    fn a_suspension_is_not_counted() {
        let suspension = Suspension { from: 100, until: 400 };
        assert_eq!(suspension.exclude_from(30), 330, "70 were over before it, and still are");
        assert_eq!(suspension.exclude_from(100), 400);
        assert_eq!(suspension.exclude_from(250), 400, "a beginning in it counts from its end");
        assert_eq!(suspension.exclude_from(400), 400);
        assert_eq!(suspension.exclude_from(500), 500);
        assert_eq!(Suspension::default().exclude_from(7), 7);
    }
}
