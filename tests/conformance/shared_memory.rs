//! Shared arrays, values and counters: all processes see what one writes, and the memory lives as long as anyone uses
//! it.

use std::thread;
use std::time::Duration;

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use pool::shared::{SharedArray, SharedBarrier, SharedCounter, SharedValue};
use pool::{Error, StartMethod, TaskErrorKind, worker_task};
use serde::{Deserialize, Serialize};

use crate::harness::{METHODS, cases};
use crate::support::{assert_fails, assert_usable, builder, panic_message, pool, ready, sorted, task_error};

cases! {
    All: as_shared_value, all_elements, in_tuples, in_structs, as_arguments, moved_into_the_pool, in_nested_pools,
        as_results, through_every_codec, dropped_too_early, of_another_type, out_of_range,
        swaps, updates, of_another_type_there, of_another_length, in_ranges, out_of_the_range, torn_by_nobody;
    Linux: too_large;
    Processes: made_by_a_worker, no_descriptors_left;
}

#[worker_task]
fn square(#[shared] squares: &SharedArray<f32>, index: usize) {
    squares.set(index, (index * index) as f32);
}

fn as_shared_value(method: StartMethod) -> Result<(), Error> {
    let squares = SharedArray::zeroed(100)?;
    let pool = builder(method).shared(squares.clone()).build()?;
    square::par_map(&pool, 0..100)?;
    assert!(squares.iter().enumerate().all(|(index, value)| value == (index * index) as f32));
    // Workers see the owner's writes.
    squares.fill(-1.0);
    square::job(&pool).worker_lifespan(2).map([3, 4, 5, 6, 7])?;
    assert_eq!(squares.iter().filter(|value| *value > 0.0).count(), 5);
    Ok(())
}

type Numbers = (SharedArray<u8>, SharedArray<i16>, SharedArray<f32>, SharedArray<f64>, SharedArray<[u16; 4]>);

#[worker_task]
fn change_all(#[shared] numbers: &Numbers, times: u8) {
    let (bytes, shorts, floats, doubles, quads) = numbers;
    for _ in 0..times {
        bytes.fetch_add(1, 1);
        shorts.fetch_add(1, -1);
        floats.fetch_add(1, 0.5);
        doubles.fetch_add(1, 0.25);
        quads.fetch_update(1, |[a, b, c, d]| [a + 1, b + 2, c + 3, d + 4]);
    }
}

fn all_elements(method: StartMethod) -> Result<(), Error> {
    let shorts = SharedArray::from_slice(&[5; 3])?;
    let numbers: Numbers = (
        SharedArray::zeroed(3)?,
        shorts,
        SharedArray::zeroed(3)?,
        SharedArray::from_fn(3, |index| index as f64)?,
        SharedArray::zeroed(3)?,
    );
    let pool = builder(method).shared(numbers.clone()).build()?;
    change_all::par_map(&pool, [100; 10])?;
    assert_eq!(numbers.0.to_vec(), [0, (1000 % 256) as u8, 0]);
    assert_eq!(numbers.1.to_vec(), [5, 5 - 1000, 5]);
    assert_eq!(numbers.2.to_vec(), [0.0, 500.0, 0.0]);
    assert_eq!(numbers.3.to_vec(), [0.0, 251.0, 2.0]);
    assert_eq!(numbers.4.to_vec(), [[0; 4], [1000, 2000, 3000, 4000], [0; 4]]);
    Ok(())
}

#[worker_task]
fn count_and_sum(#[shared] totals: &(SharedCounter, SharedValue<f64>), x: u64) {
    let (count, sum) = totals;
    count.fetch_add(1);
    sum.fetch_add(x as f64);
}

fn in_tuples(method: StartMethod) -> Result<(), Error> {
    let totals = (SharedCounter::new(10)?, SharedValue::new(0.5)?);
    count_and_sum::par_map(&builder(method).shared(totals.clone()).build()?, 0..100)?;
    assert_eq!((totals.0.get(), totals.1.get()), (110, 4950.5));
    assert_eq!((totals.0.fetch_sub(10), totals.1.swap(1.0)), (110, 4950.5));
    Ok(())
}

#[derive(Clone, Serialize, Deserialize)]
struct Statistics {
    name: String,
    largest: SharedValue<i64>,
    bins: Vec<SharedArray<u32>>,
}

#[worker_task]
fn note(#[shared] statistics: &Statistics, x: i64) -> usize {
    statistics.largest.fetch_update(|largest| largest.max(x));
    let bins = &statistics.bins[x as usize % 2];
    bins.fetch_add(x as usize % bins.len(), 1);
    statistics.name.len()
}

