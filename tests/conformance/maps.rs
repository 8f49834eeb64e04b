//! The maps return what a serial loop returns, in the order that they promise.

use std::borrow::Cow;
use std::iter;

use pool::shared::SharedCounter;
use pool::{Error, StartMethod, worker_task};
use serde::{Deserialize, Serialize};

use crate::harness::cases;
use crate::support::{assert_usable, builder, pool, sorted, square, squares};

cases! {
    All: equals_serial, lengths_of_input, outcomes, single_call, from_the_pools_side, several_arguments,
         no_argument, borrowed_arguments, nested_values, recursive_function, iterable_len_cuts, large_results,
         many_tiny_tasks, nobody_waits_behind_one, more_workers_than_tasks, calls_in_a_row, map_during_imap;
}

fn equals_serial(method: StartMethod) -> Result<(), Error> {
    for workers in [1, 2, 4] {
        let pool = builder(method).workers(workers).build()?;
        assert_eq!(square::par_map(&pool, 0..500)?, squares(500));
        assert_eq!(sorted(square::par_map_unordered(&pool, 0..500)?), squares(500));
        assert_eq!(square::par_imap(&pool, 0..500).collect::<Result<Vec<_>, _>>()?, squares(500));
        let unordered = square::par_imap_unordered(&pool, 0..500).collect::<Result<Vec<_>, _>>()?;
        assert_eq!(sorted(unordered), squares(500));
    }
    let pool = pool::WorkerPool::builder().start_method(method).build()?;
    assert_eq!(pool.workers(), pool::cpu_count());
    assert_eq!(pool.start_method(), method);
    assert_usable(&pool);
    Ok(())
}

/// Counts itself, or waits until all others have done so.
#[worker_task]
fn count_or_wait(#[shared] done: &SharedCounter, waits: bool, others: u64) {
    if !waits {
        done.fetch_add(1);
    }
    while waits && done.get() < others {
        std::thread::yield_now();
    }
}

/// A worker gets several chunks of one task at once, but a slow task does not hold up those behind it.
fn nobody_waits_behind_one(method: StartMethod) -> Result<(), Error> {
    const OTHERS: u64 = 4999;
    let done = SharedCounter::new(0)?;
    let pool = builder(method).shared(done.clone()).build()?;
    let input = (0..=OTHERS).map(|x| (x == OTHERS / 2, OTHERS));
    count_or_wait::job(&pool).chunk_size(1).map(input)?;
    assert_eq!(done.get(), OTHERS);
    Ok(())
}

fn lengths_of_input(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for n in [0, 1, 2, 3, 7, 64, 65] {
        assert_eq!(square::par_map(&pool, (0..n).collect::<Vec<_>>())?, squares(n));
        assert_eq!(square::par_map_unordered(&pool, 0..n)?.len() as u64, n);
        assert_eq!(square::par_imap(&pool, 0..n).collect::<Result<Vec<_>, _>>()?, squares(n));
        assert_eq!(square::par_imap_unordered(&pool, 0..n).count() as u64, n);
        assert_eq!(square::par_map_outcomes(&pool, 0..n)?.len() as u64, n);
        // An iterator that does not know its length.
        let mut left = 0..n;
        assert_eq!(square::par_map(&pool, iter::from_fn(|| left.next()))?, squares(n));
        let mut left = 0..n;
        assert_eq!(square::par_imap(&pool, iter::from_fn(|| left.next())).count() as u64, n);
    }
    Ok(())
}

fn outcomes(method: StartMethod) -> Result<(), Error> {
    let outcomes = square::par_map_outcomes(&pool(method)?, 0..100)?;
    let values: Result<Vec<u64>, _> = outcomes.into_iter().collect();
    assert_eq!(values?, squares(100));
    Ok(())
}

fn single_call(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for x in 0..20 {
        assert_eq!(square::apply(&pool, x)?, square(x));
    }
    assert_eq!(square::job(&pool).apply(9)?, 81);
    Ok(())
}

fn from_the_pools_side(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(pool.map::<square>(0..10)?, squares(10));
    assert_eq!(sorted(pool.map_unordered::<square>(0..10)?), squares(10));
    assert_eq!(pool.imap::<square>(0..10).collect::<Result<Vec<_>, _>>()?, squares(10));
    assert_eq!(pool.imap_unordered::<square>(0..10).count(), 10);
    assert_eq!(pool.map_outcomes::<square>(0..10)?.len(), 10);
    assert_eq!(pool.apply::<square>(3)?, 9);
    assert_eq!(pool.apply_async::<square>(3).get()?, 9);
    assert_eq!(pool.map_async::<square>(0..10).get()?, squares(10));
    assert_eq!(pool.job::<square>().chunk_size(3).map(0..10)?, squares(10));
    Ok(())
}

#[worker_task]
fn join_text(number: i32, text: String, flag: bool) -> String {
    let mut joined = text;
    joined.push_str(&format!("{number}{flag}"));
    joined
}

fn several_arguments(method: StartMethod) -> Result<(), Error> {
    let items = |n: i32| (0..n).map(|i| (i, "text".repeat(i.unsigned_abs() as usize), i % 2 == 0));
    let serial: Vec<String> = items(50).map(|(i, text, flag)| join_text(i, text, flag)).collect();
    assert_eq!(join_text::par_map(&pool(method)?, items(50))?, serial);
    Ok(())
}

