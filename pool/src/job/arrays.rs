//! Calls of tasks that take chunks of arrays.

use ndarray::{Axis, IntoDimension};

use super::Job;
use super::chunks::{Ended, all_done};
use crate::error::{Error, TaskError};
use crate::shared::SharedArray;
use crate::task::chunk::{ArrayChunk, ArrayChunkMut, Arrays, Outputs, rows_of};
use crate::task::{BorrowsFrom, ExitOf, InitOf, RunsOn, Task};

impl<T, S, I, E, O> Job<'_, T, S, I, E, O>
where
    T: Task + BorrowsFrom<S>,
    I: InitOf<T::State> + BorrowsFrom<S>,
    E: ExitOf<T::State> + RunsOn<S>,
    S: 'static,
{
    /// Like [`map_slice`](Self::map_slice), over an array: it is cut into chunks along `axis`, and the outputs are
    /// concatenated along that axis. `chunk_size`, `n_splits` and `iterable_len` count rows, that is, positions along
    /// the axis. A shared array can only be cut along its first axis.
    ///
    /// ```
    /// use ndarray::{Array2, ArrayView2, Axis, array};
    /// use pool::{WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn halve(#[chunk] rows: ArrayView2<'_, f32>) -> Array2<f32> {
    ///     rows.mapv(|x| x / 2.0)
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(2)?;
    ///     let data = array![[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]];
    ///     let halves = halve::par_map_array(&pool, &data, Axis(0))?;
    ///     assert_eq!(halves, array![[0.5, 1.0], [1.5, 2.0], [2.5, 3.0]]);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As for [`map_slice`](Self::map_slice); [`Error::Option`] for an axis or a shape that the array does not have.
    #[doc(alias = "par_map_array")]
    #[track_caller]
    pub fn map_array<'i, A: 'i, D: ndarray::Dimension + 'i>(
        mut self,
        array: impl Arrays<'i, A, D>,
        axis: Axis,
    ) -> Result<O::All, Error>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
        T: for<'x> Task<Item<'x> = ArrayChunk<'x, A, D>>,
        O: Outputs<T::Output>,
    {
        self.check_outputs()?;
        let source = array.lend()?;
        self.options.quiesces = source.is_on_loan();
        let ranges = self.chunk_ranges(source.len_of(axis)?)?;
        let items = ranges.map(|rows| source.chunk(axis, rows));
        let outputs = self.map(items)?;
        O::gather(outputs, axis.0)
    }

    /// Like [`chunks_mut`](Self::chunks_mut), for an array of this shape in row-major order: it is cut along its first
    /// axis, into chunks of `rows_per_chunk` rows. Errors give the [torn](TaskError::torn) range in elements.
    ///
    /// ```
    /// use ndarray::ArrayViewMut2;
    /// use pool::shared::SharedArray;
    /// use pool::{WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn clear_first_column(#[chunk] mut rows: ArrayViewMut2<'_, f32>) {
    ///     rows.column_mut(0).fill(0.0);
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(2)?;
    ///     let mut array = SharedArray::from_slice(&[1.0, 2.0, 3.0, 4.0, 5.0, 6.0])?;
    ///     clear_first_column::par_array_chunks_mut(&pool, &mut array, (3, 2), 1)?;
    ///     assert_eq!(array.to_vec(), [0.0, 2.0, 0.0, 4.0, 0.0, 6.0]);
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// As for [`chunks_mut`](Self::chunks_mut); [`Error::Option`] for a shape whose number of elements is not that of
    /// the array.
    #[doc(alias = "par_array_chunks_mut")]
    #[track_caller]
    pub fn array_chunks_mut<A, Sh: IntoDimension>(
        self,
        array: &mut SharedArray<A>,
        shape: Sh,
        rows_per_chunk: usize,
    ) -> Result<Vec<T::Output>, Error>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
        T: for<'x> Task<Item<'x> = ArrayChunkMut<'x, A, Sh::Dim>>,
    {
        all_done(self.array_chunks_in_place(array, shape, rows_per_chunk)?)
    }

    /// Like [`array_chunks_mut`](Self::array_chunks_mut), but returns one outcome for each chunk. A failed chunk is an
    /// error in its own place.
    ///
    /// # Errors
    /// As for [`chunks_mut_outcomes`](Self::chunks_mut_outcomes).
    #[track_caller]
    pub fn array_chunks_mut_outcomes<A, Sh: IntoDimension>(
        self,
        array: &mut SharedArray<A>,
        shape: Sh,
        rows_per_chunk: usize,
    ) -> Result<Vec<Result<T::Output, TaskError>>, Error>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
        T: for<'x> Task<Item<'x> = ArrayChunkMut<'x, A, Sh::Dim>>,
    {
        Ok(self.array_chunks_in_place(array, shape, rows_per_chunk)?.0)
    }

    #[track_caller]
    fn array_chunks_in_place<A, Sh: IntoDimension>(
        self,
        array: &mut SharedArray<A>,
        shape: Sh,
        rows_per_chunk: usize,
    ) -> Result<Ended<T::Output>, Error>
    where
        T: for<'x> Task<Item<'x> = ArrayChunkMut<'x, A, Sh::Dim>>,
    {
        let shape = shape.into_dimension();
        let (rows, row) = rows_of(array, &shape)?;
        self.map_in_place(array, (rows, row), rows_per_chunk, |piece, rows| {
            ArrayChunkMut::of(piece, rows, shape.clone())
        })
    }
}
