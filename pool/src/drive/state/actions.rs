//! What the supervisor wants done.

use std::os::fd::AsFd;

use super::*;
use crate::error::write_stderr_tail;
use crate::lane::ParentEnd;
use crate::observe::ProbeHandles;
use crate::observe::logs::{self, Log};
use crate::observe::progress::NestedProgress;
use crate::observe::timeline::Track;
use crate::start::{StartingWorker, Unstarted};
use crate::sys::memory::Meter;
use crate::sys::pipe::pipe;

/// A worker on its way, and the parent's end of its lane.
pub(in crate::drive) struct PendingStart {
    worker: usize,
    lane: ParentEnd,
    newcomer: StartingWorker,
    stderr: Option<StderrPipe>,
    log: Option<Log>,
    track: Option<Track>,
    board: Option<NestedProgress>,
}

impl State {
    /// Does what the supervisor says. Workers that are started one after the other boot side by side.
    pub(super) fn carry_out(&mut self, actions: &mut Vec<Action>) {
        for action in actions.drain(..) {
            if !matches!(action, Action::Start { .. }) {
                self.receive();
            }
            self.act(action);
        }
        self.receive();
        self.unfit = None;
    }

    fn act(&mut self, action: Action) {
        match action {
            Action::Start { worker } => self.start(worker),
            Action::SendInit { worker, profile } => {
                let ProfileDef { task, init, exit, .. } = self.profiles[profile as usize - 1];
                let payload = InitOrder { profile, task, init, exit }.to_bytes();
                self.send(worker, order::INIT, &payload);
            }
            Action::SendExit { worker } => self.send(worker, order::EXIT, &[]),
            Action::SendResume { worker } => {
                if let Some(post) = &mut self.posts[worker] {
                    post.resume();
                }
            }
            Action::Recall { worker } => {
                let recalled = self.recall(worker);
                self.consequences.extend(recalled);
            }
            Action::Kill { worker } => {
                if let Some(WorkerHandle { child: Child::Process(process), .. }) = &mut self.posts[worker] {
                    process.kill();
                }
            }
            Action::Requeue { worker, unit, job, first, count } => self.keep(worker, unit, job, first, count),
            Action::FailTask { bytes, worker, unit, job, index, attempts, cause } => {
                self.lose(worker, unit, job, index, attempts, cause, bytes);
            }
            Action::Retry { worker, job, index, cause } => {
                let kind = self.kind_of(worker, cause);
                if let Some(post) = &mut self.posts[worker] {
                    post.seen.retries += 1;
                }
                if let Some(slot) = self.jobs.get_mut(&job) {
                    self.events.lost(worker, slot.task_name, index, &kind);
                    slot.earlier.entry(index).or_default().push(kind);
                }
            }
            Action::Fail { job, worker, cause } => self.fail(job, worker, cause),
            Action::ExitLost { worker, cause } => {
                let kind = self.kind_of(worker, cause);
                let stderr_tail = self.stderr_tail_for(cause);
                self.exit_failed(worker, kind, stderr_tail);
            }
            Action::Complete { job } => {
                if let Some(slot) = self.jobs.get_mut(&job) {
                    slot.inbox.end.get_or_insert(Ok(()));
                }
            }
        }
    }

    /// Begins to start the worker.
    fn start(&mut self, worker: usize) {
        // The one before is gone: dropping its post reaps it and unmaps its lane.
        self.forget(worker);
        if let Some(history) = &mut self.history {
            history.started(worker, now_ns());
        }
        let started = match &self.unfit {
            // The others that are to be started now would be as unfit.
            Some(error) => Err(Unstarted { error: error.clone(), is_final: true }),
            None => self.try_start(worker),
        };
        match started {
            Ok(coming) => self.coming.push(coming),
            Err(error) => self.not_started(worker, error),
        }
    }

