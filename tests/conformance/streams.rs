//! Results as streams: what holds for lazy iterators, on executors whose thread must never wait.

use std::cell::{Cell, RefCell};
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::join;
use futures::stream::{FusedStream, Stream, StreamExt, TryStreamExt};
use nix::sys::signal::Signal;
use pool::indicatif::{ProgressBar, ProgressDrawTarget};
use pool::{Error, StartMethod, TaskErrorKind, WorkerPool, worker_exit, worker_task};

use crate::executors::{
    in_each, tokio, wait_until_the_courier_is_gone, wait_until_the_courier_sleeps, waker, yield_now,
};
use crate::harness::cases;
use crate::support::{
    Tokens, assert_fails, assert_usable, builder, die, panic_message, pool, put_token, ready, sorted, square,
    squares, take_all_tokens, take_token, task_error, wait_for_token,
};

cases! {
    All: all_results, any_length, either_order, infinite_input, never_more_than_allowed,
         every_wake_up_comes, failed_tasks_are_items, option_error, fused, bounded_ahead, bounded_behind_a_slow_head, slow_input,
         works_before_it_is_polled, others_run_while_it_waits, nobody_polls_while_it_waits,
         the_last_waker_is_called, a_waker_that_calls_the_pool, a_waker_panics, moved_between_threads,
         two_at_once, one_waits_the_other_goes_on, beside_calls_of_another_thread, cancelled, given_up_in_time,
         dropped_half_way, dropped_while_it_waits, dropped_untouched, forgotten, exit_functions_before_the_end,
         an_exit_function_fails, counted_on_a_bar, woken_to_show_the_time;
    Processes: one_task_dies, time_limits_hold_while_nobody_polls, time_limits_hold_before_the_first_poll;
}

/// The result that comes next, if it is there.
fn poll<R>(stream: &mut (impl Stream<Item = R> + Unpin), waker: &Waker) -> Poll<Option<R>> {
    Pin::new(stream).poll_next(&mut Context::from_waker(waker))
}

fn all_results(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    in_each(async || {
        assert_eq!(square::par_stream(&pool, 0..1000).try_collect::<Vec<_>>().await?, squares(1000));
        let unordered = square::par_stream_unordered(&pool, 0..1000).try_collect().await?;
        assert_eq!(sorted::<u64>(unordered), squares(1000));
        assert_eq!(pool.stream::<square>(0..10).try_collect::<Vec<_>>().await?, squares(10));
        let unordered = pool.stream_unordered::<square>(0..10).try_collect().await?;
        assert_eq!(sorted::<u64>(unordered), squares(10));
        Ok(())
    })
}

fn any_length(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for n in [0, 1, 2, 7, 5000] {
        let job = || square::job(&pool).chunk_size(3);
        // With a known length and without one.
        assert_eq!(block_on(job().stream(0..n).try_collect::<Vec<_>>())?, squares(n));
        assert_eq!(block_on(job().stream((0..n).filter(|_| true)).count()) as u64, n);
        assert_eq!(block_on(job().iterable_len(4).stream_unordered(0..n).count()) as u64, n.min(4));
    }
    Ok(())
}

fn either_order(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for ordered in [false, true] {
        let (mut started, mut go_on, mut free) = (Tokens::new(), Tokens::new(), Tokens::new());
        let (started_path, go_on_path, free_path) = (started.path(), go_on.path(), free.path());
        free.put(1);
        let input = [(&*started_path, &*go_on_path, 0), (&*started_path, &*free_path, 1)];
        let job = wait_for_token::job(&pool).chunk_size(1);
        let mut results: Box<dyn Stream<Item = _> + Unpin> =
            if ordered { Box::new(job.stream(input)) } else { Box::new(job.stream_unordered(input)) };
        started.take(2);
        if ordered {
            assert!(poll(&mut results, &waker().0).is_pending(), "the first result is not there");
        } else {
            assert_eq!(block_on(results.next()).transpose()?, Some(1));
        }
        go_on.put(1);
        assert_eq!(block_on(results.next()).transpose()?, Some(0));
        assert_eq!(block_on(results.count()), usize::from(ordered));
    }
    Ok(())
}

