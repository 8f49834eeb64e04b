//! A pool gets more workers, or fewer, whatever is under way.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, Weak};
use std::thread;
use std::time::Duration;

use core_affinity::CoreId;
use pool::shared::SharedCounter;
use pool::{Error, StartMethod, TaskErrorKind, WorkerPool, WorkerPoolBuilder, worker_exit, worker_task};

use crate::executors::wait_until_the_background_is_gone;
use crate::harness::cases;
use crate::idle_workers::{number, state, states, wait_for_exits};
use crate::support::{
    Random, Tokens, assert_usable, builder, die, pool, put_token, ready, sorted, square, squares, take_token,
    task_error, wait_for_token, wait_until_the_main_thread_sleeps,
};

cases! {
    All: up_and_down, more_start_at_once, fewer_amid_a_call, tasks_that_wait_go_to_others,
         surplus_ones_leave_though_nobody_calls, under_load, a_task_on_each_is_under_way, ordered_tasks, pinned,
         totals_stay, wrong_numbers, after_the_end, with_idle_workers, not_kept_alive, in_a_callback, in_a_task;
    Processes: under_load_with_deaths, a_surplus_one_is_killed, a_surplus_one_hangs, killed_as_they_leave,
               variables_of_new_ones, wrong_variables;
}

#[worker_task]
fn id(#[worker_id] id: usize) -> usize {
    id
}

/// The ids of all workers, as they say themselves.
fn ids<S: 'static>(pool: &WorkerPool<S>) -> Result<Vec<usize>, Error> {
    id::on_each_worker(pool, ())?.into_iter().map(|outcome| outcome.map_err(Error::from)).collect()
}

/// A pool whose workers have states, with their number.
fn with(builder: WorkerPoolBuilder) -> Result<(WorkerPool<SharedCounter>, SharedCounter), Error> {
    let made = SharedCounter::new(0)?;
    Ok((builder.shared(made.clone()).build()?, made))
}

fn up_and_down(method: StartMethod) -> Result<(), Error> {
    let (pool, made) = with(builder(method).workers(2))?;
    for workers in [2, 5, 1, 3, 3, 2, 7, 6, 1] {
        pool.resize(workers)?;
        assert_eq!(pool.workers(), workers);
        assert_eq!(ids(&pool)?, (0..workers).collect::<Vec<_>>());
        assert_eq!(states(&pool)?.len(), workers);
        assert_usable(&pool);
    }
    let exits = pool.join()?.exit_results::<number>()?;
    assert_eq!(sorted(exits), (0..made.get()).collect::<Vec<_>>(), "each has run its exit function once");
    Ok(())
}

/// The tasks of a call that is open start new workers, though its caller does nothing.
fn more_start_at_once(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let results = pool.map_async::<wait_for_token>((0..4).map(|x| (&*started_path, &*go_on_path, x)));
    started.take(1);
    pool.resize(4)?;
    started.take(3);
    go_on.put(4);
    assert_eq!(results.get()?, [0, 1, 2, 3]);
    // The same for a caller that sleeps until it gets results.
    pool.resize(1)?;
    thread::scope(|scope| {
        scope.spawn(|| {
            started.take(1);
            wait_until_the_main_thread_sleeps();
            pool.resize(3).unwrap();
            started.take(2);
            go_on.put(3);
        });
        wait_for_token::par_map(&pool, (0..3).map(|x| (&*started_path, &*go_on_path, x)))
    })?;
    Ok(())
}

fn fewer_amid_a_call(method: StartMethod) -> Result<(), Error> {
    const TASKS: usize = 30;
    let (pool, made) = with(builder(method).workers(3))?;
    states(&pool)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let items = (0..TASKS as u64).map(|x| (&*started_path, &*go_on_path, x));
    let results = pool.map_async::<wait_for_token>(items);
    started.take(3);
    pool.resize(1)?;
    assert!(pool.exit_results::<number>()?.is_empty(), "they finish their tasks");
    go_on.put(TASKS);
    assert_eq!(results.get()?, (0..TASKS as u64).collect::<Vec<_>>());
    wait_for_exits(&pool, 2)?;
    started.take(TASKS - 3);
    assert_eq!((ids(&pool)?, made.get()), (vec![0], 3));
    Ok(())
}

/// In each worker the first of these waits for a token, and each worker has tokens of its own.
#[worker_task]
fn wait_at_first(
    #[worker_id] id: usize,
    #[state] has_waited: &mut bool,
    #[shared] runs: &SharedCounter,
    started: &str,
    go_on: [&str; 2],
) -> usize {
    runs.fetch_add(1);
    if !std::mem::replace(has_waited, true) {
        put_token(started);
        take_token(go_on[id]);
    }
    id
}

