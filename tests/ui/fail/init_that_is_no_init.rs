use pool::{WorkerPool, worker_exit, worker_task};

#[worker_exit]
fn last(#[state] seen: u64) -> u64 {
    seen
}

#[worker_task(init = last)]
fn count(#[state] seen: &mut u64, step: u64) -> u64 {
    *seen += step;
    *seen
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<u64> = count::par_map(&pool, [1]).unwrap();
}
