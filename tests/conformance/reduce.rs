//! A reduce gives what a serial fold gives, whatever the grouping.

use std::collections::BTreeMap;
use std::iter;

use pool::shared::{SharedArray, SharedCounter};
use pool::{Chunk, Error, StartMethod, WorkerId, worker_exit, worker_init, worker_task};

use crate::codecs::CODECS;
use crate::harness::cases;
use crate::support::{assert_fails, assert_usable, builder, pool, ready, square};

cases! {
    All: equals_serial, keeps_the_order, lengths_of_input, chunk_options, other_options, borrowed_items, large_values,
         more_values_than_are_kept, chunks_of_slices, many_tiny_tasks, every_codec, reducer_with_shared_and_worker_id,
         states_and_exits, fresh_workers, cancelled, insights_count_tasks, beside_other_calls, ordered_tasks;
}

#[worker_task]
pub(super) fn add(a: u64, b: u64) -> u64 {
    a + b
}

/// Associative, but not commutative.
#[worker_task]
pub(super) fn join(mut a: String, b: String) -> String {
    a.push_str(&b);
    a
}

#[worker_task]
pub(super) fn spell(x: u64) -> String {
    format!("{x},")
}

pub(super) fn spelled(n: u64) -> Option<String> {
    (0..n).map(spell).reduce(join)
}

fn equals_serial(method: StartMethod) -> Result<(), Error> {
    for workers in [1, 2, 4] {
        let pool = builder(method).workers(workers).build()?;
        assert_eq!(square::job(&pool).reduce::<add>(0..5000)?, (0..5000).map(square).reduce(add));
        assert_eq!(pool.job::<square>().reduce::<add>(0..500)?, (0..500).map(square).reduce(add));
    }
    Ok(())
}

fn keeps_the_order(method: StartMethod) -> Result<(), Error> {
    for workers in [1, 2, 4] {
        let pool = builder(method).workers(workers).build()?;
        assert_eq!(spell::job(&pool).reduce::<join>(0..3000)?, spelled(3000));
    }
    Ok(())
}

fn lengths_of_input(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for n in [0, 1, 2, 3, 7, 64, 65] {
        assert_eq!(spell::job(&pool).reduce::<join>(0..n)?, spelled(n));
        // An iterator that does not know its length.
        let mut left = 0..n;
        assert_eq!(spell::job(&pool).reduce::<join>(iter::from_fn(|| left.next()))?, spelled(n));
        assert_eq!(spell::job(&pool).iterable_len(n as usize).reduce::<join>(0..)?, spelled(n));
    }
    Ok(())
}

fn chunk_options(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = || spell::job(&pool);
    for n in [1, 7, 100] {
        assert_eq!(job().chunk_size(n).reduce::<join>(0..500)?, spelled(500));
        assert_eq!(job().n_splits(n).reduce::<join>(0..500)?, spelled(500));
        assert_eq!(job().max_tasks_active(n).reduce::<join>(0..500)?, spelled(500));
        assert_eq!(job().chunk_size(3).max_tasks_active(n).reduce::<join>(0..500)?, spelled(500));
        assert_eq!(job().worker_lifespan(n).reduce::<join>(0..60)?, spelled(60));
    }
    assert_fails!(job().chunk_size(0).reduce::<join>(0..5), Error::Option { option: "chunk_size", .. });
    Ok(())
}

#[worker_task]
fn seed_of(_: u64) -> String {
    pool::task_seed().to_string()
}

fn other_options(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let one_by_one = seed_of::job(&pool).seed(7).map(0..100)?.concat();
    assert_eq!(seed_of::job(&pool).seed(7).reduce::<join>(0..100)?, Some(one_by_one));
    let bar = pool::indicatif::ProgressBar::hidden();
    spell::job(&pool).progress(bar.clone()).reduce::<join>(0..500)?;
    assert_eq!((bar.position(), bar.length()), (500, Some(500)), "the bar counts tasks, not values");
    Ok(())
}

#[worker_task]
fn count<'a>(text: &'a str, more: &'a str) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for word in text.split_whitespace().chain(more.split_whitespace()) {
        *counts.entry(word.to_owned()).or_default() += 1;
    }
    counts
}

#[worker_task]
fn merge(mut a: BTreeMap<String, u64>, b: BTreeMap<String, u64>) -> BTreeMap<String, u64> {
    for (word, count) in b {
        *a.entry(word).or_default() += count;
    }
    a
}

fn borrowed_items(method: StartMethod) -> Result<(), Error> {
    let texts: Vec<String> = (0..300).map(|x| format!("a {} {}", x % 7, x % 11)).collect();
    let items = || texts.iter().map(|text| (text.as_str(), "b"));
    let serial = items().map(|(text, more)| count(text, more)).reduce(merge);
    assert_eq!(count::job(&pool(method)?).reduce::<merge>(items())?, serial);
    Ok(())
}

#[worker_task]
fn fill(x: u8) -> Vec<u8> {
    vec![x; 200_000]
}

/// More than a lane holds.
#[worker_task]
fn fill_more(x: u8) -> Vec<u8> {
    vec![x; 20_000_000]
}

#[worker_task]
fn append(mut a: Vec<u8>, mut b: Vec<u8>) -> Vec<u8> {
    a.append(&mut b);
    a
}

