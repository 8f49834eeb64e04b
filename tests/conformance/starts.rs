//! How many workers start, and when.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pool::shared::SharedBarrier;
use pool::{Error, StartMethod, WorkerPool, worker_exit, worker_init, worker_task};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::harness::cases;
use crate::support::{Tokens, builder, put_token, sorted, square, squares, take_token, wait_for_token};

cases! {
    All: as_many_as_tasks, none_without_a_task, as_many_as_chunks, as_many_as_may_be_active,
        one_for_calls_one_after_another, all_for_an_input_of_unknown_length, one_more_for_each_that_is_busy,
        those_whose_chunks_there_are, one_whose_init_is_late;
    Processes: not_waited_for, one_that_is_late, given_up_before_they_are_up, server_lost_before_it_is_up;
}

#[worker_exit]
fn gone(#[worker_id] id: usize) -> usize {
    id
}

#[worker_task(exit = gone)]
fn plain(x: u64) -> u64 {
    x
}

/// The numbers of the workers that have run, each as often as it was started.
fn started<S: 'static>(pool: WorkerPool<S>) -> Result<Vec<usize>, Error> {
    Ok(sorted(pool.join()?.exit_results::<gone>()?))
}

fn as_many_as_tasks(method: StartMethod) -> Result<(), Error> {
    for tasks in [1, 2, 5] {
        let pool = builder(method).workers(16).build()?;
        assert_eq!(plain::par_map(&pool, 0..tasks)?, (0..tasks).collect::<Vec<_>>());
        assert!((1..=tasks as usize).contains(&started(pool)?.len()), "{tasks} tasks");
    }
    Ok(())
}

fn none_without_a_task(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(16).build()?;
    assert!(plain::par_map(&pool, 0..0)?.is_empty());
    assert!(plain::par_imap(&pool, (0..10).filter(|x| *x > 10)).next().is_none());
    assert!(plain::job(&pool).map_async(0..0).get()?.is_empty());
    assert!(started(pool)?.is_empty());
    Ok(())
}

fn as_many_as_chunks(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(16).build()?;
    plain::job(&pool).chunk_size(40).map(0..100)?;
    assert!((1..=3).contains(&started(pool)?.len()));
    let pool = builder(method).workers(16).build()?;
    plain::job(&pool).n_splits(4).map(0..100)?;
    assert!((1..=4).contains(&started(pool)?.len()));
    Ok(())
}

fn as_many_as_may_be_active(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(16).build()?;
    plain::job(&pool).max_tasks_active(3).map(0..100)?;
    assert!((1..=3).contains(&started(pool)?.len()));
    Ok(())
}

fn one_for_calls_one_after_another(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(16).build()?;
    for x in 0..20 {
        assert_eq!(plain::apply(&pool, x)?, x);
        assert_eq!(plain::apply_async(&pool, x).get()?, x);
    }
    assert!(started(pool)?.len() <= 2, "a call can be answered before its worker is known to be idle");
    Ok(())
}

#[worker_task]
fn meet(#[shared] all: &SharedBarrier, _x: usize) -> bool {
    all.wait().is_ok()
}

/// The tasks wait for each other, so this ends only if each has a worker of its own.
fn all_for_an_input_of_unknown_length(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(6).shared(SharedBarrier::new(6)?).build()?;
    assert_eq!(meet::par_map(&pool, (0..6).filter(|_| true))?, [true; 6]);
    let pool = builder(method).workers(6).shared(SharedBarrier::new(6)?).build()?;
    let results: Result<Vec<bool>, Error> = meet::par_imap(&pool, (0..).take_while(|x| *x < 18)).collect();
    assert_eq!(results?, [true; 18]);
    Ok(())
}

fn one_more_for_each_that_is_busy(method: StartMethod) -> Result<(), Error> {
    let (mut begun, mut go_on) = (Tokens::new(), Tokens::new());
    let (begun_path, go_on_path) = (begun.path(), go_on.path());
    let pool = builder(method).workers(3).build()?;
    let first = wait_for_token::apply_async(&pool, (&begun_path, &go_on_path, 1));
    begun.take(1);
    let second = wait_for_token::apply_async(&pool, (&begun_path, &go_on_path, 2));
    begun.take(1);
    // Both workers are busy, so a third has to start.
    assert_eq!(square::par_map(&pool, 0..20)?, squares(20));
    go_on.put(2);
    assert_eq!((first.get()?, second.get()?), (1, 2));
    Ok(())
}

#[worker_task(exit = gone)]
fn who(#[worker_id] id: usize, _x: u64) -> usize {
    id
}

fn those_whose_chunks_there_are(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(8).order_tasks(true).build()?;
    assert_eq!(who::job(&pool).chunk_size(2).map(0..6)?, [0, 0, 1, 1, 2, 2]);
    assert_eq!(who::job(&pool).chunk_size(1).map((0..4).filter(|_| true))?, [0, 1, 2, 3]);
    assert_eq!(started(pool)?, [0, 1, 2, 3]);
    Ok(())
}

/// Reports that its decoding has begun, and waits for a token in it.
struct Late {
    begun: String,
    go_on: String,
}

