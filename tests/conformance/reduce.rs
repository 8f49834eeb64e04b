//! A reduce gives what a serial fold gives, whatever the grouping, and a death costs one task: each result counts
//! exactly once.

use std::collections::BTreeMap;
use std::iter;
use std::time::Duration;

use nix::sys::signal::Signal;
use pool::shared::{SharedArray, SharedCounter};
use pool::{
    Chunk, Codec, Error, StartMethod, TaskErrorKind, WorkerId, WorkerPool, worker_exit, worker_init,
    worker_task,
};
use serde::{Deserialize, Serialize, Serializer};

use crate::harness::cases;
use crate::support::{
    Tokens, assert_fails, assert_usable, builder, die, panic_message, pool, ready, square, take_token,
    task_error,
};

cases! {
    All: equals_serial, keeps_the_order, lengths_of_input, chunk_options, other_options, borrowed_items, large_values,
         more_values_than_are_kept, chunks_of_slices, many_tiny_tasks, every_codec, reducer_with_shared_and_worker_id,
         states_and_exits, fresh_workers, a_task_panics, the_reducer_panics, the_reducer_panics_among_values,
         no_value_can_be_encoded, cancelled, insights_count_tasks, beside_other_calls, ordered_tasks;
    Processes: a_task_dies, the_reducer_dies, the_reducer_dies_among_values, retried, times_out,
               time_counts_for_each_task, lost_folds_run_again;
}

#[worker_task]
fn add(a: u64, b: u64) -> u64 {
    a + b
}

/// Associative, but not commutative.
#[worker_task]
fn join(mut a: String, b: String) -> String {
    a.push_str(&b);
    a
}

#[worker_task]
fn spell(x: u64) -> String {
    format!("{x},")
}

