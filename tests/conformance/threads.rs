//! Several threads call one pool, and one thread cancels the calls of others.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use pool::shared::{SharedArray, SharedCounter};
use pool::{Error, StartMethod, worker_task};

use crate::harness::cases;
use crate::support::{
    Tokens, assert_fails, assert_usable, builder, pool, put_token, square, squares, take_token,
    wait_for_token, wait_until_the_main_thread_sleeps,
};

cases! {
    All: share_the_workers, short_beside_long, beside_a_call_that_ends, cancel_from_another_thread,
         short_lived_callers;
    BesideThreads: first_call_from_a_thread;
}

fn share_the_workers(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    // The workers start here, as long as there is one thread only.
    assert_usable(&pool);
    thread::scope(|scope| {
        for caller in 0..10 {
            let pool = &pool;
            scope.spawn(move || {
                for n in 0..30 {
                    assert_eq!(square::par_map(pool, 0..n).unwrap(), squares(n));
                    assert_eq!(square::apply(pool, caller).unwrap(), square(caller));
                    assert_eq!(square::par_imap(pool, 0..n).count() as u64, n);
                    assert_eq!(square::apply_async(pool, n).get().unwrap(), square(n));
                }
            });
        }
    });
    assert_usable(&pool);
    Ok(())
}

#[worker_task]
fn nap(ms: u64) {
    thread::sleep(Duration::from_millis(ms));
}

/// Fails at once in the first chunk, and takes a while in the others.
#[worker_task]
fn fail_or_nap(#[chunk] rows: &[u64]) -> Vec<u64> {
    assert_ne!(rows[0], 0, "it fails");
    nap(rows[0]);
    rows.to_vec()
}

/// A failed call waits until no task uses the array that it lent. If it was the one that watched the workers for all
/// callers, another caller takes over.
fn beside_a_call_that_ends(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(3).build()?;
    assert_usable(&pool);
    for _ in 0..5 {
        let (mut array, is_over) = (SharedArray::from_slice(&[0, 120])?, AtomicBool::new(false));
        thread::scope(|scope| {
            scope.spawn(|| {
                fail_or_nap::job(&pool).chunk_size(1).map_slice(&mut array).unwrap_err();
                is_over.store(true, Ordering::Relaxed);
            });
            while !is_over.load(Ordering::Relaxed) {
                nap::apply(&pool, 40).unwrap();
                // Long enough for the pool's own thread to end: no call is open.
                nap(10);
            }
        });
    }
    Ok(())
}

/// Counts itself, and waits for a token.
#[worker_task]
fn begin_and_wait(#[shared] begun: &SharedCounter, started: &str, go_on: &str, x: u64) -> u64 {
    begun.fetch_add(1);
    put_token(started);
    take_token(go_on);
    x
}

#[worker_task]
fn begun_so_far(#[shared] begun: &SharedCounter, _: ()) -> u64 {
    begun.get()
}

/// A call of one task waits for the task that is running, not for all tasks that its worker has got from another call.
fn short_beside_long(method: StartMethod) -> Result<(), Error> {
    const TASKS: u64 = 50;
    for chunk_size in [None, Some(TASKS as usize)] {
        let begun = SharedCounter::new(0)?;
        let pool = builder(method).workers(1).shared(begun.clone()).build()?;
        assert_usable(&pool);
        let (mut started, go_on) = (Tokens::new(), Tokens::new());
        let (started_path, go_on_path) = (started.path(), go_on.path());
        thread::scope(|scope| {
            let long = scope.spawn(|| {
                let items = (0..TASKS).map(|x| (&*started_path, &*go_on_path, x));
                let job = begin_and_wait::job(&pool);
                match chunk_size {
                    None => job.map(items),
                    Some(size) => job.chunk_size(size).map(items),
                }
            });
            started.take(1);
            // The main thread may also be asleep because another thread has the lock that it needs.
            scope.spawn(|| {
                for _ in 0..TASKS {
                    wait_until_the_main_thread_sleeps();
                    put_token(&go_on_path);
                }
            });
            let before = begun_so_far::apply(&pool, ()).unwrap();
            assert!(before < TASKS / 2, "{before} tasks of the other call came first");
            assert!(long.join().unwrap().unwrap().into_iter().eq(0..TASKS));
        });
    }
    Ok(())
}

fn cancel_from_another_thread(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_usable(&pool);
    let handle = pool.cancel_handle();
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    thread::scope(|scope| {
        let call = scope.spawn(|| {
            wait_for_token::job(&pool).chunk_size(1).map((0..100).map(|x| (&*started_path, &*go_on_path, x)))
        });
        started.take(2);
        handle.cancel();
        assert_fails!(call.join().unwrap(), Error::Cancelled);
    });
    go_on.put(100);
    assert_usable(&pool);
    handle.cancel();
    assert_usable(&pool);
    drop(pool);
    handle.cancel();
    Ok(())
}

fn short_lived_callers(method: StartMethod) -> Result<(), Error> {
    // Workers must not end with the thread that happened to start them.
    let pool = pool(method)?;
    assert_usable(&pool);
    for n in 0..20 {
        let lifespan = 5;
        let squared = thread::scope(|scope| {
            scope.spawn(|| square::job(&pool).worker_lifespan(lifespan).map(0..n)).join().unwrap()
        })?;
        assert_eq!(squared, squares(n));
    }
    assert_usable(&pool);
    Ok(())
}

fn first_call_from_a_thread(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| assert_usable(&pool));
        }
    });
    thread::spawn(move || assert_usable(&pool)).join().unwrap();
    Ok(())
}
