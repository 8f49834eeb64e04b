//! A call gives up when too many of its tasks have failed, and what is done is kept.

use std::time::Duration;

use futures::StreamExt;
use futures::executor::block_on;
use nix::sys::signal::Signal;
use pool::shared::{SharedArray, SharedCounter};
use pool::{Error, Retry, StartMethod, TaskError, TaskErrorKind, worker_task};
use serde::{Deserialize, Deserializer, Serialize};

use crate::harness::cases;
use crate::support::{assert_fails, assert_usable, builder, die, panic_message, pool, square, task_error};

cases! {
    All: outcomes_are_kept, what_has_come_is_told, unpulled_items, iterators_end_with_the_first,
        streams_end_with_the_first, calls_that_end_with_the_first_anyway, fewer_failures, after_all_attempts,
        in_place, on_each_worker, results_that_do_not_decode, while_nobody_asks, zero_is_refused;
    Processes: deaths;
}

/// Fails if the number is odd, without a message on stderr.
#[worker_task]
fn even(x: u64) -> u64 {
    if x % 2 == 1 {
        std::panic::resume_unwind(Box::new(format!("{x} is odd")));
    }
    x
}

#[worker_task]
fn add(one: u64, other: u64) -> u64 {
    one + other
}

fn is_cancelled(error: &TaskError) -> bool {
    matches!(error.kind(), TaskErrorKind::Cancelled)
}

fn outcomes_are_kept(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for (chunk, most) in [(1, 1), (1, 3), (7, 3), (50, 10)] {
        let outcomes = even::job(&pool).chunk_size(chunk).give_up_after(most).map_outcomes(0..1000)?;
        assert_eq!(outcomes.len(), 1000);
        let (mut failed, mut cancelled) = (0, 0);
        for (x, outcome) in (0..).zip(&outcomes) {
            match outcome {
                Ok(value) => assert_eq!((*value, x % 2), (x, 0)),
                Err(error) if is_cancelled(error) => cancelled += 1,
                Err(error) => {
                    assert_eq!(
                        (panic_message(error), error.task_index()),
                        (&*format!("{x} is odd"), x as usize)
                    );
                    failed += 1;
                }
            }
        }
        assert!(failed >= most && cancelled > 0, "{failed} failed, {cancelled} cancelled");
        assert!(outcomes.iter().flatten().count() > 0 || chunk == 1);
        assert_usable(&pool);
    }
    Ok(())
}

/// A worker runs its tasks in their order. So none is cancelled that comes before one with a result.
fn what_has_come_is_told(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    for chunk in [10, 100] {
        for most in [1, 2, 5] {
            let job = || even::job(&pool).chunk_size(chunk).give_up_after(most);
            let mut outcomes = job().map_outcomes(0..1000)?;
            outcomes.truncate(outcomes.iter().rposition(Result::is_ok).map_or(0, |last| last + 1));
            assert!(
                outcomes.iter().all(|outcome| !outcome.as_ref().is_err_and(is_cancelled)),
                "{outcomes:?}"
            );
            let results = job().imap(0..1000).collect::<Vec<_>>();
            let last = results.iter().rposition(Result::is_ok).unwrap_or(0);
            let are_cancelled = results[..last].iter().filter_map(|result| result.as_ref().err()?.task());
            assert!(!are_cancelled.into_iter().any(is_cancelled), "{results:?}");
        }
    }
    Ok(())
}

/// They have an outcome where the input knows that there are some.
fn unpulled_items(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = || even::job(&pool).give_up_after(2);
    assert_eq!(job().map_outcomes([1; 5000])?.len(), 5000);
    assert_eq!(job().iterable_len(70).map_outcomes(vec![1; 5000])?.len(), 70);
    let outcomes = job().map_outcomes(std::iter::repeat(1))?;
    assert!(outcomes.iter().flatten().count() == 0 && outcomes.len() >= 2);
    // It says that it is that long, and there is no memory for so many.
    let enormous = job().map_outcomes((0..u64::MAX).map(|_| 1))?;
    assert!(enormous.len() < 100_000_000);
    Ok(())
}

