use pool::{WorkerPool, worker_task};

#[worker_task]
fn up_to(end: u64) -> impl Iterator<Item = u64> {
    0..end
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _ = up_to::par_map(&pool, [1u64]).unwrap();
}
