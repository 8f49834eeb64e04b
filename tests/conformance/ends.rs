//! How single calls end, and pools that have several owners.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::task::Context;
use std::thread;
use std::time::Duration;

use futures::StreamExt;
use pool::{Error, StartMethod, WorkerPool, worker_exit, worker_task};

use crate::executors::{tokio, waker};
use crate::harness::cases;
use crate::support::{
    Tokens, assert_fails, assert_usable, pool, ready, square, squares, wait_for_token,
    wait_until_the_main_thread_sleeps,
};

cases! {
    All: one_blocking_call_of_two, before_the_call, each_kind_of_call, after_the_call, of_an_asynchronous_call,
         on_drop, not_on_drop, a_result_that_is_there_stays, idle, idle_beside_another_thread, shared_pool,
         shut_down_twice, shut_down_beside_calls, shut_down_in_a_callback;
    Processes: the_worker_is_free_again;
}

fn one_blocking_call_of_two(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let job = wait_for_token::job(&pool);
    let handle = job.cancel_handle();
    thread::scope(|scope| {
        let cancelled = scope.spawn(|| job.apply((&*started_path, &*go_on_path, 1)));
        started.take(1);
        let other = scope.spawn(|| wait_for_token::apply(&pool, (&*started_path, &*go_on_path, 2)));
        started.take(1);
        handle.cancel();
        assert_fails!(cancelled.join().unwrap(), Error::Cancelled);
        // One token for the cancelled task, if it still runs, and one for the other.
        go_on.put(2);
        assert_eq!(other.join().unwrap()?, 2);
        Ok::<_, Error>(())
    })?;
    assert_usable(&pool);
    Ok(())
}

fn before_the_call(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let cancelled = || {
        let job = square::job(&pool);
        job.cancel_handle().cancel();
        // All handles of a job, and their clones, stand for the same call.
        let (_, _) = (job.cancel_handle().clone(), job.cancel_handle());
        job.chunk_size(1)
    };
    assert_fails!(cancelled().map(0..10), Error::Cancelled);
    assert_fails!(cancelled().map_unordered(0..10), Error::Cancelled);
    assert_fails!(cancelled().map_outcomes(0..10), Error::Cancelled);
    assert_fails!(cancelled().apply(1), Error::Cancelled);
    assert_fails!(cancelled().apply_async(1).get(), Error::Cancelled);
    assert_fails!(cancelled().map_async(0..10).get(), Error::Cancelled);
    let lazy: Vec<_> = cancelled().imap(0..).collect();
    assert!(matches!(&lazy[..], [Err(Error::Cancelled)]));
    let streamed: Vec<_> = futures::executor::block_on(cancelled().stream(0..).collect());
    assert!(matches!(&streamed[..], [Err(Error::Cancelled)]));
    assert_usable(&pool);
    Ok(())
}

fn each_kind_of_call(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    for kind in 0..3 {
        // New ones for each call: with threads, cancelled tasks go on, and would take tokens of the next call.
        let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
        let (started_path, go_on_path) = (started.path(), go_on.path());
        let items = (0..2).map(|x| (&*started_path, &*go_on_path, x));
        let job = wait_for_token::job(&pool);
        let handle = job.cancel_handle();
        let mut cancel_begun = || {
            // The second task may not have begun: its worker starts only while somebody asks for results.
            started.take(1);
            handle.cancel();
        };
        let results: Vec<_> = match kind {
            0 => {
                let iterator = job.imap(items);
                cancel_begun();
                iterator.collect()
            }
            1 => {
                let stream = job.stream_unordered(items);
                cancel_begun();
                futures::executor::block_on(stream.collect())
            }
            _ => {
                let many = job.map_async(items);
                cancel_begun();
                vec![many.get().map(|_| 0)]
            }
        };
        assert!(matches!(&results[..], [Err(Error::Cancelled)]), "{kind}: {results:?}");
        go_on.put(2);
        assert_usable(&pool);
    }
    Ok(())
}

fn after_the_call(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = square::job(&pool);
    let handle = job.cancel_handle();
    assert_eq!(job.map(0..10)?, squares(10));
    handle.cancel();
    assert_usable(&pool);
    drop(pool);
    handle.cancel();
    Ok(())
}

fn of_an_asynchronous_call(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let call = |x| wait_for_token::apply_async(&pool, (&*started_path, &*go_on_path, x));
    let (first, second) = (call(1), call(2));
    started.take(2);
    let handle = first.cancel_handle();
    thread::scope(|scope| scope.spawn(move || handle.cancel()).join()).unwrap();
    assert_fails!(first.get(), Error::Cancelled);
    assert!(!second.ready());
    // Two tokens, because the cancelled task may have taken one before its worker ended.
    go_on.put(2);
    assert_eq!(second.get()?, 2);
    Ok(())
}

fn on_drop(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let (tell, told) = channel();
    let call = |x| {
        let tell = tell.clone();
        let result = wait_for_token::apply_async(&pool, (&*started_path, &*go_on_path, x)).cancel_on_drop();
        result.on_error(move |error| tell.send(error.clone()).unwrap())
    };
    let (first, second) = (call(1), call(2));
    started.take(2);
    drop(first);
    assert!(matches!(told.recv(), Ok(Error::Cancelled)));
    tokio().block_on(async {
        assert!(tokio::time::timeout(Duration::from_millis(1), second).await.is_err());
    });
    assert!(matches!(told.recv(), Ok(Error::Cancelled)));
    // Threads can't be killed, so let them end.
    go_on.put(2);
    assert_usable(&pool);
    Ok(())
}

