//! All workers of a pool: their starts, their handles and their ends.

mod starts;

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::poller::Poller;
use super::worker::WorkerHandle;
use crate::error::{Death, DeathCause, EndNotes, Error, TaskError, TaskErrorKind, write_stderr_tail};
use crate::ids::{JobId, PerWorker, Unit, WorkerId};
use crate::lane;
use crate::observe::insights::{Insights, WorkerInsights};
use crate::observe::stats::Stats;
use crate::observe::timeline::Timeline;
use crate::observe::{Ended, Observer};
use crate::options::{MoreWorkers, WorkerPolicy};
use crate::start::{Child, StartOutcome, Starter, Unstarted};
use crate::supervise::{Cause, Census, Event, JobCause};
use crate::sys::handle::{Handle, reap_groups, reap_left};
use crate::sys::memory::OutOfMemory;
use crate::work::{Exits, FunctionRef};
use crate::worker::WorkerKit;

/// How long all idle workers together may take to leave when a pool is dropped: enough to run exit handlers, and short
/// enough for a destructor.
const LEAVE_LIMIT: Duration = Duration::from_millis(500);

pub(super) struct Workers {
    /// `None` for a worker that is not started.
    handles: PerWorker<Option<WorkerHandle>>,
    /// The workers whose lanes say that the parent sleeps.
    announced: Vec<WorkerId>,
    starter: Box<dyn Starter>,
    /// Starts have begun whose outcomes may be known.
    has_begun: bool,
    poller: Arc<Poller>,
    /// The CPUs on which each worker may run.
    cpus: PerWorker<Vec<usize>>,
    policy: WorkerPolicy,
    are_processes: bool,
    /// The option `rlimit`, as the reason may be for a worker that could not start.
    limits: String,
    /// The last failure to start a worker since a call was opened.
    start_error: Option<Error>,
    /// A failure that every other start in the same batch would share, so none is tried.
    final_error: Option<Error>,
    /// The end of the worker that ended last.
    last_end: Option<Ended>,
    out_of_memory: OutOfMemory,
    /// Workers that were killed and have not ended, which the pool no longer waits for, with the calls that were open
    /// then.
    stuck: Vec<(Arc<Handle>, Vec<JobId>)>,
    /// The results of exit functions, and the first error of one.
    exits: Exits,
    exit_error: Option<TaskError>,
}

impl Workers {
    pub(super) fn new(
        starter: Box<dyn Starter>,
        poller: Arc<Poller>,
        cpus: PerWorker<Vec<usize>>,
        policy: WorkerPolicy,
        are_processes: bool,
        limits: String,
    ) -> Self {
        Self {
            handles: PerWorker::new(cpus.len(), |_| None),
            announced: Vec::new(),
            starter,
            has_begun: false,
            poller,
            cpus,
            policy,
            are_processes,
            limits,
            start_error: None,
            final_error: None,
            last_end: None,
            out_of_memory: OutOfMemory::default(),
            stuck: Vec::new(),
            exits: Exits::default(),
            exit_error: None,
        }
    }