fn infinite_input(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    in_each(async || {
        let first: Vec<u64> = square::par_stream(&pool, 0..).take(20_000).try_collect().await?;
        assert!(first == squares(20_000));
        let unordered = square::par_stream_unordered(&pool, 0..).take(20_000);
        assert_eq!(unordered.filter(|result| std::future::ready(result.is_ok())).count().await, 20_000);
        Ok(())
    })?;
    assert_usable(&pool);
    Ok(())
}

fn never_more_than_allowed(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let input = (0..6).map(|i| (&*started_path, &*go_on_path, i));
    let mut results = wait_for_token::job(&pool).max_tasks_active(1).stream(input);
    for i in 0..6 {
        let (waker, calls) = waker();
        assert!(poll(&mut results, &waker).is_pending());
        started.take(1);
        assert_eq!(take_all_tokens(&started_path), 0, "one at a time");
        go_on.put(1);
        calls.recv().unwrap();
        assert_eq!(block_on(results.next()).transpose()?, Some(i));
    }
    assert!(block_on(results.next()).is_none());
    Ok(())
}

fn every_wake_up_comes(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let tokio = tokio();
    for round in 0..200 {
        let results = square::job(&pool).max_tasks_active(1 + round % 5).stream(0..20);
        let results = results.try_collect::<Vec<_>>();
        let results = if round % 2 == 0 { block_on(results)? } else { tokio.block_on(results)? };
        assert_eq!(results, squares(20));
    }
    Ok(())
}

#[worker_task]
fn odd(x: u64) -> u64 {
    assert!(x % 2 == 1, "{x} is even");
    x
}

fn failed_tasks_are_items(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    in_each(async || {
        let results: Vec<_> = odd::par_stream(&pool, 0..100).collect().await;
        for (x, result) in results.into_iter().enumerate() {
            match x % 2 {
                1 => assert_eq!(result?, x as u64),
                _ => assert_eq!(panic_message(&task_error(result)), format!("{x} is even")),
            }
        }
        Ok(())
    })
}

#[worker_task]
fn dies_at(x: u64, at: u64) -> u64 {
    if x == at {
        die(Signal::SIGABRT);
    }
    x
}

fn one_task_dies(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    in_each(async || {
        let results: Vec<_> = dies_at::par_stream(&pool, (0..50).map(|x| (x, 20))).collect().await;
        assert_eq!(results.len(), 50);
        for (x, result) in results.into_iter().enumerate() {
            match x {
                20 => {
                    let error = task_error(result);
                    assert!(matches!(error.kind(), TaskErrorKind::Died(death) if death.signal() == Some(6)));
                    assert_eq!(error.task_index(), 20);
                }
                _ => assert_eq!(result?, x as u64),
            }
        }
        Ok(())
    })?;
    assert_usable(&pool);
    Ok(())
}

fn time_limits_hold_while_nobody_polls(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    let (mut started, mut free, never) = (Tokens::new(), Tokens::new(), Tokens::new());
    let (started_path, free_path, never_path) = (started.path(), free.path(), never.path());
    free.put(1);
    let limit = Duration::from_millis(50);
    let input = [(&*started_path, &*never_path, 0), (&*started_path, &*free_path, 1)];
    let mut results = wait_for_token::job(&pool).chunk_size(1).task_timeout(limit).stream(input);
    let (waker, calls) = waker();
    assert!(poll(&mut results, &waker).is_pending());
    // The second starts when the first is out of its way, and no poll has helped.
    started.take(2);
    calls.recv().unwrap();
    let results: Vec<_> = block_on(results.collect());
    let [first, second] = <[_; 2]>::try_from(results).unwrap();
    assert!(matches!(task_error(first).kind(), TaskErrorKind::TimedOut(told) if *told == limit));
    assert_eq!(second?, 1);
    Ok(())
}

fn time_limits_hold_before_the_first_poll(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).insights(true).build()?;
    let (started, never) = (Tokens::new(), Tokens::new());
    let (started_path, never_path) = (started.path(), never.path());
    let job = wait_for_token::job(&pool).task_timeout(Duration::from_millis(50));
    let mut results = job.stream([(&*started_path, &*never_path, 0)]);
    while pool.insights().workers.iter().all(|worker| worker.deaths == 0) {
        thread::yield_now();
    }
    let error = task_error(block_on(results.next()).unwrap());
    assert!(matches!(error.kind(), TaskErrorKind::TimedOut(_)));
    Ok(())
}

