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
    };
}
