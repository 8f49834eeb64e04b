//! What must hold at each step of the simulation.

use super::*;

impl World {
    /// Checks that a worker that is killed for its time has had it: a task of an open job has no limit but that of its
    /// job, and one that nobody wants any more has a grace.
    pub(super) fn check_kill(&self, worker: WorkerId) {
        let is_known = self.workers[worker].as_ref().is_some_and(|process| process.known);
        let head = self.supervisor.head(worker).filter(|_| is_known);
        let Some(Head::Tasks { job, first, .. }) = head else { return };
        let since = match (self.left.get(&job), self.calls.get(&job)) {
            (Some(left), _) => *left,
            (None, Some(call)) if call.plan.task_limit_ns.or(call.plan.cpu_limit_ns).is_some() => return,
            (None, Some(call)) => *call.dropped.get(&first).unwrap_or_else(|| {
                panic!("worker {worker} is killed in task {first} of job {job}, which has no limit")
            }),
            (None, None) => panic!("job {job} was left at some time"),
        };
        let had = self.now - since;
        assert!(
            had >= GRACE_NS,
            "worker {worker} is killed {had} ns after task {first} of job {job} was left"
        );
    }

    /// Notes since when each worker has had nothing to do.
    pub(super) fn note_idle(&mut self) {
        for (worker, process) in self.workers.numbered_mut() {
            let Some(process) = process else { continue };
            let is_idle = process.known && self.supervisor.head(worker).is_none();
            process.idle_since = is_idle.then(|| process.idle_since.unwrap_or(self.now));
        }
    }

    /// Checks that a worker that is told to leave, and not because of an answer, was idle for long, and that enough
    /// others stay.
    pub(super) fn check_leaves(&self, worker: WorkerId) {
        let Some(IdlePolicy { timeout_ns, least }) = self.idle else { panic!("worker {worker} is to leave") };
        let process = self.workers[worker].as_ref().expect("it is there");
        let since = process.idle_since.filter(|_| process.orders.is_empty());
        assert!(
            since.is_some_and(|since| self.now - since >= timeout_ns),
            "worker {worker} was not idle: {since:?}"
        );
        // One whose start has failed in the same step counts: the supervisor does not know yet.
        let has_failed = |other: WorkerId| {
            let is_it = |event: &Event| matches!(event, Event::NotStarted { worker, .. } if *worker == other);
            self.consequences.iter().any(is_it)
        };
        let stays = |(other, process): &(WorkerId, &Option<Process>)| {
            let is_there = |process: &Process| !process.killed && !process.exits;
            *other != worker && (process.as_ref().is_some_and(is_there) || has_failed(*other))
        };
        assert!(
            self.workers.numbered().filter(stays).count() >= least,
            "worker {worker} leaves too few others"
        );
    }

    /// Checks that there are fewer workers than tasks without an outcome, of which each could keep one busy. Not for a
    /// replacement where each chunk has a worker of its own.
    pub(super) fn check_is_wanted(&self, worker: WorkerId) {
        let is_free = |process: &&Process| !process.killed && !process.exits;
        let there = self.workers.iter().take(self.size).flatten().filter(is_free).count() as u64;
        let open = |call: &Call| call.left + call.handed_out - call.outcomes.len() as u64;
        let is_closed = |job: &JobId| !self.calls.contains_key(job);
        let of = |order: &Order| match order {
            Order::Task { job, .. } => Some(*job),
            _ => None,
        };
        let occupying = |process: &Process| {
            let orders = process.orders.iter().filter_map(|(_, order)| of(order));
            let replies = process.replies.iter().flat_map(|reply| match reply {
                Reply::Value { job, .. } => vec![*job],
                Reply::Folded { job, count, .. } => vec![*job; *count as usize],
                Reply::FoldFailed { count, order } => {
                    of(order).into_iter().cycle().take(*count as usize + 1).collect()
                }
                Reply::Failed(order) => of(order).into_iter().collect(),
                _ => vec![],
            });
            orders.chain(replies).filter(is_closed).count() as u64
        };
        let occupying: u64 = self.workers.iter().flatten().map(occupying).sum();
        let tasks = self.calls.values().map(open).sum::<u64>() + occupying;
        let awaits = |call: &Call| match call.plan.each_worker {
            Some(EachWorker::RunsTask) => call.kept.contains(&TaskIndex::new(worker.0 as u64)),
            Some(EachWorker::WarmsUp) => !call.warm.contains(&worker),
            None => false,
        };
        let is_awaited = self.calls.values().any(awaits);
        assert!(
            there < tasks || self.orders_tasks || is_awaited,
            "worker {worker} is started for {tasks} tasks"
        );
    }

    /// Whether a task is still to be sent to this worker that may go to no other one.
    pub(super) fn has_task_of_its_own(&self, worker: WorkerId) -> bool {
        let waits = |call: &Call| {
            let is_for_each = call.plan.each_worker == Some(EachWorker::RunsTask);
            is_for_each && call.kept.contains(&TaskIndex::new(worker.0 as u64))
        };
        self.calls.values().any(waits)
    }

    pub(super) fn check_bounds(&self) {
        for (job, call) in &self.calls {
            let is_its =
                |(_, order): &&(u32, Order)| matches!(order, Order::Task { job: of, .. } if of == job);
            let in_lanes: usize = self
                .workers
                .iter()
                .flatten()
                .map(|process| {
                    let recalled =
                        |unit: u32| process.recall && unit >= process.claimed.max(process.answered());
                    process.orders.iter().filter(is_its).filter(|(unit, _)| !recalled(*unit)).count()
                })
                .sum();
            let most = call.plan.max_active.unwrap_or(u64::MAX);
            let (held, undecided) = (call.held.len() as u64, call.undecided.len() as u64);
            assert!(
                in_lanes as u64 + held + undecided <= most,
                "job {job} has {in_lanes} + {held} + {undecided} under way"
            );
            // The maximum is the bound, or so many chunks for each worker, plus the tasks that went out before a
            // result's size was known.
            let chunks = self.workers.len() as u64 * call.plan.whole_chunk();
            let may_come = call.held_bytes() + in_lanes as u64 * call.result_bytes;
            let most = match call.plan.held {
                HeldBytes::Any => u64::MAX,
                HeldBytes::About(most) => most.max(2 * chunks * call.result_bytes),
                HeldBytes::AtMost(most) => most + chunks * call.result_bytes,
            };
            assert!(
                may_come <= most.saturating_add(call.blind * call.result_bytes),
                "job {job} has {in_lanes} under way, {may_come} bytes with those that are held, of {most}"
            );
        }
    }
}
