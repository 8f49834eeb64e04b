//! The state behind the pool's mutex. Each of its parts is changed through its own methods. This folder connects them,
//! and no other file opens its fields. This file has what calls ask for, and a turn; the others carry out what the
//! supervisor decides, take in replies, see to ends, run checks, and let callers sleep.

mod actions;
mod checks;
mod ends;
mod replies;
mod size;
mod sleep;

use std::sync::Arc;

use super::checks::Checks;
use super::clock::Clock;
use super::jobs::{Job, Jobs};
use super::poller::Poller;
use super::sleepers::Sleepers;
use super::spin::Spin;
use super::streams::Streams;
use super::worker::WorkerHandle;
use super::workers::Workers;
use crate::error::Error;
use crate::ids::{JobId, TaskIndex, WorkerId};
use crate::observe::Observer;
use crate::observe::events::Events;
use crate::observe::insights::Insights;
use crate::observe::stats::Stats;
use crate::observe::timeline::Timeline;
use crate::supervise::{Action, Event, Grant, Head, Supervisor, Work};
use crate::wire::{ChunkHead, Failure};
use crate::work::{Asked, Exits, Inbox, JobSpec, Unsent};

/// While this many calls in the background have items to send, others are gathered and not opened: each turn looks at
/// all that have. They hold enough tasks for all workers.
const BACKED_UP: usize = 8;

/// Why a task that nobody wants is not sent. Nobody gets to see it.
pub(super) const DROPPED: &str = "it was cancelled";

pub(super) struct State {
    supervisor: Supervisor,
    jobs: Jobs,
    workers: Workers,
    sleepers: Sleepers,
    streams: Streams,
    checks: Checks,
    observer: Observer,
    spin: Spin,
    clock: Clock,
    poller: Arc<Poller>,
    /// Empty between events; kept for its memory.
    actions: Vec<Action>,
    /// Empty between turns; kept for its memory.
    active: Vec<WorkerId>,
    /// The background driver is to take a turn.
    is_summoned: bool,
    /// It waits until calls in the background have sent their items.
    is_holding: bool,
    /// Workers were told to shut down, and no call was opened since.
    is_shutting_down: bool,
}

impl State {
    pub(super) fn new(supervisor: Supervisor, workers: Workers, poller: Arc<Poller>) -> Self {
        Self {
            observer: Observer::new(workers.len(), workers.policy()),
            supervisor,
            jobs: Jobs::default(),
            workers,
            sleepers: Sleepers::default(),
            streams: Streams::default(),
            checks: Checks::default(),
            spin: Spin::new(crate::sys::cpu::cpu_count()),
            clock: Clock::new(),
            poller,
            actions: Vec::new(),
            active: Vec::new(),
            is_summoned: false,
            is_holding: false,
            is_shutting_down: false,
        }
    }

    // ---- access to the parts ----

    pub(super) fn advance_to(&mut self, now: u64) {
        self.clock.advance_to(now);
    }

    pub(super) fn watched_until(&self) -> u64 {
        self.clock.watched_until()
    }

    pub(super) fn take_events(&mut self) -> Events {
        self.observer.take_events()
    }

    pub(super) fn exits(&mut self) -> &mut Exits {
        self.workers.exits()
    }

    pub(super) fn insights(&self) -> Insights {
        self.workers.insights(&self.observer)
    }

    pub(super) fn stats(&self) -> Stats {
        self.workers.stats(&self.observer, &self.supervisor.census())
    }

    pub(super) fn timeline(&self) -> Timeline {
        self.workers.timeline(&self.observer)
    }

    /// Notes that a caller takes a turn.
    pub(super) fn note_caller(&mut self) {
        self.sleepers.drives(self.clock.now());
    }

    /// Has starts that the background thread may not go on with wait for a caller, if any comes back.
    pub(super) fn expect_caller(&mut self) {
        self.workers.expect_caller(self.jobs.any_with_caller());
    }

