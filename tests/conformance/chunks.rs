//! Slices to tasks: whole chunks at once, read where they lie.

use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use pool::shared::SharedArray;
use pool::{Chunk, Error, StartMethod, TaskError, TaskErrorKind, WorkerId, worker_task};

use crate::harness::cases;
use crate::support::{
    Tokens, assert_fails, assert_usable, builder, die, panic_message, pool, put_token, ready,
    take_all_tokens, take_token, task_error,
};

cases! {
    All: every_source, cuts, outputs, empty, sizes_of_elements, injected, ordered, in_other_calls, large, not_alone,
        failures, options, read_in_place, copied_from_writers, over_when_nobody_reads;
    Processes: deaths;
}

#[worker_task]
fn halve(#[chunk] rows: &[f32]) -> Vec<f32> {
    rows.iter().map(|x| x / 2.0).collect()
}

#[worker_task]
fn lengths(#[chunk] rows: &[f32]) -> Vec<usize> {
    vec![rows.len()]
}

#[worker_task]
fn sum(#[chunk] rows: &[f32]) -> f32 {
    rows.iter().sum()
}

fn numbers(len: usize) -> Vec<f32> {
    (0..len).map(|x| x as f32).collect()
}

fn every_source(method: StartMethod) -> Result<(), Error> {
    let data = numbers(1000);
    let expected = halve(&data);
    let pool = ready(method)?;
    assert_eq!(halve::par_map_slice(&pool, &data)?, expected);
    assert_eq!(halve::par_map_slice(&pool, &*data)?, expected);
    assert_eq!(halve::par_map_slice(&pool, &data.clone().into_boxed_slice())?, expected);
    assert_eq!(halve::par_map_slice(&pool, &[1.0, 2.0])?, [0.5, 1.0]);
    let mut array = SharedArray::from_slice(&data)?;
    for _ in 0..3 {
        assert_eq!(halve::par_map_slice(&pool, &array)?, expected);
        assert_eq!(halve::par_map_slice(&pool, &mut array)?, expected);
        array.as_mut_slice()?.reverse();
        array.as_mut_slice()?.reverse();
    }
    Ok(())
}

/// As in MPIRE, where a chunk is a slice of the numpy array.
fn cuts(method: StartMethod) -> Result<(), Error> {
    let (pool, data) = (pool(method)?, numbers(10));
    let job = || lengths::job(&pool);
    assert_eq!(job().chunk_size(4).map_slice(&data)?, [4, 4, 2]);
    assert_eq!(job().n_splits(6).map_slice(&data)?, [2, 2, 1, 2, 2, 1]);
    assert_eq!(job().chunk_size(5).n_splits(6).map_slice(&data)?, [5, 5]);
    assert_eq!(job().chunk_size(3).iterable_len(7).map_slice(&data)?, [3, 3, 1]);
    assert_eq!(job().n_splits(99).map_slice(&data)?, [1; 10]);
    assert_eq!(lengths::par_map_slice(&pool, &numbers(64 * 2 * 3))?, [3; 128], "64 for each worker");
    Ok(())
}

fn outputs(method: StartMethod) -> Result<(), Error> {
    let (pool, data) = (pool(method)?, numbers(6));
    let apart = halve::job(&pool).chunk_size(4).concatenate(false).map_slice(&data)?;
    assert_eq!(apart, [vec![0.0, 0.5, 1.0, 1.5], vec![2.0, 2.5]]);
    assert_eq!(text::job(&pool).chunk_size(2).map_slice(b"abcde")?, "abcde");
    // Results that are not one per row can't be concatenated.
    let sums = sum::job(&pool).concatenate(false).n_splits(2).map_slice(&data)?;
    assert_eq!(sums, [3.0, 12.0]);
    Ok(())
}

fn empty(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    assert_eq!(halve::par_map_slice(&pool, &[])?, [0.0; 0]);
    assert_eq!(halve::par_map_slice(&pool, &mut SharedArray::zeroed(0)?)?, [0.0; 0]);
    assert_eq!(halve::job(&pool).iterable_len(0).map_slice(&numbers(3))?, [0.0; 0]);
    Ok(())
}

#[worker_task]
fn bytes(#[chunk] rows: &[u8]) -> Vec<u8> {
    rows.to_vec()
}

#[worker_task]
fn doubles(#[chunk] rows: &[f64]) -> Vec<f64> {
    assert!(rows.as_ptr().is_aligned());
    rows.to_vec()
}

