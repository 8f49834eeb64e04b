//! Pools inside workers: refused by default, and sound where they are allowed.

use pool::{Error, StartMethod, WorkerPool, worker_task};

use crate::harness::{METHODS, cases};
use crate::support::{assert_usable, builder, pool, square, squares};

cases! {
    All: refused, allowed, inner_errors, deep, after_a_restart;
}

/// Start methods, which cross to a worker as places in this list: those that allow other threads.
fn inner() -> impl Iterator<Item = StartMethod> {
    METHODS.iter().copied().filter(|method| *method != StartMethod::Fork)
}

fn inner_pool(place: usize) -> Result<WorkerPool, Error> {
    pool(inner().nth(place).expect("the list is that long"))
}

#[worker_task]
fn sum_in_a_pool(method: usize, n: u64) -> Result<u64, String> {
    let pool = inner_pool(method).map_err(|error| error.to_string())?;
    let squares = square::par_map(&pool, 0..n).map_err(|error| error.to_string())?;
    Ok(squares.into_iter().sum())
}

fn refused(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for inner in 0..inner().count() {
        let why = sum_in_a_pool::apply(&pool, (inner, 3))?.unwrap_err();
        assert!(why.contains("daemon(false)"), "{why:?} does not show the way out");
    }
    assert_usable(&pool);
    Ok(())
}

fn allowed(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).daemon(false).build()?;
    for (inner, name) in inner().enumerate() {
        for result in sum_in_a_pool::par_map(&pool, (0..6).map(|n| (inner, n * 10)).collect::<Vec<_>>())? {
            assert!(result.is_ok(), "{name} inside {method}: {result:?}");
        }
        assert_eq!(sum_in_a_pool::apply(&pool, (inner, 100))?, Ok(squares(100).iter().sum()));
    }
    Ok(())
}

#[worker_task]
fn panics_at_seven(x: u64) -> u64 {
    assert!(x != 7, "at seven");
    x
}

#[worker_task]
fn inner_failure(method: usize) -> String {
    let pool = inner_pool(method).expect("nested pools are allowed");
    let error = panics_at_seven::par_map(&pool, 0..20).expect_err("the seventh panics");
    assert_usable(&pool);
    error.to_string()
}

fn inner_errors(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).daemon(false).build()?;
    for inner in 0..inner().count() {
        for text in inner_failure::par_map(&pool, [inner; 4])? {
            assert!(text.contains("at seven"), "{text}");
        }
    }
    Ok(())
}

#[worker_task]
fn depth(levels: u32) -> u32 {
    if levels == 0 {
        return 0;
    }
    let pool = WorkerPool::builder().workers(1).daemon(false).build().expect("nested pools are allowed");
    1 + depth::apply(&pool, levels - 1).expect("so are those in them")
}

fn deep(method: StartMethod) -> Result<(), Error> {
    assert_eq!(depth::apply(&builder(method).daemon(false).build()?, 4)?, 4);
    Ok(())
}

fn after_a_restart(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).daemon(false).build()?;
    let sums = sum_in_a_pool::job(&pool).worker_lifespan(1).map((0..4).map(|_| (0, 10)))?;
    assert_eq!(sums, vec![Ok(285); 4]);
    Ok(())
}