fn option_error(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let mut results = square::job(&pool).max_tasks_active(0).stream(0..10);
    assert_fails!(block_on(results.next()).unwrap(), Error::Option { option: "max_tasks_active", .. });
    assert!(block_on(results.next()).is_none() && results.is_terminated());
    Ok(())
}

fn fused(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let mut results = square::par_stream(&pool, 0..3);
    for _ in 0..3 {
        assert!(!results.is_terminated());
        block_on(results.next()).transpose()?;
    }
    for _ in 0..3 {
        assert!(block_on(results.next()).is_none() && results.is_terminated());
    }
    // It is at its end, so nobody attends to it.
    wait_until_the_courier_is_gone();
    Ok(())
}

fn bounded_ahead(method: StartMethod) -> Result<(), Error> {
    const ACTIVE: u64 = 10;
    let pool = pool(method)?;
    for ordered in [true, false] {
        let pulled = Cell::new(0);
        let input = (0..).inspect(|_| pulled.set(pulled.get() + 1));
        let job = square::job(&pool).chunk_size(2).max_tasks_active(ACTIVE as usize);
        let mut results: Box<dyn Stream<Item = _> + Unpin> =
            if ordered { Box::new(job.stream(input)) } else { Box::new(job.stream_unordered(input)) };
        for taken in 1..500u64 {
            block_on(results.next()).transpose()?;
            // A slow consumer: all is done that may be done before it comes again.
            if taken % 100 == 0 {
                wait_until_the_courier_sleeps();
            }
            let ahead = pulled.get() - taken;
            // What is in the caller's hands was pulled, but is not under way.
            assert!(ahead <= ACTIVE + 2048, "{ahead} items were pulled ahead of {taken}");
        }
    }
    assert_usable(&pool);
    Ok(())
}

#[worker_task]
fn waits_at_zero(started: &str, go_on: &str, x: u64) -> u64 {
    if x == 0 {
        put_token(started);
        take_token(go_on);
    }
    x
}

fn bounded_behind_a_slow_head(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for given in [true, false] {
        let (mut started, mut go_on, pulled) = (Tokens::new(), Tokens::new(), Cell::new(0));
        let (started_path, go_on_path) = (started.path(), go_on.path());
        let input = (0..).inspect(|_| pulled.set(pulled.get() + 1));
        let input = input.map(|i| (&*started_path, &*go_on_path, i));
        let job = waits_at_zero::job(&pool).chunk_size(2);
        // Two chunks a worker are the default.
        let mut results = if given { job.max_tasks_active(8) } else { job }.stream(input);
        started.take(1);
        let (waker, calls) = waker();
        loop {
            assert!(poll(&mut results, &waker).is_pending());
            // What is in the caller's hands was pulled, but is not under way.
            assert!(pulled.get() <= 8 + 2048, "{} items were pulled", pulled.get());
            wait_until_the_courier_sleeps();
            if calls.try_recv().is_err() {
                break;
            }
        }
        go_on.put(1);
        for i in 0..100 {
            assert_eq!(block_on(results.next()).transpose()?, Some(i));
        }
    }
    Ok(())
}

fn slow_input(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (started, mut go_on, pulled) = (Tokens::new(), Tokens::new(), Cell::new(0));
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let input = (0..10).map(|i| {
        let began = Instant::now();
        while began.elapsed() < Duration::from_millis(2) {}
        pulled.set(pulled.get() + 1);
        (&*started_path, &*go_on_path, i)
    });
    let results = wait_for_token::job(&pool).chunk_size(1).stream(input);
    let before = pulled.get();
    let other = async {
        assert_eq!(pulled.get(), before + 1, "others run between two items");
        go_on.put(10);
    };
    let (results, ()) = block_on(join(results.try_collect::<Vec<_>>(), other));
    assert_eq!(results?, Vec::from_iter(0..10));
    Ok(())
}

fn works_before_it_is_polled(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    go_on.put(1);
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let mut results = wait_for_token::par_stream(&pool, [(&*started_path, &*go_on_path, 5)]);
    started.take(1);
    assert_eq!(block_on(results.next()).transpose()?, Some(5));
    Ok(())
}

