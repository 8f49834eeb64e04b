//! Idle workers leave though nobody drives the pool, and come back on demand.

use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use futures::StreamExt;
use pool::shared::SharedCounter;
use pool::{Error, StartMethod, TaskErrorKind, WorkerPool, worker_exit, worker_init, worker_task};
use tracing::Subscriber;
use tracing::field::Field;
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

use crate::executors::{
    in_each, wait_until_the_background_is_gone, wait_until_the_background_sleeps,
    wait_until_the_background_sleeps_deeply,
};
use crate::harness::cases;
use crate::support::{
    Tokens, assert_usable, builder, die, pool, put_token, sorted, square, take_token, task_error,
};

cases! {
    All: all_leave, down_to_the_least, they_come_back, again_and_again, busy_ones_stay, amid_a_call, after_each_kind,
         a_failure_is_kept, totals_stay, told_though_nobody_calls, others_go_on, beside_another_pool,
         dropped_while_one_waits, shut_down_while_one_waits, not_without_the_option, wrong_values;
    Processes: killed_while_idle, killed_as_they_leave, hang_as_they_leave;
}

/// Short beside any test. No test depends on it: what is waited for are the workers' ends.
const SHORT: Duration = Duration::from_millis(5);
/// Longer than any test.
const LONG: Duration = Duration::from_secs(3600);

#[worker_init]
pub(super) fn make(#[shared] made: &SharedCounter) -> u64 {
    made.fetch_add(1)
}

/// Which state this worker has had, by number.
#[worker_exit]
pub(super) fn number(#[state] state: u64) -> u64 {
    state
}

#[worker_task(init = make, exit = number)]
pub(super) fn state(#[state] state: &mut u64) -> u64 {
    *state
}

/// Waits until so many workers have left, without a call of the pool that drives it.
pub(super) fn wait_for_exits<S>(pool: &WorkerPool<S>, count: usize) -> Result<(), Error> {
    while pool.exit_results::<number>()?.len() < count {
        thread::yield_now();
    }
    Ok(())
}

/// A pool of which idle workers leave, with the number of states that were made.
fn with(
    method: StartMethod,
    workers: usize,
    least: usize,
    timeout: Duration,
) -> Result<(WorkerPool<SharedCounter>, SharedCounter), Error> {
    let made = SharedCounter::new(0)?;
    let builder = builder(method).workers(workers).min_workers(least).idle_timeout(timeout);
    Ok((builder.shared(made.clone()).build()?, made))
}

/// The states of all workers, each of which must have one.
pub(super) fn states(pool: &WorkerPool<SharedCounter>) -> Result<Vec<u64>, Error> {
    state::on_each_worker(pool, ())?.into_iter().map(|outcome| outcome.map_err(Error::from)).collect()
}

fn all_leave(method: StartMethod) -> Result<(), Error> {
    for workers in [1, 3] {
        let (pool, made) = with(method, workers, 0, SHORT)?;
        let mut states = states(&pool)?;
        wait_for_exits(&pool, states.len())?;
        wait_until_the_background_is_gone();
        // They may have left even before all had begun.
        assert!(made.get() >= workers as u64);
        states.extend(self::states(&pool)?);
        let exits = pool.join()?.exit_results::<number>()?;
        assert_eq!(
            sorted(exits),
            (0..made.get()).collect::<Vec<_>>(),
            "each state has had its exit function"
        );
        assert!(states.iter().all(|state| *state < made.get()));
    }
    Ok(())
}

fn down_to_the_least(method: StartMethod) -> Result<(), Error> {
    const WORKERS: u64 = 4;
    for least in 1..=WORKERS {
        let (pool, made) = with(method, WORKERS as usize, least as usize, SHORT)?;
        pool.warm_up::<state>()?;
        wait_for_exits(&pool, (WORKERS - least) as usize)?;
        // The pool's thread ends when no more may leave.
        wait_until_the_background_is_gone();
        let left = pool.exit_results::<number>()?.len() as u64;
        assert_eq!(made.get() - left, least);
        let before = made.get();
        state::apply(&pool, ())?;
        assert_eq!(made.get(), before, "this was for one that has stayed");
    }
    Ok(())
}

