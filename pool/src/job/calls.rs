//! The short forms of the calls: `pool.map::<f>(items)` on the pool, and `f::par_map(&pool, items)` on the task's own
//! type, which `#[worker_task]` writes. Both forward to the method of [`Job`](super::Job) that does the work, with the
//! task's own init and exit functions.
//!
//! [`calls!`] lists them; `call!` and `lazy_call!` write a row out in either form. To add a call, write its method on
//! `Job` and its row here. Nothing in this file is part of the API: it is exported for the output of `#[worker_task]`.

/// The calls, one row each: its documentation, its name on `Job` and on the pool, `as` its name on the task's type, its
/// parameters and its result.
#[doc(hidden)]
#[macro_export]
macro_rules! calls {
    (pool) => { $crate::calls! { pool, T::Item<'item>, T::Output } };
    (task) => {
        $crate::calls! {
            task, <Self as $crate::__private::Task>::Item<'item>, <Self as $crate::__private::Task>::Output
        }
    };
    ($form:ident, $Item:ty, $Output:ty) => {
        $crate::call! {
            $form

            /// Runs the task over the items; the results are in input order. The first failed task ends the call.
            #[doc(alias = "par_map")]
            fn map as par_map(items: impl ::core::iter::IntoIterator<Item = $Item>)
                -> ::core::result::Result<::std::vec::Vec<$Output>, $crate::Error>;

            /// Runs the task over the items; the results are in the order in which they came. The first failed task
            /// ends the call.
            #[doc(alias = "par_map_unordered")]
            fn map_unordered as par_map_unordered(items: impl ::core::iter::IntoIterator<Item = $Item>)
                -> ::core::result::Result<::std::vec::Vec<$Output>, $crate::Error>;

            /// Runs the task over the items; each result goes into the slot that has its item's position, and reuses
            /// the memory of what is there. Returns how many results there are. The first failed task ends the call.
            #[doc(alias = "par_map_into")]
            fn map_into as par_map_into(
                items: impl ::core::iter::IntoIterator<Item = $Item>,
                slots: &mut [$Output],
            ) -> ::core::result::Result<usize, $crate::Error>;

            /// Runs the task over the items; one outcome for each, in input order. A failed task is its own error.
            #[doc(alias = "par_map_outcomes")]
            fn map_outcomes as par_map_outcomes(items: impl ::core::iter::IntoIterator<Item = $Item>)
                -> ::core::result::Result<
                    ::std::vec::Vec<::core::result::Result<$Output, $crate::TaskError>>,
                    $crate::Error,
                >;

            /// Runs the task once and waits for its result.
            fn apply as apply(item: $Item) -> ::core::result::Result<$Output, $crate::Error>;

            /// Runs the task once on every worker, each with this item; one outcome for each worker, in their order.
            fn on_each_worker as on_each_worker(item: $Item)
                -> ::core::result::Result<
                    ::std::vec::Vec<::core::result::Result<$Output, $crate::TaskError>>,
                    $crate::Error,
                >;

            /// Runs the task once, without waiting.
            #[must_use = "without it nobody learns how the call went"]
            fn apply_async as apply_async(item: $Item) -> $crate::AsyncResult<$Output>;
        }
        $crate::lazy_call! {
            $form

            /// The results in input order, one by one, while the job goes on.
            #[doc(alias = "par_imap")]
            fn imap as par_imap(items: impl ::core::iter::IntoIterator<Item = $Item>)
                -> Imap or impl ::core::iter::FusedIterator<Item = ::core::result::Result<$Output, $crate::Error>>;

            /// The results in the order in which they come, one by one, while the job goes on.
            #[doc(alias = "par_imap_unordered")]
            fn imap_unordered as par_imap_unordered(items: impl ::core::iter::IntoIterator<Item = $Item>)
                -> Imap or impl ::core::iter::FusedIterator<Item = ::core::result::Result<$Output, $crate::Error>>;
        }
        $crate::stream_calls! { $form, $Item, $Output }
    };
}

/// The calls that return streams.
#[cfg(feature = "stream")]
#[doc(hidden)]
#[macro_export]
macro_rules! stream_calls {
    ($form:ident, $Item:ty, $Output:ty) => {
        $crate::lazy_call! {
            $form

            /// The results in input order as a stream, while the job goes on.
            #[doc(alias = "par_stream")]
            #[cfg_attr(docsrs, doc(cfg(feature = "stream")))]
            fn stream as par_stream(items: impl ::core::iter::IntoIterator<Item = $Item>)
                -> ResultStream or impl ::core::marker::Unpin
                    + ::futures_core::FusedStream<Item = ::core::result::Result<$Output, $crate::Error>>;

            /// The results in the order in which they come as a stream, while the job goes on.
            #[doc(alias = "par_stream_unordered")]
            #[cfg_attr(docsrs, doc(cfg(feature = "stream")))]
            fn stream_unordered as par_stream_unordered(items: impl ::core::iter::IntoIterator<Item = $Item>)
                -> ResultStream or impl ::core::marker::Unpin
                    + ::futures_core::FusedStream<Item = ::core::result::Result<$Output, $crate::Error>>;
        }
    };
}

/// Without the feature there are none.
#[cfg(not(feature = "stream"))]
#[doc(hidden)]
#[macro_export]
macro_rules! stream_calls {
    ($form:ident, $Item:ty, $Output:ty) => {};
}

/// Writes calls that return everything at once.
#[doc(hidden)]
#[macro_export]
macro_rules! call {
    (pool $(
        $(#[$attribute:meta])*
        fn $name:ident as $par:ident($($input:ident: $Input:ty),+ $(,)?) -> $Result:ty;
    )*) => {$(
        $(#[$attribute])*
        ///
        #[doc = ::core::concat!("See [`Job::", ::core::stringify!($name), "`] for errors, and for options.")]
        #[track_caller]
        pub fn $name<'item, T: $crate::ReadyFor<S>>(&self, $($input: $Input),+) -> $Result {
            self.job::<T>().$name($($input),+)
        }
    )*};
    (task $(
        $(#[doc = $doc:literal])*
        $(#[doc(alias = $alias:literal)])?
        $(#[must_use = $why:literal])?
        fn $name:ident as $par:ident($($input:ident: $Input:ty),+ $(,)?) -> $Result:ty;
    )*) => {$(
        $(#[doc = $doc])*
        $(#[must_use = $why])?
        #[track_caller]
        pub fn $par<'item, S: 'static>(pool: &$crate::WorkerPool<S>, $($input: $Input),+) -> $Result
        where
            Self: $crate::__private::CalledOn<S>,
        {
            pool.own_job::<Self>().$name($($input),+)
        }
    )*};
}

/// Writes calls that return results while the job goes on. The type of what they return contains the type of the input.
/// On the pool, where `pool.imap::<f>(..)` names the task and no other type, that can only be `impl Trait`.
#[doc(hidden)]
#[macro_export]
macro_rules! lazy_call {
    (pool $(
        $(#[$attribute:meta])*
        fn $name:ident as $par:ident(items: $Items:ty) -> $Results:ident or $Unnamed:ty;
    )*) => {
        $crate::call! { pool $($(#[$attribute])* fn $name as $par(items: $Items) -> $Unnamed;)* }
    };
    (task $(
        $(#[doc = $doc:literal])*
        #[doc(alias = $alias:literal)]
        $(#[cfg_attr($($cfg:tt)*)])?
        fn $name:ident as $par:ident(items: impl ::core::iter::IntoIterator<Item = $Item:ty>)
            -> $Results:ident or $Unnamed:ty;
    )*) => {$(
        $(#[doc = $doc])*
        #[track_caller]
        pub fn $par<'pool, 'item, S: 'static, I>(
            pool: &'pool $crate::WorkerPool<S>,
            items: I,
        ) -> $crate::$Results<'pool, 'item, Self, I::IntoIter>
        where
            Self: $crate::__private::CalledOn<S>,
            I: ::core::iter::IntoIterator<Item = $Item>,
        {
            pool.own_job::<Self>().$name(items)
        }
    )*};
}

/// Writes the calls on a task's type, which may have parameters.
#[doc(hidden)]
#[macro_export]
macro_rules! task_calls {
    ([$($params:tt)*] $task:ty;) => {
        $crate::task_calls! { [$($params)*] $task; $crate::calls! { task } }
    };
    ([$($params:tt)*] $task:ty; $($call:tt)+) => {
        #[allow(dead_code)]
        impl<$($params)*> $task {
            /// A job of this task: options first, then one of its calls.
            pub fn job<S: 'static>(pool: &$crate::WorkerPool<S>) -> $crate::Job<'_, Self, S>
            where
                Self: $crate::__private::BorrowsFrom<S>,
            {
                pool.job::<Self>()
            }

            /// Starts all workers, and makes the state of this task in each of them that has not made it yet.
            #[track_caller]
            pub fn warm_up<S: 'static>(
                pool: &$crate::WorkerPool<S>,
            ) -> ::core::result::Result<(), $crate::Error>
            where
                Self: $crate::__private::CalledOn<S>,
            {
                pool.own_job::<Self>().warm_up()
            }

            $($call)+
        }
    };
}

/// Writes the calls on the type of a task that takes chunks: those of `slices` or `slices_mut` of the given elements. A
/// `stub`, a task with an error in it, gets both.
#[doc(hidden)]
#[macro_export]
macro_rules! chunk_calls {
    (slices [$($params:tt)*] $task:ty; $element:ty) => {
        $crate::task_calls! {
            [$($params)*] $task;
            /// Cuts the input into chunks and runs the task over them; the outputs are concatenated, in input order.
            #[track_caller]
            pub fn par_map_slice<'rows, S: 'static, R: $crate::Concatenate>(
                pool: &$crate::WorkerPool<S>,
                rows: impl $crate::Slices<'rows, $element>,
            ) -> ::core::result::Result<R, $crate::Error>
            where
                Self: $crate::__private::CalledOn<S> + $crate::__private::Task<Output = R>,
            {
                pool.own_job::<Self>().map_slice(rows)
            }
        }
    };
    (slices_mut [$($params:tt)*] $task:ty; $element:ty) => {
        $crate::task_calls! {
            [$($params)*] $task;
            /// Runs the task over chunks of this many elements, each in place; gives one output a chunk.
            #[track_caller]
            pub fn par_chunks_mut<S: 'static>(
                pool: &$crate::WorkerPool<S>,
                array: &mut $crate::shared::SharedArray<$element>,
                rows_per_chunk: usize,
            ) -> ::core::result::Result<
                $crate::__private::Vec<<Self as $crate::__private::Task>::Output>,
                $crate::Error,
            >
            where
                Self: $crate::__private::CalledOn<S>,
            {
                pool.own_job::<Self>().chunks_mut(array, rows_per_chunk)
            }
        }
    };
    (stub [$($params:tt)*] $task:ty;) => {
        $crate::task_calls! {
            [$($params)*] $task;
            /// There is an error in the task.
            #[track_caller]
            pub fn par_map_slice<S: 'static, D>(
                _: &$crate::WorkerPool<S>,
                _: D,
            ) -> ::core::result::Result<<Self as $crate::__private::Task>::Output, $crate::Error> {
                loop {}
            }

            /// There is an error in the task.
            #[track_caller]
            pub fn par_chunks_mut<S: 'static, D>(
                _: &$crate::WorkerPool<S>,
                _: D,
                _: usize,
            ) -> ::core::result::Result<<Self as $crate::__private::Task>::Output, $crate::Error> {
                loop {}
            }
        }
    };
}

/// Writes the calls on the type of a task that takes views of arrays: `arrays` or `arrays_mut`.
#[cfg(feature = "ndarray")]
#[doc(hidden)]
#[macro_export]
macro_rules! array_calls {
    (arrays [$($params:tt)*] $task:ty;) => {
        $crate::task_calls! {
            [$($params)*] $task;
            /// Cuts the array into chunks along the axis and runs the task over them; the outputs are concatenated
            /// along it.
            #[track_caller]
            pub fn par_map_array<'rows, S: 'static, R, A, D>(
                pool: &$crate::WorkerPool<S>,
                array: impl $crate::Arrays<'rows, A, D>,
                axis: $crate::__private::ndarray::Axis,
            ) -> ::core::result::Result<R, $crate::Error>
            where
                Self: $crate::__private::CalledOn<S>
                    + for<'x> $crate::__private::Task<Item<'x> = $crate::ArrayChunk<'x, A, D>, Output = R>,
                R: $crate::Concatenate,
                A: 'rows,
                D: $crate::__private::ndarray::Dimension + 'rows,
            {
                pool.own_job::<Self>().map_array(array, axis)
            }
        }
    };
    (arrays_mut [$($params:tt)*] $task:ty;) => {
        $crate::task_calls! {
            [$($params)*] $task;
            /// Runs the task over chunks of this many rows of an array of this shape, each in place; gives one output
            /// a chunk.
            #[track_caller]
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
                Self: $crate::__private::CalledOn<S>
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
    ($($task:tt)*) => {};
}
