use pool::{WorkerPool, worker_init};

#[worker_init]
fn load() -> u64 {
    0
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<u64> = pool.map::<load>([()]).unwrap();
}
