use pool::{WorkerPool, worker_task};

#[worker_task]
fn double(x: u64) -> u64 {
    2 * x
}

fn main() {
    let pool = WorkerPool::new(2).unwrap();
    double::on_each_worker(&pool, [1, 2]).unwrap();
}
