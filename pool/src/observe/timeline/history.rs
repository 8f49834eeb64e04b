//! What the parent knows of the workers' lives and of calls, and keeps for a picture.

use std::collections::{BTreeMap, VecDeque};

use super::slices::{Slice, Slices};
use super::track::Noted;
use super::{Timeline, WorkerLine};
use crate::ids::{JobId, PerWorker, WorkerId};

/// So many lives and calls are kept, the last ones.
const MOST: usize = 1024;

/// Of a pool that was asked for it.
#[derive(Debug)]
pub(crate) struct History {
    /// What workers did that are gone, by their numbers.
    past: PerWorker<Slices>,
    lives: VecDeque<Life>,
    calls: VecDeque<Call>,
    open: BTreeMap<JobId, Call>,
    names: BTreeMap<u32, &'static str>,
    born: u64,
}

/// A worker's life.
#[derive(Debug, Clone)]
pub(super) struct Life {
    pub(super) worker: WorkerId,
    pub(super) start: u64,
    /// When it was up.
    pub(super) up: Option<u64>,
    pub(super) end: Option<u64>,
    /// How it died, if it had not been told to end.
    pub(super) death: Option<String>,
}

impl Life {
    /// A worker is up when it is at work, though the parent may have heard it later. Slices do not overlap but where one is
    /// within another, or viewers drop them.
    fn up_at_work(&self, slices: &[Slice]) -> Self {
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
    pub(super) start: u64,
    /// None while it is under way.
    pub(super) end: Option<u64>,
}

fn keep<T>(list: &mut VecDeque<T>, item: T) {
    if list.len() >= MOST {
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
            born: now,
        }
    }

    pub(crate) fn started(&mut self, worker: WorkerId, start: u64) {
        keep(&mut self.lives, Life { worker, start, up: None, end: None, death: None });
    }

    fn life(&mut self, worker: WorkerId) -> Option<&mut Life> {
        self.lives.iter_mut().rev().find(|life| life.worker == worker)
    }

    pub(crate) fn is_up(&mut self, worker: WorkerId, now: u64) {
        if let Some(life) = self.life(worker) {
            life.up = Some(now);
        }
    }

    /// The worker is gone.
    pub(crate) fn ended(&mut self, worker: WorkerId, noted: Noted, death: Option<String>, now: u64) {
        for slice in noted.slices.into_iter().chain(noted.running.map(|running| running.until(now))) {
            self.past[worker].push(slice);
        }
        if let Some(life) = self.life(worker) {
            (life.end, life.death) = (Some(now), death);
        }
    }

    /// A call was opened, of the task with this index in the registry.
    pub(crate) fn opened(&mut self, job: JobId, index: u32, task: &'static str, now: u64) {
        self.names.insert(index, task);
        self.open.insert(job, Call { task, start: now, end: None });
    }

    pub(crate) fn closed(&mut self, job: JobId, now: u64) {
        if let Some(call) = self.open.remove(&job) {
            keep(&mut self.calls, Call { end: Some(now), ..call });
        }
    }

    /// All that is known by now, with what living workers have noted.
    pub(crate) fn timeline(&self, living: impl Iterator<Item = Noted>, now: u64) -> Timeline {
        let workers = self.past.numbered().zip(living).map(|((worker, past), living)| {
            let running = living.running.map(|running| running.until(now));
            let slices: Vec<Slice> =
                past.list().iter().copied().chain(living.slices).chain(running).collect();
            let lives = self.lives.iter().filter(|life| life.worker == worker);
            WorkerLine { lives: lives.map(|life| life.up_at_work(&slices)).collect(), slices }
        });
        let calls = self.calls.iter().chain(self.open.values()).cloned().collect();
        let workers = workers.collect::<Vec<_>>().into();
        Timeline { workers, calls, names: self.names.clone(), start: self.born, end: now }
    }
}
