//! Asynchronous calls that follow each other so closely that the pool carries them out together. Each still has its own
//! result.

use std::collections::HashSet;
use std::sync::mpsc::channel;
use std::time::Duration;

use nix::sys::signal::Signal;
use pool::{Error, StartMethod, TaskErrorKind, WorkerPool, worker_init, worker_task};

use crate::harness::cases;
use crate::support::{
    Tokens, assert_fails, assert_usable, builder, die, panic_message, pool, ready, square, task_error,
    wait_for_token,
};

cases! {
    All: each_has_its_own_result, each_fails_alone, each_is_cancelled_alone, those_that_wait_are_cancelled,
         all_are_cancelled, idle, joined, dropped, results_of_any_size, options_differ, init_fails, seeds_differ,
         fresh_workers, in_order;
    Processes: each_dies_alone, a_cancelled_one_is_ended, time_limits;
}

/// Enough calls to be gathered, more than are sent at once, over many turns.
const MANY: u64 = 3000;

fn each_has_its_own_result(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for _ in 0..3 {
        let results: Vec<_> = (0..MANY).map(|x| square::apply_async(&pool, x)).collect();
        for (x, result) in results.iter().enumerate().rev() {
            assert_eq!(result.get()?, square(x as u64));
        }
    }
    Ok(())
}

#[worker_task]
fn fails_if_odd(x: u64) -> u64 {
    if !x.is_multiple_of(2) {
        // A panic, without its message on stderr.
        std::panic::resume_unwind(Box::new(format!("{x} is odd")));
    }
    x
}

fn each_fails_alone(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let results: Vec<_> = (0..200).map(|x| fails_if_odd::apply_async(&pool, x)).collect();
    for (x, result) in results.iter().enumerate() {
        if x % 2 == 0 {
            assert_eq!(result.get()?, x as u64);
        } else {
            let error = task_error(result.get());
            assert_eq!((error.task_index(), panic_message(&error)), (0, &*format!("{x} is odd")));
        }
    }
    Ok(())
}

fn each_is_cancelled_alone(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let results: Vec<_> = (0..MANY)
        .map(|x| {
            let result = square::apply_async(&pool, x);
            if x % 3 == 0 {
                result.cancel();
            }
            result
        })
        .collect();
    for (x, result) in results.iter().enumerate() {
        match result.get() {
            Ok(value) => assert_eq!(value, square(x as u64)),
            // The others were done before they could be cancelled.
            Err(Error::Cancelled) if x % 3 == 0 => {}
            other => panic!("{x}: {other:?}"),
        }
    }
    Ok(())
}

fn those_that_wait_are_cancelled(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let (mut started, mut go_on, mut ran) = (Tokens::new(), Tokens::new(), Tokens::new());
    let (started_path, go_on_path, ran_path) = (started.path(), go_on.path(), ran.path());
    let busy: Vec<_> =
        (0..2).map(|x| wait_for_token::apply_async(&pool, (&*started_path, &*go_on_path, x))).collect();
    started.take(2);
    ran.put(1000);
    let waiting: Vec<_> =
        (0..1000).map(|x| wait_for_token::apply_async(&pool, (&*ran_path, &*ran_path, x))).collect();
    for (x, result) in waiting.iter().enumerate() {
        if x % 100 != 7 {
            result.cancel();
            assert_fails!(result.get(), Error::Cancelled);
        }
    }
    go_on.put(2);
    for (x, result) in waiting.iter().enumerate() {
        if x % 100 == 7 {
            assert_eq!(result.get()?, x as u64);
        }
    }
    assert!(busy.iter().all(|result| result.get().is_ok()));
    pool.wait_idle()?;
    // Each task that runs puts one token and takes one. Workers had begun only a few of the cancelled tasks.
    ran.take(1000);
    Ok(())
}

fn all_are_cancelled(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let results: Vec<_> =
        (0..500).map(|x| wait_for_token::apply_async(&pool, (&*started_path, &*go_on_path, x))).collect();
    // This cancels the last calls, too, although they are not open yet.
    pool.cancel_handle().cancel();
    for result in &results {
        assert_fails!(result.get(), Error::Cancelled);
    }
    // Threads can't be killed, so let the tasks end that have begun.
    go_on.put(500);
    drop(started.path());
    started.put(1);
    assert_usable(&pool);
    Ok(())
}

fn idle(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    for _ in 0..20 {
        let results: Vec<_> = (0..200).map(|x| square::apply_async(&pool, x)).collect();
        pool.wait_idle()?;
        assert!(results.iter().all(|result| result.ready()));
    }
    Ok(())
}

fn joined(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let results: Vec<_> = (0..MANY).map(|x| square::apply_async(&pool, x)).collect();
    pool.join()?;
    for (x, result) in results.iter().enumerate() {
        assert_eq!(result.get()?, square(x as u64));
    }
    Ok(())
}

