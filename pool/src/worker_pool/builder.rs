//! The options of a pool.

use std::any::TypeId;
use std::io::{self, BufWriter};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::WorkerPool;
use super::cpus;
use crate::codec::Codec;
use crate::codec::type_key;
use crate::error::Error;
use crate::options::{CpuIds, MOST_WORKERS, PoolConfig, StartMethod, WorkerPolicy};
use crate::role::{self, Role};
use crate::shared;
use crate::start::{SharedSource, WorkerConfig};
use crate::sys::cpu;
use crate::sys::fd::Guarded;
use crate::sys::memfile::{self, Limited};
use crate::sys::program;
use crate::task::SharedAny;
use crate::unwind;

/// Options of a [`WorkerPool`]; from [`WorkerPool::builder`].
#[must_use = "a builder does nothing until `build` is called"]
#[derive(Clone)]
pub struct WorkerPoolBuilder<S = ()> {
    workers: Option<usize>,
    start_method: StartMethod,
    allow_fork_with_threads: bool,
    cpu_ids: Option<Vec<Vec<usize>>>,
    daemon: bool,
    keep_alive: bool,
    order_tasks: bool,
    insights: bool,
    raw_stderr: bool,
    memory_limit: Option<u64>,
    codec: Codec,
    shared: Arc<S>,
    /// How to encode the shared value; none for a value that can only be inherited.
    encode: Option<Encode<S>>,
}

impl<S> std::fmt::Debug for WorkerPoolBuilder<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerPoolBuilder")
            .field("workers", &self.workers)
            .field("start_method", &self.start_method)
            .field("codec", &self.codec)
            .finish_non_exhaustive()
    }
}

/// How a shared value is written out.
type Encode<S> = fn(&S, Codec, &mut BufWriter<Limited>) -> Result<(), String>;

fn encode<S: Serialize>(value: &S, codec: Codec, out: &mut BufWriter<Limited>) -> Result<(), String> {
    unwind::catch(|| codec.encode(value, out))
        .unwrap_or_else(|_| Err("its `Serialize` implementation panicked".into()))
}

/// Why a shared value could not be written out.
enum Unwritten {
    Encode(String),
    System(io::Error),
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Self {
        Self::System(error)
    }
}

impl WorkerPoolBuilder {
    pub(crate) fn new() -> Self {
        Self {
            workers: None,
            start_method: StartMethod::default(),
            allow_fork_with_threads: false,
            cpu_ids: None,
            daemon: true,
            keep_alive: true,
            order_tasks: false,
            insights: false,
            raw_stderr: false,
            memory_limit: None,
            codec: Codec::default(),
            shared: Arc::new(()),
            encode: Some(encode),
        }
    }
}

