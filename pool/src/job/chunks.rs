//! Calls of tasks that take chunks of slices.

use std::ops::Range;

use super::source::Source;
use super::{Job, Mode};
use crate::error::{Error, TaskError};
use crate::shared::{Loan, Piece, SharedArray};
use crate::task::chunk::{Chunk, ChunkMut, OneAChunk, Outputs, Slices};
use crate::task::{BorrowsFrom, ExitOf, InitOf, RunsOn, Task};
use crate::work::splits;

/// Without `chunk_size` and `n_splits`, a slice is cut into this many chunks for each worker, as in MPIRE.
const CHUNKS_PER_WORKER: usize = 64;

impl<'p, T: Task, S, I, E, O> Job<'p, T, S, I, E, O> {
    /// With `false`, [`map_slice`](Self::map_slice) returns the outputs unchanged, one for each chunk. Default: outputs
    /// are concatenated.
    ///
    /// This changes the return type of the call, so `true` has no type of its own and is an error of the call: to
    /// concatenate, leave the option out.
    pub fn concatenate(mut self, concatenate: bool) -> Job<'p, T, S, I, E, OneAChunk> {
        self.options.concatenate = concatenate;
        Job { pool: self.pool, options: self.options, functions: Default::default() }
    }
}

impl<T, S, I, E, O> Job<'_, T, S, I, E, O>
where
    T: Task + BorrowsFrom<S>,
    I: InitOf<T::State> + BorrowsFrom<S>,
    E: ExitOf<T::State> + RunsOn<S>,
    S: 'static,
{
    /// Cuts the input into chunks, runs the task over them and waits; the outputs are concatenated in input order.
    ///
    /// Here `chunk_size`, `n_splits` and `iterable_len` count elements; without them there are 64 chunks for each
    /// worker. All other options, and errors, count chunks: each chunk is one task.
    ///
    /// Over a `SharedArray` the call returns, even with an error, only after the running tasks have ended or were
    /// killed.
    ///
    /// ```
    /// use pool::{WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn halve(#[chunk] rows: &[f32]) -> Vec<f32> {
    ///     rows.iter().map(|x| x / 2.0).collect()
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(2)?;
    ///     let data = [1.0, 2.0, 3.0, 4.0, 5.0];
    ///     assert_eq!(halve::par_map_slice(&pool, &data)?, [0.5, 1.0, 1.5, 2.0, 2.5]);
    ///     let apart = halve::job(&pool).chunk_size(3).concatenate(false).map_slice(&data)?;
    ///     assert_eq!(apart, [vec![0.5, 1.0, 1.5], vec![2.0, 2.5]]);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// - As for [`map`](Job::map).
    /// - [`Error::SharedMemory`] for a `&mut SharedArray` that is in use elsewhere; see [`Slices`].
    /// - [`Error::Concatenate`] when the outputs do not fit together.
    #[doc(alias = "par_map_slice")]
    #[track_caller]
    pub fn map_slice<'i, X: 'i>(mut self, rows: impl Slices<'i, X>) -> Result<O::All, Error>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
        T: for<'x> Task<Item<'x> = Chunk<'x, X>>,
        O: Outputs<T::Output>,
    {
        self.pool.engine().check()?;
        self.check_outputs()?;
        let source = rows.lend()?;
        self.options.quiesces = source.is_on_loan();
        let ranges = self.chunk_ranges(source.len())?;
        let items = ranges.map(|rows| source.chunk(rows));
        O::gather(self.map(items)?, 0)
    }

    /// Cuts the array into chunks of `rows_per_chunk` elements (the last one may be smaller) and runs the task over
    /// them. Each task gets its chunk as a `&mut [T]` into the shared memory itself: nothing is copied. Returns the
    /// outputs, one for each chunk.
    ///
    /// Nothing else can use the array during the call, and the call returns, even with an error, only when no task
    /// works on it any more. When a call is cancelled, running tasks have half a second to end; then their workers are
    /// killed. Threads cannot be killed: with [`StartMethod::Threads`](crate::StartMethod::Threads) the call waits for
    /// the running tasks.
    ///
    /// A chunk that fails does not stop the others. A task that panics, dies or times out leaves its chunk
    /// half-written: its error says which elements those are, see [`TaskError::torn`]. With `retries`, the next attempt
    /// finds the chunk as the last one left it. Chunks that were not begun when the call is cancelled stay as they
    /// were.
    ///
    /// ```
    /// use pool::shared::SharedArray;
    /// use pool::{WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn halve(#[chunk] rows: &mut [f32]) {
    ///     rows.iter_mut().for_each(|x| *x /= 2.0);
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(2)?;
    ///     let mut array = SharedArray::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0])?;
    ///     halve::par_chunks_mut(&pool, &mut array, 2)?;
    ///     assert_eq!(array.to_vec(), [0.5, 1.0, 1.5, 2.0, 2.5]);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// - [`Error::Task`] with the first chunk whose task failed.
    /// - [`Error::SharedMemory`] when the array is in use elsewhere, as for
    ///   [`as_mut_slice`](SharedArray::as_mut_slice).
    /// - [`Error::Option`] for 0 `rows_per_chunk`, or when `chunk_size` or `n_splits` is set.
    /// - Others as for [`map`](Job::map).
    #[doc(alias = "par_chunks_mut")]
    #[track_caller]
    pub fn chunks_mut<X>(
        self,
        array: &mut SharedArray<X>,
        rows_per_chunk: usize,
    ) -> Result<Vec<T::Output>, Error>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
        T: for<'x> Task<Item<'x> = ChunkMut<'x, X>>,
    {
        all_done(self.chunks_in_place(array, rows_per_chunk)?)
    }

    /// Like [`chunks_mut`](Self::chunks_mut), but returns one outcome for each chunk. A failed chunk is an error in its
    /// own place. So it is when the call is cancelled or exceeds its [deadline](Self::deadline): a chunk without an
    /// outcome gets [`TaskErrorKind::Cancelled`](crate::TaskErrorKind::Cancelled), and counts as
    /// [torn](TaskError::torn).
    ///
    /// # Errors
    /// Only what ends the whole call, as for [`chunks_mut`](Self::chunks_mut), other than a cancel or a deadline.
    #[track_caller]
    pub fn chunks_mut_outcomes<X>(
        self,
        array: &mut SharedArray<X>,
        rows_per_chunk: usize,
    ) -> Result<Vec<Result<T::Output, TaskError>>, Error>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
        T: for<'x> Task<Item<'x> = ChunkMut<'x, X>>,
    {
        Ok(self.chunks_in_place(array, rows_per_chunk)?.0)
    }

    #[track_caller]
    fn chunks_in_place<X>(
        self,
        array: &mut SharedArray<X>,
        rows_per_chunk: usize,
    ) -> Result<Ended<T::Output>, Error>
    where
        T: for<'x> Task<Item<'x> = ChunkMut<'x, X>>,
    {
        let rows = (array.len(), 1);
        self.map_in_place(array, rows, rows_per_chunk, |piece, _| ChunkMut::of(piece))
    }

    /// Lends the array to tasks. `(rows, row)` is the number of rows, and the number of elements in each row. `item`
    /// makes the item of a chunk from its piece and its number of rows.
    #[track_caller]
    pub(super) fn map_in_place<'i, X>(
        mut self,
        array: &mut SharedArray<X>,
        (rows, row): (usize, usize),
        rows_per_chunk: usize,
        item: impl Fn(Piece, usize) -> T::Item<'i>,
    ) -> Result<Ended<T::Output>, Error> {
        self.pool.engine().check()?;
        let allowed = "the call itself says how many elements a chunk has: leave the option out";
        if let Some(size) = self.options.chunk_size {
            return Err(Error::option("chunk_size", size, allowed));
        }
        if let Some(splits) = self.options.extra(|extra| extra.n_splits) {
            return Err(Error::option("n_splits", splits, allowed));
        }
        if rows_per_chunk == 0 {
            return Err(Error::option("rows_per_chunk", 0, "a chunk has at least 1 element"));
        }
        let loan = Loan::written(array)?;
        self.options.quiesces = true;
        self.options.chunk_size = Some(rows_per_chunk);
        let ranges = self.chunk_ranges(rows)?;
        let elements = |rows: &Range<usize>| rows.start * row..rows.end * row;
        let items = ranges.clone().map(|rows| item(loan.piece(&elements(&rows)), rows.len()));
        let (outcomes, over) = self.outcomes_of(items, ranges.size_hint().0)?;
        let on_rows = |(outcome, rows): (Result<_, TaskError>, _)| {
            outcome.map_err(|error| error.on_rows(elements(&rows)))
        };
        Ok((outcomes.into_iter().zip(ranges).map(on_rows).collect(), over))
    }

    /// Runs the task over this many items. Each has an outcome, even if the call is cancelled or exceeds its deadline.
    #[track_caller]
    fn outcomes_of<'i>(
        mut self,
        items: impl Iterator<Item = T::Item<'i>>,
        count: usize,
    ) -> Result<Ended<T::Output>, Error> {
        let mut outcomes: Vec<Option<_>> = std::iter::repeat_with(|| None).take(count).collect();
        let pool = self.pool;
        let mut call = self.open(Source::asked(items), Mode::Outcomes { bounded: false })?;
        let over = call.run(|first, came| {
            let places = outcomes[first.as_usize()..].iter_mut();
            match came {
                Ok(values) => {
                    places.zip(values.drain(..)).for_each(|(place, value)| *place = Some(Ok(value)));
                }
                Err(error) => places.take(1).for_each(|place| *place = Some(Err(error.clone()))),
            }
            Ok(())
        });
        let (is_cut_short, site) = (call.is_cut_short(&over), call.site.clone());
        // After this no task is at work on the array.
        drop(call);
        match &over {
            Err(Error::Cancelled) => {}
            Err(_) if is_cut_short => {}
            Err(error) => return Err(error.clone()),
            Ok(()) => {
                assert!(outcomes.iter().all(Option::is_some), "every task has an outcome");
                pool.after_call()?;
            }
        }
        let cancelled = |index| Err(TaskError::cancelled(T::name(), index).called(&site));
        let outcomes = outcomes.into_iter().enumerate();
        Ok((outcomes.map(|(index, outcome)| outcome.unwrap_or_else(|| cancelled(index))).collect(), over))
    }

    /// Rejects `concatenate(true)`.
    pub(super) fn check_outputs(&self) -> Result<(), Error> {
        let help = "outputs are concatenated where this option is left out";
        if self.options.concatenate { Err(Error::option("concatenate", true, help)) } else { Ok(()) }
    }

    /// Cuts an input of this length into chunks. From here on the options count chunks, not elements.
    pub(super) fn chunk_ranges(&mut self, len: usize) -> Result<ChunkRanges, Error> {
        self.options.check()?;
        let len = self.options.iterable_len.take().map_or(len, |most| most.min(len));
        let size = self.options.chunk_size.take();
        let splits = self.options.take(|extra| &mut extra.n_splits);
        if self.pool.config().order_tasks {
            self.options.chunk_size = Some(1);
        }
        let default = || CHUNKS_PER_WORKER.saturating_mul(self.pool.workers());
        Ok(match size {
            Some(size) => ChunkRanges { at: 0, len, by: ChunkBy::Size(size) },
            None => ChunkRanges { at: 0, len, by: ChunkBy::Splits(splits.unwrap_or_else(default).min(len)) },
        })
    }
}