/// Values that are sent in parts, one by one and folded.
fn large_values(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let serial = (0..2).map(fill_more).reduce(append);
    assert!(fill_more::job(&pool).chunk_size(1).reduce::<append>(0..2)? == serial);
    let serial = (0..30).map(fill).reduce(append);
    for chunk in [1, 10, 30] {
        assert!(fill::job(&pool).chunk_size(chunk).reduce::<append>(0..30)? == serial, "chunks of {chunk}");
    }
    Ok(())
}

/// Values that come back one by one are folded further while the call goes on.
fn more_values_than_are_kept(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(3).build()?;
    let serial = spelled(20_000);
    assert!(spell::job(&pool).chunk_size(1).max_tasks_active(6).reduce::<join>(0..20_000)? == serial);
    Ok(())
}

#[worker_task]
fn sum(#[chunk] rows: &[u64]) -> u64 {
    rows.iter().sum()
}

fn chunks_of_slices(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let rows: Vec<u64> = (0..100_000).collect();
    let expected = Some(rows.iter().sum());
    assert_eq!(sum::job(&pool).reduce_slice::<add, _>(&rows)?, expected);
    assert_eq!(sum::job(&pool).reduce_slice::<add, _>(&SharedArray::from_slice(&rows)?)?, expected);
    assert_eq!(sum::job(&pool).chunk_size(999).reduce_slice::<add, _>(&rows)?, expected);
    assert_eq!(sum::job(&pool).reduce::<add>(rows.chunks(1000).map(Chunk::from))?, expected);
    assert_eq!(sum::job(&pool).reduce_slice::<add, u64>(&[])?, None);
    Ok(())
}

fn many_tiny_tasks(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for _ in 0..3 {
        assert_eq!(square::job(&pool).reduce::<add>(0..300_000)?, (0..300_000).map(square).reduce(add));
    }
    Ok(())
}

fn every_codec(method: StartMethod) -> Result<(), Error> {
    for codec in CODECS {
        let pool = builder(method).codec(codec).build()?;
        assert_eq!(spell::job(&pool).reduce::<join>(0..200)?, spelled(200));
        assert_eq!(square::job(&pool).reduce::<add>(0..200)?, (0..200).map(square).reduce(add));
    }
    Ok(())
}

#[worker_task]
fn join_with(#[shared] between: &String, #[worker_id] id: WorkerId, a: String, b: String) -> String {
    assert!(usize::from(id) < 2);
    format!("{a}{between}{b}")
}

fn reducer_with_shared_and_worker_id(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).shared("+".to_owned()).build()?;
    let expected = (0..400).map(spell).collect::<Vec<_>>().join("+");
    assert_eq!(spell::job(&pool).reduce::<join_with>(0..400)?, Some(expected));
    Ok(())
}

#[worker_init]
fn begin() -> u64 {
    0
}

#[worker_task(init = begin, exit = hand_over)]
fn tally(#[state] tasks: &mut u64, x: u64) -> u64 {
    *tasks += 1;
    x
}

#[worker_exit]
fn hand_over(#[state] tasks: u64) -> u64 {
    tasks
}

fn states_and_exits(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(tally::job(&pool).reduce::<add>(0..1000)?, Some(499_500));
    assert_eq!(pool.join()?.exit_results::<hand_over>()?.iter().sum::<u64>(), 1000);
    Ok(())
}

fn fresh_workers(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).keep_alive(false).build()?;
    for calls in 1..3 {
        assert_eq!(tally::job(&pool).reduce::<add>(0..1000)?, Some(499_500));
        assert_eq!(pool.exit_results::<hand_over>()?.iter().sum::<u64>(), calls * 1000);
    }
    Ok(())
}

#[worker_task]
fn cancel_at(#[shared] reached: &SharedCounter, x: u64) -> u64 {
    if x == 500 {
        reached.fetch_add(1);
    }
    x
}

fn cancelled(method: StartMethod) -> Result<(), Error> {
    let reached = SharedCounter::new(0)?;
    let pool = builder(method).shared(reached.clone()).build()?;
    let handle = pool.cancel_handle();
    let items = (0..).inspect(|_| {
        if reached.get() > 0 {
            handle.cancel();
        }
    });
    assert_fails!(cancel_at::job(&pool).reduce::<add>(items), Error::Cancelled);
    assert_usable(&pool);
    Ok(())
}

fn insights_count_tasks(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).insights(true).build()?;
    square::job(&pool).chunk_size(1000).reduce::<add>(0..1000)?;
    let told = pool.insights();
    assert_eq!(told.workers.iter().map(|worker| worker.tasks).sum::<u64>(), 1000, "{told}");
    assert!(told.slowest.iter().all(|slow| slow.index < 1000), "{told}");
    assert!(!told.slowest.is_empty(), "{told}");
    Ok(())
}

fn beside_other_calls(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let mut squares = square::par_imap(&pool, 0..);
    for x in 0..20 {
        assert_eq!(spell::job(&pool).reduce::<join>(0..300)?, spelled(300));
        assert_eq!(squares.next().transpose()?, Some(square(x)));
    }
    Ok(())
}

fn ordered_tasks(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(3).order_tasks(true).build()?;
    assert_eq!(spell::job(&pool).chunk_size(7).reduce::<join>(0..500)?, spelled(500));
    assert_eq!(spell::job(&pool).reduce::<join>(0..500)?, spelled(500));
    Ok(())
}