fn spelled(n: u64) -> Option<String> {
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
        // An iterator that knows nothing of its length.
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

/// Values that travel in parts, alone and together.
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

/// Single values are folded further while the call goes on.
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
    for codec in [Codec::Bincode, Codec::Postcard, Codec::MessagePack] {
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

/// The panic costs one task, wherever that is in its chunk.
fn a_task_panics(method: StartMethod) -> Result<(), Error> {
    #[worker_task]
    fn not_70(x: u64) -> u64 {
        assert_ne!(x, 70, "it is 70");
        x
    }
    let pool = pool(method)?;
    for chunk in [1, 10, 100] {
        let error = task_error(not_70::job(&pool).chunk_size(chunk).reduce::<add>(0..100));
        assert_eq!((error.task_index(), error.attempts()), (70, 1));
        assert!(
            panic_message(&error).contains("it is 70") && error.task_name().contains("not_70"),
            "{error}"
        );
        assert_usable(&pool);
    }
    Ok(())
}

#[worker_task]
fn add_unless_70(a: u64, b: u64) -> u64 {
    assert_ne!(b, 70, "it is 70");
    a + b
}

#[worker_task]
fn same(x: u64) -> u64 {
    x
}

fn the_reducer_panics(method: StartMethod) -> Result<(), Error> {
    // Of two workers, an idle one may take over a part of the chunk.
    let pool = builder(method).workers(1).build()?;
    for chunk in [50, 100] {
        let error = task_error(same::job(&pool).chunk_size(chunk).reduce::<add_unless_70>(0..100));
        assert_eq!(error.task_index(), 70, "it is the one whose result was being folded");
        assert!(panic_message(&error).contains("it is 70"), "{error}");
        assert_usable(&pool);
    }
    Ok(())
}

fn the_reducer_panics_among_values(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let error = task_error(same::job(&pool).max_tasks_active(1).reduce::<add_unless_70>(0..100));
    assert_eq!(error.task_index(), 50, "it is the first one of those that were folded together");
    assert!(error.task_name().contains("add_unless_70"), "{error}");
    assert_usable(&pool);
    Ok(())
}

/// Cannot be encoded once it holds three numbers.
#[derive(Debug, Deserialize)]
struct Few(Vec<u64>);

impl Serialize for Few {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if self.0.len() > 2 {
            return Err(serde::ser::Error::custom("there are too many"));
        }
        self.0.serialize(serializer)
    }
}

#[worker_task]
fn few(x: u64) -> Few {
    Few(vec![x])
}

#[worker_task]
fn more(mut a: Few, mut b: Few) -> Few {
    a.0.append(&mut b.0);
    a
}

fn no_value_can_be_encoded(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let error = task_error(few::job(&pool).chunk_size(10).reduce::<more>(0..10));
    assert!(matches!(error.kind(), TaskErrorKind::Encode(why) if why.contains("too many")), "{error}");
    assert_usable(&pool);
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

// ---- deaths ----

#[worker_task]
fn die_at(#[shared] left: &SharedCounter, at: u64, x: u64) -> String {
    if x == at && left.get() > 0 {
        left.fetch_sub(1);
        die(Signal::SIGKILL);
    }
    spell(x)
}

fn dying(method: StartMethod, deaths: u64) -> Result<WorkerPool<SharedCounter>, Error> {
    builder(method).shared(SharedCounter::new(deaths)?).build()
}

fn a_task_dies(method: StartMethod) -> Result<(), Error> {
    let pool = dying(method, 1000)?;
    for (chunk, at) in [(1, 7), (50, 0), (50, 49), (50, 71), (100, 99)] {
        let error =
            task_error(die_at::job(&pool).chunk_size(chunk).reduce::<join>((0..100).map(|x| (at, x))));
        assert_eq!((error.task_index() as u64, error.attempts()), (at, 1), "{error}");
        assert!(error.to_string().contains("SIGKILL"), "{error}");
        assert_usable(&pool);
    }
    Ok(())
}

#[worker_task]
fn die_at_70(a: u64, b: u64) -> u64 {
    if b == 70 {
        die(Signal::SIGKILL);
    }
    a + b
}

fn the_reducer_dies(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    let error = task_error(same::job(&pool).chunk_size(100).reduce::<die_at_70>(0..100));
    assert_eq!(error.task_index(), 70);
    assert_usable(&pool);
    Ok(())
}

fn the_reducer_dies_among_values(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let error = task_error(same::job(&pool).max_tasks_active(1).reduce::<die_at_70>(0..100));
    assert_eq!(error.task_index(), 50);
    assert!(error.task_name().contains("die_at_70"), "{error}");
    assert_usable(&pool);
    Ok(())
}

/// None of the results that die with a worker is lost, and none counts twice.
fn retried(method: StartMethod) -> Result<(), Error> {
    for (chunk, at, deaths) in [(1, 7, 1), (50, 0, 2), (50, 71, 3), (100, 99, 1)] {
        let pool = dying(method, deaths)?;
        let job = die_at::job(&pool).chunk_size(chunk).retries(deaths as u32);
        assert_eq!(job.reduce::<join>((0..100).map(|x| (at, x)))?, spelled(100), "chunks of {chunk}");
    }
    let pool = dying(method, 3)?;
    let error =
        task_error(die_at::job(&pool).chunk_size(50).retries(2).reduce::<join>((0..100).map(|x| (71, x))));
    assert_eq!((error.task_index(), error.attempts(), error.earlier_attempts().len()), (71, 3, 2));
    Ok(())
}

#[worker_task]
fn count_run(#[shared] runs: &SharedCounter, at: u64, x: u64) -> u64 {
    let before = runs.fetch_add(1);
    // At the first run of the last task in the chunk.
    if x == at && before == at {
        die(Signal::SIGKILL);
    }
    x
}

/// The tasks that were folded with the one that died run again, and only those.
fn lost_folds_run_again(method: StartMethod) -> Result<(), Error> {
    let runs = SharedCounter::new(0)?;
    let pool = builder(method).workers(1).shared(runs.clone()).build()?;
    let job = count_run::job(&pool).chunk_size(40).retries(1);
    assert_eq!(job.reduce::<add>((0..40).map(|x| (39, x)))?, Some((0..40).sum()));
    assert_eq!(runs.get(), 80, "all 40 had run, and none of their results was handed over");
    Ok(())
}

const SHORT: Duration = Duration::from_millis(50);

#[worker_task]
fn hang_if(#[shared] never: &String, hangs: bool, x: u64) -> u64 {
    if hangs {
        take_token(never);
    }
    x
}

fn times_out(method: StartMethod) -> Result<(), Error> {
    let never = Tokens::new();
    let pool = builder(method).shared(never.path()).build()?;
    for (chunk, at) in [(1, 7), (20, 0), (20, 7), (20, 19)] {
        let job = hang_if::job(&pool).task_timeout(SHORT).chunk_size(chunk);
        let error = task_error(job.reduce::<add>((0..20).map(|x| (x == at, x))));
        assert_eq!(error.task_index() as u64, at, "{error}");
        assert!(matches!(error.kind(), TaskErrorKind::TimedOut(limit) if *limit == SHORT), "{error}");
        assert_usable(&pool);
    }
    let job = hang_if::job(&pool).task_timeout(SHORT).chunk_size(20).retries(1);
    let error = task_error(job.reduce::<add>((0..20).map(|x| (x == 7, x))));
    assert_eq!((error.task_index(), error.attempts()), (7, 2));
    Ok(())
}

#[worker_task]
fn nap(x: u64) -> u64 {
    // Not to wait for anything: it is time that must pass.
    std::thread::sleep(Duration::from_millis(10));
    x
}

/// A chunk may take longer than the limit, if no task does.
fn time_counts_for_each_task(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = nap::job(&pool).task_timeout(Duration::from_secs(1)).chunk_size(60);
    assert_eq!(job.reduce::<add>(0..240)?, Some((0..240).sum()));
    Ok(())
}