/// One outcome for each task, and how the call ended: an error if it was cancelled or exceeded its deadline.
pub(super) type Ended<R> = (Vec<Result<R, TaskError>>, Result<(), Error>);

/// The results, if every task has one.
pub(super) fn all_done<R>((outcomes, over): Ended<R>) -> Result<Vec<R>, Error> {
    let is_cancelled = |outcome: &Result<R, TaskError>| matches!(outcome, Err(error) if error.is_cancelled());
    if outcomes.iter().any(is_cancelled) {
        over?;
    }
    outcomes.into_iter().collect::<Result<_, _>>().map_err(Error::Task)
}

/// Consecutive ranges of elements, one for each chunk.
#[derive(Debug, Clone)]
pub(super) struct ChunkRanges {
    at: usize,
    len: usize,
    by: ChunkBy,
}

#[derive(Debug, Clone, Copy)]
enum ChunkBy {
    Size(usize),
    /// Into this many chunks: at most one for each element.
    Splits(usize),
}

impl Iterator for ChunkRanges {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        if start == self.len {
            return None;
        }
        self.at = match self.by {
            ChunkBy::Size(size) => start.saturating_add(size).min(self.len),
            ChunkBy::Splits(splits) => {
                self::splits::end(splits as u64, self.len as u64, start as u64) as usize
            }
        };
        Some(start..self.at)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match self.by {
            ChunkBy::Size(size) => (self.len - self.at).div_ceil(size),
            ChunkBy::Splits(0) => 0,
            ChunkBy::Splits(splits) => {
                splits - splits::number(splits as u64, self.len as u64, self.at as u64) as usize
            }
        };
        (left, Some(left))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_as_in_mpire() {
        let sizes = |len, by| {
            let mut ranges = ChunkRanges { at: 0, len, by };
            let mut sizes = Vec::new();
            let (mut left, mut end) = (ranges.size_hint().0, 0);
            while let Some(rows) = ranges.next() {
                assert_eq!((rows.start, ranges.size_hint()), (end, (left - 1, Some(left - 1))));
                (left, end) = (left - 1, rows.end);
                sizes.push(rows.len());
            }
            assert_eq!((left, end), (0, len));
            sizes
        };
        assert_eq!(sizes(10, ChunkBy::Size(4)), [4, 4, 2]);
        assert_eq!(sizes(10, ChunkBy::Splits(6)), [2, 2, 1, 2, 2, 1]);
        assert_eq!(sizes(10, ChunkBy::Splits(1)), [10]);
        assert_eq!(sizes(3, ChunkBy::Splits(3)), [1, 1, 1]);
        assert_eq!(sizes(0, ChunkBy::Splits(0)), [0; 0]);
        assert_eq!(sizes(0, ChunkBy::Size(3)), [0; 0]);
        assert_eq!(sizes(5, ChunkBy::Size(usize::MAX)), [5]);
        for len in 1..60 {
            for splits in 1..=len {
                assert_eq!(sizes(len, ChunkBy::Splits(splits)).len(), splits);
            }
        }
    }
}
