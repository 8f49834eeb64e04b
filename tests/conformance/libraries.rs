//! Libraries over `pool`: functions and types that are generic over the task and the pool's shared value.

use std::sync::Arc;
use std::vec::IntoIter;

use futures::StreamExt;
use futures::executor::block_on;
use pool::{
    AsyncResult, Error, ExitOf, Imap, InitOf, Job, ReadyFor, Reduces, ResultStream, RunsOn, StartMethod,
    Task, TaskErrorKind, WorkerExit, WorkerPool, worker_exit, worker_init, worker_task,
};

use crate::harness::cases;
use crate::support::{builder, pool, task_error};

cases! {
    All: outcomes_are_counted, a_map_tries_again, a_service_keeps_calls, jobs_are_prepared, results_are_stored,
        other_inits_and_exits, a_tree_of_folds;
}

/// As in the documents that fix the API.
fn outcomes_of<T: pool::Task + pool::ReadyFor<S>, S: 'static>(
    pool: &WorkerPool<S>,
    items: Vec<T::Item<'_>>,
) -> Result<usize, Error> {
    Ok(pool.map_outcomes::<T>(items)?.iter().filter(|r| r.is_ok()).count())
}

#[worker_task]
fn words(text: &str) -> u64 {
    text.split_whitespace().count() as u64
}

#[worker_task]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

#[worker_init]
fn offset(#[shared] base: &u64) -> u64 {
    *base
}

#[worker_exit]
fn calls(#[state] state: u64, #[shared] base: &u64) -> u64 {
    state - base
}

/// Fails at each number until it has counted up to it.
#[worker_task(fallible, init = offset, exit = calls)]
fn stubborn(#[shared] base: &u64, #[state] state: &mut u64, number: u64) -> Result<u64, String> {
    *state += 1;
    if *state - base > number { Ok(number + base) } else { Err(format!("not yet {number}")) }
}

fn outcomes_are_counted(method: StartMethod) -> Result<(), Error> {
    assert_eq!(outcomes_of::<words, _>(&pool(method)?, vec!["x y", ""])?, 2);
    let pool = builder(method).workers(1).shared(100u64).build()?;
    assert_eq!(outcomes_of::<words, _>(&pool, vec!["x y"])?, 1);
    assert_eq!(outcomes_of::<stubborn, _>(&pool, vec![0, 5, 0])?, 2);
    Ok(())
}

