use pool::{WorkerPool, worker_exit, worker_task};

#[worker_exit]
fn last(#[state] text: String) -> String {
    text
}

#[worker_task(exit = last)]
fn count(#[state] seen: &mut u64, step: u64) -> u64 {
    *seen += step;
    *seen
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<u64> = count::par_map(&pool, [1]).unwrap();
}
