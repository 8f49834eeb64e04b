//! What a pool tells of its workers' time.

use std::time::Duration;

use pool::{Error, StartMethod, WorkerPool, worker_exit, worker_init, worker_task};

use crate::harness::cases;
use crate::support::{assert_usable, builder, square};

cases! {
    All: off_by_default, tasks_and_starts, live, times;
    Processes: deaths;
}

fn with(method: StartMethod) -> Result<WorkerPool, Error> {
    builder(method).insights(true).build()
}

fn off_by_default(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    square::par_map(&pool, 0..10)?;
    assert!(pool.insights().workers.is_empty());
    assert!(pool.insights().to_string().contains("insights(true)"));
    Ok(())
}

#[worker_task]
fn odd(x: u64) -> u64 {
    assert!(x % 2 == 1, "even");
    x
}

fn tasks_and_starts(method: StartMethod) -> Result<(), Error> {
    let pool = with(method)?;
    assert_eq!(odd::job(&pool).worker_lifespan(5).map_outcomes(0..40)?.len(), 40);
    let told = pool.insights();
    assert_eq!(told.workers.len(), 2);
    assert_eq!(told.workers.iter().map(|worker| worker.tasks).sum::<u64>(), 40, "failed ones count");
    assert!(told.workers.iter().map(|worker| worker.starts).sum::<u32>() >= 8, "{told}");
    assert_eq!(told.workers.iter().map(|worker| worker.deaths).sum::<u32>(), 0, "{told}");
    assert_eq!(told.to_string().lines().count(), 3, "a head, and a line for each worker");
    Ok(())
}

fn live(method: StartMethod) -> Result<(), Error> {
    let pool = with(method)?;
    let mut results = square::job(&pool).chunk_size(1).imap(0..);
    for taken in 1..=50 {
        results.next().transpose()?;
        assert!(pool.insights().workers.iter().map(|worker| worker.tasks).sum::<u64>() >= taken);
    }
    drop(results);
    // Between calls a worker waits, sooner or later.
    while pool.insights().workers.iter().all(|worker| worker.waiting.is_zero()) {
        square::apply(&pool, 1)?;
    }
    Ok(())
}

const LONG: Duration = Duration::from_millis(5);

#[worker_init]
fn slow_start() -> u8 {
    std::thread::sleep(LONG);
    0
}

#[worker_task(init = slow_start, exit = slow_end)]
fn slow(#[state] _state: &mut u8, (): ()) {
    std::thread::sleep(LONG);
}

#[worker_exit]
fn slow_end(#[state] _state: u8) {
    std::thread::sleep(LONG);
}

fn times(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).keep_alive(false).insights(true).build()?;
    slow::par_map(&pool, [(); 3])?;
    let worker = pool.insights().workers[0];
    assert!(worker.init >= LONG && worker.working >= 3 * LONG && worker.exit >= LONG, "{worker:?}");
    assert!(!worker.start_up.is_zero(), "{worker:?}");
    assert!((0.0..1.0).contains(&worker.working_ratio()) && worker.working_ratio() > 0.0);
    Ok(())
}

#[worker_task]
fn dies_at(x: u64, at: u64) -> u64 {
    if x == at {
        std::process::abort();
    }
    x
}

fn deaths(method: StartMethod) -> Result<(), Error> {
    let pool = with(method)?;
    dies_at::par_map_outcomes(&pool, (0..20).map(|x| (x, 7)))?;
    // The other worker may have done all the rest: the next call needs both again.
    assert_usable(&pool);
    let told = pool.insights();
    assert_eq!(told.workers.iter().map(|worker| worker.deaths).sum::<u32>(), 1, "{told}");
    assert_eq!(told.workers.iter().map(|worker| worker.starts).sum::<u32>(), 3, "{told}");
    Ok(())
}