#[worker_task]
fn triples(#[chunk] rows: &[[u16; 3]]) -> Vec<[u16; 3]> {
    rows.to_vec()
}

#[worker_task]
fn wide(#[chunk] rows: &[u128]) -> Vec<u128> {
    assert!(rows.as_ptr().is_aligned());
    rows.to_vec()
}

fn sizes_of_elements(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let of_bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(bytes::job(&pool).chunk_size(7).map_slice(&of_bytes)?, of_bytes);
    assert_eq!(bytes::par_map_slice(&pool, &SharedArray::from_slice(&of_bytes)?)?, of_bytes);
    let of_doubles: Vec<f64> = (0..99).map(f64::from).collect();
    assert_eq!(doubles::job(&pool).chunk_size(5).map_slice(&of_doubles)?, of_doubles);
    let of_triples: Vec<[u16; 3]> = (0..50).map(|x| [x, x + 1, 7 * x]).collect();
    assert_eq!(triples::job(&pool).chunk_size(3).map_slice(&of_triples)?, of_triples);
    let of_wide: Vec<u128> = (0..50).map(|x| x << 90).collect();
    assert_eq!(wide::job(&pool).chunk_size(3).map_slice(&of_wide)?, of_wide);
    Ok(())
}

#[worker_task]
fn scale(
    #[state] seen: &mut usize,
    #[chunk] rows: &[f32],
    #[worker_id] id: WorkerId,
    #[shared] factor: &f32,
) -> Vec<(usize, f32)> {
    *seen += rows.len();
    rows.iter().map(|x| (usize::from(id), x * factor)).collect()
}

fn injected(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).shared(3.0f32).build()?;
    let scaled = scale::par_map_slice(&pool, &[1.0, 2.0])?;
    assert!(scaled.iter().map(|(_, x)| *x).eq([3.0, 6.0]) && scaled.iter().all(|(id, _)| *id < 2));
    Ok(())
}

#[worker_task]
fn who(#[chunk] rows: &[f32], #[worker_id] id: usize) -> Vec<usize> {
    vec![id; rows.len()]
}

fn ordered(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).order_tasks(true).build()?;
    assert_eq!(who::job(&pool).chunk_size(1).map_slice(&numbers(100))?, [0, 1].repeat(50));
    Ok(())
}

fn in_other_calls(method: StartMethod) -> Result<(), Error> {
    let (pool, data) = (pool(method)?, numbers(10));
    let chunks = || data.chunks(4).map(Chunk::from);
    let sums: Result<Vec<f32>, Error> = sum::job(&pool).imap(chunks()).collect();
    assert_eq!(sums?, [6.0, 22.0, 17.0]);
    assert_eq!(sum::job(&pool).apply(Chunk::from(&*data))?, 45.0);
    assert_eq!(sum::job(&pool).map_async(chunks()).get()?, [6.0, 22.0, 17.0]);
    Ok(())
}

/// Chunks that are too large for a lane.
fn large(method: StartMethod) -> Result<(), Error> {
    let pool = pool(method)?;
    let data: Vec<f64> = (0..3_000_000).map(f64::from).collect();
    assert!(doubles::job(&pool).n_splits(2).map_slice(&data)? == data);
    let mut array = SharedArray::from_slice(&data)?;
    assert!(doubles::job(&pool).n_splits(2).map_slice(&mut array)? == data);
    Ok(())
}

fn not_alone(method: StartMethod) -> Result<(), Error> {
    let (pool, mut array) = (ready(method)?, SharedArray::from_slice(&[1.0, 2.0])?);
    let other = array.clone();
    assert_fails!(
        halve::par_map_slice(&pool, &mut array),
        Error::SharedMemory { reason, .. } if reason.contains("drop its clones")
    );
    assert_eq!(halve::par_map_slice(&pool, &other)?, [0.5, 1.0]);
    drop(other);
    assert_eq!(halve::par_map_slice(&pool, &mut array)?, [0.5, 1.0]);
    Ok(())
}

#[worker_task]
fn picky(#[chunk] rows: &[f32]) -> Vec<f32> {
    assert!(!rows.contains(&5.0), "no fives");
    rows.to_vec()
}

fn failures(method: StartMethod) -> Result<(), Error> {
    let (pool, mut array) = (ready(method)?, SharedArray::from_slice(&numbers(10))?);
    for _ in 0..3 {
        let error = task_error(picky::job(&pool).chunk_size(2).map_slice(&mut array));
        assert_eq!((error.task_index(), panic_message(&error)), (2, "no fives"));
        assert_eq!((error.torn(), error.argument()), (None, None), "what is read is not torn");
        array.as_mut_slice()?[0] += 1.0;
    }
    assert_usable(&pool);
    Ok(())
}

