//! The shared semaphore and barrier: nobody waits for a process that was killed.

use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use pool::shared::{BarrierError, SharedArray, SharedBarrier, SharedSemaphore, SharedValue};
use pool::{Error, StartMethod, worker_task};

use crate::harness::cases;
use crate::support::{Tokens, assert_fails, builder, die, put_token, take_token, task_error};

cases! {
    All: no_more_than_permits, barrier_rounds, barrier_gives_up, of_nobody, permit_waited_for, permit_for_each;
    Processes: permit_holder_killed, waiter_killed_at_barrier, waiters_notice_a_death, last_comer_notices_a_death;
}

/// Longer than anything here takes.
const LONG: Duration = Duration::from_secs(30);

#[worker_task]
fn no_more_than(#[shared] (semaphore, inside, most): &Inside, times: u32) {
    for _ in 0..times {
        let _permit = semaphore.acquire();
        let now = inside.fetch_add(1) + 1;
        most.fetch_update(|most| most.max(now));
        thread::yield_now();
        inside.fetch_add(u32::MAX);
    }
}

type Inside = (SharedSemaphore, SharedValue<u32>, SharedValue<u32>);

fn no_more_than_permits(method: StartMethod) -> Result<(), Error> {
    let inside: Inside = (SharedSemaphore::new(2)?, SharedValue::new(0)?, SharedValue::new(0)?);
    let pool = builder(method).workers(4).shared(inside.clone()).build()?;
    no_more_than::job(&pool).chunk_size(1).map([200; 8])?;
    assert!((1..=2).contains(&inside.2.get()), "{} were inside", inside.2.get());
    let (one, _two) = (inside.0.acquire(), inside.0.try_acquire().expect("all have given theirs back"));
    assert!(inside.0.acquire_timeout(Duration::from_millis(30)).is_none());
    drop(one);
    assert!(inside.0.try_acquire().is_some());
    Ok(())
}

#[worker_task]
fn die_with_permits(#[shared] semaphore: &SharedSemaphore, started: &str, go_on: &str) {
    let _permits = (semaphore.acquire(), semaphore.acquire());
    put_token(started);
    take_token(go_on);
    die(Signal::SIGKILL);
}

fn permit_holder_killed(method: StartMethod) -> Result<(), Error> {
    let semaphore = SharedSemaphore::new(2)?;
    let pool = builder(method).shared(semaphore.clone()).build()?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    for _ in 0..5 {
        let dies = die_with_permits::apply_async(&pool, (&started.path(), &go_on.path()));
        started.take(1);
        assert!(semaphore.try_acquire().is_none());
        go_on.put(1);
        let permits = (semaphore.acquire(), semaphore.acquire());
        drop(permits);
        task_error(dies.get());
    }
    Ok(())
}

type Rounds = (SharedBarrier, SharedArray<i32>);

#[worker_task]
fn take_turns(#[shared] (barrier, turns): &Rounds, me: usize) -> Result<usize, BarrierError> {
    let mut firsts = 0;
    for round in 1..=50 {
        turns.set(me, round);
        firsts += usize::from(barrier.wait()? == 0);
        assert!(turns.iter().all(|turn| turn == round), "all have come to round {round}");
        barrier.wait_timeout(LONG)?;
    }
    Ok(firsts)
}

fn barrier_rounds(method: StartMethod) -> Result<(), Error> {
    let rounds: Rounds = (SharedBarrier::new(3)?, SharedArray::zeroed(3)?);
    let pool = builder(method).workers(3).order_tasks(true).shared(rounds).build()?;
    let firsts = take_turns::job(&pool).chunk_size(1).map(0..3)?;
    assert_eq!(firsts.into_iter().sum::<Result<usize, _>>(), Ok(50), "one is the first in each round");
    Ok(())
}

#[worker_task]
fn wait_at(#[shared] (barrier, _): &Rounds, started: &str) -> Result<usize, BarrierError> {
    put_token(started);
    barrier.wait()
}

#[worker_task]
fn wait_to_be_killed(#[shared] (barrier, pid): &Rounds, started: &str) -> Result<usize, BarrierError> {
    pid.set(0, std::process::id().cast_signed());
    put_token(started);
    barrier.wait()
}

