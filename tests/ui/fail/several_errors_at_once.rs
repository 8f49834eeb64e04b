use pool::{WorkerPool, worker_task};

#[worker_task(initialize = load)]
async fn count(#[state] seen: u64, values: &mut Vec<u64>) -> u64 {
    seen + values.len() as u64
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<u64> = count::par_map(&pool, [1]).unwrap();
}
