//! A value that is not allowed is an error that names the option, the value and what is allowed.

use std::time::Duration;

use pool::shared::{SharedArray, SharedBarrier, SharedCounter, SharedMutex, SharedSemaphore};
use pool::{Error, Job, StartMethod};

use crate::harness::cases;
use crate::support::{Promising, assert_usable, builder, pool, square};

cases! {
    All: zero_workers, zeros, splits_of_what, every_call_tells, no_timeouts_for_threads, workers_beyond_reason,
         numbers_beyond_reason, times_beyond_reason,
         inputs_beyond_reason;
    Processes: limits_beyond_reason;
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

fn workers_beyond_reason(method: StartMethod) -> Result<(), Error> {
    for workers in [65_537, 10_000_000_000, usize::MAX >> 1, -1_i32 as usize, usize::MAX] {
        let result = builder(method).workers(workers).build();
        assert!(
            result.as_ref().is_err_and(|error| error.to_string().contains("at most 65536")),
            "{result:?}"
        );
        assert_refused(result, "workers", &workers.to_string());
        assert_refused(pool::WorkerPool::new(workers), "workers", &workers.to_string());
    }
    assert_eq!(builder(method).workers(65_536).insights(true).build()?.workers(), 65_536);
    Ok(())
}

fn numbers_beyond_reason(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let expected = [0, 1, 4, 9, 16];
    for most in [usize::MAX, usize::MAX - 1, 1 << 63, u32::MAX as usize + 1, u32::MAX as usize] {
        let jobs: [fn(Job<'_, square, ()>, usize) -> Job<'_, square, ()>; 6] = [
            |job, most| job.chunk_size(most),
            |job, most| job.n_splits(most),
            |job, most| job.max_tasks_active(most),
            |job, most| job.worker_lifespan(most),
            |job, most| job.iterable_len(most),
            |job, most| {
                let job = job.chunk_size(most).max_tasks_active(most).worker_lifespan(most);
                job.iterable_len(most).retries(u32::MAX)
            },
        ];
        for option in jobs {
            let job = || option(square::job(&pool), most);
            assert_eq!(job().map(0..5)?, expected);
            assert_eq!(job().map_unordered(0..5)?.len(), 5);
            assert_eq!(job().imap(0..5).collect::<Result<Vec<_>, _>>()?, expected);
            assert_eq!(job().imap_unordered(0..5).count(), 5);
            assert_eq!(job().map_outcomes(0..5)?.len(), 5);
            assert_eq!(job().apply(3)?, 9);
            assert_eq!(job().map_async(0..5).get()?, expected);
            let unknown = (0..).take_while(|x| *x < 5);
            assert_eq!(job().iterable_len(most).map(unknown)?, expected);
        }
    }
    Ok(())
}

fn times_beyond_reason(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for longest in [Duration::MAX, Duration::from_secs(u64::MAX), Duration::from_secs(u64::MAX >> 30)] {
        let result = square::apply_async(&pool, 3);
        assert!(result.wait(longest));
        assert_eq!(square::apply_async(&pool, 3).get_timeout(longest)?, 9);
    }
    let (semaphore, mutex) = (SharedSemaphore::new(1)?, SharedMutex::new(1u8)?);
    assert!(semaphore.acquire_timeout(Duration::MAX).is_some());
    assert!(mutex.try_lock_for(Duration::MAX).is_ok());
    assert_eq!(SharedBarrier::new(1)?.wait_timeout(Duration::MAX), Ok(0));
    Ok(())
}

fn limits_beyond_reason(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).memory_limit(u64::MAX).build()?;
    for longest in [Duration::MAX, Duration::from_nanos(u64::MAX), Duration::from_secs(u64::MAX)] {
        let job = || {
            square::job(&pool).task_timeout(longest).worker_init_timeout(longest).worker_exit_timeout(longest)
        };
        assert_eq!(job().map(0..3)?, [0, 1, 4]);
        assert_eq!(job().retries(u32::MAX).worker_lifespan(1).chunk_size(1).map(0..3)?, [0, 1, 4]);
    }
    pool.join()?;
    // A limit that is too low is not an error, but it ends what it limits.
    let pool = builder(method).memory_limit(1).build()?;
    assert_eq!(square::job(&pool).worker_lifespan(usize::MAX).apply(3)?, 9);
    let short = square::job(&pool).task_timeout(Duration::from_nanos(1)).map_outcomes(0..3)?;
    assert_eq!(short.len(), 3);
    Ok(())
}

fn inputs_beyond_reason(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for most in [usize::MAX, usize::MAX >> 4, 1 << 40] {
        let input = || Promising(most, 0..3);
        assert_eq!(square::par_map(&pool, input())?, [0, 1, 4]);
        assert_eq!(square::par_map_unordered(&pool, input())?.len(), 3);
        assert_eq!(square::job(&pool).n_splits(usize::MAX).map(input())?, [0, 1, 4]);
        assert_eq!(square::job(&pool).n_splits(3).map(input())?, [0, 1, 4]);
        assert_eq!(square::par_map_outcomes(&pool, input())?.len(), 3);
        assert_eq!(square::par_imap(&pool, input()).count(), 3);
        assert_eq!(pool.map_async::<square>(input()).get()?, [0, 1, 4]);
    }
    for most in [usize::MAX, usize::MAX >> 1, usize::MAX / 8, 1 << 61] {
        assert!(matches!(SharedArray::<u64>::zeroed(most), Err(Error::SharedMemory { .. })), "{most}");
        let made = SharedArray::<u64>::from_fn(most, |_| unreachable!("there is no memory"));
        assert!(matches!(made, Err(Error::SharedMemory { .. })), "{most}");
        assert!(SharedSemaphore::new(most).is_err() && SharedBarrier::new(most).is_err(), "{most}");
    }
    assert_eq!(SharedCounter::new(u64::MAX)?.get(), u64::MAX);
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
