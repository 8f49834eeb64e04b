//! The caller is busy in code of the user's: in its input, with a result, or in `Serialize`. The pool goes on without
//! it.

use std::cell::Cell;
use std::iter;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use pool::indicatif::ProgressBar;
use pool::shared::SharedCounter;
use pool::{Error, StartMethod, TaskErrorKind, WorkerPool, worker_task};
use serde::{Deserialize, Serialize, Serializer};

use crate::executors::{wait_until_the_background_sleeps, wait_until_the_background_sleeps_deeply};
use crate::harness::cases;
use crate::support::{assert_fails, assert_usable, builder, pool, ready, square, squares, task_error};

cases! {
    All: answers_before_the_next_item, an_answer_before_each_item_of_a_channel, a_busy_consumer,
         a_channel_that_is_cancelled, a_channel_with_pauses, forgotten, serialize_that_locks, the_bound_is_exact;
    Processes: a_death_while_the_input_waits, a_limit_while_the_consumer_is_busy, memory_beside_an_idle_call,
               a_lost_waker_beside_an_idle_call;
}

/// The other side sends an item once it has the result of the item before. If that takes too long, it sends the item
/// all the same, so that nothing hangs.
fn answers_before_the_next_item(method: StartMethod) -> Result<(), Error> {
    const ITEMS: u64 = 10;
    let pool = ready(method)?;
    let ((give, items), (answer, answers)) = (channel(), channel::<u64>());
    let late = thread::scope(|scope| {
        let other = scope.spawn(move || {
            let is_late = |x| {
                give.send(x).unwrap();
                let end = Instant::now() + Duration::from_secs(2);
                // Answers to earlier items may come first.
                let left = iter::repeat_with(|| end.saturating_duration_since(Instant::now()));
                !left.map_while(|left| answers.recv_timeout(left).ok()).any(|answer| answer == square(x))
            };
            (0..ITEMS).filter(|x| is_late(*x)).count()
        });
        for result in square::par_imap(&pool, items.into_iter().filter(|_| true)) {
            // The other side may have ended.
            let _ = answer.send(result?);
        }
        Ok::<_, Error>(other.join().unwrap())
    })?;
    println!("{late} answers were late");
    assert!(late < ITEMS as usize / 2, "{late} of {ITEMS} answers came only when the input went on");
    Ok(())
}

/// Also if that makes no whole chunk.
fn an_answer_before_each_item_of_a_channel(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for job in [
        square::job(&pool),
        square::job(&pool).chunk_size(2),
        square::job(&pool).chunk_size(1000).max_tasks_active(100),
        square::job(&pool).iterable_len(51).n_splits(3),
    ] {
        let (give, items) = channel();
        give.send(0).unwrap();
        let mut results = job.imap(items);
        for x in 0..50 {
            assert_eq!(results.next().transpose()?, Some(square(x)));
            give.send(x + 1).unwrap();
        }
        drop(give);
        assert_eq!(results.next().transpose()?, Some(square(50)));
        assert!(results.next().is_none());
    }
    Ok(())
}

#[worker_task]
fn count(#[shared] counter: &SharedCounter, x: u64) -> u64 {
    thread::sleep(Duration::from_millis(2));
    counter.fetch_add(1);
    x
}

/// A caller that takes its time between two results does not hold up the tasks.
fn a_busy_consumer(method: StartMethod) -> Result<(), Error> {
    const TASKS: u64 = 200;
    let counter = SharedCounter::new(0)?;
    let pool = builder(method).shared(counter.clone()).build()?;
    let pulled = Cell::new(0);
    let mut results = count::par_imap(&pool, (0..TASKS).inspect(|_| pulled.set(pulled.get() + 1)));
    let mut taken = 0;
    while pulled.get() < TASKS {
        assert_eq!(results.next().transpose()?, Some(taken));
        taken += 1;
    }
    while counter.get() < TASKS {
        thread::yield_now();
    }
    assert!(taken < TASKS && results.map(Result::unwrap).eq(taken..TASKS));
    Ok(())
}

fn a_channel_that_is_cancelled(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let cancel = pool.cancel_handle();
    for sent in [0, 1, 30] {
        let (give, items) = channel();
        (0..sent).for_each(|x| give.send(x).unwrap());
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            // The first cancellations may come before the call.
            scope.spawn(|| {
                while !is_over.load(Ordering::Relaxed) {
                    cancel.cancel();
                    thread::yield_now();
                }
            });
            let result = square::par_map(&pool, items);
            is_over.store(true, Ordering::Relaxed);
            assert_fails!(result, Error::Cancelled);
        });
        drop(give);
    }
    assert_usable(&pool);
    Ok(())
}

/// A call goes on while its channel is empty: its bar counts the tasks that are done.
fn a_channel_with_pauses(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let (give, items) = channel();
    let bar = ProgressBar::hidden();
    let results = thread::scope(|scope| {
        let done = bar.clone();
        scope.spawn(move || {
            for x in 0..300 {
                while x % 100 == 50 && done.position() < x {
                    thread::yield_now();
                }
                give.send(x).unwrap();
            }
        });
        square::job(&pool).progress(bar).map(items)
    })?;
    assert_eq!(results, squares(300));
    Ok(())
}

/// An iterator that was forgotten is never asked again, so the pool does not wait for it.
fn forgotten(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let mut results = square::par_imap(&pool, 0..);
    assert_eq!(results.next().transpose()?, Some(0));
    std::mem::forget(results);
    assert_usable(&pool);
    pool.join()?;
    Ok(())
}