fn waiter_killed_at_barrier(method: StartMethod) -> Result<(), Error> {
    let rounds: Rounds = (SharedBarrier::new(4)?, SharedArray::zeroed(1)?);
    let (barrier, pid) = rounds.clone();
    let pool = builder(method).workers(3).shared(rounds).build()?;
    let mut started = Tokens::new();
    let path = started.path();
    let killed = wait_to_be_killed::apply_async(&pool, &path);
    let others: Vec<_> = (0..2).map(|_| wait_at::apply_async(&pool, &path)).collect();
    started.take(3);
    // They are about to wait. From outside, only time can tell whether they do.
    thread::sleep(Duration::from_millis(200));
    kill(Pid::from_raw(pid.get(0)), Signal::SIGKILL).unwrap();
    task_error(killed.get());
    assert_eq!(barrier.wait_timeout(LONG), Err(BarrierError::Broken));
    for other in others {
        assert_eq!(other.get_timeout(LONG)?, Err(BarrierError::Broken));
    }
    assert!(barrier.is_broken());
    barrier.reset();
    let again: Vec<_> = (0..3).map(|_| wait_at::apply_async(&pool, &path)).collect();
    barrier.wait_timeout(LONG).expect("all four come");
    for wait in again {
        wait.get_timeout(LONG)?.expect("all four come");
    }
    Ok(())
}

fn barrier_gives_up(method: StartMethod) -> Result<(), Error> {
    let rounds: Rounds = (SharedBarrier::new(3)?, SharedArray::zeroed(1)?);
    let barrier = rounds.0.clone();
    let pool = builder(method).shared(rounds).build()?;
    let mut started = Tokens::new();
    let waits = wait_at::apply_async(&pool, &started.path());
    started.take(1);
    assert_eq!(barrier.wait_timeout(Duration::from_millis(50)), Err(BarrierError::TimedOut));
    assert_eq!(waits.get_timeout(LONG)?, Err(BarrierError::Broken));
    assert_eq!(barrier.wait(), Err(BarrierError::Broken));
    barrier.reset();
    // A reset ends the waits that have begun.
    let waits = wait_at::apply_async(&pool, &started.path());
    started.take(1);
    thread::sleep(Duration::from_millis(50));
    barrier.reset();
    assert_eq!(waits.get_timeout(LONG)?, Err(BarrierError::Broken));
    Ok(())
}

fn of_nobody(_: StartMethod) -> Result<(), Error> {
    assert_fails!(SharedBarrier::new(0), Error::Option { option: "parties", .. });
    assert_fails!(SharedSemaphore::new(0), Error::Option { option: "permits", .. });
    Ok(())
}

#[worker_task]
fn take_in_time(#[shared] semaphore: &SharedSemaphore, started: &str) -> bool {
    put_token(started);
    semaphore.acquire_timeout(LONG).is_some()
}

fn permit_waited_for(method: StartMethod) -> Result<(), Error> {
    let semaphore = SharedSemaphore::new(1)?;
    let pool = builder(method).shared(semaphore.clone()).build()?;
    let mut started = Tokens::new();
    let permit = semaphore.acquire();
    let waits = take_in_time::apply_async(&pool, &started.path());
    started.take(1);
    thread::sleep(Duration::from_millis(50));
    drop(permit);
    assert!(waits.get_timeout(LONG)?);
    Ok(())
}

#[worker_task]
fn refusals(#[shared] semaphore: &SharedSemaphore, times: usize) -> usize {
    (0..times).filter(|_| semaphore.try_acquire().is_none()).count()
}

/// If there is a permit for each, nobody is refused, however many ask at once.
fn permit_for_each(method: StartMethod) -> Result<(), Error> {
    let semaphore = SharedSemaphore::new(2)?;
    let pool = builder(method).order_tasks(true).shared(semaphore).build()?;
    assert_eq!(refusals::job(&pool).chunk_size(1).map([20_000; 2])?, [0, 0]);
    Ok(())
}

/// The waiters notice a death by themselves.
fn waiters_notice_a_death(method: StartMethod) -> Result<(), Error> {
    let rounds: Rounds = (SharedBarrier::new(3)?, SharedArray::zeroed(1)?);
    let pid = rounds.1.clone();
    let pool = builder(method).shared(rounds).build()?;
    let mut started = Tokens::new();
    let killed = wait_to_be_killed::apply_async(&pool, &started.path());
    let other = wait_at::apply_async(&pool, &started.path());
    started.take(2);
    thread::sleep(Duration::from_millis(200));
    kill(Pid::from_raw(pid.get(0)), Signal::SIGKILL).unwrap();
    task_error(killed.get());
    assert_eq!(other.get_timeout(LONG)?, Err(BarrierError::Broken));
    Ok(())
}

/// The last one to arrive at a barrier notices that another one has died there.
fn last_comer_notices_a_death(method: StartMethod) -> Result<(), Error> {
    let rounds: Rounds = (SharedBarrier::new(2)?, SharedArray::zeroed(1)?);
    let (barrier, pid) = rounds.clone();
    let pool = builder(method).shared(rounds).build()?;
    let mut started = Tokens::new();
    let killed = wait_to_be_killed::apply_async(&pool, &started.path());
    started.take(1);
    thread::sleep(Duration::from_millis(200));
    kill(Pid::from_raw(pid.get(0)), Signal::SIGKILL).unwrap();
    task_error(killed.get());
    assert_eq!(barrier.wait_timeout(LONG), Err(BarrierError::Broken));
    Ok(())
}
