//! With `order_tasks`, chunk i goes to worker i modulo their number, and each call starts at worker 0.

use pool::{Error, StartMethod, worker_task};

use crate::harness::cases;
use crate::support::{builder, task_error};

cases! {
    All: tasks_of_each_worker, with_splits, after_an_error, with_lifespan, chunks_of_many_bytes;
}

#[worker_task]
fn who(#[worker_id] id: usize, x: usize) -> usize {
    assert!(x != usize::MAX, "the bad one");
    id
}

fn tasks_of_each_worker(method: StartMethod) -> Result<(), Error> {
    for workers in [1, 2, 3] {
        for keep_alive in [true, false] {
            let pool = builder(method).workers(workers).order_tasks(true).keep_alive(keep_alive).build()?;
            for chunk in [1, 3] {
                // A number of tasks that does not divide by the workers: a counter that goes on with the next call
                // would show.
                for _ in 0..2 {
                    let expected: Vec<_> = (0..19).map(|task| task / chunk % workers).collect();
                    let job = || who::job(&pool).chunk_size(chunk);
                    assert_eq!(job().map(0..19)?, expected);
                    assert_eq!(job().imap(0..19).collect::<Result<Vec<_>, _>>()?, expected);
                }
            }
        }
    }
    Ok(())
}

fn with_splits(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).order_tasks(true).build()?;
    // 10 in 6 parts: 2, 2, 1, 2, 2, 1.
    assert_eq!(who::job(&pool).n_splits(6).map(0..10)?, [0, 0, 1, 1, 0, 1, 1, 0, 0, 1]);
    Ok(())
}

fn after_an_error(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).order_tasks(true).build()?;
    for bad in 0..4 {
        let items = (0..7).map(|x| if x == bad { usize::MAX } else { x });
        task_error(who::job(&pool).chunk_size(1).map(items));
        assert_eq!(who::job(&pool).chunk_size(1).map(0..5)?, [0, 1, 0, 1, 0]);
    }
    Ok(())
}

fn with_lifespan(method: StartMethod) -> Result<(), Error> {
    let pool = builder(method).workers(3).order_tasks(true).build()?;
    let ids = who::job(&pool).chunk_size(1).worker_lifespan(2).map(0..20)?;
    assert_eq!(ids, (0..20).map(|task| task % 3).collect::<Vec<_>>());
    Ok(())
}

#[worker_task]
fn who_has(#[worker_id] id: usize, text: &str) -> (usize, usize) {
    (id, text.len())
}

fn chunks_of_many_bytes(method: StartMethod) -> Result<(), Error> {
    const CHUNK: usize = 50;
    let pool = builder(method).order_tasks(true).build()?;
    for bytes in [100, 8 << 10, 16 << 10] {
        let text = "x".repeat(bytes);
        let outputs = who_has::job(&pool).chunk_size(CHUNK).map((0..500).map(|_| &*text))?;
        assert!(outputs.into_iter().eq((0..500).map(|task| (task / CHUNK % 2, bytes))), "{bytes} bytes");
    }
    Ok(())
}