static LOCK: Mutex<()> = Mutex::new(());

fn lock() -> MutexGuard<'static, ()> {
    LOCK.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Takes a lock while it is encoded.
#[derive(Debug, Deserialize)]
struct Locks(u64);

impl Serialize for Locks {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODES.lock().unwrap().take().into_iter().for_each(|tell| tell.send(()).unwrap());
        let _locked = lock();
        serializer.serialize_newtype_struct("Locks", &self.0)
    }
}

/// Gets a message when encoding begins.
static ENCODES: Mutex<Option<Sender<()>>> = Mutex::new(None);

#[worker_task]
fn unlocked(item: Locks) -> u64 {
    item.0
}

/// A caller may use the pool while it holds a lock that the `Serialize` of another call waits for.
fn serialize_that_locks(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let (tell, begins) = channel();
    *ENCODES.lock().unwrap() = Some(tell);
    let locked = lock();
    let results = thread::scope(|scope| {
        let other = scope.spawn(|| unlocked::par_map(&pool, (0..5).map(Locks)));
        begins.recv().unwrap();
        assert_eq!(square::apply(&pool, 5)?, 25);
        assert_eq!(square::par_map(&pool, 0..100)?, squares(100));
        drop(locked);
        other.join().unwrap()
    })?;
    assert_eq!(results, [0, 1, 2, 3, 4]);
    Ok(())
}

fn the_bound_is_exact(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for bound in [1, 4, 100] {
        let (mut pulled, mut given) = (Cell::new(0), 0);
        let input = (0..2000_u64).inspect(|_| pulled.set(pulled.get() + 1));
        for result in square::job(&pool).max_tasks_active(bound).imap(input) {
            result?;
            assert!(pulled.get() <= given + bound, "{} were pulled, {given} given", pulled.get());
            given += 1;
        }
        assert_eq!((*pulled.get_mut(), given), (2000, 2000));
    }
    Ok(())
}

/// Kills its worker at the first attempt.
#[worker_task]
fn die_once(#[shared] attempts: &SharedCounter, x: u64) -> u64 {
    if x == 0 && attempts.fetch_add(1) == 0 {
        std::process::abort();
    }
    x
}

fn a_death_while_the_input_waits(method: StartMethod) -> Result<(), Error> {
    let attempts = SharedCounter::new(0)?;
    let pool = builder(method).shared(attempts.clone()).build()?;
    let input = (0..3).inspect(|x| {
        while *x == 1 && attempts.get() < 2 {
            thread::yield_now();
        }
    });
    let results: Result<Vec<u64>, Error> = die_once::job(&pool).retries(1).imap(input).collect();
    assert_eq!(results?, [0, 1, 2]);
    Ok(())
}

/// Hangs at the first attempt.
#[worker_task]
fn hang_once(#[shared] attempts: &SharedCounter, x: u64) -> u64 {
    while x == 0 && attempts.fetch_add(1) == 0 {
        thread::sleep(Duration::from_secs(1000));
    }
    x
}

fn a_limit_while_the_consumer_is_busy(method: StartMethod) -> Result<(), Error> {
    let attempts = SharedCounter::new(0)?;
    let pool = builder(method).shared(attempts.clone()).build()?;
    let job = hang_once::job(&pool).task_timeout(Duration::from_millis(50)).retries(1);
    let results = job.imap(0..3);
    while attempts.get() < 2 {
        thread::yield_now();
    }
    assert_eq!(results.collect::<Result<Vec<u64>, Error>>()?, [0, 1, 2]);
    Ok(())
}

/// Holds too much memory until it is killed for that.
#[worker_task]
fn hold_too_much(bytes: usize) {
    let _held = std::hint::black_box(vec![1u8; bytes]);
    loop {
        thread::park();
    }
}

/// Runs `act` twice beside a call whose tasks are done and whose caller is busy elsewhere: once when the pool's thread
/// has just fallen asleep, and once when only news would wake it. The thread must wake when there is something to
/// check.
fn beside_an_idle_call(pool: &WorkerPool, act: impl Fn() -> Result<(), Error>) -> Result<(), Error> {
    for wait in [wait_until_the_background_sleeps, wait_until_the_background_sleeps_deeply] {
        let idle = square::par_imap(pool, 0..2);
        wait();
        act()?;
        assert_eq!(idle.collect::<Result<Vec<u64>, Error>>()?, squares(2));
    }
    Ok(())
}

fn memory_beside_an_idle_call(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).memory_limit(32 << 20).build()?;
    beside_an_idle_call(&pool, || {
        let error = task_error(hold_too_much::apply(&pool, 256 << 20));
        assert!(matches!(error.kind(), TaskErrorKind::Died(death) if death.out_of_memory()), "{error}");
        Ok(())
    })
}

/// Closes all descriptors, and with them the one that wakes the parent.
#[worker_task]
#[expect(unsafe_code)]
fn lose_the_waker(x: u64) -> u64 {
    // SAFETY: the call takes integers. It closes descriptors under their owners: this is the fault that is tested.
    assert_eq!(unsafe { nix::libc::syscall(nix::libc::SYS_close_range, 3, u32::MAX, 0) }, 0);
    x
}

fn a_lost_waker_beside_an_idle_call(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    beside_an_idle_call(&pool, || {
        assert_eq!(lose_the_waker::apply(&pool, 7)?, 7);
        Ok(())
    })
}
