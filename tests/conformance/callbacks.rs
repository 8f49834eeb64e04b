//! Callbacks, wakers and bars of calls in the background do not hold up the pool, whatever they wait for.

use std::fs;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Wake, Waker};
use std::thread;
use std::time::Duration;

use pool::indicatif::{ProgressBar, ProgressDrawTarget};
use pool::{AsyncResult, Error, StartMethod, WorkerPool, worker_task};

use crate::harness::cases;
use crate::support::{OnDraw, Tokens, assert_fails, assert_usable, pool, square, squares, wait_for_token};

cases! {
    All: waits_for_another_call, waits_for_the_callback_of_another_call, a_waker_waits_for_a_call,
         the_pool_goes_on_meanwhile, a_bar_blocks, each_runs_once_and_in_order, joins_the_pool, drops_the_pool,
         join_waits_for_it, dropped_while_it_runs, cancels, threads_of_its_own;
}

#[worker_task]
fn fails(x: u64) -> u64 {
    panic!("never {x}")
}

fn waits_for_another_call(method: StartMethod) -> Result<(), Error> {
    let pool = Arc::new(pool(method)?);
    let (send, received) = channel();
    let (good, bad) = (send.clone(), send);
    let again = Arc::clone(&pool);
    let mut held = Held::new();
    let first = held.call(&pool, 9).on_success(move |value| {
        let waited = square::apply_async(&again, *value).get();
        let blocked = square::apply(&again, 4);
        let all = square::par_map(&again, 0..10);
        let lazy: Result<Vec<u64>, Error> = square::par_imap(&again, 0..10).collect();
        let rest = all.is_ok_and(|all| all == squares(10)) && lazy.is_ok_and(|lazy| lazy == squares(10));
        good.send((waited.unwrap(), blocked.unwrap(), rest)).unwrap();
    });
    held.go_on();
    assert_eq!(first.get()?, 9);
    assert_eq!(received.recv(), Ok((81, 16, true)));
    let again = Arc::clone(&pool);
    let failed = fails::apply_async(&pool, 3).on_error(move |_| {
        let later = fails::apply_async(&again, 4).get();
        bad.send((square::job(&again).map_async(0..3).get().unwrap()[2], 0, later.is_err())).unwrap();
    });
    assert!(failed.get().is_err());
    assert_eq!(received.recv(), Ok((4, 0, true)));
    Ok(())
}

fn waits_for_the_callback_of_another_call(method: StartMethod) -> Result<(), Error> {
    let pool = Arc::new(pool(method)?);
    let (send, received) = channel();
    let again = Arc::clone(&pool);
    let mut held = Held::new();
    let first = held.call(&pool, 4).on_success(move |value| {
        let (tell, told) = channel();
        let mut held = Held::new();
        let inner = held.call(&again, *value * 4).on_success(move |value| tell.send(*value).unwrap());
        held.go_on();
        send.send((told.recv().unwrap(), inner.get().unwrap())).unwrap();
    });
    held.go_on();
    assert_eq!(first.get()?, 4);
    assert_eq!(received.recv(), Ok((16, 16)));
    Ok(())
}

/// Calls the pool and waits for the result, like an executor that runs tasks in the thread that wakes them.
struct Inline(Mutex<Option<(Arc<WorkerPool>, Sender<u64>)>>);

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        if let Some((pool, tell)) = self.0.lock().unwrap().take() {
            tell.send(square::apply_async(&pool, 5).get().unwrap()).unwrap();
        }
    }
}

/// The result of a call that waits for a token, polled once with this waker.
fn pending(pool: &WorkerPool, tokens: [&str; 2], waker: &Waker) -> AsyncResult<u64> {
    let mut result = wait_for_token::apply_async(pool, (tokens[0], tokens[1], 1));
    assert!(Future::poll(Pin::new(&mut result), &mut Context::from_waker(waker)).is_pending());
    result
}

fn a_waker_waits_for_a_call(method: StartMethod) -> Result<(), Error> {
    let pool = Arc::new(pool(method)?);
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (tell, told) = channel();
    let waker = Waker::from(Arc::new(Inline(Mutex::new(Some((Arc::clone(&pool), tell))))));
    let result = pending(&pool, [&started.path(), &go_on.path()], &waker);
    started.take(1);
    go_on.put(1);
    assert_eq!(told.recv(), Ok(25));
    assert_eq!(result.get()?, 1);
    Ok(())
}

