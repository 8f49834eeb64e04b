//! Puts results in the order of their tasks, whatever the order in which they arrive.

use std::collections::BTreeMap;

use crate::ids::TaskIndex;

/// Collects results. Workers get tasks by the chunk, so most results follow the one before: consecutive results share
/// one vector, a *run*, and only the runs have to be sorted.
pub(super) struct ReorderBuffer<R> {
    /// The index of the first result of the run that is growing.
    first: TaskIndex,
    run: Vec<R>,
    /// The other runs, by the index of their first result.
    others: BTreeMap<TaskIndex, Vec<R>>,
    /// An empty vector, kept for its allocation.
    spare: Vec<R>,
}

impl<R> ReorderBuffer<R> {
    pub(super) fn with_capacity(results: usize) -> Self {
        let run = Vec::with_capacity(results);
        Self { first: TaskIndex::default(), run, others: BTreeMap::new(), spare: Vec::new() }
    }

    /// Returns the vector to which the results from this index on are to be appended.
    #[inline]
    pub(super) fn at(&mut self, index: TaskIndex) -> &mut Vec<R> {
        if index != self.first + self.run.len() as u64 {
            self.switch_run(index);
        }
        &mut self.run
    }

    /// Continues the run that ends just before this index, or begins a new one.
    #[cold]
    fn switch_run(&mut self, index: TaskIndex) {
        self.store_run();
        let before = self.others.range(..=index).next_back();
        let before =
            before.filter(|(first, run)| **first + run.len() as u64 == index).map(|(first, _)| *first);
        self.first = before.unwrap_or(index);
        self.run = match before {
            Some(first) => self.others.remove(&first).unwrap_or_default(),
            None => std::mem::take(&mut self.spare),
        };
    }

    /// Stores the growing run with the others, joined with the runs that follow it.
    fn store_run(&mut self) {
        let mut run = std::mem::take(&mut self.run);
        while let Some(mut next) = self.others.remove(&(self.first + run.len() as u64)) {
            run.append(&mut next);
            self.spare = next;
        }
        if run.capacity() > 0 {
            self.others.insert(self.first, run);
        }
    }

    /// Returns this many results in order, and `missing` in place of each that is missing.
    pub(super) fn into_filled(mut self, count: usize, missing: impl Fn(usize) -> R) -> Vec<R> {
        self.store_run();
        let mut results = Vec::with_capacity(count);
        for (first, mut run) in self.others {
            results.extend((results.len()..first.as_usize()).map(&missing));
            results.append(&mut run);
        }
        results.extend((results.len()..count).map(missing));
        results
    }

    /// Returns all results in order. Panics when one is missing.
    pub(super) fn into_results(mut self) -> Vec<R> {
        if self.first == TaskIndex::default() && self.others.is_empty() {
            return self.run;
        }
        self.store_run();
        let results = self.others.remove(&TaskIndex::default()).unwrap_or_default();
        assert!(self.others.values().all(Vec::is_empty), "every task has an outcome");
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every order in which this many chunks can arrive.
    fn orders(chunks: usize) -> Vec<Vec<usize>> {
        (0..chunks).fold(vec![vec![]], |orders, chunk| {
            let longer = |order: Vec<usize>| {
                (0..=order.len()).map(move |place| {
                    let mut order = order.clone();
                    order.insert(place, chunk);
                    order
                })
            };
            orders.into_iter().flat_map(longer).collect()
        })
    }

    #[test]
    fn results_are_put_in_order() {
        const CHUNKS: usize = 6;
        const LENS: [usize; CHUNKS] = [1, 2, 5, 3, 1, 4];
        let ends: Vec<usize> = LENS
            .iter()
            .scan(0, |end, len| {
                *end += len;
                Some(*end)
            })
            .collect();
        for order in orders(CHUNKS) {
            // Each chunk arrives in two pieces, the second one after all chunks have begun.
            let mut runs = ReorderBuffer::with_capacity(3);
            let pieces = order.iter().map(|chunk| (*chunk, 0..LENS[*chunk] / 2));
            let pieces = pieces.chain(order.iter().map(|chunk| (*chunk, LENS[*chunk] / 2..LENS[*chunk])));
            for (chunk, piece) in pieces {
                let first = ends[chunk] - LENS[chunk];
                for index in first + piece.start..first + piece.end {
                    runs.at(TaskIndex::new(index as u64)).push(index);
                }
            }
            assert!(runs.into_results().into_iter().eq(0..ends[CHUNKS - 1]), "{order:?}");
        }
        assert_eq!(ReorderBuffer::<char>::with_capacity(0).into_results(), []);
    }

    #[test]
    #[should_panic(expected = "every task has an outcome")]
    fn a_missing_result_is_no_result() {
        let mut runs = ReorderBuffer::with_capacity(4);
        runs.at(TaskIndex::new(0)).push('a');
        runs.at(TaskIndex::new(2)).push('c');
        runs.into_results();
    }
}
