//! Tasks that change a shared array in place, chunk by chunk.

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use nix::sys::signal::Signal;
use pool::shared::SharedArray;
use pool::{Error, StartMethod, TaskErrorKind, WorkerPool, worker_task};

use crate::harness::cases;
use crate::support::{
    Tokens, assert_fails, assert_usable, builder, die, panic_message, pool, put_token, ready, take_token,
    task_error,
};

cases! {
    All: every_element_once, sizes_of_elements, outputs, first_call, panics, alone, not_alone, fork_in_a_task, options,
        memory_stays_with_its_users, few_stay_mapped;
    Linux: memory_goes_with_the_array;
    BesideThreads: nobody_writes_after_a_cancelled_call, a_cancelled_call_says_what_became_of_each_chunk;
    Processes: fork_after_a_task, deaths, timeouts, retries, nobody_writes_after_an_end;
}

#[worker_task]
fn add_one(#[chunk] rows: &mut [u32]) {
    rows.iter_mut().for_each(|x| *x += 1);
}

fn every_element_once(method: StartMethod) -> Result<(), Error> {
    let (pool, mut array) = (ready(method)?, SharedArray::from_fn(10_001, |x| x as u32)?);
    for (round, rows) in [1, 7, 1000, 10_001, usize::MAX].into_iter().enumerate() {
        add_one::par_chunks_mut(&pool, &mut array, rows)?;
        assert!(array.iter().eq((0..10_001).map(|x| x + round as u32 + 1)));
    }
    add_one::par_chunks_mut(&pool, &mut SharedArray::zeroed(0)?, 5)?;
    // Afterwards the array is like any other.
    array.as_mut_slice()?.fill(3);
    add_one::job(&pool).iterable_len(2).chunks_mut(&mut array, 1)?;
    assert_eq!(array.to_vec()[..4], [4, 4, 3, 3]);
    Ok(())
}

#[worker_task]
fn flip(#[chunk] rows: &mut [u8]) {
    rows.iter_mut().for_each(|x| *x = !*x);
}

#[worker_task]
fn negate(#[chunk] rows: &mut [f64]) {
    rows.iter_mut().for_each(|x| *x = -*x);
}

#[worker_task]
fn swap(#[chunk] rows: &mut [[u16; 2]]) {
    rows.iter_mut().for_each(|[a, b]| std::mem::swap(a, b));
}

fn sizes_of_elements(method: StartMethod) -> Result<(), Error> {
    let pool = ready(method)?;
    let mut bytes = SharedArray::from_slice(&[0u8, 1, 2, 3, 4])?;
    flip::par_chunks_mut(&pool, &mut bytes, 2)?;
    assert_eq!(bytes.to_vec(), [255, 254, 253, 252, 251]);
    let mut doubles = SharedArray::from_slice(&[0.5, 1.0, -2.0])?;
    negate::par_chunks_mut(&pool, &mut doubles, 2)?;
    assert_eq!(doubles.to_vec(), [-0.5, -1.0, 2.0]);
    let mut pairs = SharedArray::from_slice(&[[1u16, 2], [3, 4], [5, 6]])?;
    swap::par_chunks_mut(&pool, &mut pairs, 2)?;
    assert_eq!(pairs.to_vec(), [[2, 1], [4, 3], [6, 5]]);
    Ok(())
}

#[worker_task]
fn add(#[shared] amount: &u32, #[chunk] rows: &mut [u32], #[state] calls: &mut usize) -> (u32, bool) {
    *calls += 1;
    rows.iter_mut().for_each(|x| *x += amount);
    (rows.iter().sum(), *calls > 0)
}

fn outputs(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).shared(10u32).build()?;
    let mut array = SharedArray::from_slice(&[1, 2, 3])?;
    assert_eq!(add::par_chunks_mut(&pool, &mut array, 2)?, [(23, true), (13, true)]);
    Ok(())
}

