//! One task on each worker, whatever else is under way and whatever becomes of the workers.

use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use pool::shared::SharedCounter;
use pool::{Codec, Error, StartMethod, TaskErrorKind, worker_init, worker_task};
use serde::{Deserialize, Serialize, Serializer};

use crate::harness::cases;
use crate::support::{
    Tokens, assert_fails, assert_usable, builder, panic_message, pool, put_token, square, take_all_tokens,
    take_token, task_error, wait_until_the_main_thread_sleeps,
};

cases! {
    All: in_worker_order, collects_the_state, its_own_error_in_each_place, encoded_once, cannot_be_encoded,
         borrowed_and_large, beside_long_calls, several_at_once, with_options, some_at_a_time, by_a_deadline,
         init_fails, cancelled, closed, shows_progress;
    Processes: deaths_stay_in_place, tried_again_on_its_worker, takes_too_long;
}

#[worker_task]
fn whoami(#[worker_id] id: usize, x: u64) -> (usize, u64) {
    (id, x)
}

/// What `whoami` returns, in worker order.
fn all(workers: usize, x: u64) -> Vec<(usize, u64)> {
    (0..workers).map(|id| (id, x)).collect()
}

/// The values, none of which may be an error.
#[track_caller]
fn values<T>(outcomes: Result<Vec<Result<T, pool::TaskError>>, Error>) -> Vec<T> {
    outcomes.unwrap().into_iter().map(Result::unwrap).collect()
}

fn in_worker_order(method: StartMethod) -> Result<(), Error> {
    for workers in [1, 2, 5, 64] {
        let pool = builder(method).workers(workers).build()?;
        assert_eq!(values(whoami::on_each_worker(&pool, 7)), all(workers, 7));
        assert_eq!(values(pool.on_each_worker::<whoami>(8)), all(workers, 8));
        assert_eq!(values(whoami::job(&pool).on_each_worker(9)), all(workers, 9));
        assert_usable(&pool);
        assert_eq!(values(whoami::on_each_worker(&pool, 10)), all(workers, 10));
    }
    Ok(())
}

#[worker_task]
fn remember(#[state] known: &mut Vec<u64>, x: u64) -> u64 {
    known.push(x);
    x
}

#[worker_task]
fn forget(#[state] known: &mut Vec<u64>) -> Vec<u64> {
    std::mem::take(known)
}

fn collects_the_state(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(3).build()?;
    remember::par_map(&pool, 0..500)?;
    let mut known: Vec<u64> = values(forget::on_each_worker(&pool, ())).concat();
    known.sort_unstable();
    assert!(known.into_iter().eq(0..500));
    assert_eq!(values(forget::on_each_worker(&pool, ())), vec![Vec::<u64>::new(); 3]);
    Ok(())
}

#[worker_task(fallible)]
fn fails_on(#[worker_id] id: usize, bad: usize, panics: bool) -> Result<usize, String> {
    match id == bad {
        true if panics => panic!("worker {id} panics"),
        true => Err(format!("worker {id} fails")),
        false => Ok(id),
    }
}

fn its_own_error_in_each_place(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(4).build()?;
    for (bad, panics) in [(0, true), (2, false), (3, true)] {
        for (id, outcome) in fails_on::on_each_worker(&pool, (bad, panics))?.into_iter().enumerate() {
            match outcome {
                Ok(value) => assert!(value == id && id != bad),
                Err(error) => {
                    assert_eq!((error.task_index(), error.worker_id()), (bad, bad), "{error}");
                    match error.kind() {
                        TaskErrorKind::Failed(why) => assert!(why.contains("worker 2 fails") && !panics),
                        _ => assert!(panics && panic_message(&error) == format!("worker {bad} panics")),
                    }
                }
            }
        }
    }
    assert_usable(&pool);
    Ok(())
}

static ENCODED: AtomicU32 = AtomicU32::new(0);

