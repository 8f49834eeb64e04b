//! The pool.

mod builder;
mod cpus;

use std::any::TypeId;
use std::iter::FusedIterator;
use std::marker::PhantomData;
use std::sync::{Arc, Weak};

#[cfg(feature = "stream")]
use futures_core::FusedStream;

use crate::codec::Codec;
use crate::codec::type_key;
use crate::drive::{Core, ProfileDef, State, Waiter, WorkerPolicy};
use crate::error::{Error, TaskError, TaskErrorKind};
use crate::job::{AsyncResult, BackgroundDriver, Job};
use crate::observe::insights::Insights;
use crate::observe::timeline::Timeline;
use crate::options::StartMethod;
use crate::shared;
use crate::start::{self, WorkerConfig};
use crate::supervise::Supervisor;
use crate::task::registry::Registry;
use crate::task::seed::Seeds;
use crate::task::{Output, ReadyFor, RunsOn, Task, WorkerExit, WorkerInit};
use crate::text;
use crate::unwind;
use crate::work::{ExitValue, Plan};
pub use builder::WorkerPoolBuilder;

/// A pool of workers that run tasks.
///
/// The workers start at the first call and live until [`join`](Self::join), [`terminate`](Self::terminate) or drop.
/// Calls may come from several threads at once; they share the workers.
///
/// A pool belongs to the process that has built it. In a fork of that process, a daemon's for instance, its calls are
/// [`Error::Forked`], and its end ends nothing: build a pool there after the fork.
///
/// `S` is the type of the shared value, which `#[shared]` parameters borrow.
pub struct WorkerPool<S = ()> {
    core: Arc<Core>,
    background: Arc<BackgroundDriver>,
    settings: PoolConfig,
    seeds: Seeds,
    shares: PhantomData<fn() -> S>,
}

/// What does not change in the pool's life.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PoolConfig {
    pub(crate) workers: usize,
    pub(crate) method: StartMethod,
    pub(crate) codec: Codec,
    pub(crate) order_tasks: bool,
    pub(crate) upkeep: WorkerPolicy,
}

impl<S> std::fmt::Debug for WorkerPool<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerPool").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl WorkerPool {
    /// The options of a pool.
    pub fn builder() -> WorkerPoolBuilder {
        WorkerPoolBuilder::new()
    }

    /// A pool of this many workers, with the defaults for all else.
    ///
    /// # Errors
    /// As for [`WorkerPoolBuilder::build`].
    pub fn new(workers: usize) -> Result<Self, Error> {
        Self::builder().workers(workers).build()
    }
}

impl<S> WorkerPool<S> {
    pub(crate) fn start(
        settings: PoolConfig,
        crew: WorkerConfig,
        cpus: Vec<Vec<usize>>,
    ) -> Result<Self, Error> {
        let waiter = Arc::new(Waiter::new().map_err(|error| Error::start("the pool", error))?);
        let supervisor =
            Supervisor::new(settings.workers, settings.order_tasks, settings.method.is_process());
        let starter = start::starter(settings.method, crew);
        let state = State::new(supervisor, starter, Arc::clone(&waiter), cpus, settings.upkeep);
        Ok(Self {
            core: Arc::new(Core::new(state, waiter)),
            background: Arc::default(),
            settings,
            seeds: Seeds::new(shared::random().map_err(|error| Error::start("the pool", error))?),
            shares: PhantomData,
        })
    }

