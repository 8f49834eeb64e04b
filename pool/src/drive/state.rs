//! The state behind the pool's mutex: nine parts, each changed through its own methods. Here they meet: the supervisor
//! is told what happens, and what it decides is carried out.

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
use crate::ids::{JobId, Unit, WorkerId};
use crate::lane::{self, Corrupt, order};
use crate::observe::Observer;
use crate::observe::events::Events;
use crate::observe::insights::{Insights, SlowTask};
use crate::observe::timeline::Timeline;
use crate::supervise::{Action, Event, Grant, Head, Supervisor, Work};
use crate::sys::clock::now_ns;
use crate::wire::{ChunkHead, Failure, InitOrder, Slow};
use crate::work::{Exits, Inbox, JobSpec, ProfileSpec, TaskFailure};

/// How long the parent sleeps while results wait for others, so that one wake-up is enough for many.
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
    /// Workers were told to end, and no call has come since.
    are_ending: bool,
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
            are_ending: false,
        }
    }

    // ---- the parts, as callers need them ----

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

    /// What it takes to send the worker items of the call.
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
        self.are_ending = false;
        self.observer.job_opened(job, task, self.clock.now());
        self.handle(Event::Opened { job, plan: Box::new(plan), encoded });
        Ok(job)
    }

    pub(super) fn close(&mut self, job: JobId) {
        if self.jobs.close(job) {
            self.take_last_news();
            self.observer.job_closed(job, self.clock.now());
            self.handle(Event::Closed { job });
            if !self.workers.policy().keep_alive && self.jobs.is_empty() {
                self.shut_down();
            }
        }
    }

    /// Ends every call that somebody waits for.
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

    /// The caller has taken so many results of the call, of so many bytes.
    pub(super) fn report_taken(&mut self, job: JobId, count: u64, bytes: u64) {
        if count > 0 {
            self.handle(Event::Taken { job, count, bytes });
        }
    }

    pub(super) fn end_input(&mut self, job: JobId) {
        self.handle(Event::InputEnded { job });
    }

    /// Notes whether the caller has items that no worker takes now.
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
            self.take_last_news();
        }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.supervisor.is_idle()
    }

    /// Whether the call is open, or a worker may still be at a task of it, be it inside the kernel.
    pub(super) fn is_at_work_on(&self, job: JobId) -> bool {
        self.supervisor.knows(job) || self.workers.has_given_up_on(job)
    }

    // ---- orders ----

    /// A chunk was sent: so many tasks of it.
    pub(super) fn report_sent(&mut self, job: JobId, worker: WorkerId, count: u64) {
        self.handle(Event::Sent { job, worker, count });
    }

    /// Sends a task whose bytes were kept.
    pub(super) fn send_retained(&mut self, job: JobId, worker: WorkerId, index: u64) {
        let Some(slot) = self.jobs.get_mut(job) else { return };
        let (head, item) = (slot.head(index, 1), slot.take_retained(index));
        self.send_alone(job, worker, head, item);
    }

    /// Sends a chunk of one encoded item.
    pub(super) fn send_alone(&mut self, job: JobId, worker: WorkerId, head: ChunkHead, item: Vec<u8>) {
        if let Some(handle) = self.workers.get_mut(worker) {
            handle.send_item(head, item);
            self.supervisor.block(worker, !handle.is_clear());
        }
        self.report_sent(job, worker, 1);
    }

    /// There is no room for the worker's next chunk.
    pub(super) fn block(&mut self, worker: WorkerId) {
        self.supervisor.block(worker, true);
    }

    /// An item of the call could not be encoded.
    pub(super) fn report_unsendable(&mut self, job: JobId, worker: WorkerId, why: String) {
        if let Some(handle) = self.workers.get_mut(worker) {
            handle.report_instead(Failure::Encode(why).cut());
        }
        self.handle(Event::Unsendable { job, worker });
    }

    /// Tells the worker what there is for it, and takes what it has sent by now.
    pub(super) fn exchange(&mut self, worker: WorkerId) {
        if let Some(handle) = self.workers.get_mut(worker) {
            handle.wake();
        }
        self.drain(worker);
    }

    /// Wakes the workers for which there is news.
    pub(super) fn wake_workers(&mut self) {
        self.spin.allow(self.supervisor.busy(), &self.workers);
        self.workers.iter_mut().for_each(WorkerHandle::wake);
    }

    // ---- one turn of the wheel ----

    /// Takes in all that has happened, and does what follows.
    pub(super) fn drive(&mut self) {
        for worker in self.workers.ids() {
            self.drain(worker);
        }
        self.clock.mark_watched();
        self.run_checks(self.clock.now());
        if self.supervisor.deadline().is_some_and(|deadline| deadline <= self.clock.now()) {
            self.note_panics();
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

    /// Tells the supervisor, does what it says, and tells it what that led to.
    fn handle(&mut self, event: Event) {
        let (mut next, mut consequences) = (Some(event), VecDeque::new());
        let mut actions = Vec::new();
        while let Some(event) = next.take().or_else(|| consequences.pop_front()) {
            self.sleepers.count_event();
            self.supervisor.handle(event, self.clock.now(), &mut actions);
            if actions.is_empty() {
                continue;
            }
            for action in actions.drain(..) {
                // Workers that are started one after the other boot side by side.
                if !matches!(action, Action::Start { .. }) {
                    self.finish_starts(&mut consequences);
                }
                consequences.extend(self.act(action));
            }
            self.finish_starts(&mut consequences);
            self.workers.forget_unfit();
        }
    }

    fn finish_starts(&mut self, consequences: &mut VecDeque<Event>) {
        if self.workers.are_any_starting() {
            let (spin_ns, asleep) = (self.spin.allowed_ns(), self.sleepers.has_leader());
            consequences.extend(self.workers.finish_starts(spin_ns, asleep, &mut self.observer));
            // That may have taken long.
            self.clock.refresh();
        }
    }

    /// Does what the supervisor says; gives what that has led to.
    fn act(&mut self, action: Action) -> Option<Event> {
        match action {
            Action::Start { worker } => {
                let not_started = self.workers.begin_start(worker, &mut self.observer);
                if not_started.is_some() {
                    // To find that out may have taken long.
                    self.clock.refresh();
                }
                return not_started;
            }
            Action::SendInit { worker, profile } => {
                let ProfileSpec { task, init, exit, .. } = self.jobs.profile(profile);
                let payload = InitOrder { profile, task, init, exit }.to_bytes();
                self.send(worker, order::INIT, &payload);
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
                let (handle, job) = (self.workers.get(worker)?, self.jobs.get_mut(job)?);
                job.retain(first, handle.items_from(unit, count));
            }
            Action::FailTask { bytes, worker, unit, job, index, attempts, cause } => {
                let kind = self.workers.kind_of(worker, cause);
                let end = self.workers.end_notes(worker, cause);
                let job = self.jobs.get_mut(job)?;
                self.observer.attempt_lost(worker, job.task(), index, &kind);
                let item = self.workers.get(worker).and_then(|handle| handle.shown_item(unit, cause, &kind));
                let earlier = job.take_attempts(index);
                let failure = TaskFailure { attempts, kind, earlier, item, end, bytes };
                job.inbox.push_failure(index, worker, failure);
            }
            Action::Retry { worker, job, index, cause } => {
                let kind = self.workers.kind_of(worker, cause);
                self.workers.get_mut(worker).into_iter().for_each(WorkerHandle::count_retry);
                let job = self.jobs.get_mut(job)?;
                self.observer.attempt_lost(worker, job.task(), index, &kind);
                job.note_attempt(index, kind);
            }
            Action::Fail { job, worker, cause } => {
                let job = self.jobs.get_mut(job)?;
                job.fail(self.workers.why_failed(worker, cause, job.task()));
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

    /// Takes the replies that the worker has sent by now.
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

    /// Takes the replies to the order at the head of the worker's queue.
    fn drain_head(&mut self, worker: WorkerId) -> Result<(), Corrupt> {
        let Some(handle) = self.workers.get_mut(worker) else { return Ok(()) };
        if !handle.is_up() {
            handle.take_up()?;
            self.observer.worker_up(worker);
            self.handle(Event::Ready { worker });
            return Ok(());
        }
        match self.supervisor.head(worker).ok_or(Corrupt)? {
            Head::Tasks { unit, job, first, count } => {
                let mut void = Inbox::default();
                let inbox = self.jobs.inbox_of(job).unwrap_or(&mut void);
                let answers = handle.take_answers(worker, unit, first, count, inbox);
                self.note_answers(worker, unit, job, answers)
            }
            Head::Init { unit } | Head::Resume { unit } => {
                match handle.take_order_reply(unit)? {
                    Some(OrderReply::Done) => self.handle(Event::OrderDone { worker }),
                    Some(OrderReply::Failed) => self.handle(Event::Failed { worker, bytes: 0 }),
                    None => {}
                }
                Ok(())
            }
            Head::Exit { unit } => {
                match handle.take_exit_reply(unit, self.jobs.exits())? {
                    Some(ExitReply::Value(exit, value)) if self.jobs.has_exit(exit) => {
                        self.workers.exits().push(exit, worker, &value);
                    }
                    Some(ExitReply::Value(..)) => return Err(Corrupt),
                    Some(ExitReply::Failed(why)) => {
                        self.workers.note_exit_failed(worker, why.into(), EndNotes::default());
                    }
                    Some(ExitReply::Done) => self.handle(Event::OrderDone { worker }),
                    None => {}
                }
                Ok(())
            }
        }
    }

    fn note_answers(
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
                    index: index as usize,
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
                handle.forget_failed(unit, done);
            }
        }
        if is_corrupt { Err(Corrupt) } else { Ok(()) }
    }

    // ---- ends ----

    /// Sees whether the worker has ended. Its last replies are taken first: what it committed counts.
    fn reap(&mut self, worker: WorkerId) {
        let Some(mut death) = self.workers.try_reap(worker, || self.jobs.ids()) else { return };
        self.drain(worker);
        if death.signal() == Some(libc::SIGKILL) {
            death.out_of_memory = self.workers.has_run_out_of_memory(worker);
        }
        if self.workers.get(worker).is_some_and(WorkerHandle::was_up_unheard) {
            self.handle(Event::Ready { worker });
        }
        let next = self.supervisor.head(worker).map(Head::unit);
        let Some(died) = self.workers.note_end(worker, death, next, &mut self.observer) else { return };
        self.handle(died);
        if self.supervisor.is_absent(worker) {
            self.workers.forget(worker, &mut self.observer);
        }
    }

    /// All workers end when they have done what they have; exit functions run.
    pub(super) fn shut_down(&mut self) {
        self.are_ending = true;
        self.handle(Event::ShutDown);
    }

    /// All workers end now: those that have something to do are killed, the others leave. Waits for both, for user code
    /// no longer than a moment.
    pub(super) fn terminate(&mut self) {
        self.jobs.close_for_good();
        for worker in self.workers.ids() {
            // One that has answered everything has nothing to do.
            self.drain(worker);
        }
        let may_leave: Vec<bool> =
            self.workers.ids().map(|worker| self.supervisor.can_end_now(worker)).collect();
        self.cancel_all(&Error::Closed);
        self.workers.terminate(&may_leave, &mut self.observer);
    }

    /// Whether all workers have ended, or a call has come that keeps them.
    pub(super) fn have_stopped(&self) -> bool {
        self.supervisor.all_ended() || !self.are_ending
    }

    /// What became of the workers that were told to end.
    pub(super) fn take_exit_error(&mut self) -> Result<(), Error> {
        self.workers.take_exit_error().map_or(Ok(()), |error| Err(error.into()))
    }

    // ---- checks ----

    /// Looks at all that is due.
    fn run_checks(&mut self, now: u64) {
        self.note_begun();
        if self.checks.is_news_due(now) {
            self.take_news();
        }
        self.checks.read_output(&mut self.workers, &mut self.observer);
        for worker in self.checks.take_exited() {
            self.reap(worker);
        }
        self.workers.check_given_up();
        for worker in self.workers.which(|handle| handle.is_stuck() || handle.is_finished_thread()) {
            self.reap(worker);
        }
        self.replace_mute();
        if let Some(limit) = self.workers.policy().memory_limit {
            let is_due = self.checks.is_memory_due(now);
            let is_busy = |worker| self.supervisor.head(worker).is_some();
            for event in self.workers.over_limit(limit, is_due, is_busy) {
                self.handle(event);
            }
        }
        if self.checks.is_sleep_due(now) {
            self.workers.iter_mut().for_each(WorkerHandle::check_sleep);
            for worker in self.workers.which(WorkerHandle::is_unwatched) {
                self.reap(worker);
            }
        }
        if self.workers.policy().nests && self.checks.is_progress_due(now) {
            self.workers.show_progress();
        }
    }

    fn take_news(&mut self) {
        let news = self.poller.poll_now();
        self.note_news(news);
    }

    fn note_news(&mut self, news: News) {
        if self.checks.record(news, self.workers.len()) {
            self.cancel_all(&Error::DescriptorsClosed);
        }
    }

    /// Passes on what the tasks of a call have shown, printed and logged that ends now. Where nobody has ever printed
    /// anything, short calls are not made longer for that.
    fn take_last_news(&mut self) {
        self.workers.show_progress();
        if self.observer.has_heard() || self.checks.is_call_end_news_due(self.clock.now()) {
            self.take_news();
            self.checks.read_output(&mut self.workers, &mut self.observer);
            for handle in self.workers.iter_mut() {
                self.observer.take_line(handle.probes_mut());
            }
            self.observer.pass_on();
        }
    }

    /// Workers that can't wake the parent any more leave; no task is lost, nor what their exit functions give.
    fn replace_mute(&mut self) {
        for worker in self.workers.ids() {
            if self.workers.get_mut(worker).is_some_and(WorkerHandle::has_become_mute) {
                self.handle(Event::OverSoftLimit { worker });
            }
        }
    }

    /// Sees which orders with a time limit have begun, and when: that is what their limits count from.
    fn note_begun(&mut self) {
        for worker in self.workers.ids() {
            if let Some(head) = self.supervisor.head_to_begin(worker)
                && let Some(began) = self.workers.get(worker).and_then(|handle| handle.began(head.unit()))
            {
                self.supervisor.head_began(worker, began);
            }
        }
    }

    /// Sees which of the orders that run out of time have panicked, and are only told of yet.
    fn note_panics(&mut self) {
        for (worker, head) in self.supervisor.overdue_heads(self.clock.now()) {
            if self.workers.get(worker).is_some_and(|handle| handle.has_panicked(head.unit())) {
                self.supervisor.head_panicked(worker);
            }
        }
    }

    // ---- sleep ----

    /// Whether what is awaited may be there.
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

    /// Which of the sleepers are to be woken: the leader, the followers. The leader is woken for what it waits for, and
    /// where it would sleep past the deadline; once.
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

    /// The caller becomes the leader: how long it may sleep; nothing if there is something to do already.
    pub(super) fn lead(&mut self, awaits: Awaits) -> Option<Sleep> {
        let sleep = self.prepare_sleep();
        self.sleepers.lead(awaits, self.supervisor.deadline(), sleep.is_some());
        sleep
    }

    /// The leader is awake, with this news.
    pub(super) fn stop_leading(&mut self, news: News) {
        self.sleepers.stop_leading();
        self.clock.mark_watched();
        self.note_news(news);
        self.workers.iter().for_each(WorkerHandle::announce_awake);
    }

    /// Time limits pause while the program is stopped, as by Ctrl-Z. When in an gap that began is not known, so all
    /// of it is left out.
    pub(super) fn exclude_suspension(&mut self, gap: Option<Gap>) {
        if let Some(Gap { from, until, .. }) = gap.filter(Gap::was_suspension) {
            self.handle(Event::Suspended { from, until });
        }
    }

    /// Says to all lanes that the parent will sleep, and how long; nothing if there is something to do already.
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

    /// Whether a stream is open that somebody must drive.
    pub(super) fn has_streams(&self) -> bool {
        !self.streams.is_empty() && !self.jobs.is_closed_for_good()
    }

    #[cfg(feature = "stream")]
    pub(super) fn streams(&mut self) -> &mut Streams {
        &mut self.streams
    }

    /// Leaves the waker, and gives back the one before; not if what is awaited may be there. Says whether it is left.
    #[cfg(feature = "stream")]
    pub(super) fn register_waker(&mut self, job: JobId, awaits: Awaits, waker: &mut Option<Waker>) -> bool {
        let may_sleep = !self.is_news(awaits);
        if may_sleep && let Some(left) = waker.take() {
            *waker = self.streams.register_waker(job, awaits, left);
        }
        may_sleep
    }

    /// The wakers of those streams for which there is news; where progress is shown, that time has passed is news.
    pub(super) fn take_wakers(&mut self) -> Vec<Waker> {
        let mut streams = std::mem::take(&mut self.streams);
        let wakers = streams.take_wakers(|job, awaits| self.is_news(awaits) || self.jobs.is_shown(job));
        self.streams = streams;
        wakers
    }
}