/// Counts how often it is encoded; a 13 cannot be.
#[derive(Deserialize)]
struct Counted(u64);

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODED.fetch_add(1, Ordering::Relaxed);
        match self.0 {
            13 => Err(serde::ser::Error::custom("it is unlucky")),
            14 => panic!("one more than unlucky"),
            x => serializer.serialize_u64(x),
        }
    }
}

#[worker_task]
fn take_counted(#[worker_id] id: usize, counted: Counted) -> (usize, u64) {
    (id, counted.0)
}

fn encoded_once(method: StartMethod) -> Result<(), Error> {
    for codec in [Codec::Bincode, Codec::MessagePack, Codec::Postcard] {
        let pool = builder(method).workers(6).codec(codec).build()?;
        let before = ENCODED.load(Ordering::Relaxed);
        assert_eq!(values(take_counted::on_each_worker(&pool, Counted(3))), all(6, 3));
        assert_eq!(ENCODED.load(Ordering::Relaxed) - before, 1, "{codec:?}");
    }
    Ok(())
}

fn cannot_be_encoded(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for x in [13, 14] {
        let outcomes = take_counted::on_each_worker(&pool, Counted(x))?;
        assert_eq!(outcomes.len(), 2);
        for (place, outcome) in outcomes.into_iter().enumerate() {
            let error = outcome.unwrap_err();
            assert_eq!(error.task_index(), place);
            assert!(matches!(error.kind(), TaskErrorKind::Encode(_)), "{error}");
        }
    }
    assert_eq!(values(take_counted::on_each_worker(&pool, Counted(1))), all(2, 1));
    Ok(())
}

#[worker_task]
fn sums(#[worker_id] id: usize, name: &str, bytes: &[u8], numbers: &[f64]) -> (usize, usize, u64, f64) {
    (id, name.len(), bytes.iter().map(|byte| u64::from(*byte)).sum(), numbers.iter().sum())
}

fn borrowed_and_large(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(3).build()?;
    // An item in a lane's record, one of its own, and one that goes in parts.
    for len in [0, 1, 1000, 100_000, 5 << 20] {
        let (bytes, numbers) = (vec![1; len], vec![0.5; len / 8]);
        let sum = (len / 8) as f64 / 2.0;
        let expected: Vec<_> = (0..3).map(|id| (id, 4, len as u64, sum)).collect();
        assert_eq!(values(sums::on_each_worker(&pool, ("name", &*bytes, &*numbers))), expected, "{len}");
    }
    Ok(())
}

/// Counts itself, and waits for a token.
#[worker_task]
fn begin_and_wait(#[shared] begun: &SharedCounter, started: &str, go_on: &str) {
    begun.fetch_add(1);
    put_token(started);
    take_token(go_on);
}

#[worker_task]
fn begun_so_far(#[shared] begun: &SharedCounter, #[worker_id] id: usize) -> (usize, u64) {
    (id, begun.get())
}

/// The tasks wait for those that run, not for all that the workers have got from another call.
fn beside_long_calls(method: StartMethod) -> Result<(), Error> {
    const TASKS: usize = 60;
    for chunk_size in [None, Some(TASKS / 2)] {
        let begun = SharedCounter::new(0)?;
        let pool = builder(method).shared(begun.clone()).build()?;
        assert_usable(&pool);
        let (mut started, go_on) = (Tokens::new(), Tokens::new());
        let (started_path, go_on_path) = (started.path(), go_on.path());
        thread::scope(|scope| {
            let long = scope.spawn(|| {
                let items = (0..TASKS).map(|_| (&*started_path, &*go_on_path));
                let job = begin_and_wait::job(&pool);
                match chunk_size {
                    None => job.map(items),
                    Some(size) => job.chunk_size(size).map(items),
                }
            });
            started.take(2);
            // The main thread may also be asleep because another thread has the lock that it needs.
            scope.spawn(|| {
                for _ in 0..TASKS {
                    wait_until_the_main_thread_sleeps();
                    put_token(&go_on_path);
                }
            });
            let before = values(begun_so_far::on_each_worker(&pool, ()));
            for (place, (id, begun)) in before.into_iter().enumerate() {
                assert_eq!(place, id);
                assert!(begun < TASKS as u64, "worker {id} came last: {begun}");
            }
            assert_eq!(long.join().unwrap().unwrap().len(), TASKS);
        });
    }
    Ok(())
}

