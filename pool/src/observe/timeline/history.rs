//! What the parent keeps for a timeline: the lives of workers, calls, and what ended workers had recorded.

use std::collections::{BTreeMap, VecDeque};
use std::panic::Location;

use super::slices::{Slice, Slices};
use super::track::Recording;
use super::{Timeline, WorkerLine};
use crate::error::{CallSite, Called};
use crate::ids::{JobId, PerWorker, WorkerId};

/// The most lives, and the most calls, that are kept.
const MAX_KEPT: usize = 1024;

/// The past of a pool.
#[derive(Debug)]
pub(crate) struct History {
    /// What each worker's ended processes or threads did.
    past: PerWorker<Slices>,
    lives: VecDeque<Life>,
    calls: VecDeque<Call>,
    /// Calls that have not ended.
    open: BTreeMap<JobId, Call>,
    names: BTreeMap<u32, &'static str>,
    start: u64,
}

/// The life of one process or thread of a worker, in CLOCK_MONOTONIC nanoseconds.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) worker: WorkerId,
    pub(super) start: u64,
    /// When it was ready for tasks.
    pub(super) up: Option<u64>,
    pub(super) end: Option<u64>,
    /// How it died, unless it ended as it was told to.
    pub(super) death: Option<String>,
}

impl Life {
    /// Ends the start-up where the first slice begins, or where a slice around it ends: the parent may hear later that
    /// the worker is up, and trace viewers drop slices that overlap in part.
    fn without_overlap(&self, slices: &[Slice]) -> Self {
        let around = slices.partition_point(|slice| slice.end <= self.start);
        let bound =
            slices.get(around).map(|slice| if slice.start > self.start { slice.start } else { slice.end });
        let up = self.up.map(|up| bound.map_or(up, |bound| bound.min(up)));
        Self { up, ..self.clone() }
    }
}

/// A call.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) task: &'static str,
    /// As it is shown, so that its memory is bounded.
    pub(super) label: Option<String>,
    pub(super) at: &'static Location<'static>,
    pub(super) start: u64,
    /// None while it is open.
    pub(super) end: Option<u64>,
}

impl Call {
    /// Its label, or else the name of its task.
    pub(super) fn name(&self) -> &str {
        self.label.as_deref().unwrap_or_else(|| super::short(self.task))
    }

    /// What it is, in one line.
    pub(super) fn description(&self) -> String {
        let (label, at) = (self.label.as_deref(), self.at.to_string());
        format!("call of {}, {}", self.task, Called { label, at: Some(&at) })
    }
}

/// Adds an item, in place of the oldest if there are enough.
fn keep<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() >= MAX_KEPT {
        list.pop_front();
    }
    list.push_back(item);
}

impl History {
    pub(crate) fn new(workers: usize, now: u64) -> Self {
        Self {
            past: PerWorker::new(workers, |_| Slices::default()),
            lives: VecDeque::new(),
            calls: VecDeque::new(),
            open: BTreeMap::new(),
            names: BTreeMap::new(),
            start: now,
        }
    }

    /// There may be this many workers from now on.
    pub(crate) fn grow(&mut self, workers: usize) {
        self.past.grow(workers, |_| Slices::default());
    }

    pub(crate) fn worker_starting(&mut self, worker: WorkerId, start: u64) {
        keep(&mut self.lives, Life { worker, start, up: None, end: None, death: None });
    }

    /// The last life of a worker.
    fn life(&mut self, worker: WorkerId) -> Option<&mut Life> {
        self.lives.iter_mut().rev().find(|life| life.worker == worker)
    }

    pub(crate) fn worker_up(&mut self, worker: WorkerId, now: u64) {
        if let Some(life) = self.life(worker) {
            life.up = Some(now);
        }
    }

    pub(crate) fn worker_ended(
        &mut self,
        worker: WorkerId,
        recorded: Recording,
        death: Option<String>,
        now: u64,
    ) {
        for slice in recorded.slices.into_iter().chain(recorded.running.map(|running| running.until(now))) {
            self.past[worker].push(slice);
        }
        if let Some(life) = self.life(worker) {
            (life.end, life.death) = (Some(now), death);
        }
    }

    /// `entry` is the index of the task's function in the registry.
    pub(crate) fn job_opened(
        &mut self,
        job: JobId,
        (entry, task): (u32, &'static str),
        site: &CallSite,
        now: u64,
    ) {
        self.names.insert(entry, task);
        let label = site.shown_label();
        self.open.insert(job, Call { task, label, at: site.at, start: now, end: None });
    }

    pub(crate) fn job_closed(&mut self, job: JobId, now: u64) {
        if let Some(call) = self.open.remove(&job) {
            keep(&mut self.calls, Call { end: Some(now), ..call });
        }
    }

    /// The timeline up to now. `living` has what each worker has recorded since its last start.
    pub(crate) fn timeline(&self, living: impl Iterator<Item = Recording>, now: u64) -> Timeline {
        let workers = self.past.numbered().zip(living).map(|((worker, past), living)| {
            let running = living.running.map(|running| running.until(now));
            let slices: Vec<Slice> =
                past.list().iter().copied().chain(living.slices).chain(running).collect();
            let lives = self.lives.iter().filter(|life| life.worker == worker);
            WorkerLine { lives: lives.map(|life| life.without_overlap(&slices)).collect(), slices }
        });
        let calls = self.calls.iter().chain(self.open.values()).cloned().collect();
        let workers = workers.collect::<Vec<_>>().into();
        Timeline { workers, calls, names: self.names.clone(), start: self.start, end: now }
    }
}
