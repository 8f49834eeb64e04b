//! The state machine itself.

use std::collections::BTreeMap;

use super::job::{Job, JobId, Plan};
use super::worker::{Batch, Phase, What, Worker};
use super::{Action, Cause, Event, JobCause};

/// How long a task whose job is gone may hold its worker.
const ABANDON_NS: u64 = 500_000_000;
/// How long a worker may take from its start to its first word.
const BOOT_NS: u64 = 30_000_000_000;
/// How long a queue may stand still while another worker has nothing to do, before it is taken back.
const STALL_NS: u64 = 300_000;
/// So many failed starts in a row, and starts are put off; if there are no workers then, the jobs that wait for them
/// fail.
const MOST_FAILED_STARTS: u32 = 3;
/// How long they are put off: at first, doubled with each one that fails, and at most.
const BACK_OFF_NS: u64 = 50_000_000;
const LONGEST_BACK_OFF_NS: u64 = 5_000_000_000;

/// What a caller may send next, and to whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) worker: usize,
    pub(crate) work: Work,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Work {
    /// New items: up to `most`, beginning with index `first`; fewer than `whole` only at the input's end.
    Fresh { first: u64, most: u64, whole: u64 },
    /// A task that came back.
    Again { index: u64, attempt: u32 },
}

/// The state of a pool.
#[derive(Debug)]
pub(crate) struct Supervisor {
    workers: Vec<Worker>,
    jobs: BTreeMap<JobId, Job>,
    order_tasks: bool,
    /// Workers that can be killed.
    mortal: bool,
    retiring: bool,
    failed_starts: u32,
    /// How long an exit function may take: the last job's word.
    exit_limit_ns: Option<u64>,
    now: u64,
    actions: Vec<Action>,
}

impl Supervisor {
    pub(crate) fn new(workers: usize, order_tasks: bool, mortal: bool) -> Self {
        Self {
            workers: (0..workers).map(|_| Worker::absent()).collect(),
            jobs: BTreeMap::new(),
            order_tasks,
            mortal,
            retiring: false,
            failed_starts: 0,
            exit_limit_ns: None,
            now: 0,
            actions: Vec::new(),
        }
    }

    /// Takes in what happened at this time, in nanoseconds; what follows is appended to `actions`.
    pub(crate) fn handle(&mut self, event: Event, now: u64, actions: &mut Vec<Action>) {
        self.now = self.now.max(now);
        match event {
            Event::Opened { job, plan, kept } => self.opened(job, plan, kept),
            Event::Sent { job, worker, count } => self.sent(job, worker, count),
            Event::InputEnded { job } => self.input_ended(job),
            Event::Taken { job, count } => {
                if let Some(job) = self.jobs.get_mut(&job) {
                    job.held = job.held.saturating_sub(count);
                }
            }
            Event::Unsendable { job, worker } => self.unsendable(job, worker),
            Event::Closed { job } => self.close(job),
            Event::Ready { worker } => self.ready(worker),
            Event::NotStarted { worker } => self.not_started(worker),
            Event::Done { worker, count, pace_ns } => self.done(worker, count, pace_ns),
            Event::Failed { worker } => self.failed(worker),
            Event::OrderDone { worker } => self.order_done(worker),
            Event::Recalled { worker, kept_up_to } => self.recalled(worker, kept_up_to),
            Event::Died { worker, running } => self.died(worker, running),
            Event::Retire => self.retire(),
            Event::Tick => self.tick(),
        }
        actions.append(&mut self.actions);
    }

    // ---- what callers ask ----