fn tasks_that_wait_go_to_others(method: StartMethod) -> Result<(), Error> {
    const TASKS: usize = 40;
    let (pool, runs) = with(builder(method).workers(2))?;
    ids(&pool)?;
    let (mut started, [mut first, mut second]) = (Tokens::new(), [Tokens::new(), Tokens::new()]);
    let (started_path, [first_path, second_path]) = (started.path(), [first.path(), second.path()]);
    let item = (&*started_path, [&*first_path, &*second_path]);
    let results = wait_at_first::job(&pool).chunk_size(TASKS / 2).map_async((0..TASKS).map(|_| item));
    // Each worker has half of the tasks.
    started.take(2);
    pool.resize(1)?;
    first.put(1);
    while runs.get() < TASKS as u64 {
        thread::yield_now();
    }
    second.put(1);
    let ids = results.get()?;
    assert_eq!(ids.iter().filter(|id| **id == 1).count(), 1, "the task that it ran then: {ids:?}");
    assert_eq!(runs.get(), TASKS as u64, "none has run twice");
    Ok(())
}

fn surplus_ones_leave_though_nobody_calls(method: StartMethod) -> Result<(), Error> {
    let (pool, made) = with(builder(method).workers(4))?;
    for round in 1..=2 {
        pool.warm_up::<state>()?;
        pool.resize(1)?;
        wait_for_exits(&pool, 3 * round)?;
        wait_until_the_background_is_gone();
        assert_eq!((states(&pool)?.len(), made.get() as usize), (1, 3 * round + 1));
        pool.resize(4)?;
    }
    Ok(())
}

/// Calls of three threads are under way while a fourth one resizes the pool.
fn load(pool: &WorkerPool<SharedCounter>, calls: impl Fn(&WorkerPool<SharedCounter>, u64) + Sync) {
    let left = AtomicUsize::new(3);
    let mut random = Random::new(7);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                (0..40).for_each(|call| calls(pool, call));
                left.fetch_sub(1, Ordering::Relaxed);
            });
        }
        while left.load(Ordering::Relaxed) > 0 {
            pool.resize(1 + random.below(5) as usize).unwrap();
        }
    });
}

fn under_load(method: StartMethod) -> Result<(), Error> {
    let (pool, made) = with(builder(method).workers(2))?;
    // Workers of `Fork` start before there are threads.
    states(&pool)?;
    load(&pool, |pool, call| match call % 5 {
        0 => assert_eq!(state::par_map(pool, vec![(); 20]).unwrap().len(), 20),
        1 => assert_eq!(square::par_map(pool, 0..500).unwrap(), squares(500)),
        2 => assert!(state::on_each_worker(pool, ()).unwrap().into_iter().all(|outcome| outcome.is_ok())),
        3 => assert_eq!(square::apply_async(pool, call).get().unwrap(), square(call)),
        _ => pool.warm_up::<state>().unwrap(),
    });
    pool.resize(2)?;
    assert_eq!(ids(&pool)?, [0, 1]);
    let exits = pool.join()?.exit_results::<number>()?;
    assert_eq!(sorted(exits), (0..made.get()).collect::<Vec<_>>());
    Ok(())
}

#[worker_task]
fn dies_at(#[shared] runs: &SharedCounter, x: u64, deadly: bool) -> u64 {
    runs.fetch_add(1);
    if deadly {
        die(nix::sys::signal::Signal::SIGKILL);
    }
    square(x)
}

fn under_load_with_deaths(method: StartMethod) -> Result<(), Error> {
    const TASKS: u64 = 30;
    let (pool, runs) = with(builder(method).workers(2))?;
    id::on_each_worker(&pool, ())?;
    let calls = AtomicUsize::new(0);
    load(&pool, |pool, call| {
        if call % 4 > 0 {
            return assert_eq!(square::par_map(pool, 0..100).unwrap(), squares(100));
        }
        calls.fetch_add(1, Ordering::Relaxed);
        let outcomes = dies_at::par_map_outcomes(pool, (0..TASKS).map(|x| (x, x == 17))).unwrap();
        for (x, outcome) in (0..).zip(outcomes) {
            match outcome {
                Ok(result) => assert_eq!((result, x == 17), (square(x), false)),
                Err(error) => assert!(x == 17 && matches!(error.kind(), TaskErrorKind::Died(_)), "{error}"),
            }
        }
    });
    assert_eq!(runs.get(), TASKS * calls.into_inner() as u64, "each task has run once");
    Ok(())
}

