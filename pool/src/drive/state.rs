//! The state behind the pool's mutex.

mod actions;
mod looks;
mod replies;
mod sleeping;
#[cfg_attr(not(feature = "stream"), path = "state/streams/none.rs")]
mod streams;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actions::PendingStart;
use looks::Looks;
use sleeping::Leader;
use streams::Streams;

use super::Draft;
use super::slot::JobSlot;
use super::wait::{News, Sleep, Waiter};
use super::worker::WorkerHandle;
use crate::error::{Death, DeathCause, Error, TaskError, TaskErrorKind};
use crate::ids::JobId;
use crate::lane::{self, Corrupt, Reply, Spinner, order, padded, reply};
use crate::observe::events::Events;
use crate::observe::insights::{Insights, SlowTask, WorkerInsights, note_slow};
use crate::observe::stderr::{Printed, StderrPipe};
use crate::observe::timeline::{History, Timeline};
use crate::start::{Child, Starter, WorkerSpec};
use crate::supervise::{Action, Cause, Event, Grant, Head, JobCause, Supervisor, Work};
use crate::sys::clock::now_ns;
use crate::sys::memory::OutOfMemory;
use crate::sys::process::{Handle, reap_groups};
use crate::wire::{ChunkHead, Failure, InitOrder, Slow};
use crate::work::{Arrival, Exits, Inbox, Outcome, Plan, TaskFailure};

/// The state of a pool's workers: what profile number stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProfileDef {
    pub(crate) state_type: u64,
    pub(crate) task: u32,
    pub(crate) init: Option<u32>,
    pub(crate) exit: Option<u32>,
}

/// What a sleeper waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Awaits {
    /// Arrivals for this job, or room for its items.
    Job(JobId),
    /// What the courier is to deliver: arrivals, or news for a stream; or that there is nothing more for it.
    Background,
    /// Anything after the event of this number.
    Change { since: u64 },
}

/// How a pool keeps its workers.
#[derive(Debug, Clone, Copy)]
pub(crate) struct WorkerPolicy {
    /// They stay when no job is open.
    pub(crate) keep_alive: bool,
    /// How many bytes one may hold between tasks.
    pub(crate) memory_limit: Option<u64>,
    /// Somebody wants to know what they did.
    pub(crate) insights: bool,
    /// They are processes that may have pools of their own.
    pub(crate) nests: bool,
    /// What they print to stderr is passed on with its control characters.
    pub(crate) raw_stderr: bool,
}

pub(crate) struct State {
    leader: Option<Leader>,
    /// What those sleep for who sleep on the condition variable.
    followers: Vec<Awaits>,
    /// How many events the supervisor has been told of.
    changes: u64,
    /// How many there had been before the last sleep.
    slept_after: u64,
    /// How long the parent sleeps at most while workers are busy.
    sleep_ns: u64,
    /// What is to be told when no lock is held.
    events: Events,
    supervisor: Supervisor,
    posts: Vec<Option<WorkerHandle>>,
    coming: Vec<PendingStart>,
    /// What workers did that are gone, by their numbers.
    past: Vec<WorkerInsights>,
    slowest: Vec<SlowTask>,
    /// Where somebody wants insights.
    history: Option<History>,
    jobs: BTreeMap<JobId, Box<JobSlot>>,
    streams: Streams,
    next_job: JobId,
    profiles: Vec<ProfileDef>,
    starter: Box<dyn Starter>,
    waiter: Arc<Waiter>,
    cpus: Vec<Vec<usize>>,
    pub(crate) exits: Exits,
    pub(crate) exit_error: Option<TaskError>,
    start_error: Option<Error>,
    /// Why no worker can be started, as one of those that were to start together has shown.
    unfit: Option<Error>,
    last_death: Death,
    /// What the worker printed before it.
    stderr_tail: Option<String>,
    actions: Vec<Action>,
    /// What carrying out actions has led to: the supervisor hears of it when all of them are carried out.
    consequences: VecDeque<Event>,
    scratch: Vec<u8>,
    draft: Draft,
    pub(crate) closed: bool,
    upkeep: WorkerPolicy,
    out_of_memory: OutOfMemory,
    /// Workers that were killed and do not end, and the jobs that were open then.
    given_up: Vec<(Arc<Handle>, Vec<JobId>)>,
    /// The program has closed the pool's descriptors.
    lost: bool,
    /// Workers were told to end.
    ending: bool,
    /// Workers whose ends were signalled.
    exited: Vec<usize>,
    /// Workers that have printed what was not taken yet.
    readable: Vec<usize>,
    printed: Printed,
    looked_at: Looks,
    /// When the state was locked last: the time of all that is done under that lock.
    now: u64,
    /// Until when somebody watched the workers: took in what had happened, or slept on the poll set.
    watched_until: u64,
    cpus_to_use: usize,
    /// How long the workers were told that they may spin.
    spinning: u32,
    spinner: Spinner,
}