/// The workers start while the array is lent: with `Fork` they are copies of the process that lends it.
fn first_call(method: StartMethod) -> Result<(), Error> {
    let mut array = SharedArray::zeroed(10_000)?;
    let pool = pool(method)?;
    for round in 1..4 {
        add_one::par_chunks_mut(&pool, &mut array, 100)?;
        assert_eq!(array.to_vec(), [round; 10_000]);
        // Afterwards nobody else uses the array.
        array.as_mut_slice()?[0] = round;
    }
    // Neither does a worker that had it as an argument.
    assert_eq!(get::apply(&pool, (array.clone(), 9))?, 3);
    add_one::par_chunks_mut(&pool, &mut array, 100)?;
    Ok(())
}

#[worker_task]
fn get(array: SharedArray<u32>, index: usize) -> u32 {
    array.get(index)
}

#[worker_task]
fn fail_at_five(#[chunk] rows: &mut [u32]) {
    for x in rows {
        assert!(*x != 5, "no fives");
        *x += 100;
    }
}

/// The failed chunk is torn; all others are done.
fn panics(method: StartMethod) -> Result<(), Error> {
    let (pool, mut array) = (ready(method)?, SharedArray::from_fn(12, |x| x as u32)?);
    let error = task_error(fail_at_five::job(&pool).chunks_mut(&mut array, 4));
    assert_eq!((error.task_index(), panic_message(&error)), (1, "no fives"));
    assert_eq!(error.torn(), Some(4..8));
    assert!(error.to_string().contains("it left elements 4 to 8 torn"), "{error}");
    assert_eq!(array.to_vec(), [100, 101, 102, 103, 104, 5, 6, 7, 108, 109, 110, 111]);
    let outcomes = fail_at_five::job(&pool).chunks_mut_outcomes(&mut array, 5)?;
    let failed: Vec<_> =
        outcomes.iter().map(|outcome| outcome.as_ref().err().and_then(|e| e.torn())).collect();
    assert_eq!(failed, [None, Some(5..10), None]);
    assert_usable(&pool);
    array.as_mut_slice()?.fill(0);
    Ok(())
}

fn deaths(method: StartMethod) -> Result<(), Error> {
    let (pool, mut array) = (ready(method)?, SharedArray::from_fn(1000, |x| x as u32)?);
    let outcomes = die_at_five::job(&pool).chunks_mut_outcomes(&mut array, 10)?;
    for (index, outcome) in outcomes.iter().enumerate() {
        match outcome {
            Ok(()) => assert_ne!(index, 0),
            Err(error) => {
                assert_eq!((index, error.torn()), (0, Some(0..10)));
                assert!(matches!(error.kind(), TaskErrorKind::Died(death) if death.signal() == Some(9)));
            }
        }
    }
    assert_eq!(array.to_vec()[..7], [100, 101, 102, 103, 104, 5, 6]);
    assert!(array.iter().enumerate().skip(10).all(|(index, x)| x == index as u32 + 100));
    // Workers that died do not use the array any more.
    array.as_mut_slice()?.fill(1);
    die_at_five::par_chunks_mut(&pool, &mut array, 10)?;
    assert_eq!(array.to_vec(), [101; 1000]);
    Ok(())
}

#[worker_task]
fn die_at_five(#[chunk] rows: &mut [u32]) {
    for x in rows {
        if *x == 5 {
            die(Signal::SIGKILL);
        }
        *x += 100;
    }
}

#[worker_task]
fn hang_at_five(#[chunk] rows: &mut [u32]) {
    for x in rows {
        while std::hint::black_box(*x) == 5 {
            std::thread::yield_now();
        }
        *x += 100;
    }
}

fn timeouts(method: StartMethod) -> Result<(), Error> {
    let (pool, mut array) = (ready(method)?, SharedArray::from_fn(20, |x| x as u32)?);
    let job = hang_at_five::job(&pool).task_timeout(Duration::from_millis(100));
    let error = task_error(job.chunks_mut(&mut array, 10));
    assert!(matches!(error.kind(), TaskErrorKind::TimedOut(_)));
    assert_eq!(error.torn(), Some(0..10));
    assert!(array.iter().enumerate().skip(10).all(|(index, x)| x == index as u32 + 100));
    Ok(())
}

