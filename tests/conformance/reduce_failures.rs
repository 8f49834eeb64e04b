//! Failures while results are folded: each costs one task, and every other result counts exactly once.

use std::time::Duration;

use nix::sys::signal::Signal;
use pool::shared::SharedCounter;
use pool::{Error, StartMethod, TaskErrorKind, WorkerPool, worker_task};
use serde::{Deserialize, Serialize, Serializer};

use crate::harness::cases;
use crate::reduce::{add, join, spell, spelled};
use crate::support::{Tokens, assert_usable, builder, die, panic_message, pool, task_error};
use crate::timeouts::{SHORT, hang_if};

cases! {
    All: a_task_panics, the_reducer_panics, the_reducer_panics_among_values, no_value_can_be_encoded;
    Processes: a_task_dies, the_reducer_dies, the_reducer_dies_among_values, retried, times_out,
               time_counts_for_each_task, lost_folds_run_again;
}

/// The panic costs one task, wherever that is in its chunk.
fn a_task_panics(method: StartMethod) -> Result<(), Error> {
    #[worker_task]
    fn not_70(x: u64) -> u64 {
        assert_ne!(x, 70, "it is 70");
        x
    }
    let pool = pool(method)?;
    for chunk in [1, 10, 100] {
        let error = task_error(not_70::job(&pool).chunk_size(chunk).reduce::<add>(0..100));
        assert_eq!((error.task_index(), error.attempts()), (70, 1));
        assert!(
            panic_message(&error).contains("it is 70") && error.task_name().contains("not_70"),
            "{error}"
        );
        assert_usable(&pool);
    }
    Ok(())
}

#[worker_task]
fn add_unless_70(a: u64, b: u64) -> u64 {
    assert_ne!(b, 70, "it is 70");
    a + b
}

#[worker_task]
fn same(x: u64) -> u64 {
    x
}

fn the_reducer_panics(method: StartMethod) -> Result<(), Error> {
    // One worker: if there were two, the idle one could take over a part of the chunk.
    let pool = builder(method).workers(1).build()?;
    for chunk in [50, 100] {
        let error = task_error(same::job(&pool).chunk_size(chunk).reduce::<add_unless_70>(0..100));
        assert_eq!(error.task_index(), 70, "it is the one whose result was being folded");
        assert!(panic_message(&error).contains("it is 70"), "{error}");
        assert_usable(&pool);
    }
    Ok(())
}

fn the_reducer_panics_among_values(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let error = task_error(same::job(&pool).max_tasks_active(1).reduce::<add_unless_70>(0..100));
    assert_eq!(error.task_index(), 50, "it is the first one of those that were folded together");
    assert!(error.task_name().contains("add_unless_70"), "{error}");
    assert_usable(&pool);
    Ok(())
}

/// Cannot be encoded once it holds three numbers.
#[derive(Debug, Deserialize)]
struct Few(Vec<u64>);

impl Serialize for Few {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.len() > 2 {
            return Err(serde::ser::Error::custom("there are too many"));
        }
        self.0.serialize(serializer)
    }
}

#[worker_task]
fn few(x: u64) -> Few {
    Few(vec![x])
}

#[worker_task]
fn more(mut a: Few, mut b: Few) -> Few {
    a.0.append(&mut b.0);
    a
}

fn no_value_can_be_encoded(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let error = task_error(few::job(&pool).chunk_size(10).reduce::<more>(0..10));
    assert!(matches!(error.kind(), TaskErrorKind::Encode(why) if why.contains("too many")), "{error}");
    assert_usable(&pool);
    Ok(())
}

#[worker_task]
fn die_at(#[shared] left: &SharedCounter, at: u64, x: u64) -> String {
    if x == at && left.get() > 0 {
        left.fetch_sub(1);
        die(Signal::SIGKILL);
    }
    spell(x)
}

fn dying(method: StartMethod, deaths: u64) -> Result<WorkerPool<SharedCounter>, Error> {
    builder(method).shared(SharedCounter::new(deaths)?).build()
}