fn a_task_on_each_is_under_way(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(2).build()?;
    ids(&pool)?;
    for workers in [1, 3] {
        pool.resize(2)?;
        let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
        let (started_path, go_on_path) = (started.path(), go_on.path());
        let held = pool.map_async::<wait_for_token>((0..2).map(|x| (&*started_path, &*go_on_path, x)));
        started.take(2);
        let ids = thread::scope(|scope| {
            scope.spawn(|| {
                wait_until_the_main_thread_sleeps();
                pool.resize(workers).unwrap();
                go_on.put(2);
            });
            ids(&pool)
        })?;
        assert_eq!(ids, [0, 1], "those that there were at its beginning");
        assert_eq!(held.get()?, [0, 1]);
        assert_eq!(self::ids(&pool)?.len(), workers);
    }
    Ok(())
}

fn ordered_tasks(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(2).order_tasks(true).build()?;
    for workers in [3, 1, 4, 2] {
        pool.resize(workers)?;
        let of_each: Vec<_> = (0..11).map(|task| task % workers).collect();
        assert_eq!(id::job(&pool).chunk_size(1).map(vec![(); 11])?, of_each);
    }
    Ok(())
}

#[worker_task]
fn cpus() -> usize {
    thread::available_parallelism().map_or(0, usize::from)
}

fn pinned(method: StartMethod) -> Result<(), Error> {
    let all = core_affinity::get_core_ids().expect("the system says which CPUs there are");
    let first: CoreId = all[0];
    let for_all = builder(method).workers(1).cpu_ids([first]).build()?;
    for_all.resize(3)?;
    assert_eq!(
        cpus::on_each_worker(&for_all, ())?.into_iter().map(Result::unwrap).collect::<Vec<_>>(),
        [1; 3]
    );
    let for_each = builder(method).workers(2).cpu_ids([first, first]).build()?;
    for_each.resize(1)?;
    for_each.resize(2)?;
    let Err(error @ Error::Option { option: "workers", .. }) = for_each.resize(3) else {
        panic!("there is no CPU")
    };
    assert!(error.to_string().contains("`cpu_ids`") && error.to_string().contains("each of 2"), "{error}");
    assert_eq!(ids(&for_each)?, [0, 1]);
    Ok(())
}

fn totals_stay(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).insights(true).build()?;
    for (workers, lines) in [(3, 3), (1, 3), (2, 3), (4, 4)] {
        pool.resize(workers)?;
        ids(&pool)?;
        assert_eq!(pool.insights().workers.len(), lines);
    }
    pool.resize(1)?;
    wait_until_the_background_is_gone();
    assert_eq!(pool.insights().total().tasks, 3 + 1 + 2 + 4);
    Ok(())
}

fn wrong_numbers(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for workers in [0, (1 << 16) + 1, usize::MAX] {
        match pool.resize(workers) {
            Err(error @ Error::Option { option: "workers", .. }) => {
                assert!(error.to_string().contains("at most 65536"), "{error}");
            }
            other => panic!("{other:?}"),
        }
        assert_eq!(pool.workers(), 2);
    }
    pool.resize(1 << 16)?;
    assert_usable(&pool);
    pool.resize(2)?;
    assert_usable(&pool);
    Ok(())
}

fn after_the_end(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    pool.shutdown()?;
    assert!(matches!(pool.resize(3), Err(Error::Closed)));
    assert_eq!(pool.workers(), 2);
    Ok(())
}

fn with_idle_workers(method: StartMethod) -> Result<(), Error> {
    let (pool, made) =
        with(builder(method).workers(4).min_workers(3).idle_timeout(Duration::from_millis(5)))?;
    for workers in [2, 5, 1, 4] {
        pool.resize(workers)?;
        pool.warm_up::<state>()?;
        wait_for_exits(&pool, made.get() as usize - workers.min(3))?;
        wait_until_the_background_is_gone();
        assert_eq!(pool.exit_results::<number>()?.len(), made.get() as usize - workers.min(3));
    }
    Ok(())
}

fn not_kept_alive(method: StartMethod) -> Result<(), Error> {
    let (pool, made) = with(builder(method).workers(2).keep_alive(false))?;
    let mut all = 0;
    for workers in [3, 1, 4] {
        pool.resize(workers)?;
        assert_eq!(states(&pool)?.len(), workers);
        all += workers;
        assert_eq!((made.get() as usize, pool.exit_results::<number>()?.len()), (all, all));
    }
    Ok(())
}

fn in_a_callback(method: StartMethod) -> Result<(), Error> {
    let pool = Arc::new(ready(method)?);
    let (again, (tell, told)) = (Arc::clone(&pool), channel());
    square::apply_async(&pool, 3).on_success(move |_| tell.send(again.resize(3)).unwrap()).get()?;
    told.recv().unwrap()?;
    assert_eq!(ids(&pool)?, [0, 1, 2]);
    Ok(())
}

/// The pool of `in_a_task`, as far as it is in the memory of the process.
static POOL: Mutex<Weak<WorkerPool>> = Mutex::new(Weak::new());