fn they_come_back(method: StartMethod) -> Result<(), Error> {
    let (pool, made) = with(method, 3, 0, SHORT)?;
    let gone = |pool: &WorkerPool<SharedCounter>| {
        wait_for_exits(pool, made.get() as usize)?;
        wait_until_the_background_is_gone();
        assert_eq!(pool.exit_results::<number>()?.len() as u64, made.get());
        Ok::<_, Error>(())
    };
    pool.warm_up::<state>()?;
    gone(&pool)?;
    assert_eq!(state::par_map(&pool, vec![(); 50])?.len(), 50);
    gone(&pool)?;
    assert_eq!(states(&pool)?.len(), 3);
    gone(&pool)?;
    pool.warm_up::<state>()?;
    gone(&pool)?;
    assert_eq!(pool.apply::<square>(9)?, 81);
    assert_eq!(square::par_imap(&pool, 0..9).collect::<Result<Vec<_>, _>>()?.len(), 9);
    Ok(())
}

/// Workers leave and come back all the time, while calls are made and workers die.
fn again_and_again(method: StartMethod) -> Result<(), Error> {
    let (pool, made) = with(method, 3, 0, Duration::from_micros(1))?;
    // Workers of `Fork` start before there are threads.
    states(&pool)?;
    thread::scope(|scope| {
        for thread in 0..3 {
            let pool = &pool;
            scope.spawn(move || {
                for call in 0..60u64 {
                    match (call + thread) % 4 {
                        0 => assert_eq!(
                            state::par_map(pool, vec![(); call as usize]).unwrap().len(),
                            call as usize
                        ),
                        1 => assert_eq!(square::apply(pool, call).unwrap(), square(call)),
                        2 => assert_eq!(state::on_each_worker(pool, ()).unwrap().len(), 3),
                        _ => assert_eq!(square::apply_async(pool, call).get().unwrap(), square(call)),
                    }
                }
            });
        }
    });
    let exits = pool.join()?.exit_results::<number>()?;
    assert_eq!(sorted(exits), (0..made.get()).collect::<Vec<_>>());
    Ok(())
}

#[worker_task(init = make, exit = number)]
fn wait(#[state] state: &mut u64, started: &str, go_on: &str) -> u64 {
    put_token(started);
    take_token(go_on);
    *state
}

fn busy_ones_stay(method: StartMethod) -> Result<(), Error> {
    let (pool, made) = with(method, 3, 0, SHORT)?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let busy = wait::apply_async(&pool, (&*started.path(), &*go_on.path()));
    started.take(1);
    state::par_map(&pool, vec![(); 10])?;
    wait_for_exits(&pool, made.get() as usize - 1)?;
    let left = pool.exit_results::<number>()?;
    go_on.put(1);
    assert!(!left.contains(&busy.get()?));
    wait_for_exits(&pool, made.get() as usize)
}

/// The call is open, its caller and all workers have nothing to do.
fn amid_a_call(method: StartMethod) -> Result<(), Error> {
    let (pool, made) = with(method, 2, 0, SHORT)?;
    let (give, items) = channel();
    let mut results = state::par_imap(&pool, items);
    for round in 0..5 {
        give.send(()).unwrap();
        results.next().unwrap()?;
        wait_for_exits(&pool, made.get() as usize)?;
        assert!(made.get() > round, "another worker for each");
    }
    drop(give);
    assert!(results.next().is_none());
    Ok(())
}

/// Calls of each kind end in their own way, and none needs another call after it.
fn after_each_kind(method: StartMethod) -> Result<(), Error> {
    let (pool, made) = with(method, 2, 0, SHORT)?;
    let check = || wait_for_exits(&pool, made.get() as usize);
    state::apply(&pool, ())?;
    check()?;
    state::apply_async(&pool, ()).get()?;
    check()?;
    pool.map_async::<state>(vec![(); 3]).get()?;
    check()?;
    state::par_map_outcomes(&pool, vec![(); 3])?;
    check()?;
    drop(state::par_imap(&pool, vec![(); 30]));
    check()?;
    drop(state::apply_async(&pool, ()));
    check()?;
    in_each(|| async {
        state::par_stream(&pool, vec![(); 3]).collect::<Vec<_>>().await;
        check()
    })
}

