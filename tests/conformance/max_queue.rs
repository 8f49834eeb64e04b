//! A bound on the tasks in the background.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use futures::executor::block_on;
use futures::future::{join_all, select};
use nix::sys::signal::Signal;
use pool::{Error, StartMethod, WorkerPool, worker_task};

use crate::executors::{in_each, waker};
use crate::harness::cases;
use crate::support::{Tokens, assert_fails, assert_usable, builder, die, square, squares, wait_for_token};

cases! {
    All: busy_at_once, room_after_a_result, each_item_counts, other_calls_do_not_count, a_wait_for_room,
         a_wait_that_is_given_up, cancelled, the_pool_ends, no_bound, zero;
    Processes: room_after_a_death;
}

fn bounded(method: StartMethod, most: usize) -> Result<WorkerPool, Error> {
    builder(method).max_queue(most).build()
}

fn busy_at_once(method: StartMethod) -> Result<(), Error> {
    let pool = bounded(method, 3)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let call = |x| wait_for_token::apply_async(&pool, (&*started_path, &*go_on_path, x));
    let results: Vec<_> = (0..3).map(call).collect();
    started.take(2);
    for _ in 0..2 {
        let refused = square::apply_async(&pool, 3);
        assert!(refused.ready());
        assert_fails!(refused.get(), Error::Busy { queued: 3, most: 3 });
        assert_fails!(square::job(&pool).map_async(0..2).get(), Error::Busy { queued: 3, most: 3 });
    }
    go_on.put(3);
    for (x, result) in results.iter().enumerate() {
        assert_eq!(result.get()?, x as u64);
    }
    assert_eq!(square::apply_async(&pool, 3).get()?, 9);
    Ok(())
}

fn room_after_a_result(method: StartMethod) -> Result<(), Error> {
    let pool = bounded(method, 1)?;
    for x in 0..200 {
        // Once its result has come, a task no longer takes a place.
        assert_eq!(square::apply_async(&pool, x).get()?, square(x));
    }
    assert_eq!(square::job(&pool).map_async([5]).get()?, [25]);
    assert_eq!(square::apply_async(&pool, 5).get()?, 25);
    Ok(())
}

fn each_item_counts(method: StartMethod) -> Result<(), Error> {
    let pool = bounded(method, 10)?;
    assert_eq!(square::job(&pool).map_async(0..10).get()?, squares(10));
    let mut pulled = 0;
    let endless = std::iter::from_fn(|| {
        pulled += 1;
        Some(pulled)
    });
    assert_fails!(square::job(&pool).map_async(endless).get(), Error::Busy { queued: 0, most: 10 });
    assert_eq!(pulled, 11, "what finds no room is not pulled");
    assert_fails!(square::job(&pool).map_async(0..11).get(), Error::Busy { queued: 0, most: 10 });
    assert_eq!(square::job(&pool).iterable_len(10).map_async(0..11).get()?, squares(10));
    Ok(())
}

fn other_calls_do_not_count(method: StartMethod) -> Result<(), Error> {
    let pool = bounded(method, 1)?;
    assert_usable(&pool);
    assert_eq!(square::par_imap(&pool, 0..100).collect::<Result<Vec<_>, _>>()?, squares(100));
    assert_eq!(square::apply(&pool, 4)?, 16);
    Ok(())
}

fn can_be_spawned<F: Future + Send>(future: F) -> F {
    future
}

fn a_wait_for_room(method: StartMethod) -> Result<(), Error> {
    let pool = bounded(method, 2)?;
    in_each(async || {
        let bounded = &pool;
        let calls =
            (0..100).map(|x| async move { square::job(bounded).apply_async_when_ready(x).await.await });
        let squared: Result<Vec<_>, _> = join_all(calls).await.into_iter().collect();
        assert_eq!(squared?, squares(100));
        Ok(())
    })?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let call = |x| wait_for_token::apply_async(&pool, (&*started_path, &*go_on_path, x));
    let busy = (call(1), call(2));
    started.take(2);
    let mut waits = pin!(can_be_spawned(square::job(&pool).apply_async_when_ready(3)));
    let (waker, woken) = waker();
    let mut cx = Context::from_waker(&waker);
    assert!(waits.as_mut().poll(&mut cx).is_pending());
    go_on.put(1);
    woken.recv().unwrap();
    let Poll::Ready(result) = waits.as_mut().poll(&mut cx) else { panic!("there is room") };
    go_on.put(1);
    assert_eq!((result.get()?, busy.0.get()?, busy.1.get()?), (9, 1, 2));
    Ok(())
}

