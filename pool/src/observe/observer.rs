//! The observer, whom the driver tells each fact once.

use std::io;

use super::events::{Event, Events};
use super::insights::{Insights, SlowTask, WorkerInsights, note_slow};
use super::probes::{ProbeEnds, Probes};
use super::stats::{Stats, Tally};
use super::stderr::StderrBuffer;
use super::timeline::{History, Timeline};
use crate::error::{CallSite, Death, Error, TaskErrorKind};
use crate::ids::{JobId, PerWorker, TaskIndex, WorkerId};
use crate::options::WorkerPolicy;
use crate::supervise::Census;
use crate::sys::clock::now_ns;
use crate::work::FunctionRef;

/// How a process or thread of a worker ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) death: Death,
    /// The end of what it printed to stderr.
    pub(crate) stderr_tail: Option<String>,
    /// It had begun the task, or other order, that it was to answer next.
    pub(crate) running: bool,
    /// It ended as it was told to.
    pub(crate) is_orderly: bool,
}

/// Knows all that users can see of a pool, but for the progress of its calls.
#[derive(Debug)]
pub(crate) struct Observer {
    events: Events,
    /// Kept only for a pool with insights.
    history: Option<History>,
    /// What each worker's ended processes or threads did.
    past: PerWorker<WorkerInsights>,
    tally: Tally,
    slowest: Vec<SlowTask>,
    stderr: StderrBuffer,
    /// Whether any worker has printed or logged anything.
    has_output: bool,
    policy: WorkerPolicy,
}

impl Observer {
    pub(crate) fn new(workers: usize, policy: WorkerPolicy) -> Self {
        Self {
            events: Events::default(),
            history: policy.insights.then(|| History::new(workers, now_ns())),
            past: PerWorker::new(workers, |_| WorkerInsights::default()),
            tally: Tally::default(),
            slowest: Vec::new(),
            stderr: StderrBuffer::default(),
            has_output: false,
            policy,
        }
    }

    // ---- workers ----

    /// There may be this many workers from now on.
    pub(crate) fn grow(&mut self, workers: usize) {
        self.past.grow(workers, |_| WorkerInsights::default());
        self.history.iter_mut().for_each(|history| history.grow(workers));
    }

    /// Makes the probes of a new worker: the parent's side and the worker's.
    pub(crate) fn open_probes(&self, is_process: bool) -> io::Result<(Probes, ProbeEnds)> {
        Probes::open(self.policy, is_process, self.history.is_some())
    }

    pub(crate) fn worker_starting(&mut self, worker: WorkerId) {
        if let Some(history) = &mut self.history {
            history.worker_starting(worker, now_ns());
        }
    }

    /// `pid` is None for a thread.
    pub(crate) fn worker_started(&mut self, worker: WorkerId, pid: Option<i32>) {
        let start = self.past[worker].starts + 1;
        self.events.record(worker, Event::Started { pid, start });
    }

    pub(crate) fn worker_not_started(&mut self, worker: WorkerId, error: &Error) {
        self.events.record(worker, Event::NotStarted { error: error.to_string() });
    }

    /// The worker has said that it is ready.
    pub(crate) fn worker_up(&mut self, worker: WorkerId) {
        if let Some(history) = &mut self.history {
            history.worker_up(worker, now_ns());
        }
    }

    /// Takes what the worker left behind. `running` and the result: see [`Ended`].
    pub(crate) fn worker_ended(
        &mut self,
        worker: WorkerId,
        probes: &mut Probes,
        death: Death,
        running: bool,
    ) -> Ended {
        let is_orderly = death.exit_code() == Some(0) && !running;
        let stderr_tail = self.read_rest(worker, probes);
        let died = || Event::Died { death, stderr_tail: stderr_tail.clone() };
        self.events.record(worker, if is_orderly { Event::Ended } else { died() });
        if let Some(history) = &mut self.history {
            let now = now_ns();
            let recorded = probes.track.as_ref().map(|track| track.read(now)).unwrap_or_default();
            history.worker_ended(worker, recorded, (!is_orderly).then(|| death.to_string()), now);
        }
        Ended { death, stderr_tail, running, is_orderly }
    }

    /// Keeps what an ended process or thread of the worker did.
    pub(crate) fn worker_gone(&mut self, worker: WorkerId, did: &WorkerInsights) {
        self.past[worker].add(did);
    }

    // ---- calls ----

    pub(crate) fn job_opened(&mut self, job: JobId, task: FunctionRef, site: &CallSite, now: u64) {
        if let Some(history) = &mut self.history {
            history.job_opened(job, (task.index, task.name), site, now);
        }
    }

    pub(crate) fn job_closed(&mut self, job: JobId, now: u64) {
        if let Some(history) = &mut self.history {
            history.job_closed(job, now);
        }
    }

