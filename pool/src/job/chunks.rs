//! Calls of tasks that take chunks.

use std::ops::Range;

use super::Job;
use crate::error::{Error, TaskError};
use crate::shared::{Loan, Piece, SharedArray};
use crate::task::chunk::{Chunk, ChunkMut, OneAChunk, Outputs, Slices};
use crate::task::{ExitOf, InitOf, RunsOn, Task};
use crate::work::splits;

/// Into so many chunks for each worker is a slice cut, unless the job says otherwise: as in MPIRE.
const SPLITS: usize = 64;

impl<'p, T: Task, S, I, E, O> Job<'p, T, S, I, E, O> {
    /// With `false`, [`map_slice`](Self::map_slice) gives the outputs as they are, one a chunk.
    ///
    /// What the call gives is a matter of types, so to have the outputs concatenated leave this out: `true` is an error
    /// of the call.
    pub fn concatenate(mut self, concatenate: bool) -> Job<'p, T, S, I, E, OneAChunk> {
        self.options.concatenate = concatenate;
        Job { pool: self.pool, options: self.options, functions: Default::default() }
    }
}

impl<T, S, I, E, O> Job<'_, T, S, I, E, O>
where
    T: Task + RunsOn<S>,
    I: InitOf<T::State> + RunsOn<S>,
    E: ExitOf<T::State> + RunsOn<S>,
    S: 'static,
{
    /// Cuts the input into chunks and runs the task over them; the outputs are concatenated, in input order.
    ///
    /// Here `chunk_size`, `n_splits` and `iterable_len` count elements: by default there are 64 chunks for each worker.
    /// All other options, and errors, count chunks as tasks.
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
    /// As for [`map`](Job::map); [`Error::SharedMemory`] for a `&mut SharedArray` that someone else has, see
    /// [`Slices`]; [`Error::Concatenate`] when the outputs do not fit together. Over a `SharedArray` the call ends,
    /// also with an error, only when the tasks that run have ended or were killed.
    #[doc(alias = "par_map_slice")]
    pub fn map_slice<'i, X: 'i>(mut self, rows: impl Slices<'i, X>) -> Result<O::All, Error>
    where
        T: for<'x> Task<Item<'x> = Chunk<'x, X>>,
        O: Outputs<T::Output>,
    {
        self.pool.engine().check()?;
        self.check_outputs()?;
        let source = rows.lend()?;
        self.options.quiesces = source.is_on_loan();
        let cuts = self.cut(source.len())?;
        let items = cuts.map(|rows| source.chunk(rows));
        O::gather(self.map(items)?, 0)
    }

    /// Cuts the array into chunks of so many elements, the last one maybe smaller, and runs the task over them: each
    /// has its chunk as a `&mut [T]` in the shared memory itself. Returns the outputs, one a chunk.
    ///
    /// Nobody else has the array meanwhile, and the call ends, also with an error, only when no task is at work on it
    /// any more: what still runs when a call is cancelled has half a second, then its worker is killed. Threads can't
    /// be killed: with [`StartMethod::Threads`](crate::StartMethod::Threads) the call waits for what runs.
    ///
    /// Whatever becomes of one chunk, all others are worked on. A task that panics, dies or is timed out leaves its
    /// chunk half-written: its error says which elements these are, see [`TaskError::torn`]. With `retries` the next
    /// attempt finds the chunk as the last one has left it. Work that is not begun when the call is cancelled leaves
    /// its chunk as it was.
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
    /// [`Error::Task`] with the first chunk whose task failed; [`Error::SharedMemory`] when someone else has the array,
    /// as for [`as_mut_slice`](SharedArray::as_mut_slice); others as for [`map`](Job::map).
    #[doc(alias = "par_chunks_mut")]
    pub fn chunks_mut<X>(
        self,
        array: &mut SharedArray<X>,
        rows_per_chunk: usize,
    ) -> Result<Vec<T::Output>, Error>
    where
        T: for<'x> Task<Item<'x> = ChunkMut<'x, X>>,
    {
        let outcomes = self.chunks_mut_outcomes(array, rows_per_chunk)?;
        outcomes.into_iter().collect::<Result<_, _>>().map_err(Error::Task)
    }

    /// Like [`chunks_mut`](Self::chunks_mut), with one outcome for each chunk.
    ///
    /// # Errors
    /// Only what ends the whole call.
    pub fn chunks_mut_outcomes<X>(
        self,
        array: &mut SharedArray<X>,
        rows_per_chunk: usize,
    ) -> Result<Vec<Result<T::Output, TaskError>>, Error>
    where
        T: for<'x> Task<Item<'x> = ChunkMut<'x, X>>,
    {
        let rows = (array.len(), 1);
        self.in_place(array, rows, rows_per_chunk, |piece, _| ChunkMut::of(piece))
    }

    /// Lends the array to tasks: so many rows of so many elements each, in chunks of so many rows.
    pub(super) fn in_place<'i, X>(
        mut self,
        array: &mut SharedArray<X>,
        (rows, row): (usize, usize),
        rows_per_chunk: usize,
        item: impl Fn(Piece, usize) -> T::Item<'i>,
    ) -> Result<Vec<Result<T::Output, TaskError>>, Error> {
        self.pool.engine().check()?;
        let allowed = "the call itself says how many elements a chunk has: leave the option out";
        if let Some(size) = self.options.chunk_size {
            return Err(Error::option("chunk_size", size, allowed));
        }
        if let Some(splits) = self.options.n_splits {
            return Err(Error::option("n_splits", splits, allowed));
        }
        if rows_per_chunk == 0 {
            return Err(Error::option("rows_per_chunk", 0, "a chunk has at least 1 element"));
        }
        let loan = Loan::written(array)?;
        self.options.quiesces = true;
        self.options.chunk_size = Some(rows_per_chunk);
        let cuts = self.cut(rows)?;
        let elements = |rows: &Range<usize>| rows.start * row..rows.end * row;
        let items = cuts.clone().map(|rows| item(loan.piece(&elements(&rows)), rows.len()));
        let outcomes = self.map_outcomes(items)?;
        let on_rows = |(outcome, rows): (Result<_, TaskError>, _)| {
            outcome.map_err(|error| error.on_rows(elements(&rows)))
        };
        Ok(outcomes.into_iter().zip(cuts).map(on_rows).collect())
    }

    /// That the outputs are wanted as the job's type says.
    pub(super) fn check_outputs(&self) -> Result<(), Error> {
        let help = "outputs are concatenated where this option is left out";
        if self.options.concatenate { Err(Error::option("concatenate", true, help)) } else { Ok(()) }
    }

    /// Where the chunks of an input of this length lie; after this, the options are about chunks.
    pub(super) fn cut(&mut self, len: usize) -> Result<Cuts, Error> {
        self.options.check()?;
        let len = self.options.iterable_len.take().map_or(len, |most| most.min(len));
        let (size, splits) = (self.options.chunk_size.take(), self.options.n_splits.take());
        if self.pool.config().order_tasks {
            self.options.chunk_size = Some(1);
        }
        let default = || SPLITS.saturating_mul(self.pool.config().workers);
        Ok(match size {
            Some(size) => Cuts { at: 0, len, by: By::Size(size) },
            None => Cuts { at: 0, len, by: By::Splits(splits.unwrap_or_else(default).min(len)) },
        })
    }
}

