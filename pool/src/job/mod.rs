//! A job is one call on a pool: options first, then the call itself.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{Error, TaskError};
#[cfg(feature = "progress")]
use crate::observe::progress::BarRequest;
use crate::observe::progress::Progress;
use crate::task::chunk::Concatenated;
use crate::task::{BorrowsFrom, ExitOf, InitOf, RunsOn, Task};
use crate::wire::ExecFlags;
use crate::work::{HeldBytes, JobSpec, Plan};

#[cfg(feature = "ndarray")]
mod arrays;
mod arg;
mod async_result;
mod background;
mod batch;
mod call;
mod callbacks;
mod calls;
mod cancel;
mod chunks;
mod completion;
mod deadline;
mod decode;
mod each;
mod handle;
mod helpers;
mod imap;
mod input;
mod open;
mod options;
mod patience;
mod pending;
mod reduce;
mod reorder;
mod retry;
mod room;
mod setters;
mod source;
#[cfg(feature = "stream")]
mod stream;

pub use async_result::AsyncResult;
use call::{Call, Rare};
pub use cancel::CancelHandle;
use cancel::{CallRef, CallSlot};
pub use deadline::Deadline;
pub(crate) use handle::PoolHandle;
pub use imap::Imap;
use input::InputBuffer;
pub(crate) use options::Options;
use reorder::ReorderBuffer;
pub use retry::Retry;
use source::Source;
#[cfg(feature = "stream")]
pub use stream::ResultStream;

/// One call on a pool, while its options are set; from `task::job(&pool)` or
/// [`WorkerPool::job`](crate::WorkerPool::job).
///
/// Set options, then make one call:
/// - `map`, `map_unordered`, `map_into`, `map_outcomes`, `apply`, which wait for all results;
/// - `on_each_worker`, which waits for one result of each worker, and `warm_up`, which starts them all;
/// - `imap`, `imap_unordered`, and with the feature `stream` also `stream` and `stream_unordered`, which give results
///   one by one;
/// - `apply_async`, `map_async`, which return at once;
/// - for tasks that take chunks, `map_slice`, `chunks_mut` and `chunks_mut_outcomes`; with the feature `ndarray` also
///   `map_array`, `array_chunks_mut` and `array_chunks_mut_outcomes`.
///
/// A job of a task with `#[arg]` has none of these calls before [`arg`](Job::arg) has given its value.
///
/// Wrong values of options are errors of the call.
#[must_use = "a job does nothing until one of its calls is made"]
pub struct Job<'p, T: Task, S, I = <T as Task>::Init, E = <T as Task>::Exit, O = Concatenated> {
    pool: &'p PoolHandle,
    options: Options,
    functions: PhantomData<fn() -> (T, S, I, E, O)>,
}

impl<T: Task, S, I, E, O> fmt::Debug for Job<'_, T, S, I, E, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Job").field("task", &T::name()).field("options", &self.options).finish()
    }
}

impl<'p, T: Task, S> Job<'p, T, S> {
    pub(crate) fn new(pool: &'p PoolHandle) -> Self {
        Self { pool, options: Options::default(), functions: PhantomData }
    }
}

/// At most this many bytes of results, as encoded, wait in an iterator or stream before tasks stop beginning: enough
/// for 64 results of one MiB, so that no worker waits while one result is late by as many task times.
const MOST_HELD_BYTES: u64 = 64 << 20;

/// About this many bytes of results, as encoded, wait for a caller that collects all of them: enough that workers need
/// not wait for it, and few enough that their memory stays in the caches and is used again.
const AHEAD_BYTES: u64 = 8 << 20;

/// At most this much memory is reserved for results before they arrive: the length that an iterator claims may be
/// wrong.
const RESERVED_BYTES: usize = 16 << 20;

/// How a call treats outcomes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The first failed task ends the call.
    FailFast,
    /// Every task gives an outcome. `bounded`: results that the caller has not taken are limited.
    Outcomes { bounded: bool },
}

