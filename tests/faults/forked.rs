//! The program forks itself while it has pools, like one that becomes a daemon: the fork has them in its memory, but
//! must not use them.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures::StreamExt;
use nix::libc;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid, fork, getppid};
use pool::shared::{SharedArray, SharedMutex, SharedSemaphore};
use pool::{Error, StartMethod, worker_exit, worker_task};

use crate::harness::cases;
use crate::support::{
    Tokens, assert_fails, assert_usable, builder, put_token, ready, sorted, square, squares, take_token,
    wait_for_token,
};

cases! {
    All: calls, what_is_under_way, what_has_arrived, a_pool_of_its_own, exclusive_use, locks_and_permits;
}

/// How a program is forked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    Fork,
    /// Without the C library, whose fork handlers do not run.
    Clone,
}

/// Does something in a fork of this process, which then ends without running anything else.
pub(super) fn in_a_copy(way: Way, act: impl FnOnce()) {
    // SAFETY: the fork has none of the other threads, and uses nothing that they may have held: that is what is tested.
    #[expect(unsafe_code)]
    let child = unsafe {
        match way {
            Way::Fork => match fork().unwrap() {
                ForkResult::Child => 0,
                ForkResult::Parent { child } => child.as_raw(),
            },
            Way::Clone => libc::syscall(libc::SYS_clone, libc::SIGCHLD, 0, 0, 0, 0) as i32,
        }
    };
    if child == 0 {
        let failed = std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)).is_err();
        // SAFETY: it ends the process at once.
        #[expect(unsafe_code)]
        unsafe {
            libc::_exit(i32::from(failed));
        }
    }
    assert_eq!(
        waitpid(Pid::from_raw(child), None),
        Ok(WaitStatus::Exited(Pid::from_raw(child), 0)),
        "{way:?}"
    );
}

/// The error that every call returns in a fork of this process. It names this process.
#[track_caller]
fn assert_forked<T: std::fmt::Debug>(result: Result<T, Error>) {
    let parent = getppid().as_raw().cast_unsigned();
    assert_fails!(&result, Error::Forked { owner } if *owner == parent);
    let text = result.unwrap_err().to_string();
    assert!(text.contains(&format!("process {parent}")) && text.contains("after the fork"), "{text}");
}

#[worker_task(exit = last_value)]
fn count(#[state] state: &mut u64, x: u64) -> u64 {
    *state += x;
    x
}

#[worker_exit]
fn last_value(#[state] state: u64) -> u64 {
    state
}

#[worker_task]
fn sum(#[chunk] rows: &[u64]) -> u64 {
    rows.iter().sum()
}

#[worker_task]
fn double(#[chunk] rows: &mut [u64]) {
    rows.iter_mut().for_each(|x| *x *= 2);
}