fn in_structs(method: StartMethod) -> Result<(), Error> {
    let bins = vec![SharedArray::zeroed(1)?, SharedArray::zeroed(3)?];
    let statistics = Statistics { name: "seven".into(), largest: SharedValue::new(i64::MIN)?, bins };
    let lengths = note::par_map(&builder(method).shared(statistics.clone()).build()?, 0..30)?;
    assert_eq!(lengths, [5; 30]);
    assert_eq!(statistics.largest.get(), 29);
    assert_eq!((statistics.bins[0].to_vec(), statistics.bins[1].to_vec()), (vec![15], vec![5; 3]));
    Ok(())
}

#[worker_task]
fn double(numbers: SharedArray<u64>, index: usize) -> u64 {
    numbers.set(index, numbers.get(index) * 2);
    numbers.get(index)
}

fn as_arguments(method: StartMethod) -> Result<(), Error> {
    let (pool, numbers) = (pool(method)?, SharedArray::from_fn(50, |index| index as u64)?);
    let doubled = double::par_map(&pool, (0..50).map(|index| (numbers.clone(), index)))?;
    assert_eq!(numbers.to_vec(), doubled);
    assert_eq!(double::apply(&pool, (numbers.clone(), 3))?, 12);
    assert_eq!(double::apply_async(&pool, (numbers.clone(), 3)).get()?, 24);
    Ok(())
}

/// The pool keeps an array that nobody else keeps.
fn moved_into_the_pool(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).shared(SharedArray::<f32>::zeroed(10)?).build()?;
    square::job(&pool).worker_lifespan(1).map(0..10)?;
    Ok(())
}

#[worker_task]
fn square_in_a_pool(#[shared] squares: &SharedArray<f32>, inner: usize) -> Result<(), String> {
    let pool = builder(METHODS[inner]).shared(squares.clone()).build().map_err(|error| error.to_string())?;
    let done = square::par_map(&pool, inner * 10..inner * 10 + 10);
    done.map(drop).map_err(|error| error.to_string())
}

fn in_nested_pools(method: StartMethod) -> Result<(), Error> {
    let squares = SharedArray::zeroed(40)?;
    let pool = builder(method).daemon(false).shared(squares.clone()).build()?;
    for (inner, name) in METHODS.iter().enumerate() {
        let done = square_in_a_pool::apply(&pool, inner)?;
        match (method, name) {
            (StartMethod::Threads, StartMethod::Fork) => assert!(done.is_err(), "it has other threads"),
            _ => assert_eq!(done, Ok(()), "{name} in {method}"),
        }
        let written = squares.iter().skip(inner * 10).take(10).filter(|value| *value > 0.0).count();
        assert_eq!(written >= 9, done.is_ok(), "{name} in {method}");
    }
    Ok(())
}

#[worker_task]
fn give_back(numbers: SharedArray<u64>) -> SharedArray<u64> {
    numbers.fetch_add(0, 1);
    numbers
}

fn as_results(method: StartMethod) -> Result<(), Error> {
    let (pool, numbers) = (pool(method)?, SharedArray::zeroed(1)?);
    for returned in give_back::par_map(&pool, vec![numbers.clone(); 10])? {
        returned.fetch_add(0, 1);
    }
    assert_eq!(numbers.get(0), 20);
    Ok(())
}

#[worker_task]
fn make_one() -> SharedArray<u64> {
    SharedArray::zeroed(1).expect("there is memory for one number")
}

fn made_by_a_worker(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let error = task_error(make_one::apply(&pool, ()));
    assert!(matches!(error.kind(), TaskErrorKind::Decode(why) if why.contains("is not there")), "{error}");
    assert_usable(&pool);
    Ok(())
}

fn through_every_codec(method: StartMethod) -> Result<(), Error> {
    use pool::Codec::{Bincode, MessagePack, Postcard};
    for codec in [Bincode, Postcard, MessagePack] {
        let totals = (SharedCounter::new(0)?, SharedValue::new(0.0)?);
        count_and_sum::par_map(&builder(method).codec(codec).shared(totals.clone()).build()?, 0..10)?;
        assert_eq!((totals.0.get(), totals.1.get()), (10, 45.0), "{codec:?}");
    }
    Ok(())
}

fn dropped_too_early(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    // The array is encoded and then dropped before a worker decodes it.
    let error = task_error(double::apply(&pool, (SharedArray::zeroed(10)?, 3)));
    let owner = format!("process {}", std::process::id());
    match error.kind() {
        TaskErrorKind::Decode(why) => {
            assert!(
                why.contains("is not there") && why.contains(&owner) && why.contains("keep it alive"),
                "{why}"
            );
        }
        other => panic!("expected an error of decoding: {other:?}"),
    }
    assert_usable(&pool);
    Ok(())
}

