use pool::{WorkerPool, worker_task};

#[worker_task]
fn add(#[shared] base: &u64, step: u64) -> u64 {
    *base + step
}

fn main() {
    let pool = WorkerPool::builder().workers(1).shared(String::from("base")).build().unwrap();
    pool.warm_up::<add>().unwrap();
}
