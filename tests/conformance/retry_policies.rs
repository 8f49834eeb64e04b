//! Tasks that fail are tried again as their call says: how often, when, and which of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::scope;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::executor::block_on;
use nix::sys::signal::Signal;
use pool::shared::{SharedArray, SharedCounter};
use pool::{Error, Retry, StartMethod, TaskError, TaskErrorKind, WorkerPool, worker_task};
use serde::{Deserialize, Serialize};

use super::codecs::CODECS;
use crate::harness::cases;
use crate::support::{
    Tokens, assert_fails, assert_usable, builder, die, pool, put_token, sorted, square, take_all_tokens,
    task_error,
};

cases! {
    All: every_call, no_more_often_than_said, only_what_is_wanted, gathered_calls, gathered_calls_with_delays,
        on_each_worker, in_place, reduced, all_codecs_and_sizes, delays_are_kept, waiting_blocks_nobody,
        a_wait_ends_with_its_call, a_wait_ends_with_the_pool, one_of_many_is_cancelled, bounded_and_in_order,
        wrong_delays;
    Processes: deaths_and_time_limits, while_nobody_asks, each_worker_dies;
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) enum Fault {
    Panics,
    Returns,
    Dies,
    Hangs,
}
use Fault::{Dies, Hangs, Panics, Returns};

/// How often tasks were tried, by their number.
pub(super) type Tries = Vec<SharedCounter>;

fn tries(tasks: usize) -> Result<Tries, Error> {
    (0..tasks).map(|_| SharedCounter::new(0)).collect()
}

/// A task that fails like this, so many times.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Step {
    number: usize,
    fault: Fault,
    times: u64,
}

pub(super) fn step(number: usize, fault: Fault, times: u64) -> Step {
    Step { number, fault, times }
}

fn fail(tries: &Tries, Step { number, fault, times }: Step) -> Result<u64, String> {
    let tried = tries[number].fetch_add(1);
    if tried >= times {
        return Ok(10 * number as u64 + tried);
    }
    match fault {
        // A panic, without its message on stderr.
        Panics => std::panic::resume_unwind(Box::new(format!("{number} panics"))),
        Returns => Err(format!("{number} fails")),
        Dies => die(Signal::SIGKILL),
        Hangs => loop {
            std::thread::park();
        },
    }
}

#[worker_task(fallible)]
pub(super) fn attempt(#[shared] tries: &Tries, step: Step) -> Result<u64, String> {
    fail(tries, step)
}

#[worker_task(fallible)]
fn attempt_with(#[shared] tries: &Tries, step: Step, bytes: &[u8]) -> Result<(u64, usize), String> {
    Ok((fail(tries, step)?, bytes.iter().map(|byte| usize::from(*byte)).sum::<usize>()))
}

#[worker_task]
fn add(one: u64, other: u64) -> u64 {
    one + other
}

/// A pool on which tasks of these numbers can be tried.
pub(super) fn pool_of(method: StartMethod, tasks: usize) -> Result<WorkerPool<Tries>, Error> {
    builder(method).shared(tries(tasks)?).build()
}

fn any() -> impl Fn(&TaskError) -> bool + Send + Sync + 'static {
    |_| true
}

const MS: Duration = Duration::from_millis(1);
const HOUR: Duration = Duration::from_secs(3600);
/// Long enough for a time limit on a busy machine, and not too long to wait for.
pub(super) const LIMIT: Duration = Duration::from_millis(300);

/// The tasks fail once, or not at all.
fn steps(first: usize, faults: [Fault; 2]) -> impl Iterator<Item = Step> + Clone {
    (0..8).map(move |place| step(first + place, faults[place % 2], u64::from(place % 3 == 0)))
}

/// What those steps give that fail once.
fn results(first: usize) -> Vec<u64> {
    (0..8).map(|place| 10 * (first + place) as u64 + u64::from(place % 3 == 0)).collect()
}

