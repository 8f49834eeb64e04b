use pool::{WorkerPool, worker_task};

#[worker_task]
fn add(#[shared] base: &u64, step: u64) -> u64 {
    *base + step
}

fn main() {
    let pool = WorkerPool::builder().workers(1).shared(String::from("base")).build().unwrap();
    add::on_each_worker(&pool, 1).unwrap();
}
