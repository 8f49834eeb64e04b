//! A value that is not allowed is an error that names the option, the value and what is allowed.

use std::time::Duration;

use pool::{Error, Job, StartMethod};

use crate::harness::cases;
use crate::support::{assert_usable, builder, pool, square};

cases! {
    All: zero_workers, zeros, splits_of_what, every_call_tells, no_timeouts_for_threads;
}

#[track_caller]
fn assert_refused<T: std::fmt::Debug>(result: Result<T, Error>, name: &str, wrong: &str) {
    let Err(error @ Error::Option { option, value, allowed }) = &result else { panic!("{result:?}") };
    assert_eq!((*option, value.as_str()), (name, wrong));
    assert!(!allowed.is_empty());
    let text = error.to_string();
    assert!(text.contains(name) && text.contains(wrong) && text.contains(allowed), "{text}");
}

fn zero_workers(method: StartMethod) -> Result<(), Error> {
    assert_refused(builder(method).workers(0).build(), "workers", "0");
    assert_refused(pool::WorkerPool::new(0), "workers", "0");
    Ok(())
}

fn zeros(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = || square::job(&pool);
    assert_refused(job().chunk_size(0).map(0..3), "chunk_size", "0");
    assert_refused(job().n_splits(0).map(0..3), "n_splits", "0");
    assert_refused(job().max_tasks_active(0).map(0..3), "max_tasks_active", "0");
    assert_refused(job().worker_lifespan(0).map(0..3), "worker_lifespan", "0");
    let zero = Duration::ZERO;
    assert_refused(job().task_timeout(zero).map(0..3), "task_timeout", "0ns");
    assert_refused(job().worker_init_timeout(zero).map(0..3), "worker_init_timeout", "0ns");
    assert_refused(job().worker_exit_timeout(zero).map(0..3), "worker_exit_timeout", "0ns");
    assert_usable(&pool);
    Ok(())
}

fn splits_of_what(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let unknown = || (0..).take_while(|x| *x < 10);
    assert_refused(square::job(&pool).n_splits(3).map(unknown()), "n_splits", "3");
    assert_eq!(square::job(&pool).n_splits(3).iterable_len(10).map(unknown())?.len(), 10);
    assert_eq!(
        square::job(&pool).n_splits(3).chunk_size(2).map(unknown())?.len(),
        10,
        "`chunk_size` beats it"
    );
    Ok(())
}

fn every_call_tells(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = || -> Job<'_, square, ()> { square::job(&pool).chunk_size(0) };
    assert_refused(job().map_unordered(0..3), "chunk_size", "0");
    assert_refused(job().map_outcomes(0..3), "chunk_size", "0");
    assert_refused(job().imap(0..3).collect::<Result<Vec<_>, _>>(), "chunk_size", "0");
    assert_refused(job().imap_unordered(0..3).collect::<Result<Vec<_>, _>>(), "chunk_size", "0");
    assert_refused(job().apply(0), "chunk_size", "0");
    assert_refused(job().apply_async(0).get(), "chunk_size", "0");
    assert_refused(job().map_async(0..3).get(), "chunk_size", "0");
    assert_usable(&pool);
    Ok(())
}

fn no_timeouts_for_threads(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let limit = Duration::from_secs(30);
    let results = [
        ("task_timeout", square::job(&pool).task_timeout(limit).map(0..3)),
        ("worker_init_timeout", square::job(&pool).worker_init_timeout(limit).map(0..3)),
        ("worker_exit_timeout", square::job(&pool).worker_exit_timeout(limit).map(0..3)),
    ];
    for (name, result) in results {
        if method.is_process() {
            assert_eq!(result?, [0, 1, 4]);
        } else {
            assert_refused(result, name, "30s");
        }
    }
    assert_usable(&pool);
    Ok(())
}