    fn try_start(&mut self, worker: usize) -> Result<PendingStart, Unstarted> {
        let failed = |error| Error::start(format!("worker {worker}"), error);
        let (lane, down, up) = lane::open().map_err(failed)?;
        let bell = self.waiter.bell().map_err(failed)?;
        let (stderr, its_stderr) = match self.supervisor.has_processes() {
            true => {
                let (reader, writer) = pipe().map_err(failed)?;
                (Some(StderrPipe::new(reader, self.upkeep.raw_stderr)), Some(writer))
            }
            false => (None, None),
        };
        let (log, logs_to) = logs::open().map_err(failed)?;
        let track = self.history.as_ref().and_then(|_| Track::new().ok());
        let board = if self.upkeep.nests { NestedProgress::new() } else { None };
        let notes = ProbeHandles {
            track: track.as_ref().and_then(|track| track.handle().ok()),
            board: board.as_ref().and_then(NestedProgress::handle),
        };
        let cpus = self.cpus[worker].clone();
        let seat = WorkerSpec { id: worker, down, up, bell, stderr: its_stderr, log: logs_to, notes, cpus };
        let newcomer = self.starter.start(seat)?;
        Ok(PendingStart { worker, lane, newcomer, stderr, log, track, board })
    }

    /// Waits for those who are on their way.
    fn receive(&mut self) {
        if self.coming.is_empty() {
            return;
        }
        for coming in std::mem::take(&mut self.coming) {
            let worker = coming.worker;
            match self.try_receive(coming) {
                Ok(post) => {
                    self.note_started(worker, &post);
                    self.posts[worker] = Some(post);
                }
                Err(error) => self.not_started(worker, error),
            }
        }
        self.out_of_memory.note_own();
        self.note_time(now_ns());
    }

    fn try_receive(
        &mut self,
        PendingStart { worker, lane, newcomer, stderr, log, track, board }: PendingStart,
    ) -> Result<WorkerHandle, Unstarted> {
        let child = newcomer.wait()?;
        let watched = match &child {
            Child::Process(process) => self.waiter.watch(process.pidfd(), worker),
            Child::Thread(_) => Ok(()),
        };
        let pipes = stderr.iter().map(|stderr| stderr.pipe.as_fd()).chain(log.iter().map(Log::pipe));
        let watched = pipes
            .fold(watched, |watched, pipe| watched.and_then(|()| self.waiter.watch_prints(pipe, worker)));
        watched.map_err(|error| Error::start(format!("worker {worker}"), error))?;
        let mut post = WorkerHandle::new(lane, child, stderr, log, track, board);
        post.lane.let_spin(self.spinning);
        if let (Some(limit), Child::Process(process)) = (self.upkeep.memory_limit, &post.child) {
            post.lane.limit_memory(limit);
            post.meter = Meter::of(process);
        }
        if self.is_led() {
            // The leader sleeps on this lane too.
            post.lane.announce_sleep(0);
        }
        Ok(post)
    }

    fn note_started(&mut self, worker: usize, post: &WorkerHandle) {
        let pid = match &post.child {
            Child::Process(process) => Some(process.pid()),
            Child::Thread(_) => None,
        };
        self.events.started(worker, pid, self.past[worker].starts + 1);
    }

    fn not_started(&mut self, worker: usize, Unstarted { error, is_final }: Unstarted) {
        if is_final {
            self.unfit = Some(error.clone());
        }
        self.events.not_started(worker, &error);
        // To find that out may have taken long.
        self.note_time(now_ns());
        self.start_error = Some(error);
        self.consequences.push_back(Event::NotStarted { worker, is_final });
    }

    pub(super) fn send(&mut self, worker: usize, tag: u8, payload: &[u8]) {
        if let Some(post) = &mut self.posts[worker] {
            post.send(tag, payload);
        }
    }

    /// Takes back what the worker has not claimed, now or when what is half out is out: orders keep their order.
    pub(super) fn recall(&mut self, worker: usize) -> Option<Event> {
        let post = self.posts[worker].as_mut()?;
        post.recall_wanted = !post.is_clear();
        if post.recall_wanted {
            return None;
        }
        match post.recall() {
            Ok(kept_up_to) => Some(Event::Recalled { worker, kept_up_to }),
            Err(Corrupt) => {
                post.kill_corrupt();
                None
            }
        }
    }