fn iterators_end_with_the_first(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for ordered in [true, false] {
        let job = even::job(&pool).give_up_after(4);
        let mut results = if ordered { job.imap(0..) } else { job.imap_unordered(0..) };
        let mut all: Vec<Result<u64, Error>> = results.by_ref().collect();
        assert!(results.next().is_none());
        let last = task_error(all.pop().unwrap());
        let failed: Vec<&TaskError> = all.iter().filter_map(|result| result.as_ref().err()?.task()).collect();
        let own: Vec<_> = failed.iter().filter(|error| !is_cancelled(error)).collect();
        assert!(own.len() >= 4 && own.iter().any(|error| ***error == last), "{last}: {own:?}");
        for (x, result) in (0..).zip(&all).filter(|_| ordered) {
            match result {
                Ok(value) => assert_eq!(*value, x),
                Err(error) => assert_eq!(error.task().unwrap().task_index() as u64, x),
            }
        }
        assert_usable(&pool);
    }
    Ok(())
}

fn streams_end_with_the_first(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let mut all: Vec<_> = block_on(even::job(&pool).give_up_after(4).stream(0..).collect());
    let last = task_error(all.pop().unwrap());
    assert_eq!(last.task_index() % 2, 1);
    assert!(all.iter().filter(|result| result.is_err()).count() >= 4);
    assert_usable(&pool);
    Ok(())
}

fn calls_that_end_with_the_first_anyway(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for most in [1, 2, usize::MAX] {
        let job = || even::job(&pool).give_up_after(most);
        let items = [0, 2, 4, 5, 6];
        let errors = [
            job().map(items).map(drop),
            job().map_unordered(items).map(drop),
            job().map_into(items, &mut [0; 5]).map(drop),
            job().reduce::<add>(items).map(drop),
            job().map_async(items).get().map(drop),
        ];
        for error in errors.map(task_error) {
            assert_eq!((error.task_index(), panic_message(&error)), (3, "5 is odd"));
        }
        assert_eq!(panic_message(&task_error(job().apply(7))), "7 is odd");
        assert_eq!(panic_message(&task_error(job().apply_async(7).get())), "7 is odd");
        // Calls that are carried out together fail each on its own.
        let calls: Vec<_> = (0..100).map(|x| job().apply_async(x)).collect();
        for (x, call) in (0..).zip(calls) {
            assert_eq!(call.get().ok(), (x % 2 == 0).then_some(x));
        }
    }
    Ok(())
}

fn fewer_failures(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let items = || (0..100).map(|x| if x % 10 == 0 { x + 1 } else { 2 * x });
    for most in [11, usize::MAX] {
        let job = || even::job(&pool).give_up_after(most);
        let failed = |outcomes: usize| assert_eq!(outcomes, 10);
        failed(job().map_outcomes(items())?.iter().filter(|outcome| outcome.is_err()).count());
        failed(job().imap(items()).filter(Result::is_err).count());
        failed(job().imap_unordered(items()).filter(Result::is_err).count());
    }
    // As many are enough, even if no other task is left.
    assert_eq!(even::job(&pool).give_up_after(10).imap(items()).filter(Result::is_err).count(), 11);
    Ok(())
}

#[worker_task]
fn odd_ones_need_two(#[shared] tries: &Vec<SharedCounter>, number: usize) -> u64 {
    let tried = tries[number].fetch_add(1);
    if number % 2 == 1 && tried == 0 {
        std::panic::resume_unwind(Box::new("not yet"));
    }
    tried
}

/// Only a task that has failed for good counts.
fn after_all_attempts(method: StartMethod) -> Result<(), Error> {
    let tries = |tasks| (0..tasks).map(|_| SharedCounter::new(0)).collect::<Result<Vec<_>, _>>();
    let pool = builder(method).shared(tries(40)?).build()?;
    let retry = || Retry::times(1).on(|_| true);
    let job = || odd_ones_need_two::job(&pool).give_up_after(1).retry(retry());
    assert!(job().map_outcomes(0..20)?.iter().all(Result::is_ok));
    assert!(job().imap(20..40).all(|result| result.is_ok()));
    // A decision against another attempt makes a failure of it.
    let pool = builder(method).shared(tries(400)?).build()?;
    let retry = Retry::times(1).on(|_| false);
    let outcomes = odd_ones_need_two::job(&pool).give_up_after(3).retry(retry).map_outcomes(0..400)?;
    let failed =
        outcomes.iter().filter_map(|outcome| outcome.as_ref().err()).filter(|error| !is_cancelled(error));
    assert!(failed.count() >= 3);
    assert!(outcomes.iter().any(|outcome| outcome.as_ref().is_err_and(is_cancelled)));
    Ok(())
}

