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
use crate::task::{ExitOf, InitOf, RunsOn, Task};
use crate::wire::ExecFlags;
use crate::work::{HeldBytes, JobSpec, Plan};

#[cfg(feature = "ndarray")]
mod arrays;
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
mod room;
mod source;
#[cfg(feature = "stream")]
mod stream;

pub use async_result::AsyncResult;
use call::Call;
pub use cancel::CancelHandle;
use cancel::{CallRef, CallSlot};
pub use deadline::Deadline;
pub(crate) use handle::PoolHandle;
pub use imap::Imap;
use input::InputBuffer;
pub(crate) use options::Options;
use reorder::ReorderBuffer;
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

impl<'p, T: Task, S, I, E, O> Job<'p, T, S, I, E, O> {
    /// Sets how many tasks a worker gets at once, at least 1. Default: adaptive, by how long the tasks take; or by
    /// [`n_splits`](Self::n_splits), over which this wins.
    ///
    /// Large chunks cost less per task; small ones spread uneven tasks better over the workers.
    pub fn chunk_size(mut self, tasks: usize) -> Self {
        self.options.chunk_size = Some(tasks);
        self
    }

    /// Sets into how many chunks the input is split, at least 1. Default: not set; see
    /// [`chunk_size`](Self::chunk_size). An error for an input of unknown length, unless
    /// [`iterable_len`](Self::iterable_len) is given.
    pub fn n_splits(mut self, chunks: usize) -> Self {
        self.options.n_splits = Some(chunks);
        self
    }

    /// Sets how many items the input has; items beyond that are not read. Default: what the iterator knows, if its size
    /// hint is exact. Needed for `n_splits` and for the length of a progress bar over iterators that do not know their
    /// length.
    pub fn iterable_len(mut self, items: usize) -> Self {
        self.options.iterable_len = Some(items);
        self
    }

    /// Limits how many tasks may be active: with workers, or finished with a result that the caller has not taken yet.
    /// At least 1.
    ///
    /// Default: as many as keep the workers busy for a moment. Iterators and streams are also limited by the results
    /// that were not taken yet: at most 64 MiB of them, as encoded, and at most 16,384 of them, or
    /// `2 × workers × chunk_size` where the chunk size is given. At that limit no more tasks begin, even while an
    /// ordered iterator waits for one late result. A number given here replaces all these limits: a low one may leave
    /// workers idle, a high one takes memory.
    pub fn max_tasks_active(mut self, tasks: usize) -> Self {
        self.options.max_tasks_active = Some(tasks);
        self
    }

    /// Sets after how many tasks a worker runs its exit function and is replaced by a fresh one, at least 1. Default:
    /// never. Every replacement costs the start of a worker and its init function.
    pub fn worker_lifespan(mut self, tasks: usize) -> Self {
        self.options.worker_lifespan = Some(tasks);
        self
    }

    /// Limits how long a task may take. Default: no limit.
    ///
    /// A task that takes longer fails as timed out, and its worker is killed and replaced, without its exit function.
    /// Time during which this program waits for results but is itself stopped, as by Ctrl-Z, does not count. Must be
    /// longer than zero; an error with `StartMethod::Threads`, because threads cannot be killed.
    pub fn task_timeout(mut self, limit: Duration) -> Self {
        self.options.task_timeout = Some(limit);
        self
    }

    /// Limits how long the init function may take in a worker. Default: no limit. Must be longer than zero; an error
    /// with `StartMethod::Threads`.
    pub fn worker_init_timeout(mut self, limit: Duration) -> Self {
        self.options.worker_init_timeout = Some(limit);
        self
    }

    /// Limits how long the exit function may take in a worker. Default: no limit. Must be longer than zero; an error
    /// with `StartMethod::Threads`.
    pub fn worker_exit_timeout(mut self, limit: Duration) -> Self {
        self.options.worker_exit_timeout = Some(limit);
        self
    }