fn others_run_while_it_waits(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (started, go_on) = (Tokens::new(), RefCell::new(Tokens::new()));
    let (started_path, go_on_path) = (started.path(), go_on.borrow().path());
    in_each(async || {
        // So often that a trial has no time for waits that end when the pool looks around.
        for i in 0..40 {
            let mut results = wait_for_token::par_stream(&pool, [(&*started_path, &*go_on_path, i)]);
            // The task ends only by what the other future does, on the same thread.
            let other = async {
                while take_all_tokens(&started_path) == 0 {
                    yield_now().await;
                }
                go_on.borrow_mut().put(1);
            };
            let (result, ()) = join(results.next(), other).await;
            assert_eq!(result.transpose()?, Some(i));
        }
        Ok(())
    })
}

fn nobody_polls_while_it_waits(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on, mut free) = (Tokens::new(), Tokens::new(), Tokens::new());
    let (started_path, go_on_path, free_path) = (started.path(), go_on.path(), free.path());
    free.put(100);
    let input = (0..100).map(|i| (&*started_path, if i == 0 { &*go_on_path } else { &*free_path }, i));
    let mut results = wait_for_token::job(&pool).chunk_size(1).max_tasks_active(4).stream(input);
    let (waker, calls) = waker();
    assert!(poll(&mut results, &waker).is_pending());
    started.take(2);
    // There may be results behind the first. That they were told of is enough, whether they are taken or not.
    wait_until_the_courier_sleeps();
    assert!(poll(&mut results, &waker).is_pending());
    wait_until_the_courier_sleeps();
    while calls.try_recv().is_ok() {}
    go_on.put(1);
    calls.recv().unwrap();
    assert_eq!(block_on(results.try_collect::<Vec<_>>())?, Vec::from_iter(0..100));
    Ok(())
}

fn the_last_waker_is_called(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let mut results = wait_for_token::par_stream(&pool, [(&*started_path, &*go_on_path, 7)]);
    started.take(1);
    let ((first, first_calls), (last, last_calls)) = (waker(), waker());
    for waker in [&first, &last, &last] {
        assert!(poll(&mut results, waker).is_pending());
    }
    go_on.put(1);
    assert_eq!(last_calls.recv(), Ok(()));
    assert!(matches!(poll(&mut results, &first), Poll::Ready(Some(Ok(7)))));
    drop((first, last));
    assert_eq!((first_calls.iter().count(), last_calls.iter().count()), (0, 0), "one call for one result");
    Ok(())
}

/// Calls the pool when it is woken, then wakes another.
struct Calls {
    pool: WorkerPool,
    then: Mutex<Option<Waker>>,
}

impl Wake for Calls {
    fn wake(self: Arc<Self>) {
        assert_eq!(square::apply(&self.pool, 3).unwrap(), 9);
        drop(square::apply_async(&self.pool, 3));
        drop(square::par_stream(&self.pool, 0..10));
        if let Some(then) = self.then.lock().unwrap().take() {
            then.wake();
        }
    }
}

fn a_waker_that_calls_the_pool(method: StartMethod) -> Result<(), Error> {
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let (then, calls) = waker();
    let caller = Arc::new(Calls { pool: pool(method)?, then: Mutex::new(Some(then)) });
    let mut results = wait_for_token::par_stream(&caller.pool, [(&*started_path, &*go_on_path, 7)]);
    started.take(1);
    assert!(poll(&mut results, &Arc::clone(&caller).into()).is_pending());
    go_on.put(1);
    // Nothing is locked while a waker runs.
    calls.recv().unwrap();
    assert_eq!(block_on(results.next()).transpose()?, Some(7));
    drop(results);
    // The thread that has called the waker may hold it for a moment more.
    while Arc::strong_count(&caller) > 1 {
        thread::yield_now();
    }
    Ok(())
}

fn a_waker_panics(method: StartMethod) -> Result<(), Error> {
    struct Panics(std::sync::mpsc::Sender<()>);
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            self.0.send(()).unwrap();
            // A poll that has taken long calls it, too.
            assert_ne!(thread::current().name(), Some("pool courier"));
        }
    }
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let input = (0..4).map(|i| (&*started_path, &*go_on_path, i));
    let mut results = wait_for_token::job(&pool).max_tasks_active(1).stream(input);
    for i in 0..4 {
        let (tell, calls) = std::sync::mpsc::channel();
        assert!(poll(&mut results, &Arc::new(Panics(tell)).into()).is_pending());
        started.take(1);
        go_on.put(1);
        calls.recv().unwrap();
        assert_eq!(block_on(results.next()).transpose()?, Some(i));
    }
    Ok(())
}