/// Each attempt finds the chunk as the one before left it.
fn retries(method: StartMethod) -> Result<(), Error> {
    let (pool, mut array) = (ready(method)?, SharedArray::<u32>::zeroed(4)?);
    count_and_die::job(&pool).retries(3).chunks_mut(&mut array, 2)?;
    assert_eq!(array.to_vec(), [3, 0, 3, 0]);
    Ok(())
}

#[worker_task]
fn count_and_die(#[chunk] rows: &mut [u32]) {
    rows[0] += 1;
    if rows[0] < 3 {
        die(Signal::SIGKILL);
    }
}

#[worker_task]
fn scribble(#[chunk] rows: &mut [u64], #[shared] started: &String) {
    put_token(started);
    for round in 1.. {
        rows.fill(round);
        if std::hint::black_box(round) == u64::MAX {
            break;
        }
    }
}

/// However a call ends, its tasks have ended by then.
fn nobody_writes_after_an_end(method: StartMethod) -> Result<(), Error> {
    let started = Tokens::new();
    let pool = builder(method).shared(started.path()).build()?;
    let mut array = SharedArray::<u64>::zeroed(10_000)?;
    let job = scribble::job(&pool).task_timeout(Duration::from_millis(50)).retries(1);
    let outcomes = job.chunks_mut_outcomes(&mut array, 5000)?;
    assert!(outcomes.iter().all(|outcome| outcome.as_ref().is_err_and(|error| error.torn().is_some())));
    assert_still(&mut array)?;
    Ok(())
}

#[track_caller]
fn assert_still(array: &mut SharedArray<u64>) -> Result<(), Error> {
    // Nobody else uses the array, and nothing writes to it.
    let before = array.as_mut_slice()?.to_vec();
    std::thread::sleep(Duration::from_millis(30));
    assert!(array.as_mut_slice()?.to_vec() == before, "someone writes to the array still");
    Ok(())
}

#[worker_task]
fn scribble_until_told(#[chunk] rows: &mut [u64], #[shared] (started, limit): &(String, Duration)) {
    put_token(started);
    let begun = std::time::Instant::now();
    for round in 1.. {
        rows.fill(round);
        if begun.elapsed() > *limit {
            break;
        }
    }
}

fn nobody_writes_after_a_cancelled_call(method: StartMethod) -> Result<(), Error> {
    let mut started = Tokens::new();
    // A process is killed, but a thread has to end by itself.
    let limit = Duration::from_secs(if method.is_process() { 1000 } else { 1 });
    let pool = builder(method).shared((started.path(), limit)).build()?;
    let mut array = SharedArray::<u64>::zeroed(10_000)?;
    let cancel = pool.cancel_handle();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            started.take(2);
            cancel.cancel();
        });
        assert_fails!(scribble_until_told::par_chunks_mut(&pool, &mut array, 1000), Error::Cancelled);
    });
    assert_still(&mut array)?;
    assert!(array.iter().skip(8000).all(|x| x == 0), "what was not begun is untouched");
    assert_usable(&pool);
    Ok(())
}

#[worker_task]
fn write_one_then_wait(
    #[chunk] rows: &mut [u64],
    #[shared] (other, started, go_on): &(String, String, String),
) -> u64 {
    let number = rows[0];
    rows.fill(100 + number);
    // The first worker begins its second chunk only when the other worker has begun.
    match number {
        0 => take_token(other),
        1 => put_token(other),
        _ => {}
    }
    if number > 0 {
        put_token(started);
        take_token(go_on);
    }
    number
}

