use std::path::PathBuf;

use pool::{WorkerPool, worker_task};

#[worker_task]
fn open(#[shared] root: &PathBuf, name: &str) -> bool {
    root.join(name).exists()
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<bool> = pool.map::<open>(["name"]).unwrap();
}
