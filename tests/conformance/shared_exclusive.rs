//! Shared arrays as plain slices, while nobody else uses them.

use std::sync::Mutex;

use nix::sys::signal::Signal;
use pool::shared::SharedArray;
use pool::{Error, StartMethod, TaskErrorKind, worker_task};

use crate::harness::cases;
use crate::support::{assert_fails, assert_usable, builder, die, pool, ready, task_error};

cases! {
    All: between_calls, while_shared, after_a_fork, nobody_gets_in;
    Processes: after_a_death;
}

#[worker_task]
fn double(numbers: SharedArray<u64>, index: usize) {
    numbers.fetch_update(index, |number| number * 2);
}

#[worker_task]
fn negate(#[shared] numbers: &SharedArray<f32>, index: usize) {
    numbers.set(index, -numbers.get(index));
}

/// With `Fork`, workers are copies of this process and have its arrays.
fn after_a_fork(method: StartMethod) -> Result<(), Error> {
    let mut numbers = SharedArray::<u64>::zeroed(10)?;
    numbers.as_mut_slice()?.fill(1);
    let pool = ready(method)?;
    match method {
        StartMethod::Fork => {
            assert_fails!(numbers.as_mut_slice(), Error::SharedMemory { reason, .. } if reason.contains("Fork"));
        }
        _ => numbers.as_mut_slice()?.fill(2),
    }
    pool.join()?;
    numbers.as_mut_slice()?.fill(3);
    assert_eq!(numbers.to_vec(), [3; 10]);
    Ok(())
}

/// A task uses its argument until it ends. After that, the owner may use the array alone although the pool is alive.
fn between_calls(method: StartMethod) -> Result<(), Error> {
    let (pool, mut numbers) = (ready(method)?, SharedArray::from_fn(100, |index| index as u64)?);
    let mut expected = numbers.to_vec();
    for _ in 0..5 {
        double::par_map(&pool, (0..100).map(|index| (numbers.clone(), index)))?;
        let mut slice = numbers.as_mut_slice()?;
        slice.reverse();
        slice[0] += 1;
        expected = expected.iter().rev().map(|number| number * 2).collect();
        expected[0] += 1;
        assert_eq!(*slice, expected);
    }
    Ok(())
}

fn while_shared(method: StartMethod) -> Result<(), Error> {
    let mut squares = SharedArray::from_fn(10, |index| -((index * index) as f32))?;
    let pool = builder(method).shared(squares.clone()).build()?;
    negate::par_map(&pool, 0..10)?;
    assert_fails!(squares.as_mut_slice(), Error::SharedMemory { reason, .. } if reason.contains("drop its clones"));
    pool.join()?;
    squares.as_mut_slice()?.sort_by(|a, b| b.total_cmp(a));
    assert_eq!(squares.as_slice()?[..2], [81.0, 64.0]);
    // Now only workers hold on to the array, in a state or in arguments that they keep.
    let pool = self::pool(method)?;
    assert_eq!(keep::apply(&pool, squares.clone())?, 81.0);
    let refused = squares.as_slice().map(drop);
    match method {
        StartMethod::Threads => {
            assert_fails!(refused, Error::SharedMemory { reason, .. } if reason.contains("clones"));
        }
        _ => assert_fails!(refused, Error::SharedMemory { reason, .. } if reason.contains("another process")),
    }
    pool.join()?;
    if method.is_process() {
        squares.as_mut_slice()?[0] = 1.0;
    }
    *KEPT.lock().unwrap() = None;
    Ok(())
}

static KEPT: Mutex<Option<SharedArray<f32>>> = Mutex::new(None);

#[worker_task]
fn keep(array: SharedArray<f32>) -> f32 {
    let first = array.get(0);
    *KEPT.lock().unwrap() = Some(array);
    first
}

fn nobody_gets_in(method: StartMethod) -> Result<(), Error> {
    let (pool, mut numbers) = (ready(method)?, SharedArray::<u64>::zeroed(10)?);
    let encoded = serde_json::to_string(&numbers).unwrap();
    let slice = numbers.as_mut_slice()?;
    // No handle opens the array, neither here nor in a worker.
    let here = serde_json::from_str::<SharedArray<u64>>(&encoded).unwrap_err();
    assert!(here.to_string().contains("borrowed exclusively"), "{here}");
    let there = get_decoded::apply(&pool, &encoded)?.unwrap_err();
    assert!(there.contains("borrowed exclusively"), "{there}");
    if method == StartMethod::Fork {
        // A new fork of this process would have the slice too.
        assert_fails!(
            get_decoded::apply(&self::pool(method)?, &encoded),
            Error::Start { reason, .. } if reason.contains("borrowed exclusively")
        );
    }
    drop(slice);
    assert_eq!(get_decoded::apply(&pool, &encoded)?, Ok(0));
    assert_usable(&self::pool(method)?);
    Ok(())
}

#[worker_task]
fn get_decoded(handle: &str) -> Result<u64, String> {
    let array: SharedArray<u64> = serde_json::from_str(handle).map_err(|error| error.to_string())?;
    Ok(array.get(0))
}

#[worker_task]
fn set_and_die(numbers: SharedArray<u64>) {
    numbers.set(1, 5);
    die(Signal::SIGKILL);
}

fn after_a_death(method: StartMethod) -> Result<(), Error> {
    let (pool, mut numbers) = (ready(method)?, SharedArray::zeroed(2)?);
    let error = task_error(set_and_die::apply(&pool, numbers.clone()));
    assert!(matches!(error.kind(), TaskErrorKind::Died(death) if death.signal() == Some(9)));
    // A worker that died does not use the array any more.
    numbers.as_mut_slice()?[0] = 1;
    assert_eq!(numbers.to_vec(), [1, 5]);
    Ok(())
}
