//! The options of a pool.

use std::any::TypeId;
use std::io::{self, BufWriter};
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::WorkerPool;
use super::cpus;
use super::idle::IdleOptions;
use super::processes::Processes;
use super::resize::Growth;
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

/// Sets the options of a [`WorkerPool`]; from [`WorkerPool::builder`].
///
/// Wrong values are errors of [`build`](Self::build), not of the option that was given them.
#[must_use = "a builder does nothing until `build` is called"]
#[derive(Clone)]
pub struct WorkerPoolBuilder<S = ()> {
    workers: Option<usize>,
    start_method: StartMethod,
    allow_fork_with_threads: bool,
    cpu_ids: Option<Vec<Vec<usize>>>,
    daemon: bool,
    keep_alive: bool,
    pub(super) idle: IdleOptions,
    order_tasks: bool,
    max_queue: Option<usize>,
    decode_threads: Option<usize>,
    insights: bool,
    raw_stderr: bool,
    memory_limit: Option<u64>,
    codec: Codec,
    shared: Arc<S>,
    /// Encodes the shared value; `None` for a value that workers can only inherit.
    encode: Option<Encode<S>>,
    pub(super) processes: Processes,
}

/// The most helpers without the option: what a caller does alone, between two rounds of decoding, limits their use.
const DEFAULT_DECODE_THREADS: usize = 4;
const MOST_DECODE_THREADS: usize = 64;

impl<S> std::fmt::Debug for WorkerPoolBuilder<S> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WorkerPoolBuilder")
            .field("workers", &self.workers)
            .field("start_method", &self.start_method)
            .field("codec", &self.codec)
            .finish_non_exhaustive()
    }
}

/// Encodes a shared value into a file.
type Encode<S> = fn(&S, Codec, &mut BufWriter<Limited>) -> Result<(), String>;

fn encode<S: Serialize>(value: &S, codec: Codec, out: &mut BufWriter<Limited>) -> Result<(), String> {
    unwind::catch(|| codec.encode(value, out))
        .unwrap_or_else(|_| Err("its `Serialize` implementation panicked".into()))
}

/// Why a shared value could not be written.
enum WriteError {
    Encode(String),
    System(io::Error),
}

impl From<io::Error> for WriteError {
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
            idle: IdleOptions::default(),
            order_tasks: false,
            max_queue: None,
            decode_threads: None,
            insights: false,
            raw_stderr: false,
            memory_limit: None,
            codec: Codec::default(),
            shared: Arc::new(()),
            encode: Some(encode),
            processes: Processes::default(),
        }
    }
}