    pub(super) fn grant(&self, job: JobId) -> Option<Grant> {
        self.supervisor.grant(job)
    }

    pub(super) fn job_mut(&mut self, job: JobId) -> Option<&mut Job> {
        self.jobs.get_mut(job)
    }

    /// The parts needed to send items of the call to the worker.
    pub(super) fn parts_to_send(
        &mut self,
        worker: WorkerId,
        job: JobId,
    ) -> Option<(&mut WorkerHandle, &mut Job)> {
        let (spin_ns, asleep) = (self.spin.allowed_ns(), self.sleepers.has_leader());
        let handle = self.workers.get_to_send(worker, spin_ns, asleep)?;
        Some((handle, self.jobs.get_mut(job)?))
    }

    // ---- calls ----

    pub(super) fn open(&mut self, mut spec: JobSpec) -> Result<JobId, Error> {
        if self.checks.lost_descriptors() && !self.jobs.is_closed_for_good() {
            return Err(Error::DescriptorsClosed);
        }
        if spec.plan.each_worker.is_some() {
            spec.plan.total = Some(self.size() as u64);
        }
        let (job, plan) = self.jobs.open(spec)?;
        self.workers.prepare(self.supervisor.all_ended());
        self.is_shutting_down = false;
        if let Some(open) = self.jobs.get(job) {
            self.observer.job_opened(job, open.task(), open.site(), self.clock.now());
        }
        self.handle(Event::Opened { job, plan });
        Ok(job)
    }

    pub(super) fn close(&mut self, job: JobId) {
        let has_constant = self.jobs.get(job).is_some_and(|open| open.constant().is_some());
        if self.jobs.close(job) {
            self.stop_holding();
            self.flush_output();
            self.observer.job_closed(job, self.clock.now());
            self.handle(Event::Closed { job });
            if has_constant {
                self.workers.iter_mut().for_each(|handle| handle.forget(job));
            }
            if !self.workers.policy().keep_alive && self.jobs.is_empty() {
                self.shut_down();
            }
        }
    }

    /// Ends the open calls that have a caller.
    pub(super) fn close_forgotten(&mut self) {
        for job in self.jobs.ids() {
            if self.jobs.has_caller(job) {
                self.close(job);
            }
        }
    }

    /// Lets no further call be opened.
    pub(super) fn refuse_calls(&mut self) {
        self.jobs.refuse();
    }

    /// Ends every open call with this error.
    pub(super) fn cancel_all(&mut self, error: &Error) {
        for job in self.jobs.ids() {
            self.cancel(job, error.clone());
        }
    }

    pub(super) fn cancel(&mut self, job: JobId, error: Error) {
        if self.jobs.cancel(job, error) {
            self.handle(Event::Closed { job });
        }
    }

    /// Reports that the caller has taken `count` results of the call, with this many bytes.
    pub(super) fn report_taken(&mut self, job: JobId, count: u64, bytes: u64) {
        if count > 0 {
            self.handle(Event::Taken { job, count, bytes });
        }
    }

    pub(super) fn end_input(&mut self, job: JobId) {
        self.handle(Event::InputEnded { job });
    }

    /// Notes that the background driver is there. Returns whether so many calls in the background have items to send
    /// that more of them would not be sent sooner. Then it is summoned once that has changed.
    pub(super) fn answer_summons(&mut self) -> bool {
        self.is_summoned = false;
        self.is_holding = self.jobs.background_with_items() >= BACKED_UP;
        self.is_holding
    }

    /// Summons the background driver if it waits for items to be sent that are.
    fn stop_holding(&mut self) {
        if self.is_holding && self.jobs.background_with_items() < BACKED_UP {
            self.is_holding = false;
            self.is_summoned = true;
        }
    }

    pub(super) fn summon_background(&mut self) {
        self.is_summoned = true;
    }

    /// Removes and returns the calls in the background that may have new results.
    pub(super) fn take_background_news(&mut self) -> Vec<JobId> {
        self.jobs.take_background_news()
    }