    /// How many workers the pool has.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.settings.workers
    }

    /// How the pool's workers are started.
    #[must_use]
    pub fn start_method(&self) -> StartMethod {
        self.settings.method
    }

    /// A handle that ends running calls from another thread.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle { core: Arc::downgrade(&self.core) }
    }

    /// Finishes all work, runs the exit functions, and ends the workers.
    ///
    /// # Errors
    /// [`Error::Task`] of kind [`TaskErrorKind::Exit`] when an exit function failed.
    pub fn join(self) -> Result<ExitResults, Error> {
        self.core.check()?;
        self.core.drive_until(|state| state.is_idle());
        self.core.change(State::retire);
        self.rest()?;
        let exits = std::mem::take(&mut self.core.lock().exits);
        Ok(ExitResults { exits: exits.into_values(), codec: self.settings.codec })
    }

    /// Ends the workers now, in the midst of what they do; waiting calls end with [`Error::Closed`]. Those that do nothing
    /// have half a second to leave in order: see the [guide](crate::guide::state). The same as dropping the pool.
    pub fn terminate(self) {
        drop(self);
    }

    /// What exit functions `E` have given so far, in the order in which workers ended: a copy, for the pool keeps what
    /// [`join`](Self::join) is to give. What is more than 16 MiB it keeps in files without a name in the directory for
    /// temporary files, where that takes them; see [`take_exit_results`](Self::take_exit_results).
    ///
    /// # Errors
    /// When a value cannot be decoded.
    pub fn exit_results<E: WorkerExit>(&self) -> Result<Vec<E::Output>, Error> {
        self.core.check()?;
        let Some(exit) = index_of::<E>()? else { return Ok(Vec::new()) };
        let exits = self.core.lock().exits.of(exit);
        decode_exits::<E>(&exits, self.settings.codec)
    }

    /// The same, which are then given by no other call, nor by [`join`](Self::join): a pool that lives long, and whose
    /// workers are replaced, keeps no more than what was not taken.
    ///
    /// ```
    /// use pool::{WorkerPool, worker_exit, worker_task};
    ///
    /// #[worker_task(exit = count)]
    /// fn square(#[state] done: &mut u64, x: u64) -> u64 {
    ///     *done += 1;
    ///     x * x
    /// }
    ///
    /// #[worker_exit]
    /// fn count(#[state] done: u64) -> u64 {
    ///     done
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     let pool = WorkerPool::builder().workers(2).keep_alive(false).build()?;
    ///     for _ in 0..3 {
    ///         square::par_map(&pool, 0..10)?;
    ///         assert_eq!(pool.take_exit_results::<count>()?.iter().sum::<u64>(), 10);
    ///     }
    ///     assert!(pool.join()?.exit_results::<count>()?.is_empty());
    ///     Ok(())
    /// }
    /// ```
    ///
    /// # Errors
    /// When a value cannot be decoded; then none is taken.
    pub fn take_exit_results<E: WorkerExit>(&self) -> Result<Vec<E::Output>, Error> {
        let Some(exit) = index_of::<E>()? else { return Ok(Vec::new()) };
        let exits = self.core.lock().exits.take(exit);
        decode_exits::<E>(&exits, self.settings.codec).inspect_err(|_| self.core.lock().exits.put_back(exits))
    }

    /// Where the workers' time went so far, also while calls are under way. Empty unless the pool was built with
    /// [`insights(true)`](crate::WorkerPoolBuilder::insights), and in a fork of the process that has built the pool.
    #[must_use]
    pub fn insights(&self) -> Insights {
        let is_known = self.settings.upkeep.insights && self.core.is_here();
        if is_known { self.core.lock().insights() } else { Insights::default() }
    }

    /// What the workers did when, so far, also while calls are under way: a trace, or a picture. Empty unless the pool was
    /// built with [`insights(true)`](crate::WorkerPoolBuilder::insights), and in a fork of the process that has built the
    /// pool.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        if self.core.is_here() { self.core.lock().timeline() } else { Timeline::default() }
    }

    /// Waits until the workers, which were told to end, have done so.
    fn rest(&self) -> Result<(), Error> {
        self.core.check()?;
        // A call that comes from another thread meanwhile keeps the workers.
        self.core.drive_until(|state| state.is_at_rest() || !state.is_ending());
        match self.core.lock().exit_error.take() {
            Some(error) => Err(error.into()),
            None => Ok(()),
        }
    }

    /// Without `keep_alive` the workers end with the last call that is under way; that call waits for them.
    pub(crate) fn after_call(&self) -> Result<(), Error> {
        if self.settings.upkeep.keep_alive { Ok(()) } else { self.rest() }
    }

    /// Whether somebody wants insights.
    pub(crate) fn is_watched(&self) -> bool {
        self.settings.upkeep.insights
    }

    /// The seed of a call that was given none.
    pub(crate) fn next_seed(&self) -> u64 {
        self.seeds.next()
    }

    pub(crate) fn core(&self) -> &Core {
        &self.core
    }

    pub(crate) fn core_arc(&self) -> &Arc<Core> {
        &self.core
    }

    pub(crate) fn background(&self) -> &Arc<BackgroundDriver> {
        &self.background
    }

    pub(crate) fn codec(&self) -> Codec {
        self.settings.codec
    }

    /// Whether workers can be killed.
    pub(crate) fn killable(&self) -> bool {
        self.settings.method.is_process()
    }

    /// How many results of a lazy iterator may be under way when the caller gives no bound.
    pub(crate) fn default_bound(&self, plan: &Plan) -> Option<u64> {
        const ADAPTIVE: u64 = 16_384;
        let workers = self.settings.workers as u64;
        Some(match plan.whole_chunk() {
            1 => ADAPTIVE.max(2 * workers),
            chunk => chunk.saturating_mul(2 * workers),
        })
    }

    /// Whether chunks go to workers in turn.
    pub(crate) fn orders_tasks(&self) -> bool {
        self.settings.order_tasks
    }

    /// A task's place in the registry, and the number of the worker state that it runs on; 0 for none.
    pub(crate) fn functions<T: Task, I: WorkerInit, E: WorkerExit>(&self) -> Result<(u32, u32), Error> {
        self.core.check()?;
        let registry = Registry::get();
        let index = |entry: Option<_>| entry.map(|entry| registry.index_of(entry)).transpose();
        let (task, init, exit) = (registry.index_of(T::entry())?, index(I::entry())?, index(E::entry())?);
        if init.is_none() && exit.is_none() && TypeId::of::<T::State>() == TypeId::of::<()>() {
            return Ok((task, 0));
        }
        let state_type = type_key(TypeId::of::<T::State>());
        let profile = self.core.lock().profile(ProfileDef { state_type, task, init, exit });
        Ok((task, profile))
    }
}

