//! Calls for which no caller waits yet.

use std::future::Future;
use std::panic::panic_any;
use std::pin::{Pin, pin};
use std::sync::{Arc, mpsc};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::executor::block_on;
use futures::future::{Either, join_all, select};
use futures::stream::{Stream, TryStreamExt};
use nix::sys::signal::Signal;
use pool::indicatif::{ProgressBar, ProgressDrawTarget};
use pool::{Error, StartMethod, TaskErrorKind, worker_task};

use crate::executors::{in_each, tokio, wait_until_the_background_sleeps, waker};
use crate::harness::cases;
use crate::support::{
    Bomb, OnDraw, Tokens, assert_fails, assert_usable, die, panic_message, pool, square, squares, task_error,
    wait_for_token,
};

cases! {
    All: get_twice, not_ready_then_ready, callbacks, callback_panics, callback_after_the_result, as_futures,
         many_futures_at_once, the_last_waker_is_called, a_future_that_is_given_up, a_waker_panics,
         panics_in_the_background,
         nobody_polls_beside_an_iterator, cancelled, pool_dropped, map_async, map_async_fails,
         more_results_than_workers, dropped_result, joined, option_error, another_pool_right_after;
    Processes: death_leaves_the_others, timeout_leaves_the_others;
}

/// Longer than any trial takes: a wait that lasts so long has failed.
const LONG: Duration = Duration::from_secs(50);

#[worker_task]
fn fails(x: u64) -> u64 {
    panic!("never {x}")
}

fn another_pool_right_after(method: StartMethod) -> Result<(), Error> {
    // The thread that drove the first pool in the background does not keep the second from forking.
    for x in 0..20 {
        let first = pool(method)?;
        assert_eq!(square::apply_async(&first, x).get()?, square(x));
        let second = pool(method)?;
        assert_eq!(square::apply_async(&second, x).get()?, square(x));
    }
    Ok(())
}

fn get_twice(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let results: Vec<_> = (0..10).map(|x| square::apply_async(&pool, x)).collect();
    for _ in 0..2 {
        for (x, result) in results.iter().enumerate() {
            assert_eq!(result.get()?, square(x as u64));
            assert!(result.ready() && result.successful() && result.wait(Duration::ZERO));
        }
    }
    let result = fails::apply_async(&pool, 1);
    for _ in 0..2 {
        assert_eq!(panic_message(&task_error(result.get())), "never 1");
        assert!(result.ready() && !result.successful());
    }
    Ok(())
}

fn not_ready_then_ready(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let result = wait_for_token::apply_async(&pool, (&started.path(), &go_on.path(), 7));
    started.take(1);
    assert!(!result.ready() && !result.successful() && !result.wait(Duration::from_millis(1)));
    assert_fails!(result.get_timeout(Duration::from_millis(1)), Error::NotReady(_));
    go_on.put(1);
    assert!(result.wait(LONG));
    assert_eq!(result.get_timeout(LONG)?, 7);
    Ok(())
}

fn callbacks(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (send, calls) = mpsc::channel();
    let (on_success, on_error) = (send.clone(), send);
    let both = |result: pool::AsyncResult<u64>| {
        let (on_success, on_error) = (on_success.clone(), on_error.clone());
        result
            .on_success(move |value| on_success.send(Ok(*value)).unwrap())
            .on_error(move |error| on_error.send(Err(error.to_string())).unwrap())
    };
    let good = both(square::apply_async(&pool, 5));
    assert_eq!(calls.recv().unwrap(), Ok(25));
    let bad = both(fails::apply_async(&pool, 5));
    assert!(calls.recv().unwrap().unwrap_err().contains("never 5"));
    assert!(good.get().is_ok() && bad.get().is_err());
    drop((on_success, on_error, good, bad));
    // Each callback is called once or dropped, so nothing more comes and all senders of the channel are gone.
    assert_eq!(calls.iter().count(), 0);
    Ok(())
}

fn callback_panics(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (send, called) = mpsc::channel();
    let result = square::apply_async(&pool, 5)
        .on_success(|_| panic!("in a callback"))
        .on_success(move |value| send.send(*value).unwrap());
    assert_eq!(called.recv(), Ok(25));
    assert_eq!(result.get()?, 25);
    assert_eq!(square::apply_async(&pool, 6).get()?, 36);
    assert_usable(&pool);
    Ok(())
}

fn callback_after_the_result(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let result = square::apply_async(&pool, 5);
    result.get()?;
    let (send, called) = mpsc::channel();
    let result = result.on_success(|_| panic!("in a late callback"));
    // The result need not be kept: the callback still runs.
    result.on_success(move |value| send.send(*value).unwrap());
    assert_eq!(called.recv(), Ok(25));
    Ok(())
}

fn as_futures(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    in_each(async || {
        let mut sum = 0;
        for x in 0..20 {
            sum += square::apply_async(&pool, x).await?;
        }
        assert_eq!(panic_message(&task_error(fails::apply_async(&pool, 2).await)), "never 2");
        assert_eq!(sum, squares(20).iter().sum::<u64>());
        Ok(())
    })
}

