//! A shared array with an element for each worker: each adds the squares of its own items up there, and no lock is
//! needed.

use pool::shared::SharedArray;
use pool::{WorkerPool, worker_task};

const WORKERS: usize = 4;

#[worker_task]
fn square_sum(#[worker_id] id: usize, #[shared] sums: &SharedArray<f32>, x: u32) {
    sums.fetch_add(id, (x * x) as f32);
}

#[pool::main]
fn main() -> Result<(), pool::Error> {
    let sums = SharedArray::zeroed(WORKERS)?;
    let pool = WorkerPool::builder().workers(WORKERS).shared(sums.clone()).build()?;
    square_sum::par_map_unordered(&pool, 0..100)?;
    println!("sums of the workers: {:?}", sums.to_vec());
    assert_eq!(sums.iter().sum::<f32>(), (0..100).map(|x| (x * x) as f32).sum::<f32>());
    Ok(())
}