/// The calls, with the task as a type parameter; the same as the helpers on the task's own type.
impl<S: 'static> WorkerPool<S> {
    /// A job of this task: options first, then one of its calls.
    pub fn job<T: Task + RunsOn<S>>(&self) -> Job<'_, T, S> {
        Job::new(self)
    }

    /// A job with the task's own init and exit functions, which are known to fit.
    #[doc(hidden)]
    pub fn own_job<T: ReadyFor<S>>(&self) -> Job<'_, T, S, T::OwnInit, T::OwnExit> {
        self.job::<T>().worker_init().worker_exit()
    }

    /// Runs the task over the items; the results are in input order. The first failed task ends the call.
    ///
    /// # Errors
    /// [`Error::Task`] with the first task that failed; see [`Error`] for the others.
    #[doc(alias = "par_map")]
    pub fn map<'i, T>(&self, items: impl IntoIterator<Item = T::Item<'i>>) -> Result<Vec<T::Output>, Error>
    where
        T: ReadyFor<S>,
    {
        self.own_job::<T>().map(items)
    }

    /// Like [`map`](Self::map), with the results in the order in which they came.
    ///
    /// # Errors
    /// As for [`map`](Self::map).
    #[doc(alias = "par_map_unordered")]
    pub fn map_unordered<'i, T>(
        &self,
        items: impl IntoIterator<Item = T::Item<'i>>,
    ) -> Result<Vec<T::Output>, Error>
    where
        T: ReadyFor<S>,
    {
        self.own_job::<T>().map_unordered(items)
    }

    /// Runs the task over the items; one outcome for each, in input order.
    ///
    /// # Errors
    /// Only what ends the whole call.
    #[doc(alias = "par_map_outcomes")]
    pub fn map_outcomes<'i, T>(
        &self,
        items: impl IntoIterator<Item = T::Item<'i>>,
    ) -> Result<Vec<Result<T::Output, TaskError>>, Error>
    where
        T: ReadyFor<S>,
    {
        self.own_job::<T>().map_outcomes(items)
    }

    /// The results in input order, one by one, while the job goes on.
    #[doc(alias = "par_imap")]
    pub fn imap<'i, T>(
        &self,
        items: impl IntoIterator<Item = T::Item<'i>>,
    ) -> impl FusedIterator<Item = Result<T::Output, Error>>
    where
        T: ReadyFor<S>,
    {
        self.own_job::<T>().imap(items)
    }

    /// The results in the order in which they come, one by one, while the job goes on.
    #[doc(alias = "par_imap_unordered")]
    pub fn imap_unordered<'i, T>(
        &self,
        items: impl IntoIterator<Item = T::Item<'i>>,
    ) -> impl FusedIterator<Item = Result<T::Output, Error>>
    where
        T: ReadyFor<S>,
    {
        self.own_job::<T>().imap_unordered(items)
    }

    /// The results in input order as a stream, while the job goes on.
    ///
    /// ```
    /// use futures::TryStreamExt;
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
    ///     let squares = pool.stream::<square>(1..=3).try_collect::<Vec<_>>();
    ///     assert_eq!(futures::executor::block_on(squares)?, [1, 4, 9]);
    ///     Ok(())
    /// }
    /// ```
    #[cfg(feature = "stream")]
    #[cfg_attr(docsrs, doc(cfg(feature = "stream")))]
    #[doc(alias = "par_stream")]
    pub fn stream<'i, T>(
        &self,
        items: impl IntoIterator<Item = T::Item<'i>>,
    ) -> impl FusedStream<Item = Result<T::Output, Error>> + Unpin
    where
        T: ReadyFor<S>,
    {
        self.own_job::<T>().stream(items)
    }

    /// The results in the order in which they come as a stream, while the job goes on.
    ///
    /// ```
    /// use futures::StreamExt;
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
    ///     let results = pool.stream_unordered::<square>(1..=3).count();
    ///     assert_eq!(futures::executor::block_on(results), 3);
    ///     Ok(())
    /// }
    /// ```
    #[cfg(feature = "stream")]
    #[cfg_attr(docsrs, doc(cfg(feature = "stream")))]
    #[doc(alias = "par_stream_unordered")]
    pub fn stream_unordered<'i, T>(
        &self,
        items: impl IntoIterator<Item = T::Item<'i>>,
    ) -> impl FusedStream<Item = Result<T::Output, Error>> + Unpin
    where
        T: ReadyFor<S>,
    {
        self.own_job::<T>().stream_unordered(items)
    }

    /// Runs the task once and waits for its result.
    ///
    /// # Errors
    /// As for [`map`](Self::map).
    pub fn apply<T>(&self, item: T::Item<'_>) -> Result<T::Output, Error>
    where
        T: ReadyFor<S>,
    {
        self.own_job::<T>().apply(item)
    }

    /// Runs the task once, without waiting.
    pub fn apply_async<T>(&self, item: T::Item<'_>) -> AsyncResult<T::Output>
    where
        T: ReadyFor<S>,
    {
        self.own_job::<T>().apply_async(item)
    }

    /// Runs the task over the items, without waiting; the results are in input order.
    pub fn map_async<'i, T>(
        &self,
        items: impl IntoIterator<Item = T::Item<'i>>,
    ) -> AsyncResult<Vec<T::Output>>
    where
        T: ReadyFor<S>,
    {
        self.own_job::<T>().map_async(items)
    }
}