impl<S: Send + Sync + 'static> WorkerPoolBuilder<S> {
    /// Sets how many workers the pool has, from 1 to 65536. Default: [`cpu_count`](crate::cpu_count), the number of
    /// CPUs that this process may use. Each worker is a process (or thread) with its own memory. It starts when there
    /// is a task, or a chunk, for it: a call with two tasks starts at most two workers.
    pub fn workers(mut self, workers: usize) -> Self {
        self.workers = Some(workers);
        self
    }

    /// Sets how workers are started. Default: [`StartMethod::ForkServer`], whose workers inherit nothing and still
    /// start fast; it keeps one more process, the server. On systems other than Linux, the default and the only method
    /// is [`StartMethod::Threads`]; another one is an error of [`build`](Self::build).
    pub fn start_method(mut self, method: StartMethod) -> Self {
        self.start_method = method;
        self
    }

    /// Lets [`StartMethod::Fork`] work in a process that has other threads.
    ///
    /// # Safety
    /// A forked worker has only the thread that forked: locks that other threads held stay locked in it forever. The
    /// caller asserts that, whenever a call forks workers, no other thread holds a lock or is in the middle of a change
    /// that the worker's code needs. This includes locks of C libraries and of the standard library's output.
    #[allow(unsafe_code)]
    pub unsafe fn allow_fork_with_threads(mut self) -> Self {
        self.allow_fork_with_threads = true;
        self
    }

    /// Pins workers to CPUs: give one CPU, or one set of CPUs, for all workers, or one for each worker. Default: not
    /// pinned; workers run on all CPUs that this process may use, even if the thread that builds the pool is pinned to
    /// some of them. A pinned worker waits for its CPU even while others are idle.
    ///
    /// CPUs are numbers or [`core_affinity::CoreId`]s (version 0.8 of that crate):
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
    /// CPU numbers are below 1024: on a machine that can have more CPUs, any `cpu_ids` is an error.
    pub fn cpu_ids(mut self, sets: impl CpuIds) -> Self {
        self.cpu_ids = Some(sets.into_sets());
        self
    }

    /// Sets whether workers are daemonic, as in Python's multiprocessing. Default: `true`: building a pool in a worker
    /// is an error. `false`: workers may build pools of their own.
    pub fn daemon(mut self, daemon: bool) -> Self {
        self.daemon = daemon;
        self
    }

    /// Sets whether workers stay between calls. Default: `true`: they live until the pool ends. `false`: workers start
    /// when a call begins and end, with their exit functions, when no call is left; every such call then costs the
    /// start of its workers, and waits for their end.
    pub fn keep_alive(mut self, keep_alive: bool) -> Self {
        self.keep_alive = keep_alive;
        self
    }

    /// Sets whether chunk `i` of each call goes to worker `i` modulo the number of workers. Default: `false`: a chunk
    /// goes to the worker that is free. With `true`, one slow chunk delays all later chunks of its worker.
    pub fn order_tasks(mut self, order_tasks: bool) -> Self {
        self.order_tasks = order_tasks;
        self
    }

    /// Limits how many tasks may be outstanding in the background, waiting or running, at least 1. Default: no limit,
    /// and all of them are kept in memory.
    ///
    /// Beyond it [`apply_async`](crate::Job::apply_async) and [`map_async`](crate::Job::map_async) fail at once, with
    /// [`Error::Busy`]: a service then sheds load. To wait for room instead, use
    /// [`apply_async_when_ready`](crate::Job::apply_async_when_ready). Tasks of calls that block, of iterators and of
    /// streams do not count: those have [`max_tasks_active`](crate::Job::max_tasks_active).
    pub fn max_queue(mut self, tasks: usize) -> Self {
        self.max_queue = Some(tasks);
        self
    }

    /// Limits how many threads may help callers decode results, up to 64. Default: one for each CPU that this process
    /// may use beyond the number of workers, at most 4. With 0, each caller decodes its results alone.
    ///
    /// A caller decodes its own results. Where that takes it long, as with a `Deserialize` that parses or checks much,
    /// workers wait for it. Then helpers decode some of the results, and the caller gets all of them in the same order.
    /// They start on demand, end soon after nobody needs them, and cost nothing before. So `Deserialize` of a result
    /// may run on another thread than the caller's. What takes little more than a copy, as vectors of numbers do, is
    /// not shared; neither are the results of [`map_into`](crate::Job::map_into) and of asynchronous calls.
    ///
    /// ```
    /// use pool::{WorkerPool, worker_task};
    ///
    /// #[worker_task]
    /// fn neighbors(x: u32) -> Vec<Option<String>> {
    ///     (0..x % 10).map(|i| Some(format!("{x} and {}", x + i))).collect()
    /// }
    ///
    /// #[pool::main]
    /// fn main() -> Result<(), pool::Error> {
    ///     // Two workers, and two threads for what they return.
    ///     let pool = WorkerPool::builder().workers(2).decode_threads(2).build()?;
    ///     let all = neighbors::par_map(&pool, 0..10_000)?;
    ///     assert_eq!(all[9_999], neighbors(9_999));
    ///     Ok(())
    /// }
    /// ```
    pub fn decode_threads(mut self, threads: usize) -> Self {
        self.decode_threads = Some(threads);
        self
    }

    /// Limits how many bytes a worker may grow by, counted from what it held after its init, before its first task.
    /// Default: no limit.
    ///
    /// A worker that is over the limit between two tasks runs its exit function and is replaced. A worker that is over
    /// twice the limit in the middle of a task is killed, and the task fails: its worker died [out of
    /// memory](crate::Death::out_of_memory). Only resident memory that the worker does not share counts. A worker whose
    /// memory can't be measured, as where `/proc` hides it, does not start. At least 1 byte; an error with
    /// [`StartMethod::Threads`], which share one memory.
    pub fn memory_limit(mut self, bytes: u64) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    /// Sets whether the pool measures its workers, for [`WorkerPool::insights`] and [`WorkerPool::timeline`]. Default:
    /// `false`. With `true`, workers read the clock around each task, and the pool keeps what they measured.
    pub fn insights(mut self, insights: bool) -> Self {
        self.insights = insights;
        self
    }

    /// Sets whether the pool passes on unchanged what workers print to stderr. Default: `false`: control characters
    /// except line ends and tabs are escaped, as in `\u{1b}`, so that a task's data cannot clear the screen or
    /// overwrite other lines. No effect with [`StartMethod::Threads`], which print directly.
    pub fn raw_stderr(mut self, raw: bool) -> Self {
        self.raw_stderr = raw;
        self
    }

    /// Sets how arguments, results and the shared value are encoded. Default: `Codec::Bincode`; without that feature,
    /// the first [codec](Codec) that is enabled.
    pub fn codec(mut self, codec: Codec) -> Self {
        self.codec = codec;
        self
    }

    /// Sets the value that `#[shared]` parameters borrow in every worker. Default: `()`.
    ///
    /// [`build`](Self::build) encodes it once, for all workers; with [`StartMethod::Fork`] and [`StartMethod::Threads`]
    /// workers use it in place, and it is not encoded at all.
    pub fn shared<V>(self, value: V) -> WorkerPoolBuilder<V>
    where
        V: Serialize + DeserializeOwned + Send + Sync + 'static,
    {
        self.with_shared(value, Some(encode))
    }

    /// Sets a shared value that is never encoded: workers inherit it with the memory of this process. Only for
    /// [`StartMethod::Fork`] and [`StartMethod::Threads`]; an error with the others. See [`shared`](Self::shared).
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
            idle: self.idle,
            order_tasks: self.order_tasks,
            max_queue: self.max_queue,
            decode_threads: self.decode_threads,
            insights: self.insights,
            raw_stderr: self.raw_stderr,
            memory_limit: self.memory_limit,
            codec: self.codec,
            shared: Arc::new(value),
            encode,
            processes: self.processes,
        }
    }

    /// Builds the pool. Its workers start at the first call.
    ///
    /// # Errors
    /// - [`Error::Option`] for an option whose value is not allowed.
    /// - [`Error::NotInitialized`] and [`Error::InitSkipped`] when `pool::init()` was not called.
    /// - [`Error::Daemonic`] in a worker of a daemonic pool.
    /// - [`Error::Shared`] when the shared value cannot be encoded.
    /// - [`Error::Start`] when the system refuses what the pool needs.
    pub fn build(self) -> Result<WorkerPool<S>, Error> {
        if role::started_as_worker() {
            return Err(Error::InitSkipped);
        }
        if role::role() == Role::DaemonicWorker {
            return Err(Error::Daemonic);
        }
        if !self.start_method.is_available() {
            let allowed =
                "on this system workers are threads: use StartMethod::Threads, or run the program on Linux";
            return Err(Error::option("start_method", self.start_method, allowed));
        }
        let runs_program_again = matches!(self.start_method, StartMethod::Spawn | StartMethod::ForkServer);
        if runs_program_again && !role::initialized() {
            return Err(Error::NotInitialized(self.start_method));
        }
        if runs_program_again && program::would_have_more_rights() {
            return Err(Error::option(
                "start_method",
                self.start_method,
                "this program has more rights than whoever started it (set-user-id, set-group-id or capabilities of \
                 its file), and takes no orders where it is started anew; use StartMethod::Fork or Threads",
            ));
        }
        let workers = self.workers.unwrap_or_else(crate::cpu_count);
        if !(1..=MOST_WORKERS).contains(&workers) {
            let allowed = format!("a pool has at least 1 worker, and at most {MOST_WORKERS}");
            return Err(Error::option("workers", workers, allowed));
        }
        let idle = self.idle.check(workers)?;
        match self.memory_limit {
            Some(0) => return Err(Error::option("memory_limit", 0, "it must be at least 1 byte")),
            Some(bytes) if !self.start_method.is_process() => {
                let why = "threads share one memory; use a start method that has processes";
                return Err(Error::option("memory_limit", bytes, why));
            }
            _ => {}
        }
        if self.max_queue == Some(0) {
            return Err(Error::option("max_queue", 0, "it must be at least 1"));
        }
        let decode_threads = match self.decode_threads {
            Some(threads) if threads > MOST_DECODE_THREADS => {
                let allowed = format!("at most {MOST_DECODE_THREADS}");
                return Err(Error::option("decode_threads", threads, allowed));
            }
            Some(threads) => threads,
            None => crate::cpu_count().saturating_sub(workers).min(DEFAULT_DECODE_THREADS),
        };
        let cpus = match &self.cpu_ids {
            Some(sets) => cpus::check_sets(sets.clone(), workers)?,
            None => vec![cpu::unless_this_thread_has_all(); workers],
        };
        let growth = Growth {
            cpus: self.cpu_ids.as_ref().is_none_or(|sets| sets.len() == 1).then(|| cpus[0].clone()),
            env: self.processes.clone(),
        };
        let process = self.processes.check(workers, self.start_method.is_process())?;
        let worker_config = WorkerConfig {
            codec: self.codec,
            daemon: self.daemon,
            shared: self.shared_for_workers(runs_program_again)?,
            allow_fork_with_threads: self.allow_fork_with_threads,
            process: Arc::new(process),
        };
        let config = PoolConfig {
            method: self.start_method,
            codec: self.codec,
            order_tasks: self.order_tasks,
            max_queue: self.max_queue,
            decode_threads,
            policy: WorkerPolicy {
                keep_alive: self.keep_alive,
                idle,
                memory_limit: self.memory_limit,
                insights: self.insights,
                raw_stderr: self.raw_stderr,
                nests: self.start_method.is_process() && !self.daemon,
            },
        };
        WorkerPool::start(config, worker_config, cpus, growth)
    }

    fn shared_for_workers(&self, must_encode: bool) -> Result<SharedSource, Error> {
        if !must_encode {
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
            // Every process can make its own `()`.
            return Ok(SharedSource::Here(Arc::clone(&self.shared) as SharedAny));
        }
        // Encoded straight into the file, not into a buffer first: the value may take half of the memory.
        let write = |out: &mut _| encode(&self.shared, self.codec, out).map_err(WriteError::Encode);
        let (written, kept) = shared::retain_handles(|| memfile::sealed("pool shared", write));
        let (file, len) = written.map_err(|why| match why {
            WriteError::Encode(why) => Error::Shared(crate::text::cut(why)),
            WriteError::System(error) => Error::start("the pool", error),
        })?;
        let bytes = Guarded::new(file).map_err(|error| Error::start("the pool", error))?;
        Ok(SharedSource::Encoded { key: type_key(TypeId::of::<S>()), bytes: Arc::new(bytes), len, kept })
    }
}