fn many_futures_at_once(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    in_each(async || {
        let results = join_all((0..500).map(|x| square::apply_async(&pool, x))).await;
        assert_eq!(results.into_iter().collect::<Result<Vec<_>, _>>()?, squares(500));
        Ok(())
    })
}

fn the_last_waker_is_called(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let mut result = pin!(wait_for_token::apply_async(&pool, (&started.path(), &go_on.path(), 7)));
    started.take(1);
    let ((first, first_calls), (last, last_calls)) = (waker(), waker());
    for waker in [&first, &last, &last] {
        assert!(result.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
    }
    go_on.put(1);
    assert_eq!(last_calls.recv(), Ok(()));
    assert!(matches!(result.as_mut().poll(&mut Context::from_waker(&first)), Poll::Ready(Ok(7))));
    drop((first, last));
    assert_eq!((first_calls.iter().count(), last_calls.iter().count()), (0, 0), "one call for one result");
    Ok(())
}

fn a_future_that_is_given_up(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let item = |value| (&*started_path, &*go_on_path, value);
    tokio().block_on(async {
        let mut result = wait_for_token::apply_async(&pool, item(1));
        let in_time = tokio::time::timeout(Duration::from_millis(1), &mut result).await;
        assert!(in_time.is_err() && !result.ready());
        // Each token lets one of the two calls end.
        let other = wait_for_token::apply_async(&pool, item(2));
        started.take(2);
        go_on.put(1);
        let (Either::Left((value, rest)) | Either::Right((value, rest))) = select(result, other).await;
        go_on.put(1);
        assert_eq!(value? + rest.await?, 3);
        // A call goes on even if nothing awaits it any more.
        let unwanted = wait_for_token::apply_async(&pool, item(3));
        assert!(tokio::time::timeout(Duration::ZERO, unwanted).await.is_err());
        started.take(1);
        go_on.put(1);
        Ok::<_, Error>(())
    })?;
    assert_usable(&pool);
    Ok(())
}

fn a_waker_panics(method: StartMethod) -> Result<(), Error> {
    struct Panics;
    impl std::task::Wake for Panics {
        fn wake(self: std::sync::Arc<Self>) {
            panic!("in a waker");
        }
    }
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let mut result = wait_for_token::apply_async(&pool, (&started.path(), &go_on.path(), 1));
    started.take(1);
    let waker = std::sync::Arc::new(Panics).into();
    assert!(Pin::new(&mut result).poll(&mut Context::from_waker(&waker)).is_pending());
    go_on.put(1);
    assert_eq!(result.get()?, 1);
    assert_eq!(square::apply_async(&pool, 3).get()?, 9);
    Ok(())
}

/// Code of the user's that the pool's thread calls.
#[derive(Debug, Clone, Copy)]
enum Called {
    OnSuccess,
    OnError,
    Waker,
    StreamsWaker,
    Bar,
}

/// Panics when it is called, with a payload that panics when it is dropped.
#[derive(Debug)]
struct Explodes;

impl std::task::Wake for Explodes {
    fn wake(self: Arc<Self>) {
        panic_any(Bomb);
    }
}

/// After each panic, calls that need the pool's thread still work.
fn panics_in_the_background(method: StartMethod) -> Result<(), Error> {
    for called in [Called::OnSuccess, Called::OnError, Called::Waker, Called::StreamsWaker, Called::Bar] {
        let pool = pool(method)?;
        let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
        let paths = (started.path(), go_on.path());
        let beside = wait_for_token::apply_async(&pool, (&paths.0, &paths.1, 1));
        started.take(1);
        let waker = Arc::new(Explodes).into();
        let mut cx = Context::from_waker(&waker);
        match called {
            Called::OnSuccess => {
                let result = beside.on_success(|_| panic_any(Bomb));
                go_on.put(1);
                assert_eq!(result.get()?, 1);
                assert_eq!(result.on_success(|_| panic_any(Bomb)).get()?, 1);
            }
            Called::OnError => {
                let result = fails::apply_async(&pool, 1).on_error(|_| panic_any(Bomb));
                assert_eq!(panic_message(&task_error(result.get())), "never 1");
                go_on.put(1);
                assert_eq!(beside.get()?, 1);
            }
            Called::Waker => {
                let mut result = beside;
                assert!(Pin::new(&mut result).poll(&mut cx).is_pending());
                go_on.put(1);
                assert_eq!(result.get()?, 1);
            }
            Called::StreamsWaker => {
                let mut stream = wait_for_token::par_stream(&pool, [(&paths.0[..], &paths.1[..], 2)]);
                assert!(Pin::new(&mut stream).poll_next(&mut cx).is_pending());
                started.take(1);
                go_on.put(2);
                assert_eq!(beside.get()?, 1);
                assert_eq!(block_on(stream.try_collect::<Vec<_>>())?, [2]);
            }
            Called::Bar => {
                let target = ProgressDrawTarget::term_like(Box::new(OnDraw(|| panic_any(Bomb))));
                let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
                let result = square::job(&pool).progress(bar.clone()).map_async(0..100);
                bar.set_draw_target(target);
                go_on.put(1);
                assert_eq!(result.get()?, squares(100));
                assert_eq!(beside.get()?, 1);
                // Dropping the bar would panic in this thread, and that panic would be the caller's own.
                std::mem::forget(bar);
            }
        }
        for x in 0..10 {
            assert_eq!(square::apply_async(&pool, x).get()?, square(x), "{called:?}");
        }
        assert_eq!(square::job(&pool).map_async(0..100).get()?, squares(100), "{called:?}");
        assert_usable(&pool);
        let last = square::apply_async(&pool, 4);
        pool.join()?;
        assert_eq!(last.get()?, 16, "{called:?}");
    }
    Ok(())
}

fn nobody_polls_beside_an_iterator(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let mut results = square::par_imap(&pool, 0..100);
    let waits = wait_for_token::apply_async(&pool, (&started.path(), &go_on.path(), 1));
    started.take(1);
    // Results of the iterator have come. They must not wake the thread that waits for the other call.
    wait_until_the_background_sleeps();
    assert_eq!(results.next().transpose()?, Some(0));
    go_on.put(1);
    assert_eq!(waits.get()?, 1);
    Ok(())
}

fn cancelled(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let running = wait_for_token::apply_async(&pool, (&started.path(), &go_on.path(), 7));
    started.take(1);
    running.cancel();
    assert_fails!(running.get(), Error::Cancelled);
    go_on.put(1);
    assert_usable(&pool);
    let finished = square::apply_async(&pool, 3);
    assert_eq!(finished.get()?, 9);
    finished.cancel();
    assert_eq!(finished.get()?, 9, "what is done stays done");
    Ok(())
}

fn pool_dropped(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let results: Vec<_> =
        (0..10).map(|x| wait_for_token::apply_async(&pool, (&started_path, &go_on_path, x))).collect();
    started.take(2);
    drop(pool);
    for result in &results {
        assert_fails!(result.get(), Error::Closed);
    }
    // Threads can't be killed, so let them end.
    go_on.put(10);
    Ok(())
}

fn map_async(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let results = [0, 1, 100, 5000].map(|n| (n, pool.map_async::<square>(0..n)));
    for (n, result) in results {
        assert_eq!(result.get()?, squares(n));
    }
    let result = square::job(&pool).chunk_size(7).worker_lifespan(10).map_async(0..100);
    assert_eq!(result.get()?, squares(100));
    Ok(())
}

fn map_async_fails(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let result = fails::job(&pool).map_async(0..100);
    assert!(panic_message(&task_error(result.get())).starts_with("never "));
    assert_usable(&pool);
    Ok(())
}

fn more_results_than_workers(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let results: Vec<_> = (0..500).map(|x| square::apply_async(&pool, x)).collect();
    assert_usable(&pool);
    for (x, result) in results.iter().enumerate().rev() {
        assert_eq!(result.get()?, square(x as u64));
    }
    Ok(())
}

fn dropped_result(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    drop(wait_for_token::apply_async(&pool, (&started.path(), &go_on.path(), 1)));
    started.take(1);
    go_on.put(1);
    assert_usable(&pool);
    Ok(())
}

fn joined(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let results: Vec<_> = (0..50).map(|x| square::apply_async(&pool, x)).collect();
    pool.join()?;
    for (x, result) in results.iter().enumerate() {
        assert_eq!(result.get()?, square(x as u64), "join finishes everything");
    }
    Ok(())
}

fn option_error(method: StartMethod) -> Result<(), Error> {
    let result = square::job(&pool(method)?).worker_lifespan(0).apply_async(1);
    assert!(result.ready());
    assert_fails!(result.get(), Error::Option { option: "worker_lifespan", .. });
    Ok(())
}

#[worker_task]
fn dies() {
    die(Signal::SIGKILL)
}

fn death_leaves_the_others(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let first = wait_for_token::apply_async(&pool, (&started.path(), &go_on.path(), 1));
    started.take(1);
    let second = dies::apply_async(&pool, ());
    assert!(matches!(task_error(second.get()).kind(), TaskErrorKind::Died(_)));
    assert!(!first.ready());
    go_on.put(1);
    assert_eq!(first.get()?, 1);
    Ok(())
}

fn timeout_leaves_the_others(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on, never) = (Tokens::new(), Tokens::new(), Tokens::new());
    let first = wait_for_token::apply_async(&pool, (&started.path(), &go_on.path(), 1));
    started.take(1);
    let limit = Duration::from_millis(50);
    let second =
        wait_for_token::job(&pool).task_timeout(limit).apply_async((&started.path(), &never.path(), 2));
    assert!(matches!(task_error(second.get()).kind(), TaskErrorKind::TimedOut(told) if *told == limit));
    assert!(!first.ready());
    go_on.put(1);
    assert_eq!(first.get()?, 1);
    Ok(())
}