/// Ranges of elements that follow each other.
#[derive(Debug, Clone)]
pub(super) struct Cuts {
    at: usize,
    len: usize,
    by: By,
}

#[derive(Debug, Clone, Copy)]
enum By {
    Size(usize),
    /// As many as there are elements, at most.
    Splits(usize),
}

impl Iterator for Cuts {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        if start == self.len {
            return None;
        }
        self.at = match self.by {
            By::Size(size) => start.saturating_add(size).min(self.len),
            By::Splits(splits) => self::splits::end(splits as u64, self.len as u64, start as u64) as usize,
        };
        Some(start..self.at)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = match self.by {
            By::Size(size) => (self.len - self.at).div_ceil(size),
            By::Splits(0) => 0,
            By::Splits(splits) => {
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
    fn cuts_are_as_in_mpire() {
        let sizes = |len, by| {
            let mut cuts = Cuts { at: 0, len, by };
            let mut sizes = Vec::new();
            let (mut left, mut end) = (cuts.size_hint().0, 0);
            while let Some(rows) = cuts.next() {
                assert_eq!((rows.start, cuts.size_hint()), (end, (left - 1, Some(left - 1))));
                (left, end) = (left - 1, rows.end);
                sizes.push(rows.len());
            }
            assert_eq!((left, end), (0, len));
            sizes
        };
        assert_eq!(sizes(10, By::Size(4)), [4, 4, 2]);
        assert_eq!(sizes(10, By::Splits(6)), [2, 2, 1, 2, 2, 1]);
        assert_eq!(sizes(10, By::Splits(1)), [10]);
        assert_eq!(sizes(3, By::Splits(3)), [1, 1, 1]);
        assert_eq!(sizes(0, By::Splits(0)), [0; 0]);
        assert_eq!(sizes(0, By::Size(3)), [0; 0]);
        assert_eq!(sizes(5, By::Size(usize::MAX)), [5]);
        for len in 1..60 {
            for splits in 1..=len {
                assert_eq!(sizes(len, By::Splits(splits)).len(), splits);
            }
        }
    }
}