    /// What the job may send next, if anything.
    pub(crate) fn grant(&self, id: JobId) -> Option<Grant> {
        let sharing = self.jobs.values().filter(|job| job.has_work()).count().max(1) as u64;
        let job = self.jobs.get(&id).filter(|job| job.has_work())?;
        let share = job.window(self.workers.len() as u64);
        let window = (share.window / sharing).max(share.chunk.min(share.whole)).max(1);
        let fits = |worker: &Worker| {
            let room = worker.tasks_of(id);
            worker.takes_orders()
                && !worker.recalling
                && !worker.blocked
                && (room == 0 || room + share.chunk <= window)
                && self.life_left(worker) > 0
        };
        let chosen = if self.order_tasks {
            let worker = (job.chunks % self.workers.len() as u64) as usize;
            fits(&self.workers[worker]).then_some(worker)?
        } else {
            let fitting = self.workers.iter().enumerate().filter(|(_, worker)| fits(worker));
            fitting.min_by_key(|(_, worker)| (worker.tasks(), worker.phase != Phase::Up))?.0
        };
        if let Some(&(index, attempt)) = job.backlog.front() {
            return (share.chunk > 0)
                .then_some(Grant { worker: chosen, work: Work::Again { index, attempt } });
        }
        let most = share.chunk.min(self.life_left(&self.workers[chosen]));
        let whole = share.whole.min(self.life_left(&self.workers[chosen]));
        (most > 0 && !job.ended && most >= whole)
            .then_some(Grant { worker: chosen, work: Work::Fresh { first: job.next, most, whole } })
    }

    /// How many more tasks the worker may be handed: the open job with the shortest lifespan decides, whosever
    /// tasks they are.
    fn life_left(&self, worker: &Worker) -> u64 {
        let lifespans = self.jobs.values().filter(|job| job.open).filter_map(|job| job.plan.lifespan);
        lifespans.min().map_or(u64::MAX, |lifespan| lifespan.saturating_sub(worker.served))
    }

    /// Sends the worker off if it has been handed what an open job allows it.
    fn leave_if_old(&mut self, worker: usize) {
        if self.life_left(&self.workers[worker]) == 0 {
            self.leave(worker);
        }
    }

    /// Says whether the worker's lane has no room for chunks.
    pub(crate) fn block(&mut self, worker: usize, blocked: bool) {
        self.workers[worker].blocked = blocked;
    }

    /// The jobs with tasks that came back and wait to be sent again.
    pub(crate) fn with_backlog(&self) -> Vec<JobId> {
        let waits = |job: &&Job| job.open && !job.backlog.is_empty();
        self.jobs.iter().filter(|(_, job)| waits(job)).map(|(id, _)| *id).collect()
    }

    /// Whether every worker has ended.
    pub(crate) fn is_at_rest(&self) -> bool {
        self.workers.iter().all(|worker| worker.phase == Phase::Absent)
    }

    /// Whether no job is open or still running.
    pub(crate) fn is_idle(&self) -> bool {
        self.jobs.is_empty()
    }

    /// Whether there is no such worker now.
    pub(crate) fn is_absent(&self, worker: usize) -> bool {
        self.workers[worker].phase == Phase::Absent
    }

    /// How many workers have something to do.
    pub(crate) fn busy(&self) -> usize {
        self.workers.iter().filter(|worker| !worker.queue.is_empty()).count()
    }

    /// The job whose time limit the worker is under, if its task has one: starts must be told.
    pub(crate) fn has_limits(&self, job: JobId) -> bool {
        self.jobs.get(&job).is_some_and(|job| job.plan.task_limit_ns.is_some())
    }

    /// What the worker answers next: its first unit and the tasks in that batch, if they are tasks.
    pub(crate) fn head(&self, worker: usize) -> Option<Head> {
        let batch = self.workers[worker].queue.front()?;
        Some(match batch.what {
            What::Tasks { job, first, count, .. } => Head::Tasks { unit: batch.unit, job, first, count },
            What::Init { .. } => Head::Init { unit: batch.unit },
            What::Exit => Head::Exit { unit: batch.unit },
            What::Resume => Head::Resume { unit: batch.unit },
        })
    }

    /// The unit whose answer a sleeping parent wants to hear of: half-way through what is queued.
    pub(crate) fn wake_at(&self, worker: usize) -> u32 {
        let worker = &self.workers[worker];
        let Some(head) = worker.queue.front() else { return worker.next_unit };
        let open = worker.next_unit.wrapping_sub(head.unit);
        head.unit.wrapping_add(open.saturating_sub(1) / 2)
    }

