//! A deadline ends a call, whatever its tasks do, and what is done is kept.

use std::time::{Duration, Instant};

use pool::shared::SharedArray;
use pool::{Error, StartMethod, TaskError, TaskErrorKind, worker_task};

use crate::harness::cases;
use crate::support::{Tokens, assert_usable, pool, ready, take_all_tokens, wait_for_token};

cases! {
    All: of_each_call, outcomes_are_kept, each_item_has_one, results_are_kept, of_an_asynchronous_call,
         too_late, in_time, while_nobody_asks, of_a_pool_that_starts;
    Processes: in_place;
}

/// Waits for a token that never comes, if it is to.
#[worker_task]
fn step(value: u64, waits: bool, started: &str, go_on: &str) -> u64 {
    if waits { wait_for_token(started, go_on, value) } else { value }
}

#[worker_task]
fn add(one: u64, other: u64) -> u64 {
    one + other
}

/// Where tasks wait, and no token comes before this is dropped: then threads go on.
struct Gate {
    started: Tokens,
    go_on: Tokens,
}

impl Gate {
    fn new() -> Self {
        Self { started: Tokens::new(), go_on: Tokens::new() }
    }

    /// Lets threads end that were left.
    fn open(&mut self) {
        self.go_on.put(100);
    }
}

/// Long enough for what is quick, even on a busy machine, in the end.
const LIMITS: [Duration; 4] =
    [Duration::from_millis(300), Duration::from_secs(1), Duration::from_secs(5), Duration::from_secs(20)];

fn is_cancelled(error: &TaskError) -> bool {
    matches!(error.kind(), TaskErrorKind::Cancelled)
}

fn of_each_call(method: StartMethod) -> Result<(), Error> {
    let (pool, mut gate) = (ready(method)?, Gate::new());
    let (started, go_on) = (gate.started.path(), gate.go_on.path());
    let items = || (0..6).map(|value| (value, value % 2 == 1, &*started, &*go_on));
    let job = || step::job(&pool).deadline(LIMITS[0]);
    let mut slots = [0; 6];
    let errors = [
        job().map(items()).map(drop),
        job().map_unordered(items()).map(drop),
        job().map_into(items(), &mut slots).map(drop),
        job().apply((7, true, &started, &go_on)).map(drop),
        job().reduce::<add>(items()).map(drop),
        job().map_async(items()).get().map(drop),
    ];
    gate.open();
    for (call, error) in errors.into_iter().enumerate() {
        assert!(matches!(error, Err(Error::DeadlineExceeded)), "call {call}: {error:?}");
    }
    assert_usable(&pool);
    Ok(())
}

fn outcomes_are_kept(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let all_quick_are_done = LIMITS.into_iter().any(|limit| {
        let mut gate = Gate::new();
        let (started, go_on) = (gate.started.path(), gate.go_on.path());
        let items = (0..20).map(|value| (value, value >= 8, &*started, &*go_on));
        let outcomes = step::job(&pool).chunk_size(1).deadline(limit).map_outcomes(items).unwrap();
        gate.open();
        assert_usable(&pool);
        assert_eq!(outcomes.len(), 20);
        for (index, outcome) in outcomes.iter().enumerate() {
            match outcome {
                Ok(value) => assert_eq!((*value, index < 8), (index as u64, true)),
                Err(error) => assert!(is_cancelled(error) && error.task_index() == index, "{error}"),
            }
        }
        outcomes[..8].iter().all(Result::is_ok)
    });
    assert!(all_quick_are_done);
    Ok(())
}

/// Also those that were not pulled from the input.
fn each_item_has_one(method: StartMethod) -> Result<(), Error> {
    const ITEMS: u64 = 100_000;
    let (pool, mut gate) = (ready(method)?, Gate::new());
    let (started, go_on) = (gate.started.path(), gate.go_on.path());
    let items = (0..ITEMS).map(|value| (value, true, &*started, &*go_on));
    let outcomes = step::job(&pool).chunk_size(1).deadline(LIMITS[0]).map_outcomes(items)?;
    gate.open();
    assert_eq!(outcomes.len() as u64, ITEMS);
    let index = |outcome: &Result<u64, TaskError>| outcome.as_ref().unwrap_err().task_index();
    assert!(outcomes.iter().map(index).eq(0..outcomes.len()));
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(is_cancelled)));
    assert_usable(&pool);
    Ok(())
}

/// Also those that come after one that is missing.
fn results_are_kept(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let all_quick_are_done = LIMITS.into_iter().any(|limit| {
        let mut gate = Gate::new();
        let (started, go_on) = (gate.started.path(), gate.go_on.path());
        let items = (0..6).map(|value| (value, value == 0, &*started, &*go_on));
        let mut ordered = step::job(&pool).chunk_size(1).deadline(limit).imap(items);
        let mut results: Vec<_> = ordered.by_ref().collect();
        gate.open();
        assert_usable(&pool);
        assert!(ordered.next().is_none());
        assert!(matches!(results.pop(), Some(Err(Error::DeadlineExceeded))));
        for (index, result) in results.iter().enumerate() {
            match result {
                Ok(value) => assert_eq!((*value, index > 0), (index as u64, true)),
                Err(error) => assert!(error.task().is_some_and(is_cancelled), "{error}"),
            }
        }
        results.len() == 6 && results[1..].iter().all(Result::is_ok)
    });
    assert!(all_quick_are_done);
    Ok(())
}

