//! Results in the order of their tasks, whatever the order in which they come.

use std::collections::BTreeMap;

/// Results as they come. Most follow those before, for workers get tasks by the chunk: those lie in one vector, a
/// *run*, and only runs are put in order.
pub(super) struct ReorderBuffer<R> {
    /// The index of the first result of the run that grows.
    first: u64,
    run: Vec<R>,
    /// The other runs, by the index of their first result.
    others: BTreeMap<u64, Vec<R>>,
    /// Kept for its memory.
    spare: Vec<R>,
}

impl<R> ReorderBuffer<R> {
    pub(super) fn with_capacity(results: usize) -> Self {
        let run = Vec::with_capacity(results);
        Self { first: 0, run, others: BTreeMap::new(), spare: Vec::new() }
    }

    /// Where the results from this index on are to be appended.
    #[inline]
    pub(super) fn at(&mut self, index: u64) -> &mut Vec<R> {
        if index != self.first + self.run.len() as u64 {
            self.turn_to(index);
        }
        &mut self.run
    }

    /// Goes on with the run that ends before this index, or begins one.
    #[cold]
    fn turn_to(&mut self, index: u64) {
        self.lay_down();
        let before = self.others.range(..=index).next_back();
        let before =
            before.filter(|(first, run)| **first + run.len() as u64 == index).map(|(first, _)| *first);
        self.first = before.unwrap_or(index);
        self.run = match before {
            Some(first) => self.others.remove(&first).unwrap_or_default(),
            None => std::mem::take(&mut self.spare),
        };
    }

    /// Lays the run that grows to the others, joined with what follows it.
    fn lay_down(&mut self) {
        let mut run = std::mem::take(&mut self.run);
        while let Some(mut next) = self.others.remove(&(self.first + run.len() as u64)) {
            run.append(&mut next);
            self.spare = next;
        }
        if run.capacity() > 0 {
            self.others.insert(self.first, run);
        }
    }

    /// All of them. Panics when one is missing.
    pub(super) fn into_results(mut self) -> Vec<R> {
        if self.first == 0 && self.others.is_empty() {
            return self.run;
        }
        self.lay_down();
        let results = self.others.remove(&0).unwrap_or_default();
        assert!(self.others.values().all(Vec::is_empty), "every task has an outcome");
        results
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every order in which so many chunks can come.
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
        const TORN: [usize; CHUNKS] = [1, 2, 5, 3, 1, 4];
        let ends: Vec<usize> = TORN
            .iter()
            .scan(0, |end, len| {
                *end += len;
                Some(*end)
            })
            .collect();
        for order in orders(CHUNKS) {
            // Each chunk comes in two pieces, the second one when all have begun.
            let mut runs = ReorderBuffer::with_capacity(3);
            let pieces = order.iter().map(|chunk| (*chunk, 0..TORN[*chunk] / 2));
            let pieces = pieces.chain(order.iter().map(|chunk| (*chunk, TORN[*chunk] / 2..TORN[*chunk])));
            for (chunk, piece) in pieces {
                let first = ends[chunk] - TORN[chunk];
                for index in first + piece.start..first + piece.end {
                    runs.at(index as u64).push(index);
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
        runs.at(0).push('a');
        runs.at(2).push('c');
        runs.into_results();
    }
}