fn calls(method: StartMethod) -> Result<(), Error> {
    let with_insights = || builder(method).insights(true).build();
    let mut pool = Some(with_insights()?);
    let (mut joined, mut terminated) = (Some(ready(method)?), Some(ready(method)?));
    count::par_map(pool.as_ref().unwrap(), 0..10)?;
    let mut fresh = Some(builder(method).keep_alive(false).build()?);
    let cancel = pool.as_ref().unwrap().cancel_handle();
    let mut array = SharedArray::from_slice(&[1u64, 2, 3])?;
    for way in [Way::Fork, Way::Clone] {
        in_a_copy(way, || {
            let own = pool.take().unwrap();
            for pool in [&own, fresh.as_ref().unwrap()] {
                assert_forked(square::par_map(pool, 0..10));
                assert_forked(square::par_map_unordered(pool, 0..10));
                assert_forked(square::par_map_outcomes(pool, 0..10));
                assert_forked(square::apply(pool, 1));
                assert_forked(square::on_each_worker(pool, 1));
                assert_forked(pool.warm_up::<square>());
                assert_forked(pool.wait_idle());
                assert_forked(square::job(pool).chunk_size(2).retries(1).map(0..0));
                assert_forked(square::apply_async(pool, 1).get());
                assert_forked(square::job(pool).map_async(0..10).get_timeout(Duration::MAX));
                assert_forked(sum::job(pool).concatenate(false).map_slice(&[1, 2, 3]));
                assert_forked(double::par_chunks_mut(pool, &mut array, 2));
                for mut results in [square::par_imap(pool, 0..10), square::par_imap(pool, 0..0)] {
                    assert_forked(results.next().unwrap());
                    assert!(results.next().is_none());
                }
                let mut results = square::par_stream(pool, 0..10);
                assert_forked(futures::executor::block_on(results.next()).unwrap());
                assert!(futures::executor::block_on(results.next()).is_none());
            }
            assert_forked(own.exit_results::<last_value>());
            assert_eq!(own.insights().workers.len(), 0);
            assert_eq!(own.stats(), pool::Stats::default());
            cancel.cancel();
            drop(own);
            // There is nothing left to cancel, or to hang at.
            cancel.cancel();
            assert_forked(joined.take().unwrap().join());
            terminated.take().unwrap().terminate();
            drop(fresh.take());
        });
    }
    // Done before more workers start, which with `Fork` would have the array too.
    double::par_chunks_mut(pool.as_ref().unwrap(), &mut array, 2)?;
    for pool in [&pool, &joined, &terminated, &fresh] {
        assert_usable(pool.as_ref().unwrap());
    }
    assert_eq!(count::par_map(pool.as_ref().unwrap(), 0..10)?, (0..10).collect::<Vec<_>>());
    let sums = pool.unwrap().join()?.exit_results::<last_value>()?;
    assert_eq!(sums.iter().sum::<u64>(), 90);
    Ok(())
}

fn what_is_under_way(method: StartMethod) -> Result<(), Error> {
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let pool = ready(method)?;
    let done = square::apply_async(&pool, 3);
    assert!(done.wait(None));
    let (path, other) = (started.path(), go_on.path());
    let mut waiting = wait_for_token::apply_async(&pool, (path.as_str(), other.as_str(), 7));
    started.take(1);
    let mut results = Some(square::par_imap(&pool, 0..100));
    let first = results.as_mut().unwrap().next().unwrap()?;
    let mut stream = Some(square::par_stream(&pool, 0..100));
    let second = futures::executor::block_on(stream.as_mut().unwrap().next()).unwrap()?;
    assert_eq!((first, second), (0, 0));
    for way in [Way::Fork, Way::Clone] {
        in_a_copy(way, || {
            assert_eq!(done.get().unwrap(), 9);
            assert!(
                waiting.ready() && waiting.wait(None) && waiting.wait(Duration::MAX) && !waiting.successful()
            );
            assert_forked(waiting.get());
            assert_forked(waiting.get_timeout(Duration::MAX));
            let polled = pin!(&mut waiting).poll(&mut Context::from_waker(Waker::noop()));
            let Poll::Ready(result) = polled else { panic!("nobody would wake it") };
            assert_forked(result);
            waiting.cancel();
            let (send, told) = std::sync::mpsc::channel();
            let _waiting =
                square::apply_async(&pool, 1).on_error(move |error| send.send(error.clone()).unwrap());
            assert_forked::<()>(Err(told.recv().unwrap()));
            assert_only_forked(results.take().unwrap().collect());
            assert_only_forked(futures::executor::block_on(stream.take().unwrap().collect()));
        });
    }
    let rest = |results: Vec<Result<u64, Error>>| results.into_iter().collect::<Result<Vec<_>, _>>();
    go_on.put(1);
    assert_eq!(waiting.get()?, 7);
    assert_eq!(rest(results.unwrap().collect())?, squares(100)[1..]);
    assert_eq!(rest(futures::executor::block_on(stream.unwrap().collect()))?, squares(100)[1..]);
    Ok(())
}