#[worker_task]
fn answer() -> u64 {
    42
}

fn no_argument(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(answer::par_map(&pool, iter::repeat_n((), 10))?, [42; 10]);
    assert_eq!(answer::apply(&pool, ())?, 42);
    Ok(())
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct Borrowed<'a> {
    name: &'a str,
    #[serde(borrow)]
    note: Option<Cow<'a, str>>,
}

#[worker_task]
fn lengths(text: &str, bytes: &[u8], both: Borrowed<'_>) -> [usize; 4] {
    [text.len(), bytes.len(), both.name.len(), both.note.map_or(0, |note| note.len())]
}

fn borrowed_arguments(method: StartMethod) -> Result<(), Error> {
    let texts: Vec<String> = (0..100).map(|i| "ä".repeat(i)).collect();
    let items = texts.iter().map(|t| {
        (&**t, t.as_bytes(), Borrowed { name: t, note: Some(Cow::Borrowed(&t[..t.len() / 4 * 2])) })
    });
    let serial: Vec<_> = items.clone().map(|(a, b, c)| lengths(a, b, c)).collect();
    assert_eq!(lengths::par_map(&pool(method)?, items)?, serial);
    Ok(())
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Tree {
    Leaf(i64),
    Node(Box<Tree>, Box<Tree>),
}

#[worker_task]
fn mirror(tree: Tree) -> Result<Tree, String> {
    match tree {
        Tree::Leaf(i64::MIN) => Err("the least leaf".to_owned()),
        Tree::Leaf(value) => Ok(Tree::Leaf(value)),
        Tree::Node(left, right) => Ok(Tree::Node(Box::new(mirror(*right)?), Box::new(mirror(*left)?))),
    }
}

fn nested_values(method: StartMethod) -> Result<(), Error> {
    let leaf = |value| Box::new(Tree::Leaf(value));
    let trees: Vec<Tree> = (0..50i64)
        .map(|i| Tree::Node(Box::new(Tree::Node(leaf(i), leaf(-i))), leaf(if i == 7 { i64::MIN } else { 1 })))
        .collect();
    let serial: Vec<_> = trees.iter().cloned().map(mirror).collect();
    assert!(serial[7].is_err(), "a task may return a `Result` of its own");
    assert_eq!(mirror::par_map(&pool(method)?, trees)?, serial);
    Ok(())
}

#[worker_task]
fn fibonacci(n: u32) -> u64 {
    if n < 2 { u64::from(n) } else { fibonacci(n - 1) + fibonacci(n - 2) }
}

fn recursive_function(method: StartMethod) -> Result<(), Error> {
    assert_eq!(fibonacci::par_map(&pool(method)?, [5, 10, 15])?, [5, 55, 610]);
    Ok(())
}

fn iterable_len_cuts(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(square::job(&pool).iterable_len(10).map(0..)?, squares(10));
    assert_eq!(square::job(&pool).iterable_len(10).imap(0..).count(), 10);
    assert_eq!(square::job(&pool).iterable_len(10).n_splits(3).map(0..20)?, squares(10));
    assert_eq!(square::job(&pool).iterable_len(100).map(0..20)?, squares(20), "a shorter input just ends");
    assert_eq!(square::job(&pool).iterable_len(100).n_splits(7).map((0..20).filter(|_| true))?, squares(20));
    assert!(square::job(&pool).iterable_len(0).map(0..)?.is_empty());
    assert_eq!(square::job(&pool).iterable_len(10).map_async(0..).get()?, squares(10));
    assert_usable(&pool);
    Ok(())
}

#[worker_task]
fn blob(byte: u8, len: usize) -> Vec<u8> {
    vec![byte; len]
}

fn large_results(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let items = || (0..20).map(|i| (i, 1_000_000));
    let serial: Vec<Vec<u8>> = items().map(|(byte, len)| blob(byte, len)).collect();
    assert!(blob::par_map(&pool, items())? == serial);
    assert!(sorted(blob::par_map_unordered(&pool, items())?) == serial);
    assert!(blob::par_imap(&pool, items()).collect::<Result<Vec<_>, _>>()? == serial);
    assert!(sorted(blob::par_imap_unordered(&pool, items()).collect::<Result<Vec<_>, _>>()?) == serial);
    Ok(())
}

fn many_tiny_tasks(method: StartMethod) -> Result<(), Error> {
    assert!(square::par_map(&pool(method)?, 0..200_000)? == squares(200_000));
    Ok(())
}

fn more_workers_than_tasks(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(8).build()?;
    assert_eq!(square::par_map(&pool, 0..3)?, squares(3));
    assert_eq!(square::par_map(&pool, 0..1000)?, squares(1000));
    Ok(())
}

fn calls_in_a_row(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for n in 0..300 {
        assert_eq!(square::par_map(&pool, 0..n)?, squares(n));
        assert_eq!(answer::apply(&pool, ())?, 42);
    }
    Ok(())
}

fn map_during_imap(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let mut slow = square::job(&pool).chunk_size(3).imap(0..200);
    for n in 0..100 {
        assert_eq!(slow.next().transpose()?, Some(square(n)));
        assert_eq!(square::par_map(&pool, 0..n)?, squares(n), "the calls share the workers");
    }
    assert_eq!(slow.collect::<Result<Vec<_>, _>>()?, squares(200)[100..]);
    Ok(())
}
