//! The workers start and make their state before the first call, and the pool can be waited for.

use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use pool::shared::SharedCounter;
use pool::{Error, StartMethod, TaskErrorKind, WorkerPool, worker_exit, worker_init, worker_task};

use crate::harness::cases;
use crate::support::{
    Tokens, assert_fails, assert_usable, builder, die, pool, put_token, ready, square, take_all_tokens,
    take_token, task_error, wait_for_token, wait_until_the_main_thread_sleeps,
};

cases! {
    All: makes_each_state_once, without_a_state, beside_another_state, replaces_nothing, fails_in_init,
         panics_in_init, no_task_is_counted, behind_a_task, beside_calls, with_pool_options, cancelled, closed,
         in_a_callback, in_a_task, idle_behind_what_is_left, idle_while_others_call, idle_once_cancelled;
    Processes: dies_in_init, dies_once_in_init, hangs_in_init;
}

/// Makes a state that counts how many there are.
#[worker_init]
fn make(#[shared] made: &SharedCounter) -> u64 {
    made.fetch_add(1)
}

#[worker_task(init = make, exit = keep)]
fn add(#[state] _: &mut u64, #[worker_id] id: usize, x: u64) -> (usize, u64) {
    (id, x)
}

#[worker_exit]
fn keep(#[state] state: u64) -> u64 {
    state
}

#[worker_init]
fn make_another(#[shared] made: &SharedCounter) -> u64 {
    made.fetch_add(1000)
}

fn makes_each_state_once(method: StartMethod) -> Result<(), Error> {
    for workers in [1, 2, 9] {
        let made = SharedCounter::new(0)?;
        let pool = builder(method).workers(workers).shared(made.clone()).build()?;
        pool.warm_up::<add>()?;
        assert_eq!(made.get(), workers as u64);
        add::warm_up(&pool)?;
        add::job(&pool).warm_up()?;
        assert_eq!(made.get(), workers as u64, "it is there");
        assert!(add::on_each_worker(&pool, 1)?.into_iter().all(|outcome| outcome.is_ok()));
        add::par_map(&pool, 0..100)?;
        assert_eq!(made.get(), workers as u64);
        add::job(&pool).worker_init::<make_another>().warm_up()?;
        assert_eq!(made.get(), 1001 * workers as u64);
        let mut kept = pool.join()?.exit_results::<keep>()?;
        kept.sort_unstable();
        kept.truncate(workers);
        assert!(kept.into_iter().eq(0..workers as u64), "each worker has it");
    }
    Ok(())
}

fn without_a_state(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(4).build()?;
    pool.warm_up::<square>()?;
    pool.warm_up::<square>()?;
    assert_usable(&pool);
    Ok(())
}

fn beside_another_state(method: StartMethod) -> Result<(), Error> {
    let made = SharedCounter::new(0)?;
    let pool = builder(method).workers(3).shared(made.clone()).build()?;
    square::on_each_worker(&pool, 1)?;
    assert_eq!(made.get(), 0, "the workers are there without it");
    pool.warm_up::<add>()?;
    assert_eq!(made.get(), 3);
    Ok(())
}

#[worker_task]
fn process() -> u32 {
    std::process::id()
}

fn replaces_nothing(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(3).build()?;
    pool.warm_up::<process>()?;
    let before = process::on_each_worker(&pool, ())?;
    pool.warm_up::<square>()?;
    pool.wait_idle()?;
    let ids = |outcomes: Vec<Result<u32, _>>| outcomes.into_iter().map(Result::unwrap).collect::<Vec<_>>();
    assert_eq!(ids(before), ids(process::on_each_worker(&pool, ())?));
    Ok(())
}

#[worker_init]
fn fails_in_one(#[worker_id] id: usize) -> Result<u8, String> {
    if id == 2 { Err("there is no model".into()) } else { Ok(0) }
}