    /// Notes when the head of the worker's queue began, as the worker says; never later than it was seen.
    pub(crate) fn head_began(&mut self, worker: usize, at: u64) {
        let worker = &mut self.workers[worker];
        worker.head_since = worker.head_since.min(at.min(self.now));
    }

    /// When something must happen even if nothing is heard.
    pub(crate) fn deadline(&self) -> Option<u64> {
        let idle = self.workers.iter().any(|w| w.takes_orders() && w.queue.is_empty());
        (0..self.workers.len()).filter_map(|worker| self.deadline_of(worker, idle)).min()
    }

    fn deadline_of(&self, id: usize, another_is_idle: bool) -> Option<u64> {
        let worker = &self.workers[id];
        if worker.phase == Phase::Absent {
            return worker.retry_at.filter(|_| self.needs_workers());
        }
        if worker.phase == Phase::Starting {
            return Some(worker.head_since + BOOT_NS);
        }
        if worker.doomed.is_some() {
            return None;
        }
        let limit = self.limit_of(worker).map(|limit| worker.head_since.saturating_add(limit));
        let stall = (another_is_idle && self.can_rebalance(worker)).then(|| worker.head_since + STALL_NS);
        limit.into_iter().chain(stall).min()
    }

    /// How long the head of the queue may take.
    fn limit_of(&self, worker: &Worker) -> Option<u64> {
        let limit = match worker.queue.front()?.what {
            What::Tasks { job, .. } => match self.jobs.get(&job) {
                Some(job) if job.open => job.plan.task_limit_ns,
                _ => Some(ABANDON_NS),
            },
            What::Init { profile } => {
                let wanted = |job: &&Job| job.plan.profile == profile;
                self.jobs.values().filter(wanted).filter_map(|job| job.plan.init_limit_ns).min()
            }
            What::Exit => self.exit_limit_ns,
            What::Resume => None,
        };
        limit.filter(|_| self.mortal)
    }

    /// Whether the worker has tasks that another one could take over.
    fn can_rebalance(&self, worker: &Worker) -> bool {
        let movable = |job: &JobId| self.jobs.get(job).is_some_and(|job| job.open && job.ended);
        !self.order_tasks
            && !worker.recalling
            && worker.takes_orders()
            && worker.tasks() > 1
            && worker.queue.iter().any(|b| matches!(b.what, What::Tasks { job, .. } if movable(&job)))
    }

    // ---- jobs ----

    fn opened(&mut self, id: JobId, plan: Plan, kept: u64) {
        let profile = plan.profile;
        self.retiring = false;
        self.exit_limit_ns = plan.exit_limit_ns.or(self.exit_limit_ns);
        let mut job = Job::new(plan);
        // What is encoded already waits like tasks that came back.
        job.next = kept;
        job.ended = kept > 0;
        job.backlog.extend((0..kept).map(|index| (index, 1)));
        self.jobs.insert(id, job);
        for worker in 0..self.workers.len() {
            if self.workers[worker].phase == Phase::Absent {
                self.start(worker);
                continue;
            }
            self.leave_if_old(worker);
            if self.workers[worker].takes_orders() {
                self.send_init(worker, profile);
            }
        }
    }