fn not_on_drop(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (tell, told) = channel();
    let result = wait_for_token::apply_async(&pool, (&started.path(), &go_on.path(), 1));
    drop(result.on_success(move |value| tell.send(*value).unwrap()));
    started.take(1);
    go_on.put(1);
    assert_eq!(told.recv(), Ok(1));
    Ok(())
}

fn a_result_that_is_there_stays(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (tell, told) = channel();
    let result = square::apply_async(&pool, 3).cancel_on_drop();
    assert_eq!(result.get()?, 9);
    drop(result.on_success(move |value| tell.send(*value).unwrap()));
    assert_eq!(told.recv(), Ok(9));
    let mut awaited = Box::pin(square::apply_async(&pool, 4).cancel_on_drop());
    let (waker, woken) = waker();
    while Future::poll(Pin::new(&mut awaited), &mut Context::from_waker(&waker)).is_pending() {
        woken.recv().unwrap();
    }
    drop(awaited);
    assert_usable(&pool);
    Ok(())
}

fn the_worker_is_free_again(method: StartMethod) -> Result<(), Error> {
    let pool = WorkerPool::builder().start_method(method).workers(1).build()?;
    let (mut started, never) = (Tokens::new(), Tokens::new());
    let given_up = wait_for_token::apply_async(&pool, (&started.path(), &never.path(), 1)).cancel_on_drop();
    started.take(1);
    drop(given_up);
    // Otherwise the only worker would be busy for ever.
    assert_eq!(square::apply(&pool, 3)?, 9);
    Ok(())
}

fn idle(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    pool.wait_idle()?;
    let results: Vec<_> = (0..50).map(|x| square::apply_async(&pool, x)).collect();
    let all = square::job(&pool).map_async(0..1000);
    pool.wait_idle()?;
    assert!(all.ready() && results.iter().all(|result| result.ready()));
    assert_usable(&pool);
    pool.wait_idle()
}

fn idle_beside_another_thread(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    thread::scope(|scope| {
        let call = scope.spawn(|| wait_for_token::apply(&pool, (&*started_path, &*go_on_path, 1)));
        started.take(1);
        scope.spawn(move || {
            wait_until_the_main_thread_sleeps();
            go_on.put(1);
        });
        pool.wait_idle()?;
        assert_eq!(call.join().unwrap()?, 1);
        Ok(())
    })
}

#[worker_exit]
fn one() -> u64 {
    1
}

#[worker_task(exit = one)]
fn counted(x: u64) -> u64 {
    x
}

fn shared_pool(method: StartMethod) -> Result<(), Error> {
    let pool = Arc::new(pool(method)?);
    let other = Arc::clone(&pool);
    let results: Vec<_> = (0..50).map(|x| counted::apply_async(&pool, x)).collect();
    let ended = pool.shutdown()?.exit_results::<one>()?;
    assert!(!ended.is_empty() && ended.iter().all(|one| *one == 1));
    for (x, result) in results.iter().enumerate() {
        assert_eq!(result.get()?, x as u64);
    }
    assert_fails!(square::apply(&other, 1), Error::Closed);
    assert_fails!(square::par_map(&other, 0..10), Error::Closed);
    assert_fails!(square::apply_async(&other, 1).get(), Error::Closed);
    assert!(matches!(&square::par_imap(&other, 0..10).collect::<Vec<_>>()[..], [Err(Error::Closed)]));
    other.wait_idle()?;
    drop(pool);
    Arc::into_inner(other).unwrap().join().map(|_| ())
}

fn shut_down_twice(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    thread::scope(|scope| {
        let ends: Vec<_> = (0..3).map(|_| scope.spawn(|| pool.shutdown().map(|_| ()))).collect();
        ends.into_iter().try_for_each(|end| end.join().unwrap())
    })?;
    pool.shutdown()?;
    pool.terminate();
    // Before the first call, a pool has nothing to shut down.
    let unused = crate::support::pool(method)?;
    unused.shutdown()?;
    assert_fails!(square::apply(&unused, 1), Error::Closed);
    Ok(())
}

fn shut_down_beside_calls(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let items = |n| (0..n).map(|x| (&*started_path, &*go_on_path, x));
    thread::scope(|scope| {
        let call = scope.spawn(|| wait_for_token::par_map(&pool, items(10)));
        started.take(2);
        let ends = scope.spawn(|| pool.shutdown().map(|_| ()));
        // A call without items, because all workers are busy.
        while square::par_map(&pool, []).is_ok() {
            thread::yield_now();
        }
        // Calls that are already open go on.
        go_on.put(10);
        assert_eq!(call.join().unwrap()?, (0..10).collect::<Vec<_>>());
        ends.join().unwrap()
    })
}

fn shut_down_in_a_callback(method: StartMethod) -> Result<(), Error> {
    let pool = Arc::new(pool(method)?);
    let (tell, told) = channel();
    let ends = Arc::clone(&pool);
    let result = square::apply_async(&pool, 3).on_success(move |_| {
        tell.send(ends.shutdown().map(|_| ())).unwrap();
    });
    told.recv().unwrap()?;
    assert_eq!(result.get()?, 9);
    assert_fails!(square::apply(&pool, 1), Error::Closed);
    Ok(())
}
