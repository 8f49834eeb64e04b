//! Streams of results do what lazy iterators do, on executors whose thread must never block.

use std::cell::Cell;
use std::mem;

use futures::executor::block_on;
use futures::future::join;
use futures::stream::{FusedStream, Stream, StreamExt, TryStreamExt};
use nix::sys::signal::Signal;
use pool::indicatif::{ProgressBar, ProgressDrawTarget};
use pool::{Error, StartMethod, TaskErrorKind, worker_exit, worker_task};

use crate::executors::{
    in_each, poll, wait_until_the_background_is_gone, wait_until_the_background_sleeps, waker, yield_now,
};
use crate::harness::cases;
use crate::support::{
    Tokens, assert_fails, assert_usable, builder, die, panic_message, pool, put_token, sorted, square,
    squares, take_all_tokens, take_token, task_error, wait_for_token,
};

cases! {
    All: all_results, any_length, either_order, infinite_input, never_more_than_allowed, failed_tasks_are_items,
         option_error, fused, bounded_ahead, bounded_behind_a_slow_head, two_at_once, cancelled, dropped_half_way,
         dropped_untouched, forgotten, exit_functions_before_the_end, an_exit_function_fails, counted_on_a_bar;
    Processes: one_task_dies;
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
    // The stream is at its end, so the pool's thread ends, too.
    wait_until_the_background_is_gone();
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
            // A slow consumer: meanwhile the pool does all that it may.
            if taken % 100 == 0 {
                wait_until_the_background_sleeps();
            }
            let ahead = pulled.get() - taken;
            assert!(ahead <= ACTIVE, "{ahead} items were pulled ahead of {taken}");
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
        // The default is two chunks per worker.
        let mut results = if given { job.max_tasks_active(8) } else { job }.stream(input);
        started.take(1);
        let (waker, calls) = waker();
        loop {
            assert!(poll(&mut results, &waker).is_pending());
            assert!(pulled.get() <= 8, "{} items were pulled", pulled.get());
            wait_until_the_background_sleeps();
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

fn cancelled(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let mut started = Tokens::new();
    let started_path = started.path();
    // Each task has tokens of its own: a killed worker leaves its token, and a thread may take it late.
    let mut tokens = Vec::new();
    // So many rounds that a trial has no time for wake-ups that come only at the pool's next check.
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
    wait_until_the_background_is_gone();
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
    // A thread can't be killed, so let it end.
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