#[worker_task]
fn negate(#[chunk] numbers: &mut [i64]) {
    if numbers[0] == 0 {
        std::panic::resume_unwind(Box::new("nothing to negate"));
    }
    numbers.iter_mut().for_each(|number| *number = -*number);
}

fn in_place(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let mut numbers = SharedArray::<i64>::zeroed(1000)?;
    let error = task_error(negate::job(&pool).give_up_after(3).chunks_mut(&mut numbers, 2));
    assert_eq!(panic_message(&error), "nothing to negate");
    let outcomes = negate::job(&pool).give_up_after(3).chunks_mut_outcomes(&mut numbers, 2)?;
    assert_eq!(outcomes.len(), 500);
    let cancelled = outcomes.iter().filter(|outcome| outcome.as_ref().is_err_and(is_cancelled)).count();
    assert!((1..=497).contains(&cancelled), "{cancelled}");
    Ok(())
}

fn on_each_worker(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(3).build()?;
    for most in [1, 2, 3, 4] {
        let outcomes = even::job(&pool).give_up_after(most).on_each_worker(1)?;
        assert_eq!(outcomes.len(), 3);
        let own = outcomes.iter().filter(|outcome| outcome.as_ref().is_err_and(|error| !is_cancelled(error)));
        assert!(own.count() >= most.min(3));
    }
    Ok(())
}

/// Its results come as text, and cannot be read.
#[derive(Debug, PartialEq, Serialize)]
struct OneWay(String);

impl<'de> Deserialize<'de> for OneWay {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(serde::de::Error::custom("it goes one way"))
    }
}

#[worker_task]
fn one_way(x: u64) -> OneWay {
    OneWay(x.to_string())
}

/// They are failures of their tasks, although these have run.
fn results_that_do_not_decode(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let mut all: Vec<_> = one_way::job(&pool).give_up_after(3).imap(0..).collect();
    let is_undecodable = |error: &TaskError| matches!(error.kind(), TaskErrorKind::Decode(_));
    if method == StartMethod::Threads && all.first().is_some_and(Result::is_ok) {
        return Ok(());
    }
    assert!(is_undecodable(&task_error(all.pop().unwrap())));
    assert!(all.len() >= 3);
    assert_usable(&pool);
    Ok(())
}

/// No more tasks begin although the caller does not look.
fn while_nobody_asks(method: StartMethod) -> Result<(), Error> {
    #[worker_task]
    fn fail_and_count(#[shared] begun: &SharedCounter) {
        begun.fetch_add(1);
        std::panic::resume_unwind(Box::new("as ever"));
    }
    let begun = SharedCounter::new(0)?;
    let pool = builder(method).workers(1).shared(begun.clone()).build()?;
    let results =
        fail_and_count::job(&pool).chunk_size(1).give_up_after(2).imap(std::iter::repeat_n((), 5000));
    // Only what the worker had got by then runs before this one.
    assert_eq!(even::apply(&pool, 2)?, 2);
    let before = begun.get();
    assert_eq!(even::apply(&pool, 2)?, 2);
    assert_eq!((begun.get(), before < 5000), (before, true));
    drop(results);
    Ok(())
}

fn zero_is_refused(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = || square::job(&pool).give_up_after(0);
    assert_fails!(job().map([1]), Error::Option { option: "give_up_after", .. });
    assert_fails!(job().map_outcomes([1]), Error::Option { option: "give_up_after", .. });
    assert_fails!(job().apply_async(1).get(), Error::Option { option: "give_up_after", .. });
    assert_fails!(job().imap([1]).next().unwrap(), Error::Option { option: "give_up_after", .. });
    assert_fails!(job().on_each_worker(1), Error::Option { option: "give_up_after", .. });
    Ok(())
}

#[worker_task]
fn dies(hangs: bool) {
    if hangs {
        std::thread::sleep(Duration::from_secs(1000));
    }
    die(Signal::SIGKILL);
}

/// Those that run while the call gives up are ended with it.
fn deaths(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let items = (0..100).map(|x| x == 2);
    let outcomes = dies::job(&pool).chunk_size(1).give_up_after(3).map_outcomes(items)?;
    let died = outcomes.iter().filter(|outcome| {
        outcome.as_ref().is_err_and(|error| matches!(error.kind(), TaskErrorKind::Died(_)))
    });
    assert!(died.count() >= 3);
    assert_eq!(outcomes.len(), 100);
    assert_usable(&pool);
    Ok(())
}
