//! The caller decides which failed tasks are tried again: on its own thread, while everything else goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::current;

use futures::StreamExt;
use futures::executor::block_on;
use pool::{Error, Retry, StartMethod, TaskError, TaskErrorKind, worker_task};

use super::retry_policies::Fault::{Dies, Hangs, Panics};
use super::retry_policies::{LIMIT, Step, Tries, attempt, pool_of, step};
use crate::harness::cases;
use crate::support::{Tokens, assert_usable, panic_message, pool, put_token, square, take_token, task_error};

cases! {
    All: the_caller_is_asked, asking_blocks_nobody, the_caller_uses_the_pool, the_caller_panics,
        the_caller_panics_in_an_iterator, the_caller_panics_in_the_background;
    Processes: deaths_are_judged;
}

/// In its own thread, with all that the error says in the end.
fn the_caller_is_asked(method: StartMethod) -> Result<(), Error> {
    let pool = pool_of(method, 40)?;
    let asked = Arc::new(Mutex::new(Vec::new()));
    let retry = || {
        let (asked, thread) = (Arc::clone(&asked), current().id());
        Retry::times(2).on(move |error| {
            asked.lock().unwrap().push((error.clone(), current().id() == thread));
            true
        })
    };
    let job = || attempt::job(&pool).label("asked").retry(retry());
    let calls: [&dyn Fn(Step) -> Result<u64, Error>; 5] = [
        &|step| job().apply(step),
        &|step| job().map_outcomes([step])?.remove(0).map_err(Error::Task),
        &|step| job().imap([step]).next().unwrap(),
        &|step| block_on(job().stream([step]).next()).unwrap(),
        &|step| job().apply_async(step).get(),
    ];
    for (call, run) in calls.into_iter().enumerate() {
        let last = task_error(run(step(call, Panics, 5)));
        let asked = std::mem::take(&mut *asked.lock().unwrap());
        assert_eq!(asked.len(), 2, "the last failure is final");
        for (place, (error, is_here)) in asked.iter().enumerate() {
            assert_eq!((error.attempts(), error.earlier_attempts().len()), (place as u32 + 1, place));
            assert_eq!(panic_message(error), format!("{call} panics"));
            let about = |error: &TaskError| {
                let place = error.called_at().map(str::to_owned);
                (
                    error.task_index(),
                    error.argument().map(str::to_owned),
                    error.label().map(str::to_owned),
                    place,
                )
            };
            assert_eq!(about(error), about(&last));
            assert_eq!(*is_here, call < 4, "call {call}");
        }
    }
    Ok(())
}

/// While the caller thinks about a failure, all other tasks run whose items it has taken.
fn asking_blocks_nobody(method: StartMethod) -> Result<(), Error> {
    #[worker_task]
    fn first_fails(#[shared] tries: &Tries, number: usize, ran: &str, pulled: &str) {
        if tries[number].fetch_add(1) == 0 && number == 0 {
            take_token(pulled);
            std::panic::resume_unwind(Box::new("the first one"));
        }
        put_token(ran);
    }
    for in_background in [false, true] {
        let (pool, ran, pulled) = (pool_of(method, 20)?, Tokens::new(), Tokens::new());
        let (path, all) = (ran.path(), pulled.path());
        let waiting = Mutex::new(ran);
        let retry = Retry::times(1).on(move |_| {
            waiting.lock().unwrap().take(19);
            true
        });
        let last = |number| {
            if number == 19 {
                put_token(&all);
            }
        };
        let items = (0..20).inspect(|number| last(*number)).map(|number| (number, &*path, &*all));
        let job = first_fails::job(&pool).chunk_size(1).retry(retry);
        let results = if in_background { job.map_async(items).get() } else { job.map(items) };
        assert_eq!(results?.len(), 20);
    }
    Ok(())
}

fn the_caller_uses_the_pool(method: StartMethod) -> Result<(), Error> {
    #[worker_task]
    fn fails_if_odd(x: u64) -> u64 {
        if x % 2 == 1 {
            std::panic::resume_unwind(Box::new("odd"));
        }
        x
    }
    let pool = Arc::new(pool(method)?);
    let retry = || {
        let pool = Arc::downgrade(&pool);
        Retry::times(1).on(move |error| {
            let pool = pool.upgrade().expect("its call is open");
            square::apply(&pool, error.task_index() as u64).is_ok()
                && square::apply_async(&pool, 7).get().is_ok_and(|x| x == square(7))
        })
    };
    let job = || fails_if_odd::job(&pool).retry(retry());
    let attempts = |error: &Error| error.task().map(TaskError::attempts);
    let failed = job().map_outcomes(0..20)?.into_iter().filter(|outcome| outcome.as_ref().is_err());
    assert!(failed.map(|outcome| outcome.unwrap_err().attempts()).eq([2; 10]));
    assert_eq!(job().apply_async(1).get().map_err(|error| attempts(&error)), Err(Some(2)));
    assert_eq!(job().map_async([0, 1]).get().map_err(|error| attempts(&error)), Err(Some(2)));
    Ok(())
}

