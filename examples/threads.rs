//! `StartMethod::Threads`: the same calls over threads of this process, for work that needs no isolation. The
//! values are moved, not encoded, and what is global is global to all.

use std::process;
use std::sync::atomic::{AtomicUsize, Ordering};

use pool::{StartMethod, WorkerPool, worker_task};

static CALLS: AtomicUsize = AtomicUsize::new(0);

#[worker_task]
fn count_call() -> u32 {
    CALLS.fetch_add(1, Ordering::Relaxed);
    process::id()
}

#[pool::main]
fn main() -> Result<(), pool::Error> {
    let pool = WorkerPool::builder().workers(2).start_method(StartMethod::Threads).build()?;
    let processes = count_call::par_map(&pool, (0..100).map(|_| ()))?;
    println!("{} calls, all in process {}", CALLS.load(Ordering::Relaxed), process::id());
    assert_eq!(CALLS.load(Ordering::Relaxed), 100);
    assert!(processes.iter().all(|&id| id == process::id()));
    Ok(())
}
