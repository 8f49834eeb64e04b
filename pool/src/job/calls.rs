//! The helpers on a task's own type, which `#[worker_task]` asks for.

/// Gives a task's type its calls. Not part of the API: the output of `#[worker_task]` uses it.
#[doc(hidden)]
#[macro_export]
macro_rules! task_calls {
    ($task:ident) => {
        #[allow(dead_code)]
        impl $task {
            /// A job of this task: options first, then one of its calls.
            pub fn job<S: 'static>(pool: &$crate::WorkerPool<S>) -> $crate::Job<'_, Self, S>
            where
                Self: $crate::__private::RunsOn<S>,
            {
                pool.job::<Self>()
            }

            /// Runs the task over the items; the results are in input order. The first failed task ends the call.
            pub fn par_map<'item, S: 'static>(
                pool: &$crate::WorkerPool<S>,
                items: impl ::core::iter::IntoIterator<Item = <Self as $crate::__private::Task>::Item<'item>>,
            ) -> ::core::result::Result<
                $crate::__private::Vec<<Self as $crate::__private::Task>::Output>,
                $crate::Error,
            >
            where
                Self: $crate::__private::ReadyFor<S>,
            {
                pool.map::<Self>(items)
            }

            /// Like `par_map`, with the results in the order in which they came.
            pub fn par_map_unordered<'item, S: 'static>(
                pool: &$crate::WorkerPool<S>,
                items: impl ::core::iter::IntoIterator<Item = <Self as $crate::__private::Task>::Item<'item>>,
            ) -> ::core::result::Result<
                $crate::__private::Vec<<Self as $crate::__private::Task>::Output>,
                $crate::Error,
            >
            where
                Self: $crate::__private::ReadyFor<S>,
            {
                pool.map_unordered::<Self>(items)
            }

            /// Runs the task over the items; one outcome for each, in input order.
            pub fn par_map_outcomes<'item, S: 'static>(
                pool: &$crate::WorkerPool<S>,
                items: impl ::core::iter::IntoIterator<Item = <Self as $crate::__private::Task>::Item<'item>>,
            ) -> ::core::result::Result<
                $crate::__private::Vec<
                    ::core::result::Result<<Self as $crate::__private::Task>::Output, $crate::TaskError>,
                >,
                $crate::Error,
            >
            where
                Self: $crate::__private::ReadyFor<S>,
            {
                pool.map_outcomes::<Self>(items)
            }

            /// The results in input order, one by one, while the job goes on.
            pub fn par_imap<'pool, 'item, S: 'static, I>(
                pool: &'pool $crate::WorkerPool<S>,
                items: I,
            ) -> $crate::Imap<'pool, 'item, Self, I::IntoIter>
            where
                Self: $crate::__private::ReadyFor<S>,
                I: ::core::iter::IntoIterator<Item = <Self as $crate::__private::Task>::Item<'item>>,
            {
                pool.own_job::<Self>().imap(items)
            }

            /// The results in the order in which they come, one by one, while the job goes on.
            pub fn par_imap_unordered<'pool, 'item, S: 'static, I>(
                pool: &'pool $crate::WorkerPool<S>,
                items: I,
            ) -> $crate::Imap<'pool, 'item, Self, I::IntoIter>
            where
                Self: $crate::__private::ReadyFor<S>,
                I: ::core::iter::IntoIterator<Item = <Self as $crate::__private::Task>::Item<'item>>,
            {
                pool.own_job::<Self>().imap_unordered(items)
            }

            /// Runs the task once and waits for its result.
            pub fn apply<S: 'static>(
                pool: &$crate::WorkerPool<S>,
                item: <Self as $crate::__private::Task>::Item<'_>,
            ) -> ::core::result::Result<<Self as $crate::__private::Task>::Output, $crate::Error>
            where
                Self: $crate::__private::ReadyFor<S>,
            {
                pool.apply::<Self>(item)
            }

            /// Runs the task once, without waiting.
            pub fn apply_async<S: 'static>(
                pool: &$crate::WorkerPool<S>,
                item: <Self as $crate::__private::Task>::Item<'_>,
            ) -> $crate::AsyncResult<<Self as $crate::__private::Task>::Output>
            where
                Self: $crate::__private::ReadyFor<S>,
            {
                pool.apply_async::<Self>(item)
            }
        }

        $crate::stream_calls!($task);
    };
}

/// Gives a task's type its streams.
#[cfg(feature = "stream")]
#[doc(hidden)]
#[macro_export]
macro_rules! stream_calls {
    ($task:ident) => {
        #[allow(dead_code)]
        impl $task {
            /// The results in input order as a stream, while the job goes on.
            pub fn par_stream<'pool, 'item, S: 'static, I>(
                pool: &'pool $crate::WorkerPool<S>,
                items: I,
            ) -> $crate::ResultStream<'pool, 'item, Self, I::IntoIter>
            where
                Self: $crate::__private::ReadyFor<S>,
                I: ::core::iter::IntoIterator<Item = <Self as $crate::__private::Task>::Item<'item>>,
            {
                pool.own_job::<Self>().stream(items)
            }

            /// The results in the order in which they come as a stream, while the job goes on.
            pub fn par_stream_unordered<'pool, 'item, S: 'static, I>(
                pool: &'pool $crate::WorkerPool<S>,
                items: I,
            ) -> $crate::ResultStream<'pool, 'item, Self, I::IntoIter>
            where
                Self: $crate::__private::ReadyFor<S>,
                I: ::core::iter::IntoIterator<Item = <Self as $crate::__private::Task>::Item<'item>>,
            {
                pool.own_job::<Self>().stream_unordered(items)
            }
        }
    };
}