/// Calls that do not end before they are told to, so that their callbacks are registered in time.
struct Held {
    started: Tokens,
    go_on: Tokens,
}

impl Held {
    fn new() -> Self {
        Self { started: Tokens::new(), go_on: Tokens::new() }
    }

    fn call(&self, pool: &WorkerPool, value: u64) -> AsyncResult<u64> {
        wait_for_token::apply_async(pool, (&self.started.path(), &self.go_on.path(), value))
    }

    fn go_on(&mut self) {
        self.go_on.put(1);
    }
}

/// A callback that reports when it runs, and then blocks until it is released.
fn blocker() -> (impl FnOnce(&u64) + Send + 'static, Receiver<()>, Sender<()>) {
    let ((tell, runs), (release, released)) = (channel(), channel::<()>());
    let run = move |_: &u64| {
        let _ = tell.send(());
        let _ = released.recv();
    };
    (run, runs, release)
}

fn the_pool_goes_on_meanwhile(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (run, runs, release) = blocker();
    let mut held = Held::new();
    let blocked = held.call(&pool, 9).on_success(run);
    held.go_on();
    runs.recv().unwrap();
    for x in 0..20 {
        assert_eq!(square::apply_async(&pool, x).get()?, square(x));
    }
    assert_eq!(square::job(&pool).map_async(0..1000).get()?, squares(1000));
    assert_usable(&pool);
    // The callback of another call runs too, if a little later.
    let (tell, told) = channel();
    let other = held.call(&pool, 16).on_success(move |value| tell.send(*value).unwrap());
    held.go_on();
    assert_eq!(told.recv(), Ok(16));
    drop(release);
    assert_eq!((blocked.get()?, other.get()?), (9, 16));
    Ok(())
}

fn a_bar_blocks(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let ((tell, draws), (release, released)) = (channel(), channel::<()>());
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    let items = (0..2).map(|x| (&*started_path, &*go_on_path, x));
    let call = wait_for_token::job(&pool).progress(bar.clone()).map_async(items);
    started.take(2);
    let channels = Mutex::new((tell, released));
    let blocks = move || {
        let channels = channels.lock().unwrap();
        let _ = channels.0.send(());
        let _ = channels.1.recv();
    };
    bar.set_draw_target(ProgressDrawTarget::term_like(Box::new(OnDraw(blocks))));
    go_on.put(2);
    draws.recv().unwrap();
    for x in 0..20 {
        assert_eq!(square::apply_async(&pool, x).get()?, square(x));
    }
    drop(release);
    assert_eq!(call.get()?, [0, 1]);
    Ok(())
}

fn each_runs_once_and_in_order(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (send, received) = channel();
    let results: Vec<_> = (0..200)
        .map(|x| {
            let (first, second, never) = (send.clone(), send.clone(), send.clone());
            square::apply_async(&pool, x)
                .on_success(move |value| first.send((*value, 1)).unwrap())
                .on_error(move |_| never.send((0, 0)).unwrap())
                .on_success(move |value| second.send((*value, 2)).unwrap())
        })
        .collect();
    for (x, result) in results.iter().enumerate() {
        assert_eq!(result.get()?, square(x as u64));
    }
    drop(send);
    let calls: Vec<(u64, u32)> = received.iter().collect();
    for which in [1, 2] {
        let mut values: Vec<u64> = calls.iter().filter(|call| call.1 == which).map(|call| call.0).collect();
        values.sort_unstable();
        assert_eq!(values, squares(200), "{calls:?}");
    }
    // Callbacks of one call run in the order in which they were registered.
    let place = |call| calls.iter().position(|other| *other == call);
    assert!(squares(200).into_iter().all(|value| place((value, 1)) < place((value, 2))), "{calls:?}");
    Ok(())
}

fn joins_the_pool(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (give, given) = channel::<WorkerPool>();
    let (tell, told) = channel();
    let mut held = Held::new();
    let result = held.call(&pool, 9).on_success(move |_| {
        let pool = given.recv().unwrap();
        let other = square::apply_async(&pool, 4);
        let joined = pool.join().map(|_| ());
        tell.send((joined, other.get().unwrap())).unwrap();
    });
    held.go_on();
    give.send(pool).unwrap();
    let (joined, other) = told.recv().unwrap();
    joined?;
    assert_eq!((result.get()?, other), (9, 16));
    Ok(())
}

