//! What a pool says of its workers and tasks.

use std::time::Duration;

use nix::sys::signal::Signal;
use pool::{Error, Retry, StartMethod, Stats, TaskErrorKind, worker_task};

use crate::harness::cases;
use crate::support::{Tokens, builder, die, square, wait_for_token};

cases! {
    All: a_new_pool, after_calls, while_tasks_run, gathered_calls, folded, retried, each_worker, stored;
    Processes: after_deaths;
}

/// Tasks that are queued, running, done, failed.
fn tasks(stats: &Stats) -> (u64, u64, u64, u64) {
    (stats.queued(), stats.running(), stats.done(), stats.failed())
}

fn by_kind(stats: &Stats) -> Vec<(&str, u64)> {
    stats.failed_by_kind().iter().map(|(kind, count)| (&**kind, *count)).collect()
}

fn a_new_pool(method: StartMethod) -> Result<(), Error> {
    assert_eq!(builder(method).workers(3).build()?.stats(), Stats::default());
    Ok(())
}

#[worker_task(fallible)]
fn checked(x: u64) -> Result<u64, String> {
    assert!(x != 3, "it is three");
    if x == 4 { Err("it is four".into()) } else { Ok(x) }
}

fn after_calls(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(2).build()?;
    square::par_map(&pool, 0..100)?;
    assert_eq!(tasks(&pool.stats()), (0, 0, 100, 0));
    assert_eq!(checked::par_map_outcomes(&pool, 0..6)?.iter().flatten().count(), 4);
    assert_eq!(square::apply(&pool, 2)?, 4);
    assert_eq!(square::apply_async(&pool, 3).get()?, 9);
    pool.wait_idle()?;
    let stats = pool.stats();
    assert_eq!(tasks(&stats), (0, 0, 106, 2));
    assert_eq!(by_kind(&stats), [("failed", 1), ("panicked", 1)]);
    assert_eq!((stats.up(), stats.busy(), stats.starting(), stats.backing_off()), (2, 0, 0, 0));
    assert_eq!((stats.starts(), stats.restarts(), stats.deaths(), stats.retries()), (2, 0, 0, 0));
    assert!(stats.bytes_sent() > 8 * 100 && stats.bytes_received() > 8 * 100, "{stats}");
    pool.shutdown()?;
    let stats = pool.stats();
    assert_eq!((stats.up(), stats.done()), (0, 106));
    Ok(())
}

fn while_tasks_run(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(2).build()?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let results: Vec<_> =
        (0..5).map(|x| wait_for_token::apply_async(&pool, (&*started_path, &*go_on_path, x))).collect();
    started.take(2);
    let stats = pool.stats();
    assert_eq!(tasks(&stats), (3, 2, 0, 0), "{stats}");
    assert_eq!((stats.up(), stats.busy()), (2, 2));
    results[4].cancel();
    assert_eq!(tasks(&pool.stats()).1, 2);
    go_on.put(4);
    for (x, result) in (0..4).zip(&results) {
        assert_eq!(result.get()?, x);
    }
    pool.wait_idle()?;
    assert_eq!(tasks(&pool.stats()), (0, 0, 4, 0), "nobody wanted the last one");
    Ok(())
}

fn gathered_calls(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let first = wait_for_token::apply_async(&pool, (&*started.path(), &*go_on.path(), 0));
    started.take(1);
    let others: Vec<_> = (0..1000).map(|x| square::apply_async(&pool, x)).collect();
    assert_eq!(tasks(&pool.stats()), (1000, 1, 0, 0));
    go_on.put(1);
    first.get()?;
    others.iter().try_for_each(|other| other.get().map(drop))?;
    assert_eq!(tasks(&pool.stats()), (0, 0, 1001, 0));
    Ok(())
}

#[worker_task]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

fn folded(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(2).build()?;
    assert_eq!(square::job(&pool).reduce::<add>(0..10)?, Some(285));
    let stats = pool.stats();
    // What adds the last values is a task, too.
    assert!((10..20).contains(&stats.done()) && stats.failed() == 0, "{stats}");
    Ok(())
}

/// A failure counts once it is decided that the task is not tried again.
fn retried(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(2).build()?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let retry = Retry::times(1)
        .delay(Duration::from_secs(1000), Duration::from_secs(1000))
        .on(|error| matches!(error.kind(), TaskErrorKind::Failed(_)));
    let delayed = checked::job(&pool).retry(retry.clone()).apply_async(4);
    let failed = checked::job(&pool).retry(retry).apply_async(3);
    assert!(failed.get().is_err());
    while pool.stats().retries() == 0 {
        std::thread::yield_now();
    }
    let waits = wait_for_token::apply_async(&pool, (&*started.path(), &*go_on.path(), 7));
    started.take(1);
    let stats = pool.stats();
    assert_eq!(tasks(&stats), (1, 1, 0, 1), "one waits for its second attempt: {stats}");
    assert_eq!(by_kind(&stats), [("panicked", 1)]);
    go_on.put(1);
    assert_eq!(waits.get()?, 7);
    delayed.cancel();
    pool.wait_idle()?;
    assert_eq!(tasks(&pool.stats()), (0, 0, 1, 1));
    Ok(())
}

fn each_worker(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(3).build()?;
    square::on_each_worker(&pool, 2)?;
    let stats = pool.stats();
    assert_eq!((tasks(&stats), stats.starts()), ((0, 0, 3, 0), 3));
    Ok(())
}

fn stored(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    checked::par_map_outcomes(&pool, [3, 5])?;
    let stats = pool.stats();
    let stored = serde_json::to_string(&stats).expect("it is plain");
    assert_eq!(serde_json::from_str::<Stats>(&stored).expect("it was stored"), stats);
    assert!(stats.to_string().contains("1 done, 1 failed (1 panicked)"), "{stats}");
    Ok(())
}

#[worker_task]
fn dies_on_odd(x: u64) -> u64 {
    if x % 2 == 1 { die(Signal::SIGKILL) } else { x }
}

fn after_deaths(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(2).build()?;
    dies_on_odd::job(&pool).retries(1).map_outcomes(0..4)?;
    square::on_each_worker(&pool, 1)?;
    let stats = pool.stats();
    assert_eq!(tasks(&stats), (0, 0, 4, 2));
    assert_eq!(by_kind(&stats), [("died", 2)]);
    assert_eq!((stats.deaths(), stats.retries()), (4, 2));
    assert_eq!(stats.starts() - stats.restarts(), 2);
    assert_eq!(stats.restarts(), 4);
    Ok(())
}