fn every_call(method: StartMethod) -> Result<(), Error> {
    let pool = pool_of(method, 600)?;
    let retry = || Retry::times(1).on(any());
    let mut first = 0;
    for chunk in [1, 3, 8] {
        for delay in [Duration::ZERO, 2 * MS] {
            let job = || attempt::job(&pool).chunk_size(chunk).retry(retry().delay(delay, delay));
            let mut next = || {
                first += 8;
                (steps(first - 8, [Panics, Returns]), results(first - 8))
            };
            let (steps, results) = next();
            assert_eq!(job().map(steps)?, results);
            let (steps, results) = next();
            assert_eq!(sorted(job().map_unordered(steps)?), results);
            let (steps, results) = next();
            let mut slots = vec![0; 8];
            job().map_into(steps, &mut slots)?;
            assert_eq!(slots, results);
            let (steps, results) = next();
            assert_eq!(
                job().map_outcomes(steps)?.into_iter().collect::<Result<Vec<_>, _>>().unwrap(),
                results
            );
            let (steps, results) = next();
            assert_eq!(job().imap(steps).collect::<Result<Vec<_>, _>>()?, results);
            let (steps, results) = next();
            assert_eq!(sorted(job().imap_unordered(steps).collect::<Result<Vec<_>, _>>()?), results);
            let (steps, results) = next();
            assert_eq!(job().map_async(steps).get()?, results);
            let (mut steps, results) = next();
            assert_eq!(job().apply(steps.next().unwrap())?, results[0]);
            let (mut steps, results) = next();
            assert_eq!(job().apply_async(steps.next().unwrap()).get()?, results[0]);
            if method != StartMethod::Fork || delay.is_zero() {
                let (steps, results) = next();
                let stream = block_on(job().stream(steps).collect::<Vec<_>>());
                assert_eq!(stream.into_iter().collect::<Result<Vec<_>, _>>()?, results);
            }
        }
    }
    Ok(())
}

fn no_more_often_than_said(method: StartMethod) -> Result<(), Error> {
    for times in [0, 1, 3] {
        let pool = pool_of(method, 6)?;
        let items = (0..6).map(|number| step(number, [Panics, Returns][number % 2], 2 * number as u64));
        let outcomes = attempt::job(&pool).retry(Retry::times(times).on(any())).map_outcomes(items)?;
        for (number, outcome) in outcomes.into_iter().enumerate() {
            if number as u32 * 2 <= times {
                assert_eq!(outcome.unwrap(), 12 * number as u64);
                continue;
            }
            let error = outcome.unwrap_err();
            let earlier = error.earlier_attempts().len() as u32;
            assert_eq!(
                (error.attempts(), earlier, error.task_index()),
                (times + 1, times, number),
                "{error}"
            );
            assert!(
                error.argument().is_some_and(|step| step.contains(&format!("number: {number}"))),
                "{error}"
            );
        }
    }
    Ok(())
}

fn only_what_is_wanted(method: StartMethod) -> Result<(), Error> {
    let pool = pool_of(method, 20)?;
    let is_panic = |error: &TaskError| matches!(error.kind(), TaskErrorKind::Panicked(_));
    let mut number = 0;
    let mut try_one = |retry: Retry, fault| {
        number += 1;
        attempt::job(&pool)
            .retry(retry)
            .apply(step(number, fault, 2))
            .map_err(|error| error.task().unwrap().attempts())
    };
    // Nothing that it reports itself, unless that is wanted.
    assert_eq!([Panics, Returns].map(|fault| try_one(Retry::times(5), fault)), [Err(1), Err(1)]);
    assert_eq!(try_one(Retry::times(5).on(is_panic), Panics), Ok(32));
    assert_eq!(try_one(Retry::times(5).on(is_panic), Returns), Err(1));
    assert_eq!(try_one(Retry::times(5).on(move |error| !is_panic(error)), Returns), Ok(52));
    assert_eq!(try_one(Retry::times(5).on(|error| error.attempts() < 2), Panics), Err(2));
    // The last of both counts.
    let job = || attempt::job(&pool);
    assert_eq!(job().retries(0).retry(Retry::times(2).on(any())).apply(step(7, Panics, 2))?, 72);
    assert!(job().retry(Retry::times(2).on(any())).retries(2).apply(step(8, Panics, 2)).is_err());
    Ok(())
}

fn gathered_calls(method: StartMethod) -> Result<(), Error> {
    gathered(method, Duration::ZERO)
}

fn gathered_calls_with_delays(method: StartMethod) -> Result<(), Error> {
    gathered(method, 5 * MS)
}