impl<'p, T, S, I, E, O> Job<'p, T, S, I, E, O>
where
    T: Task + BorrowsFrom<S>,
    I: InitOf<T::State> + BorrowsFrom<S>,
    E: ExitOf<T::State> + RunsOn<S>,
    S: 'static,
{
    /// Runs the task over the items and waits; the results come in input order. The first failed task ends the call:
    /// tasks that have not begun are dropped.
    ///
    /// # Errors
    /// - [`Error::Task`] with the first task that failed.
    /// - [`Error::Option`] for an option whose value is not allowed.
    /// - [`Error::Start`] and others when workers cannot be started.
    /// - [`Error::Cancelled`] when the call was cancelled, [`Error::Closed`] when the pool has ended.
    ///
    /// # Panics
    /// When `items` panics, with that panic: the call is cancelled, and the pool stays usable.
    #[doc(alias = "par_map")]
    #[track_caller]
    pub fn map<'i>(mut self, items: impl IntoIterator<Item = T::Item<'i>>) -> Result<Vec<T::Output>, Error>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
    {
        let pool = self.pool;
        let items = Source::of(items);
        let mut results = ReorderBuffer::with_capacity(reserved::<T::Output>(&items));
        let mut call = self.open(items, Mode::FailFast)?;
        call.run(|index, values| {
            results.at(index).append(values?);
            Ok(())
        })?;
        drop(call);
        pool.after_call()?;
        Ok(results.into_results())
    }

    /// Like [`map`](Self::map), but the results come in the order in which tasks finish. Panics in the same cases.
    ///
    /// # Errors
    /// As for [`map`](Self::map).
    #[doc(alias = "par_map_unordered")]
    #[track_caller]
    pub fn map_unordered<'i>(
        mut self,
        items: impl IntoIterator<Item = T::Item<'i>>,
    ) -> Result<Vec<T::Output>, Error>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
    {
        let mut results = Vec::new();
        let pool = self.pool;
        let mut call = self.open(Source::of(items), Mode::FailFast)?;
        call.run(|_, values| {
            results.append(values?);
            Ok(())
        })?;
        drop(call);
        pool.after_call()?;
        Ok(results)
    }

    /// Runs the task over the items and waits; returns one outcome for each item, in input order. A failed task is an
    /// error in its own place and does not end the call. Panics as [`map`](Self::map) does.
    ///
    /// # Errors
    /// Only what ends the whole call, as for [`map`](Self::map); never [`Error::Task`], unless the init function
    /// failed.
    #[doc(alias = "par_map_outcomes")]
    #[track_caller]
    pub fn map_outcomes<'i>(
        mut self,
        items: impl IntoIterator<Item = T::Item<'i>>,
    ) -> Result<Vec<Result<T::Output, TaskError>>, Error>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
    {
        let pool = self.pool;
        let items = Source::of(items);
        let most = reserved::<Result<T::Output, TaskError>>(&items);
        let call = self.open(items, Mode::Outcomes { bounded: false })?;
        Self::collect_outcomes(pool, call, most)
    }

    /// One outcome for each task of the call, in their order. Those that have none when it ends early are cancelled.
    fn collect_outcomes<'i, C: Iterator<Item = T::Item<'i>>>(
        pool: &PoolHandle,
        mut call: Call<'p, 'i, T, C>,
        expected: usize,
    ) -> Result<Vec<Result<T::Output, TaskError>>, Error> {
        let mut outcomes = ReorderBuffer::with_capacity(expected);
        let over = call.run(|index, values| {
            match values {
                Ok(values) => outcomes.at(index).extend(values.drain(..).map(Ok)),
                Err(error) => outcomes.at(index).push(Err(error)),
            }
            Ok(())
        });
        let (is_cut_short, site) = (call.is_cut_short(&over), call.site.clone());
        let mut tasks = call.input.pulled() as usize;
        if is_cut_short {
            // What was not pulled did not run, either. But an input may only claim to be that long.
            let known = call.input.left_if_known().and_then(|left| tasks.checked_add(left));
            tasks = known.filter(|known| *known <= expected).unwrap_or(tasks);
        }
        drop(call);
        if is_cut_short {
            let cancelled = |index| Err(TaskError::cancelled(T::name(), index).called(&site));
            return Ok(outcomes.into_filled(tasks, cancelled));
        }
        over?;
        pool.after_call()?;
        Ok(outcomes.into_results())
    }

    /// Runs the task over the items; returns an iterator that gives the results one by one, in input order, while the
    /// call goes on. A failed task is one item that is an error. An error that ends the whole call is the last item.
    ///
    /// # Panics
    /// When `items` panics, with that panic, in this call or in [`next`](Iterator::next): the call is cancelled, and
    /// the pool stays usable.
    #[doc(alias = "par_imap")]
    #[track_caller]
    pub fn imap<'i, C>(mut self, items: C) -> Imap<'p, 'i, T, C::IntoIter>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
        C: IntoIterator<Item = T::Item<'i>>,
    {
        let pool = self.pool;
        let call = self.open(Source::of(items), Mode::Outcomes { bounded: true });
        Imap::new(call, true, pool.workers(), || pool.after_call())
    }

    /// Like [`imap`](Self::imap), but the results come in the order in which tasks finish.
    #[doc(alias = "par_imap_unordered")]
    #[track_caller]
    pub fn imap_unordered<'i, C>(mut self, items: C) -> Imap<'p, 'i, T, C::IntoIter>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
        C: IntoIterator<Item = T::Item<'i>>,
    {
        let pool = self.pool;
        let call = self.open(Source::of(items), Mode::Outcomes { bounded: true });
        Imap::new(call, false, pool.workers(), || pool.after_call())
    }

    /// Runs the task once and waits for its result.
    ///
    /// # Errors
    /// As for [`map`](Self::map).
    #[track_caller]
    pub fn apply(mut self, item: T::Item<'_>) -> Result<T::Output, Error>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
    {
        self.options.iterable_len = Some(1);
        let pool = self.pool;
        let mut result = None;
        let mut call = self.open(Source::of(std::iter::once(item)), Mode::FailFast)?;
        call.run(|_, values| {
            result = values?.pop();
            Ok(())
        })?;
        drop(call);
        pool.after_call()?;
        result.ok_or(Error::Closed)
    }

    /// Runs the task over the items and waits; each result goes into the slot that has its item's position. Returns how
    /// many results there are. As in [`map`](Self::map), the first failed task ends the call.
    ///
    /// A result reuses the memory of what is in its slot: that of a `String`, and of a vector and its elements. So a
    /// program that calls this again and again with the same slots takes no new memory for large results, which would
    /// cost page faults. With [`Codec::Bincode`](crate::Codec::Bincode), a vector of numbers is copied as a whole.
    /// Structs are made anew, unless their `Deserialize` implements `deserialize_in_place`.
    ///
    /// Slots behind the last item keep what is in them. So do those of tasks without a result, if the call ends with an
    /// error; only a result that cannot be decoded may leave a part of it behind.
    ///
    /// ```
    /// use pool::{WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn frame(brightness: u8) -> Vec<u8> {
    ///     vec![brightness; 640 * 480]
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(2)?;
    ///     let mut frames = vec![Vec::new(); 10];
    ///     for second in 0..3 {
    ///         let count = frame::par_map_into(&pool, (0..8).map(|i| 10 * second + i), &mut frames)?;
    ///         assert_eq!(count, 8);
    ///         assert_eq!(frames[7], vec![10 * second + 7; 640 * 480]);
    ///         assert_eq!(frames[9], []);
    ///     }
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// - [`Error::TooFewSlots`] if there are more items than slots: at once if the input says so in its size hint, and
    ///   otherwise when that item comes, which no task gets. Results of the items before may be in their slots then.
    /// - Those of [`map`](Self::map).
    ///
    /// # Panics
    /// When `items` panics, as [`map`](Self::map) does.
    #[doc(alias = "par_map_into")]
    #[track_caller]
    pub fn map_into<'i>(
        mut self,
        items: impl IntoIterator<Item = T::Item<'i>>,
        slots: &mut [T::Output],
    ) -> Result<usize, Error>
    where
        T: RunsOn<S>,
        I: RunsOn<S>,
    {
        let pool = self.pool;
        let items = Source::of(items);
        if self.options.max_items().min(items.size_hint().0 as u64) > slots.len() as u64 {
            return Err(Error::TooFewSlots { slots: slots.len() });
        }
        let mut call = self.open(items, Mode::FailFast)?;
        call.input.refuse_beyond(slots.len());
        call.run_into(slots)?;
        let results = call.input.pulled() as usize;
        drop(call);
        pool.after_call()?;
        Ok(results)
    }
}

/// For how many results to reserve memory.
fn reserved<R>(items: &Source<impl Iterator>) -> usize {
    items.size_hint().0.min(RESERVED_BYTES / size_of::<R>().max(1))
}