fn dropped(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let (tell, told) = channel();
    let results: Vec<_> = (0..MANY)
        .map(|x| {
            let (good, bad) = (tell.clone(), tell.clone());
            let result = square::apply_async(&pool, x).on_success(move |_| good.send(()).unwrap());
            result.on_error(move |_| bad.send(()).unwrap())
        })
        .collect();
    drop((pool, tell));
    for (x, result) in results.iter().enumerate() {
        match result.get() {
            Ok(value) => assert_eq!(value, square(x as u64)),
            Err(Error::Closed) => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(told.iter().count() as u64, MANY, "each is told once");
    Ok(())
}

#[worker_task]
fn long(bytes: usize) -> Vec<u8> {
    vec![7; bytes]
}

#[worker_task]
fn nothing(_x: u64) {}

fn results_of_any_size(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let nothings: Vec<_> = (0..100).map(|x| nothing::apply_async(&pool, x)).collect();
    let sizes = [0, 1, 7, 100, 1000, 100_000, 3_000_000];
    let longs: Vec<_> =
        sizes.iter().cycle().take(35).map(|bytes| (*bytes, long::apply_async(&pool, *bytes))).collect();
    nothings.iter().try_for_each(|result| result.get())?;
    for (bytes, result) in &longs {
        assert!(result.get()? == vec![7; *bytes]);
    }
    let arguments: Vec<_> = (0..20).map(|x| vec![x; 200_000 * usize::from(x % 2)]).collect();
    let sums: Vec<_> = arguments.iter().map(|bytes| sum::apply_async(&pool, bytes)).collect();
    for (bytes, result) in arguments.iter().zip(&sums) {
        assert_eq!(result.get()?, sum(bytes));
    }
    Ok(())
}

#[worker_task]
fn sum(bytes: &[u8]) -> u64 {
    bytes.iter().map(|byte| u64::from(*byte)).sum()
}

fn options_differ(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let results: Vec<_> = (0..300)
        .map(|x| {
            let job = square::job(&pool);
            (x, if x % 3 == 0 { job.worker_lifespan(50) } else { job.retries(2) }.apply_async(x))
        })
        .collect();
    for (x, result) in &results {
        assert_eq!(result.get()?, square(*x));
    }
    Ok(())
}

#[worker_init]
fn never() -> u64 {
    panic!("no state")
}

#[worker_task(init = never)]
fn with_state(#[state] state: &mut u64, x: u64) -> u64 {
    *state + x
}

fn init_fails(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let results: Vec<_> = (0..50).map(|x| with_state::apply_async(&pool, x)).collect();
    for result in &results {
        assert!(matches!(task_error(result.get()).kind(), TaskErrorKind::Init(_)));
    }
    assert_eq!(square::apply_async(&pool, 3).get()?, 9);
    Ok(())
}

#[worker_task]
fn seed() -> u64 {
    pool::task_seed()
}

fn seeds_differ(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let seeds: Vec<_> = (0..500).map(|_| seed::apply_async(&pool, ())).collect();
    let seeds: HashSet<u64> = seeds.iter().map(|seed| seed.get()).collect::<Result<_, _>>()?;
    assert_eq!(seeds.len(), 500);
    let given: Vec<_> = (0..50).map(|_| seed::job(&pool).seed(7).apply_async(())).collect();
    let given: HashSet<u64> = given.iter().map(|seed| seed.get()).collect::<Result<_, _>>()?;
    assert_eq!(given.len(), 1, "a call with a seed has the seed of its first task");
    Ok(())
}

fn fresh_workers(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).keep_alive(false).build()?;
    for _ in 0..3 {
        let results: Vec<_> = (0..100).map(|x| square::apply_async(&pool, x)).collect();
        for (x, result) in results.iter().enumerate() {
            assert_eq!(result.get()?, square(x as u64));
        }
    }
    Ok(())
}

#[worker_task]
fn whoami(#[worker_id] id: usize, _x: u64) -> usize {
    id
}

fn in_order(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).order_tasks(true).build()?;
    let results: Vec<_> = (0..100).map(|x| whoami::apply_async(&pool, x)).collect();
    for result in &results {
        assert_eq!(result.get()?, 0, "each call begins at the first worker");
    }
    Ok(())
}

#[worker_task]
fn dies_at_seven(x: u64) -> u64 {
    if x % 10 == 7 {
        die(Signal::SIGKILL)
    }
    x
}

fn each_dies_alone(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let results: Vec<_> = (0..50).map(|x| dies_at_seven::apply_async(&pool, x)).collect();
    for (x, result) in results.iter().enumerate() {
        if x % 10 == 7 {
            let error = task_error(result.get());
            assert!(error.task_index() == 0 && matches!(error.kind(), TaskErrorKind::Died(_)));
        } else {
            assert_eq!(result.get()?, x as u64);
        }
    }
    Ok(())
}

fn a_cancelled_one_is_ended(method: StartMethod) -> Result<(), Error> {
    let pool = WorkerPool::builder().start_method(method).workers(2).build()?;
    assert_usable(&pool);
    let (mut started, never) = (Tokens::new(), Tokens::new());
    let (started_path, never_path) = (started.path(), never.path());
    let call = |x| wait_for_token::apply_async(&pool, (&*started_path, &*never_path, x));
    let results: Vec<_> = (0..10).map(call).collect();
    started.take(2);
    let after: Vec<_> = (0..10).map(|x| square::apply_async(&pool, x)).collect();
    // Otherwise both workers would be busy for ever.
    results.iter().for_each(|result| result.cancel());
    for (x, result) in after.iter().enumerate() {
        assert_eq!(result.get()?, square(x as u64));
    }
    pool.join().map(|_| ())
}

fn time_limits(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let (mut started, never) = (Tokens::new(), Tokens::new());
    let (started_path, never_path) = (started.path(), never.path());
    let limit = Duration::from_millis(50);
    let results: Vec<_> = (0..4)
        .map(|x| {
            let job = wait_for_token::job(&pool).task_timeout(limit);
            job.apply_async((&*started_path, &*never_path, x))
        })
        .collect();
    started.take(4);
    for result in &results {
        assert!(matches!(task_error(result.get()).kind(), TaskErrorKind::TimedOut(told) if *told == limit));
    }
    Ok(())
}