#[worker_task]
fn deadly(#[chunk] rows: &[f32]) -> Vec<f32> {
    if rows.contains(&5.0) {
        die(nix::sys::signal::Signal::SIGSEGV);
    }
    rows.to_vec()
}

fn deaths(method: StartMethod) -> Result<(), Error> {
    let (pool, mut array) = (ready(method)?, SharedArray::from_slice(&numbers(10))?);
    let error = task_error(deadly::job(&pool).chunk_size(2).map_slice(&mut array));
    assert_eq!(error.task_index(), 2);
    assert_eq!(array.as_mut_slice()?.len(), 10);
    assert_usable(&pool);
    Ok(())
}

fn options(method: StartMethod) -> Result<(), Error> {
    let (pool, data) = (pool(method)?, numbers(4));
    assert_fails!(
        halve::job(&pool).chunk_size(0).map_slice(&data),
        Error::Option { option: "chunk_size", .. }
    );
    assert_fails!(halve::job(&pool).n_splits(0).map_slice(&data), Error::Option { option: "n_splits", .. });
    assert_fails!(
        halve::job(&pool).concatenate(true).map_slice(&data),
        Error::Option { option: "concatenate", .. }
    );
    Ok(())
}

#[worker_task]
fn text(#[chunk] rows: &[u8]) -> String {
    rows.iter().map(|letter| char::from(*letter)).collect()
}

#[worker_task]
fn place(#[chunk] rows: &[u64]) -> Vec<usize> {
    vec![rows.as_ptr().addr()]
}

/// Tasks find the chunks of a shared array one after the other in memory.
fn read_in_place(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(1).build()?;
    let places = place::job(&pool).chunk_size(10).map_slice(&mut SharedArray::zeroed(100)?)?;
    assert!(places.iter().enumerate().all(|(chunk, at)| *at == places[0] + chunk * 80), "{places:x?}");
    Ok(())
}

#[worker_task]
fn overwrite(#[chunk] rows: &[u64], #[shared] array: &SharedArray<u64>) -> Vec<u64> {
    array.fill(7);
    rows.to_vec()
}

/// A task does not see what others write to the array while it runs.
fn copied_from_writers(method: StartMethod) -> Result<(), Error> {
    let array = SharedArray::from_slice(&[1, 2, 3])?;
    let pool = builder(method).shared(array.clone()).build()?;
    assert_eq!(overwrite::job(&pool).chunk_size(3).map_slice(&array)?, [1, 2, 3]);
    assert_eq!(array.to_vec(), [7; 3]);
    Ok(())
}

/// One of two tasks side by side: either fails once the other has begun, or goes on for a while.
pub(crate) fn fail_or_linger_beside(fails: bool, started: &str, ended: &str) {
    if fails {
        take_token(started);
        // Without a backtrace: resolving it may take longer than the other task.
        resume_unwind(Box::new("beside another"));
    }
    put_token(started);
    thread::sleep(Duration::from_millis(300));
    put_token(ended);
}

/// Asserts that the other task has ended, or is dead, once the call has failed.
pub(crate) fn assert_over(error: &TaskError, ended: &Tokens) {
    assert!(matches!(error.kind(), TaskErrorKind::Panicked(_)), "{error}");
    take_all_tokens(&ended.path());
    thread::sleep(Duration::from_millis(500));
    assert_eq!(take_all_tokens(&ended.path()), 0, "a task of the call went on");
}

#[worker_task]
fn fail_or_linger(#[chunk] rows: &[f32], #[shared] (started, ended): &(String, String)) -> Vec<f32> {
    fail_or_linger_beside(rows[0] > 0.0, started, ended);
    rows.to_vec()
}

/// After a failed call over an array, no task reads the array any more.
fn over_when_nobody_reads(method: StartMethod) -> Result<(), Error> {
    let (started, ended) = (Tokens::new(), Tokens::new());
    let pool = builder(method).order_tasks(true).shared((started.path(), ended.path())).build()?;
    assert_usable(&pool);
    let mut array = SharedArray::from_slice(&[1.0, 0.0])?;
    let error = task_error(fail_or_linger::job(&pool).chunk_size(1).map_slice(&mut array));
    assert_over(&error, &ended);
    Ok(())
}