#[worker_task(init = fails_in_one)]
fn needs_a_model(#[state] _: &mut u8) {}

fn fails_in_init(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(4).build()?;
    for _ in 0..3 {
        let error = task_error(pool.warm_up::<needs_a_model>());
        let TaskErrorKind::Init(why) = error.kind() else { panic!("{error}") };
        assert!(matches!(&**why, TaskErrorKind::Failed(_)), "{error}");
        assert!(error.to_string().contains("there is no model") && error.worker_id() == 2, "{error}");
        pool.wait_idle()?;
        pool.warm_up::<square>()?;
        assert_usable(&pool);
    }
    Ok(())
}

#[worker_init]
fn panics(#[worker_id] id: usize) -> u8 {
    panic!("worker {id} cannot")
}

#[worker_task(init = panics)]
fn never(#[state] _: &mut u8) {}

fn panics_in_init(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let error = task_error(pool.warm_up::<never>());
    assert!(
        matches!(error.kind(), TaskErrorKind::Init(_)) && error.to_string().contains("cannot"),
        "{error}"
    );
    assert_usable(&pool);
    Ok(())
}

#[worker_task(init = make, exit = keep)]
fn which(#[state] state: &mut u64) -> u64 {
    *state
}

/// Neither against the lifespan of a worker, nor in the insights.
fn no_task_is_counted(method: StartMethod) -> Result<(), Error> {
    let made = SharedCounter::new(0)?;
    let pool = builder(method).workers(2).insights(true).shared(made.clone()).build()?;
    add::job(&pool).worker_lifespan(1).warm_up()?;
    assert_eq!((made.get(), pool.insights().total().tasks), (2, 0));
    for outcome in which::job(&pool).worker_lifespan(1).on_each_worker(())? {
        assert!(outcome? < 2, "each worker has lived for one task");
    }
    Ok(())
}

#[worker_task]
fn held(#[worker_id] id: usize, started: &str, go_on: &str) -> usize {
    put_token(started);
    take_token(go_on);
    id
}

fn behind_a_task(method: StartMethod) -> Result<(), Error> {
    let made = SharedCounter::new(0)?;
    let pool = builder(method).workers(2).shared(made.clone()).build()?;
    pool.warm_up::<square>()?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let running = held::apply_async(&pool, (&started.path(), &go_on.path()));
    started.take(1);
    thread::scope(|scope| {
        scope.spawn(|| {
            wait_until_the_main_thread_sleeps();
            go_on.put(1);
        });
        pool.warm_up::<add>()
    })?;
    assert_eq!(made.get(), 2);
    running.get().map(|_| ())
}

fn beside_calls(method: StartMethod) -> Result<(), Error> {
    let made = SharedCounter::new(0)?;
    let pool = builder(method).workers(4).shared(made.clone()).build()?;
    pool.warm_up::<square>()?;
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..20 {
                    pool.warm_up::<add>().unwrap();
                    assert_usable(&pool);
                }
            });
        }
    });
    assert_eq!(made.get(), 4);
    Ok(())
}

fn with_pool_options(method: StartMethod) -> Result<(), Error> {
    for order_tasks in [false, true] {
        let made = SharedCounter::new(0)?;
        let options = builder(method).workers(3).order_tasks(order_tasks);
        let pool = options.keep_alive(false).shared(made.clone()).build()?;
        pool.warm_up::<add>()?;
        assert_eq!(pool.take_exit_results::<keep>()?.len(), 3, "they end with the call");
        assert_usable(&pool);
        for job in [add::job(&pool).worker_lifespan(0), add::job(&pool).max_tasks_active(0)] {
            assert_fails!(job.warm_up(), Error::Option { .. });
        }
    }
    Ok(())
}

#[worker_init]
fn waits(#[shared] (started, go_on): &(String, String)) -> u8 {
    put_token(started);
    take_token(go_on);
    1
}

#[worker_task(init = waits)]
fn waited(#[state] state: &mut u8) -> u8 {
    *state
}

fn cancelled(method: StartMethod) -> Result<(), Error> {
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let pool = builder(method).shared((started.path(), go_on.path())).build()?;
    pool.warm_up::<square>()?;
    let handle = pool.cancel_handle();
    thread::scope(|scope| {
        let call = scope.spawn(|| pool.warm_up::<waited>());
        started.take(2);
        handle.cancel();
        assert_fails!(call.join().unwrap(), Error::Cancelled);
    });
    go_on.put(2);
    waited::warm_up(&pool)?;
    assert_eq!(waited::apply(&pool, ())?, 1);
    Ok(())
}

fn closed(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    pool.warm_up::<square>()?;
    pool.shutdown()?;
    assert_fails!(pool.warm_up::<square>(), Error::Closed);
    pool.wait_idle()?;
    pool.terminate();
    let unused = crate::support::pool(method)?;
    unused.shutdown()?;
    assert_fails!(unused.warm_up::<square>(), Error::Closed);
    Ok(())
}

fn in_a_callback(method: StartMethod) -> Result<(), Error> {
    let pool = Arc::new(ready(method)?);
    pool.warm_up::<square>()?;
    let (mut started, mut go_on, (tell, told)) = (Tokens::new(), Tokens::new(), channel());
    let again = Arc::clone(&pool);
    let first =
        wait_for_token::apply_async(&pool, (&started.path(), &go_on.path(), 9)).on_success(move |_| {
            let results =
                (again.wait_idle(), again.warm_up::<process>(), process::on_each_worker(&again, ()));
            tell.send(results).unwrap();
        });
    started.take(1);
    go_on.put(1);
    let (idle, warm, each) = told.recv().unwrap();
    assert!(idle.is_ok() && warm.is_ok() && each?.len() == 2);
    assert_eq!(first.get()?, 9);
    Ok(())
}

/// The pool of `in_a_task`, as far as it is in the memory of the process.
static POOL: Mutex<Weak<WorkerPool>> = Mutex::new(Weak::new());

#[worker_task]
fn waits_for_itself() -> Vec<String> {
    let Some(pool) = POOL.lock().unwrap().upgrade() else { return Vec::new() };
    let all = [pool.wait_idle(), pool.warm_up::<square>(), square::on_each_worker(&pool, 1).map(|_| ())];
    all.into_iter().map(|result| result.unwrap_err().to_string()).collect()
}