    pub(super) fn keep(&mut self, worker: usize, unit: u32, job: JobId, first: u64, count: u64) {
        let Self { posts, jobs, .. } = self;
        if let (Some(post), Some(slot)) = (&posts[worker], jobs.get_mut(&job)) {
            slot.kept.extend((first..).zip(post.items_from(unit, count)));
        }
    }

    #[expect(clippy::too_many_arguments, reason = "they are the action's")]
    pub(super) fn lose(
        &mut self,
        worker: usize,
        unit: u32,
        job: JobId,
        index: u64,
        attempts: u32,
        cause: Cause,
        bytes: u64,
    ) {
        let kind = self.kind_of(worker, cause);
        let stderr_tail = self.stderr_tail_for(cause);
        let Self { posts, jobs, events, .. } = self;
        let Some(slot) = jobs.get_mut(&job) else { return };
        events.lost(worker, slot.task_name, index, &kind);
        // The caller decodes the argument to show it, unless that is what has failed, or may have ended the worker.
        let can_be_shown = |post: &&WorkerHandle| match cause {
            Cause::Reported => matches!(kind, TaskErrorKind::Panicked(_) | TaskErrorKind::Failed(_)),
            Cause::Died | Cause::TimedOut(_) | Cause::TooLarge { .. } => post.lane.has_decoded(unit),
        };
        let item = posts[worker].as_ref().filter(can_be_shown);
        let item = item.and_then(|post| post.items_from(unit, 1).pop());
        let earlier = slot.earlier.remove(&index).unwrap_or_default();
        let loss = Box::new(TaskFailure { attempts, kind, earlier, item, stderr_tail, bytes });
        slot.inbox.arrivals.push(Arrival { index, worker, what: Outcome::Failed(loss) });
    }

    pub(super) fn fail(&mut self, job: JobId, worker: usize, cause: JobCause) {
        let error = match cause {
            JobCause::Init(cause) => {
                let kind = TaskErrorKind::Init(Box::new(self.kind_of(worker, cause)));
                let name = self.jobs.get(&job).map_or("", |slot| slot.task_name);
                let stderr_tail = self.stderr_tail_for(cause);
                Error::Task(TaskError::new(name, 0, worker, 1, None, kind).with_stderr_tail(stderr_tail))
            }
            JobCause::NotStarted => self.start_error.clone().unwrap_or_else(|| {
                let mut reason = format!("the last one that was started {}", self.last_death);
                let stderr = self.stderr_tail.as_deref();
                let written = stderr.map_or(Ok(()), |stderr| write_stderr_tail(&mut reason, stderr));
                debug_assert!(written.is_ok());
                Error::start("workers", reason)
            }),
        };
        if let Some(slot) = self.jobs.get_mut(&job) {
            slot.inbox.end.get_or_insert(Err(error));
            slot.cancelled = true;
        }
    }

    /// What the worker printed before its end, if that was the end of it.
    fn stderr_tail_for(&self, cause: Cause) -> Option<String> {
        self.stderr_tail.clone().filter(|_| cause != Cause::Reported)
    }

    pub(super) fn kind_of(&mut self, worker: usize, cause: Cause) -> TaskErrorKind {
        match cause {
            Cause::Died => TaskErrorKind::Died(self.last_death),
            Cause::TimedOut(limit) => TaskErrorKind::TimedOut(Duration::from_nanos(limit)),
            Cause::TooLarge { held, limit } => {
                TaskErrorKind::Died(Death::new(DeathCause::MemoryLimit { limit, held }))
            }
            Cause::Reported => {
                let told = self.posts[worker].as_mut().and_then(|post| post.told.take());
                told.map_or_else(|| TaskErrorKind::Failed("no reason was given".into()), Into::into)
            }
        }
    }
}
