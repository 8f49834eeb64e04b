//! The pool that users hold: its builder, its calls, and its end.

mod builder;
mod cpus;
mod exits;
mod idle;
mod processes;
mod resize;

use std::marker::PhantomData;
use std::sync::Arc;

use crate::engine::Engine;
use crate::error::Error;
use crate::job::{AsyncResult, CancelHandle, Job, PoolHandle};
use crate::observe::insights::Insights;
use crate::observe::stats::Stats;
use crate::observe::timeline::Timeline;
use crate::options::{PoolConfig, StartMethod};
use crate::start::WorkerConfig;
use crate::sys::random::random;
use crate::task::seed::Seeds;
use crate::task::{BorrowsFrom, CalledOn, ReadyFor, Task};

pub use builder::WorkerPoolBuilder;
pub use exits::ExitResults;
use resize::Growth;

/// A pool of workers that run tasks.
///
/// The workers start at the first call and live until [`join`](Self::join), [`terminate`](Self::terminate) or drop.
/// Several threads may make calls at once; their calls share the workers.
///
/// Only the process that built a pool can use it. In a fork of that process (a daemon, for instance) every call
/// returns [`Error::Forked`], and dropping the pool does nothing: build another pool after the fork.
///
/// `S` is the type of the shared value, which `#[shared]` parameters borrow.
pub struct WorkerPool<S = ()> {
    handle: PoolHandle,
    growth: Growth,
    shares: PhantomData<fn() -> S>,
}

impl<S> std::fmt::Debug for WorkerPool<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (workers, config) = (self.workers(), self.handle.config());
        f.debug_struct("WorkerPool")
            .field("workers", &workers)
            .field("config", config)
            .finish_non_exhaustive()
    }
}

impl WorkerPool {
    /// Returns a builder, which sets the options of a pool.
    pub fn builder() -> WorkerPoolBuilder {
        WorkerPoolBuilder::new()
    }

    /// Builds a pool of `workers` workers, from 1 to 65536, with defaults for all other options.
    ///
    /// # Errors
    /// As for [`WorkerPoolBuilder::build`].
    pub fn new(workers: usize) -> Result<Self, Error> {
        Self::builder().workers(workers).build()
    }
}

impl<S> WorkerPool<S> {
    fn start(
        config: PoolConfig,
        workers: WorkerConfig,
        cpus: Vec<Vec<usize>>,
        growth: Growth,
    ) -> Result<Self, Error> {
        let engine = Engine::new(&config, workers, cpus)?;
        let seeds = Seeds::new(random().map_err(|error| Error::start("the pool", error))?);
        Ok(Self { handle: PoolHandle::new(engine, config, seeds), growth, shares: PhantomData })
    }