fn in_a_task(method: StartMethod) -> Result<(), Error> {
    let pool = Arc::new(pool(method)?);
    *POOL.lock().unwrap() = Arc::downgrade(&pool);
    for outcome in waits_for_itself::on_each_worker(&pool, ())? {
        let errors = outcome.unwrap();
        match method {
            StartMethod::Threads => {
                for (error, call) in errors.iter().zip(["wait_idle", "warm_up", "on_each_worker"]) {
                    assert!(error.contains(call) && error.contains("same pool"), "{error}");
                }
                assert_eq!(errors.len(), 3);
            }
            StartMethod::Fork => assert!(errors.iter().all(|error| error.contains("after the fork"))),
            _ => assert!(errors.is_empty(), "{errors:?}"),
        }
    }
    pool.wait_idle()
}

/// Tasks of an iterator that was dropped run on.
fn idle_behind_what_is_left(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let items = (0..50).map(|x| (&*started_path, &*go_on_path, x));
    // Any of those that have begun may take the token.
    let mut left = wait_for_token::par_imap_unordered(&pool, items);
    go_on.put(1);
    assert!(left.next().unwrap()? < 50);
    started.take(1);
    drop(left);
    thread::scope(|scope| {
        scope.spawn(|| {
            // Processes are killed after half a second.
            wait_until_the_main_thread_sleeps();
            go_on.put(50);
        });
        pool.wait_idle()
    })?;
    let begun = 1 + take_all_tokens(&started_path);
    thread::yield_now();
    assert_eq!(take_all_tokens(&started_path), 0, "nothing runs after {begun} tasks");
    assert_usable(&pool);
    Ok(())
}

fn idle_while_others_call(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let paths = [started.path(), go_on.path()];
    let held = |x| wait_for_token::apply_async(&pool, (&*paths[0], &*paths[1], x));
    let first = held(1);
    started.take(1);
    thread::scope(|scope| {
        let later = scope.spawn(|| {
            wait_until_the_main_thread_sleeps();
            let second = held(2);
            started.take(1);
            // Both are under way while the main thread waits.
            go_on.put(2);
            second
        });
        pool.wait_idle()?;
        let second = later.join().unwrap();
        assert!(first.ready() && second.ready());
        assert_eq!((first.get()?, second.get()?), (1, 2));
        Ok(())
    })
}

fn idle_once_cancelled(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let result = wait_for_token::apply_async(&pool, (&started.path(), &go_on.path(), 1));
    started.take(1);
    let handle = pool.cancel_handle();
    thread::scope(|scope| {
        scope.spawn(|| {
            wait_until_the_main_thread_sleeps();
            handle.cancel();
            // Threads can't be killed, so let it end.
            go_on.put(1);
        });
        pool.wait_idle()
    })?;
    assert_fails!(result.get(), Error::Cancelled);
    assert_usable(&pool);
    Ok(())
}

#[worker_init]
fn dies_in_one(#[worker_id] id: usize, #[shared] lives: &String) -> u8 {
    if id == 1 && take_all_tokens(lives) > 0 {
        die(nix::sys::signal::Signal::SIGSEGV);
    }
    1
}

#[worker_task(init = dies_in_one)]
fn lives_on(#[state] state: &mut u8) -> u8 {
    *state
}

fn dies_once_in_init(method: StartMethod) -> Result<(), Error> {
    let mut lives = Tokens::new();
    let pool = builder(method).shared(lives.path()).build()?;
    lives.put(1);
    pool.warm_up::<lives_on>()?;
    assert_eq!(lives_on::on_each_worker(&pool, ())?.len(), 2);
    Ok(())
}

#[worker_init]
fn always_dies(#[worker_id] id: usize) -> u8 {
    if id == 1 { die(nix::sys::signal::Signal::SIGSEGV) } else { 1 }
}

#[worker_task(init = always_dies)]
fn never_lives(#[state] state: &mut u8) -> u8 {
    *state
}

fn dies_in_init(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for _ in 0..2 {
        let error = task_error(pool.warm_up::<never_lives>());
        let TaskErrorKind::Init(why) = error.kind() else { panic!("{error}") };
        assert!(matches!(&**why, TaskErrorKind::Died(_)), "{error}");
        pool.warm_up::<square>()?;
        assert_usable(&pool);
    }
    Ok(())
}

#[worker_init]
fn hangs_in_one(#[worker_id] id: usize) -> u8 {
    if id == 1 {
        loop {
            thread::park();
        }
    }
    1
}

#[worker_task(init = hangs_in_one)]
fn never_ready(#[state] state: &mut u8) -> u8 {
    *state
}

fn hangs_in_init(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let limit = Duration::from_millis(100);
    let error = task_error(never_ready::job(&pool).worker_init_timeout(limit).warm_up());
    let TaskErrorKind::Init(why) = error.kind() else { panic!("{error}") };
    assert!(matches!(&**why, TaskErrorKind::TimedOut(_)) && error.worker_id() == 1, "{error}");
    pool.warm_up::<square>()?;
    assert_usable(&pool);
    Ok(())
}
