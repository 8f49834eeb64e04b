//! The methods of a job that set its options.

use super::*;

impl<'p, T: Task, S, I, E, O> Job<'p, T, S, I, E, O> {
    /// Sets how many tasks a worker gets at once, at least 1. Default: adaptive, by how long the tasks take; or by
    /// [`n_splits`](Self::n_splits), over which this wins.
    ///
    /// Large chunks cost less per task; small ones spread uneven tasks better over the workers. A chunk is shorter at
    /// the end of the input, of very large items, and of what a [`Receiver`](std::sync::mpsc::Receiver) gives before it
    /// is empty for a millisecond.
    pub fn chunk_size(mut self, tasks: usize) -> Self {
        self.options.chunk_size = Some(tasks);
        self
    }

    /// Sets into how many chunks the input is split, at least 1. Default: not set; see
    /// [`chunk_size`](Self::chunk_size). An error for an input of unknown length, unless
    /// [`iterable_len`](Self::iterable_len) is given.
    pub fn n_splits(mut self, chunks: usize) -> Self {
        self.options.extra_mut().n_splits = Some(chunks);
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
        self.options.extra_mut().worker_lifespan = Some(tasks);
        self
    }

    /// Limits how long a task may take. Default: no limit.
    ///
    /// A task that takes longer fails as timed out, and its worker is killed and replaced, without its exit function.
    /// Time during which this program waits for results but is itself stopped, as by Ctrl-Z, does not count. Must be
    /// longer than zero; an error with `StartMethod::Threads`, because threads cannot be killed.
    pub fn task_timeout(mut self, limit: Duration) -> Self {
        self.options.extra_mut().task_timeout = Some(limit);
        self
    }

    /// Limits how much CPU time a task may use. Default: no limit. For tasks whose work is known and whose time is not:
    /// on a busy machine, or while it sleeps or waits for others, a task uses no CPU time.
    ///
    /// A task that uses more fails with [`CpuLimitExceeded`](crate::TaskErrorKind::CpuLimitExceeded), and its worker is
    /// killed and replaced, without its exit function. All threads of the worker's process count, also those of earlier
    /// tasks, and so do processes that the task has waited for, once it has: a task that ends then has its result. A
    /// task gets a little more than this: its first milliseconds are not counted, and the worker's clock is looked at
    /// every 10 ms at most. Must be longer than zero; an error with `StartMethod::Threads`, because threads cannot be
    /// killed.
    ///
    /// ```
    /// use std::time::Duration;
    /// use pool::{TaskErrorKind, WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn solve(size: u64) -> u64 {
    ///     if size == 0 {
    ///         loop {
    ///             std::hint::spin_loop();
    ///         }
    ///     }
    ///     std::thread::sleep(Duration::from_millis(10 * size));
    ///     size
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(2)?;
    ///     let job = solve::job(&pool).cpu_limit(Duration::from_millis(100));
    ///     let outcomes = job.map_outcomes([0, 30])?;
    ///     let error = outcomes[0].as_ref().unwrap_err();
    ///     let TaskErrorKind::CpuLimitExceeded { used, limit } = error.kind() else { panic!("{error}") };
    ///     assert!(used >= limit);
    ///     assert_eq!(outcomes[1], Ok(30));
    ///     Ok(())
    /// }
    /// ```
    pub fn cpu_limit(mut self, limit: Duration) -> Self {
        self.options.extra_mut().cpu_limit = Some(limit);
        self
    }

    /// Limits how long the init function may take in a worker. Default: no limit. Must be longer than zero; an error
    /// with `StartMethod::Threads`.
    pub fn worker_init_timeout(mut self, limit: Duration) -> Self {
        self.options.extra_mut().worker_init_timeout = Some(limit);
        self
    }

    /// Limits how long the exit function may take in a worker. Default: no limit. Must be longer than zero; an error
    /// with `StartMethod::Threads`.
    pub fn worker_exit_timeout(mut self, limit: Duration) -> Self {
        self.options.extra_mut().worker_exit_timeout = Some(limit);
        self
    }

    /// Sets how many times a task is tried again after its worker died or it was over a limit. A panic is not retried.
    /// Default: 0. A retry may kill another worker, along with that worker's state, and it repeats any side effects of
    /// the task. The same as [`retry(Retry::times(n))`](Self::retry), which can say more.
    pub fn retries(self, times: u32) -> Self {
        self.retry(Retry::times(times))
    }

    /// Sets the number from which [`task_seed`](crate::task_seed) derives the seeds of the tasks: calls with the same
    /// number have the same seeds. Default: another number for each call.
    pub fn seed(mut self, seed: u64) -> Self {
        self.options.seed = Some(seed);
        self
    }

    /// Gives the call a name of its own, which tells it from other calls of the same task: the errors of its tasks, its
    /// progress bar, insights, timelines and the events for `tracing` have it, beside the place where the call was
    /// made. A function with `#[track_caller]` that makes a call passes on its own caller's place. Default: none; an
    /// empty one is none.
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
        self.options.extra_mut().progress = show.then_some(BarRequest::Own);
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
        self.options.extra_mut().progress = Some(BarRequest::Given(bar));
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
    ///
    /// If it takes an `#[arg]`, give it its value after this, with [`init_arg`](Self::init_arg).
    pub fn worker_init<J: InitOf<T::State>>(mut self) -> Job<'p, T, S, J, E, O> {
        self.drop_init_arg();
        self.with_functions()
    }

    /// Ends the workers with this exit function instead of the task's own. Default: the task's own, from
    /// `#[worker_task(exit = ..)]`.
    pub fn worker_exit<X: ExitOf<T::State>>(self) -> Job<'p, T, S, I, X, O> {
        self.with_functions()
    }
}