fn a_cancelled_call_says_what_became_of_each_chunk(method: StartMethod) -> Result<(), Error> {
    let (other, mut started, mut go_on) = (Tokens::new(), Tokens::new(), Tokens::new());
    let pool = builder(method).shared((other.path(), started.path(), go_on.path())).build()?;
    let mut array = SharedArray::from_fn(60, |x| (x / 10) as u64)?;
    let cancel = pool.cancel_handle();
    let outcomes = std::thread::scope(|scope| {
        scope.spawn(|| {
            started.take(2);
            cancel.cancel();
            go_on.put(2);
        });
        write_one_then_wait::job(&pool).max_tasks_active(2).chunks_mut_outcomes(&mut array, 10)
    })?;
    assert_eq!((outcomes.len(), outcomes[0].as_ref().unwrap()), (6, &0));
    for (index, outcome) in outcomes.iter().enumerate().skip(1) {
        let error = outcome.as_ref().unwrap_err();
        assert!(matches!(error.kind(), TaskErrorKind::Cancelled), "{error}");
        let torn = index * 10..index * 10 + 10;
        assert_eq!((error.task_index(), error.torn(), error.attempts()), (index, Some(torn), 0));
        let text = format!("task {index} of `{}` was cancelled; it left elements", error.task_name());
        assert!(error.to_string().starts_with(&text), "{error}");
    }
    assert!(array.iter().skip(30).eq((30..60).map(|x| x / 10)), "what was not begun is untouched");
    assert_usable(&pool);
    Ok(())
}

fn alone(method: StartMethod) -> Result<(), Error> {
    let mut array = SharedArray::<u32>::zeroed(4)?;
    let encoded = serde_json::to_string(&array).unwrap();
    let pool = builder(method).shared(encoded).build()?;
    let refused = attach::par_chunks_mut(&pool, &mut array, 2)?;
    assert!(refused.iter().all(|why| why.contains("borrowed exclusively")), "{refused:?}");
    add_one::par_chunks_mut(&pool, &mut array, 2)?;
    assert_eq!(array.to_vec(), [1; 4]);
    Ok(())
}

/// While the array is lent, no handle opens it.
#[worker_task]
fn attach(#[chunk] _: &mut [u32], #[shared] handle: &String) -> String {
    serde_json::from_str::<SharedArray<u32>>(handle)
        .map_or_else(|error| error.to_string(), |_| "it is in".into())
}

fn not_alone(method: StartMethod) -> Result<(), Error> {
    let mut array = SharedArray::<u32>::zeroed(4)?;
    let pool = builder(method).shared(array.clone()).build()?;
    assert_fails!(add_one::par_chunks_mut(&pool, &mut array, 2), Error::SharedMemory { .. });
    pool.join()?;
    add_one::par_chunks_mut(&self::pool(method)?, &mut array, 2)?;
    assert_eq!(array.to_vec(), [1; 4]);
    Ok(())
}

/// A fork of the worker would have its slice too.
#[worker_task]
fn nest(#[chunk] rows: &mut [u32]) -> String {
    rows[0] = 1;
    let copies = WorkerPool::builder().workers(1).start_method(StartMethod::Fork).build();
    match copies.and_then(|pool| crate::support::square::apply(&pool, 3)) {
        Ok(_) => "it was copied".into(),
        Err(error) => error.to_string(),
    }
}

fn fork_in_a_task(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).daemon(false).build()?;
    let mut array = SharedArray::<u32>::zeroed(4)?;
    let whys = nest::par_chunks_mut(&pool, &mut array, 2)?;
    let expected = if method.is_process() { "in place" } else { "threads" };
    assert!(whys.iter().all(|why| why.contains(expected)), "{whys:?}");
    Ok(())
}

