//! Tasks that borrow one field of what the pool shares.

use std::sync::atomic::{AtomicU64, Ordering};

use pool::shared::SharedCounter;
use pool::{Error, ReadyFor, Shares, StartMethod, Task, WorkerPool, worker_exit, worker_init, worker_task};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

use super::codecs::CODECS;
use crate::harness::cases;
use crate::support::{builder, square};

cases! {
    All: fields_and_the_whole, in_init_and_exit, beside_chunks_and_reducers, tuple_structs, of_libraries,
         only_fields_are_borrowed, handles_of_shared_memory, cannot_be_decoded;
    BesideThreads: several_pools;
    Processes: after_a_death;
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Model {
    factor: f64,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Table(Vec<String>);

#[derive(Debug, Clone, PartialEq, Shares, Serialize, Deserialize)]
struct Common {
    model: Model,
    table: Table,
    names: Vec<String>,
    limit: u32,
}

fn common() -> Common {
    let table = Table(vec!["a".into(), "b".into()]);
    Common { model: Model { factor: 2.5 }, table, names: vec!["x".into()], limit: 7 }
}

#[worker_task]
fn rate(#[shared] model: &Model, x: f64) -> f64 {
    model.factor * x
}

#[worker_task]
fn look_up(x: usize, #[shared] table: &Table, #[worker_id] _id: usize) -> String {
    table.0[x].clone()
}

#[worker_task]
fn name(#[shared] names: &Vec<String>) -> String {
    names.concat()
}

#[worker_task]
fn all(#[shared] common: &Common) -> Common {
    common.clone()
}

fn fields_and_the_whole(method: StartMethod) -> Result<(), Error> {
    for codec in CODECS {
        let pool = builder(method).codec(codec).shared(common()).build()?;
        assert_eq!(rate::par_map(&pool, [1.0, 2.0])?, [2.5, 5.0]);
        assert_eq!(look_up::par_map(&pool, [1, 0])?, ["b", "a"]);
        assert_eq!(name::apply(&pool, ())?, "x");
        assert_eq!(all::apply(&pool, ())?, common());
        assert_eq!(pool.map::<rate>([2.0])?, [5.0]);
        assert_eq!(rate::apply_async(&pool, 4.0).get()?, 10.0);
        assert_eq!(square::apply(&pool, 3)?, 9);
    }
    // The type of a field can be shared on its own, too.
    let pool = builder(method).shared(Model { factor: 3.0 }).build()?;
    assert_eq!(rate::par_map(&pool, [1.0, 2.0])?, [3.0, 6.0]);
    Ok(())
}

#[worker_init]
fn start(#[shared] limit: &u32, #[arg] more: u32) -> u32 {
    limit + more
}

#[worker_exit]
fn end(#[shared] table: &Table, #[state] count: u32) -> String {
    format!("{}{count}", table.0[0])
}

#[worker_task(init = start, exit = end)]
fn count(#[state] count: &mut u32, #[shared] common: &Common, x: u32) -> u32 {
    *count += 1;
    *count + common.limit + x
}

fn in_init_and_exit(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).shared(common()).build()?;
    assert_eq!(count::job(&pool).arg(100).map([0, 10])?, [115, 126]);
    assert_eq!(pool.join()?.exit_results::<end>()?, ["a109"]);
    Ok(())
}

#[worker_task]
fn scale(#[shared] model: &Model, #[chunk] rows: &[f64]) -> Vec<f64> {
    rows.iter().map(|x| x * model.factor).collect()
}

#[worker_task]
fn add(#[shared] limit: &u32, a: u64, b: u64) -> u64 {
    assert_eq!(*limit, 7);
    a + b
}

fn beside_chunks_and_reducers(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).shared(common()).build()?;
    assert_eq!(scale::par_map_slice(&pool, &[1.0, 2.0, 4.0])?, [2.5, 5.0, 10.0]);
    assert_eq!(square::job(&pool).reduce::<add>(0..10)?, Some(285));
    Ok(())
}

#[derive(Shares, Serialize, Deserialize)]
struct Pair(u8, (String, f32));

#[worker_task]
fn first(#[shared] number: &u8) -> u8 {
    *number
}

#[worker_task]
fn second(#[shared] (text, number): &(String, f32)) -> String {
    format!("{text}{number}")
}

fn tuple_structs(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).shared(Pair(9, ("z".into(), 0.5))).build()?;
    assert_eq!((first::apply(&pool, ())?, second::apply(&pool, ())?), (9, "z0.5".into()));
    Ok(())
}

