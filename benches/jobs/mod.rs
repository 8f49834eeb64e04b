//! The jobs, by the names that the command line knows.

use std::error::Error;
use std::time::{Duration, Instant};

use pool::{StartMethod, WorkerPool, WorkerPoolBuilder};

use crate::rounds::Session;

mod apply;
mod broadcast;
mod death;
mod million;
mod payload;
mod shared;
mod start;
mod work;

type Job = fn(&mut Session) -> Result<(), Box<dyn Error>>;

pub(crate) const JOBS: &[(&str, Job)] = &[
    ("million", million::run),
    ("work", work::run),
    ("apply", apply::run),
    ("payload", payload::run),
    ("start", start::run),
    ("death", death::run),
    ("shared", shared::run),
    ("broadcast", broadcast::run),
];

const METHODS: [StartMethod; 4] =
    [StartMethod::ForkServer, StartMethod::Fork, StartMethod::Spawn, StartMethod::Threads];

/// Workers of all contenders, unless the job says otherwise.
const WORKERS: usize = 2;

/// Options of a pool, also for `Fork` beside other contenders' threads.
fn builder(method: StartMethod) -> WorkerPoolBuilder {
    let builder = WorkerPool::builder().workers(WORKERS).start_method(method);
    // SAFETY: the other threads are idle ones of other contenders, and hold nothing that a task here needs.
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