    pub(super) fn policy(&self) -> WorkerPolicy {
        self.policy
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = WorkerId> + use<> {
        self.handles.ids()
    }

    /// How many the pool has or had.
    pub(super) fn len(&self) -> usize {
        self.handles.len()
    }

    /// Adds workers that the pool never had before; none is started yet.
    pub(super) fn add(&mut self, more: MoreWorkers) -> Result<(), Error> {
        let MoreWorkers { from, cpus, env } = more.after(self.len());
        let workers = from + cpus.len();
        if !env.is_empty() {
            self.starter.add_variables(env)?;
        }
        self.handles.grow(workers, |_| None);
        let mut cpus = cpus.into_iter();
        self.cpus.grow(workers, |_| cpus.next().unwrap_or_default());
        Ok(())
    }

    pub(super) fn get(&self, worker: WorkerId) -> Option<&WorkerHandle> {
        self.handles[worker].as_ref()
    }

    pub(super) fn get_mut(&mut self, worker: WorkerId) -> Option<&mut WorkerHandle> {
        self.handles[worker].as_mut()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &WorkerHandle> {
        self.handles.iter().flatten()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut WorkerHandle> {
        self.handles.iter_mut().flatten()
    }

    /// Shows the progress of calls that workers make on pools of their own.
    pub(super) fn show_progress(&mut self) {
        for (worker, handle) in self.handles.numbered_mut() {
            handle.iter_mut().for_each(|handle| handle.probes_mut().show_progress(worker));
        }
    }

    /// Whether the progress of calls that one of these workers makes is shown.
    pub(super) fn are_any_showing_progress(&self, workers: &[WorkerId]) -> bool {
        let shows =
            |worker: &WorkerId| self.get(*worker).is_some_and(|handle| handle.probes().shows_progress());
        workers.iter().any(shows)
    }

    /// Does this with the handle of each of these workers.
    pub(super) fn each(&mut self, workers: &[WorkerId], mut act: impl FnMut(&mut WorkerHandle)) {
        for worker in workers {
            self.handles[*worker].iter_mut().for_each(&mut act);
        }
    }

    pub(super) fn has_replies(&self, workers: &[WorkerId]) -> bool {
        workers.iter().filter_map(|worker| self.get(*worker)).any(WorkerHandle::has_reply)
    }

    // ---- the parent's sleep ----

    /// A handle to send orders with. The news that workers with nothing to do are not told, it is told now: how long it
    /// may spin, and whether the parent is `asleep`.
    pub(super) fn get_to_send(
        &mut self,
        worker: WorkerId,
        spin_ns: u32,
        asleep: bool,
    ) -> Option<&mut WorkerHandle> {
        let handle = self.handles[worker].as_mut()?;
        handle.let_spin(spin_ns);
        if asleep && !handle.knows_of_sleep() {
            handle.announce_sleep(false);
            self.announced.push(worker);
        }
        Some(handle)
    }

    /// Announces that the parent is about to sleep to these workers; see [`WorkerHandle::announce_sleep`].
    pub(super) fn announce_sleep(&mut self, workers: &[WorkerId], patient: bool) {
        self.announced.extend_from_slice(workers);
        self.each(workers, |handle| handle.announce_sleep(patient));
    }

    /// Announces that the parent is awake.
    pub(super) fn announce_awake(&mut self) {
        for worker in self.announced.drain(..) {
            self.handles[worker].iter_mut().for_each(WorkerHandle::announce_awake);
        }
    }

    // ---- ends ----

    /// Returns how a worker ended, the first time that it is found ended. A worker that was killed and does not end
    /// counts as ended. It is kept as stuck, and may still run a task of these calls.
    pub(super) fn try_reap(&mut self, worker: WorkerId, jobs: impl FnOnce() -> Vec<JobId>) -> Option<Death> {
        let Self { handles, stuck, .. } = self;
        handles[worker].as_mut()?.try_reap(|handle| stuck.push((handle, jobs())))
    }

    /// Whether the kernel may have killed this worker because memory ran out.
    pub(super) fn has_run_out_of_memory(&mut self, worker: WorkerId) -> bool {
        let others = self.iter().count().saturating_sub(1) as u64;
        let killed = self.handles[worker].as_ref().and_then(WorkerHandle::killed_as);
        killed.is_some_and(|killed| self.out_of_memory.has_killed(killed, others))
    }

    /// Records the end of a worker, after its last reply was taken. `next` is the first unit without an answer.
    pub(super) fn record_end(
        &mut self,
        worker: WorkerId,
        death: Death,
        next: Option<Unit>,
        observer: &mut Observer,
    ) -> Option<Event> {
        let handle = self.handles[worker].as_mut()?;
        let ended = handle.record_end(worker, death, next, observer);
        self.last_end = Some(ended.clone());
        Some(Event::Died { worker, running: ended.running })
    }

    /// Drops the handle of a worker that has ended, which reaps its process and unmaps its lane; or of one that was not
    /// started.
    pub(super) fn forget(&mut self, worker: WorkerId, observer: &mut Observer) {
        if let Some(handle) = self.handles[worker].take().filter(WorkerHandle::is_started) {
            observer.worker_gone(worker, &handle.insights());
        }
    }

    /// Forgets the stuck workers that have ended since.
    pub(super) fn check_stuck(&mut self) {
        if !self.stuck.is_empty() {
            reap_left();
            self.stuck.retain(|(handle, _)| !handle.is_gone());
        }
    }

    /// Whether a stuck worker may still run a task of this call.
    pub(super) fn is_stuck_on(&self, job: JobId) -> bool {
        self.stuck.iter().any(|(_, jobs)| jobs.contains(&job))
    }

    /// Whether a worker is about to end that the poll set may not report.
    pub(super) fn await_ends(&self, active: &[WorkerId]) -> bool {
        let is_dying = |worker: &WorkerId| self.get(*worker).is_some_and(WorkerHandle::is_dying);
        !self.stuck.is_empty() || active.iter().any(is_dying)
    }

    /// Ends all workers now: idle ones have a moment to leave by themselves, the others are killed.
    pub(super) fn terminate(&mut self, are_idle: &[bool], observer: &mut Observer) {
        self.starter.abandon();
        for (handle, is_idle) in self.handles.iter_mut().zip(are_idle) {
            if let Some(handle) = handle {
                handle.dismiss(*is_idle);
            }
        }
        let end = Instant::now() + LEAVE_LIMIT;
        for handle in self.iter_mut() {
            handle.end_within(end.saturating_duration_since(Instant::now()));
        }
        for (worker, handle) in self.handles.numbered_mut() {
            if let Some(mut handle) = handle.take() {
                observer.read_rest(worker, handle.probes_mut());
            }
        }
        reap_groups();
    }

    /// The kind of failure of a task, init or exit function of this worker.
    pub(super) fn kind_of(&mut self, worker: WorkerId, cause: Cause) -> TaskErrorKind {
        match cause {
            Cause::Died => {
                let ended = self.get(worker).and_then(WorkerHandle::ended);
                TaskErrorKind::Died(ended.map_or(Death::new(DeathCause::Unknown), |ended| ended.death))
            }
            Cause::TimedOut(limit) => TaskErrorKind::TimedOut(Duration::from_nanos(limit)),
            Cause::OutOfCpuTime { used, limit } => {
                let [used, limit] = [used, limit].map(Duration::from_nanos);
                TaskErrorKind::CpuLimitExceeded { used, limit }
            }
            Cause::TooLarge { held, limit } => {
                TaskErrorKind::Died(Death::new(DeathCause::MemoryLimit { limit, held }))
            }
            Cause::Reported => {
                let reported = self.get_mut(worker).and_then(WorkerHandle::take_reported);
                reported.map_or_else(|| TaskErrorKind::Failed("no reason was given".into()), Into::into)
            }
        }
    }

    /// Details of the worker's end, if that end is the cause.
    pub(super) fn end_notes(&self, worker: WorkerId, cause: Cause) -> EndNotes {
        let handle = self.get(worker).filter(|_| cause != Cause::Reported);
        handle.map(WorkerHandle::end_notes).unwrap_or_default()
    }

    /// Why a call can't go on.
    pub(super) fn why_failed(
        &mut self,
        worker: WorkerId,
        cause: JobCause,
        task: FunctionRef,
        init: Option<FunctionRef>,
    ) -> Error {
        match cause {
            JobCause::Init(cause) => {
                let (kind, notes) = (self.kind_of(worker, cause), self.end_notes(worker, cause));
                let error = TaskError::in_init(init.map(|init| init.name), task.name, worker.0, kind);
                Error::Task(error.with_end_notes(notes))
            }
            JobCause::NotStarted => self.why_not_started(),
        }
    }

    // ---- exit functions ----

    pub(super) fn exits(&mut self) -> &mut Exits {
        &mut self.exits
    }

    /// Records that an exit function, or the end of the worker after it, has failed.
    pub(super) fn lose_exit(&mut self, worker: WorkerId, cause: Cause) {
        let (kind, notes) = (self.kind_of(worker, cause), self.end_notes(worker, cause));
        let function = self.get(worker).and_then(WorkerHandle::next_exit);
        self.record_exit_failure(worker, function, kind, notes);
    }

    pub(super) fn record_exit_failure(
        &mut self,
        worker: WorkerId,
        function: Option<FunctionRef>,
        why: TaskErrorKind,
        notes: EndNotes,
    ) {
        let function = function.map(|function| function.name);
        let error = || TaskError::in_exit(function, worker.0, why).with_end_notes(notes);
        self.exit_error.get_or_insert_with(error);
    }

    pub(super) fn take_exit_error(&mut self) -> Option<TaskError> {
        self.exit_error.take()
    }

    // ---- memory and statistics ----

    /// Events for those of these workers that hold too much memory. Workers measure this themselves between tasks. If
    /// the check `is_due`, the parent also measures those that run what `is_counted`. A worker that can't be measured
    /// any more is replaced: another one can, or does not start, and the error says why.
    pub(super) fn over_limit(
        &mut self,
        workers: impl Iterator<Item = WorkerId>,
        limit: u64,
        is_due: bool,
        is_counted: impl Fn(WorkerId) -> bool,
    ) -> Vec<Event> {
        let is_over = |worker: WorkerId| {
            let handle = self.get_mut(worker)?;
            if handle.growth() > limit {
                return Some(Event::OverSoftLimit { worker });
            }
            match if is_due && is_counted(worker) { handle.growth_now() } else { Some(0) } {
                Some(held) => {
                    (held > limit.saturating_mul(2)).then_some(Event::OverHardLimit { worker, held, limit })
                }
                None => Some(Event::OverSoftLimit { worker }),
            }
        };
        workers.filter_map(is_over).collect()
    }

    pub(super) fn insights(&self, observer: &Observer) -> Insights {
        observer.insights(self.did())
    }

    pub(super) fn stats(&self, observer: &Observer, census: &Census) -> Stats {
        observer.stats(census, self.did())
    }

    /// What each living worker has done since it was started.
    fn did(&self) -> impl Iterator<Item = WorkerInsights> {
        let did = |handle: &Option<WorkerHandle>| handle.as_ref().map(WorkerHandle::insights);
        self.handles.iter().map(move |handle| did(handle).unwrap_or_default())
    }

    pub(super) fn timeline(&self, observer: &Observer) -> Timeline {
        observer.timeline(self.handles.iter().map(|handle| handle.as_ref().map(WorkerHandle::probes)))
    }
}
