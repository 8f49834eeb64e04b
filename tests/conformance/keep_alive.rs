//! How long workers live between calls.

use std::collections::BTreeSet;

use pool::{Error, StartMethod, WorkerPool, worker_exit, worker_init, worker_task};

use crate::harness::cases;
use crate::support::{assert_usable, builder, square, squares};

cases! {
    All: kept, not_kept, not_kept_by_any_call, not_kept_by_calls_that_end_early, options_change_between_calls,
        maps_mixed;
    Processes: same_processes, other_processes;
}

#[worker_task]
fn count(#[state] calls: &mut u64, (): ()) -> u64 {
    *calls += 1;
    *calls
}

fn with(method: StartMethod, keep_alive: bool) -> Result<WorkerPool, Error> {
    builder(method).workers(1).keep_alive(keep_alive).build()
}

fn kept(method: StartMethod) -> Result<(), Error> {
    let pool = with(method, true)?;
    for call in 0..4u64 {
        assert_eq!(count::par_map(&pool, [(); 3])?, [call * 3 + 1, call * 3 + 2, call * 3 + 3]);
    }
    Ok(())
}

fn not_kept(method: StartMethod) -> Result<(), Error> {
    let pool = with(method, false)?;
    for _ in 0..4 {
        assert_eq!(count::par_map(&pool, [(); 3])?, [1, 2, 3]);
    }
    Ok(())
}

fn not_kept_by_any_call(method: StartMethod) -> Result<(), Error> {
    let pool = with(method, false)?;
    for _ in 0..2 {
        assert_eq!(count::par_map_unordered(&pool, [(); 2])?, [1, 2]);
        assert_eq!(
            count::par_map_outcomes(&pool, [(); 2])?.into_iter().collect::<Result<Vec<_>, _>>()?,
            [1, 2]
        );
        assert_eq!(count::apply(&pool, ())?, 1);
        assert_eq!(count::par_imap(&pool, [(); 2]).collect::<Result<Vec<_>, _>>()?, [1, 2]);
        assert_eq!(count::par_imap_unordered(&pool, [(); 2]).collect::<Result<Vec<_>, _>>()?, [1, 2]);
    }
    Ok(())
}

#[worker_task]
fn count_or_panic(#[state] calls: &mut u64, panics: bool) -> u64 {
    assert!(!panics, "as asked");
    *calls += 1;
    *calls
}

fn not_kept_by_calls_that_end_early(method: StartMethod) -> Result<(), Error> {
    let pool = with(method, false)?;
    for _ in 0..3 {
        let mut given_up = count_or_panic::par_imap(&pool, [false; 100]);
        assert_eq!(given_up.next().transpose()?, Some(1));
        drop(given_up);
        assert!(count_or_panic::par_map(&pool, [false, true, false]).is_err());
        assert_eq!(count_or_panic::apply_async(&pool, false).get()?, 1);
        assert_eq!(count_or_panic::apply(&pool, false)?, 1);
    }
    Ok(())
}

#[worker_task]
fn process() -> u32 {
    std::process::id()
}

fn processes_of(pool: &WorkerPool) -> Result<BTreeSet<u32>, Error> {
    Ok(process::job(pool).chunk_size(1).map([(); 50])?.into_iter().collect())
}

fn same_processes(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    let mut all = BTreeSet::new();
    for _ in 0..20 {
        all.extend(processes_of(&pool)?);
    }
    assert!(all.len() <= 2 && !all.contains(&std::process::id()), "{all:?}");
    Ok(())
}

fn other_processes(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).keep_alive(false).build()?;
    let (first, second) = (processes_of(&pool)?, processes_of(&pool)?);
    assert!(first.is_disjoint(&second), "{first:?} {second:?}");
    Ok(())
}

#[worker_init]
fn from_ten() -> u64 {
    10
}

#[worker_exit]
fn calls_made(#[state] calls: u64) -> u64 {
    calls
}

fn options_change_between_calls(method: StartMethod) -> Result<(), Error> {
    let pool = with(method, true)?;
    assert_eq!(count::par_map(&pool, [(); 2])?, [1, 2]);
    assert_eq!(count::job(&pool).worker_init::<from_ten>().map([(); 2])?, [11, 12]);
    assert_eq!(
        count::job(&pool).worker_exit::<calls_made>().map([(); 2])?,
        [1, 2],
        "another exit, another state"
    );
    assert_eq!(count::par_map(&pool, [(); 2])?, [3, 4], "the first state is still there");
    assert_eq!(square::job(&pool).chunk_size(7).max_tasks_active(9).map(0..100)?, squares(100));
    assert_eq!(count::apply(&pool, ())?, 5);
    assert_eq!(pool.join()?.exit_results::<calls_made>()?, [2]);
    Ok(())
}

fn maps_mixed(method: StartMethod) -> Result<(), Error> {
    for keep_alive in [true, false] {
        let pool = with(method, keep_alive)?;
        for n in [10, 200] {
            assert_eq!(square::par_map(&pool, 0..n)?, squares(n));
            assert_eq!(square::par_imap(&pool, 0..n).collect::<Result<Vec<_>, _>>()?, squares(n));
            assert_eq!(square::apply_async(&pool, n).get()?, square(n));
            drop(square::par_imap(&pool, 0..));
        }
        assert_usable(&pool);
    }
    Ok(())
}
