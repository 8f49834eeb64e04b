use pool::{WorkerPool, worker_task};

#[worker_task]
fn square(x: u64) -> u64 {
    x * x
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<u64> = pool.job::<square>().worker_init::<square>().map([1]).unwrap();
}