fn moved_between_threads(method: StartMethod) -> Result<(), Error> {
    fn is_send<T: Send>(_: &T) {}
    let pool = ready(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let input = (0..20).map(|i| (&*started_path, &*go_on_path, i));
    let mut results = wait_for_token::job(&pool).chunk_size(1).stream_unordered(input);
    is_send(&results);
    let mut values = Vec::new();
    for _ in 0..20 {
        // It is pending here, and its result comes when it is polled there.
        assert!(poll(&mut results, &waker().0).is_pending());
        thread::scope(|scope| {
            let there = scope.spawn(|| block_on(results.next()));
            go_on.put(1);
            values.extend(there.join().unwrap().transpose()?);
            Ok::<_, Error>(())
        })?;
    }
    started.take(20);
    assert!(block_on(results.next()).is_none());
    assert_eq!(sorted(values), Vec::from_iter(0..20));
    Ok(())
}

fn two_at_once(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    in_each(async || {
        let (a, b) = (square::par_stream(&pool, 0..300), odd::par_stream(&pool, (0..300).map(|x| 2 * x + 1)));
        let c = square::job(&pool).worker_lifespan(20).stream(0..300);
        let mut all = a.zip(b).zip(c).enumerate();
        while let Some((x, ((a, b), c))) = all.next().await {
            assert_eq!([a?, b?, c?], [square(x as u64), 2 * x as u64 + 1, square(x as u64)]);
        }
        Ok(())
    })
}

fn one_waits_the_other_goes_on(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let waits = wait_for_token::par_stream(&pool, [(&*started_path, &*go_on_path, 1)]);
    started.take(1);
    block_on(async {
        let other = async {
            assert_eq!(square::par_stream(&pool, 0..500).try_collect::<Vec<_>>().await?, squares(500));
            assert_eq!(square::apply_async(&pool, 5).await?, 25);
            go_on.put(1);
            Ok::<_, Error>(())
        };
        let (waits, other) = join(waits.try_collect::<Vec<_>>(), other).await;
        other?;
        assert_eq!(waits?, [1]);
        Ok(())
    })
}

fn beside_calls_of_another_thread(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    thread::scope(|scope| {
        // Now this thread leads and now that, and now the pool's own.
        let other = scope.spawn(|| (0..200).for_each(|_| assert_usable(&pool)));
        while !other.is_finished() {
            let results = square::job(&pool).max_tasks_active(8).stream(0..200);
            assert_eq!(block_on(results.try_collect::<Vec<_>>())?, squares(200));
        }
        Ok(())
    })
}

fn cancelled(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let mut started = Tokens::new();
    let started_path = started.path();
    // Each task has its own: a worker that was killed leaves its token, and a thread may take it late.
    let mut tokens = Vec::new();
    // So often that a trial has no time for wake-ups that come only when the pool looks around.
    for _ in 0..70 {
        let mut go_on = Tokens::new();
        let go_on_path = go_on.path();
        let mut results = wait_for_token::par_stream(&pool, [(&*started_path, &*go_on_path, 1)]);
        started.take(1);
        let (waker, calls) = waker();
        assert!(poll(&mut results, &waker).is_pending());
        pool.cancel_handle().cancel();
        calls.recv().unwrap();
        assert_fails!(block_on(results.next()).unwrap(), Error::Cancelled);
        assert!(block_on(results.next()).is_none());
        drop(results);
        go_on.put(1);
        assert_usable(&pool);
        tokens.push(go_on);
    }
    Ok(())
}

fn given_up_in_time(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let mut results = wait_for_token::par_stream(&pool, [(&*started_path, &*go_on_path, 1)]);
    started.take(1);
    tokio().block_on(async {
        // What is given up is the wait for the result, not the result.
        assert!(tokio::time::timeout(Duration::from_millis(1), results.next()).await.is_err());
        go_on.put(1);
        assert_eq!(results.next().await.transpose()?, Some(1));
        Ok(())
    })
}

fn dropped_half_way(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for n in [0, 1, 10, 500] {
        let mut results = square::par_stream(&pool, 0..100_000);
        for x in 0..n {
            assert_eq!(block_on(results.next()).transpose()?, Some(square(x)));
        }
        drop(results);
        assert_usable(&pool);
        let mut results = square::par_stream_unordered(&pool, 0..);
        assert_eq!(block_on(results.by_ref().take(10).count()), 10);
        drop(results);
        assert_usable(&pool);
    }
    wait_until_the_courier_is_gone();
    Ok(())
}

fn dropped_while_it_waits(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let input = (0..).map(|i| (&*started_path, &*go_on_path, i));
    let mut results = wait_for_token::job(&pool).chunk_size(1).stream(input);
    started.take(2);
    let (waker, calls) = waker();
    loop {
        assert!(poll(&mut results, &waker).is_pending());
        // A poll that has taken long lets others run: then it has said itself that it goes on.
        if calls.try_recv().is_err() {
            break;
        }
    }
    drop(results);
    drop(waker);
    // Nobody has been woken, nobody will be, and nobody drives any more.
    assert_eq!(calls.iter().count(), 0);
    wait_until_the_courier_is_gone();
    // The tasks that run are let go; those behind them must not run any more.
    go_on.put(2);
    assert_usable(&pool);
    Ok(())
}

fn dropped_untouched(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    drop(square::par_stream(&pool, 0..));
    drop(square::par_stream(&pool, 0..0));
    assert_usable(&pool);
    Ok(())
}

fn forgotten(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let mut results = wait_for_token::par_stream(&pool, [(&*started_path, &*go_on_path, 1)]);
    started.take(1);
    assert!(poll(&mut results, &waker().0).is_pending());
    mem::forget(results);
    assert_usable(&pool);
    // A thread can't be killed; it is let go.
    go_on.put(1);
    drop(pool);
    Ok(())
}

#[worker_task(exit = leaves)]
fn arrives(#[shared] _: &(String, String), x: u64) -> u64 {
    x
}

#[worker_exit]
fn leaves(#[shared] (leaving, may_leave): &(String, String)) -> u32 {
    put_token(leaving);
    take_token(may_leave);
    1
}

fn exit_functions_before_the_end(method: StartMethod) -> Result<(), Error> {
    let (leaving, mut may_leave) = (Tokens::new(), Tokens::new());
    let shared = (leaving.path(), may_leave.path());
    let pool = builder(method).keep_alive(false).shared(shared).build()?;
    for calls in 1..=2 {
        let results = arrives::par_stream(&pool, 0..10).try_collect::<Vec<_>>();
        let other = async {
            while take_all_tokens(&leaving.path()) == 0 {
                yield_now().await;
            }
            may_leave.put(2);
        };
        let (results, ()) = block_on(join(results, other));
        assert_eq!(results?, Vec::from_iter(0..10));
        assert_eq!(pool.exit_results::<leaves>()?, vec![1; 2 * calls], "all have left when the stream ends");
    }
    Ok(())
}

#[worker_task(exit = fails_to_leave)]
fn stays(x: u64) -> u64 {
    x
}

#[worker_exit]
fn fails_to_leave() {
    panic!("at the exit")
}

fn an_exit_function_fails(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).keep_alive(false).build()?;
    let mut results = stays::par_stream(&pool, 0..3);
    for x in 0..3 {
        assert_eq!(block_on(results.next()).transpose()?, Some(x));
    }
    let error = task_error(block_on(results.next()).unwrap());
    assert!(matches!(error.kind(), TaskErrorKind::Exit(_)), "{error}");
    assert!(block_on(results.next()).is_none());
    Ok(())
}

fn bar() -> ProgressBar {
    ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden())
}

fn counted_on_a_bar(method: StartMethod) -> Result<(), Error> {
    let (pool, done, left) = (pool(method)?, bar(), bar());
    assert_eq!(block_on(odd::job(&pool).progress(done.clone()).stream(0..10).count()), 10);
    assert_eq!((done.position(), done.length(), done.message()), (10, Some(10), " 5 failed".into()));
    assert!(done.is_finished());
    let mut results = square::job(&pool).progress(left.clone()).stream(0..1_000_000);
    block_on(results.next()).transpose()?;
    drop(results);
    assert!(!left.is_finished() && left.position() < 1_000_000);
    Ok(())
}

fn woken_to_show_the_time(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let input = [(&*started_path, &*go_on_path, 1)];
    let mut results = wait_for_token::job(&pool).progress(bar()).stream(input);
    started.take(1);
    for _ in 0..3 {
        let (waker, calls) = waker();
        assert!(poll(&mut results, &waker).is_pending());
        calls.recv().unwrap();
    }
    go_on.put(1);
    assert_eq!(block_on(results.next()).transpose()?, Some(1));
    Ok(())
}