fn gathered(method: StartMethod, delay: Duration) -> Result<(), Error> {
    let pool = pool_of(method, 300)?;
    let wrong = Arc::new(AtomicBool::new(false));
    let retry = {
        let wrong = Arc::clone(&wrong);
        Retry::times(1).delay(delay, delay).jitter().on(move |error| {
            wrong.fetch_or(error.task_index() != 0, Ordering::Relaxed);
            true
        })
    };
    let submit = |number| {
        let fault = [Panics, Returns][number % 2];
        attempt::job(&pool).retry(retry.clone()).apply_async(step(number, fault, number as u64 % 3))
    };
    let calls: Vec<_> = (0..300).map(submit).collect();
    for (number, call) in calls.into_iter().enumerate() {
        match call.get() {
            Ok(value) => assert_eq!(value, 10 * number as u64 + number as u64 % 3),
            Err(Error::Task(error)) => {
                assert_eq!((number % 3, error.attempts(), error.task_index()), (2, 2, 0), "{error}");
            }
            Err(error) => panic!("{error}"),
        }
    }
    assert!(!wrong.load(Ordering::Relaxed), "each is the first of its call");
    Ok(())
}

fn on_each_worker(method: StartMethod) -> Result<(), Error> {
    #[worker_task]
    fn odd_one_out(#[shared] tries: &Tries, #[worker_id] id: usize) -> u64 {
        let tried = tries[id].fetch_add(1);
        assert!(tried > 0 || id != 1, "worker 1 fails once");
        tried
    }
    let pool = pool_of(method, 2)?;
    let retry = Retry::times(1).delay(MS, MS).on(any());
    let outcomes = odd_one_out::job(&pool).retry(retry).on_each_worker(())?;
    assert_eq!(outcomes.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 1]);
    Ok(())
}

fn each_worker_dies(method: StartMethod) -> Result<(), Error> {
    #[worker_task]
    fn dies_twice(#[shared] tries: &Tries, #[worker_id] id: usize) -> u64 {
        let tried = tries[id].fetch_add(1);
        if tried < 2 { die(Signal::SIGKILL) } else { tried }
    }
    for retry in [Retry::times(2), Retry::times(2).delay(MS, 5 * MS), Retry::times(2).on(any())] {
        let outcomes = dies_twice::job(&pool_of(method, 2)?).retry(retry).on_each_worker(())?;
        assert_eq!(outcomes.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [2, 2]);
    }
    Ok(())
}

#[worker_task]
fn count_and_panic(#[chunk] rows: &mut [u32]) {
    rows[0] += 1;
    if rows[0] < 3 {
        std::panic::resume_unwind(Box::new("not yet"));
    }
}

/// Each attempt finds the chunk as the one before left it.
fn in_place(method: StartMethod) -> Result<(), Error> {
    let (pool, mut array) = (pool(method)?, SharedArray::<u32>::zeroed(4)?);
    let retry = || Retry::times(2).delay(MS, MS).on(any());
    count_and_panic::job(&pool).retry(retry()).chunks_mut(&mut array, 2)?;
    assert_eq!(array.to_vec(), [3, 0, 3, 0]);
    Ok(())
}

fn reduced(method: StartMethod) -> Result<(), Error> {
    for (chunk, delay) in [(1, Duration::ZERO), (20, Duration::ZERO), (20, 3 * MS)] {
        let pool = pool_of(method, 100)?;
        let items =
            (0..100).map(|number| step(number, [Panics, Returns][number % 2], u64::from(number % 7 == 0)));
        let retry = Retry::times(1).delay(delay, delay).on(any());
        let sum = attempt::job(&pool).chunk_size(chunk).retry(retry).reduce::<add>(items)?;
        // What was folded with a task that failed runs again, and counts once more here.
        let least = (0..100).map(|number| 10 * number + u64::from(number % 7 == 0)).sum::<u64>();
        assert!(sum.is_some_and(|sum| (least..least + 1000).contains(&sum)), "{sum:?}");
    }
    Ok(())
}

