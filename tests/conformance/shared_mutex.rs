//! The shared mutex, also when its holder panics, is killed or is stopped.

use std::sync::{PoisonError, TryLockError};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pool::shared::{SharedMutex, SharedValue};
use pool::{Error, StartMethod, TaskErrorKind, WorkerPool, worker_task};

use crate::harness::cases;
use crate::support::{
    Tokens, assert_fails, assert_usable, builder, die, pool, put_token, take_token, task_error,
};

cases! {
    All: counts, in_nested_pools, as_argument, poisoned_by_a_panic, fork_with_a_lock, not_poisoned_beside_a_panic,
        waited_for;
    Processes: holder_killed, holder_killed_under_waiters, try_lock_of_another, holder_stopped, death_is_noticed_soon;
}

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

type Pair = SharedMutex<[u64; 2]>;

#[worker_task]
fn count_pair(#[shared] pair: &Pair, times: u64) {
    for _ in 0..times {
        let mut pair = pair.lock().unwrap();
        pair[0] += 1;
        pair[1] = pair[0] * 3;
    }
}

fn counts(method: StartMethod) -> Result<(), Error> {
    let pair = Pair::new([0, 0])?;
    let pool = builder(method).workers(3).shared(pair.clone()).build()?;
    count_pair::job(&pool).chunk_size(1).map([2_000; 6])?;
    assert_eq!(*pair.lock().unwrap(), [12_000, 36_000]);
    Ok(())
}

#[worker_task]
fn count_in_a_pool(#[shared] pair: &Pair, times: u64) -> Result<(), String> {
    let work = || {
        let pool = WorkerPool::builder().workers(2).shared(pair.clone()).build()?;
        count_pair::par_map(&pool, [times; 4])
    };
    work().map(drop).map_err(|error| error.to_string())
}

fn in_nested_pools(method: StartMethod) -> Result<(), Error> {
    let pair = Pair::new([0, 0])?;
    let pool = builder(method).daemon(false).shared(pair.clone()).build()?;
    assert_eq!(count_in_a_pool::job(&pool).chunk_size(1).map([100; 2])?, [const { Ok(()) }; 2]);
    assert_eq!(*pair.lock().unwrap(), [800, 2_400]);
    Ok(())
}

#[worker_task]
fn append(text: SharedMutex<[u8; 64]>, at: usize, letter: u8) -> bool {
    let mut text = text.lock().unwrap();
    text[at] = letter;
    text[..at].iter().all(|letter| *letter > 0)
}

fn as_argument(method: StartMethod) -> Result<(), Error> {
    let (pool, text) = (pool(method)?, SharedMutex::new([0u8; 64])?);
    for at in 0..64 {
        assert!(append::apply(&pool, (text.clone(), at, b'a' + at as u8 % 26))?);
    }
    assert!(text.lock().unwrap().starts_with(b"abcdefghijklmnopqrstuvwxyzabc"));
    Ok(())
}

#[worker_task]
fn panic_with_lock(#[shared] pair: &Pair) {
    let mut pair = pair.lock().unwrap();
    pair[0] = 7;
    panic!("with the lock");
}

fn poisoned_by_a_panic(method: StartMethod) -> Result<(), Error> {
    let pair = Pair::new([0, 0])?;
    let pool = builder(method).shared(pair.clone()).build()?;
    assert!(matches!(task_error(panic_with_lock::apply(&pool, ())).kind(), TaskErrorKind::Panicked(_)));
    assert!(pair.is_poisoned());
    let error = task_error(count_pair::apply(&pool, 1));
    assert!(error.to_string().contains("PoisonError"), "{error}");
    *pair.lock().unwrap_or_else(PoisonError::into_inner) = [0, 0];
    pair.clear_poison();
    count_pair::apply(&pool, 5)?;
    assert_eq!(*pair.lock().unwrap(), [5, 15]);
    Ok(())
}

#[worker_task]
fn die_with_lock(#[shared] pair: &Pair) {
    let mut pair = pair.lock().unwrap();
    pair[0] = 100;
    die(Signal::SIGKILL);
}

fn holder_killed(method: StartMethod) -> Result<(), Error> {
    let pair = Pair::new([0, 0])?;
    let pool = builder(method).shared(pair.clone()).build()?;
    for round in 0..10 {
        assert!(matches!(task_error(die_with_lock::apply(&pool, ())).kind(), TaskErrorKind::Died(_)));
        match pair.lock() {
            Err(poisoned) => assert_eq!(poisoned.into_inner()[0], 100),
            Ok(_) => panic!("not poisoned in round {round}"),
        }
        assert!(pair.is_poisoned());
        pair.clear_poison();
        count_pair::par_map(&pool, [10; 4])?;
    }
    assert_eq!(*pair.lock().unwrap(), [140, 420]);
    Ok(())
}

#[worker_task]
fn hold_then_die(#[shared] pair: &Pair, started: &str, go_on: &str) {
    let _held = pair.lock().unwrap_or_else(PoisonError::into_inner);
    put_token(started);
    take_token(go_on);
    die(Signal::SIGKILL);
}

#[worker_task]
fn is_poisoned(#[shared] pair: &Pair, started: &str) -> bool {
    put_token(started);
    pair.lock().is_err()
}