fn of_another_type(_: StartMethod) -> Result<(), Error> {
    let array = SharedArray::<u32>::zeroed(4)?;
    let handle = serde_json::to_string(&array).unwrap();
    let again: SharedArray<u32> = serde_json::from_str(&handle).unwrap();
    again.set(3, 7);
    assert_eq!(array.get(3), 7);
    let error = serde_json::from_str::<SharedArray<f32>>(&handle).unwrap_err();
    assert!(error.to_string().contains("another type"), "{error}");
    // A handle that this crate did not write may contain anything.
    for (field, lies) in
        [("count", "5"), ("count", "18446744073709551615"), ("process", "1"), ("id", "[1,2]")]
    {
        let mut lie: serde_json::Value = serde_json::from_str(&handle).unwrap();
        lie[field] = serde_json::from_str(lies).unwrap();
        let decoded = serde_json::from_value::<SharedArray<u32>>(lie);
        // The owner's process does not matter to one that already has the array.
        assert_eq!(decoded.is_ok(), field == "process", "{field}");
    }
    Ok(())
}

fn too_large(_: StartMethod) -> Result<(), Error> {
    assert_fails!(SharedArray::<u64>::zeroed(usize::MAX), Error::SharedMemory { .. });
    let array = SharedArray::<u64>::zeroed(1 << 56);
    assert_fails!(array, Error::SharedMemory { reason, .. } if reason.contains("do not fit"));
    let (limit, most) = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
    setrlimit(Resource::RLIMIT_FSIZE, 1 << 12, most).unwrap();
    let array = SharedArray::<u8>::zeroed(1 << 13);
    setrlimit(Resource::RLIMIT_FSIZE, limit, most).unwrap();
    assert_fails!(array, Error::SharedMemory { reason, .. } if reason.contains("RLIMIT_FSIZE"));
    // There is room for the file, but not for its mapping.
    let (limit, most) = getrlimit(Resource::RLIMIT_AS).unwrap();
    setrlimit(Resource::RLIMIT_AS, 1 << 20, most).unwrap();
    let array = SharedArray::<u8>::zeroed(1 << 21);
    setrlimit(Resource::RLIMIT_AS, limit, most).unwrap();
    assert_fails!(array, Error::SharedMemory { reason, .. } if reason.contains("ENOMEM") || reason.contains("memory"));
    assert!(SharedArray::<u64>::zeroed(0)?.is_empty());
    Ok(())
}

fn out_of_range(method: StartMethod) -> Result<(), Error> {
    let (pool, numbers) = (pool(method)?, SharedArray::zeroed(50)?);
    let error = task_error(double::apply(&pool, (numbers.clone(), 50)));
    match error.kind() {
        TaskErrorKind::Panicked(info) => {
            assert!(info.message().contains("index 50 is out of range for a SharedArray of length 50"));
            assert!(info.location().contains("shared_memory.rs"), "{}", info.location());
        }
        other => panic!("expected a panic: {other:?}"),
    }
    Ok(())
}

#[worker_task]
fn without_descriptors(handle: &str) -> String {
    let (limit, most) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, 3, most).unwrap();
    let error = serde_json::from_str::<SharedArray<u64>>(handle).unwrap_err();
    setrlimit(Resource::RLIMIT_NOFILE, limit, most).unwrap();
    error.to_string()
}

fn no_descriptors_left(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let numbers = SharedArray::<u64>::zeroed(2)?;
    let why = without_descriptors::job(&pool)
        .task_timeout(Duration::from_secs(30))
        .apply(&serde_json::to_string(&numbers).unwrap())?;
    assert!(why.contains("cannot be reached") && why.contains("Too many open files"), "{why}");
    Ok(())
}

type Table = (SharedValue<u32>, SharedBarrier);

/// Swaps the number that it holds with the shared one, again and again.
#[worker_task]
fn exchange(#[shared] (place, both): &Table, hand: u32) -> u32 {
    both.wait().expect("both come");
    (0..3_000_000).fold(hand, |hand, _| place.swap(hand))
}

fn swaps(method: StartMethod) -> Result<(), Error> {
    let table: Table = (SharedValue::new(0)?, SharedBarrier::new(2)?);
    let pool = builder(method).order_tasks(true).shared(table.clone()).build()?;
    let mut hands = exchange::job(&pool).chunk_size(1).map([1, 2])?;
    hands.push(table.0.get());
    assert_eq!(sorted(hands), [0, 1, 2], "nothing is lost or there twice");
    Ok(())
}

#[worker_task]
fn draw(#[shared] (next, both): &Table, times: u32) -> u64 {
    both.wait().expect("both come");
    let change = |number| {
        // Let the other one come in between.
        thread::yield_now();
        number + 1
    };
    (0..times).map(|_| u64::from(next.fetch_update(change))).sum()
}