fn all_codecs_and_sizes(method: StartMethod) -> Result<(), Error> {
    for codec in CODECS {
        let pool = builder(method).codec(codec).shared(tries(6)?).build()?;
        let bytes: Vec<Vec<u8>> =
            [0, 7, 5000, 100_000, 3 << 20, 9 << 20].into_iter().map(|len| vec![3; len]).collect();
        let items = bytes
            .iter()
            .enumerate()
            .map(|(number, bytes)| (step(number, [Panics, Returns][number % 2], 2), &**bytes));
        let retry = Retry::times(2).delay(MS, MS).on(any());
        let came = attempt_with::job(&pool).retry(retry).map(items)?;
        for (number, (value, sum)) in came.into_iter().enumerate() {
            assert_eq!((value, sum), (10 * number as u64 + 2, 3 * bytes[number].len()), "{codec:?}");
        }
    }
    Ok(())
}

/// Each of them, and they grow. Only least times are known.
fn delays_are_kept(method: StartMethod) -> Result<(), Error> {
    let pool = pool_of(method, 3)?;
    let began = Instant::now();
    let retry = Retry::times(4).delay(10 * MS, 40 * MS).on(any());
    assert_eq!(attempt::job(&pool).retry(retry.clone()).apply(step(0, Panics, 4))?, 4);
    assert!(began.elapsed() >= (10 + 20 + 40 + 40) * MS);
    let began = Instant::now();
    assert_eq!(attempt::job(&pool).retry(retry.jitter()).apply_async(step(1, Returns, 4)).get()?, 14);
    assert!(began.elapsed() >= (10 + 20 + 40 + 40) * MS / 2);
    Ok(())
}

fn waiting_blocks_nobody(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).shared(tries(30)?).build()?;
    let retry = || Retry::times(1).delay(HOUR, HOUR).on(any());
    let items = (0..10).map(|number| step(number, Panics, u64::from(number == 3)));
    let mut results = attempt::job(&pool).chunk_size(4).retry(retry()).imap_unordered(items);
    let came: Vec<u64> = results.by_ref().take(9).collect::<Result<_, _>>()?;
    assert_eq!(sorted(came), [0, 10, 20, 40, 50, 60, 70, 80, 90]);
    // Nor other calls.
    assert_eq!(attempt::apply(&pool, step(20, Panics, 0))?, 200);
    assert_eq!(attempt::apply_async(&pool, step(21, Panics, 0)).get()?, 210);
    drop(results);
    assert_eq!(attempt::apply(&pool, step(22, Panics, 0))?, 220);
    pool.wait_idle()?;
    Ok(())
}

fn a_wait_ends_with_its_call(method: StartMethod) -> Result<(), Error> {
    let (pool, failed) = (pool_of(method, 100)?, Tokens::new());
    pool.warm_up::<attempt>()?;
    let retry = || {
        let failed = failed.path();
        Retry::times(1).delay(HOUR, HOUR).on(move |_| {
            put_token(&failed);
            true
        })
    };
    let wait_until_it_failed = || {
        while take_all_tokens(&failed.path()) == 0 {
            std::thread::yield_now();
        }
    };
    for round in 0..2 {
        let number = 10 * round;
        let job = attempt::job(&pool).retry(retry());
        let handle = job.cancel_handle();
        scope(|scope| {
            let call = scope.spawn(|| job.apply(step(number, Panics, 1)));
            wait_until_it_failed();
            handle.cancel();
            assert_fails!(call.join().unwrap(), Error::Cancelled);
        });
        let single = attempt::job(&pool).retry(retry()).apply_async(step(number + 1, Panics, 1));
        let many = attempt::job(&pool).retry(retry()).map_async([step(number + 2, Returns, 1)]);
        wait_until_it_failed();
        single.cancel();
        many.cancel();
        assert_fails!(single.get(), Error::Cancelled);
        assert_fails!(many.get(), Error::Cancelled);
        let in_time = attempt::job(&pool).retry(retry()).deadline(LIMIT);
        let outcomes =
            in_time.map_outcomes((3..6).map(|place| step(number + place, Panics, u64::from(place == 4))))?;
        assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
        assert!(matches!(outcomes[1].as_ref().unwrap_err().kind(), TaskErrorKind::Cancelled));
        take_all_tokens(&failed.path());
        assert_usable(&pool);
    }
    pool.wait_idle()?;
    Ok(())
}

