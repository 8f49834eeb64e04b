//! Tasks that have threads of their own: rayon in a worker, whatever rayon does in the parent.

use std::path::Path;
use std::time::Duration;

use pool::{Error, StartMethod, TaskErrorKind, WorkerPool, worker_task};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::harness::{apart, cases};
use crate::support::{assert_fails, builder, pool, task_error};

cases! {
    Processes: parallel_sums, rayon_in_the_parent_too;
    Apart: after_rayon_in_the_parent;
}

/// The sum of the numbers below `n`, by rayon's own threads.
#[worker_task]
fn sum(n: u64) -> (u32, u64) {
    (std::process::id(), (0..n).into_par_iter().sum())
}

/// The same by threads that were made for it.
#[worker_task]
fn sum_in_a_pool(n: u64) -> u64 {
    let threads = rayon::ThreadPoolBuilder::new().num_threads(2).build().unwrap();
    threads.install(|| (0..n).into_par_iter().sum())
}

fn sum_below(n: u64) -> u64 {
    n * n.saturating_sub(1) / 2
}

/// Workers that have rayon's threads are replaced by others.
fn assert_sums(pool: &WorkerPool) -> Result<(), Error> {
    let results = sum::job(pool).worker_lifespan(5).chunk_size(1).map(0..40)?;
    let mut processes: Vec<u32> = results.iter().map(|(process, _)| *process).collect();
    processes.sort_unstable();
    processes.dedup();
    assert!(processes.len() >= 8, "{} processes", processes.len());
    for (n, (_, result)) in (0..).zip(results) {
        assert_eq!(result, sum_below(n));
    }
    Ok(())
}

fn parallel_sums(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_sums(&pool)?;
    pool.join()?;
    Ok(())
}

fn rayon_in_the_parent_too(method: StartMethod) -> Result<(), Error> {
    let status = apart(Path::new("/proc/self/exe"), after_rayon_in_the_parent, method).status().unwrap();
    assert!(status.success(), "{status}");
    Ok(())
}

fn after_rayon_in_the_parent(method: StartMethod) -> Result<(), Error> {
    assert_eq!((0..1000).into_par_iter().sum::<u64>(), sum_below(1000));
    if method == StartMethod::Fork {
        assert_fails!(assert_sums(&pool(method)?), Error::ForkWithThreads { .. });
        // SAFETY: rayon's threads sleep, and hold nothing that the tasks below use.
        #[expect(unsafe_code)]
        let pool = unsafe { builder(method).allow_fork_with_threads() }.build()?;
        assert_eq!(sum_in_a_pool::apply(&pool, 1000)?, sum_below(1000));
        // A fork's copy of rayon's own pool has no threads: a task that waits for them runs into its limit.
        let error = task_error(sum::job(&pool).task_timeout(Duration::from_millis(200)).apply(1000));
        assert!(matches!(error.kind(), TaskErrorKind::TimedOut(_)), "{error}");
        assert_eq!(sum_in_a_pool::apply(&pool, 1000)?, sum_below(1000));
    } else {
        assert_sums(&pool(method)?)?;
    }
    // Rayon's threads never end, so the check for leftovers would find them.
    std::process::exit(0)
}