fn updates(method: StartMethod) -> Result<(), Error> {
    let table: Table = (SharedValue::new(0)?, SharedBarrier::new(2)?);
    let pool = builder(method).order_tasks(true).shared(table.clone()).build()?;
    let drawn = draw::job(&pool).chunk_size(1).map([10_000; 2])?;
    assert_eq!(table.0.get(), 20_000);
    assert_eq!(drawn.iter().sum::<u64>(), (0..20_000).sum::<u64>(), "each number is drawn once, from 0 on");
    Ok(())
}

#[worker_task]
fn first_float(handle: &str) -> Result<f32, String> {
    let array: SharedArray<f32> = serde_json::from_str(handle).map_err(|error| error.to_string())?;
    Ok(array.get(0))
}

fn of_another_type_there(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let numbers = SharedArray::<u32>::zeroed(4)?;
    let handle = serde_json::to_string(&numbers).unwrap();
    let why = first_float::apply(&pool, &handle)?.unwrap_err();
    assert!(why.contains("another type"), "{why}");
    let error = serde_json::from_str::<SharedValue<u32>>(&handle).unwrap_err();
    assert!(error.to_string().contains("one element"), "{error}");
    Ok(())
}

#[worker_task]
fn fill_from(numbers: SharedArray<u64>, values: Vec<u64>) {
    numbers.copy_from_slice(&values);
}

fn of_another_length(method: StartMethod) -> Result<(), Error> {
    let (pool, numbers) = (pool(method)?, SharedArray::zeroed(3)?);
    fill_from::apply(&pool, (numbers.clone(), vec![1, 2, 3]))?;
    for len in [2, 4] {
        let error = task_error(fill_from::apply(&pool, (numbers.clone(), vec![7; len])));
        assert!(panic_message(&error).contains("its own length"), "{error}");
    }
    assert_eq!(numbers.to_vec(), [1, 2, 3]);
    Ok(())
}

#[worker_task]
fn square_row(#[shared] rows: &SharedArray<i32>, row: usize) -> Vec<i32> {
    let range = 10 * row..10 * (row + 1);
    let mut values = [0; 10];
    rows.read_into(range.clone(), &mut values);
    rows.write(range, &values.map(|value| value * value));
    rows.read(..3)
}

fn in_ranges(method: StartMethod) -> Result<(), Error> {
    let rows = SharedArray::from_fn(50, |index| index as i32)?;
    let pool = builder(method).workers(1).shared(rows.clone()).build()?;
    let heads = square_row::par_map(&pool, [4, 1, 0])?;
    assert_eq!(heads, [[0, 1, 2], [0, 1, 2], [0, 1, 4]]);
    assert_eq!(rows.read(8..=11), [64, 81, 100, 121]);
    assert_eq!((rows.read(48..), rows.read(..0), rows.read(50..)), (vec![2304, 2401], vec![], vec![]));
    Ok(())
}

#[worker_task]
fn read_two(numbers: SharedArray<u64>, from: usize, to: usize) -> Vec<u64> {
    numbers.read(from..to)
}

#[worker_task]
fn write_two(numbers: SharedArray<u64>, from: usize) {
    numbers.write(from..from + 2, &[7; 3]);
}

fn out_of_the_range(method: StartMethod) -> Result<(), Error> {
    let (pool, numbers) = (pool(method)?, SharedArray::<u64>::zeroed(3)?);
    for (from, to) in [(2, 4), (4, 4), (0, usize::MAX), (2, 1)] {
        let error = task_error(read_two::apply(&pool, (numbers.clone(), from, to)));
        let expected = format!("range {from}..{to} is out of range for a SharedArray of length 3");
        assert_eq!(panic_message(&error), expected);
    }
    let error = task_error(write_two::apply(&pool, (numbers.clone(), 1)));
    assert!(panic_message(&error).contains("own length"), "{error}");
    assert_eq!(numbers.read(..), [0; 3]);
    Ok(())
}

#[worker_task]
fn rewrite(#[shared] pairs: &SharedArray<[u32; 2]>, number: u32) -> bool {
    pairs.write(1..9, &[[number; 2]; 8]);
    pairs.read(..).iter().all(|[one, other]| one == other)
}

/// Ranges that several tasks write at once: no element is half of one and half of another.
fn torn_by_nobody(method: StartMethod) -> Result<(), Error> {
    let pairs = SharedArray::zeroed(10)?;
    let pool = builder(method).workers(4).shared(pairs.clone()).build()?;
    assert!(rewrite::par_map(&pool, 1..=2000)?.into_iter().all(|is_whole| is_whole));
    assert_eq!((pairs.get(0), pairs.get(9)), ([0; 2], [0; 2]));
    Ok(())
}