#[worker_task]
fn resizes(workers: usize) -> Option<String> {
    let pool = POOL.lock().unwrap().upgrade()?;
    pool.resize(workers).err().map(|error| error.to_string())
}

fn in_a_task(method: StartMethod) -> Result<(), Error> {
    let pool = Arc::new(pool(method)?);
    *POOL.lock().unwrap() = Arc::downgrade(&pool);
    for workers in [3, 1, 2] {
        match resizes::apply(&pool, workers)? {
            None if method == StartMethod::Threads => assert_eq!(ids(&pool)?.len(), workers),
            None => assert_ne!(method, StartMethod::Fork),
            Some(error) => assert!(error.contains("after the fork"), "{error}"),
        }
    }
    Ok(())
}

fn a_surplus_one_is_killed(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(2).build()?;
    ids(&pool)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    let results = dies_on_second::job(&pool).map_async((0..2).map(|_| (&*started_path, &*go_on_path)));
    started.take(2);
    pool.resize(1)?;
    go_on.put(2);
    let error = task_error(results.get());
    assert!(error.worker_id() == 1 && matches!(error.kind(), TaskErrorKind::Died(_)), "{error}");
    assert_eq!(ids(&pool)?, [0]);
    Ok(())
}

#[worker_task]
fn dies_on_second(#[worker_id] id: usize, started: &str, go_on: &str) {
    put_token(started);
    take_token(go_on);
    if id == 1 {
        die(nix::sys::signal::Signal::SIGSEGV);
    }
}

fn a_surplus_one_hangs(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(2).build()?;
    ids(&pool)?;
    let (mut started, never) = (Tokens::new(), Tokens::new());
    let (started_path, never_path) = (started.path(), never.path());
    let job = wait_for_token::job(&pool).task_timeout(Duration::from_millis(200));
    let results = job.map_async((0..2).map(|x| (&*started_path, &*never_path, x)));
    started.take(2);
    pool.resize(1)?;
    let error = task_error(results.get());
    assert!(matches!(error.kind(), TaskErrorKind::TimedOut(_)), "{error}");
    assert_eq!(ids(&pool)?, [0]);
    Ok(())
}

#[worker_exit]
fn killed(#[state] _: u8) {
    die(nix::sys::signal::Signal::SIGKILL);
}

#[worker_task(exit = killed)]
fn is_killed_in_exit(#[state] _: &mut u8) {}

fn killed_as_they_leave(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(3).build()?;
    for _ in 0..3 {
        is_killed_in_exit::on_each_worker(&pool, ())?;
        pool.resize(1)?;
        assert_usable(&pool);
        pool.resize(3)?;
    }
    let error = task_error(pool.join());
    let TaskErrorKind::Exit(why) = error.kind() else { panic!("{error}") };
    assert!(matches!(&**why, TaskErrorKind::Died(death) if death.signal() == Some(9)), "{error}");
    Ok(())
}

#[worker_task]
fn variables() -> (Option<String>, Option<String>) {
    (std::env::var("POOL_TESTS_A").ok(), std::env::var("POOL_TESTS_B").ok())
}

fn variables_of_new_ones(method: StartMethod) -> Result<(), Error> {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let of = |worker: usize| if worker < 2 { ("POOL_TESTS_A", "1") } else { ("POOL_TESTS_B", "2") };
    let note = Arc::clone(&asked);
    let env = move |worker: pool::WorkerId| {
        note.lock().unwrap().push(usize::from(worker));
        [of(worker.into())]
    };
    let pool = builder(method).workers(2).env(env).build()?;
    let expected = |worker: usize| match of(worker) {
        ("POOL_TESTS_A", value) => (Some(value.to_owned()), None),
        (_, value) => (None, Some(value.to_owned())),
    };
    for workers in [2, 4, 1, 3, 5] {
        pool.resize(workers)?;
        let all: Vec<_> = variables::on_each_worker(&pool, ())?.into_iter().map(Result::unwrap).collect();
        assert_eq!(all, (0..workers).map(expected).collect::<Vec<_>>());
    }
    assert_eq!(*asked.lock().unwrap(), [0, 1, 2, 3, 4], "once for each");
    Ok(())
}

fn wrong_variables(method: StartMethod) -> Result<(), Error> {
    let env = |worker: pool::WorkerId| match usize::from(worker) {
        0 => [("POOL_TESTS_A", "1")],
        1 => [("POOL=TESTS", "1")],
        _ => panic!("there is no device"),
    };
    let pool = builder(method).workers(1).env(env).build()?;
    for (workers, why) in [(2, "neither `=`"), (3, "neither `=`")] {
        let error = pool.resize(workers).unwrap_err().to_string();
        assert!(error.contains("`env`") && error.contains(why), "{error}");
        assert_eq!((pool.workers(), ids(&pool)?), (1, vec![0]));
    }
    Ok(())
}
