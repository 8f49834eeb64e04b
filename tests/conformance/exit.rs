//! Exit functions run when a worker ends; their values and failures reach the caller.

use std::panic::panic_any;

use pool::{Error, StartMethod, TaskErrorKind, worker_exit, worker_task};
use serde::{Deserialize, Deserializer, Serialize};

use crate::harness::cases;
use crate::support::{
    Bomb, Tokens, assert_usable, builder, pool, put_token, square, take_all_tokens, task_error,
};

cases! {
    All: exit_results_count, exit_results_so_far, exit_results_taken, exit_results_that_panic,
        exit_at_each_restart, exit_given_to_the_job, exits_by_type, exit_panics,
        exit_panics_at_restart, exit_without_state, large_exit_results, nothing_ran, dropped_without_exit;
    Linux: exit_results_kept_in_files;
}

#[worker_exit]
pub(super) fn tasks_done(#[state] tasks: u64) -> u64 {
    tasks
}

#[worker_task(exit = tasks_done)]
fn counted(#[state] tasks: &mut u64, x: u64) -> u64 {
    *tasks += 1;
    x
}

fn exit_results_count(method: StartMethod) -> Result<(), Error> {
    for workers in [1, 2, 4] {
        let pool = builder(method).workers(workers).build()?;
        counted::par_map(&pool, 0..100)?;
        counted::par_imap(&pool, 0..100).try_for_each(|result| result.map(drop))?;
        counted::apply(&pool, 1)?;
        let exits = pool.join()?.exit_results::<tasks_done>()?;
        assert!(exits.len() <= workers, "{exits:?}");
        assert_eq!(exits.iter().sum::<u64>(), 201);
    }
    Ok(())
}

/// Panics when the caller decodes it, with a payload that panics when it is dropped.
#[derive(Debug, Serialize)]
struct Explodes;

impl<'de> Deserialize<'de> for Explodes {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        panic_any(Bomb)
    }
}

#[worker_exit]
fn explode() -> Explodes {
    Explodes
}

#[worker_task(exit = explode)]
fn leaves_an_explosive(x: u64) -> u64 {
    x
}

fn exit_results_that_panic(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(leaves_an_explosive::job(&pool).worker_lifespan(1).map(0..3)?, [0, 1, 2]);
    let so_far = pool.exit_results::<explode>();
    // Values that cannot be decoded are not taken out.
    let taken = [pool.take_exit_results::<explode>(), pool.take_exit_results::<explode>()];
    let all = pool.join()?.exit_results::<explode>();
    for results in taken.into_iter().chain([so_far, all]) {
        let error = task_error(results);
        let TaskErrorKind::Exit(kind) = error.kind() else { panic!("{error}") };
        assert!(matches!(&**kind, TaskErrorKind::Decode(why) if why.contains("panicked")), "{error}");
    }
    Ok(())
}

fn exit_results_so_far(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).keep_alive(false).build()?;
    assert!(pool.exit_results::<tasks_done>()?.is_empty());
    for call in 1..=3 {
        counted::par_map(&pool, 0..50)?;
        assert_eq!(pool.exit_results::<tasks_done>()?.iter().sum::<u64>(), call * 50);
    }
    assert_eq!(pool.join()?.exit_results::<tasks_done>()?.iter().sum::<u64>(), 150);
    Ok(())
}

/// Each result is given only once, and only for its own exit function.
fn exit_results_taken(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).keep_alive(false).build()?;
    assert!(pool.take_exit_results::<tasks_done>()?.is_empty());
    let mut taken = 0;
    for call in 1..=4 {
        counted::par_map(&pool, 0..50)?;
        counted::job(&pool).worker_exit::<doubled>().map(0..10)?;
        let so_far = pool.exit_results::<tasks_done>()?.iter().sum::<u64>();
        assert_eq!(so_far, call * 50 - taken);
        if call % 2 == 0 {
            taken += pool.take_exit_results::<tasks_done>()?.iter().sum::<u64>();
            assert!(pool.exit_results::<tasks_done>()?.is_empty());
        }
        assert_eq!(pool.exit_results::<doubled>()?.iter().sum::<u64>(), call * 20);
    }
    assert_eq!(taken, 200);
    let exits = pool.join()?;
    assert!(exits.exit_results::<tasks_done>()?.is_empty());
    assert_eq!(exits.exit_results::<doubled>()?.iter().sum::<u64>(), 80);
    Ok(())
}

/// A mebibyte for each task of the worker.
#[worker_exit]
fn megabytes(#[state] tasks: u64) -> Vec<u8> {
    vec![tasks as u8; (tasks as usize) << 20]
}

#[worker_task(exit = megabytes)]
fn grows(#[state] tasks: &mut u64, x: u64) -> u64 {
    *tasks += 1;
    x
}

/// Exit values that nobody has taken yet do not fill the parent's memory.
fn exit_results_kept_in_files(method: StartMethod) -> Result<(), Error> {
    const VALUES: usize = 80;
    let pool = builder(method).workers(1).build()?;
    let grow = || grows::job(&pool).worker_lifespan(1).map(0..VALUES as u64).map(drop);
    let held = || {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
        line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() >> 10
    };
    grow()?;
    let before = held();
    grow()?;
    let after = held();
    assert!(after < before + VALUES / 2, "{before} MiB grew to {after} MiB");
    let values = pool.join()?.exit_results::<megabytes>()?;
    assert!(values.len() >= 2 * VALUES - 1 && values.iter().all(|value| *value == vec![1; 1 << 20]));
    Ok(())
}

