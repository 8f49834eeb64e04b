//! A task, init or exit function that takes too long is ended from outside. Those that must time out wait for ever;
//! those that must not have more time than any trial.

use std::time::Duration;

use pool::{Error, StartMethod, TaskError, TaskErrorKind, worker_exit, worker_init, worker_task};

use crate::harness::cases;
use crate::support::{Tokens, assert_usable, builder, pool, square, squares, take_token, task_error};

cases! {
    Processes: below_the_limit, map_ends, imap_goes_on, outcomes_keep_the_others, apply_alone, odd_ones_time_out,
               busy_loop, init_below, init_above, exit_below, exit_above, exit_above_at_restart, retried,
               not_for_waiting_tasks;
}

pub(super) const SHORT: Duration = Duration::from_millis(50);
/// Longer than any trial takes.
const LONG: Duration = Duration::from_secs(50);

/// Waits forever if told to.
#[worker_task]
pub(super) fn hang_if(#[shared] never: &String, hangs: bool, x: u64) -> u64 {
    if hangs {
        take_token(never);
    }
    x
}

fn one_hangs(at: u64) -> impl Iterator<Item = (bool, u64)> {
    (0..20).map(move |x| (x == at, x))
}

#[track_caller]
fn assert_timed_out(error: &TaskError) {
    assert!(matches!(error.kind(), TaskErrorKind::TimedOut(limit) if *limit == SHORT), "{error}");
    assert!(error.to_string().contains("50ms"), "{error}");
}

fn below_the_limit(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = || square::job(&pool).task_timeout(LONG);
    assert_eq!(job().map(0..500)?, squares(500));
    assert_eq!(job().map_unordered(0..500)?.len(), 500);
    assert_eq!(job().imap(0..500).collect::<Result<Vec<_>, _>>()?, squares(500));
    assert_eq!(job().chunk_size(9).imap_unordered(0..500).count(), 500);
    assert_eq!(job().apply(3)?, 9);
    assert_eq!(job().apply_async(3).get()?, 9);
    Ok(())
}

fn map_ends(method: StartMethod) -> Result<(), Error> {
    let never = Tokens::new();
    let pool = builder(method).shared(never.path()).build()?;
    for chunk in [1, 20] {
        let job = || hang_if::job(&pool).task_timeout(SHORT).chunk_size(chunk);
        let error = task_error(job().map(one_hangs(7)));
        assert_eq!(error.task_index(), 7);
        assert_timed_out(&error);
        assert_usable(&pool);
        assert_timed_out(&task_error(job().map_unordered(one_hangs(7))));
        assert_usable(&pool);
    }
    Ok(())
}

fn imap_goes_on(method: StartMethod) -> Result<(), Error> {
    let never = Tokens::new();
    let pool = builder(method).shared(never.path()).build()?;
    for (index, result) in hang_if::job(&pool).task_timeout(SHORT).imap(one_hangs(7)).enumerate() {
        if index == 7 {
            assert_timed_out(&task_error(result));
        } else {
            assert_eq!(result?, index as u64);
        }
    }
    assert_usable(&pool);
    Ok(())
}

fn outcomes_keep_the_others(method: StartMethod) -> Result<(), Error> {
    let never = Tokens::new();
    let pool = builder(method).shared(never.path()).build()?;
    for chunk in [1, 20] {
        let outcomes =
            hang_if::job(&pool).task_timeout(SHORT).chunk_size(chunk).map_outcomes(one_hangs(7))?;
        for (index, outcome) in outcomes.iter().enumerate() {
            match outcome {
                Ok(value) => assert_eq!(*value, index as u64),
                Err(error) => {
                    assert_eq!(index, 7);
                    assert_timed_out(error);
                }
            }
        }
    }
    Ok(())
}

fn apply_alone(method: StartMethod) -> Result<(), Error> {
    let never = Tokens::new();
    let pool = builder(method).shared(never.path()).build()?;
    assert_timed_out(&task_error(hang_if::job(&pool).task_timeout(SHORT).apply((true, 1))));
    assert_eq!(hang_if::apply(&pool, (false, 1))?, 1);
    Ok(())
}

fn odd_ones_time_out(method: StartMethod) -> Result<(), Error> {
    let never = Tokens::new();
    let pool = builder(method).shared(never.path()).build()?;
    let job = |x| {
        let hangs = x % 2 == 1;
        // Tasks with even numbers have time enough on the slowest machine.
        let limit = if hangs { SHORT } else { LONG };
        hang_if::job(&pool).task_timeout(limit).apply_async((hangs, x))
    };
    let results: Vec<_> = (0..6).map(job).collect();
    for (x, result) in results.iter().enumerate() {
        if x % 2 == 1 {
            assert_timed_out(&task_error(result.get()));
        } else {
            assert_eq!(result.get()?, x as u64);
        }
    }
    Ok(())
}

#[worker_task]
fn spin() {
    loop {
        std::hint::spin_loop();
    }
}

