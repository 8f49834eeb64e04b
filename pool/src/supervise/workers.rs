//! All workers, filed under what events ask for, so that none has to look at each of them.

use std::ops::{Deref, DerefMut, Index};

use super::count_looks;
use super::ranking::Ranking;
use super::worker::{Facts, Presence, Worker};
use crate::ids::{PerWorker, WorkerId};

#[derive(Debug)]
pub(super) struct Workers {
    /// Those that the pool has or had: when it shrinks, the surplus ones stay here, absent.
    by_id: PerWorker<Worker>,
    /// How many the pool has. Those with a number below it are no surplus.
    size: usize,
    /// What each is filed under.
    filed: PerWorker<Facts>,
    /// Those that take tasks now, by load.
    ranks: Ranking<u64>,
    /// Those with a deadline of their own.
    deadlines: Ranking<u64>,
    /// Those with tasks that another could take over, by the time at which the head has lasted too long.
    movable: Ranking<u64>,
    /// Those that are absent and may be started, by the time of their next start; first those that wait for nothing
    /// but a job.
    absent: Ranking<Option<u64>>,
    /// Those of them that a job waits for, which no other worker can serve.
    awaited: Ranking<Option<u64>>,
    /// Those that take tasks now and have some assigned.
    assigned: Ranking<()>,
    /// Those that the pool has no more use for, and that were not told to leave.
    unwanted: Ranking<()>,
    /// Those that something is expected from.
    active: Vec<WorkerId>,
    /// The place of each in that list.
    places: PerWorker<usize>,
    /// How many are not absent, and how many of these, or of those that are awaited, are surplus.
    present: usize,
    surplus: usize,
    taking: usize,
    busy: usize,
    idle: usize,
    failed_starts: u32,
}

impl Workers {
    /// Makes them; all are absent.
    pub(super) fn new(workers: usize) -> Self {
        let by_id = PerWorker::new(workers, |_| Worker::absent(0));
        Self {
            filed: PerWorker::new(workers, |worker| Facts::of(&by_id[worker])),
            absent: by_id.ids().map(|worker| (None, worker)).collect(),
            by_id,
            size: workers,
            ranks: Ranking::default(),
            deadlines: Ranking::default(),
            movable: Ranking::default(),
            awaited: Ranking::default(),
            assigned: Ranking::default(),
            unwanted: Ranking::default(),
            active: Vec::new(),
            places: PerWorker::new(workers, |_| 0),
            present: 0,
            surplus: 0,
            taking: 0,
            busy: 0,
            idle: 0,
            failed_starts: 0,
        }
    }

    /// How many the pool has.
    pub(super) fn len(&self) -> usize {
        self.size
    }

    /// Sets how many the pool has. Returns those that have become surplus.
    pub(super) fn resize(&mut self, size: usize) -> Vec<WorkerId> {
        let was = std::mem::replace(&mut self.size, size);
        let known = self.by_id.len();
        self.by_id.grow(size, |_| Worker::absent(0));
        self.filed.grow(size, |_| Facts::default());
        self.places.grow(size, |_| 0);
        for worker in (was.min(known)..size).map(WorkerId) {
            self.edit(worker).is_surplus = false;
        }
        let surplus: Vec<_> = (size..was).map(WorkerId).collect();
        surplus.iter().for_each(|worker| self.edit(*worker).is_surplus = true);
        surplus
    }

    /// Those that the pool has.
    pub(super) fn current(&self) -> impl Iterator<Item = WorkerId> + use<> {
        (0..self.size).map(WorkerId)
    }

    /// Those that the pool has or had.
    pub(super) fn ids(&self) -> impl DoubleEndedIterator<Item = WorkerId> + use<> {
        self.by_id.ids()
    }