fn exit_at_each_restart(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    counted::job(&pool).worker_lifespan(3).map(0..30)?;
    let exits = pool.join()?.exit_results::<tasks_done>()?;
    assert_eq!(exits.iter().sum::<u64>(), 30);
    assert!(exits.iter().all(|tasks| *tasks <= 3), "{exits:?}");
    assert!(exits.len() >= 10, "{exits:?}");
    Ok(())
}

#[worker_exit]
fn doubled(#[state] tasks: &mut u64) -> u64 {
    *tasks * 2
}

fn exit_given_to_the_job(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    counted::job(&pool).worker_exit::<doubled>().map(0..20)?;
    let exits = pool.join()?;
    assert_eq!(exits.exit_results::<doubled>()?.iter().sum::<u64>(), 40);
    assert!(exits.exit_results::<tasks_done>()?.is_empty());
    Ok(())
}

#[worker_exit]
fn letters_done(#[state] letters: &String) -> String {
    letters.clone()
}

#[worker_task(exit = letters_done)]
fn spell(#[state] letters: &mut String, letter: char) {
    letters.push(letter);
}

fn exits_by_type(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    spell::par_map(&pool, "abc".chars())?;
    counted::par_map(&pool, 0..5)?;
    spell::apply(&pool, 'd')?;
    let exits = pool.join()?;
    assert_eq!(exits.exit_results::<letters_done>()?, ["abcd"]);
    assert_eq!(exits.exit_results::<tasks_done>()?, [5]);
    Ok(())
}

#[worker_exit]
fn exit_goes_wrong(#[state] _tasks: u64) -> u64 {
    panic!("exit went wrong")
}

#[worker_task(exit = exit_goes_wrong)]
fn ends_badly(#[state] tasks: &mut u64, x: u64) -> u64 {
    *tasks += 1;
    x
}

#[track_caller]
fn assert_exit_went_wrong<T: std::fmt::Debug>(result: Result<T, Error>) {
    let error = task_error(result);
    let TaskErrorKind::Exit(cause) = error.kind() else { panic!("exit should have failed, but: {error}") };
    assert!(
        matches!(&**cause, TaskErrorKind::Panicked(info) if info.message() == "exit went wrong"),
        "{error}"
    );
}

fn exit_panics(method: StartMethod) -> Result<(), Error> {
    let joined = pool(method)?;
    assert_eq!(ends_badly::par_map(&joined, 0..10)?, (0..10).collect::<Vec<_>>());
    assert_exit_went_wrong(joined.join());
    let fresh = builder(method).keep_alive(false).build()?;
    assert_exit_went_wrong(ends_badly::par_map(&fresh, 0..10));
    assert_usable(&fresh);
    Ok(())
}

fn exit_panics_at_restart(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(ends_badly::job(&pool).worker_lifespan(2).map(0..10)?, (0..10).collect::<Vec<_>>());
    assert_usable(&pool);
    assert_exit_went_wrong(pool.join());
    Ok(())
}

#[worker_exit]
fn goodbye(#[worker_id] id: usize) -> usize {
    id
}

#[worker_task(exit = goodbye)]
fn plain(x: u64) -> u64 {
    x
}

fn exit_without_state(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    plain::par_map(&pool, 0..10)?;
    assert_eq!(pool.join()?.exit_results::<goodbye>()?, [0]);
    Ok(())
}

#[worker_exit]
fn ten_million_bytes(#[state] tasks: u64) -> Vec<u8> {
    vec![u8::try_from(tasks).unwrap_or(u8::MAX); 10_000_000]
}

fn large_exit_results(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    counted::job(&pool).worker_exit::<ten_million_bytes>().worker_lifespan(2).map(0..8)?;
    let exits = pool.join()?.exit_results::<ten_million_bytes>()?;
    assert!(exits.len() >= 4 && exits.iter().all(|exit| exit.len() == 10_000_000));
    assert_eq!(exits.iter().map(|exit| u64::from(exit[0])).sum::<u64>(), 8);
    Ok(())
}

fn nothing_ran(method: StartMethod) -> Result<(), Error> {
    assert!(pool(method)?.join()?.exit_results::<tasks_done>()?.is_empty());
    let pool = pool(method)?;
    square::par_map(&pool, 0..10)?;
    assert!(pool.join()?.exit_results::<tasks_done>()?.is_empty());
    Ok(())
}

#[worker_exit]
fn note_end(#[shared] ended: &String, #[state] tasks: u64) -> u64 {
    put_token(ended);
    tasks
}

#[worker_task(exit = note_end)]
fn end_noted(#[state] tasks: &mut u64, x: u64) -> u64 {
    *tasks += 1;
    x
}

fn dropped_without_exit(method: StartMethod) -> Result<(), Error> {
    let ended = Tokens::new();
    let dropped = builder(method).shared(ended.path()).build()?;
    end_noted::par_map(&dropped, 0..10)?;
    drop(dropped);
    let terminated = builder(method).shared(ended.path()).build()?;
    end_noted::par_map(&terminated, 0..10)?;
    terminated.terminate();
    assert_eq!(take_all_tokens(&ended.path()), 0, "a pool that is given up runs no exit functions");
    Ok(())
}