fn busy_loop(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_timed_out(&task_error(spin::job(&pool).task_timeout(SHORT).apply(())));
    assert_usable(&pool);
    Ok(())
}

#[worker_init]
fn hanging_init(#[shared] never: &String) -> u64 {
    take_token(never);
    0
}

#[worker_init]
fn quick_init() -> u64 {
    5
}

#[worker_exit]
fn hanging_exit(#[shared] never: &String, #[state] state: u64) -> u64 {
    take_token(never);
    state
}

#[worker_exit]
fn quick_exit(#[state] state: u64) -> u64 {
    state
}

#[worker_task]
fn with_state(#[state] state: &mut u64, x: u64) -> u64 {
    *state += 1;
    x
}

fn init_below(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = || with_state::job(&pool).worker_init::<quick_init>().worker_init_timeout(LONG);
    assert_eq!(job().map(0..3)?, [0, 1, 2]);
    assert_eq!(job().imap(0..3).count(), 3);
    assert_eq!(job().apply(1)?, 1);
    Ok(())
}

fn init_above(method: StartMethod) -> Result<(), Error> {
    let never = Tokens::new();
    let pool = builder(method).shared(never.path()).build()?;
    let job = || with_state::job(&pool).worker_init::<hanging_init>().worker_init_timeout(SHORT);
    let check = |error: TaskError| {
        let TaskErrorKind::Init(cause) = error.kind() else { panic!("{error}") };
        assert!(matches!(**cause, TaskErrorKind::TimedOut(limit) if limit == SHORT), "{error}");
        assert_usable(&pool);
    };
    check(task_error(job().map(0..3)));
    check(task_error(job().imap(0..3).collect::<Result<Vec<_>, _>>()));
    check(task_error(job().apply(1)));
    check(task_error(job().apply_async(1).get()));
    Ok(())
}

fn exit_below(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    with_state::job(&pool).worker_exit::<quick_exit>().worker_exit_timeout(LONG).map(0..9)?;
    assert_eq!(pool.join()?.exit_results::<quick_exit>()?.iter().sum::<u64>(), 9);
    Ok(())
}

#[track_caller]
fn assert_exit_timed_out(error: &TaskError) {
    let TaskErrorKind::Exit(cause) = error.kind() else { panic!("{error}") };
    assert!(matches!(**cause, TaskErrorKind::TimedOut(limit) if limit == SHORT), "{error}");
}

fn exit_above(method: StartMethod) -> Result<(), Error> {
    let never = Tokens::new();
    let kept = builder(method).shared(never.path()).build()?;
    let results =
        with_state::job(&kept).worker_exit::<hanging_exit>().worker_exit_timeout(SHORT).map(0..3)?;
    assert_eq!(results, [0, 1, 2], "results that were there stay");
    assert_exit_timed_out(&task_error(kept.join()));
    let fresh = builder(method).shared(never.path()).keep_alive(false).build()?;
    let call = with_state::job(&fresh).worker_exit::<hanging_exit>().worker_exit_timeout(SHORT).map(0..3);
    assert_exit_timed_out(&task_error(call));
    assert_usable(&fresh);
    Ok(())
}

fn exit_above_at_restart(method: StartMethod) -> Result<(), Error> {
    let never = Tokens::new();
    let pool = builder(method).shared(never.path()).build()?;
    let job =
        with_state::job(&pool).worker_exit::<hanging_exit>().worker_exit_timeout(SHORT).worker_lifespan(2);
    assert_eq!(job.map(0..6)?, [0, 1, 2, 3, 4, 5]);
    assert_exit_timed_out(&task_error(pool.join()));
    Ok(())
}

fn retried(method: StartMethod) -> Result<(), Error> {
    let never = Tokens::new();
    let pool = builder(method).shared(never.path()).build()?;
    let error = task_error(hang_if::job(&pool).task_timeout(SHORT).retries(2).apply((true, 1)));
    assert_eq!(error.attempts(), 3);
    assert_timed_out(&error);
    // The only token lets one attempt through.
    let mut once = Tokens::new();
    once.put(1);
    let pool = builder(method).shared(once.path()).build()?;
    assert_eq!(hang_if::job(&pool).task_timeout(LONG).retries(2).apply((true, 1))?, 1);
    Ok(())
}

fn not_for_waiting_tasks(method: StartMethod) -> Result<(), Error> {
    // Tasks that wait in a chunk behind a slow one do not run yet, so their time does not count.
    let never = Tokens::new();
    let pool = builder(method).workers(1).shared(never.path()).build()?;
    let outcomes = hang_if::job(&pool)
        .task_timeout(SHORT)
        .chunk_size(6)
        .map_outcomes((0..6).map(|x| (x % 2 == 0, x)))?;
    let timed_out: Vec<bool> = outcomes.iter().map(Result::is_err).collect();
    assert_eq!(timed_out, [true, false, true, false, true, false]);
    Ok(())
}
