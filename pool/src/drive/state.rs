//! The state behind the pool's mutex. Each of its parts is changed through its own methods. This file connects them: it
//! reports events to the supervisor and carries out its actions.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::Waker;
use std::time::Duration;

use nix::libc;

use super::Gap;
use super::checks::{Checks, MEMORY_CHECK_NS, SHOW_NS};
use super::clock::Clock;
use super::feed::Scratch;
use super::jobs::{Job, Jobs};
use super::poller::{News, Poller, Sleep};
use super::sleepers::{Awaits, MAX_SLEEP_NS, Sleepers};
use super::spin::Spin;
use super::streams::Streams;
use super::worker::{Answers, ExitReply, OrderReply, WorkerHandle};
use super::workers::Workers;
use crate::error::{EndNotes, Error};
use crate::ids::{JobId, TaskIndex, Unit, WorkerId};
use crate::lane::{self, Corrupt, order};
use crate::observe::Observer;
use crate::observe::events::Events;
use crate::observe::insights::{Insights, SlowTask};
use crate::observe::timeline::Timeline;
use crate::supervise::{Action, Event, Grant, Head, Supervisor, Work};
use crate::sys::clock::now_ns;
use crate::wire::{ChunkHead, Failure, Slow};
use crate::work::{Exits, Inbox, JobSpec, TaskFailure};