fn a_task_dies(method: StartMethod) -> Result<(), Error> {
    let pool = dying(method, 1000)?;
    for (chunk, at) in [(1, 7), (50, 0), (50, 49), (50, 71), (100, 99)] {
        let error =
            task_error(die_at::job(&pool).chunk_size(chunk).reduce::<join>((0..100).map(|x| (at, x))));
        assert_eq!((error.task_index() as u64, error.attempts()), (at, 1), "{error}");
        assert!(error.to_string().contains("SIGKILL"), "{error}");
        assert_usable(&pool);
    }
    Ok(())
}

#[worker_task]
fn die_at_70(a: u64, b: u64) -> u64 {
    if b == 70 {
        die(Signal::SIGKILL);
    }
    a + b
}

fn the_reducer_dies(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    let error = task_error(same::job(&pool).chunk_size(100).reduce::<die_at_70>(0..100));
    assert_eq!(error.task_index(), 70);
    assert_usable(&pool);
    Ok(())
}

fn the_reducer_dies_among_values(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let error = task_error(same::job(&pool).max_tasks_active(1).reduce::<die_at_70>(0..100));
    assert_eq!(error.task_index(), 50);
    assert!(error.task_name().contains("die_at_70"), "{error}");
    assert_usable(&pool);
    Ok(())
}

/// No result that dies with a worker is lost, and none counts twice.
fn retried(method: StartMethod) -> Result<(), Error> {
    for (chunk, at, deaths) in [(1, 7, 1), (50, 0, 2), (50, 71, 3), (100, 99, 1)] {
        let pool = dying(method, deaths)?;
        let job = die_at::job(&pool).chunk_size(chunk).retries(deaths as u32);
        assert_eq!(job.reduce::<join>((0..100).map(|x| (at, x)))?, spelled(100), "chunks of {chunk}");
    }
    let pool = dying(method, 3)?;
    let error =
        task_error(die_at::job(&pool).chunk_size(50).retries(2).reduce::<join>((0..100).map(|x| (71, x))));
    assert_eq!((error.task_index(), error.attempts(), error.earlier_attempts().len()), (71, 3, 2));
    Ok(())
}

#[worker_task]
fn count_run(#[shared] runs: &SharedCounter, at: u64, x: u64) -> u64 {
    let before = runs.fetch_add(1);
    // This is the first run of the last task in the chunk.
    if x == at && before == at {
        die(Signal::SIGKILL);
    }
    x
}

/// Only the tasks that were folded with the one that died run again.
fn lost_folds_run_again(method: StartMethod) -> Result<(), Error> {
    let runs = SharedCounter::new(0)?;
    let pool = builder(method).workers(1).shared(runs.clone()).build()?;
    let job = count_run::job(&pool).chunk_size(40).retries(1);
    assert_eq!(job.reduce::<add>((0..40).map(|x| (39, x)))?, Some((0..40).sum()));
    assert_eq!(runs.get(), 80, "all 40 had run, and none of their results was handed over");
    Ok(())
}

fn times_out(method: StartMethod) -> Result<(), Error> {
    let never = Tokens::new();
    let pool = builder(method).shared(never.path()).build()?;
    for (chunk, at) in [(1, 7), (20, 0), (20, 7), (20, 19)] {
        let job = hang_if::job(&pool).task_timeout(SHORT).chunk_size(chunk);
        let error = task_error(job.reduce::<add>((0..20).map(|x| (x == at, x))));
        assert_eq!(error.task_index() as u64, at, "{error}");
        assert!(matches!(error.kind(), TaskErrorKind::TimedOut(limit) if *limit == SHORT), "{error}");
        assert_usable(&pool);
    }
    let job = hang_if::job(&pool).task_timeout(SHORT).chunk_size(20).retries(1);
    let error = task_error(job.reduce::<add>((0..20).map(|x| (x == 7, x))));
    assert_eq!((error.task_index(), error.attempts()), (7, 2));
    Ok(())
}

#[worker_task]
fn nap(x: u64) -> u64 {
    // Here the time itself matters, not an event.
    std::thread::sleep(Duration::from_millis(10));
    x
}

/// A chunk may take longer than the limit as long as no task does.
fn time_counts_for_each_task(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = nap::job(&pool).task_timeout(Duration::from_secs(1)).chunk_size(60);
    assert_eq!(job.reduce::<add>(0..240)?, Some((0..240).sum()));
    Ok(())
}
