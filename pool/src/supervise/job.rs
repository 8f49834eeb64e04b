//! A job as the supervisor sees it: numbers, never values.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use super::workers::Edit;
use crate::ids::{JobId, TaskIndex, WorkerId};
use crate::work::{Chunking, EachWorker, HeldBytes, Plan, splits};

/// How much work a worker should have queued. Measured: with 2 ms, the parent wakes a fifth as often as with 400 µs. A
/// queue that turns out to be too long is recalled when another worker is idle.
const WINDOW_NS: u64 = 2_000_000;
/// How long a chunk should take: many times the cost of sending it, and a small part of the window, so that workers
/// finish together.
const CHUNK_NS: u64 = 100_000;
/// How long a task is assumed to take before it is known. A window then holds 5 tasks, and a chunk one: so a worker
/// gets few tasks blindly, but enough that it need not wait for more.
const UNKNOWN_PACE_NS: u64 = 400_000;
/// The most tasks in a window. Only tasks of less than 61 ns reach it.
const LONGEST_WINDOW: u64 = 32768;
/// The most workers that a job is counted for: more than a pool can have, and few enough for the sum over all jobs.
const MOST_DEMAND: u64 = 1 << 31;
/// How long the tasks of a chunk should take together whose results are folded into one value. Each value costs a
/// passage and a call of the reducing function, so there should be few; but a death takes as much work with it.
const FOLD_NS: u64 = 50_000_000;
/// Even where the input ends, a fold takes this long, so that its value costs little beside it.
const SHORTEST_FOLD_NS: u64 = 1_000_000;
/// The most tasks in a fold. Numbers, the smallest items, then fill a mebibyte.
const MOST_FOLDED: u64 = 1 << 17;
/// If this many workers have died with the same unstarted task next, that task counts as the cause. One such death can
/// be a coincidence. But a task that overwrites its worker's lane can also hide that it had started, and then this
/// bound ends the retries.
const MAX_SUSPICIONS: u32 = 3;

#[derive(Debug)]
pub(super) struct Job {
    pub(super) plan: Box<Plan>,
    /// The index of the next item that was never handed out.
    pub(super) next: TaskIndex,
    /// The input has no more items.
    pub(super) ended: bool,
    /// How many items its caller has at hand that were not handed out.
    pub(super) waiting: u64,
    /// The number of tasks that workers have.
    pub(super) in_flight: u64,
    /// How many of them each of these workers has.
    pub(super) queued: Queued,
    /// The number of results that the caller has not taken yet.
    pub(super) held: u64,
    /// The bytes of these results, if they are bounded.
    held_bytes: u64,
    /// The recent size of a result in bytes; 0 before it is known.
    result_bytes: u64,
    /// The number of tasks that have an outcome.
    pub(super) done: u64,
    /// How many of them failed.
    failed: u64,
    /// The tasks to send again, each with the number of its next attempt.
    pub(super) backlog: VecDeque<(TaskIndex, u32)>,
    /// The tasks that have failed and are not to be sent yet, if there ever were any.
    pub(super) put_off: Option<Box<PutOff>>,
    /// If each worker has a task of it: the first that was not assigned, so that its worker does not get it yet.
    next_assigned: TaskIndex,
    /// How many workers it waits for: to send them their tasks, or until they are warm.
    pub(super) awaiting: u64,
    /// Whether the caller waits for it. Otherwise its results are discarded.
    pub(super) open: bool,
    pub(super) chunks: u64,
    /// The tasks that workers had when nobody wanted them any more.
    pub(super) dropped: BTreeSet<TaskIndex>,
    pub(super) pace_ns: Option<u64>,
    /// How many workers have been recalled for it since a task of it was done.
    pub(super) recalls: u32,
    /// The tasks that were next when workers died outside any task, each with the number of these workers.
    suspicions: BTreeMap<TaskIndex, u32>,
    /// What it is counted for.
    pub(super) counted: Facts,
}

impl Job {
    /// Makes a job for a pool of this many workers. What is for each of them is known from the beginning.
    pub(super) fn new(plan: Box<Plan>, workers: u64) -> Self {
        let is_for_each = plan.each_worker.is_some();
        Self {
            plan,
            next: TaskIndex::new(if is_for_each { workers } else { 0 }),
            ended: is_for_each,
            waiting: 0,
            in_flight: 0,
            queued: Queued::default(),
            held: 0,
            held_bytes: 0,
            result_bytes: 0,
            done: 0,
            failed: 0,
            backlog: VecDeque::new(),
            put_off: None,
            next_assigned: TaskIndex::default(),
            awaiting: 0,
            open: true,
            chunks: 0,
            dropped: BTreeSet::new(),
            pace_ns: None,
            recalls: 0,
            suspicions: BTreeMap::new(),
            counted: Facts::default(),
        }
    }