fn a_wait_ends_with_the_pool(method: StartMethod) -> Result<(), Error> {
    for ends in [drop, |pool: WorkerPool<Tries>| pool.terminate()] {
        let pool = pool_of(method, 2)?;
        let retry = Retry::times(1).delay(HOUR, HOUR).on(any());
        let call = attempt::job(&pool).retry(retry.clone()).map_async([step(0, Panics, 1)]);
        let other = attempt::job(&pool).retry(retry).apply_async(step(1, Returns, 1));
        ends(pool);
        assert_fails!(call.get(), Error::Closed);
        assert_fails!(other.get(), Error::Closed);
    }
    Ok(())
}

fn one_of_many_is_cancelled(method: StartMethod) -> Result<(), Error> {
    let pool = pool_of(method, 100)?;
    let retry = Retry::times(1).delay(HOUR, HOUR).on(any());
    let submit = |number| {
        attempt::job(&pool).retry(retry.clone()).apply_async(step(
            number,
            Panics,
            u64::from(number % 10 == 0),
        ))
    };
    let calls: Vec<_> = (0..100).map(submit).collect();
    for (number, call) in calls.iter().enumerate().filter(|(number, _)| number % 10 != 0) {
        assert_eq!(call.get()?, 10 * number as u64);
    }
    for (_, call) in calls.iter().enumerate().filter(|(number, _)| number % 10 == 0) {
        assert!(!call.ready());
        call.cancel();
        assert_fails!(call.get(), Error::Cancelled);
    }
    // None of them is waited for.
    pool.join()?;
    Ok(())
}

/// The results that come first wait for one that is late, and with it fill all places.
fn bounded_and_in_order(method: StartMethod) -> Result<(), Error> {
    for most in 1..5 {
        let pool = pool_of(method, 40)?;
        let items = (0..40).map(|number| step(number, Panics, u64::from(number % 3 == 0)));
        let retry = Retry::times(1).delay(MS, MS).on(any());
        let results = attempt::job(&pool).max_tasks_active(most).retry(retry).imap(items);
        let expected = (0..40).map(|number| 10 * number + u64::from(number % 3 == 0)).collect::<Vec<_>>();
        assert_eq!(results.collect::<Result<Vec<_>, _>>()?, expected);
    }
    Ok(())
}

fn wrong_delays(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = || square::job(&pool).retry(Retry::times(1).delay(2 * MS, MS));
    assert_fails!(job().map([1]), Error::Option { option: "retry", .. });
    assert_fails!(job().map([1; 0]), Error::Option { option: "retry", .. });
    assert_fails!(job().apply_async(1).get(), Error::Option { option: "retry", .. });
    assert_fails!(job().imap([1]).next().unwrap(), Error::Option { option: "retry", .. });
    assert_fails!(job().on_each_worker(1), Error::Option { option: "retry", .. });
    for most in [MS, Duration::MAX] {
        let retry = Retry::times(u32::MAX).delay(MS, most).jitter().on(any());
        assert_eq!(square::job(&pool).retry(retry).map([2])?, [4]);
    }
    Ok(())
}

fn deaths_and_time_limits(method: StartMethod) -> Result<(), Error> {
    for retry in [Retry::times(1), Retry::times(1).delay(MS, MS), Retry::times(1).delay(MS, MS).on(any())] {
        for chunk in [1, 8] {
            let pool = pool_of(method, 30)?;
            let job = || attempt::job(&pool).chunk_size(chunk).task_timeout(LIMIT).retry(retry.clone());
            assert_eq!(job().map(steps(0, [Dies, Hangs]))?, results(0));
            assert_eq!(job().map_async(steps(8, [Hangs, Dies])).get()?, results(8));
            let error = task_error(job().apply(step(20, Dies, 2)));
            assert_eq!((error.attempts(), error.earlier_attempts().len()), (2, 1));
        }
    }
    Ok(())
}

/// A task is tried again after its delay although its caller does something else.
fn while_nobody_asks(method: StartMethod) -> Result<(), Error> {
    #[worker_task]
    fn dies_at_first(#[shared] tries: &Tries, ran: &str) {
        if tries[0].fetch_add(1) == 0 {
            die(Signal::SIGKILL);
        }
        put_token(ran);
    }
    let (pool, mut ran) = (pool_of(method, 1)?, Tokens::new());
    let path = ran.path();
    let retry = Retry::times(1).delay(50 * MS, 50 * MS);
    let mut results = dies_at_first::job(&pool).retry(retry).imap([&*path]);
    ran.take(1);
    assert!(matches!(results.next(), Some(Ok(()))));
    Ok(())
}