/// A panic of the caller's own, without its message on stderr.
fn panics_once() -> impl Fn(&TaskError) -> bool + Send + Sync + 'static {
    let asked = AtomicU32::new(0);
    move |_| {
        if asked.fetch_add(1, Ordering::Relaxed) == 0 {
            std::panic::resume_unwind(Box::new("the caller's own"));
        }
        true
    }
}

fn the_caller_panics(method: StartMethod) -> Result<(), Error> {
    let pool = pool_of(method, 40)?;
    let items = |first: usize| (0..10).map(move |place| step(first + place, Panics, u64::from(place == 4)));
    let job = || attempt::job(&pool).retry(Retry::times(1).on(panics_once()));
    for (call, run) in
        [&(|| drop(job().map(items(0)))) as &dyn Fn(), &|| drop(job().map_outcomes(items(10))), &|| {
            drop(job().apply(step(20, Panics, 1)));
        }]
        .into_iter()
        .enumerate()
    {
        let panic = catch_unwind(AssertUnwindSafe(run)).unwrap_err();
        assert_eq!(panic.downcast_ref(), Some(&"the caller's own"), "call {call}");
        assert_eq!(attempt::apply(&pool, step(39, Panics, 0))? / 10, 39);
        assert_usable(&pool);
    }
    Ok(())
}

/// The iterator goes on behind it, and its task is not tried again.
fn the_caller_panics_in_an_iterator(method: StartMethod) -> Result<(), Error> {
    let pool = pool_of(method, 40)?;
    for ordered in [true, false] {
        let first = if ordered { 0 } else { 20 };
        let items = (0..20).map(|place| step(first + place, Panics, u64::from(place % 5 == 0)));
        // Nothing is judged while the iterator is made, as nobody would get the panic.
        let (asked, panics) = (Arc::new(AtomicU32::new(0)), panics_once());
        let count = Arc::clone(&asked);
        let retry = Retry::times(1).on(move |error| {
            count.fetch_add(1, Ordering::Relaxed);
            panics(error)
        });
        let job = attempt::job(&pool).retry(retry).max_tasks_active(3);
        let made =
            catch_unwind(AssertUnwindSafe(
                || {
                    if ordered { job.imap(items) } else { job.imap_unordered(items) }
                },
            ));
        // The call is gone if it panicked in there.
        let Ok(mut results) = made else { continue };
        let (mut came, mut failed, mut panicked) = (Vec::new(), Vec::new(), 0);
        loop {
            match catch_unwind(AssertUnwindSafe(|| results.next())) {
                Ok(Some(Ok(value))) => came.push(value),
                Ok(Some(Err(error))) => failed.push(error.task().unwrap().attempts()),
                Ok(None) => break,
                Err(_) => panicked += 1,
            }
        }
        assert_eq!((came.len(), failed, panicked), (19, vec![1], 1));
        assert_eq!(asked.load(Ordering::Relaxed), 4);
        assert_usable(&pool);
    }
    Ok(())
}

fn the_caller_panics_in_the_background(method: StartMethod) -> Result<(), Error> {
    let pool = pool_of(method, 2)?;
    let job = || attempt::job(&pool).retry(Retry::times(1).on(panics_once()));
    for call in [
        job().apply_async(step(0, Panics, 1)).get(),
        job().map_async([step(1, Panics, 1)]).get().map(|all| all[0]),
    ] {
        assert_eq!(task_error(call).attempts(), 1);
    }
    assert_usable(&pool);
    Ok(())
}

fn deaths_are_judged(method: StartMethod) -> Result<(), Error> {
    let pool = pool_of(method, 30)?;
    let is_death =
        |error: &TaskError| matches!(error.kind(), TaskErrorKind::Died(death) if death.signal() == Some(9));
    let job = || attempt::job(&pool).task_timeout(LIMIT).retry(Retry::times(3).on(is_death));
    assert_eq!(job().apply(step(0, Dies, 3))?, 3);
    assert_eq!(task_error(job().apply(step(1, Hangs, 1))).attempts(), 1);
    assert_eq!(task_error(job().apply_async(step(2, Hangs, 1)).get()).attempts(), 1);
    let outcomes = job().map_outcomes((10..20).map(|number| step(number, [Dies, Panics][number % 2], 2)))?;
    for (number, outcome) in (10..20).zip(outcomes) {
        assert_eq!(
            outcome.map_err(|error| error.attempts()),
            if number % 2 == 0 { Ok(10 * number + 2) } else { Err(1) }
        );
    }
    Ok(())
}
