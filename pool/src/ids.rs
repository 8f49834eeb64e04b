//! Ids, each a type of its own, so that one kind cannot be passed for another.

use std::collections::HashMap;
use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::ops::{Add, AddAssign, Index, IndexMut, Sub};

/// The number of a worker in its pool, counted from 0. A restarted worker keeps its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub(crate) usize);

impl From<WorkerId> for usize {
    fn from(id: WorkerId) -> Self {
        id.0
    }
}

impl fmt::Display for WorkerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Encodes a [`WorkerId`] in a record, for `#[serde(with)]`. The type is public and has no serde traits of its own.
pub(crate) mod worker_id {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::WorkerId;

    pub(crate) fn serialize<S: Serializer>(worker: &WorkerId, serializer: S) -> Result<S::Ok, S::Error> {
        worker.0.serialize(serializer)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<WorkerId, D::Error> {
        usize::deserialize(deserializer).map(WorkerId)
    }
}

/// One value for each of some jobs.
pub(crate) type PerJob<T> = HashMap<JobId, T, BuildHasherDefault<JobIdHasher>>;

/// Hashes the ids of jobs, which are numbered one after the other: a multiplication spreads them over all bits.
#[derive(Debug, Default)]
pub(crate) struct JobIdHasher(u64);

impl Hasher for JobIdHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.write_u32(u32::from(*byte)));
    }

    fn write_u32(&mut self, number: u32) {
        self.0 = (self.0 ^ u64::from(number)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// One value for each worker of a pool.
#[derive(Debug, Clone, Default)]
pub(crate) struct PerWorker<T>(Vec<T>);

impl<T> PerWorker<T> {
    pub(crate) fn new(workers: usize, make: impl FnMut(WorkerId) -> T) -> Self {
        Self((0..workers).map(WorkerId).map(make).collect())
    }

    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds values until there is one for each of this many workers.
    pub(crate) fn grow(&mut self, workers: usize, make: impl FnMut(WorkerId) -> T) {
        self.0.extend((self.0.len()..workers).map(WorkerId).map(make));
    }

    /// The ids of all workers, in order.
    pub(crate) fn ids(&self) -> impl DoubleEndedIterator<Item = WorkerId> + use<T> {
        (0..self.0.len()).map(WorkerId)
    }

    pub(crate) fn numbered(&self) -> impl Iterator<Item = (WorkerId, &T)> {
        self.ids().zip(&self.0)
    }

    pub(crate) fn numbered_mut(&mut self) -> impl Iterator<Item = (WorkerId, &mut T)> {
        self.ids().zip(&mut self.0)
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, T> {
        self.0.iter()
    }

    pub(crate) fn iter_mut(&mut self) -> std::slice::IterMut<'_, T> {
        self.0.iter_mut()
    }
}

impl<T> From<Vec<T>> for PerWorker<T> {
    fn from(by_number: Vec<T>) -> Self {
        Self(by_number)
    }
}

impl<T> From<PerWorker<T>> for Vec<T> {
    fn from(per_worker: PerWorker<T>) -> Self {
        per_worker.0
    }
}

impl<T> Index<WorkerId> for PerWorker<T> {
    type Output = T;

    #[inline]
    fn index(&self, worker: WorkerId) -> &T {
        &self.0[worker.0]
    }
}

impl<T> IndexMut<WorkerId> for PerWorker<T> {
    #[inline]
    fn index_mut(&mut self, worker: WorkerId) -> &mut T {
        &mut self.0[worker.0]
    }
}

/// The number of a call. No two open calls of a pool have the same one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct JobId(u32);

impl JobId {
    #[cfg(test)]
    pub(crate) const fn new(number: u32) -> Self {
        Self(number)
    }

    /// The id of the call opened after this one.
    pub(crate) fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    pub(crate) const fn number(self) -> u32 {
        self.0
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The position of a task's item in the input of its call, counted from 0.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct TaskIndex(u64);

impl TaskIndex {
    pub(crate) const fn new(position: u64) -> Self {
        Self(position)
    }

    pub(crate) const fn number(self) -> u64 {
        self.0
    }

    /// This index and the next ones, `count` in all.
    pub(crate) fn range(self, count: u64) -> impl Iterator<Item = Self> {
        (0..count).map(move |task| self + task)
    }

    /// As users see it. An input of more items than memory has addresses is out of reach.
    pub(crate) const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for TaskIndex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Add<u64> for TaskIndex {
    type Output = Self;

    #[inline]
    fn add(self, tasks: u64) -> Self {
        Self(self.0.wrapping_add(tasks))
    }
}

impl AddAssign<u64> for TaskIndex {
    #[inline]
    fn add_assign(&mut self, tasks: u64) {
        *self = *self + tasks;
    }
}

/// The number of tasks from the earlier one to this one.
impl Sub for TaskIndex {
    type Output = u64;

    #[inline]
    fn sub(self, earlier: Self) -> u64 {
        self.0.wrapping_sub(earlier.0)
    }
}

/// The number of a profile: the init and exit functions that make and end a kind of worker state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ProfileId(u32);

impl ProfileId {
    /// The id of the profile at this index of the pool's list.
    pub(crate) fn at(index: usize) -> Self {
        Self(index as u32)
    }

    /// The index of this profile in the pool's list.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }

    /// Encodes it for a worker. 0 stands for no profile.
    pub(crate) fn to_wire(profile: Option<Self>) -> u32 {
        profile.map_or(0, |Self(number)| number + 1)
    }

    pub(crate) fn from_wire(number: u32) -> Option<Self> {
        number.checked_sub(1).map(Self)
    }
}

/// The number of a unit of a lane: a task, or an order other than a chunk. Units are numbered in the order in which
/// they are sent. The numbers wrap around. Those in use at one time span less than half of all numbers, so the order
/// of any two of them is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Unit(u32);

impl Unit {
    pub(crate) const fn new(number: u32) -> Self {
        Self(number)
    }

    pub(crate) const fn number(self) -> u32 {
        self.0
    }

    pub(crate) fn is_before(self, other: Self) -> bool {
        self - other > u32::MAX / 2
    }
}

impl Add<u32> for Unit {
    type Output = Self;

    #[inline]
    fn add(self, units: u32) -> Self {
        Self(self.0.wrapping_add(units))
    }
}

impl Sub<u32> for Unit {
    type Output = Self;

    #[inline]
    fn sub(self, units: u32) -> Self {
        Self(self.0.wrapping_sub(units))
    }
}

/// The distance from the earlier unit to this one.
impl Sub for Unit {
    type Output = u32;

    #[inline]
    fn sub(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_wrap_around() {
        let last = Unit::new(u32::MAX);
        assert_eq!((last + 3, (last + 3) - last, last + 3 - 3), (Unit::new(2), 3, last));
        assert!(last.is_before(last + 1) && !(last + 1).is_before(last) && !last.is_before(last));
    }

    #[test]
    fn profiles_cross_to_workers_and_back() {
        for profile in [None, Some(ProfileId::at(0)), Some(ProfileId::at(7))] {
            assert_eq!(ProfileId::from_wire(ProfileId::to_wire(profile)), profile);
        }
    }
}
