//! The jobs, by the names that the command line knows.

use std::error::Error;
use std::time::{Duration, Instant};

use nix::time::{ClockId, clock_gettime};
use pool::{StartMethod, WorkerPool, WorkerPoolBuilder, worker_task};
use serde_bytes::ByteBuf;

use crate::peers;
use crate::rounds::Session;

mod apply;
mod broadcast;
mod callers;
mod chunks;
mod death;
mod million;
mod parent;
mod payload;
mod programs;
mod reduce;
mod shapes;
mod shared;
mod start;
mod watched;
mod work;
mod workers;

pub(crate) use start::NOTHING;

type Job = fn(&mut Session) -> Result<(), Box<dyn Error>>;

pub(crate) const JOBS: &[(&str, Job)] = &[
    ("million", million::run),
    ("work", work::run),
    ("chunks", chunks::run),
    ("apply", apply::run),
    ("payload", payload::run),
    ("shapes", shapes::run),
    ("callers", callers::run),
    ("parent", parent::run),
    ("start", start::run),
    ("death", death::run),
    ("workers", workers::run),
    ("watched", watched::run),
    ("shared", shared::run),
    ("broadcast", broadcast::run),
    ("programs", programs::run),
    ("reduce", reduce::run),
];

/// The functions that workers of [`peers::Ipc`] can call.
pub(crate) const REMOTE: &[(&str, fn(&str))] = &[
    ("add_one", |server| peers::serve(server, add_one)),
    ("million::add_one_to_all", |server| peers::serve(server, million::add_one_to_all)),
    ("work::compute", |server| peers::serve(server, work::compute)),
    ("payload::ends", |server| peers::serve(server, |bytes: ByteBuf| payload::ends(&bytes))),
    ("payload::filled", |server| peers::serve(server, |byte| ByteBuf::from(payload::filled(byte)))),
];

/// What a process of its own can measure; see [`apart`](crate::apart).
pub(crate) const APART: &[(&str, fn() -> f64)] = &[
    (callers::CALLS_OF_POOL, callers::bytes_a_call_of_pool),
    (callers::CALLS_OF_CHANNEL, callers::bytes_a_call_of_channel),
    (callers::PAR_MAP, callers::mib_of_par_map),
    (callers::MAP_ASYNC, callers::mib_of_map_async),
];

/// The task that costs next to nothing.
#[worker_task]
fn add_one(x: u64) -> u64 {
    x + 1
}

const METHODS: [StartMethod; 4] =
    [StartMethod::ForkServer, StartMethod::Fork, StartMethod::Spawn, StartMethod::Threads];

/// The number of workers of each contender, unless the job says otherwise.
const WORKERS: usize = 2;

/// Options of a pool, also for `Fork` beside other contenders' threads.
fn builder(method: StartMethod) -> WorkerPoolBuilder {
    let builder = WorkerPool::builder().workers(WORKERS).start_method(method);
    // SAFETY: the other threads are idle ones of other contenders, and hold nothing that a task needs.
    #[expect(unsafe_code)]
    unsafe {
        builder.allow_fork_with_threads()
    }
}

/// How long one call takes.
fn time<R>(call: impl FnOnce() -> R) -> Duration {
    let start = Instant::now();
    std::hint::black_box(call());
    start.elapsed()
}

/// The CPU time of this process so far, without its children.
fn cpu_time() -> Duration {
    clock_gettime(ClockId::CLOCK_PROCESS_CPUTIME_ID).expect("every process has this clock").into()
}

/// How much CPU time of this process, without its children, one call takes until its result is there.
fn own_time<R>(call: impl FnOnce() -> R) -> Duration {
    let before = cpu_time();
    let result = std::hint::black_box(call());
    let took = cpu_time() - before;
    drop(result);
    took
}