    /// Sets how many times a task is tried again after its worker died or it timed out. A panic is not retried.
    /// Default: 0. A retry may kill another worker, along with that worker's state, and it repeats any side effects of
    /// the task.
    pub fn retries(mut self, times: u32) -> Self {
        self.options.retries = times;
        self
    }

    /// Sets the number from which [`task_seed`](crate::task_seed) derives the seeds of the tasks: calls with the same
    /// number have the same seeds. Default: another number for each call.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = Some(seed);
        self
    }

    /// Gives the call a name of its own, which tells it from other calls of the same task: its errors, its progress
    /// bar, insights, timelines and the events for `tracing` have it, beside the place where the call was made.
    /// Default: none; an empty one is none.
    ///
    /// It may be any text. Where it is shown, it is one line of at most 80 characters, with control characters escaped.
    ///
    /// ```
    /// use pool::{WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn shrink(photo: &str) -> usize {
    ///     assert!(!photo.is_empty(), "there is no photo");
    ///     photo.len() / 2
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(2)?;
    ///     let error = shrink::job(&pool).label("thumbnails").map(["a.png", ""]).unwrap_err();
    ///     let task = error.task().unwrap();
    ///     assert_eq!(task.label(), Some("thumbnails"));
    ///     assert!(task.called_at().unwrap().contains(".rs:"));
    ///     assert!(error.to_string().contains("called as `thumbnails` at "));
    ///     Ok(())
    /// }
    /// ```
    pub fn label(mut self, label: impl Into<String>) -> Self {
        let label = label.into();
        self.options.label = if label.is_empty() { None } else { Some(label.into()) };
        self
    }

    /// Shows progress on stderr: how many tasks are over, how many of those failed, the elapsed and the remaining time,
    /// and in the end how the call ended. Default: `false`.
    ///
    /// Nothing is shown unless stderr is a terminal. If the length of the input is not known, there are only numbers,
    /// no bar; if the input has fewer items than it promised, the bar ends at those that came. If `TERM` is `dumb` or
    /// not set, there is only one line, at the end; if the locale is not UTF-8, the bar is in ASCII. Calls that a
    /// worker makes on a pool of its own show lines that begin with the worker's number, and disappear when those calls
    /// are done.
    ///
    /// ```
    /// use pool::{WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(2)?;
    ///     let squares = square::job(&pool).progress_bar(true).map(0..1000)?;
    /// #     assert_eq!(squares[999], 998_001);
    ///     Ok(())
    /// }
    /// ```
    #[cfg(feature = "progress")]
    #[cfg_attr(docsrs, doc(cfg(feature = "progress")))]
    pub fn progress_bar(mut self, show: bool) -> Self {
        self.options.progress = show.then_some(BarRequest::Own);
        self
    }

    /// Shows progress on this bar, which each finished task advances by one; several calls may share it. Default: no
    /// bar.
    ///
    /// The bar keeps its length if it has one; otherwise the call sets it, and corrects it if another number of tasks
    /// comes than was promised. Its message is set only when tasks fail. The call that brings the bar to its length
    /// finishes it, as its [`with_finish`](indicatif::ProgressBar::with_finish) says. The bar is drawn where its maker
    /// decided: in a [`MultiProgress`](indicatif::MultiProgress), or on stderr. In a worker process stderr is no
    /// terminal: use [`progress_bar`](Self::progress_bar) there.
    #[cfg(feature = "progress")]
    #[cfg_attr(docsrs, doc(cfg(feature = "progress")))]
    pub fn progress(mut self, bar: indicatif::ProgressBar) -> Self {
        self.options.progress = Some(BarRequest::Given(bar));
        self
    }

    /// Returns a handle that can cancel this job's call, and no other one, from another thread: also a call that has
    /// not been made yet, and one that blocks.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pool::{Error, WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn nap(ms: u64) {
    ///     std::thread::sleep(Duration::from_millis(ms));
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), Error> {
    ///     let pool = WorkerPool::new(2)?;
    ///     let job = nap::job(&pool);
    ///     let handle = job.cancel_handle();
    ///     std::thread::scope(|scope| {
    ///         let call = scope.spawn(|| job.map([60_000; 100]));
    ///         handle.cancel();
    ///         assert!(matches!(call.join().unwrap(), Err(Error::Cancelled)));
    ///     });
    ///     Ok(())
    /// }
    /// ```
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle::of_one(Arc::clone(self.options.cancel.get_or_init(|| Arc::new(CallSlot::waiting()))))
    }

    /// Makes the workers' state with this init function instead of the task's own. Default: the task's own, from
    /// `#[worker_task(init = ..)]`.
    pub fn worker_init<J: InitOf<T::State>>(self) -> Job<'p, T, S, J, E, O> {
        Job { pool: self.pool, options: self.options, functions: PhantomData }
    }

    /// Ends the workers with this exit function instead of the task's own. Default: the task's own, from
    /// `#[worker_task(exit = ..)]`.
    pub fn worker_exit<X: ExitOf<T::State>>(self) -> Job<'p, T, S, I, X, O> {
        Job { pool: self.pool, options: self.options, functions: PhantomData }
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
    T: Task + RunsOn<S>,
    I: InitOf<T::State> + RunsOn<S>,
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
    pub fn map<'i>(self, items: impl IntoIterator<Item = T::Item<'i>>) -> Result<Vec<T::Output>, Error> {
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
        self,
        items: impl IntoIterator<Item = T::Item<'i>>,
    ) -> Result<Vec<T::Output>, Error> {
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
        self,
        items: impl IntoIterator<Item = T::Item<'i>>,
    ) -> Result<Vec<Result<T::Output, TaskError>>, Error> {
        let pool = self.pool;
        let items = Source::of(items);
        let most = reserved::<Result<T::Output, TaskError>>(&items);
        let call = self.open(items, Mode::Outcomes { bounded: false })?;
        Self::collect_outcomes(pool, call, most)
    }

    /// One outcome for each task of the call, in their order. Those that have none by its deadline are cancelled.
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
        let (pulled, site) = (call.input.pulled() as usize, call.site.clone());
        drop(call);
        if let Err(Error::DeadlineExceeded) = over {
            let cancelled = |index| Err(TaskError::cancelled(T::name(), index).called(&site));
            return Ok(outcomes.into_filled(pulled, cancelled));
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
    pub fn imap<'i, C>(self, items: C) -> Imap<'p, 'i, T, C::IntoIter>
    where
        C: IntoIterator<Item = T::Item<'i>>,
    {
        let pool = self.pool;
        let call = self.open(Source::of(items), Mode::Outcomes { bounded: true });
        Imap::new(call, true, pool.config().workers, || pool.after_call())
    }

    /// Like [`imap`](Self::imap), but the results come in the order in which tasks finish.
    #[doc(alias = "par_imap_unordered")]
    #[track_caller]
    pub fn imap_unordered<'i, C>(self, items: C) -> Imap<'p, 'i, T, C::IntoIter>
    where
        C: IntoIterator<Item = T::Item<'i>>,
    {
        let pool = self.pool;
        let call = self.open(Source::of(items), Mode::Outcomes { bounded: true });
        Imap::new(call, false, pool.config().workers, || pool.after_call())
    }

    /// Runs the task once and waits for its result.
    ///
    /// # Errors
    /// As for [`map`](Self::map).
    #[track_caller]
    pub fn apply(mut self, item: T::Item<'_>) -> Result<T::Output, Error> {
        self.options.iterable_len = Some(1);
        let result = self.map(std::iter::once(item))?.pop();
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
        self,
        items: impl IntoIterator<Item = T::Item<'i>>,
        slots: &mut [T::Output],
    ) -> Result<usize, Error> {
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