    /// Tasks gave results.
    pub(crate) fn tasks_done(&mut self, count: u64) {
        self.tally.add_done(count);
    }

    /// A task failed, and is not tried again.
    pub(crate) fn task_failed(&mut self, why: &TaskErrorKind) {
        self.tally.add_failed(why);
    }

    /// An attempt at a task gave no result.
    pub(crate) fn attempt_lost(
        &mut self,
        worker: WorkerId,
        task: FunctionRef,
        site: &CallSite,
        index: TaskIndex,
        why: &TaskErrorKind,
    ) {
        // The event of the death that follows does not say what the worker was killed for. Other failures are told by
        // the task's error.
        let task = task.name;
        match why {
            TaskErrorKind::TimedOut(limit) => {
                self.events
                    .record(worker, Event::TimedOut { task, site: site.clone(), index, limit: *limit });
            }
            TaskErrorKind::CpuLimitExceeded { used, limit } => {
                let (site, used, limit) = (site.clone(), *used, *limit);
                self.events.record(worker, Event::OutOfCpuTime { task, site, index, used, limit });
            }
            TaskErrorKind::Died(death) => {
                if let Some((held, limit)) = death.over_limit() {
                    let site = site.clone();
                    self.events.record(worker, Event::OverMemoryLimit { task, site, index, held, limit });
                }
            }
            _ => {}
        }
    }

    /// The task may be one of the slowest.
    pub(crate) fn ran_slowly(&mut self, task: SlowTask) {
        note_slow(&mut self.slowest, task);
    }

    // ---- what workers print and log ----

    /// Reads what a worker has printed and logged. Returns false if there is more.
    pub(crate) fn read_output(&mut self, worker: WorkerId, Probes { stderr, log, .. }: &mut Probes) -> bool {
        self.has_output = true;
        let all_printed = stderr.as_mut().is_none_or(|stderr| self.stderr.read(stderr));
        let all_logged = log
            .as_mut()
            .is_none_or(|log| log.take(|record| self.events.record(worker, Event::Logged(record))));
        all_printed && all_logged
    }

    /// Reads all that an ended worker left behind, and returns the end of what it printed.
    pub(crate) fn read_rest(&mut self, worker: WorkerId, probes: &mut Probes) -> Option<String> {
        let stderr_tail = probes.stderr.as_mut().and_then(|stderr| self.stderr.read_rest(stderr));
        probes.show_progress(worker);
        if let Some(log) = &mut probes.log {
            log.take(|record| self.events.record(worker, Event::Logged(record)));
        }
        stderr_tail
    }

    /// Passes on the line that a worker has begun and not ended.
    pub(crate) fn flush_line(&mut self, probes: &mut Probes) {
        if let Some(stderr) = &mut probes.stderr {
            self.stderr.flush_line(stderr);
        }
    }

    /// Tries again to write what stderr did not take.
    pub(crate) fn pass_on(&mut self) {
        self.stderr.write();
    }

    /// Whether stderr has not taken all that workers printed.
    pub(crate) fn is_behind(&self) -> bool {
        self.stderr.is_behind()
    }

    /// Whether any worker has printed or logged anything yet.
    pub(crate) fn has_output(&self) -> bool {
        self.has_output
    }

    // ---- for users ----

    pub(crate) fn take_events(&mut self) -> Events {
        std::mem::take(&mut self.events)
    }

    /// Where the workers' time went. `living` has what each has done since its last start.
    pub(crate) fn insights(&self, living: impl Iterator<Item = WorkerInsights>) -> Insights {
        Insights { workers: self.all_did(living), slowest: self.slowest.clone() }
    }

    /// What the pool does and did. `living`: the same.
    pub(crate) fn stats(&self, census: &Census, living: impl Iterator<Item = WorkerInsights>) -> Stats {
        Stats::new(census, &self.tally, &self.all_did(living))
    }

    /// What each worker did in all its processes or threads.
    fn all_did(&self, living: impl Iterator<Item = WorkerInsights>) -> Vec<WorkerInsights> {
        let mut workers = self.past.clone();
        workers.iter_mut().zip(living).for_each(|(worker, did)| worker.add(&did));
        workers.into()
    }

    /// What the workers did when, with what the living have recorded. Empty without insights.
    pub(crate) fn timeline<'p>(&self, living: impl Iterator<Item = Option<&'p Probes>>) -> Timeline {
        let Some(history) = &self.history else { return Timeline::default() };
        let now = now_ns();
        let recorded = |probes: Option<&Probes>| Some(probes?.track.as_ref()?.read(now));
        history.timeline(living.map(|probes| recorded(probes).unwrap_or_default()), now)
    }
}