    /// The worker, to be changed. It is filed anew when this is dropped.
    pub(super) fn edit(&mut self, worker: WorkerId) -> Edit<'_> {
        count_looks(1);
        Edit { workers: self, worker }
    }

    /// The workers that take tasks now: first the one with the fewest tasks, and of several one that is up.
    pub(super) fn by_load(&self) -> impl Iterator<Item = WorkerId> {
        self.ranks.workers()
    }

    /// The earliest deadline of a worker.
    pub(super) fn deadline(&self) -> Option<u64> {
        self.deadlines.least()
    }

    /// The workers whose deadline has come.
    pub(super) fn due(&self, now: u64) -> Vec<WorkerId> {
        self.deadlines.up_to(now).collect()
    }

    /// When the first task will have lasted too long that has tasks behind it that another worker could take over.
    pub(super) fn first_movable(&self) -> Option<u64> {
        self.movable.least()
    }

    /// The workers with such a task at this time.
    pub(super) fn movable(&self, now: u64) -> Vec<WorkerId> {
        self.movable.up_to(now).collect()
    }

    /// The absent workers whose next start is due at this time, with when it was due.
    pub(super) fn retries(&self, now: u64) -> impl Iterator<Item = (u64, WorkerId)> {
        let retries = self.absent.between(Some(0), Some(now));
        retries.filter_map(|(at, worker)| Some((at?, worker)))
    }

    /// The absent workers that may be started now.
    pub(super) fn startable(&self, now: u64) -> impl Iterator<Item = WorkerId> {
        self.absent.up_to(Some(now))
    }

    /// Those of them that a job waits for, which no other worker can serve.
    pub(super) fn awaited(&self, now: u64) -> impl Iterator<Item = WorkerId> {
        self.awaited.up_to(Some(now))
    }

    /// Whether a job waits for this worker, which no other one can serve. As filed, so that it costs no look.
    pub(super) fn is_awaited(&self, worker: WorkerId) -> bool {
        self.filed[worker].presence.awaited.is_some()
    }

    /// The earliest time at which such a worker may be started.
    pub(super) fn first_awaited(&self) -> Option<u64> {
        self.awaited.between(Some(0), Some(u64::MAX)).find_map(|(at, _)| at)
    }

    /// The first worker that takes tasks now and has some assigned.
    pub(super) fn first_assigned(&self) -> Option<WorkerId> {
        self.assigned.workers().next()
    }

    /// Whether every worker has ended.
    pub(super) fn are_all_absent(&self) -> bool {
        self.present == 0
    }

    /// Whether surplus workers are there, or are awaited.
    pub(super) fn are_any_surplus(&self) -> bool {
        self.surplus > 0
    }

    /// The first that the pool has no more use for, and that was not told to leave.
    pub(super) fn first_unwanted(&self) -> Option<WorkerId> {
        self.unwanted.workers().next()
    }

    /// Whether any is absent that may be started.
    pub(super) fn are_any_absent(&self) -> bool {
        !self.absent.is_empty()
    }

    /// How many take orders.
    pub(super) fn taking(&self) -> usize {
        self.taking
    }

    /// The workers that something is expected from: an answer, or their start or end.
    pub(super) fn active(&self) -> &[WorkerId] {
        &self.active
    }

    /// How many have something to do.
    pub(super) fn busy(&self) -> usize {
        self.busy
    }

    /// Whether one that takes orders has nothing to do.
    pub(super) fn is_any_idle(&self) -> bool {
        self.idle > 0
    }

    /// The failed starts of all workers together.
    pub(super) fn failed_starts(&self) -> u32 {
        self.failed_starts
    }

    /// Files a worker that has changed.
    fn file(&mut self, worker: WorkerId) {
        let now = Facts::of(&self.by_id[worker]);
        let was = std::mem::replace(&mut self.filed[worker], now);
        if was == now {
            return;
        }
        self.ranks.refile(worker, was.rank, now.rank);
        self.deadlines.refile(worker, was.deadline, now.deadline);
        self.movable.refile(worker, was.movable_at, now.movable_at);
        if was.presence != now.presence {
            self.file_presence(worker, was.presence, now.presence);
        }
        self.busy = self.busy + usize::from(now.is_busy) - usize::from(was.is_busy);
        self.idle = self.idle + usize::from(now.is_idle) - usize::from(was.is_idle);
        match (was.is_active, now.is_active) {
            (false, true) => {
                self.places[worker] = self.active.len();
                self.active.push(worker);
            }
            (true, false) => {
                let place = self.places[worker];
                self.active.swap_remove(place);
                if let Some(moved) = self.active.get(place) {
                    self.places[*moved] = place;
                }
            }
            _ => {}
        }
    }

    #[cold]
    fn file_presence(&mut self, worker: WorkerId, was: Presence, now: Presence) {
        let key = |is_filed: bool| is_filed.then_some(());
        self.absent.refile(worker, was.absent, now.absent);
        self.awaited.refile(worker, was.awaited, now.awaited);
        self.assigned.refile(worker, key(was.takes_assigned), key(now.takes_assigned));
        self.unwanted.refile(worker, key(was.is_unwanted), key(now.is_unwanted));
        self.taking = self.taking + usize::from(now.takes_orders) - usize::from(was.takes_orders);
        self.failed_starts = self.failed_starts + now.failed_starts - was.failed_starts;
        self.present = self.present + usize::from(now.is_present) - usize::from(was.is_present);
        self.surplus = self.surplus + usize::from(now.is_surplus) - usize::from(was.is_surplus);
    }
}