    /// Counts a worker that died with this task next and, as its lane says, not started. True if that has happened too
    /// often to be believed: a task that overwrites the lane can make it say so.
    pub(super) fn is_suspect(&mut self, index: TaskIndex) -> bool {
        let times = self.suspicions.entry(index).or_default();
        *times += 1;
        *times >= MAX_SUSPICIONS
    }

    pub(super) fn is_complete(&self) -> bool {
        self.ended && self.done == self.next.number()
    }

    /// Whether there is something to hand out.
    pub(super) fn has_work(&self) -> bool {
        self.open && (!self.ended || !self.backlog.is_empty())
    }

    /// Whether it has something to do for each worker.
    pub(super) fn is_for_each(&self) -> bool {
        self.plan.each_worker.is_some()
    }

    /// Assigns the next task that is not assigned, if the job may have one more under way. Returns its worker.
    pub(super) fn assign_next(&mut self) -> Option<WorkerId> {
        if self.next_assigned == self.next || self.allowance() <= self.awaiting {
            return None;
        }
        let worker = WorkerId(self.next_assigned.as_usize());
        self.next_assigned += 1;
        self.awaiting += 1;
        Some(worker)
    }

    /// How many workers it could keep busy: one for each task without an outcome, or for each chunk of them if the
    /// caller chose how chunks are made. A task that waits for one worker cannot keep another one busy.
    pub(super) fn demand(&self) -> u64 {
        if !self.open || self.is_for_each() {
            return self.in_flight;
        }
        let most = self.plan.max_active.unwrap_or(u64::MAX);
        self.chunks_of(self.known().saturating_sub(self.done).min(most))
    }

    /// How many chunks are known that no worker has.
    pub(super) fn unsent(&self) -> u64 {
        self.chunks_of(self.known() - self.next.number() + self.backlog.len() as u64)
    }

    /// How many of its tasks were taken from the input and have no outcome. Those that nobody waits for any more count
    /// while a worker has them.
    pub(super) fn unfinished(&self) -> u64 {
        match self.plan.each_worker {
            _ if !self.open => self.in_flight,
            Some(EachWorker::WarmsUp) => 0,
            Some(EachWorker::RunsTask) | None => self.waiting + self.next.number() - self.done,
        }
    }

    /// How many tasks it is known to have.
    pub(super) fn known(&self) -> u64 {
        let next = self.next.number();
        let promised = self.plan.total.unwrap_or(0).max(next + self.waiting);
        if self.ended { next } else { promised }
    }

    /// How many chunks this many tasks make.
    fn chunks_of(&self, tasks: u64) -> u64 {
        match self.plan.chunking {
            Chunking::Splits { splits, total } => splits::parts(splits, total, tasks).min(tasks),
            Chunking::Adaptive => tasks,
            Chunking::Size(_) => tasks.div_ceil(self.plan.whole_chunk().max(1)),
        }
    }

    /// The number of its tasks that the worker has.
    pub(super) fn queued_at(&self, worker: WorkerId) -> u64 {
        self.queued.at(worker)
    }

    /// How long its tasks take, as far as is known.
    pub(super) fn pace(&self) -> u64 {
        self.pace_ns.unwrap_or(UNKNOWN_PACE_NS).max(1)
    }

    /// Counts tasks that the worker gets.
    pub(super) fn load(&mut self, worker: WorkerId, count: u64) {
        self.in_flight += count;
        *self.queued.entry(worker) += count;
    }

    /// Counts tasks that the worker no longer has.
    pub(super) fn unload(&mut self, worker: WorkerId, count: u64) {
        self.in_flight -= count;
        *self.queued.entry(worker) -= count;
        self.queued.tidy(worker);
    }

    /// Counts a task that has failed for good, with a report of so many bytes that waits for the caller. True if the
    /// job is to end with it.
    pub(super) fn lose(&mut self, bytes: u64) -> bool {
        self.done += 1;
        self.failed += 1;
        self.hold(1, bytes);
        self.has_given_up()
    }

    /// Whether so many tasks have failed that it has ended.
    pub(super) fn has_given_up(&self) -> bool {
        self.plan.most_failed.is_some_and(|most| self.failed >= most)
    }

    /// The tasks that are put off, to be changed.
    pub(super) fn put_off_mut(&mut self) -> &mut PutOff {
        self.put_off.get_or_insert_default()
    }

    /// Counts outcomes that wait for the caller.
    pub(super) fn hold(&mut self, count: u64, bytes: u64) {
        self.held += count;
        self.held_bytes += bytes;
    }

