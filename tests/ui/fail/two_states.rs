use pool::{WorkerPool, worker_task};

#[worker_task]
fn count(#[state] seen: &mut u64, #[state] more: &mut u64, step: u64) -> u64 {
    *seen += step;
    *seen + *more
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<u64> = count::par_map(&pool, [1u64]).unwrap();
}