/// How long workers that have nothing to do may take to leave, all together, when a pool is dropped.
const MOMENT: Duration = Duration::from_millis(500);

/// How long both sides spin before they sleep, where a core is free for it: about one wake-up.
const SPIN_NS: u32 = 50_000;

impl State {
    pub(crate) fn new(
        supervisor: Supervisor,
        starter: Box<dyn Starter>,
        waiter: Arc<Waiter>,
        cpus: Vec<Vec<usize>>,
        upkeep: WorkerPolicy,
    ) -> Self {
        Self {
            leader: None,
            followers: Vec::new(),
            changes: 0,
            events: Events::default(),
            slept_after: 0,
            sleep_ns: 0,
            supervisor,
            posts: cpus.iter().map(|_| None).collect(),
            coming: Vec::new(),
            slowest: Vec::new(),
            history: upkeep.insights.then(|| History::new(cpus.len(), now_ns())),
            past: vec![WorkerInsights::default(); cpus.len()],
            jobs: BTreeMap::new(),
            streams: Streams::default(),
            next_job: 0,
            profiles: Vec::new(),
            starter,
            waiter,
            cpus,
            exits: Exits::default(),
            exit_error: None,
            start_error: None,
            unfit: None,
            last_death: Death::new(DeathCause::Unknown),
            stderr_tail: None,
            actions: Vec::new(),
            consequences: VecDeque::new(),
            scratch: Vec::new(),
            draft: Draft::default(),
            closed: false,
            upkeep,
            out_of_memory: OutOfMemory::default(),
            given_up: Vec::new(),
            lost: false,
            ending: false,
            exited: Vec::new(),
            readable: Vec::new(),
            printed: Printed::default(),
            looked_at: Looks::default(),
            now: now_ns(),
            watched_until: 0,
            cpus_to_use: crate::cpu_count(),
            spinning: 0,
            spinner: Spinner::default(),
        }
    }

    pub(super) fn watched_until(&self) -> u64 {
        self.watched_until
    }

    pub(super) fn note_time(&mut self, now: u64) {
        self.now = self.now.max(now);
    }

    pub(super) fn take_events(&mut self) -> Events {
        std::mem::take(&mut self.events)
    }

    pub(super) fn supervisor(&mut self) -> &mut Supervisor {
        &mut self.supervisor
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.supervisor.is_idle()
    }

    /// Whether the job is open, or a worker may still be at a task of it, be it inside the kernel.
    pub(super) fn is_at_work_on(&self, job: JobId) -> bool {
        self.supervisor.knows(job) || self.given_up.iter().any(|(_, jobs)| jobs.contains(&job))
    }

    /// Whether the workers were told to end, and no call has come since.
    pub(crate) fn is_ending(&self) -> bool {
        self.ending
    }

    pub(crate) fn is_at_rest(&self) -> bool {
        self.supervisor.is_at_rest()
    }

    /// The number of a worker state, the same for the same functions.
    pub(crate) fn profile(&mut self, wanted: ProfileDef) -> u32 {
        let same = |known: &ProfileDef| ProfileDef { task: wanted.task, ..*known } == wanted;
        let place = self.profiles.iter().position(same).unwrap_or_else(|| {
            self.profiles.push(wanted);
            self.profiles.len() - 1
        });
        place as u32 + 1
    }

    // ---- jobs ----