fn a_wait_that_is_given_up(method: StartMethod) -> Result<(), Error> {
    let pool = bounded(method, 1)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let busy = wait_for_token::apply_async(&pool, (&started.path(), &go_on.path(), 1));
    started.take(1);
    {
        let mut first = Box::pin(square::job(&pool).apply_async_when_ready(2));
        let mut second = Box::pin(square::job(&pool).apply_async_when_ready(3));
        let (waker, woken) = waker();
        let mut cx = Context::from_waker(&waker);
        for wait in [&mut first, &mut second] {
            assert!(Future::poll(Pin::new(wait), &mut cx).is_pending());
        }
        go_on.put(1);
        woken.recv().unwrap();
        // The first one has got the place. If it is dropped, the next one gets it.
        drop(first);
        assert_eq!(block_on(async { second.await.await })?, 9);
    }
    assert_eq!(busy.get()?, 1);
    assert_eq!(square::apply_async(&pool, 4).get()?, 16);
    Ok(())
}

fn cancelled(method: StartMethod) -> Result<(), Error> {
    let pool = bounded(method, 1)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let running = wait_for_token::apply_async(&pool, (&started.path(), &go_on.path(), 1));
    started.take(1);
    assert_fails!(square::apply_async(&pool, 1).get(), Error::Busy { .. });
    running.cancel();
    assert_fails!(running.get(), Error::Cancelled);
    assert_eq!(square::apply_async(&pool, 4).get()?, 16);
    // A thread can't be killed, so let it end.
    go_on.put(1);
    Ok(())
}

fn the_pool_ends(method: StartMethod) -> Result<(), Error> {
    let pool = bounded(method, 1)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let running = wait_for_token::apply_async(&pool, (&started.path(), &go_on.path(), 1));
    started.take(1);
    block_on(async {
        let waits = pin!(async { square::job(&pool).apply_async_when_ready(2).await.await });
        let ends = pin!(async {
            std::thread::scope(|scope| {
                let ends = scope.spawn(|| pool.shutdown().map(|_| ()));
                while square::par_map(&pool, []).is_ok() {
                    std::thread::yield_now();
                }
                go_on.put(1);
                ends.join().unwrap()
            })
        });
        // Both end: the wait ends with the task before, and then the call is refused.
        let (ends, waits) = match select(waits, ends).await {
            futures::future::Either::Left((waits, ends)) => (ends.await, waits),
            futures::future::Either::Right((ends, waits)) => (ends, waits.await),
        };
        ends?;
        assert_fails!(waits, Error::Closed);
        Ok::<_, Error>(())
    })?;
    assert_eq!(running.get()?, 1);
    Ok(())
}

fn no_bound(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).build()?;
    let results: Vec<_> = (0..2000).map(|x| square::apply_async(&pool, x)).collect();
    for (x, result) in results.iter().enumerate() {
        assert_eq!(result.get()?, square(x as u64));
    }
    assert_eq!(block_on(async { square::job(&pool).apply_async_when_ready(3).await.await })?, 9);
    Ok(())
}

fn zero(method: StartMethod) -> Result<(), Error> {
    assert_fails!(bounded(method, 0), Error::Option { option: "max_queue", .. });
    Ok(())
}

#[worker_task]
fn dies() {
    die(Signal::SIGKILL)
}

fn room_after_a_death(method: StartMethod) -> Result<(), Error> {
    let pool = bounded(method, 1)?;
    for _ in 0..3 {
        assert!(dies::apply_async(&pool, ()).get().is_err());
        assert_eq!(square::apply_async(&pool, 4).get()?, 16);
    }
    Ok(())
}
