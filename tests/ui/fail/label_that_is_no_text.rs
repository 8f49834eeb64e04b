use pool::{WorkerPool, worker_task};

#[worker_task]
fn square(x: u64) -> u64 {
    x * x
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    square::job(&pool).label(7).map([1, 2]).unwrap();
}
