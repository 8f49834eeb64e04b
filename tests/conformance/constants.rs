//! `#[arg]`: a constant of a call is encoded once, reaches every worker that the call needs once, and goes with it.

use std::cell::Cell;
use std::ffi::{CStr, OsStr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;

use pool::shared::SharedArray;
use pool::{
    AsyncResult, Error, Imap, Job, StartMethod, TaskError, TaskErrorKind, WithArg, WorkerPool, worker_task,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::codecs::CODECS;
use crate::harness::cases;
use crate::support::{Tokens, assert_usable, builder, pool, take_token, task_error};

cases! {
    All: from_each_call, types_in_every_codec, beside_chunks, beside_injections, of_generic_tasks, of_fallible_tasks,
         encoded_once_a_call, decoded_once_a_worker_and_call, forgotten_with_the_call, calls_that_take_turns,
         calls_at_once, gathered_calls, large_values, beside_large_items, cancelled, jobs_can_be_stored,
         without_a_value;
    Processes: workers_with_a_lifespan, fresh_workers;
}

#[worker_task]
fn scale(#[arg] factor: i64, x: i64) -> i64 {
    factor * x
}

#[worker_task]
pub(super) fn add(a: i64, b: i64) -> i64 {
    a + b
}

fn from_each_call(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let job = |factor| scale::job(&pool).arg(factor);
    let tens: Vec<i64> = (0..1000).map(|x| 10 * x).collect();
    let sorted = |mut values: Vec<i64>| {
        values.sort_unstable();
        values
    };
    assert_eq!(job(10).map(0..1000)?, tens);
    assert_eq!(sorted(job(10).map_unordered(0..1000)?), tens);
    assert_eq!(job(10).map_outcomes(0..1000)?.into_iter().collect::<Result<Vec<_>, _>>().unwrap(), tens);
    assert_eq!(job(10).imap(0..1000).collect::<Result<Vec<_>, _>>()?, tens);
    assert_eq!(sorted(job(10).imap_unordered(0..1000).collect::<Result<_, _>>()?), tens);
    let mut slots = vec![0; 1000];
    assert_eq!(job(10).map_into(0..1000, &mut slots)?, 1000);
    assert_eq!(slots, tens);
    assert_eq!(job(-1).apply(5)?, -5);
    assert_eq!(job(-2).apply_async(5).get()?, -10);
    assert_eq!(job(10).map_async(0..1000).get()?, tens);
    assert_eq!(job(10).reduce::<add>(0..1000)?, Some(tens.iter().sum()));
    let on_each: Result<Vec<_>, TaskError> = job(7).on_each_worker(6)?.into_iter().collect();
    assert_eq!(on_each.unwrap(), vec![42; pool.workers()]);
    job(3).warm_up()?;
    scale::job(&pool).warm_up()?;
    for chunk_size in [1, 7, 1000] {
        assert_eq!(scale::job(&pool).chunk_size(chunk_size).arg(10).retries(1).map(0..1000)?, tens);
    }
    assert_eq!(pool.job::<scale>().arg(10).n_splits(3).map(0..1000)?, tens);
    // Options of later jobs are not of this one.
    assert_eq!(job(1).map([1])?, [1]);
    Ok(())
}

/// A value that cannot be cloned.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Config {
    factor: f64,
    pub(super) names: Vec<String>,
}

pub(super) fn config() -> Config {
    Config { factor: 2.5, names: vec!["a".into(), "bc".into()] }
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Setting {
    Off,
    On(Option<u8>, Vec<String>),
}

#[worker_task]
fn by_value(#[arg] setting: Setting, x: u8) -> (Setting, u8) {
    (setting, x)
}

#[worker_task]
fn by_reference(#[arg] config: &Config, x: f64) -> String {
    format!("{} {:?}", config.factor * x, config.names)
}

#[worker_task]
fn of_text(#[arg] text: &str, x: u8) -> String {
    text.repeat(x.into())
}

#[worker_task]
fn of_bytes(#[arg] bytes: &[u8], x: usize) -> u8 {
    bytes[x]
}

#[worker_task]
fn of_numbers(#[arg] numbers: &[f64], x: usize) -> f64 {
    numbers[x]
}

#[worker_task]
fn of_owners(#[arg] texts: &Vec<String>, x: usize) -> String {
    texts[x].clone()
}

#[worker_task]
fn of_values_without_clone(#[arg] configs: &[Config], x: usize) -> String {
    configs[x].names.concat()
}

#[worker_task]
fn under(#[arg] root: &Path, name: &str) -> PathBuf {
    root.join(name)
}

#[worker_task]
fn of_c(#[arg] text: &CStr, x: usize) -> usize {
    text.count_bytes() + x
}

#[worker_task]
fn of_the_system(#[arg] text: &OsStr, x: usize) -> usize {
    text.len() + x
}

#[worker_task]
fn of_nothing(#[arg] _unit: (), x: usize) -> usize {
    x
}

fn types_in_every_codec(method: StartMethod) -> Result<(), Error> {
    for codec in CODECS {
        let pool = builder(method).codec(codec).build()?;
        for setting in [Setting::Off, Setting::On(Some(1), vec!["x".into()])] {
            let both = [(setting.clone(), 1), (setting.clone(), 2)];
            assert_eq!(by_value::job(&pool).arg(setting).map([1, 2])?, both, "{codec:?}");
        }
        assert_eq!(by_reference::job(&pool).arg(&config()).map([2.0])?, ["5 [\"a\", \"bc\"]"]);
        for text in ["", "ä", &"long".repeat(1000)] {
            assert_eq!(
                of_text::job(&pool).arg(text).map([0, 2])?,
                [String::new(), text.repeat(2)],
                "{codec:?}"
            );
        }
        let bytes: Vec<u8> = (0..=255).collect();
        assert_eq!(of_bytes::job(&pool).arg(&bytes).map(0..256)?, bytes, "{codec:?}");
        assert_eq!(of_numbers::job(&pool).arg(&[0.5, -1.0]).map([1, 0])?, [-1.0, 0.5], "{codec:?}");
        assert_eq!(of_owners::job(&pool).arg(&config().names).map([1, 0])?, ["bc", "a"], "{codec:?}");
        let configs = [config(), config()];
        assert_eq!(of_values_without_clone::job(&pool).arg(&configs).map([1, 0])?, ["abc", "abc"]);
        assert_eq!(under::job(&pool).arg(Path::new("/root")).map(["a"])?, [Path::new("/root/a")]);
        assert_eq!(of_c::job(&pool).arg(c"four").map([1])?, [5], "{codec:?}");
        assert_eq!(of_the_system::job(&pool).arg(OsStr::new("three")).map([1])?, [6], "{codec:?}");
        assert_eq!(of_nothing::job(&pool).arg(()).map([1, 2])?, [1, 2], "{codec:?}");
        assert_usable(&pool);
    }
    Ok(())
}

#[worker_task]
fn plus(#[arg] by: &f32, #[chunk] rows: &[f32]) -> Vec<f32> {
    rows.iter().map(|x| x + by).collect()
}

#[worker_task]
fn add_in_place(#[chunk] rows: &mut [u32], #[arg] by: u32) {
    rows.iter_mut().for_each(|x| *x += by);
}

fn beside_chunks(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let rows: Vec<f32> = (0..10_000u16).map(f32::from).collect();
    let more: Vec<f32> = rows.iter().map(|x| x + 0.5).collect();
    assert_eq!(plus::job(&pool).arg(&0.5).map_slice(&rows)?, more);
    let shared = SharedArray::from_slice(&rows)?;
    assert_eq!(plus::job(&pool).arg(&0.5).map_slice(&shared)?, more);
    let parts = plus::job(&pool).concatenate(false).chunk_size(5000).arg(&0.5).map_slice(&rows)?;
    assert_eq!(parts, [&more[..5000], &more[5000..]]);
    let mut array = SharedArray::from_slice(&[1u32; 1000])?;
    add_in_place::job(&pool).arg(6).chunks_mut(&mut array, 10)?;
    assert!(add_in_place::job(&pool).arg(3).chunks_mut_outcomes(&mut array, 10)?.iter().all(Result::is_ok));
    assert_eq!(array.to_vec(), [10; 1000]);
    Ok(())
}

#[worker_task]
fn beside(
    a: u64,
    #[state] seen: &mut u64,
    #[arg] names: &[String],
    #[shared] base: &u64,
    text: &str,
    #[worker_id] id: usize,
) -> String {
    *seen += 1;
    format!("{a} {seen} {} {base} {text} {id}", names.join("+"))
}

fn beside_injections(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).shared(100u64).build()?;
    let names = ["x".to_owned(), "y".to_owned()];
    let results = beside::job(&pool).arg(&names).map([(1, "one"), (2, "two")])?;
    assert_eq!(results, ["1 1 x+y 100 one 0", "2 2 x+y 100 two 0"]);
    // The state is no matter of the task's constant.
    assert_eq!(beside::job(&pool).arg(&names[..1]).apply((3, "three"))?, "3 3 x 100 three 0");
    Ok(())
}

#[worker_task(for T in [f32, f64])]
fn times<T: Copy + std::ops::Mul<Output = T> + Serialize + serde::de::DeserializeOwned>(
    #[arg] factor: T,
    #[chunk] x: &[T],
) -> Vec<T> {
    x.iter().map(|x| *x * factor).collect()
}

fn of_generic_tasks(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(times::<f32>::job(&pool).arg(2.0).map_slice(&[1.5, 2.0])?, [3.0, 4.0]);
    assert_eq!(pool.job::<times<f64>>().arg(0.5).map_slice(&[1.0])?, [0.5]);
    Ok(())
}

#[worker_task(fallible)]
fn parse(#[arg] prefix: &str, text: &str) -> Result<u32, String> {
    text.strip_prefix(prefix)
        .ok_or(format!("no {prefix}"))?
        .parse()
        .map_err(|error: std::num::ParseIntError| error.to_string())
}

fn of_fallible_tasks(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(parse::job(&pool).arg("n=").map(["n=1", "n=2"])?, [1, 2]);
    let error = task_error(parse::job(&pool).arg("n=").map(["m=1"]));
    assert!(matches!(error.kind(), TaskErrorKind::Failed(why) if why.to_string().contains("no n=")));
    Ok(())
}

static ENCODED: AtomicU32 = AtomicU32::new(0);

thread_local! {
    static DECODED: Cell<u32> = const { Cell::new(0) };
    static ALIVE: Cell<u32> = const { Cell::new(0) };
}

/// Counts how often it is encoded in this process, and how often it was decoded by this worker and is still there.
#[derive(Debug)]
struct Counted(u32);

impl Serialize for Counted {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        ENCODED.fetch_add(1, Ordering::Relaxed);
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Counted {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = u32::deserialize(deserializer)?;
        DECODED.set(DECODED.get() + 1);
        ALIVE.set(ALIVE.get() + 1);
        Ok(Self(number))
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        ALIVE.set(ALIVE.get().wrapping_sub(1));
    }
}

/// The number, and how often it was decoded by this worker.
#[worker_task]
fn counted(#[arg] counted: &Counted, _x: u32) -> (u32, u32) {
    (counted.0, DECODED.get())
}

/// How many are kept in this worker.
#[worker_task]
fn kept() -> u32 {
    ALIVE.get()
}

fn encoded_once_a_call(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    for calls in 1..=3 {
        let results = counted::job(&pool).chunk_size(3).arg(&Counted(calls)).map(0..1000)?;
        assert!(results.iter().all(|(number, _)| *number == calls));
        assert_eq!(ENCODED.load(Ordering::Relaxed), calls);
    }
    Ok(())
}

fn decoded_once_a_worker_and_call(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    for calls in 1..=3 {
        let results = counted::job(&pool).chunk_size(1).arg(&Counted(7)).map(0..200)?;
        assert_eq!(results, [(7, calls); 200]);
    }
    // Two calls take turns.
    let mut one = counted::job(&pool).chunk_size(1).max_tasks_active(2).arg(&Counted(1)).imap(0..100);
    let mut other = counted::job(&pool).chunk_size(1).max_tasks_active(2).arg(&Counted(2)).imap(0..100);
    for _ in 0..100 {
        let (one, other) = (one.next().unwrap()?, other.next().unwrap()?);
        assert_eq!((one.0, other.0), (1, 2));
        assert!(one.1 <= 5 && other.1 <= 5, "{one:?} {other:?}");
    }
    Ok(())
}

/// How many constants each worker keeps.
fn kept_on_each(pool: &WorkerPool) -> Result<Vec<u32>, Error> {
    Ok(kept::on_each_worker(pool, ())?.into_iter().map(Result::unwrap).collect())
}

fn forgotten_with_the_call(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(2).build()?;
    for number in 0..2000 {
        assert_eq!(counted::job(&pool).arg(&Counted(number)).apply(0)?.0, number);
    }
    assert_eq!(kept_on_each(&pool)?, [0, 0]);
    let mut open = counted::job(&pool).arg(&Counted(1)).imap(0..100_000);
    assert_eq!(open.next().unwrap()?.0, 1);
    assert!(kept_on_each(&pool)?.iter().all(|kept| *kept <= 1));
    assert_eq!(counted::job(&pool).arg(&Counted(2)).apply(0)?.0, 2);
    drop(open);
    assert_eq!(kept_on_each(&pool)?, [0, 0]);
    let pending: Vec<_> = (0..300).map(|x| counted::job(&pool).arg(&Counted(x)).apply_async(x)).collect();
    for (number, result) in (0..).zip(pending) {
        assert_eq!(result.get()?.0, number);
    }
    pool.wait_idle()?;
    assert_eq!(kept_on_each(&pool)?, [0, 0]);
    Ok(())
}

fn calls_that_take_turns(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(2).build()?;
    let texts: Vec<String> = (0..8).map(|x| format!("{x}").repeat(1 + x * 300_000)).collect();
    let job = |text| of_text::job(&pool).chunk_size(1).max_tasks_active(3).arg(text);
    let mut calls: Vec<_> = texts.iter().map(|text| job(text).imap((0..40).map(|x| x % 2))).collect();
    for turn in 0..40 {
        for (call, text) in calls.iter_mut().zip(&texts) {
            assert_eq!(call.next().unwrap()?, text.repeat(turn % 2));
        }
    }
    assert!(calls.iter_mut().all(|call| call.next().is_none()));
    Ok(())
}

fn calls_at_once(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(2).build()?;
    // The workers of `Fork` start before the threads of callers.
    pool.warm_up::<add>()?;
    thread::scope(|scope| {
        let call = |factor: i64| {
            let pool = &pool;
            move || {
                for _ in 0..20 {
                    let results = scale::job(pool).arg(factor).map(0..100).unwrap();
                    assert_eq!(results, (0..100).map(|x| factor * x).collect::<Vec<_>>());
                    assert_eq!(add::apply(pool, (factor, 1)).unwrap(), factor + 1);
                }
            }
        };
        (1..=6).map(|factor| scope.spawn(call(factor))).for_each(drop);
    });
    Ok(())
}

fn gathered_calls(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(2).build()?;
    let call = |x: i64| scale::job(&pool).arg(x / 7).apply_async(x);
    let results: Vec<AsyncResult<i64>> = (0..3000).map(call).collect();
    for (x, result) in (0..).zip(results) {
        assert_eq!(result.get()?, x / 7 * x);
    }
    Ok(())
}

#[worker_task]
fn length(#[arg] large: &[u8], x: &[u8]) -> (usize, Option<u8>, usize) {
    (large.len(), large.last().copied(), x.len())
}

fn large_values(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(2).build()?;
    for len in [0, 1, 4000, 1 << 20, (1 << 20) + 5000, 3 << 20, 20_000_000] {
        let large = vec![3; len];
        let expected = (len, large.last().copied(), 1);
        assert_eq!(length::job(&pool).arg(&large).map([&[1][..]; 3])?, [expected; 3]);
        assert_eq!(length::job(&pool).chunk_size(1).arg(&large).map([&[1][..]; 50])?, [expected; 50]);
        assert_eq!(length::job(&pool).arg(&large).apply(&[1])?, expected);
        assert_eq!(length::job(&pool).arg(&large).apply_async(&[1]).get()?, expected);
        assert!(
            length::job(&pool)
                .arg(&large)
                .on_each_worker(&[1])?
                .into_iter()
                .all(|it| it.unwrap() == expected)
        );
    }
    Ok(())
}

fn beside_large_items(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(2).build()?;
    for (len, item) in [(10, 5_000_000), (5_000_000, 5_000_000), (1 << 20, 1 << 20), (2_900_000, 300_000)] {
        let (large, item) = (vec![3; len], vec![4; item]);
        let expected = (len, Some(3), item.len());
        assert_eq!(length::job(&pool).arg(&large).map([&*item; 6])?, [expected; 6]);
        assert_eq!(length::job(&pool).arg(&large).apply(&item)?, expected);
        let results = length::job(&pool).arg(&large).imap([&*item; 6]).collect::<Result<Vec<_>, _>>()?;
        assert_eq!(results, [expected; 6]);
    }
    Ok(())
}

#[worker_task]
fn wait_with(#[arg] large: &[u8], paths: (String, String), x: usize) -> usize {
    crate::support::put_token(&paths.0);
    take_token(&paths.1);
    large.len() + x
}

fn cancelled(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    let large = vec![1; 9_000_000];
    let (mut started, mut go_on) = (Tokens::new(), Tokens::new());
    for _ in 0..3 {
        let item = |x| ((started.path(), go_on.path()), x);
        let call = wait_with::job(&pool).arg(&large).map_async([item(1), item(2), item(3)]);
        let waits = of_bytes::job(&pool).arg(&large).apply_async(7);
        started.take(1);
        call.cancel();
        go_on.put(3);
        assert_eq!(waits.get()?, 1);
        assert_usable(&pool);
        go_on = Tokens::new();
        started = Tokens::new();
    }
    Ok(())
}

/// A library that keeps a call and its iterator.
struct Stored<'p> {
    job: Job<'p, WithArg<scale>, ()>,
}

impl<'p> Stored<'p> {
    fn results(self) -> Imap<'p, 'static, WithArg<scale>, std::vec::IntoIter<i64>> {
        self.job.imap(vec![1, 2])
    }
}

fn jobs_can_be_stored(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let stored = Stored { job: scale::job(&pool).arg(5) };
    assert_eq!(stored.results().collect::<Result<Vec<_>, _>>()?, [5, 10]);
    Ok(())
}

fn without_a_value(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let error = pool.map::<WithArg<scale>>([1]).unwrap_err();
    assert!(
        matches!(error, Error::Option { .. }) && error.to_string().contains("give it the value"),
        "{error}"
    );
    assert_usable(&pool);
    Ok(())
}

fn workers_with_a_lifespan(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(2).build()?;
    let results = scale::job(&pool).worker_lifespan(7).arg(3).map(0..100)?;
    assert_eq!(results, (0..100).map(|x| 3 * x).collect::<Vec<_>>());
    Ok(())
}

fn fresh_workers(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(2).keep_alive(false).build()?;
    for factor in 1..4 {
        assert_eq!(scale::job(&pool).arg(factor).map([1, 2])?, [factor, 2 * factor]);
    }
    Ok(())
}