impl<S: Send + Sync + 'static> WorkerPoolBuilder<S> {
    /// How many workers, from 1 to 65536. Default: [`cpu_count`](crate::cpu_count), the CPUs that this process may use.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// How workers are started. Default: [`StartMethod::ForkServer`].
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.start_method = method;
        self
    }

    /// Lets [`StartMethod::Fork`] work in a process that has other threads.
    ///
    /// # Safety
    /// A forked worker has only the thread that forked; whatever the others held, stays held. The caller asserts
    /// that no other thread holds at the first call a lock, or is in a state, that the worker's code needs: locks of
    /// C libraries and of the standard library's output among them.
    #[allow(unsafe_code)]
    pub unsafe fn allow_fork_with_threads(mut self) -> Self {
        self.allow_fork_with_threads = true;
        self
    }

    /// Pins workers to CPUs: one CPU or set of CPUs for all workers, or one for each. Default: not pinned; workers
    /// run on all CPUs that this process may use, also where the thread that builds the pool is pinned to some of
    /// them.
    ///
    /// CPUs are numbers, or [`core_affinity::CoreId`]s, of version 0.8 of that crate:
    ///
    /// ```
    /// # fn main() -> Result<(), pool::Error> {
    /// # pool::init();
    /// let cpus = core_affinity::get_core_ids().unwrap();
    /// let one_cpu_each = pool::WorkerPool::builder().workers(cpus.len()).cpu_ids(&cpus).build()?;
    /// let two_on_one_cpu = pool::WorkerPool::builder().workers(2).cpu_ids([cpus[0]]).build()?;
    /// let two_on_all_cpus = pool::WorkerPool::builder().workers(2).cpu_ids([cpus]).build()?;
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// CPUs have numbers below 1024: on a machine that can have more of them, any `cpu_ids` is an error.
    pub fn cpu_ids(mut self, sets: impl CpuIds) -> Self {
        self.cpu_ids = Some(sets.into_sets());
        self
    }

    /// `true`, the default: a worker that builds a pool gets an error. `false`: nested pools work.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = daemon;
        self
    }

    /// `true`, the default: workers live until the pool ends. `false`: every call gets fresh workers, and their exit
    /// functions run at its end.
    pub fn keep_alive(mut self, keep_alive: bool) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// `true`: chunk `i` of each call goes to worker `i` mod the number of workers. Default: `false`.
    pub fn order_tasks(mut self, order_tasks: bool) -> Self {
        self.order_tasks = order_tasks;
        self
    }

    /// How many bytes a worker may hold more than it did after its init, before its first task. One that holds more
    /// between two tasks is replaced, after its exit function; one that holds more than twice as much in the midst of
    /// a task is killed, and that task has died [out of memory](crate::Death::out_of_memory). What counts is what lies in
    /// memory and belongs to the worker alone. Default: no limit. Not for [`StartMethod::Threads`].
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// `true`: [`WorkerPool::insights`] tells where the workers' time went, and [`WorkerPool::timeline`] what they did when.
    /// Default: `false`.
    pub fn insights(mut self, insights: bool) -> Self {
        self.insights = insights;
        self
    }

    /// `true`: what workers print to stderr is passed on as it is. Default: `false`: control characters but line ends
    /// and tabs are shown as `\u{1b}`, so that a task's data cannot clear a screen or write over the lines of others.
    /// Threads print for themselves.
    pub fn raw_stderr(mut self, raw: bool) -> Self {
        self.raw_stderr = raw;
        self
    }

    /// How arguments, results and the shared value are encoded. Default: `Codec::Bincode`, or without that feature the
    /// first [codec](Codec) that there is.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// The value that `#[shared]` parameters borrow in every worker. It is encoded at most once a pool.
    pub fn shared<V>(self, value: V) -> WorkerPoolBuilder<V>
    where
        V: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.with_shared(value, Some(encode))
    }

    /// A shared value that is never encoded: workers inherit it with the memory of this process. Only for
    /// [`StartMethod::Fork`] and [`StartMethod::Threads`].
    pub fn shared_inherited<V: Send + Sync + 'static>(self, value: V) -> WorkerPoolBuilder<V> {
        self.with_shared(value, None)
    }

    fn with_shared<V>(self, value: V, encode: Option<Encode<V>>) -> WorkerPoolBuilder<V> {
        WorkerPoolBuilder {
            workers: self.workers,
            start_method: self.start_method,
            allow_fork_with_threads: self.allow_fork_with_threads,
            cpu_ids: self.cpu_ids,
            daemon: self.daemon,
            keep_alive: self.keep_alive,
            order_tasks: self.order_tasks,
            insights: self.insights,
            raw_stderr: self.raw_stderr,
            memory_limit: self.memory_limit,
            codec: self.codec,
            shared: Arc::new(value),
            encode,
        }
    }

    /// Builds the pool. Its workers start at the first call.
    ///
    /// # Errors
    /// [`Error::Option`] for an option that is not allowed, [`Error::NotInitialized`] and [`Error::InitSkipped`] when
    /// `pool::init()` has not been called, [`Error::Daemonic`] in a worker of a daemonic pool, [`Error::Shared`]
    /// when the shared value cannot be encoded.
    pub fn build(self) -> Result<WorkerPool<S>, Error> {
        if role::started_as_worker() {
            return Err(Error::InitSkipped);
        }
        if role::role() == Role::DaemonicWorker {
            return Err(Error::Daemonic);
        }
        let anew = matches!(self.start_method, StartMethod::Spawn | StartMethod::ForkServer);
        if anew && !role::initialized() {
            return Err(Error::NotInitialized(self.start_method));
        }
        if anew && program::would_have_more_rights() {
            return Err(Error::option(
                "start_method",
                self.start_method,
                "this program has more rights than whoever started it (set-user-id, set-group-id or capabilities of its \
                 file), and takes no orders where it is started anew; use StartMethod::Fork or Threads",
            ));
        }
        let workers = self.workers.unwrap_or_else(crate::cpu_count);
        if !(1..=MOST_WORKERS).contains(&workers) {
            let allowed = format!("a pool has at least 1 worker, and at most {MOST_WORKERS}");
            return Err(Error::option("workers", workers, allowed));
        }
        match self.memory_limit {
            Some(0) => return Err(Error::option("memory_limit", 0, "it must be at least 1 byte")),
            Some(bytes) if !self.start_method.is_process() => {
                let why = "threads share one memory; use a start method that has processes";
                return Err(Error::option("memory_limit", bytes, why));
            }
            _ => {}
        }
        let cpus = match &self.cpu_ids {
            Some(sets) => cpus::check_sets(sets.clone(), workers)?,
            None => vec![cpu::unless_this_thread_has_all(); workers],
        };
        let crew = WorkerConfig {
            codec: self.codec,
            daemon: self.daemon,
            shared: self.shared_for_workers(anew)?,
            allow_fork_with_threads: self.allow_fork_with_threads,
        };
        let config = PoolConfig {
            workers,
            method: self.start_method,
            codec: self.codec,
            order_tasks: self.order_tasks,
            policy: WorkerPolicy {
                keep_alive: self.keep_alive,
                memory_limit: self.memory_limit,
                insights: self.insights,
                raw_stderr: self.raw_stderr,
                nests: self.start_method.is_process() && !self.daemon,
            },
        };
        WorkerPool::start(config, crew, cpus)
    }

    fn shared_for_workers(&self, anew: bool) -> Result<SharedSource, Error> {
        if !anew {
            return Ok(SharedSource::Here(Arc::clone(&self.shared) as SharedAny));
        }
        let encode = self.encode.ok_or_else(|| {
            Error::option(
                "shared_inherited",
                self.start_method,
                "workers of this start method inherit nothing; use `shared(..)`, or StartMethod::Fork or Threads",
            )
        })?;
        if TypeId::of::<S>() == TypeId::of::<()>() {
            // Every process has that.
            return Ok(SharedSource::Here(Arc::clone(&self.shared) as SharedAny));
        }
        // Straight into the file: a value can be as large as half of the memory.
        let write = |out: &mut _| encode(&self.shared, self.codec, out).map_err(Unwritten::Encode);
        let (written, kept) = shared::retain_handles(|| memfile::sealed("pool shared", write));
        let (file, len) = written.map_err(|why| match why {
            Unwritten::Encode(why) => Error::Shared(crate::text::cut(why)),
            Unwritten::System(error) => Error::start("the pool", error),
        })?;
        let bytes = Guarded::new(file).map_err(|error| Error::start("the pool", error))?;
        Ok(SharedSource::Encoded {
            key: type_key(TypeId::of::<S>()),
            bytes: Arc::new(bytes),
            len,
            _kept: kept,
        })
    }
}