/// Maps again what has failed, and tells how often it mapped.
fn persistent<'i, T, S: 'static>(
    pool: &WorkerPool<S>,
    items: &[T::Item<'i>],
) -> Result<(Vec<T::Output>, usize), Error>
where
    T: Task<Item<'i>: Clone> + ReadyFor<S>,
{
    let mut results: Vec<Option<T::Output>> = items.iter().map(|_| None).collect();
    for round in 1.. {
        let left: Vec<usize> = (0..items.len()).filter(|&index| results[index].is_none()).collect();
        if left.is_empty() {
            return Ok((results.into_iter().flatten().collect(), round - 1));
        }
        let job = pool.job::<T>().chunk_size(1);
        let outcomes = job.map_outcomes(left.iter().map(|&index| items[index].clone()))?;
        for (index, outcome) in left.into_iter().zip(outcomes) {
            match outcome {
                Ok(result) => results[index] = Some(result),
                Err(error) if matches!(error.kind(), TaskErrorKind::Failed(_)) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
    unreachable!("rounds have no end")
}

fn a_map_tries_again(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).shared(10u64).build()?;
    let (results, rounds) = persistent::<stubborn, _>(&pool, &[0, 3, 1])?;
    assert_eq!((results, rounds), (vec![10, 13, 11], 2));
    assert_eq!(persistent::<words, _>(&pool, &["a b"])?, (vec![2], 1));
    assert_eq!(pool.join()?.exit_results::<calls>()?, [4]);
    Ok(())
}

/// A service that owns its pool, and has calls in the background.
struct Service<T: Task, S> {
    pool: Arc<WorkerPool<S>>,
    pending: Vec<AsyncResult<T::Output>>,
}

impl<T: ReadyFor<S>, S: 'static> Service<T, S> {
    fn submit(&mut self, item: T::Item<'_>) {
        self.pending.push(self.pool.apply_async::<T>(item));
    }

    fn finish(self) -> Result<Vec<T::Output>, Error> {
        self.pending.iter().map(AsyncResult::get).collect()
    }
}

fn a_service_keeps_calls(method: StartMethod) -> Result<(), Error> {
    let pool = Arc::new(pool(method)?);
    let mut service = Service::<words, ()> { pool: Arc::clone(&pool), pending: Vec::new() };
    for text in [String::from("a"), String::from("b c")] {
        service.submit(&text);
    }
    assert_eq!(service.finish()?, [1, 2]);
    Ok(())
}

/// A job whose options were set, to be called later.
struct Prepared<'p, T: Task, S> {
    name: &'static str,
    job: Job<'p, T, S>,
}

fn prepared<T: ReadyFor<S>, S: 'static>(pool: &WorkerPool<S>) -> Prepared<'_, T, S> {
    Prepared { name: T::name(), job: pool.job::<T>().chunk_size(2).retries(1) }
}

impl<T: ReadyFor<S>, S: 'static> Prepared<'_, T, S> {
    fn run(self, items: Vec<T::Item<'_>>) -> Result<Vec<T::Output>, Error> {
        self.job.map(items)
    }
}

fn jobs_are_prepared(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let prepared = prepared::<words, _>(&pool);
    assert!(prepared.name.ends_with("::libraries::words"), "{}", prepared.name);
    assert_eq!(prepared.run(vec!["a", "b c", ""])?, [1, 2, 0]);
    Ok(())
}

/// The results of several calls, as they come.
struct Running<'p, 'i, T: Task> {
    iterator: Imap<'p, 'i, T, IntoIter<T::Item<'i>>>,
    stream: ResultStream<'p, 'i, T, IntoIter<T::Item<'i>>>,
}

fn start<'p, 'i, T, S: 'static>(pool: &'p WorkerPool<S>, items: Vec<T::Item<'i>>) -> Running<'p, 'i, T>
where
    T: ReadyFor<S> + Task<Item<'i>: Clone>,
{
    let again = items.clone();
    Running { iterator: pool.job::<T>().imap(items), stream: pool.job::<T>().stream(again) }
}

fn results_are_stored(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let mut running: Running<'_, '_, words> = start(&pool, vec!["a", "b c", "d"]);
    assert_eq!(running.iterator.next().unwrap()?, 1);
    let streamed: Result<Vec<u64>, Error> =
        block_on(running.stream.collect::<Vec<_>>()).into_iter().collect();
    assert_eq!((streamed?, running.iterator.collect::<Result<Vec<_>, _>>()?), (vec![1, 2, 1], vec![2, 1]));
    Ok(())
}

#[worker_init]
fn far() -> u64 {
    1_000
}

/// Runs the task with functions that the caller names.
fn with_functions<T, I, E, S: 'static>(
    pool: WorkerPool<S>,
    item: T::Item<'_>,
) -> Result<Vec<E::Output>, Error>
where
    T: Task + RunsOn<S>,
    I: InitOf<T::State> + RunsOn<S>,
    E: WorkerExit + ExitOf<T::State> + RunsOn<S>,
{
    pool.job::<T>().worker_init::<I>().worker_exit::<E>().apply(item)?;
    pool.join()?.exit_results::<E>()
}

fn other_inits_and_exits(method: StartMethod) -> Result<(), Error> {
    let shared = || builder(method).workers(1).shared(1u64).build();
    assert_eq!(with_functions::<stubborn, far, calls, _>(shared()?, 5)?, [1_000]);
    let error = task_error(with_functions::<stubborn, offset, calls, _>(shared()?, 5));
    assert!(error.to_string().contains("not yet 5"), "{error}");
    Ok(())
}

/// Folds what several maps give.
fn fold_all<'i, T, G, S: 'static>(
    pool: &WorkerPool<S>,
    inputs: Vec<Vec<T::Item<'i>>>,
) -> Result<T::Output, Error>
where
    T: ReadyFor<S> + Task<Output: Default>,
    G: Reduces<T::Output> + RunsOn<S>,
{
    let sums = inputs.into_iter().map(|items| pool.job::<T>().reduce::<G>(items));
    let sums: Result<Vec<_>, _> = sums.collect();
    Ok(sums?.into_iter().flatten().next().unwrap_or_default())
}

fn a_tree_of_folds(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(fold_all::<words, add, _>(&pool, vec![vec![], vec!["a b", "c"]])?, 3);
    Ok(())
}