    /// Counts outcomes that the caller has taken.
    pub(super) fn release(&mut self, count: u64, bytes: u64) {
        self.held = self.held.saturating_sub(count);
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
    }

    /// Removes the next task from those to send: one to send again, or else `count` new ones. Returns the index of the
    /// first, and the number of its attempt.
    pub(super) fn take_next(&mut self, count: u64) -> (TaskIndex, u32) {
        self.backlog.pop_front().unwrap_or_else(|| {
            let first = self.next;
            self.next += count;
            self.waiting = self.waiting.saturating_sub(count);
            (first, 1)
        })
    }

    /// The same for a task that was assigned to this worker.
    pub(super) fn take_assigned(&mut self, of: &mut Edit<'_>, id: JobId) -> (TaskIndex, u32) {
        let attempt = of.assigned.remove(&id);
        debug_assert!(attempt.is_some(), "only what is assigned is sent");
        self.awaiting -= u64::from(attempt.is_some());
        (TaskIndex::new(of.worker.0 as u64), attempt.unwrap_or(1))
    }

    pub(super) fn record_result_bytes(&mut self, bytes: u64) {
        self.result_bytes = if self.result_bytes == 0 { bytes } else { self.result_bytes.midpoint(bytes) };
    }

    /// How many of these new tasks may go out so that their results stay within the bound. Past the bound, none may. If
    /// they would exceed it, an idle worker still gets a whole chunk, so that no worker waits only for space. Such
    /// chunks exceed the bound by at most one per worker in all, whatever the other workers do.
    ///
    /// Tasks that are sent again are not held back: the caller may be waiting for one of them, and the bound covered
    /// their results when they first went out. While the caller waits for a task that was never handed out, no results
    /// are held, because it has taken everything before.
    pub(super) fn within_bytes(&self, tasks: u64, whole: u64, idle: bool, workers: u64) -> u64 {
        let beyond = workers.saturating_mul(whole);
        // Those that are put off will bring results, too.
        let under_way = self.in_flight + self.count_put_off();
        let space = match self.plan.held {
            HeldBytes::Any => return tasks,
            HeldBytes::About(most) => {
                let active = (most / self.result_bytes.max(1)).max(beyond.saturating_mul(2));
                return tasks.min(active.saturating_sub(under_way + self.held));
            }
            HeldBytes::AtMost(most) => most.saturating_sub(self.held_bytes),
        };
        if space == 0 {
            return 0;
        }
        let fitting = space / self.result_bytes.max(1);
        let may_exceed = idle && under_way.saturating_add(whole) <= fitting.saturating_add(beyond);
        tasks.min(fitting.saturating_sub(under_way).max(if may_exceed { whole } else { 0 }))
    }

    /// How many more tasks the job may have under way. Those that are put off keep their places: a caller that takes
    /// results in order may take nothing before it has theirs.
    fn allowance(&self) -> u64 {
        let active = self.in_flight + self.held + self.count_put_off();
        self.plan.max_active.map_or(u64::MAX, |most| most.saturating_sub(active))
    }

    /// How many of its tasks have failed, and are neither over nor to be sent yet.
    fn count_put_off(&self) -> u64 {
        self.put_off.as_ref().map_or(0, |tasks| tasks.len())
    }

    /// The number of the next chunk; for adaptive chunks, the number of chunks sent.
    pub(super) fn chunk(&self) -> u64 {
        let next = self.backlog.front().map_or(self.next, |(index, _)| *index).number();
        match self.plan.chunking {
            Chunking::Size(size) => next / size,
            Chunking::Splits { splits, total } => splits::number(splits, total, next),
            Chunking::Adaptive => self.chunks,
        }
    }

    /// How many tasks of this duration should be folded into one value. `left` of the input are left, if that is known.
    fn fold(&self, pace: u64, left: u64, workers: u64) -> u64 {
        // Large folds follow only after as much work as tells how long tasks take. While nobody knows when the input
        // ends, each is small beside all of it, so that workers still finish together.
        let known = if self.plan.total.is_some() { self.done / workers } else { self.done / (4 * workers) };
        let least = (SHORTEST_FOLD_NS / pace).min(left / workers);
        (FOLD_NS / pace).min(left / (2 * workers)).min(known).max(least).clamp(1, MOST_FOLDED)
    }

