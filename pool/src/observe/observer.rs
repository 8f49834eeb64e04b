//! The observer: told each fact once, by whoever learns of it first.

use std::io;

use super::events::{Event, Events};
use super::insights::{Insights, SlowTask, WorkerInsights, note_slow};
use super::probes::{ProbeEnds, Probes};
use super::stderr::Printed;
use super::timeline::{History, Timeline};
use crate::error::{Death, Error, TaskErrorKind};
use crate::ids::{JobId, PerWorker, TaskIndex, WorkerId};
use crate::options::WorkerPolicy;
use crate::sys::clock::now_ns;
use crate::work::FunctionRef;

/// How a worker ended.
#[derive(Debug, Clone)]
pub(crate) struct Ended {
    pub(crate) death: Death,
    /// What it printed last.
    pub(crate) stderr_tail: Option<String>,
    /// It was running what it was to answer next.
    pub(crate) running: bool,
    /// It had been told to end, and did.
    pub(crate) is_orderly: bool,
}

/// Knows all that is to be seen of a pool.
#[derive(Debug)]
pub(crate) struct Observer {
    /// For the program's subscriber, when no lock is held.
    events: Events,
    /// For a timeline, where somebody wants one.
    history: Option<History>,
    /// What workers did that are gone, by their numbers.
    past: PerWorker<WorkerInsights>,
    slowest: Vec<SlowTask>,
    printed: Printed,
    policy: WorkerPolicy,
}

impl Observer {
    pub(crate) fn new(workers: usize, policy: WorkerPolicy) -> Self {
        Self {
            events: Events::default(),
            history: policy.insights.then(|| History::new(workers, now_ns())),
            past: PerWorker::new(workers, |_| WorkerInsights::default()),
            slowest: Vec::new(),
            printed: Printed::default(),
            policy,
        }
    }

    // ---- workers ----

    /// The means to observe a new worker.
    pub(crate) fn open_probes(&self, is_process: bool) -> io::Result<(Probes, ProbeEnds)> {
        Probes::open(self.policy, is_process, self.history.is_some())
    }

    /// A worker is about to be started.
    pub(crate) fn worker_starting(&mut self, worker: WorkerId) {
        if let Some(history) = &mut self.history {
            history.worker_starting(worker, now_ns());
        }
    }

    /// It was started, as a process of this number or as a thread.
    pub(crate) fn worker_started(&mut self, worker: WorkerId, pid: Option<i32>) {
        let start = self.past[worker].starts + 1;
        self.events.record(worker, Event::Started { pid, start });
    }

    pub(crate) fn worker_not_started(&mut self, worker: WorkerId, error: &Error) {
        self.events.record(worker, Event::NotStarted { error: error.to_string() });
    }

    /// It has said that it is up.
    pub(crate) fn worker_up(&mut self, worker: WorkerId) {
        if let Some(history) = &mut self.history {
            history.worker_up(worker, now_ns());
        }
    }

    /// It has ended; what it left behind is taken, and says why.
    pub(crate) fn worker_ended(
        &mut self,
        worker: WorkerId,
        probes: &mut Probes,
        death: Death,
        running: bool,
    ) -> Ended {
        let is_orderly = death.exit_code() == Some(0) && !running;
        let stderr_tail = self.take_rest(worker, probes);
        let died = || Event::Died { death, stderr_tail: stderr_tail.clone() };
        self.events.record(worker, if is_orderly { Event::Ended } else { died() });
        if let Some(history) = &mut self.history {
            let now = now_ns();
            let recorded = probes.track.as_ref().map(|track| track.read(now)).unwrap_or_default();
            history.worker_ended(worker, recorded, (!is_orderly).then(|| death.to_string()), now);
        }
        Ended { death, stderr_tail, running, is_orderly }
    }

    /// What it did, now that it is gone.
    pub(crate) fn worker_gone(&mut self, worker: WorkerId, did: &WorkerInsights) {
        self.past[worker].add(did);
    }

    // ---- calls ----

    pub(crate) fn job_opened(&mut self, job: JobId, task: FunctionRef, now: u64) {
        if let Some(history) = &mut self.history {
            history.job_opened(job, task.index, task.name, now);
        }
    }

    pub(crate) fn job_closed(&mut self, job: JobId, now: u64) {
        if let Some(history) = &mut self.history {
            history.job_closed(job, now);
        }
    }

    /// An attempt at a task gave no result.
    pub(crate) fn attempt_lost(
        &mut self,
        worker: WorkerId,
        task: FunctionRef,
        index: TaskIndex,
        why: &TaskErrorKind,
    ) {
        // Nothing else says that it took too long.
        if let TaskErrorKind::TimedOut(limit) = *why {
            self.events.record(worker, Event::TimedOut { task: task.name, index, limit });
        }
    }

    /// A task took long.
    pub(crate) fn ran_slowly(&mut self, task: SlowTask) {
        note_slow(&mut self.slowest, task);
    }

    // ---- what workers print and log ----

    /// Takes what a worker has printed and logged. False when there is more.
    pub(crate) fn listen(&mut self, worker: WorkerId, Probes { stderr, log, .. }: &mut Probes) -> bool {
        self.printed.any = true;
        let all_printed = stderr.as_mut().is_none_or(|stderr| self.printed.take(stderr));
        let all_logged = log
            .as_mut()
            .is_none_or(|log| log.take(|record| self.events.record(worker, Event::Logged(record))));
        all_printed && all_logged
    }

    /// Takes all that a worker has left behind; says what it printed last.
    pub(crate) fn take_rest(&mut self, worker: WorkerId, probes: &mut Probes) -> Option<String> {
        let stderr_tail = probes.stderr.as_mut().and_then(|stderr| self.printed.take_last(stderr));
        probes.show_progress(worker);
        if let Some(log) = &mut probes.log {
            log.take(|record| self.events.record(worker, Event::Logged(record)));
        }
        stderr_tail
    }

    /// Takes the line that a worker has not ended yet.
    pub(crate) fn take_line(&mut self, probes: &mut Probes) {
        if let Some(stderr) = &mut probes.stderr {
            stderr.take_line(&mut self.printed);
        }
    }

    /// Passes on what was printed and could not be passed on before.
    pub(crate) fn pass_on(&mut self) {
        self.printed.pass_on();
    }

    /// Whether stderr did not take all that was printed.
    pub(crate) fn is_behind(&self) -> bool {
        self.printed.is_stuck()
    }

    /// Whether a worker has printed or logged anything yet.
    pub(crate) fn has_heard(&self) -> bool {
        self.printed.any
    }

    // ---- for readers ----

    pub(crate) fn take_events(&mut self) -> Events {
        std::mem::take(&mut self.events)
    }

    /// Where the workers' time went, with what those that live have done.
    pub(crate) fn insights(&self, living: impl Iterator<Item = WorkerInsights>) -> Insights {
        let mut workers = self.past.clone();
        workers.iter_mut().zip(living).for_each(|(worker, did)| worker.add(&did));
        Insights { workers: workers.into(), slowest: self.slowest.clone() }
    }

    /// What they did when.
    pub(crate) fn timeline<'p>(&self, living: impl Iterator<Item = Option<&'p Probes>>) -> Timeline {
        let Some(history) = &self.history else { return Timeline::default() };
        let now = now_ns();
        let recorded = |probes: Option<&Probes>| Some(probes?.track.as_ref()?.read(now));
        history.timeline(living.map(|probes| recorded(probes).unwrap_or_default()), now)
    }
}
