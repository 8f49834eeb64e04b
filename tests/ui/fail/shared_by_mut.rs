use pool::{WorkerPool, worker_task};

#[worker_task]
fn add(#[shared] base: &mut u64, step: u64) -> u64 {
    *base + step
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<u64> = add::par_map(&pool, [1u64]).unwrap();
}