impl<S> Drop for WorkerPool<S> {
    fn drop(&mut self) {
        if !self.core.is_here() {
            // The descriptors may have been closed by now, the lanes are not mapped, the thread is not there: whatever an
            // end of these would end is something else's.
            std::mem::forget((Arc::clone(&self.core), Arc::clone(&self.background)));
            return;
        }
        self.core.change(State::terminate);
        self.background.finish();
    }
}

/// Ends the running calls of a pool from another thread; from [`WorkerPool::cancel_handle`].
#[derive(Clone)]
pub struct CancelHandle {
    core: Weak<Core>,
}

impl std::fmt::Debug for CancelHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CancelHandle").finish_non_exhaustive()
    }
}

impl CancelHandle {
    /// Every call that is running ends with [`Error::Cancelled`]; the pool stays usable. Tasks that were started and
    /// do not end soon are killed with their workers.
    pub fn cancel(&self) {
        if let Some(core) = self.core.upgrade().filter(|core| core.is_here()) {
            core.change(|state| state.cancel_all(&Error::Cancelled));
        }
    }
}

/// What the workers' exit functions gave; from [`WorkerPool::join`].
pub struct ExitResults {
    exits: Vec<ExitValue>,
    codec: Codec,
}

impl std::fmt::Debug for ExitResults {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Not the values, which may be long, and are of types that are not known here.
        f.debug_struct("ExitResults").field("values", &self.exits.len()).finish_non_exhaustive()
    }
}

impl ExitResults {
    /// The values of exit function `E`, one for each worker that ended, restarts included, in the order in which
    /// they ended.
    ///
    /// # Errors
    /// When a value cannot be decoded.
    pub fn exit_results<E: WorkerExit>(&self) -> Result<Vec<E::Output>, Error> {
        decode_exits::<E>(&self.exits, self.codec)
    }
}

/// The exit function's number in the registry; none for no function.
fn index_of<E: WorkerExit>() -> Result<Option<u32>, Error> {
    E::entry().map(|entry| Registry::get().index_of(entry)).transpose()
}

fn decode_exits<E: WorkerExit>(exits: &[ExitValue], codec: Codec) -> Result<Vec<E::Output>, Error> {
    let (Some(entry), Some(wanted)) = (E::entry(), index_of::<E>()?) else { return Ok(Vec::new()) };
    let decode = |bytes: &[u8]| {
        unwind::catch(|| E::Output::decode(codec, bytes))
            .unwrap_or_else(|_| Err("its `Deserialize` implementation panicked".into()))
    };
    let open = |exit: &ExitValue| {
        let bytes = exit.bytes().map_err(|error| format!("it could not be read back: {error}"));
        bytes.and_then(|bytes| decode(&bytes)).map_err(|why| {
            let kind = TaskErrorKind::Exit(Box::new(TaskErrorKind::Decode(text::cut(why))));
            Error::Task(TaskError::new(entry.name(), 0, exit.worker, 1, None, kind))
        })
    };
    exits.iter().filter(|exit| exit.exit == wanted).map(open).collect()
}