    pub(super) fn open(
        &mut self,
        mut slot: Box<JobSlot>,
        plan: Plan,
        items: Vec<Vec<u8>>,
    ) -> Result<JobId, Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        if self.lost {
            return Err(Error::DescriptorsClosed);
        }
        if self.supervisor.is_at_rest() {
            self.starter.refresh();
        }
        self.start_error = None;
        self.ending = false;
        self.next_job = self.next_job.wrapping_add(1);
        let job = self.next_job;
        let kept = items.len() as u64;
        slot.kept = (0..kept).zip(items).collect();
        if let Some(history) = &mut self.history {
            history.opened(job, slot.task, slot.task_name, self.now);
        }
        self.jobs.insert(job, slot);
        self.handle(Event::Opened { job, plan: Box::new(plan), kept });
        Ok(job)
    }

    pub(crate) fn close(&mut self, job: JobId) {
        if self.jobs.remove(&job).is_some() {
            self.look_at_the_end();
            if let Some(history) = &mut self.history {
                history.closed(job, self.now);
            }
            self.handle(Event::Closed { job });
            if !self.upkeep.keep_alive && self.jobs.is_empty() {
                self.retire();
            }
        }
    }

    /// Ends every job that a caller waits for.
    pub(crate) fn cancel_all(&mut self, error: &Error) {
        let jobs: Vec<JobId> = self.jobs.keys().copied().collect();
        for job in jobs {
            self.cancel(job, error.clone());
        }
    }

    pub(crate) fn cancel(&mut self, job: JobId, error: Error) {
        let Some(slot) = self.jobs.get_mut(&job) else { return };
        if slot.inbox.end.is_none() {
            slot.inbox.end = Some(Err(error));
            slot.cancelled = true;
            self.handle(Event::Closed { job });
        }
    }

    /// The caller has taken so many results of the job, of so many bytes.
    pub(crate) fn taken(&mut self, job: JobId, count: u64, bytes: u64) {
        if count > 0 {
            self.handle(Event::Taken { job, count, bytes });
        }
    }

    pub(super) fn end_input(&mut self, job: JobId) {
        self.handle(Event::InputEnded { job });
    }

    pub(super) fn note_hunger(&mut self, job: JobId, hungry: bool) {
        if let Some(slot) = self.jobs.get_mut(&job) {
            slot.hungry = hungry;
        }
    }

    /// Swaps the job's inbox with an empty one.
    pub(crate) fn take_inbox(&mut self, job: JobId, empty: &mut Inbox) {
        debug_assert!(empty.is_empty());
        if let Some(slot) = self.jobs.get_mut(&job) {
            std::mem::swap(&mut slot.inbox, empty);
            if empty.end.is_some() {
                self.look_at_the_end();
            }
        } else {
            empty.end = Some(Err(Error::Closed));
        }
    }

    /// What it takes to send the worker items of the job.
    pub(super) fn outlet(
        &mut self,
        worker: usize,
        job: JobId,
    ) -> Option<(&mut WorkerHandle, &mut JobSlot, &mut Draft)> {
        Some((self.posts[worker].as_mut()?, self.jobs.get_mut(&job)?, &mut self.draft))
    }

    /// Sends a task whose bytes were kept.
    pub(super) fn send_kept(&mut self, job: JobId, Grant { worker, work }: Grant) {
        let Work::Again { index, .. } = work else { return };
        let Some(slot) = self.jobs.get_mut(&job) else { return };
        let head = slot.head(index, 1);
        let item = slot.kept.remove(&index).unwrap_or_default();
        self.send_alone(job, worker, head, item);
    }

    /// Sends a chunk of one encoded item.
    pub(super) fn send_alone(&mut self, job: JobId, worker: usize, head: ChunkHead, item: Vec<u8>) {
        if let Some(post) = &mut self.posts[worker] {
            post.send_item(head, item);
            self.supervisor.block(worker, !post.is_clear());
        }
        self.handle(Event::Sent { job, worker, count: 1 });
    }

    /// An item of the job could not be encoded.
    pub(super) fn unsendable(&mut self, job: JobId, worker: usize, why: String) {
        if let Some(post) = &mut self.posts[worker] {
            post.told = Some(Failure::Encode(why).cut());
        }
        self.handle(Event::Unsendable { job, worker });
    }

    /// Tells the worker what there is for it, and takes what it has sent by now.
    pub(super) fn exchange(&mut self, worker: usize) {
        if let Some(post) = &mut self.posts[worker] {
            post.lane.wake_worker();
        }
        self.drain(worker);
    }

    pub(super) fn ring_all(&mut self) {
        self.let_spin();
        for post in self.posts.iter_mut().flatten() {
            post.lane.wake_worker();
        }
    }

    // ---- one turn of the wheel ----

    /// Takes in all that has happened, and does what follows.
    pub(crate) fn drive(&mut self) {
        for worker in 0..self.posts.len() {
            self.drain(worker);
        }
        self.watched_until = self.now;
        self.run_checks(self.now);
        if self.supervisor.deadline().is_some_and(|deadline| deadline <= self.now) {
            self.look_at_panics();
            self.handle(Event::Tick);
        }
        for worker in 0..self.posts.len() {
            let Some(post) = &mut self.posts[worker] else { continue };
            post.flush();
            self.supervisor.block(worker, !post.is_clear());
            if post.recall_wanted
                && post.is_clear()
                && let Some(recalled) = self.recall(worker)
            {
                self.handle(recalled);
            }
        }
        for job in self.supervisor.with_backlog() {
            while let Some(grant) =
                self.supervisor.grant(job).filter(|g| matches!(g.work, Work::Again { .. }))
            {
                self.send_kept(job, grant);
            }
        }
    }

    /// Tells the supervisor, does what it says, and tells it what that led to.
    pub(super) fn handle(&mut self, event: Event) {
        // The buffer is kept for its memory.
        let mut actions = std::mem::take(&mut self.actions);
        let mut event = Some(event);
        while let Some(next) = event.take().or_else(|| self.consequences.pop_front()) {
            self.changes += 1;
            self.supervisor.handle(next, self.now, &mut actions);
            self.carry_out(&mut actions);
        }
        self.actions = actions;
    }

    /// The worker is gone: its process is reaped, its lane unmapped.
    fn forget(&mut self, worker: usize) {
        if let Some(post) = self.posts[worker].take() {
            self.past[worker].add(&post.insights());
        }
    }

    /// What workers have done so far.
    pub(crate) fn insights(&self) -> Insights {
        let mut workers = self.past.clone();
        for (worker, post) in workers.iter_mut().zip(&self.posts) {
            worker.add(&post.as_ref().map(WorkerHandle::insights).unwrap_or_default());
        }
        Insights { workers, slowest: self.slowest.clone() }
    }

    /// What they did when.
    pub(crate) fn timeline(&self) -> Timeline {
        let Some(history) = &self.history else { return Timeline::default() };
        let now = now_ns();
        let track = |post: &Option<WorkerHandle>| post.as_ref()?.track.as_ref().map(|track| track.read(now));
        history.timeline(self.posts.iter().map(|post| track(post).unwrap_or_default()), now)
    }

    // ---- the end ----

    /// All workers end when they have done what they have; exit functions run.
    pub(crate) fn retire(&mut self) {
        self.ending = true;
        self.handle(Event::Retire);
    }

    /// All workers end now: those that have something to do are killed, the others leave. Waits for both, for user code no
    /// longer than a moment.
    pub(crate) fn terminate(&mut self) {
        self.closed = true;
        for worker in 0..self.posts.len() {
            // Who has answered everything has nothing to do.
            self.drain(worker);
        }
        let may_leave: Vec<bool> =
            (0..self.posts.len()).map(|worker| self.supervisor.may_leave(worker)).collect();
        self.cancel_all(&Error::Closed);
        for (post, may_leave) in self.posts.iter_mut().zip(may_leave) {
            let Some(post) = post else { continue };
            match &mut post.child {
                Child::Process(process) if post.corrupt || !may_leave => process.kill(),
                Child::Process(_) | Child::Thread(_) => post.lane.close(),
            }
        }
        let end = Instant::now() + MOMENT;
        for post in self.posts.iter_mut().flatten() {
            if let Child::Process(process) = &mut post.child
                && process.reap_within(end.saturating_duration_since(Instant::now())).is_none()
            {
                process.kill();
            }
        }
        for (worker, post) in self.posts.iter_mut().enumerate() {
            let Some(WorkerHandle { stderr, log, .. }) = post.take() else { continue };
            stderr.map(|mut stderr| self.printed.take_last(&mut stderr));
            log.map(|mut log| log.take(|record| self.events.logged(worker, record)));
        }
        reap_groups();
    }
}
