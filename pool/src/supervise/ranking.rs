//! Workers by a key.

use crate::ids::WorkerId;

/// Workers by a key, the smallest first; of several with the same key, the one with the smallest ID.
///
/// A sorted vector: pools are small, so a few entries that move cost less than the nodes of a tree. With 1,000 workers
/// they are 16 KiB, which stay in the cache.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ranking<K>(Vec<(K, WorkerId)>);

impl<K> Default for Ranking<K> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<K: Ord + Copy> Ranking<K> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn least(&self) -> Option<K> {
        self.0.first().map(|(key, _)| *key)
    }

    pub(super) fn workers(&self) -> impl Iterator<Item = WorkerId> {
        self.0.iter().map(|(_, worker)| *worker)
    }

    /// The workers with a key of at most `most`.
    pub(super) fn up_to(&self, most: K) -> impl Iterator<Item = WorkerId> {
        self.0.iter().take_while(move |(key, _)| *key <= most).map(|(_, worker)| *worker)
    }

    /// The workers with a key of at least `least` and at most `most`, with their keys.
    pub(super) fn between(&self, least: K, most: K) -> impl Iterator<Item = (K, WorkerId)> {
        let start = self.0.partition_point(|(key, _)| *key < least);
        self.0[start..].iter().take_while(move |(key, _)| *key <= most).copied()
    }

    /// Files a worker under another key, or removes it.
    #[inline]
    pub(super) fn refile(&mut self, worker: WorkerId, was: Option<K>, now: Option<K>) {
        if was != now {
            self.move_entry(worker, was, now);
        }
    }

    fn move_entry(&mut self, worker: WorkerId, was: Option<K>, now: Option<K>) {
        if let Some(key) = was
            && let Ok(place) = self.0.binary_search(&(key, worker))
        {
            self.0.remove(place);
        }
        if let Some(key) = now {
            let place = self.0.partition_point(|entry| *entry < (key, worker));
            self.0.insert(place, (key, worker));
        }
    }
}

impl<K: Ord> FromIterator<(K, WorkerId)> for Ranking<K> {
    fn from_iter<I: IntoIterator<Item = (K, WorkerId)>>(entries: I) -> Self {
        let mut entries: Vec<_> = entries.into_iter().collect();
        entries.sort_unstable();
        Self(entries)
    }
}
