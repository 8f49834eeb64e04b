use pool::{WorkerPool, worker_init, worker_task};

#[worker_init]
fn load(#[shared] name: &String) -> usize {
    name.len()
}

#[worker_task(init = load)]
fn count(#[shared] base: &u64, #[state] seen: &mut usize, step: u64) -> u64 {
    base + *seen as u64 + step
}

fn main() {
    let pool = WorkerPool::builder().shared(1u64).build().unwrap();
    let _: Vec<u64> = count::par_map(&pool, [1]).unwrap();
}