impl Index<WorkerId> for Workers {
    type Output = Worker;

    fn index(&self, worker: WorkerId) -> &Worker {
        count_looks(1);
        &self.by_id[worker]
    }
}

/// A worker that is being changed.
pub(super) struct Edit<'w> {
    workers: &'w mut Workers,
    pub(super) worker: WorkerId,
}

impl Deref for Edit<'_> {
    type Target = Worker;

    fn deref(&self) -> &Worker {
        &self.workers.by_id[self.worker]
    }
}

impl DerefMut for Edit<'_> {
    fn deref_mut(&mut self) -> &mut Worker {
        &mut self.workers.by_id[self.worker]
    }
}

impl Drop for Edit<'_> {
    fn drop(&mut self) {
        self.workers.file(self.worker);
    }
}

#[cfg(test)]
impl Workers {
    /// Compares what is filed with a look at each worker.
    pub(super) fn check(&self) {
        fn keys<K: Ord>(of: impl Iterator<Item = (Option<K>, WorkerId)>) -> Ranking<K> {
            of.filter_map(|(key, worker)| Some((key?, worker))).collect()
        }
        let facts: Vec<_> = self.by_id.numbered().map(|(id, worker)| (Facts::of(worker), id)).collect();
        let facts = || facts.iter().copied();
        assert_eq!(self.ranks, keys(facts().map(|(facts, id)| (facts.rank, id))));
        assert_eq!(self.deadlines, keys(facts().map(|(facts, id)| (facts.deadline, id))));
        assert_eq!(self.movable, keys(facts().map(|(facts, id)| (facts.movable_at, id))));
        assert_eq!(self.absent, keys(facts().map(|(facts, id)| (facts.presence.absent, id))));
        assert_eq!(self.awaited, keys(facts().map(|(facts, id)| (facts.presence.awaited, id))));
        assert_eq!(
            self.assigned,
            keys(facts().map(|(facts, id)| (facts.presence.takes_assigned.then_some(()), id)))
        );
        assert_eq!(
            self.unwanted,
            keys(facts().map(|(facts, id)| (facts.presence.is_unwanted.then_some(()), id)))
        );
        assert_eq!(self.present, facts().filter(|(facts, _)| facts.presence.is_present).count());
        assert_eq!(self.surplus, facts().filter(|(facts, _)| facts.presence.is_surplus).count());
        assert!(self.by_id.numbered().all(|(id, worker)| worker.is_surplus == (id.0 >= self.size)));
        let mut active = self.active.clone();
        active.sort_unstable();
        assert_eq!(
            active,
            facts().filter(|(facts, _)| facts.is_active).map(|(_, id)| id).collect::<Vec<_>>()
        );
        assert_eq!(self.taking, facts().filter(|(facts, _)| facts.presence.takes_orders).count());
        assert_eq!(self.busy, facts().filter(|(facts, _)| facts.is_busy).count());
        assert_eq!(self.idle, facts().filter(|(facts, _)| facts.is_idle).count());
        assert_eq!(self.failed_starts, facts().map(|(facts, _)| facts.presence.failed_starts).sum::<u32>());
    }
}