/// What a library over any pool does that has what its task borrows.
fn apply_all<T, S: 'static>(pool: &WorkerPool<S>, items: Vec<T::Item<'_>>) -> Result<Vec<T::Output>, Error>
where
    T: Task + ReadyFor<S>,
{
    items.into_iter().map(|item| pool.apply::<T>(item)).collect()
}

fn of_libraries(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).shared(common()).build()?;
    assert_eq!(apply_all::<rate, _>(&pool, vec![1.0, 2.0])?, [2.5, 5.0]);
    assert_eq!(apply_all::<look_up, _>(&pool, vec![1])?, ["b"]);
    Ok(())
}

/// No function borrows it as a whole.
#[derive(Shares, Serialize, Deserialize)]
struct Rare {
    model: Model,
    left: i128,
}

#[worker_task]
fn left(#[shared] left: &i128) -> i128 {
    *left
}

fn only_fields_are_borrowed(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).shared(Rare { model: Model { factor: -1.0 }, left: -5 }).build()?;
    assert_eq!((left::apply(&pool, ())?, rate::apply(&pool, 2.0)?), (-5, -2.0));
    Ok(())
}

#[derive(Shares, Serialize, Deserialize)]
struct Handles {
    counter: SharedCounter,
    model: Model,
}

#[worker_task]
fn count_in(#[shared] counter: &SharedCounter, by: u64) {
    counter.fetch_add(by);
}

fn handles_of_shared_memory(method: StartMethod) -> Result<(), Error> {
    let counter = SharedCounter::new(0)?;
    let handles = Handles { counter: counter.clone(), model: Model { factor: 1.0 } };
    let pool = builder(method).shared(handles).build()?;
    count_in::par_map(&pool, 0..10)?;
    assert_eq!((counter.get(), rate::apply(&pool, 2.0)?), (45, 2.0));
    Ok(())
}

/// Cannot be decoded.
struct Undecodable;

impl Serialize for Undecodable {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        7u8.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Undecodable {
    fn deserialize<D: Deserializer<'de>>(_: D) -> Result<Self, D::Error> {
        Err(D::Error::custom("not this one"))
    }
}

#[derive(Shares, Serialize, Deserialize)]
struct Broken {
    model: Model,
    bad: Undecodable,
}

fn cannot_be_decoded(method: StartMethod) -> Result<(), Error> {
    let broken = Broken { model: Model { factor: 1.0 }, bad: Undecodable };
    let result = builder(method).shared(broken).build().and_then(|pool| rate::apply(&pool, 1.0));
    match method {
        // There it is the value itself.
        StartMethod::Fork | StartMethod::Threads => assert_eq!(result?, 1.0),
        _ => {
            let error = result.unwrap_err().to_string();
            assert!(
                error.contains("the shared value could not be decoded") && error.contains("not this one"),
                "{error}"
            );
        }
    }
    Ok(())
}

/// Cannot be encoded, so workers inherit it.
#[derive(Shares)]
struct Inherited {
    calls: AtomicU64,
    model: Model,
}

#[worker_task]
fn count_calls(#[shared] calls: &AtomicU64) -> bool {
    calls.fetch_add(1, Ordering::Relaxed) < 1000
}

fn several_pools(method: StartMethod) -> Result<(), Error> {
    let pools = [builder(method).shared(common()).build()?, builder(method).shared(common()).build()?];
    for pool in &pools {
        assert_eq!(rate::apply(pool, 1.0)?, 2.5);
    }
    let inherited = Inherited { calls: AtomicU64::new(0), model: Model { factor: 0.5 } };
    let pool = builder(method).shared_inherited(inherited).build();
    if matches!(method, StartMethod::Fork | StartMethod::Threads) {
        let pool = pool?;
        assert!(count_calls::apply(&pool, ())?);
        assert_eq!(rate::apply(&pool, 4.0)?, 2.0);
    }
    Ok(())
}

#[worker_task]
fn die_once(#[shared] (counter, limit): &(SharedCounter, u64), x: u64) -> u64 {
    if counter.fetch_add(1) < *limit {
        std::process::abort();
    }
    x
}

#[derive(Shares, Serialize, Deserialize)]
struct Deadly {
    deaths: (SharedCounter, u64),
    model: Model,
}

fn after_a_death(method: StartMethod) -> Result<(), Error> {
    let deadly = Deadly { deaths: (SharedCounter::new(0)?, 2), model: Model { factor: 2.0 } };
    let pool = builder(method).workers(1).shared(deadly).build()?;
    assert_eq!(die_once::job(&pool).retries(5).map([1, 2, 3])?, [1, 2, 3]);
    assert_eq!(rate::apply(&pool, 4.0)?, 8.0);
    Ok(())
}