    fn sent(&mut self, id: JobId, worker: usize, count: u64) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        let (first, attempt) = match job.backlog.pop_front() {
            Some((index, attempt)) => (index, attempt),
            None => {
                job.next += count;
                (job.next - count, 1)
            }
        };
        job.in_flight += count;
        job.chunks += 1;
        let seat = &mut self.workers[worker];
        seat.push(What::Tasks { job: id, first, count, attempt }, self.now);
        seat.served += count;
        self.leave_if_old(worker);
    }

    /// The next item could not be encoded: it is done without having been sent.
    fn unsendable(&mut self, id: JobId, worker: usize) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.next += 1;
        let (index, unit) = (job.next - 1, self.workers[worker].next_unit);
        self.lose(worker, unit, id, index, 1, Cause::Told);
        self.settle(id);
    }

    fn input_ended(&mut self, id: JobId) {
        if let Some(job) = self.jobs.get_mut(&id) {
            job.ended = true;
        }
        self.settle(id);
    }

    fn close(&mut self, id: JobId) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.open = false;
        job.backlog.clear();
        for worker in 0..self.workers.len() {
            let seat = &self.workers[worker];
            let queued = seat.tasks_of(id);
            if queued > 1 || (queued == 1 && seat.queue.len() > 1) {
                self.recall(worker);
            }
            let seat = &mut self.workers[worker];
            if matches!(seat.queue.front(), Some(Batch { what: What::Tasks { job, .. }, .. }) if *job == id) {
                seat.head_since = self.now;
            }
        }
        self.settle(id);
    }

    /// Says that a job is complete, and forgets it when nothing of it is left.
    fn settle(&mut self, id: JobId) {
        let Some(job) = self.jobs.get(&id) else { return };
        if job.open && job.is_complete() {
            self.actions.push(Action::Complete { job: id });
        }
        if !job.open && job.in_flight == 0 {
            self.jobs.remove(&id);
        }
    }

    // ---- a worker's life ----

    fn start(&mut self, worker: usize) {
        let seat = &mut self.workers[worker];
        *seat = Worker { phase: Phase::Starting, head_since: self.now, ..Worker::absent() };
        self.actions.push(Action::Start { worker });
        let profiles: Vec<u32> =
            self.jobs.values().filter(|job| job.open).map(|job| job.plan.profile).collect();
        for profile in profiles {
            self.send_init(worker, profile);
        }
    }

    fn send_init(&mut self, worker: usize, profile: u32) {
        let seat = &mut self.workers[worker];
        if profile != 0 && !seat.profiles.contains(&profile) {
            seat.profiles.push(profile);
            seat.push(What::Init { profile }, self.now);
            self.actions.push(Action::SendInit { worker, profile });
        }
    }

    fn leave(&mut self, worker: usize) {
        let seat = &mut self.workers[worker];
        if seat.takes_orders() && !seat.recalling {
            seat.push(What::Exit, self.now);
            seat.phase = Phase::Leaving;
            self.actions.push(Action::SendExit { worker });
        }
    }

    fn retire(&mut self) {
        self.retiring = true;
        for worker in 0..self.workers.len() {
            self.leave(worker);
        }
    }

    fn ready(&mut self, worker: usize) {
        let seat = &mut self.workers[worker];
        seat.head_since = self.now;
        if seat.phase == Phase::Starting {
            seat.phase = Phase::Up;
        }
    }

    fn not_started(&mut self, worker: usize) {
        self.give_back_queue(worker, None);
        self.workers[worker] = Worker::absent();
        self.failed_starts += 1;
        self.after_end(worker);
    }

    fn died(&mut self, worker: usize, running: bool) {
        let seat = &mut self.workers[worker];
        let boot = seat.phase == Phase::Starting;
        let head = seat.queue.front().copied();
        let guilty = head.filter(|_| running);
        let doomed = seat.doomed;
        match guilty.map(|batch| (batch, batch.what)) {
            Some((batch, What::Tasks { job, first, attempt, .. })) => {
                let cause = match doomed {
                    Some((unit, limit)) if unit == batch.unit => Cause::TimedOut(limit),
                    _ => Cause::Died,
                };
                // A worker that was killed for another task harmed this one.
                let innocent = doomed.is_some_and(|(unit, _)| unit != batch.unit);
                self.pop_head(worker, 1);
                let spare = self.jobs.get(&job).is_some_and(|job| job.open && attempt <= job.plan.retries);
                if innocent || spare {
                    self.keep(worker, batch.unit, job, first, 1, attempt + u32::from(!innocent));
                } else {
                    self.lose(worker, batch.unit, job, first, attempt, cause);
                }
                self.settle(job);
            }
            Some((_, What::Init { profile })) => {
                self.failed_starts += 1;
                if doomed.is_some() || self.failed_starts >= MOST_FAILED_STARTS {
                    let cause = doomed.map_or(Cause::Died, |(_, limit)| Cause::TimedOut(limit));
                    self.fail_jobs(worker, JobCause::Init(cause), |job| job.plan.profile == profile);
                    self.failed_starts = 0;
                }
            }
            Some((_, What::Exit)) => {
                let cause = doomed.map_or(Cause::Died, |(_, limit)| Cause::TimedOut(limit));
                self.actions.push(Action::ExitLost { worker, cause });
            }
            Some((_, What::Resume)) | None => {}
        }
        if boot {
            self.failed_starts += 1;
        }
        self.give_back_queue(worker, None);
        self.workers[worker] = Worker::absent();
        self.after_end(worker);
    }

    /// A worker is gone: another takes its place if there is work for it.
    fn after_end(&mut self, worker: usize) {
        if self.failed_starts >= MOST_FAILED_STARTS {
            if self.workers.iter().all(|worker| worker.phase == Phase::Absent) {
                self.fail_jobs(worker, JobCause::NotStarted, |_| true);
                self.failed_starts = 0;
            } else {
                let doublings = (self.failed_starts - MOST_FAILED_STARTS).min(10);
                let wait = (BACK_OFF_NS << doublings).min(LONGEST_BACK_OFF_NS);
                self.workers[worker].retry_at = Some(self.now + wait);
            }
        } else if self.needs_workers() {
            self.start(worker);
        }
    }

    fn needs_workers(&self) -> bool {
        !self.retiring && self.jobs.values().any(|job| job.open && !job.is_complete())
    }

    fn fail_jobs(&mut self, worker: usize, cause: JobCause, which: impl Fn(&Job) -> bool) {
        let failed: Vec<JobId> =
            self.jobs.iter().filter(|(_, job)| job.open && which(job)).map(|(id, _)| *id).collect();
        for job in failed {
            self.actions.push(Action::Fail { job, worker, cause });
            self.close(job);
        }
    }

    // ---- a worker's answers ----

    fn done(&mut self, worker: usize, count: u64, pace_ns: u64) {
        let Some(Batch { what: What::Tasks { job: id, .. }, .. }) =
            self.workers[worker].queue.front().copied()
        else {
            return;
        };
        self.failed_starts = 0;
        self.pop_head(worker, count);
        if let Some(job) = self.jobs.get_mut(&id) {
            job.done += count;
            job.held += if job.open { count } else { 0 };
            if pace_ns > 0 {
                let last = job.pace_ns.unwrap_or(pace_ns);
                job.pace_ns = Some(last.midpoint(pace_ns).max(1));
            }
        }
        self.settle(id);
    }

    fn failed(&mut self, worker: usize) {
        let Some(batch) = self.workers[worker].queue.front().copied() else { return };
        match batch.what {
            What::Tasks { job, first, attempt, .. } => {
                self.pop_head(worker, 1);
                self.lose(worker, batch.unit, job, first, attempt, Cause::Told);
                self.settle(job);
            }
            What::Init { profile } => {
                self.pop_head(worker, 0);
                self.workers[worker].profiles.retain(|known| *known != profile);
                let cause = JobCause::Init(Cause::Told);
                self.fail_jobs(worker, cause, |job| job.plan.profile == profile);
            }
            What::Exit | What::Resume => {}
        }
    }

    fn order_done(&mut self, worker: usize) {
        let Some(batch) = self.workers[worker].queue.front().copied() else { return };
        if matches!(batch.what, What::Init { .. }) {
            self.failed_starts = 0;
        }
        self.pop_head(worker, 0);
        if batch.what == What::Resume {
            self.workers[worker].recalling = false;
            if self.retiring {
                self.leave(worker);
            }
            self.leave_if_old(worker);
        }
    }

    /// The head of the queue is answered: `count` of its tasks, or the order that it is.
    fn pop_head(&mut self, worker: usize, count: u64) {
        let seat = &mut self.workers[worker];
        seat.head_since = self.now;
        let Some(head) = seat.queue.front_mut() else { return };
        if let What::Tasks { job, first, count: left, .. } = &mut head.what {
            debug_assert!(count <= *left);
            let id = *job;
            *first += count;
            *left -= count;
            head.unit = head.unit.wrapping_add(count as u32);
            if *left == 0 {
                seat.queue.pop_front();
            }
            if let Some(job) = self.jobs.get_mut(&id) {
                job.in_flight -= count;
            }
        } else {
            seat.queue.pop_front();
        }
    }

    fn lose(&mut self, worker: usize, unit: u32, id: JobId, index: u64, attempts: u32, cause: Cause) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        job.done += 1;
        if job.open {
            job.held += 1;
            self.actions.push(Action::Lose { worker, unit, job: id, index, attempts, cause });
            if job.plan.fail_fast {
                self.close(id);
            }
        }
    }

    /// Tasks that a worker will not do come back to their job.
    fn keep(&mut self, worker: usize, unit: u32, id: JobId, first: u64, count: u64, attempt: u32) {
        let Some(job) = self.jobs.get_mut(&id) else { return };
        if job.open {
            self.actions.push(Action::Keep { worker, unit, job: id, first, count });
            job.backlog.extend((first..first + count).map(|index| (index, attempt)));
        }
    }

    // ---- taking back ----

    fn recall(&mut self, worker: usize) {
        let seat = &mut self.workers[worker];
        if seat.takes_orders() && !seat.recalling {
            seat.recalling = true;
            self.actions.push(Action::Recall { worker });
        }
    }

    fn recalled(&mut self, worker: usize, kept_up_to: u32) {
        if !self.workers[worker].recalling {
            return;
        }
        self.give_back_queue(worker, Some(kept_up_to));
        self.workers[worker].push(What::Resume, self.now);
        self.actions.push(Action::SendResume { worker });
    }

    /// Empties the queue, from this unit on, or whole: open jobs get their tasks back.
    fn give_back_queue(&mut self, worker: usize, from: Option<u32>) {
        let queue = std::mem::take(&mut self.workers[worker].queue);
        let mut jobs = Vec::new();
        for batch in queue {
            let (stays, goes) = match from {
                Some(unit) => batch.split_at(unit),
                None => (None, Some(batch)),
            };
            self.workers[worker].queue.extend(stays);
            let Some(Batch { unit, what: What::Tasks { job, first, count, attempt } }) = goes else {
                continue;
            };
            if let Some(job) = self.jobs.get_mut(&job) {
                job.in_flight -= count;
            }
            self.workers[worker].served = self.workers[worker].served.saturating_sub(count);
            self.keep(worker, unit, job, first, count, attempt);
            jobs.push(job);
        }
        for job in jobs {
            self.settle(job);
        }
    }

    // ---- time ----

    fn tick(&mut self) {
        let idle = self.workers.iter().any(|w| w.takes_orders() && w.queue.is_empty());
        for worker in 0..self.workers.len() {
            if self.deadline_of(worker, idle).is_none_or(|deadline| deadline > self.now) {
                continue;
            }
            let seat = &self.workers[worker];
            if seat.phase == Phase::Absent {
                self.start(worker);
                continue;
            }
            let limit =
                self.limit_of(seat).filter(|limit| seat.head_since.saturating_add(*limit) <= self.now);
            if seat.phase == Phase::Starting || limit.is_some() {
                let unit = seat.queue.front().map_or(0, |batch| batch.unit);
                self.workers[worker].doomed = Some((unit, limit.unwrap_or(BOOT_NS)));
                self.actions.push(Action::Kill { worker });
            } else {
                self.recall(worker);
            }
        }
    }
}

/// What a worker answers next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Head {
    Tasks { unit: u32, job: JobId, first: u64, count: u64 },
    Init { unit: u32 },
    Exit { unit: u32 },
    Resume { unit: u32 },
}

impl Head {
    /// The first unit that is not answered.
    pub(crate) fn unit(self) -> u32 {
        match self {
            Self::Tasks { unit, .. } | Self::Init { unit } | Self::Exit { unit } | Self::Resume { unit } => {
                unit
            }
        }
    }
}