fn several_at_once(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(5).build()?;
    assert_usable(&pool);
    thread::scope(|scope| {
        for caller in 0..6 {
            let pool = &pool;
            scope.spawn(move || {
                for round in 0..20 {
                    let x = caller * 100 + round;
                    assert_eq!(values(whoami::on_each_worker(pool, x)), all(5, x));
                    assert_eq!(square::apply_async(pool, x).get().unwrap(), square(x));
                    assert_usable(pool);
                }
            });
        }
    });
    Ok(())
}

fn with_options(method: StartMethod) -> Result<(), Error> {
    for workers in [1, 4] {
        for order_tasks in [false, true] {
            for keep_alive in [false, true] {
                let options =
                    builder(method).workers(workers).order_tasks(order_tasks).keep_alive(keep_alive);
                let pool = options.build()?;
                for lifespan in [1, 2, 100] {
                    for most in [1, 2, 100] {
                        let job =
                            whoami::job(&pool).worker_lifespan(lifespan).max_tasks_active(most).chunk_size(9);
                        assert_eq!(
                            values(job.n_splits(3).iterable_len(1).on_each_worker(1)),
                            all(workers, 1)
                        );
                    }
                    assert_eq!(square::job(&pool).worker_lifespan(lifespan).map(0..10)?.len(), 10);
                }
                for job in [whoami::job(&pool).chunk_size(0), whoami::job(&pool).max_tasks_active(0)] {
                    assert_fails!(job.on_each_worker(1), Error::Option { .. });
                }
            }
        }
    }
    Ok(())
}

#[worker_task]
fn overlaps(#[shared] running: &SharedCounter) -> u64 {
    let before = running.fetch_add(1);
    thread::sleep(Duration::from_millis(5));
    running.fetch_sub(1);
    before
}

fn some_at_a_time(method: StartMethod) -> Result<(), Error> {
    for most in [1, 2] {
        let pool = builder(method).workers(5).shared(SharedCounter::new(0)?).build()?;
        let before = values(overlaps::job(&pool).max_tasks_active(most).on_each_worker(()));
        assert!(before.iter().all(|before| *before < most as u64), "{before:?}");
    }
    Ok(())
}

fn by_a_deadline(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(3).build()?;
    pool.warm_up::<held>()?;
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let job = held::job(&pool).max_tasks_active(1).deadline(Duration::from_millis(200));
    let outcomes = job.on_each_worker((&*started.path(), &*go_on.path()))?;
    started.take(1);
    // Threads can't be killed, so let it end.
    go_on.put(1);
    assert_eq!(outcomes.len(), 3);
    assert!(
        outcomes
            .iter()
            .all(|outcome| matches!(outcome, Err(error) if *error.kind() == TaskErrorKind::Cancelled))
    );
    assert_eq!(values(whoami::on_each_worker(&pool, 2)), all(3, 2));
    Ok(())
}

#[worker_init]
fn fails_in_one(#[worker_id] id: usize) -> Result<u64, String> {
    if id == 1 { Err("not here".into()) } else { Ok(1) }
}

#[worker_task(init = fails_in_one)]
fn never_everywhere(#[state] state: &mut u64) -> u64 {
    *state
}

fn init_fails(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for _ in 0..2 {
        let error = task_error(never_everywhere::on_each_worker(&pool, ()));
        assert!(matches!(error.kind(), TaskErrorKind::Init(_)) && error.worker_id() == 1, "{error}");
        assert_eq!(values(whoami::on_each_worker(&pool, 2)), all(2, 2));
    }
    Ok(())
}

