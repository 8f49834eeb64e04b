//! A pool's statistics of its workers' time.

use std::cmp::Reverse;
use std::time::Duration;

use pool::shared::SharedValue;
use pool::{Error, StartMethod, WorkerPool, worker_exit, worker_init, worker_task};

use crate::harness::cases;
use crate::support::{assert_usable, builder, square};

cases! {
    All: off_by_default, tasks_and_starts, live, times, slowest_tasks, chunks_and_bytes, figures_of_all;
    Processes: deaths, retries;
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
    let table = told.to_string();
    for head in [
        "worker ",
        "     0 ",
        "     1 ",
        "   all ",
        "  mean ",
        "  standard deviation ",
        "  share of the time ",
    ] {
        assert!(table.lines().any(|line| line.starts_with(head)), "{head}: {table}");
    }
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
    // Between calls, some worker waits sooner or later.
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
    assert_usable(&pool);
    // The other worker may have done all that alone.
    pool.warm_up::<dies_at>()?;
    let told = pool.insights();
    assert_eq!(told.workers.iter().map(|worker| worker.deaths).sum::<u32>(), 1, "{told}");
    assert_eq!(told.workers.iter().map(|worker| worker.starts).sum::<u32>(), 3, "{told}");
    Ok(())
}

#[worker_task]
fn nap(ms: u64, _name: &str) {
    std::thread::sleep(Duration::from_millis(ms));
}

fn slowest_tasks(method: StartMethod) -> Result<(), Error> {
    let pool = with(method)?;
    let naps = [0, 30, 0, 10, 0, 50, 20, 0, 40, 60];
    nap::par_map(&pool, naps.map(|ms| (ms, "a nap")))?;
    let told = pool.insights();
    assert_eq!(told.slowest.len(), 5, "{:?}", told.slowest);
    assert!(told.slowest.is_sorted_by_key(|slow| Reverse(slow.took)), "{:?}", told.slowest);
    for slow in &told.slowest {
        assert!(slow.task.ends_with("nap") && slow.worker < 2);
        assert_eq!(slow.argument.as_deref(), Some(&*format!("({}, \"a nap\")", naps[slow.index])));
        assert!(slow.took >= Duration::from_millis(naps[slow.index]) * 9 / 10, "{slow:?}");
    }
    // If the machine stands still, any task may be slow; but no other task took longer than those that are listed.
    for (index, nap) in naps.into_iter().enumerate() {
        let is_told = told.slowest.iter().any(|slow| slow.index == index);
        assert!(is_told || told.slowest[4].took >= Duration::from_millis(nap) * 9 / 10, "{index}: {told}");
    }
    let (table, slowest) = (told.to_string(), format!("nap {} on worker ", told.slowest[0].index));
    assert!(table.contains("slowest tasks\n") && table.contains(&slowest), "{table}");
    let json = serde_json::to_string(&told).unwrap();
    assert_eq!(serde_json::from_str::<pool::Insights>(&json).unwrap(), told);
    Ok(())
}

fn chunks_and_bytes(method: StartMethod) -> Result<(), Error> {
    let pool = with(method)?;
    square::job(&pool).chunk_size(10).map(0..100)?;
    let total = pool.insights().total();
    // A chunk that waits behind a busy worker may be taken back and sent out task by task.
    assert!((1..=110).contains(&total.chunks) && (10..=100).contains(&total.largest_chunk), "{total:?}");
    assert_eq!(total.bytes_received, 800, "a hundred numbers");
    assert!((800..10_000).contains(&total.bytes_sent), "{total:?}");
    Ok(())
}

fn figures_of_all(method: StartMethod) -> Result<(), Error> {
    let pool = with(method)?;
    nap::par_map(&pool, [(20, ""), (20, "")])?;
    let told = pool.insights();
    let [one, other] = [0, 1].map(|id| told.workers[id].working.as_secs_f64());
    let (mean, deviation) = told.mean_and_deviation(|worker| worker.working);
    assert!((mean.as_secs_f64() - (one + other) / 2.0).abs() < 1e-6);
    assert!((deviation.as_secs_f64() - (one - other).abs() / 2.0).abs() < 1e-6);
    let total = told.total();
    assert_eq!((total.tasks, total.starts), (2, 2));
    assert!((total.ratio(total.working) - total.working_ratio()).abs() < 1e-9);
    assert!((total.ratio(total.total()) - 1.0).abs() < 1e-9);
    Ok(())
}

#[worker_task]
fn dies_once(#[shared] died: &SharedValue<u8>, x: u64) -> u64 {
    if x == 3 && died.get() == 0 {
        died.set(1);
        std::process::abort();
    }
    x
}

fn retries(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).insights(true).shared(SharedValue::new(0)?).build()?;
    assert_eq!(dies_once::job(&pool).retries(1).map(0..10)?, (0..10).collect::<Vec<_>>());
    let total = pool.insights().total();
    assert_eq!((total.retries, total.deaths), (1, 1), "{total:?}");
    Ok(())
}