    /// Returns how many workers the pool has: as many as it was built with, or [resized](Self::resize) to. They start
    /// on demand.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.handle.workers()
    }

    /// Returns how the pool starts its workers.
    #[must_use]
    pub fn start_method(&self) -> StartMethod {
        self.handle.config().method
    }

    /// Returns a handle that can cancel all running calls from another thread. [`Job::cancel_handle`] returns one for a
    /// single call.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle::of_all(&self.handle)
    }

    /// Waits until nothing is under way: each call has its result, or was cancelled or dropped, and no worker runs a
    /// task that is left of one. The workers stay. Calls that other threads make meanwhile are waited for, too;
    /// callbacks, and progress bars of calls in the background, are not.
    ///
    /// An iterator or a stream that the calling thread itself holds is an open call: this would wait for ever.
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
    ///     let results: Vec<_> = (0..10).map(|x| square::apply_async(&pool, x)).collect();
    ///     pool.wait_idle()?;
    ///     assert!(results.iter().all(|result| result.ready()));
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Forked`] in a fork of the process that built the pool; [`Error::OwnTask`] in a task that runs in a
    /// thread of this pool, which it would wait for.
    pub fn wait_idle(&self) -> Result<(), Error> {
        let engine = self.handle.engine();
        engine.check_outside_tasks("wait_idle")?;
        self.handle.background().open_gathered(engine);
        engine.wait_idle();
        self.handle.background().wait_delivered();
        Ok(())
    }

    /// Like [`join`](Self::join), for a pool that is shared: lets no further call begin, finishes those that are open
    /// and their callbacks, runs the workers' exit functions, and ends the workers. Waits as long as that takes. Later
    /// calls return [`Error::Closed`].
    ///
    /// An iterator of results that somebody still has keeps its call open, even one that was cancelled, so this waits
    /// until it is dropped: for ever, if the calling thread has it itself, or if it was forgotten.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use pool::{Error, WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn square(x: u64) -> u64 {
    ///     x * x
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), Error> {
    ///     let pool = Arc::new(WorkerPool::new(2)?);
    ///     let service = Arc::clone(&pool);
    ///     let last = square::apply_async(&service, 3);
    ///     pool.shutdown()?;
    ///     assert_eq!(last.get()?, 9);
    ///     assert!(matches!(square::apply(&service, 4), Err(Error::Closed)));
    ///     Ok(())
    /// }
    /// ```
    ///
    /// The exit results go to whoever asks first: if several threads shut the pool down, to one of them.
    ///
    /// # Errors
    /// As for [`join`](Self::join); [`Error::OwnTask`] in a task that runs in a thread of this pool, which it would
    /// wait for.
    pub fn shutdown(&self) -> Result<ExitResults, Error> {
        let engine = self.handle.engine();
        engine.check_outside_tasks("shutdown")?;
        self.handle.background().open_gathered(engine);
        engine.refuse_calls();
        self.finish()
    }

    /// Finishes all calls and ends the workers.
    fn finish(&self) -> Result<ExitResults, Error> {
        let engine = self.handle.engine();
        self.handle.background().open_gathered(engine);
        engine.wait_idle();
        engine.shut_down();
        engine.wait_stopped()?;
        self.handle.background().join();
        self.handle.helpers().end();
        let exits = engine.take_exits();
        Ok(ExitResults { exits: exits.into_values(), codec: self.handle.config().codec })
    }

    /// Finishes all calls and their callbacks, runs the workers' exit functions, and ends the workers. Waits as long as
    /// that takes. A call that was forgotten, as by [`mem::forget`](std::mem::forget) of its iterator, ends here. In a
    /// callback it does not wait for callbacks. [`shutdown`](Self::shutdown) is for a pool that is shared, as by an
    /// `Arc`.
    ///
    /// # Errors
    /// [`Error::Task`] of kind [`TaskErrorKind::Exit`](crate::TaskErrorKind::Exit) when an exit function failed;
    /// [`Error::Forked`] in a fork of the process that built the pool.
    pub fn join(self) -> Result<ExitResults, Error> {
        let engine = self.handle.engine();
        engine.check()?;
        // Iterators and streams borrow the pool: nobody can have one any more.
        engine.close_forgotten();
        self.finish()
    }

    /// Ends the workers now, even in the middle of a task; unfinished calls return [`Error::Closed`]. Idle workers get
    /// half a second to shut down in order: see the [guide](crate::guide::state). So do callbacks to return; one that
    /// takes longer goes on without the pool. Dropping the pool does the same.
    pub fn terminate(self) {
        drop(self);
    }

    /// Returns what the pool does now, and what it has done since it was built. It is always counted, at no cost worth
    /// mention; a look takes a microsecond and, for each worker, some nanoseconds. All zeros in a fork of the process
    /// that built the pool.
    ///
    /// ```
    /// use pool::{WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn parse(text: &str) -> u32 {
    ///     text.parse().unwrap()
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::new(2)?;
    ///     parse::par_map_outcomes(&pool, ["1", "two", "3"])?;
    ///     let stats = pool.stats();
    ///     assert_eq!((stats.done(), stats.failed(), stats.running()), (2, 1, 0));
    ///     assert_eq!(stats.failed_by_kind()["panicked"], 1);
    ///     println!("{stats}");
    ///     Ok(())
    /// }
    /// ```
    #[must_use]
    pub fn stats(&self) -> Stats {
        let engine = self.handle.engine();
        if !engine.is_here() {
            return Stats::default();
        }
        let gathered = self.handle.background().gathered() as u64;
        engine.stats().add_queued(gathered)
    }

    /// Returns statistics on where the workers' time has gone so far, even while calls run. Empty unless the pool was
    /// built with [`insights(true)`](crate::WorkerPoolBuilder::insights), and in a fork of the process that built the
    /// pool.
    #[must_use]
    pub fn insights(&self) -> Insights {
        let engine = self.handle.engine();
        let is_measured = self.handle.config().policy.insights && engine.is_here();
        if is_measured { engine.insights() } else { Insights::default() }
    }

    /// Returns a record of what each worker has done so far and when, even while calls run. It can be written as a
    /// trace or a picture. Empty unless the pool was built with [`insights(true)`](crate::WorkerPoolBuilder::insights),
    /// and in a fork of the process that built the pool.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        let engine = self.handle.engine();
        if engine.is_here() { engine.timeline() } else { Timeline::default() }
    }
}

/// The calls, with the task as a type parameter: `pool.map::<f>(items)` is the same as `f::par_map(&pool, items)`.
impl<S: 'static> WorkerPool<S> {
    /// Starts a [`Job`] of this task: set its options, then make one of its calls.
    pub fn job<T: Task + BorrowsFrom<S>>(&self) -> Job<'_, T, S> {
        Job::new(&self.handle)
    }

    /// Starts a job with the task's own init and exit functions, which are known to fit.
    #[doc(hidden)]
    pub fn own_job<T: CalledOn<S>>(&self) -> Job<'_, T, S, T::OwnInit, T::OwnExit> {
        self.job::<T>().worker_init().worker_exit()
    }

    crate::calls! { pool }

    /// Starts all workers, and makes the state of this task in each of them that has not made it yet.
    ///
    /// See [`Job::warm_up`] for errors, and for options.
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
    ///     pool.warm_up::<square>()?;
    ///     // No worker has to be started for this.
    ///     assert_eq!(square::apply(&pool, 3)?, 9);
    ///     Ok(())
    /// }
    /// ```
    #[track_caller]
    pub fn warm_up<T: ReadyFor<S>>(&self) -> Result<(), Error> {
        self.job::<T>().warm_up()
    }

    /// Runs the task over the items without waiting; the results come in input order.
    #[must_use = "without it nobody learns how the call went"]
    #[track_caller]
    pub fn map_async<'i, T>(
        &self,
        items: impl IntoIterator<Item = T::Item<'i>>,
    ) -> AsyncResult<Vec<T::Output>>
    where
        T: ReadyFor<S>,
    {
        self.job::<T>().map_async(items)
    }
}

impl<S> Drop for WorkerPool<S> {
    fn drop(&mut self) {
        let (engine, background, helpers) =
            (self.handle.engine(), self.handle.background(), self.handle.helpers());
        if !engine.is_here() {
            // In a fork the lanes are not mapped, the pool's threads do not exist, and descriptor numbers may belong to
            // other files by now. Dropping the engine would close those: leak it instead.
            std::mem::forget((Arc::clone(engine), Arc::clone(background), Arc::clone(helpers)));
            return;
        }
        engine.terminate();
        background.finish();
        helpers.end();
    }
}