fn of_an_asynchronous_call(method: StartMethod) -> Result<(), Error> {
    let (pool, mut gate) = (ready(method)?, Gate::new());
    let (started, go_on) = (gate.started.path(), gate.go_on.path());
    let item = |value, waits| (value, waits, &*started, &*go_on);
    let late = step::job(&pool).deadline(LIMITS[0]).apply_async(item(1, true));
    // Calls like it, which have no deadline, are not open together with it.
    let others: Vec<_> = (0..20).map(|value| step::apply_async(&pool, item(value, false))).collect();
    assert!(matches!(late.get(), Err(Error::DeadlineExceeded)));
    gate.open();
    for (value, other) in (0..).zip(others) {
        assert_eq!(other.get()?, value);
    }
    Ok(())
}

fn too_late(method: StartMethod) -> Result<(), Error> {
    let (pool, mut gate) = (ready(method)?, Gate::new());
    let (started, go_on) = (gate.started.path(), gate.go_on.path());
    let items = || [(1, true, &*started, &*go_on)];
    for until in [Instant::now(), Instant::now() - Duration::from_secs(1)] {
        let job = || step::job(&pool).deadline(until);
        assert!(matches!(job().map(items()), Err(Error::DeadlineExceeded)));
        assert!(matches!(job().apply_async(items()[0]).get(), Err(Error::DeadlineExceeded)));
        assert!(job().map_outcomes(items())?.iter().all(|outcome| outcome.as_ref().is_err_and(is_cancelled)));
        assert!(matches!(job().imap(items()).last(), Some(Err(Error::DeadlineExceeded))));
    }
    gate.open();
    assert_usable(&pool);
    assert_eq!(take_all_tokens(&started), 0, "a task has begun");
    Ok(())
}

fn in_time(method: StartMethod) -> Result<(), Error> {
    let (pool, gate) = (pool(method)?, Gate::new());
    let (started, go_on) = (gate.started.path(), gate.go_on.path());
    let items = || (0..100).map(|value| (value, false, &*started, &*go_on));
    for limit in [Duration::from_secs(3600), Duration::MAX] {
        let job = || step::job(&pool).deadline(limit);
        assert_eq!(job().map(items())?, (0..100).collect::<Vec<_>>());
        assert_eq!(job().imap(items()).collect::<Result<Vec<_>, _>>()?.len(), 100);
        assert_eq!(job().reduce::<add>(items())?, Some(4950));
    }
    let at = Instant::now() + Duration::from_secs(3600);
    assert_eq!(step::job(&pool).deadline(at).map_outcomes(items())?.len(), 100);
    Ok(())
}

/// The call ends although its caller does something else.
fn while_nobody_asks(method: StartMethod) -> Result<(), Error> {
    let (pool, mut gate) = (ready(method)?, Gate::new());
    let (started, go_on) = (gate.started.path(), gate.go_on.path());
    let mut results = step::job(&pool).deadline(LIMITS[0]).imap([(1, true, &*started, &*go_on)]);
    gate.started.take(1);
    // The task's worker is killed, or was let go, although nobody asks for the result.
    match method {
        StartMethod::Threads => gate.open(),
        _ => {
            assert_eq!(
                step::job(&pool).map((0..4).map(|value| (value, false, &*started, &*go_on)))?.len(),
                4
            );
        }
    }
    assert!(results.by_ref().any(|result| matches!(result, Err(Error::DeadlineExceeded) | Ok(1))));
    drop(results);
    assert_usable(&pool);
    Ok(())
}

/// A deadline that comes while the workers are being started.
fn of_a_pool_that_starts(method: StartMethod) -> Result<(), Error> {
    let (pool, mut gate) = (pool(method)?, Gate::new());
    let (started, go_on) = (gate.started.path(), gate.go_on.path());
    let item = (1, true, &*started, &*go_on);
    let over = step::job(&pool).deadline(Duration::from_micros(100)).apply(item);
    gate.open();
    assert!(matches!(over, Err(Error::DeadlineExceeded)), "{over:?}");
    assert_usable(&pool);
    Ok(())
}

#[worker_task]
fn negate(#[chunk] numbers: &mut [i64]) {
    if numbers[0] == 1 {
        std::thread::sleep(Duration::from_secs(1000));
    }
    numbers.iter_mut().for_each(|number| *number = -*number);
}

fn in_place(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let mut numbers = SharedArray::from_slice(&[1, 1, 3, 3])?;
    let over = negate::job(&pool).deadline(LIMITS[0]).chunks_mut(&mut numbers, 2);
    assert!(matches!(over, Err(Error::DeadlineExceeded)), "{over:?}");
    numbers.copy_from_slice(&[1, 1, 3, 3]);
    let outcomes = negate::job(&pool).deadline(LIMITS[0]).chunks_mut_outcomes(&mut numbers, 2)?;
    assert!(outcomes[0].as_ref().is_err_and(is_cancelled));
    assert_eq!(outcomes[0].as_ref().unwrap_err().torn(), Some(0..2));
    assert_eq!(numbers.as_slice()?[..2], [1, 1]);
    assert_usable(&pool);
    Ok(())
}
