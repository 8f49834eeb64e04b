use pool::{WorkerPool, worker_init, worker_task};

#[worker_init]
fn load() -> String {
    String::from("state")
}

#[worker_task(init = load)]
fn count(#[state] seen: &mut u64, step: u64) -> u64 {
    *seen += step;
    *seen
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<u64> = count::par_map(&pool, [1]).unwrap();
}