    /// Drops a task that nobody wants any more.
    pub(super) fn drop_task(&mut self, job: JobId, index: TaskIndex) {
        if let Some(open) = self.jobs.get_mut(job) {
            open.drop_task(index);
            self.handle(Event::Dropped { job, index });
        }
    }

    /// Tries the task again about which the caller was asked, or ends it, as the caller has decided.
    pub(super) fn decide(&mut self, job: JobId, asked: Asked, tries_again: bool) {
        let Asked { index, worker, mut failure, shows_item } = asked;
        if !self.supervisor.is_undecided(job, index) {
            return;
        }
        let Some(open) = self.jobs.get_for_news(job) else { return };
        let (tries_again, bytes) = (tries_again && !open.is_dropped(index), failure.bytes);
        if tries_again {
            failure.item.take().into_iter().for_each(|item| open.retain(index, item));
            open.put_attempts(index, failure.earlier, failure.kind);
            self.workers.get_mut(worker).into_iter().for_each(WorkerHandle::count_retry);
        } else {
            failure.item.take_if(|_| !shows_item);
            if !open.is_dropped(index) {
                self.observer.task_failed(&failure.kind);
            }
            open.inbox.push_failure(index, worker, *failure);
        }
        self.handle(Event::Decided { job, index, tries_again, bytes });
        // What is to be sent again is sent in the next turn of whoever drives.
        self.is_summoned = true;
    }

    /// How much of what the call has submitted was not sent yet. None if it is closed.
    pub(super) fn unsent(&self, job: JobId) -> Option<Unsent> {
        let of = |job: &Job| Unsent { items: job.items.len(), bytes: job.items.bytes() };
        self.jobs.get(job).map(of)
    }

    /// Starts the workers that the call's items want.
    pub(super) fn set_waiting(&mut self, job: JobId) {
        let items = self.jobs.get(job).map_or(0, Job::waiting);
        if self.supervisor.set_waiting(job, items) {
            self.handle(Event::Wanted);
        }
    }

    /// Whether tasks of the call are on a worker that is still being started.
    pub(super) fn awaits_start(&self, job: JobId) -> bool {
        self.supervisor.awaits_start(job)
    }

    /// Notes how many items the call has left to send.
    pub(super) fn note_items(&mut self, job: JobId) {
        self.jobs.count_items(job);
        let items = self.jobs.get(job).map_or(0, Job::waiting);
        // These want no more workers than they did before some of them were sent.
        let _ = self.supervisor.set_waiting(job, items);
        self.stop_holding();
    }

