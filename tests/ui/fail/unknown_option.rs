use pool::{WorkerPool, worker_task};

#[worker_task(initialize = load)]
fn square(x: u64) -> u64 {
    x * x
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<u64> = square::par_map(&pool, [1, 2]).unwrap();
}