fn holder_killed_under_waiters(method: StartMethod) -> Result<(), Error> {
    let pair = Pair::new([0, 0])?;
    let pool = builder(method).workers(4).shared(pair.clone()).build()?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let dies = hold_then_die::apply_async(&pool, (&started_path, &go_on_path));
    started.take(1);
    let waiters: Vec<_> = (0..3).map(|_| is_poisoned::apply_async(&pool, &started_path)).collect();
    started.take(3);
    assert!(matches!(pair.try_lock(), Err(TryLockError::WouldBlock)));
    // Give them time to wait for the lock.
    thread::sleep(Duration::from_millis(30));
    go_on.put(1);
    assert!(pair.lock().is_err());
    for waiter in waiters {
        assert!(waiter.get_timeout(LONG)?, "whoever comes after a death finds the mutex poisoned");
    }
    task_error(dies.get());
    Ok(())
}

#[worker_task]
fn hold(#[shared] pair: &Pair, started: &str, go_on: &str) -> u32 {
    let mut pair = pair.lock().unwrap();
    put_token(started);
    take_token(go_on);
    pair[0] += 1;
    std::process::id()
}

fn try_lock_of_another(method: StartMethod) -> Result<(), Error> {
    let pair = Pair::new([0, 0])?;
    let pool = builder(method).shared(pair.clone()).build()?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let holds = hold::apply_async(&pool, (&started.path(), &go_on.path()));
    started.take(1);
    assert!(matches!(pair.try_lock(), Err(TryLockError::WouldBlock)));
    assert!(matches!(pair.try_lock_for(Duration::from_millis(50)), Err(TryLockError::WouldBlock)));
    go_on.put(1);
    assert_eq!(pair.try_lock_for(LONG).map_err(|_| "no lock").unwrap()[0], 1);
    holds.get()?;
    Ok(())
}

/// A stopped process is not dead: others wait for its lock, and do not get it.
fn holder_stopped(method: StartMethod) -> Result<(), Error> {
    let shared = (Pair::new([0, 0])?, SharedValue::new(0)?);
    let (pair, pid) = shared.clone();
    let pool = builder(method).shared(shared).build()?;
    let mut started = Tokens::new();
    let holds = hold_and_stop::apply_async(&pool, &started.path());
    started.take(1);
    assert!(matches!(pair.try_lock_for(Duration::from_millis(200)), Err(TryLockError::WouldBlock)));
    kill(Pid::from_raw(pid.get()), Signal::SIGCONT).unwrap();
    assert_eq!(pair.lock().unwrap()[1], 7);
    holds.get()
}

#[worker_task]
fn hold_and_stop(#[shared] (pair, pid): &(Pair, SharedValue<i32>), started: &str) {
    let mut pair = pair.lock().unwrap();
    pid.set(std::process::id().cast_signed());
    put_token(started);
    nix::sys::signal::raise(Signal::SIGSTOP).unwrap();
    pair[1] = 7;
}

fn fork_with_a_lock(method: StartMethod) -> Result<(), Error> {
    let pair = Pair::new([0, 0])?;
    let pool = pool(method)?;
    let guard = pair.lock().unwrap();
    let done = append::apply(&pool, (SharedMutex::new([0; 64])?, 0, 0));
    match method {
        StartMethod::Fork => {
            assert_fails!(done, Error::Start { reason, .. } if reason.contains("locked here"));
        }
        // The argument is dropped once it is encoded.
        _ => assert!(matches!(task_error(done).kind(), TaskErrorKind::Decode(_))),
    }
    drop(guard);
    assert_usable(&pool);
    Ok(())
}

struct CountsInPassing<'a>(&'a Pair);

impl Drop for CountsInPassing<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap()[0] += 1;
    }
}

#[worker_task]
fn panic_beside_lock(#[shared] pair: &Pair) {
    let _counts = CountsInPassing(pair);
    panic!("without the lock");
}

/// As with `std`, a lock that is taken and released during a panic is not poisoned: the value is whole.
fn not_poisoned_beside_a_panic(method: StartMethod) -> Result<(), Error> {
    let pair = Pair::new([0, 0])?;
    let pool = builder(method).shared(pair.clone()).build()?;
    task_error(panic_beside_lock::apply(&pool, ()));
    assert_eq!(pair.lock().expect("it is not poisoned")[0], 1);
    Ok(())
}

#[worker_task]
fn take_in_time(#[shared] pair: &Pair, started: &str) -> bool {
    put_token(started);
    pair.try_lock_for(LONG).is_ok()
}

fn waited_for(method: StartMethod) -> Result<(), Error> {
    let pair = Pair::new([0, 0])?;
    let pool = builder(method).shared(pair.clone()).build()?;
    // With `Fork`, the workers have to start before the lock is taken.
    count_pair::apply(&pool, 1)?;
    let mut started = Tokens::new();
    let guard = pair.lock().unwrap();
    let waits = take_in_time::apply_async(&pool, &started.path());
    started.take(1);
    thread::sleep(Duration::from_millis(50));
    drop(guard);
    assert!(waits.get_timeout(LONG)?);
    Ok(())
}

fn death_is_noticed_soon(method: StartMethod) -> Result<(), Error> {
    let pair = Pair::new([0, 0])?;
    let pool = builder(method).shared(pair.clone()).build()?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let dies = hold_then_die::apply_async(&pool, (&started_path, &go_on_path));
    started.take(1);
    let waits = is_poisoned::apply_async(&pool, &started_path);
    started.take(1);
    thread::sleep(Duration::from_millis(50));
    go_on.put(1);
    task_error(dies.get());
    // This takes 20 ms on an idle machine.
    assert!(waits.get_timeout(Duration::from_secs(2))?, "the dead are waited for");
    Ok(())
}