/// Waits until a worker has said in its exit function that it leaves, and then until all have left. The pool's thread
/// is there, and has its name, until they have.
fn wait_until_they_have_left(leave: &mut Tokens) {
    leave.take(1);
    wait_until_the_background_is_gone();
}

#[worker_exit]
fn fail(#[shared] leaves: &String, #[state] _: u8) {
    put_token(leaves);
    panic!("there is no room for it");
}

#[worker_task(exit = fail)]
fn fails_in_exit(#[state] _: &mut u8) {}

fn a_failure_is_kept(method: StartMethod) -> Result<(), Error> {
    let mut leave = Tokens::new();
    let pool = builder(method).workers(2).idle_timeout(SHORT).shared(leave.path()).build()?;
    fails_in_exit::apply(&pool, ())?;
    wait_until_they_have_left(&mut leave);
    assert_usable(&pool);
    let error = task_error(pool.join());
    assert!(matches!(error.kind(), TaskErrorKind::Exit(_)), "{error}");
    assert!(error.to_string().contains("there is no room for it"), "{error}");
    Ok(())
}

fn with_insights(method: StartMethod) -> Result<(WorkerPool<SharedCounter>, SharedCounter), Error> {
    let made = SharedCounter::new(0)?;
    let builder = builder(method).workers(2).idle_timeout(SHORT).insights(true);
    Ok((builder.shared(made.clone()).build()?, made))
}

fn totals_stay(method: StartMethod) -> Result<(), Error> {
    let (pool, made) = with_insights(method)?;
    for round in 1..=3 {
        state::par_map(&pool, vec![(); 10])?;
        wait_for_exits(&pool, made.get() as usize)?;
        wait_until_the_background_is_gone();
        let insights = pool.insights();
        assert_eq!((insights.workers.len(), insights.total().tasks), (2, 10 * round));
    }
    Ok(())
}

/// Sends the message of each event of the pool's.
struct Told(Sender<String>);

impl<S: Subscriber> Layer<S> for Told {
    fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
        event.record(&mut |field: &Field, value: &dyn std::fmt::Debug| {
            if field.name() == "message" {
                // The case may be over.
                let _ = self.0.send(format!("{value:?}"));
            }
        });
    }
}

fn told_though_nobody_calls(method: StartMethod) -> Result<(), Error> {
    let (tell, told) = channel();
    let subscriber = tracing_subscriber::registry().with(Told(tell)).with(LevelFilter::DEBUG);
    tracing::subscriber::set_global_default(subscriber).expect("it is the first");
    let pool = builder(method).workers(1).idle_timeout(SHORT).build()?;
    square::apply(&pool, 3)?;
    assert!(told.iter().any(|message| message == "worker ended"));
    Ok(())
}

/// A worker that leaves takes no time of the others' calls, even if its exit function lasts.
fn others_go_on(method: StartMethod) -> Result<(), Error> {
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let paths = (started.path(), go_on.path());
    let pool = builder(method).workers(2).idle_timeout(SHORT).shared(paths).build()?;
    waits_in_exit::apply(&pool, ())?;
    started.take(1);
    assert_usable(&pool);
    go_on.put(1);
    pool.join().map(drop)
}

#[worker_exit]
fn wait_in_exit(#[shared] paths: &(String, String), #[state] _: u8) {
    put_token(&paths.0);
    take_token(&paths.1);
}