fn options(method: StartMethod) -> Result<(), Error> {
    let (pool, mut array) = (pool(method)?, SharedArray::<u32>::zeroed(4)?);
    assert_fails!(
        add_one::par_chunks_mut(&pool, &mut array, 0),
        Error::Option { option: "rows_per_chunk", .. }
    );
    let job = || add_one::job(&pool);
    assert_fails!(job().chunk_size(3).chunks_mut(&mut array, 2), Error::Option { option: "chunk_size", .. });
    assert_fails!(job().n_splits(3).chunks_mut(&mut array, 2), Error::Option { option: "n_splits", .. });
    assert_fails!(job().max_tasks_active(0).chunks_mut(&mut array, 2), Error::Option { .. });
    assert_eq!(array.as_mut_slice()?.to_vec(), [0; 4]);
    Ok(())
}

static KEPT: Mutex<Option<SharedArray<u32>>> = Mutex::new(None);

#[worker_task]
fn keep(array: SharedArray<u32>) {
    *KEPT.lock().unwrap() = Some(array);
}

#[worker_task]
fn kept() -> Option<Vec<u32>> {
    KEPT.lock().unwrap().take().map(|array| array.to_vec())
}

/// The memory outlives the array for as long as a worker uses it.
fn memory_stays_with_its_users(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    assert_usable(&pool);
    let mut array = SharedArray::from_slice(&[1, 2, 3])?;
    add_one::par_chunks_mut(&pool, &mut array, 2)?;
    keep::apply(&pool, array.clone())?;
    drop(array);
    assert_eq!(kept::apply(&pool, ())?, Some(vec![2, 3, 4]));
    Ok(())
}

#[worker_task]
fn mapped() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").expect("the kernel tells");
    maps.lines().filter(|line| line.contains("/memfd:pool SharedArray")).count()
}

/// A worker keeps a few arrays mapped, not all that it ever worked on.
fn few_stay_mapped(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    // With `Fork`, a worker keeps whatever its parent had mapped when it started.
    assert_usable(&pool);
    for _ in 0..20 {
        add_one::par_chunks_mut(&pool, &mut SharedArray::zeroed(4)?, 4)?;
    }
    let mapped = mapped::apply(&pool, ())?;
    assert!(mapped <= 4, "{mapped} are mapped");
    Ok(())
}

#[worker_task]
fn square_in_a_copy(x: u64) -> Result<u64, String> {
    let copies = WorkerPool::builder().workers(1).start_method(StartMethod::Fork).build();
    let squared = copies.and_then(|pool| crate::support::square::apply(&pool, x));
    squared.map_err(|error| error.to_string())
}

/// A worker may fork once it has finished with its chunk.
fn fork_after_a_task(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).daemon(false).build()?;
    add_one::par_chunks_mut(&pool, &mut SharedArray::zeroed(4)?, 2)?;
    assert_eq!(square_in_a_copy::apply(&pool, 3)?, Ok(9));
    Ok(())
}

/// Opens the array's file, which shows how much memory the array has.
fn file_of_the_array() -> File {
    let numbers = fs::read_dir("/proc/self/fd").expect("the kernel tells");
    let paths = numbers.map(|entry| entry.expect("the kernel tells").path());
    let is_array = |path: &PathBuf| {
        fs::read_link(path).is_ok_and(|name| name.to_string_lossy().starts_with("/memfd:pool SharedArray"))
    };
    File::open(paths.into_iter().find(is_array).expect("there is an array")).expect("it is there")
}

fn bytes_of(file: &File) -> u64 {
    file.metadata().expect("it is open").blocks() * 512
}

/// Workers keep the mapping of an array that is gone, but not its memory.
fn memory_goes_with_the_array(method: StartMethod) -> Result<(), Error> {
    const BYTES: usize = 8 << 20;
    let pool = ready(method)?;
    let mut array = SharedArray::<u32>::zeroed(BYTES / 4)?;
    let file = file_of_the_array();
    assert_eq!(bytes_of(&file), BYTES as u64, "its space is taken before anyone touches it");
    add_one::par_chunks_mut(&pool, &mut array, 1 << 20)?;
    drop(array);
    assert_eq!(bytes_of(&file), 0, "the memory is there still");
    assert_usable(&pool);
    Ok(())
}