/// Without the feature there are none.
#[cfg(not(feature = "stream"))]
#[doc(hidden)]
#[macro_export]
macro_rules! stream_calls {
    ($task:ident) => {};
}

/// Gives the type of a task that takes chunks its calls: `slices` or `slices_mut`, and the type of the elements; both
/// for a `stub`, whose type is not known.
#[doc(hidden)]
#[macro_export]
macro_rules! chunk_calls {
    ($task:ident slices $element:ty) => {
        $crate::chunk_calls! {
            $task
            /// Cuts the input into chunks and runs the task over them; the outputs are concatenated, in input order.
            pub fn par_map_slice<'rows, S: 'static, R: $crate::Concatenate>(
                pool: &$crate::WorkerPool<S>,
                rows: impl $crate::Slices<'rows, $element>,
            ) -> ::core::result::Result<R, $crate::Error>
            where
                Self: $crate::__private::ReadyFor<S> + $crate::__private::Task<Output = R>,
            {
                pool.own_job::<Self>().map_slice(rows)
            }
        }
    };
    ($task:ident slices_mut $element:ty) => {
        $crate::chunk_calls! {
            $task
            /// Runs the task over chunks of so many elements, each in place; the outputs are one a chunk.
            pub fn par_chunks_mut<S: 'static>(
                pool: &$crate::WorkerPool<S>,
                array: &mut $crate::shared::SharedArray<$element>,
                rows_per_chunk: usize,
            ) -> ::core::result::Result<
                $crate::__private::Vec<<Self as $crate::__private::Task>::Output>,
                $crate::Error,
            >
            where
                Self: $crate::__private::ReadyFor<S>,
            {
                pool.own_job::<Self>().chunks_mut(array, rows_per_chunk)
            }
        }
    };
    ($task:ident stub) => {
        $crate::chunk_calls! {
            $task
            /// There is an error in the task.
            pub fn par_map_slice<S: 'static, D>(
                _: &$crate::WorkerPool<S>,
                _: D,
            ) -> ::core::result::Result<<Self as $crate::__private::Task>::Output, $crate::Error> {
                loop {}
            }

            /// There is an error in the task.
            pub fn par_chunks_mut<S: 'static, D>(
                _: &$crate::WorkerPool<S>,
                _: D,
                _: usize,
            ) -> ::core::result::Result<<Self as $crate::__private::Task>::Output, $crate::Error> {
                loop {}
            }
        }
    };
    ($task:ident $($call:tt)+) => {
        #[allow(dead_code)]
        impl $task {
            /// A job of this task: options first, then one of its calls.
            pub fn job<S: 'static>(pool: &$crate::WorkerPool<S>) -> $crate::Job<'_, Self, S>
            where
                Self: $crate::__private::RunsOn<S>,
            {
                pool.job::<Self>()
            }

            $($call)+
        }
    };
}

/// Gives the type of a task that takes views of arrays its calls: `arrays` or `arrays_mut`.
#[cfg(feature = "ndarray")]
#[doc(hidden)]
#[macro_export]
macro_rules! array_calls {
    ($task:ident arrays) => {
        $crate::chunk_calls! {
            $task
            /// Cuts the array into chunks along the axis and runs the task over them; the outputs are concatenated along
            /// it.
            pub fn par_map_array<'rows, S: 'static, R, A, D>(
                pool: &$crate::WorkerPool<S>,
                array: impl $crate::Arrays<'rows, A, D>,
                axis: $crate::__private::ndarray::Axis,
            ) -> ::core::result::Result<R, $crate::Error>
            where
                Self: $crate::__private::ReadyFor<S>
                    + for<'x> $crate::__private::Task<Item<'x> = $crate::ArrayChunk<'x, A, D>, Output = R>,
                R: $crate::Concatenate,
                A: 'rows,
                D: $crate::__private::ndarray::Dimension + 'rows,
            {
                pool.own_job::<Self>().map_array(array, axis)
            }
        }
    };
    ($task:ident arrays_mut) => {
        $crate::chunk_calls! {
            $task
            /// Runs the task over chunks of so many rows of an array of this shape, each in place; the outputs are one a
            /// chunk.
            pub fn par_array_chunks_mut<S: 'static, A, Sh: $crate::__private::ndarray::IntoDimension>(
                pool: &$crate::WorkerPool<S>,
                array: &mut $crate::shared::SharedArray<A>,
                shape: Sh,
                rows_per_chunk: usize,
            ) -> ::core::result::Result<
                $crate::__private::Vec<<Self as $crate::__private::Task>::Output>,
                $crate::Error,
            >
            where
                Self: $crate::__private::ReadyFor<S>
                    + for<'x> $crate::__private::Task<Item<'x> = $crate::ArrayChunkMut<'x, A, Sh::Dim>>,
            {
                pool.own_job::<Self>().array_chunks_mut(array, shape, rows_per_chunk)
            }
        }
    };
}

/// Without the feature there are none.
#[cfg(not(feature = "ndarray"))]
#[doc(hidden)]
#[macro_export]
macro_rules! array_calls {
    ($task:ident $kind:ident) => {};
}