#[worker_task(exit = wait_in_exit)]
fn waits_in_exit(#[state] _: &mut u8) {}

/// The thread that waits for idle workers lets the program be forked.
fn beside_another_pool(method: StartMethod) -> Result<(), Error> {
    let (first, made) = with(method, 2, 0, LONG)?;
    first.warm_up::<state>()?;
    wait_until_the_background_sleeps();
    // Workers that are threads are in the way of any fork.
    let other = if method == StartMethod::Threads { method } else { StartMethod::Fork };
    assert_usable(&pool(other)?);
    let before = made.get();
    states(&first)?;
    assert_eq!(made.get(), before);
    Ok(())
}

fn dropped_while_one_waits(method: StartMethod) -> Result<(), Error> {
    for sleeps in [true, false] {
        let (pool, _) = with(method, 2, 1, LONG)?;
        pool.warm_up::<state>()?;
        if sleeps {
            wait_until_the_background_sleeps_deeply();
        }
        drop(pool);
    }
    Ok(())
}

fn shut_down_while_one_waits(method: StartMethod) -> Result<(), Error> {
    let (pool, _) = with(method, 2, 1, LONG)?;
    pool.warm_up::<state>()?;
    wait_until_the_background_sleeps();
    assert_eq!(pool.shutdown()?.exit_results::<number>()?.len(), 2);
    wait_until_the_background_is_gone();
    Ok(())
}

fn not_without_the_option(method: StartMethod) -> Result<(), Error> {
    let made = SharedCounter::new(0)?;
    let pool = builder(method).workers(2).min_workers(1).shared(made.clone()).build()?;
    pool.warm_up::<state>()?;
    wait_until_the_background_is_gone();
    assert_eq!((states(&pool)?.len(), made.get()), (2, 2));
    assert_eq!(pool.join()?.exit_results::<number>()?.len(), 2);
    Ok(())
}

fn wrong_values(method: StartMethod) -> Result<(), Error> {
    let error = |build: Result<WorkerPool, Error>| build.map(drop).unwrap_err().to_string();
    let too_many = error(builder(method).workers(2).min_workers(3).idle_timeout(LONG).build());
    assert!(too_many.contains("`min_workers` is 3") && too_many.contains("2 workers"), "{too_many}");
    let zero = error(builder(method).workers(2).idle_timeout(Duration::ZERO).build());
    assert!(zero.contains("`idle_timeout`") && zero.contains("keep_alive"), "{zero}");
    let pool = builder(method).workers(2).min_workers(2).idle_timeout(Duration::MAX).build()?;
    assert_usable(&pool);
    Ok(())
}

#[worker_task]
fn process() -> i32 {
    std::process::id() as i32
}

fn killed_while_idle(method: StartMethod) -> Result<(), Error> {
    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    let (pool, made) = with(method, 2, 0, LONG)?;
    pool.warm_up::<state>()?;
    for _ in 0..3 {
        wait_until_the_background_sleeps();
        let processes = process::on_each_worker(&pool, ())?;
        for process in processes.into_iter().flatten() {
            kill(Pid::from_raw(process), Signal::SIGKILL).expect("it is there");
        }
        wait_until_the_background_is_gone();
        assert_eq!(states(&pool)?.len(), 2);
    }
    assert_eq!(made.get(), 8);
    Ok(())
}

#[worker_exit]
fn killed(#[shared] leaves: &String, #[state] _: u8) {
    put_token(leaves);
    die(nix::sys::signal::Signal::SIGKILL);
}

#[worker_task(exit = killed)]
fn is_killed_in_exit(#[state] _: &mut u8) {}

fn killed_as_they_leave(method: StartMethod) -> Result<(), Error> {
    let mut leave = Tokens::new();
    let pool = builder(method).workers(3).idle_timeout(SHORT).shared(leave.path()).build()?;
    for _ in 0..3 {
        is_killed_in_exit::on_each_worker(&pool, ())?;
        leave.take(2);
        wait_until_they_have_left(&mut leave);
    }
    assert_usable(&pool);
    let error = task_error(pool.join());
    let TaskErrorKind::Exit(why) = error.kind() else { panic!("{error}") };
    assert!(matches!(&**why, TaskErrorKind::Died(death) if death.signal() == Some(9)), "{error}");
    Ok(())
}

#[worker_exit]
fn hang(#[shared] leaves: &String, #[state] _: u8) {
    put_token(leaves);
    loop {
        thread::park();
    }
}

#[worker_task(exit = hang)]
fn hangs_in_exit(#[state] _: &mut u8) {}

/// Their time is limited though nobody drives the pool.
fn hang_as_they_leave(method: StartMethod) -> Result<(), Error> {
    let mut leave = Tokens::new();
    let pool = builder(method).workers(2).idle_timeout(SHORT).shared(leave.path()).build()?;
    hangs_in_exit::job(&pool).worker_exit_timeout(SHORT).map(vec![(); 4])?;
    wait_until_they_have_left(&mut leave);
    let error = task_error(pool.join());
    let TaskErrorKind::Exit(why) = error.kind() else { panic!("{error}") };
    assert!(matches!(&**why, TaskErrorKind::TimedOut(_)), "{error}");
    Ok(())
}
