use pool::{Shares, WorkerPool, worker_task};
use serde::{Deserialize, Serialize};

#[derive(Shares, Serialize, Deserialize)]
struct Common {
    names: Vec<String>,
    limit: u32,
}

#[worker_task]
fn rate(#[shared] factor: &f32, x: f32) -> f32 {
    factor * x
}

fn main() {
    let pool = WorkerPool::builder().shared(Common { names: vec![], limit: 1 }).build().unwrap();
    let _: f32 = rate::apply(&pool, 1.0).unwrap();
}
