use pool::{WorkerPool, worker_task};

#[worker_task]
fn square(x: u64) -> u64 {
    x * x
}

#[worker_task]
fn add(#[arg] modulus: u64, one: u64, other: u64) -> u64 {
    (one + other) % modulus
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _ = square::job(&pool).reduce::<add>([1, 2]);
}
