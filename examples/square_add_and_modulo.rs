//! Two shared arrays in a tuple: each task writes to its own place in both, and returns a value besides.

use pool::shared::SharedArray;
use pool::{WorkerPool, worker_task};

#[worker_task]
fn square_add_and_modulo(
    #[shared] (squares, sums): &(SharedArray<f32>, SharedArray<f32>),
    index: usize,
    x: u32,
) -> u32 {
    squares.set(index, (x * x) as f32);
    sums.set(index, (x + x) as f32);
    x % 2
}

#[pool::main]
fn main() -> Result<(), pool::Error> {
    let results = (SharedArray::zeroed(100)?, SharedArray::zeroed(100)?);
    let pool = WorkerPool::builder().workers(4).shared(results.clone()).build()?;
    let modulo = square_add_and_modulo::par_map(&pool, (0..100).enumerate())?;

    let (mut squares, sums) = results;
    assert_eq!(modulo[..4], [0, 1, 0, 1]);
    assert!(sums.iter().enumerate().all(|(index, sum)| sum == (2 * index) as f32));
    // With the pool gone, nobody else has the array: it is a plain slice.
    drop((pool, sums));
    squares.as_mut_slice()?.reverse();
    println!("the largest squares: {:?}", &squares.to_vec()[..3]);
    assert_eq!(squares.get(0), 9801.0);
    Ok(())
}
