//! Jobs: one call each. Options first, then one of the calls.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use crate::error::{Error, TaskError};
use crate::observe::progress::Progress;
#[cfg(feature = "progress")]
use crate::observe::progress::Wanted;
use crate::task::chunk::Concatenated;
use crate::task::{ExitOf, InitOf, RunsOn, Task};
use crate::wire::ExecFlags;
use crate::work::{JobSpec, Plan};

#[cfg(feature = "ndarray")]
mod arrays;
mod async_result;
mod background;
mod calls;
mod chunks;
mod imap;
mod options;
mod call;
mod handle;
mod reorder;
#[cfg(feature = "stream")]
mod stream;
mod input;

pub use async_result::AsyncResult;
use call::Call;
pub(crate) use handle::PoolHandle;
pub use imap::Imap;
use input::InputBuffer;
pub(crate) use options::Options;
use reorder::ReorderBuffer;
#[cfg(feature = "stream")]
pub use stream::ResultStream;

/// A call that is being put together: options first, then one of `map`, `map_unordered`, `imap`, `imap_unordered`,
/// `map_outcomes`, `apply`, `apply_async`, `map_async`; with the feature `stream` also `stream`, `stream_unordered`;
/// for tasks that take chunks `map_slice`, `chunks_mut`, `chunks_mut_outcomes`.
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
    /// How many tasks a worker gets at once. Default: adaptive, by the time that tasks take. Beats `n_splits`.
    pub fn chunk_size(mut self, tasks: usize) -> Self {
        self.options.chunk_size = Some(tasks);
        self
    }

    /// Into how many chunks the input is split. The input must have a known length, or `iterable_len` must be given.
    pub fn n_splits(mut self, chunks: usize) -> Self {
        self.options.n_splits = Some(chunks);
        self
    }

    /// How many items the input has; a longer input is cut off. Default: what its iterator knows of itself.
    pub fn iterable_len(mut self, items: usize) -> Self {
        self.options.iterable_len = Some(items);
        self
    }

    /// How many tasks may be under way, with workers or as results that were not taken yet. Default: as many as keep
    /// the workers busy for a moment; for iterators and streams also a bound on results that were not taken: 16,384 of
    /// them, `workers × chunk_size × 2` where the chunk size is given, and 64 MiB of them, as they are encoded. Beyond
    /// that an ordered iterator whose next result is late begins no more tasks until it comes. A number given here
    /// takes the place of all that.
    pub fn max_tasks_active(mut self, tasks: usize) -> Self {
        self.options.max_tasks_active = Some(tasks);
        self
    }

    /// After how many tasks a worker ends, with its exit function, and a fresh one takes its place. Default: never.
    pub fn worker_lifespan(mut self, tasks: usize) -> Self {
        self.options.worker_lifespan = Some(tasks);
        self
    }

    /// How long a task may take. Past that its worker is killed and replaced, and the task has timed out. Time in which
    /// this program waits for results but is stopped, as by Ctrl-Z, does not count. Default: no limit. Not for
    /// `StartMethod::Threads`.
    pub fn task_timeout(mut self, limit: Duration) -> Self {
        self.options.task_timeout = Some(limit);
        self
    }

    /// How long the init function may take in a worker. Default: no limit. Not for `StartMethod::Threads`.
    pub fn worker_init_timeout(mut self, limit: Duration) -> Self {
        self.options.worker_init_timeout = Some(limit);
        self
    }

    /// How long the exit function may take in a worker. Default: no limit. Not for `StartMethod::Threads`.
    pub fn worker_exit_timeout(mut self, limit: Duration) -> Self {
        self.options.worker_exit_timeout = Some(limit);
        self
    }

    /// How many times a task is run again after its worker died in it or it timed out; a panic is not retried. Another
    /// attempt may be another worker's, and end that one with its state. Default: 0.
    pub fn retries(mut self, times: u32) -> Self {
        self.options.retries = times;
        self
    }

    /// What [`task_seed`](crate::task_seed) gives in the call's tasks is made of this number: calls with the same one
    /// have the same seeds. Default: another one for each call.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = Some(seed);
        self
    }

    /// Shows on stderr how far the call is: tasks that are over and how many of them have failed, the time they took
    /// and will take, and how the call has ended. Without a known length there is no bar, only figures. Nothing is
    /// shown where stderr is no terminal. Calls that a worker makes of a pool of its own have lines there too, which
    /// begin with the worker's number and go when the calls are done. It ends at the tasks that came, whatever length
    /// was promised. Where `TERM` is `dumb` or not set there is one line, at the end, and where the locale is not UTF-8
    /// it is in ASCII. Default: `false`.
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
        self.options.progress = show.then_some(Wanted::Own);
        self
    }

    /// Shows progress on this bar: each task that is over moves it on by one, so several calls can share it. Its length
    /// is set only if it has none, and then corrected where another number of tasks comes than was promised, and its
    /// message only when tasks fail. It is finished, as its own [`with_finish`](indicatif::ProgressBar::with_finish)
    /// says, by the call that brings it to its length. It is drawn where its maker says: in a
    /// [`MultiProgress`](indicatif::MultiProgress), or on stderr, which in a worker process is no terminal; there
    /// [`progress_bar`](Self::progress_bar) is seen.
    #[cfg(feature = "progress")]
    #[cfg_attr(docsrs, doc(cfg(feature = "progress")))]
    pub fn progress(mut self, bar: indicatif::ProgressBar) -> Self {
        self.options.progress = Some(Wanted::Given(bar));
        self
    }

    /// Makes the workers' state with this function instead of the task's own.
    pub fn worker_init<J: InitOf<T::State>>(self) -> Job<'p, T, S, J, E, O> {
        Job { pool: self.pool, options: self.options, functions: PhantomData }
    }

    /// Ends the workers with this function instead of the task's own.
    pub fn worker_exit<X: ExitOf<T::State>>(self) -> Job<'p, T, S, I, X, O> {
        Job { pool: self.pool, options: self.options, functions: PhantomData }
    }
}

