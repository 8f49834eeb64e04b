//! The pool.

mod builder;
mod cpus;

use std::marker::PhantomData;
use std::sync::{Arc, Weak};

use crate::codec::Codec;
use crate::engine::Engine;
use crate::error::{Error, TaskError, TaskErrorKind};
use crate::job::{AsyncResult, Job, PoolHandle};
use crate::observe::insights::Insights;
use crate::observe::timeline::Timeline;
use crate::options::{PoolConfig, StartMethod};
use crate::shared;
use crate::start::WorkerConfig;
use crate::task::registry::Registry;
use crate::task::seed::Seeds;
use crate::task::{Output, ReadyFor, RunsOn, Task, WorkerExit};
use crate::text;
use crate::unwind;
use crate::work::ExitValue;

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
    handle: PoolHandle,
    shares: PhantomData<fn() -> S>,
}

impl<S> std::fmt::Debug for WorkerPool<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerPool").field("config", self.handle.config()).finish_non_exhaustive()
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
    fn start(config: PoolConfig, workers: WorkerConfig, cpus: Vec<Vec<usize>>) -> Result<Self, Error> {
        let engine = Engine::new(&config, workers, cpus)?;
        let seeds = Seeds::new(shared::random().map_err(|error| Error::start("the pool", error))?);
        Ok(Self { handle: PoolHandle::new(engine, config, seeds), shares: PhantomData })
    }

    /// How many workers the pool has.
    #[must_use]
    pub fn workers(&self) -> usize {
        self.handle.config().workers
    }

    /// How the pool's workers are started.
    #[must_use]
    pub fn start_method(&self) -> StartMethod {
        self.handle.config().method
    }

    /// A handle that ends running calls from another thread.
    pub fn cancel_handle(&self) -> CancelHandle {
        CancelHandle { engine: Arc::downgrade(self.handle.engine()) }
    }

    /// Finishes all work, runs the exit functions, and ends the workers.
    ///
    /// # Errors
    /// [`Error::Task`] of kind [`TaskErrorKind::Exit`] when an exit function failed.
    pub fn join(self) -> Result<ExitResults, Error> {
        let engine = self.handle.engine();
        engine.check()?;
        engine.wait_idle();
        engine.shut_down();
        engine.wait_stopped()?;
        let exits = engine.take_exits();
        Ok(ExitResults { exits: exits.into_values(), codec: self.handle.config().codec })
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
        self.handle.engine().check()?;
        let Some(exit) = index_of::<E>()? else { return Ok(Vec::new()) };
        let exits = self.handle.engine().exit_values(exit);
        decode_exits::<E>(&exits, self.handle.config().codec)
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
        let engine = self.handle.engine();
        engine.check()?;
        let exits = engine.take_exit_values(exit);
        decode_exits::<E>(&exits, self.handle.config().codec)
            .inspect_err(|_| engine.put_back_exit_values(exits))
    }

    /// Where the workers' time went so far, also while calls are under way. Empty unless the pool was built with
    /// [`insights(true)`](crate::WorkerPoolBuilder::insights), and in a fork of the process that has built the pool.
    #[must_use]
    pub fn insights(&self) -> Insights {
        let engine = self.handle.engine();
        let is_known = self.handle.config().policy.insights && engine.is_here();
        if is_known { engine.insights() } else { Insights::default() }
    }

    /// What the workers did when, so far, also while calls are under way: a trace, or a picture. Empty unless the pool was
    /// built with [`insights(true)`](crate::WorkerPoolBuilder::insights), and in a fork of the process that has built the
    /// pool.
    #[must_use]
    pub fn timeline(&self) -> Timeline {
        let engine = self.handle.engine();
        if engine.is_here() { engine.timeline() } else { Timeline::default() }
    }
}

/// The calls, with the task as a type parameter; the same as the helpers on the task's own type.
impl<S: 'static> WorkerPool<S> {
    /// A job of this task: options first, then one of its calls.
    pub fn job<T: Task + RunsOn<S>>(&self) -> Job<'_, T, S> {
        Job::new(&self.handle)
    }

    /// A job with the task's own init and exit functions, which are known to fit.
    #[doc(hidden)]
    pub fn own_job<T: ReadyFor<S>>(&self) -> Job<'_, T, S, T::OwnInit, T::OwnExit> {
        self.job::<T>().worker_init().worker_exit()
    }

    crate::calls! { pool }

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
        let (engine, background) = (self.handle.engine(), self.handle.background());
        if !engine.is_here() {
            // The descriptors may have been closed by now, the lanes are not mapped, the thread is not there: whatever an
            // end of these would end is something else's.
            std::mem::forget((Arc::clone(engine), Arc::clone(background)));
            return;
        }
        engine.terminate();
        background.finish();
    }
}

/// Ends the running calls of a pool from another thread; from [`WorkerPool::cancel_handle`].
#[derive(Clone)]
pub struct CancelHandle {
    engine: Weak<Engine>,
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
        if let Some(engine) = self.engine.upgrade().filter(|engine| engine.is_here()) {
            engine.cancel_all(&Error::Cancelled);
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
            Error::Task(TaskError::new(entry.name(), 0, exit.worker.0, 1, None, kind))
        })
    };
    exits.iter().filter(|exit| exit.exit == wanted).map(open).collect()
}
