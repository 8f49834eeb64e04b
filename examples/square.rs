//! The smallest program: a function, mapped over worker processes.

use pool::{WorkerPool, worker_task};

#[worker_task]
fn square(x: u64) -> u64 {
    x * x
}

#[pool::main]
fn main() -> Result<(), pool::Error> {
    let pool = WorkerPool::new(2)?;
    let squares = square::par_map(&pool, 1..=10)?;
    println!("{squares:?}");
    assert_eq!(squares, (1..=10).map(square).collect::<Vec<u64>>());
    Ok(())
}