    /// Swaps the call's inbox with an empty one, and closes the call if it has ended. But one whose results are folded
    /// is closed by its caller, because workers go on to fold them.
    pub(super) fn take_inbox(&mut self, job: JobId, empty: &mut Inbox) {
        self.jobs.take_inbox(job, empty);
        if empty.end.is_some() && !self.supervisor.folds(job) {
            self.close(job);
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.supervisor.is_idle()
    }

    /// Whether this thread is one of the workers.
    pub(super) fn is_own_thread(&self) -> bool {
        self.workers.iter().any(WorkerHandle::is_this_thread)
    }

    /// Whether the call is open, or a worker may still run a task of it, even one that is stuck in the kernel.
    pub(super) fn is_at_work_on(&self, job: JobId) -> bool {
        self.supervisor.knows(job) || self.workers.is_stuck_on(job)
    }

    // ---- orders ----

    /// Reports that `count` tasks of a chunk were sent.
    pub(super) fn report_sent(&mut self, job: JobId, worker: WorkerId, count: u64) {
        self.handle(Event::Sent { job, worker, count });
    }

    /// Sends a task whose encoded item was retained, or that is assigned to this worker.
    pub(super) fn send_retained(&mut self, job: JobId, worker: WorkerId, index: TaskIndex) {
        let Some((handle, slot)) = self.parts_to_send(worker, job) else { return };
        if slot.is_dropped(index) {
            drop(slot.take_retained(index));
            return self.report_unsendable(job, worker, DROPPED.into());
        }
        if !handle.has_space_for_item(slot.retained_len(index)) {
            return self.block(worker);
        }
        let head = slot.head(index, 1);
        match slot.take_retained(index) {
            Ok(item) => {
                handle.provide(job, slot.constant());
                self.send_alone(job, worker, head, item);
            }
            Err(why) => self.report_unsendable(job, worker, why),
        }
    }

    /// Sends a chunk of one encoded item.
    pub(super) fn send_alone(&mut self, job: JobId, worker: WorkerId, head: ChunkHead, item: Vec<u8>) {
        if let Some(handle) = self.get_to_send(worker) {
            handle.send_item(head, item);
            let blocked = !handle.is_clear();
            self.supervisor.block(worker, blocked);
        }
        self.report_sent(job, worker, 1);
    }

    /// Stops granting chunks to a worker whose lane has no space.
    pub(super) fn block(&mut self, worker: WorkerId) {
        self.supervisor.block(worker, true);
    }

    /// Reports that the next item of the call could not be encoded, or was not kept.
    pub(super) fn report_unsendable(&mut self, job: JobId, worker: WorkerId, why: String) {
        if let Some(handle) = self.workers.get_mut(worker) {
            handle.set_reported(Failure::Encode(why).cut());
        }
        self.handle(Event::Unsendable { job, worker });
    }

    /// The worker's handle, to send it orders.
    fn get_to_send(&mut self, worker: WorkerId) -> Option<&mut WorkerHandle> {
        let (spin_ns, asleep) = (self.spin.allowed_ns(), self.sleepers.has_leader());
        self.workers.get_to_send(worker, spin_ns, asleep)
    }

    /// Wakes the worker for its new orders, and takes its replies so far.
    pub(super) fn exchange(&mut self, worker: WorkerId) {
        if let Some(handle) = self.workers.get_mut(worker) {
            handle.wake();
        }
        self.drain(worker);
    }

    /// Wakes the workers that sleep and have something to do, and updates how long they may spin.
    pub(super) fn wake_workers(&mut self) {
        let active = self.supervisor.active();
        self.spin.allow(self.supervisor.busy(), &mut self.workers, active);
        self.workers.each(active, WorkerHandle::wake);
    }

    // ---- one turn ----

    /// Takes the replies of workers, runs the checks that are due, and sends what can be sent. Looks only at workers
    /// that something is expected from. [`run_checks`](Self::run_checks) looks at the others now and then.
    pub(super) fn drive(&mut self) {
        let mut active = std::mem::take(&mut self.active);
        active.extend_from_slice(self.supervisor.active());
        for &worker in &active {
            self.drain(worker);
        }
        self.clock.mark_watched();
        self.run_checks(self.clock.now(), &active);
        if self.supervisor.deadline().is_some_and(|deadline| deadline <= self.clock.now()) {
            self.note_folded();
            self.check_panicked();
            self.check_cpu_time();
            self.handle(Event::Tick);
        }
        for job in self.jobs.take_overdue(self.clock.now()) {
            self.cancel(job, Error::DeadlineExceeded);
        }
        for worker in active.drain(..) {
            let Some(handle) = self.workers.get_mut(worker) else { continue };
            handle.flush();
            self.supervisor.block(worker, !handle.is_clear());
            if handle.is_recall_due()
                && let Some(kept_up_to) = handle.recall()
            {
                self.handle(Event::Recalled { worker, kept_up_to });
            }
        }
        self.active = active;
        while let Some((job, Grant { worker, work: Work::Again { index, .. } })) =
            self.supervisor.grant_again()
        {
            self.send_retained(job, worker, index);
        }
        let mut last = None;
        while let Some(job) = self.jobs.next_with_items(last) {
            last = Some(job);
            self.feed(job);
        }
    }
}