/// The first of three tasks waits for the last.
#[worker_task]
fn first_waits(path: &str, x: u64) -> u64 {
    match x {
        0 => take_token(path),
        2 => put_token(path),
        _ => {}
    }
    x
}

#[track_caller]
fn assert_only_forked(mut left: Vec<Result<u64, Error>>) {
    assert_forked(left.pop().unwrap());
    assert!(left.is_empty(), "results of the original: {left:?}");
}

/// A result that has arrived before the fork is for the original only.
fn what_has_arrived(method: StartMethod) -> Result<(), Error> {
    let (tokens, pool) = (Tokens::new(), builder(method).workers(2).build()?);
    // Both workers are up, so the first task is the first worker's. The other worker runs the second task before the
    // third.
    assert_usable(&pool);
    let path = tokens.path();
    let items = || (0..3).map(|x| (path.as_str(), x));
    let call = || first_waits::job(&pool).chunk_size(1);
    for way in [Way::Fork, Way::Clone] {
        for ordered in [true, false] {
            let mut results = if ordered { call().imap(items()) } else { call().imap_unordered(items()) };
            let mut results_before = vec![results.next().unwrap()?];
            in_a_copy(way, || assert_only_forked(results.by_ref().collect()));
            results_before.extend(results.collect::<Result<Vec<_>, _>>()?);
            assert_eq!(sorted(results_before), [0, 1, 2]);
        }
        let mut stream = call().stream(items());
        let first = futures::executor::block_on(stream.next()).unwrap()?;
        in_a_copy(way, || assert_only_forked(futures::executor::block_on(stream.by_ref().collect())));
        let rest = futures::executor::block_on(stream.collect::<Vec<_>>());
        assert_eq!((first, rest.into_iter().collect::<Result<Vec<_>, _>>()?), (0, vec![1, 2]));
    }
    Ok(())
}

/// A daemon builds its pools after the fork.
fn a_pool_of_its_own(method: StartMethod) -> Result<(), Error> {
    let before = ready(method)?;
    in_a_copy(Way::Fork, || {
        let own = ready(method).unwrap();
        assert_forked(square::par_map(&before, 0..10));
        assert_usable(&own);
        // Its own pools belong to it in turn.
        in_a_copy(Way::Fork, || assert_forked(square::par_map(&own, 0..10)));
        own.join().unwrap();
    });
    assert_usable(&before);
    Ok(())
}

/// Whether the handle, encoded as text, can be used.
#[worker_task]
fn is_open(handle: &str) -> Result<(), String> {
    serde_json::from_str::<SharedArray<u64>>(handle).map(drop).map_err(|error| error.to_string())
}

fn exclusive_use(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let mut array = SharedArray::from_slice(&[1u64, 2, 3])?;
    let handle = serde_json::to_string(&array).unwrap();
    let mut slice = Some(array.as_mut_slice()?);
    for way in [Way::Fork, Way::Clone] {
        in_a_copy(way, || drop(slice.take()));
    }
    let refused = is_open::apply(&pool, &handle)?.unwrap_err();
    assert!(refused.contains("borrowed exclusively"), "{refused}");
    drop(slice);
    assert_eq!(is_open::apply(&pool, &handle)?, Ok(()));
    Ok(())
}

fn locks_and_permits(_method: StartMethod) -> Result<(), Error> {
    let (mutex, semaphore) = (SharedMutex::new(5u64)?, SharedSemaphore::new(1)?);
    let (mut guard, mut permit) = (Some(mutex.lock().unwrap()), Some(semaphore.acquire()));
    for way in [Way::Fork, Way::Clone] {
        in_a_copy(way, || {
            drop((guard.take(), permit.take()));
            assert!(mutex.try_lock().is_err() && semaphore.try_acquire().is_none(), "they are the parent's");
        });
    }
    assert!(mutex.try_lock().is_err() && semaphore.try_acquire().is_none());
    drop((guard, permit));
    in_a_copy(Way::Fork, || assert!(*mutex.lock().unwrap() == 5 && semaphore.try_acquire().is_some()));
    Ok(())
}