/// The limit of a patient sleep, in which results wait for others so that one wake-up serves many: long compared with a
/// wake-up, and too short for a user to notice.
const PATIENCE_NS: u64 = 2_000_000;

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
    scratch: Scratch,
    /// Empty between events; kept for its memory.
    actions: Vec<Action>,
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
            scratch: Scratch::default(),
            actions: Vec::new(),
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

    pub(super) fn timeline(&self) -> Timeline {
        self.workers.timeline(&self.observer)
    }

    pub(super) fn grant(&self, job: JobId) -> Option<Grant> {
        self.supervisor.grant(job)
    }

    /// The parts needed to send items of the call to the worker.
    pub(super) fn parts_to_send(
        &mut self,
        worker: WorkerId,
        job: JobId,
    ) -> Option<(&mut WorkerHandle, &mut Job, &mut Scratch)> {
        Some((self.workers.get_mut(worker)?, self.jobs.get_mut(job)?, &mut self.scratch))
    }

    // ---- calls ----

    pub(super) fn open(&mut self, spec: JobSpec) -> Result<JobId, Error> {
        if self.checks.lost_descriptors() && !self.jobs.is_closed_for_good() {
            return Err(Error::DescriptorsClosed);
        }
        let task = spec.task;
        let (job, plan, encoded) = self.jobs.open(spec)?;
        self.workers.prepare(self.supervisor.all_ended());
        self.is_shutting_down = false;
        self.observer.job_opened(job, task, self.clock.now());
        self.handle(Event::Opened { job, plan: Box::new(plan), encoded });
        Ok(job)
    }

    pub(super) fn close(&mut self, job: JobId) {
        if self.jobs.close(job) {
            self.flush_output();
            self.observer.job_closed(job, self.clock.now());
            self.handle(Event::Closed { job });
            if !self.workers.policy().keep_alive && self.jobs.is_empty() {
                self.shut_down();
            }
        }
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

    /// Sets whether the caller has items that no worker can take now.
    pub(super) fn set_has_items(&mut self, job: JobId, has_items: bool) {
        if let Some(job) = self.jobs.get_mut(job) {
            job.has_items = has_items;
        }
    }

    /// Swaps the call's inbox with an empty one.
    pub(super) fn take_inbox(&mut self, job: JobId, empty: &mut Inbox) {
        let is_open = self.jobs.get(job).is_some();
        self.jobs.take_inbox(job, empty);
        if is_open && empty.end.is_some() {
            self.flush_output();
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.supervisor.is_idle()
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

    /// Sends a task whose encoded item was retained.
    pub(super) fn send_retained(&mut self, job: JobId, worker: WorkerId, index: TaskIndex) {
        let Some(slot) = self.jobs.get_mut(job) else { return };
        let head = slot.head(index, 1);
        match slot.take_retained(index) {
            Some(item) => self.send_alone(job, worker, head, item),
            None => {
                let why = "there was no memory to keep it when its worker gave it back";
                self.report_unsendable(job, worker, why.into());
            }
        }
    }

    /// Sends a chunk of one encoded item.
    pub(super) fn send_alone(&mut self, job: JobId, worker: WorkerId, head: ChunkHead, item: Vec<u8>) {
        if let Some(handle) = self.workers.get_mut(worker) {
            handle.send_item(head, item);
            self.supervisor.block(worker, !handle.is_clear());
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

    /// Wakes the worker for its new orders, and takes its replies so far.
    pub(super) fn exchange(&mut self, worker: WorkerId) {
        if let Some(handle) = self.workers.get_mut(worker) {
            handle.wake();
        }
        self.drain(worker);
    }

    /// Wakes the workers that sleep and have something to do, and updates how long they may spin.
    pub(super) fn wake_workers(&mut self) {
        self.spin.allow(self.supervisor.busy(), &self.workers);
        self.workers.iter_mut().for_each(WorkerHandle::wake);
    }

    // ---- one turn ----

    /// Takes the replies of all workers, runs the checks that are due, and sends what can be sent.
    pub(super) fn drive(&mut self) {
        for worker in self.workers.ids() {
            self.drain(worker);
        }
        self.clock.mark_watched();
        self.run_checks(self.clock.now());
        if self.supervisor.deadline().is_some_and(|deadline| deadline <= self.clock.now()) {
            self.check_panicked();
            self.handle(Event::Tick);
        }
        for worker in self.workers.ids() {
            let Some(handle) = self.workers.get_mut(worker) else { continue };
            handle.flush();
            self.supervisor.block(worker, !handle.is_clear());
            if handle.is_recall_due()
                && let Some(kept_up_to) = handle.recall()
            {
                self.handle(Event::Recalled { worker, kept_up_to });
            }
        }
        for job in self.supervisor.with_backlog() {
            while let Some(Grant { worker, work: Work::Again { index, .. } }) = self.supervisor.grant(job) {
                self.send_retained(job, worker, index);
            }
        }
    }

    /// Reports an event to the supervisor and carries out its actions, then the same for the events that these cause.
    fn handle(&mut self, event: Event) {
        let (mut next, mut consequences) = (Some(event), VecDeque::new());
        let mut actions = std::mem::take(&mut self.actions);
        while let Some(event) = next.take().or_else(|| consequences.pop_front()) {
            self.sleepers.count_event();
            self.supervisor.handle(event, self.clock.now(), &mut actions);
            if actions.is_empty() {
                continue;
            }
            for action in actions.drain(..) {
                // Consecutive starts stay pending together, so that these workers boot side by side.
                if !matches!(action, Action::Start { .. }) {
                    self.finish_starts(&mut consequences);
                }
                consequences.extend(self.carry_out(action));
            }
            self.finish_starts(&mut consequences);
            self.workers.allow_starts();
        }
        self.actions = actions;
    }

    fn finish_starts(&mut self, consequences: &mut VecDeque<Event>) {
        if self.workers.are_any_starting() {
            let (spin_ns, asleep) = (self.spin.allowed_ns(), self.sleepers.has_leader());
            consequences.extend(self.workers.finish_starts(spin_ns, asleep, &mut self.observer));
            // Waiting for the starts may have taken long.
            self.clock.refresh();
        }
    }

    /// Carries out an action; returns the event that it causes, if any.
    fn carry_out(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Start { worker } => {
                let not_started = self.workers.begin_start(worker, &mut self.observer);
                if not_started.is_some() {
                    // The attempt may have taken long.
                    self.clock.refresh();
                }
                return not_started;
            }
            Action::SendInit { worker, profile } => {
                let spec = self.jobs.profile(profile);
                self.workers.get_mut(worker)?.send_init(profile, &spec);
            }
            Action::SendExit { worker } => self.send(worker, order::EXIT, &[]),
            Action::SendResume { worker } => {
                self.workers.get_mut(worker).into_iter().for_each(WorkerHandle::resume);
            }
            Action::Recall { worker } => {
                let kept_up_to = self.workers.get_mut(worker)?.recall()?;
                return Some(Event::Recalled { worker, kept_up_to });
            }
            Action::Kill { worker } => self.workers.get_mut(worker).into_iter().for_each(WorkerHandle::kill),
            Action::Requeue { worker, unit, job, first, count } => {
                let (handle, job) = (self.workers.get_mut(worker)?, self.jobs.get_mut(job)?);
                handle.take_items(unit, count, |place, item| job.retain(first + place, item));
            }
            Action::FailTask { bytes, worker, unit, job, index, attempts, cause } => {
                let kind = self.workers.kind_of(worker, cause);
                let end = self.workers.end_notes(worker, cause);
                let job = self.jobs.get_mut(job)?;
                self.observer.attempt_lost(worker, job.task(), index, &kind);
                let handle = self.workers.get_mut(worker);
                let item = handle.and_then(|handle| handle.take_item_for_error(unit, cause, &kind));
                let earlier = job.take_attempts(index);
                let failure = TaskFailure { attempts, kind, earlier, item, end, bytes };
                job.inbox.push_failure(index, worker, failure);
            }
            Action::Retry { worker, job, index, cause } => {
                let kind = self.workers.kind_of(worker, cause);
                self.workers.get_mut(worker).into_iter().for_each(WorkerHandle::count_retry);
                let job = self.jobs.get_mut(job)?;
                self.observer.attempt_lost(worker, job.task(), index, &kind);
                job.add_attempt(index, kind);
            }
            Action::Fail { job, worker, cause } => {
                let init = self.jobs.init_of(job);
                let job = self.jobs.get_mut(job)?;
                job.fail(self.workers.why_failed(worker, cause, job.task(), init));
            }
            Action::ExitLost { worker, cause } => self.workers.lose_exit(worker, cause),
            Action::Complete { job } => self.jobs.get_mut(job).into_iter().for_each(Job::complete),
        }
        None
    }

    fn send(&mut self, worker: WorkerId, tag: u8, payload: &[u8]) {
        if let Some(handle) = self.workers.get_mut(worker) {
            handle.send(tag, payload);
        }
    }

    // ---- replies ----

    /// Takes the replies that the worker has sent so far.
    fn drain(&mut self, worker: WorkerId) {
        if !self.workers.get(worker).is_some_and(WorkerHandle::has_reply) {
            return;
        }
        loop {
            let taken = self.drain_head(worker);
            let Some(handle) = self.workers.get_mut(worker) else { return };
            handle.finish_taking(taken);
            if !handle.has_waiting_reply() {
                return handle.publish_read();
            }
        }
    }

    /// Takes the replies to the oldest order of the worker.
    fn drain_head(&mut self, worker: WorkerId) -> Result<(), Corrupt> {
        let Some(handle) = self.workers.get_mut(worker) else { return Ok(()) };
        if !handle.is_ready() {
            handle.take_ready()?;
            self.observer.worker_up(worker);
            self.handle(Event::Ready { worker });
            return Ok(());
        }
        match self.supervisor.head(worker).ok_or(Corrupt)? {
            Head::Tasks { unit, job, first, count } => {
                let mut discarded = Inbox::default();
                let inbox = self.jobs.inbox_of(job).unwrap_or(&mut discarded);
                let answers = handle.take_answers(worker, unit, first, count, inbox);
                self.record_answers(worker, unit, job, answers)
            }
            Head::Init { unit } => {
                let reply = handle.take_init_reply(unit)?;
                self.record_order_reply(worker, reply.as_ref());
                Ok(())
            }
            Head::Resume { unit } => {
                let reply = handle.take_order_reply(unit)?;
                self.record_order_reply(worker, reply.as_ref());
                Ok(())
            }
            Head::Exit { unit } => {
                match handle.take_exit_reply(unit)? {
                    Some(ExitReply::Value(exit, value)) => {
                        self.workers.exits().push(exit.index, worker, &value);
                    }
                    Some(ExitReply::Failed(exit, why)) => {
                        self.workers.record_exit_failure(worker, Some(exit), why.into(), EndNotes::default());
                    }
                    Some(ExitReply::Done) => self.handle(Event::OrderDone { worker }),
                    None => {}
                }
                Ok(())
            }
        }
    }

    fn record_order_reply(&mut self, worker: WorkerId, reply: Option<&OrderReply>) {
        match reply {
            Some(OrderReply::Done) => self.handle(Event::OrderDone { worker }),
            Some(OrderReply::Failed) => self.handle(Event::Failed { worker, bytes: 0 }),
            None => {}
        }
    }

    fn record_answers(
        &mut self,
        worker: WorkerId,
        unit: Unit,
        job: JobId,
        answers: Answers,
    ) -> Result<(), Corrupt> {
        let Answers { done, bytes, failed, slow, is_corrupt } = answers;
        if let Some(job) = self.jobs.get(job) {
            for (index, Slow { took_ns, argument }) in slow {
                let (task, took) = (job.task().name.into(), Duration::from_nanos(took_ns));
                self.observer.ran_slowly(SlowTask {
                    task,
                    index: index.as_usize(),
                    worker: worker.0,
                    took,
                    argument,
                });
            }
        }
        if done > 0 {
            let pace_ns = self.workers.get(worker).map_or(0, WorkerHandle::pace_ns);
            self.handle(Event::Done { worker, count: done, bytes, pace_ns });
        }
        if let Some(bytes) = failed {
            self.handle(Event::Failed { worker, bytes });
            if let Some(handle) = self.workers.get_mut(worker) {
                handle.free_failed(unit, done);
            }
        }
        if is_corrupt { Err(Corrupt) } else { Ok(()) }
    }

    // ---- ends ----

    /// If the worker has ended, takes the replies that it committed and then reports its death.
    fn reap(&mut self, worker: WorkerId) {
        let Some(mut death) = self.workers.try_reap(worker, || self.jobs.ids()) else { return };
        self.drain(worker);
        if death.signal() == Some(libc::SIGKILL) {
            death.out_of_memory = self.workers.has_run_out_of_memory(worker);
        }
        if self.workers.get(worker).is_some_and(WorkerHandle::has_lost_ready) {
            self.handle(Event::Ready { worker });
        }
        let next = self.supervisor.head(worker).map(Head::unit);
        let Some(died) = self.workers.record_end(worker, death, next, &mut self.observer) else { return };
        self.handle(died);
        if self.supervisor.is_absent(worker) {
            self.workers.forget(worker, &mut self.observer);
        }
    }

    /// Lets all workers finish their tasks, run their exit functions and end.
    pub(super) fn shut_down(&mut self) {
        self.is_shutting_down = true;
        self.handle(Event::ShutDown);
    }

    /// Ends all workers now. Busy ones are killed, idle ones leave by themselves. Waits for all of them, but only a
    /// moment for user code in the idle ones, such as exit handlers.
    pub(super) fn terminate(&mut self) {
        self.jobs.close_for_good();
        for worker in self.workers.ids() {
            // A worker whose last reply is only taken now is idle.
            self.drain(worker);
        }
        let are_idle: Vec<bool> =
            self.workers.ids().map(|worker| self.supervisor.can_end_now(worker)).collect();
        self.cancel_all(&Error::Closed);
        self.workers.terminate(&are_idle, &mut self.observer);
    }

    /// Whether all workers have ended, or a new call keeps them.
    pub(super) fn have_stopped(&self) -> bool {
        self.supervisor.all_ended() || !self.is_shutting_down
    }

    /// Removes and returns the first error of an exit function.
    pub(super) fn take_exit_error(&mut self) -> Result<(), Error> {
        self.workers.take_exit_error().map_or(Ok(()), |error| Err(error.into()))
    }

    // ---- checks ----

    /// Runs the checks that are due.
    fn run_checks(&mut self, now: u64) {
        self.check_begun();
        if self.checks.is_news_due(now) {
            self.poll_news();
        }
        self.checks.read_output(&mut self.workers, &mut self.observer);
        for worker in self.checks.take_exited() {
            self.reap(worker);
        }
        self.workers.check_stuck();
        for worker in self.workers.ids_where(|handle| handle.is_stuck() || handle.is_finished_thread()) {
            self.reap(worker);
        }
        self.replace_without_waker();
        if let Some(limit) = self.workers.policy().memory_limit {
            let is_due = self.checks.is_memory_due(now);
            let is_busy = |worker| self.supervisor.head(worker).is_some();
            for event in self.workers.over_limit(limit, is_due, is_busy) {
                self.handle(event);
            }
        }
        if self.checks.is_sleep_due(now) {
            for handle in self.workers.iter_mut() {
                handle.check_sleep();
                handle.check_trap();
            }
            for worker in self.workers.ids_where(WorkerHandle::is_unwatched) {
                self.reap(worker);
            }
        }
        if self.workers.policy().nests && self.checks.is_progress_due(now) {
            self.workers.show_progress();
        }
    }

    fn poll_news(&mut self) {
        let news = self.poller.poll_now();
        self.record_news(news);
    }

    fn record_news(&mut self, news: News) {
        if self.checks.record(news, self.workers.len()) {
            self.cancel_all(&Error::DescriptorsClosed);
        }
    }

    /// Passes on all progress, output and log records of a call that ends. If no worker has ever printed anything, the
    /// poll for output is skipped in short calls, which it would slow down.
    fn flush_output(&mut self) {
        self.workers.show_progress();
        if self.observer.has_output() || self.checks.is_call_end_news_due(self.clock.now()) {
            self.poll_news();
            self.checks.read_output(&mut self.workers, &mut self.observer);
            for handle in self.workers.iter_mut() {
                self.observer.flush_line(handle.probes_mut());
            }
            self.observer.pass_on();
        }
    }

    /// Replaces workers that have lost the waker. They leave in order: no task is lost, and no result of an exit
    /// function.
    fn replace_without_waker(&mut self) {
        for worker in self.workers.ids() {
            if self.workers.get_mut(worker).is_some_and(WorkerHandle::take_waker_loss) {
                self.handle(Event::OverSoftLimit { worker });
            }
        }
    }

    /// Reports when the orders with a time limit have begun. Their limits count from then.
    fn check_begun(&mut self) {
        for worker in self.workers.ids() {
            if let Some(head) = self.supervisor.head_to_begin(worker)
                && let Some(began) = self.workers.get(worker).and_then(|handle| handle.began(head.unit()))
            {
                self.supervisor.head_began(worker, began);
            }
        }
    }

    /// Reports which overdue orders have panicked. They get more time, to capture a backtrace and reply.
    fn check_panicked(&mut self) {
        for (worker, head) in self.supervisor.overdue_heads(self.clock.now()) {
            if self.workers.get(worker).is_some_and(|handle| handle.has_panicked(head.unit())) {
                self.supervisor.head_panicked(worker);
            }
        }
    }

    // ---- sleep ----

    /// Whether anything awaited may be there.
    pub(super) fn is_news(&self, awaits: Awaits) -> bool {
        match awaits {
            Awaits::Job(id) => self.jobs.get(id).is_none_or(|job| {
                !job.inbox.is_empty() || (job.has_items && self.supervisor.grant(id).is_some())
            }),
            Awaits::Background => {
                let mut jobs = self.jobs.in_background().peekable();
                (jobs.peek().is_none() && !self.has_streams())
                    || jobs.any(|job| !job.inbox.is_empty())
                    || self.streams.awaited().any(|awaits| self.is_news(awaits))
            }
            Awaits::Change { since } => self.sleepers.has_changed_since(since),
        }
    }

    pub(super) fn sleepers(&mut self) -> &mut Sleepers {
        &mut self.sleepers
    }

    /// Whether to wake the leader, and whether to wake the followers. The leader is woken once, for what it awaits or
    /// if it would sleep past the deadline.
    pub(super) fn sleepers_to_wake(&mut self) -> (bool, bool) {
        let deadline = self.supervisor.deadline();
        let must_wake_leader = self.sleepers.sleeping_leader().is_some_and(|(awaits, until)| {
            let oversleeps = deadline.is_some_and(|deadline| until.is_none_or(|until| deadline < until));
            oversleeps || self.is_news(awaits)
        });
        if must_wake_leader {
            self.sleepers.mark_leader_woken();
        }
        (must_wake_leader, self.sleepers.followers().any(|awaits| self.is_news(awaits)))
    }

    /// Makes the caller the leader. Returns the sleep to begin, or nothing if a reply is there already.
    pub(super) fn lead(&mut self, awaits: Awaits) -> Option<Sleep> {
        let sleep = self.prepare_sleep();
        self.sleepers.lead(awaits, self.supervisor.deadline(), sleep.is_some());
        sleep
    }

    /// Ends the sleep of the leader, and records what the poll set has reported.
    pub(super) fn stop_leading(&mut self, news: News) {
        self.sleepers.stop_leading();
        self.clock.mark_watched();
        self.record_news(news);
        self.workers.iter().for_each(WorkerHandle::announce_awake);
    }

    /// Lets no time limit count a gap in which the program was suspended, as by Ctrl-Z. It is not known when in the gap
    /// the suspension began, so the whole gap is excluded.
    pub(super) fn exclude_suspension(&mut self, gap: Option<Gap>) {
        if let Some(Gap { from, until, .. }) = gap.filter(Gap::was_suspension) {
            self.handle(Event::Suspended { from, until });
        }
    }

    /// Announces the sleep on all lanes, and computes its limit. Returns nothing if a reply is there already.
    fn prepare_sleep(&mut self) -> Option<Sleep> {
        let busy = self.supervisor.busy();
        if self.spin.wait_for_reply(busy, self.jobs.len(), &self.workers) {
            return None;
        }
        let patient = self.sleepers.begin_sleep();
        self.workers.iter_mut().for_each(|handle| handle.announce_sleep(patient));
        lane::full_fence();
        if self.workers.has_replies() {
            return None;
        }
        let now = now_ns();
        let until = |deadline: u64| Duration::from_nanos(deadline.saturating_sub(now));
        let limit = self.supervisor.deadline().map(until);
        let check = match (busy, self.workers.policy().memory_limit) {
            (0, _) => self.workers.await_ends().then_some(MAX_SLEEP_NS),
            (_, Some(_)) => Some(MEMORY_CHECK_NS),
            (_, None) => Some(self.sleepers.sleep_ns()),
        };
        let is_behind = self.observer.is_behind() || self.checks.has_readable();
        let nested = busy > 0 && self.workers.iter().any(|handle| handle.probes().shows_progress());
        let show = (is_behind || nested || self.jobs.is_any_shown()).then_some(SHOW_NS);
        let patience = (patient && busy > 0).then_some(PATIENCE_NS);
        let checks = check.into_iter().chain(show).chain(patience).map(Duration::from_nanos);
        Some(Sleep { limit: limit.into_iter().chain(checks).min() })
    }

    // ---- streams ----

    /// Whether the background driver is needed for an open stream.
    pub(super) fn has_streams(&self) -> bool {
        !self.streams.is_empty() && !self.jobs.is_closed_for_good()
    }

    #[cfg(feature = "stream")]
    pub(super) fn streams(&mut self) -> &mut Streams {
        &mut self.streams
    }

    /// Registers the waker, and replaces it by the one registered before. If anything awaited may be there already,
    /// does neither and returns false.
    #[cfg(feature = "stream")]
    pub(super) fn register_waker(&mut self, job: JobId, awaits: Awaits, waker: &mut Option<Waker>) -> bool {
        let may_sleep = !self.is_news(awaits);
        if may_sleep && let Some(new) = waker.take() {
            *waker = self.streams.register_waker(job, awaits, new);
        }
        may_sleep
    }

    /// Removes and returns the wakers of streams that have news. A stream that shows its progress is always woken, so
    /// that it can draw.
    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        let mut streams = std::mem::take(&mut self.streams);
        let wakers = streams.take_wakers(|job, awaits| self.is_news(awaits) || self.jobs.is_shown(job));
        self.streams = streams;
        wakers
    }
}