    /// How many tasks a worker should have queued, and how many it gets next. If `joins`, short chunks may be joined.
    pub(super) fn window(&self, workers: u64, joins: bool) -> Share {
        let next = self.next.number();
        let pace = self.pace();
        let window = (WINDOW_NS / pace).clamp(2, LONGEST_WINDOW);
        let left = self.plan.total.map_or(u64::MAX, |total| total.saturating_sub(next));
        let fair = (left / (2 * workers)).max(1);
        let adapted = (CHUNK_NS / pace).clamp(1, window / 2).min(fair);
        if self.plan.folds && matches!(self.plan.chunking, Chunking::Adaptive) && self.pace_ns.is_some() {
            let chunk = self.fold(pace, left, workers);
            return Share { window: 2 * chunk, chunk: chunk.min(self.allowance()), whole: 1 };
        }
        let whole = match self.plan.chunking {
            // The rest of a chunk that was too large to send at once ends at the chunk's end.
            Chunking::Size(size) => size - next % size,
            Chunking::Splits { splits, total } => splits::end(splits, total, next) - next,
            Chunking::Adaptive => {
                return Share { window, chunk: adapted.min(self.allowance()), whole: 1 };
            }
        };
        let whole = whole.min(self.plan.max_active.unwrap_or(u64::MAX)).max(1);
        let is_alike = matches!(self.plan.chunking, Chunking::Size(size) if size == whole);
        let several = if joins && is_alike { adapted / whole } else { 1 };
        let chunk = (whole * several.max(1)).min(self.allowance());
        Share { window: window.max(whole.saturating_mul(2)), chunk, whole }
    }
}

/// Tasks of a job that have failed, and are neither over nor to be sent yet; each with the number of its last attempt.
#[derive(Debug, Default)]
pub(super) struct PutOff {
    /// Those about which the caller is asked.
    pub(super) undecided: BTreeMap<TaskIndex, u32>,
    /// Those that wait, and until when.
    pub(super) delayed: BTreeMap<TaskIndex, (u32, u64)>,
}

impl PutOff {
    fn len(&self) -> u64 {
        (self.undecided.len() + self.delayed.len()) as u64
    }
}

/// How many tasks of a job workers have. Most calls are short, and use one worker and no memory here.
#[derive(Debug, Default)]
pub(super) struct Queued {
    first: Option<(WorkerId, u64)>,
    /// None for a worker without tasks.
    others: BTreeMap<WorkerId, u64>,
}

impl Queued {
    fn at(&self, worker: WorkerId) -> u64 {
        match self.first {
            Some((first, tasks)) if first == worker => tasks,
            _ => self.others.get(&worker).copied().unwrap_or(0),
        }
    }

    fn entry(&mut self, worker: WorkerId) -> &mut u64 {
        let (first, tasks) = self.first.get_or_insert((worker, 0));
        if *first == worker { tasks } else { self.others.entry(worker).or_default() }
    }

    /// Removes the entry of a worker that has no tasks.
    fn tidy(&mut self, worker: WorkerId) {
        if self.others.get(&worker) == Some(&0) {
            self.others.remove(&worker);
        }
    }

    /// The workers that have tasks.
    pub(super) fn workers(&self) -> impl Iterator<Item = WorkerId> {
        let first = self.first.filter(|(_, tasks)| *tasks > 0).map(|(worker, _)| worker);
        first.into_iter().chain(self.others.keys().copied())
    }
}

/// What is counted over all jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Facts {
    pub(super) has_work: bool,
    /// It has tasks to be sent again, and whether others are under way.
    pub(super) backlog: Option<bool>,
    /// It is open and has tasks without an outcome.
    pub(super) is_unfinished: bool,
    /// How many workers it could keep busy.
    pub(super) demand: u64,
}

impl Facts {
    pub(super) fn of(job: &Job) -> Self {
        Self {
            has_work: job.has_work(),
            backlog: (job.open && !job.backlog.is_empty()).then_some(job.in_flight > 0),
            demand: job.demand().min(MOST_DEMAND),
            is_unfinished: job.open && !job.is_complete(),
        }
    }
}

/// One worker's share of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Share {
    pub(super) window: u64,
    /// The size of the next chunk; 0 if the job may have no more tasks under way.
    pub(super) chunk: u64,
    /// The size of a whole chunk; a smaller one waits, except at the end of the input.
    pub(super) whole: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_carry_as_in_mpire() {
        let sizes = |splits, total| {
            let next = |start: &u64| Some(splits::end(splits, total, *start)).filter(|_| *start < total);
            let ends = std::iter::successors(Some(0), next);
            ends.clone().skip(1).zip(ends).map(|(end, start)| end - start).collect::<Vec<_>>()
        };
        assert_eq!(sizes(6, 10), [2, 2, 1, 2, 2, 1]);
        assert_eq!(sizes(4, 10), [3, 2, 3, 2]);
        assert_eq!(sizes(3, 9), [3, 3, 3]);
    }
}
