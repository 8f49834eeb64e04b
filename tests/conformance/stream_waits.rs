//! While a stream waits: which tasks are woken and when, and that nothing else is held up.

use std::cell::{Cell, RefCell};
use std::sync::{Arc, Mutex};
use std::task::{Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use futures::executor::block_on;
use futures::future::join;
use futures::stream::{StreamExt, TryStreamExt};
use pool::indicatif::{ProgressBar, ProgressDrawTarget};
use pool::{Error, StartMethod, TaskErrorKind, WorkerPool};

use crate::executors::{
    in_each, poll, tokio, wait_until_the_background_is_gone, wait_until_the_background_sleeps, waker,
    yield_now,
};
use crate::harness::cases;
use crate::support::{
    Tokens, assert_usable, builder, pool, ready, sorted, square, squares, take_all_tokens, task_error,
    wait_for_token,
};

cases! {
    All: every_wake_up_comes, slow_input, works_before_it_is_polled, others_run_while_it_waits,
         nobody_polls_while_it_waits, the_last_waker_is_called, a_waker_that_calls_the_pool, a_waker_panics,
         moved_between_threads, one_waits_the_other_goes_on, beside_calls_of_another_thread, given_up_in_time,
         dropped_while_it_waits, woken_to_show_the_time;
    Processes: time_limits_hold_while_nobody_polls, time_limits_hold_before_the_first_poll;
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
    // The second task starts once the first is out of the way, without a poll.
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
        // So many rounds that a trial has no time for waits that end only at the pool's next check.
        for i in 0..40 {
            let mut results = wait_for_token::par_stream(&pool, [(&*started_path, &*go_on_path, i)]);
            // The task ends only through the other future, on the same thread.
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
    // There may be results behind the first. One wake-up for these is enough, even if nobody takes them.
    wait_until_the_background_sleeps();
    assert!(poll(&mut results, &waker).is_pending());
    wait_until_the_background_sleeps();
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

/// Calls the pool when it is woken, then wakes another waker.
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
    // The thread that called the waker may hold it for another moment.
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
            // A poll that takes long calls it, too.
            assert_ne!(thread::current().name(), Some("pool background"));
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
        // It is polled here first, and its result comes while another thread polls it.
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
        // Either of these threads may lead, or the pool's own.
        let other = scope.spawn(|| (0..200).for_each(|_| assert_usable(&pool)));
        while !other.is_finished() {
            let results = square::job(&pool).max_tasks_active(8).stream(0..200);
            assert_eq!(block_on(results.try_collect::<Vec<_>>())?, squares(200));
        }
        Ok(())
    })
}

fn given_up_in_time(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let mut results = wait_for_token::par_stream(&pool, [(&*started_path, &*go_on_path, 1)]);
    started.take(1);
    tokio().block_on(async {
        // The timeout gives up the wait, not the result.
        assert!(tokio::time::timeout(Duration::from_millis(1), results.next()).await.is_err());
        go_on.put(1);
        assert_eq!(results.next().await.transpose()?, Some(1));
        Ok(())
    })
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
        // A poll that takes long returns early to let others run, and calls the waker itself.
        if calls.try_recv().is_err() {
            break;
        }
    }
    drop(results);
    drop(waker);
    // Nobody was woken, nobody will be, and the pool's thread ends.
    assert_eq!(calls.iter().count(), 0);
    wait_until_the_background_is_gone();
    // Let the running tasks end; those behind them must not begin any more.
    go_on.put(2);
    assert_usable(&pool);
    Ok(())
}

fn woken_to_show_the_time(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let input = [(&*started_path, &*go_on_path, 1)];
    let mut results = wait_for_token::job(&pool)
        .progress(ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden()))
        .stream(input);
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