impl Serialize for Late {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (&self.begun, &self.go_on).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Late {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let (begun, go_on) = <(String, String)>::deserialize(deserializer)?;
        put_token(&begun);
        take_token(&go_on);
        Ok(Self { begun, go_on })
    }
}

#[worker_task]
fn after_late(#[shared] _late: &Late, x: u64) -> u64 {
    x
}

/// A pool whose workers, or whose server, are not up before there is a token; and the tokens.
fn late(method: StartMethod) -> Result<(WorkerPool<Late>, Tokens, Tokens), Error> {
    let (begun, go_on) = (Tokens::new(), Tokens::new());
    let shared = Late { begun: begun.path(), go_on: go_on.path() };
    Ok((builder(method).shared(shared).build()?, begun, go_on))
}

/// Whether the value is decoded at all: with `Fork`, it is not.
fn decodes(method: StartMethod) -> bool {
    method != StartMethod::Fork
}

fn not_waited_for(method: StartMethod) -> Result<(), Error> {
    if !decodes(method) {
        return Ok(());
    }
    let (pool, mut begun, mut go_on) = late(method)?;
    let (first, second) = (after_late::apply_async(&pool, 1), after_late::apply_async(&pool, 2));
    begun.take(1);
    // Nothing else has to wait for the start, neither these calls nor others.
    assert!(!first.ready() && !second.ready());
    assert!(matches!(first.get_timeout(Duration::from_millis(1)), Err(Error::NotReady(_))));
    let third = after_late::apply_async(&pool, 3);
    third.cancel();
    assert!(matches!(third.get(), Err(Error::Cancelled)));
    go_on.put(2);
    assert_eq!((first.get()?, second.get()?), (1, 2));
    assert_eq!(after_late::par_map(&pool, 0..20)?, (0..20).collect::<Vec<_>>());
    Ok(())
}

/// With `Spawn`, each worker decodes the value, and here only one has a token for that.
fn one_that_is_late(method: StartMethod) -> Result<(), Error> {
    let (pool, _begun, mut go_on) = late(method)?;
    go_on.put(1);
    assert_eq!(after_late::par_map(&pool, 0..20)?, (0..20).collect::<Vec<_>>());
    assert_eq!(after_late::job(&pool).chunk_size(3).map(0..20)?, (0..20).collect::<Vec<_>>());
    assert_eq!(after_late::par_map(&pool, (0..20).filter(|_| true))?, (0..20).collect::<Vec<_>>());
    // The late one is still starting when the pool is dropped.
    Ok(())
}

fn given_up_before_they_are_up(method: StartMethod) -> Result<(), Error> {
    if !decodes(method) {
        return Ok(());
    }
    let (cancelled, mut begun, _go_on) = late(method)?;
    let result = after_late::apply_async(&cancelled, 1);
    begun.take(1);
    cancelled.cancel_handle().cancel();
    assert!(matches!(result.get(), Err(Error::Cancelled)));
    drop(cancelled);
    let (terminated, mut begun, _go_on) = late(method)?;
    let result = after_late::apply_async(&terminated, 1);
    begun.take(1);
    terminated.terminate();
    assert!(result.get().is_err());
    let (dropped, mut begun, _go_on) = late(method)?;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            begun.take(1);
            dropped.cancel_handle().cancel();
        });
        let mut results = after_late::par_imap(&dropped, 0..);
        assert!(matches!(results.next(), Some(Err(Error::Cancelled))));
    });
    Ok(())
}

/// The children of this process's main thread.
fn children() -> Vec<Pid> {
    let list = std::fs::read_to_string("/proc/thread-self/children").unwrap_or_default();
    list.split_whitespace().map(|pid| Pid::from_raw(pid.parse().expect("it is a number"))).collect()
}

fn server_lost_before_it_is_up(method: StartMethod) -> Result<(), Error> {
    if !decodes(method) {
        return Ok(());
    }
    let (pool, mut begun, mut go_on) = late(method)?;
    let result = after_late::apply_async(&pool, 1);
    begun.take(1);
    for child in children() {
        kill(child, Signal::SIGKILL).expect("it is there");
    }
    // Another one starts.
    begun.take(1);
    go_on.put(1);
    assert_eq!(result.get()?, 1);
    Ok(())
}

#[worker_init]
fn late_init(#[shared] go_on: &String) -> u8 {
    take_token(go_on);
    1
}

#[worker_task(init = late_init)]
fn after_init(#[state] state: &mut u8, x: u64) -> u64 {
    x + u64::from(*state)
}

/// Another worker takes over the task that waits for a worker's init.
fn one_whose_init_is_late(method: StartMethod) -> Result<(), Error> {
    let mut go_on = Tokens::new();
    let pool = builder(method).shared(go_on.path()).build()?;
    go_on.put(1);
    assert_eq!(after_init::job(&pool).chunk_size(1).map(0..2)?, [1, 2]);
    go_on.put(1);
    assert_eq!(after_init::par_map(&pool, 0..20)?, (1..21).collect::<Vec<_>>());
    Ok(())
}