fn drops_the_pool(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let unfinished = wait_for_token::apply_async(&pool, (&started.path(), &go_on.path(), 1));
    started.take(1);
    let (closed, was_closed) = channel();
    let unfinished = unfinished.on_error(move |error| closed.send(error.clone()).unwrap());
    let (give, given) = channel::<WorkerPool>();
    let (tell, told) = channel();
    let mut held = Held::new();
    let result = held.call(&pool, 9).on_success(move |_| {
        drop(given.recv().unwrap());
        tell.send(()).unwrap();
    });
    held.go_on();
    give.send(pool).unwrap();
    told.recv().unwrap();
    assert_eq!(result.get()?, 9);
    assert_fails!(unfinished.get(), Error::Closed);
    // Its callback runs after the callback that ended the pool.
    assert!(matches!(was_closed.recv(), Ok(Error::Closed)));
    // A thread can't be killed, so let it end.
    go_on.put(1);
    Ok(())
}

fn join_waits_for_it(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (run, runs, release) = blocker();
    let (tell, told) = channel();
    let result =
        square::apply_async(&pool, 3).on_success(run).on_success(move |value| tell.send(*value).unwrap());
    runs.recv().unwrap();
    thread::scope(|scope| {
        let joins = scope.spawn(|| pool.join().map(|_| ()));
        assert!(told.recv_timeout(Duration::from_millis(1)).is_err());
        drop(release);
        joins.join().unwrap()
    })?;
    assert_eq!((told.try_recv(), result.get()?), (Ok(9), 9));
    Ok(())
}

fn dropped_while_it_runs(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (run, runs, release) = blocker();
    let (tell, told) = channel();
    let mut held = Held::new();
    let result = held.call(&pool, 9).on_success(run).on_success(move |_| tell.send(()).unwrap());
    held.go_on();
    runs.recv().unwrap();
    // Dropping the pool does not wait for the callback for ever.
    drop(pool);
    drop(release);
    told.recv().unwrap();
    assert_eq!(result.get()?, 9);
    wait_until_no_callbacks_run();
    Ok(())
}

fn cancels(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let waits = Arc::new(wait_for_token::apply_async(&pool, (&started.path(), &go_on.path(), 1)));
    started.take(1);
    let (handle, cancelled) = (pool.cancel_handle(), Arc::clone(&waits));
    let (tell, told) = channel();
    let first = square::apply_async(&pool, 3).on_success(move |_| {
        cancelled.cancel();
        tell.send(cancelled.get().map(|_| ())).unwrap();
        handle.cancel();
    });
    assert!(matches!(told.recv().unwrap(), Err(Error::Cancelled)));
    assert_eq!(first.get()?, 9);
    go_on.put(1);
    drop(first);
    pool.join().map(|_| ())
}

fn threads_of_its_own(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let keeps_it_awake = wait_for_token::apply_async(&pool, (&started.path(), &go_on.path(), 1));
    started.take(1);
    for x in 0..10 {
        assert_eq!(square::apply_async(&pool, x).get()?, square(x));
    }
    assert_eq!(callback_threads(), 0, "no callback, no thread");
    let (tell, told) = channel();
    let mut held = Held::new();
    for x in 0..100 {
        let tell = tell.clone();
        let result = held.call(&pool, square(x)).on_success(move |value| tell.send(*value).unwrap());
        held.go_on();
        result.get()?;
    }
    assert_eq!(told.iter().take(100).collect::<Vec<_>>(), squares(100));
    assert!((1..=2).contains(&callback_threads()));
    go_on.put(1);
    assert_eq!(keeps_it_awake.get()?, 1);
    wait_until_no_callbacks_run();
    assert_usable(&pool);
    Ok(())
}

/// The number of threads that run callbacks.
fn callback_threads() -> usize {
    let tasks = fs::read_dir("/proc/self/task").expect("/proc is mounted");
    let names = tasks.flatten().filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
    names.filter(|name| name.trim_end() == "pool callbacks").count()
}

fn wait_until_no_callbacks_run() {
    while callback_threads() > 0 {
        thread::yield_now();
    }
}