#[worker_task]
fn held(started: &str, go_on: &str) {
    put_token(started);
    take_token(go_on);
}

fn cancelled(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(3).build()?;
    assert_eq!(values(whoami::on_each_worker(&pool, 1)), all(3, 1));
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    let (started_path, go_on_path) = (started.path(), go_on.path());
    for (most, begin) in [(1, 1), (3, 3)] {
        thread::scope(|scope| {
            let job = held::job(&pool).max_tasks_active(most);
            let (one, every) = (job.cancel_handle(), pool.cancel_handle());
            let call = scope.spawn(|| job.on_each_worker((&*started_path, &*go_on_path)));
            started.take(begin);
            if most == 1 {
                one.cancel();
            } else {
                every.cancel();
            }
            assert_fails!(call.join().unwrap(), Error::Cancelled);
        });
        // Threads can't be killed, so let them end.
        go_on.put(begin);
        assert_eq!(values(whoami::on_each_worker(&pool, 2)), all(3, 2));
    }
    let job = whoami::job(&pool);
    job.cancel_handle().cancel();
    assert_fails!(job.on_each_worker(1), Error::Cancelled);
    Ok(())
}

fn closed(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_usable(&pool);
    pool.shutdown()?;
    assert_fails!(whoami::on_each_worker(&pool, 1), Error::Closed);
    Ok(())
}

fn shows_progress(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(3).build()?;
    let bar = pool::indicatif::ProgressBar::hidden();
    let job = fails_on::job(&pool).progress(bar.clone());
    assert_eq!(job.on_each_worker((1, false))?.len(), 3);
    assert_eq!((bar.length(), bar.position(), bar.is_finished()), (Some(3), 3, true));
    Ok(())
}

#[worker_task]
fn dies_on(#[worker_id] id: usize, bad: usize, witness: &str) -> usize {
    if id == bad && take_all_tokens(witness) > 0 {
        std::process::exit(3);
    }
    id
}

fn deaths_stay_in_place(method: StartMethod) -> Result<(), Error> {
    let mut lives = Tokens::new();
    let pool = builder(method).workers(4).build()?;
    for bad in 0..4 {
        lives.put(1);
        let outcomes = dies_on::on_each_worker(&pool, (bad, &*lives.path()))?;
        for (id, outcome) in outcomes.into_iter().enumerate() {
            match outcome {
                Ok(value) => assert!(value == id && id != bad),
                Err(error) => {
                    let died =
                        matches!(error.kind(), TaskErrorKind::Died(death) if death.exit_code() == Some(3));
                    assert!(died && error.worker_id() == bad && id == bad, "{error}");
                }
            }
        }
        assert_eq!(values(whoami::on_each_worker(&pool, 1)), all(4, 1));
    }
    Ok(())
}

fn tried_again_on_its_worker(method: StartMethod) -> Result<(), Error> {
    let mut lives = Tokens::new();
    let pool = builder(method).workers(4).build()?;
    for bad in 0..4 {
        lives.put(1);
        let job = dies_on::job(&pool).retries(1);
        assert_eq!(values(job.on_each_worker((bad, &*lives.path()))), [0, 1, 2, 3]);
    }
    Ok(())
}

#[worker_task]
fn hangs_on(#[worker_id] id: usize, bad: usize) -> usize {
    if id == bad {
        loop {
            thread::park();
        }
    }
    id
}

fn takes_too_long(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(3).build()?;
    let job = hangs_on::job(&pool).task_timeout(Duration::from_millis(100)).retries(1);
    let outcomes = job.on_each_worker(1)?;
    let error = outcomes[1].as_ref().unwrap_err();
    assert!(matches!(error.kind(), TaskErrorKind::TimedOut(_)) && error.attempts() == 2, "{error}");
    assert!(outcomes[0].is_ok() && outcomes[2].is_ok());
    assert_usable(&pool);
    Ok(())
}