/// How many bytes of results an iterator or stream holds, as they are encoded, before no more tasks are begun: enough
/// for 64 of a mebibyte, with which a result that is late by as many task times makes no worker wait.
const MOST_HELD_BYTES: u64 = 64 << 20;

/// So much memory is reserved for results before they come, and no more: what an iterator says of its length may be
/// wrong.
const RESERVED_BYTES: usize = 16 << 20;

/// How a job deals with what comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// The first failed task ends it.
    FailFast,
    /// Every task's outcome is wanted; results that nobody asks for are bounded.
    Outcomes { bounded: bool },
}

impl<'p, T, S, I, E, O> Job<'p, T, S, I, E, O>
where
    T: Task + RunsOn<S>,
    I: InitOf<T::State> + RunsOn<S>,
    E: ExitOf<T::State> + RunsOn<S>,
    S: 'static,
{
    /// Runs the task over the items; the results are in input order. The first failed task ends the call.
    ///
    /// # Errors
    /// [`Error::Task`] with the first task that failed; other variants when an option is not allowed, workers
    /// could not be started, or the call was cancelled.
    #[doc(alias = "par_map")]
    pub fn map<'i>(self, items: impl IntoIterator<Item = T::Item<'i>>) -> Result<Vec<T::Output>, Error> {
        self.collect(items, Mode::FailFast, |results, values| {
            results.append(values?);
            Ok(())
        })
    }

    /// Like [`map`](Self::map), but the results are in the order in which they came.
    ///
    /// # Errors
    /// As for [`map`](Self::map).
    #[doc(alias = "par_map_unordered")]
    pub fn map_unordered<'i>(
        self,
        items: impl IntoIterator<Item = T::Item<'i>>,
    ) -> Result<Vec<T::Output>, Error> {
        let mut results = Vec::new();
        let pool = self.pool;
        let mut running = self.open(items.into_iter(), Mode::FailFast)?;
        running.run(|_, values| {
            results.append(values?);
            Ok(())
        })?;
        drop(running);
        pool.after_call()?;
        Ok(results)
    }

    /// Runs the task over the items; one outcome for each, in input order. A failed task is its own error.
    ///
    /// # Errors
    /// Only what ends the whole call; never [`Error::Task`], except when the init function failed.
    #[doc(alias = "par_map_outcomes")]
    pub fn map_outcomes<'i>(
        self,
        items: impl IntoIterator<Item = T::Item<'i>>,
    ) -> Result<Vec<Result<T::Output, TaskError>>, Error> {
        self.collect(items, Mode::Outcomes { bounded: false }, |outcomes, values| {
            match values {
                Ok(values) => outcomes.extend(values.drain(..).map(Ok)),
                Err(error) => outcomes.push(Err(error)),
            }
            Ok(())
        })
    }

    /// The results in input order, one by one, while the job goes on.
    #[doc(alias = "par_imap")]
    pub fn imap<'i, C>(self, items: C) -> Imap<'p, 'i, T, C::IntoIter>
    where
        C: IntoIterator<Item = T::Item<'i>>,
    {
        let pool = self.pool;
        let running = self.open(items.into_iter(), Mode::Outcomes { bounded: true });
        Imap::new(running, true, pool.config().workers, || pool.after_call())
    }

    /// The results in the order in which they come, one by one, while the job goes on.
    #[doc(alias = "par_imap_unordered")]
    pub fn imap_unordered<'i, C>(self, items: C) -> Imap<'p, 'i, T, C::IntoIter>
    where
        C: IntoIterator<Item = T::Item<'i>>,
    {
        let pool = self.pool;
        let running = self.open(items.into_iter(), Mode::Outcomes { bounded: true });
        Imap::new(running, false, pool.config().workers, || pool.after_call())
    }

    /// Runs the task once.
    ///
    /// # Errors
    /// As for [`map`](Self::map).
    pub fn apply(mut self, item: T::Item<'_>) -> Result<T::Output, Error> {
        self.options.iterable_len = Some(1);
        let result = self.map(std::iter::once(item))?.pop();
        result.ok_or(Error::Closed)
    }

    fn collect<'i, R>(
        self,
        items: impl IntoIterator<Item = T::Item<'i>>,
        mode: Mode,
        append: impl Fn(&mut Vec<R>, Result<&mut Vec<T::Output>, TaskError>) -> Result<(), Error>,
    ) -> Result<Vec<R>, Error> {
        let pool = self.pool;
        let items = items.into_iter();
        let most = RESERVED_BYTES / size_of::<R>().max(1);
        let mut results = ReorderBuffer::with_capacity(items.size_hint().0.min(most));
        let mut running = self.open(items, mode)?;
        running.run(|index, values| append(results.at(index), values))?;
        drop(running);
        pool.after_call()?;
        Ok(results.into_results())
    }

    /// Opens the job: from here on its workers exist.
    fn open<'i, C: Iterator<Item = T::Item<'i>>>(
        mut self,
        items: C,
        mode: Mode,
    ) -> Result<Call<'p, 'i, T, C>, Error> {
        let mut plan = self.options.plan(items.size_hint(), self.pool.config())?;
        plan.fail_fast = mode == Mode::FailFast;
        if mode == (Mode::Outcomes { bounded: true }) && plan.max_active.is_none() {
            plan.max_active = self.pool.default_bound(&plan);
            plan.max_held_bytes = Some(MOST_HELD_BYTES);
        }
        let (chunk, tasks) = (plan.whole_chunk(), plan.total);
        let (codec, engine) = (self.pool.config().codec, self.pool.engine());
        let job = engine.open(JobSpec { is_background: false, ..self.spec(plan)? })?;
        let progress = self.options.progress.take().and_then(|wanted| Progress::new(wanted, tasks));
        let input = InputBuffer::new(items, self.options.cut(), codec);
        Ok(Call::new(engine, job, input, chunk, codec, self.options.quiesces, progress))
    }

    /// What the call asks of the engine.
    fn spec(&self, plan: Plan) -> Result<JobSpec, Error> {
        let (task, profile) = self.pool.functions::<T, I, E>()?;
        let flags = ExecFlags {
            timed: plan.task_limit_ns.is_some(),
            watched: self.pool.config().policy.insights,
            claim: plan.most_claimed(),
            seed: self.options.seed.unwrap_or_else(|| self.pool.next_seed()),
        };
        let is_shown = self.options.progress.is_some();
        Ok(JobSpec { task, profile, flags, plan, is_shown, is_background: true, encoded: Vec::new() })
    }
}
