use std::path::PathBuf;

use pool::{WorkerPool, worker_task};

#[worker_task]
fn open(#[shared] root: &PathBuf, name: &str) -> bool {
    root.join(name).exists()
}

fn main() {
    let pool = WorkerPool::builder().shared(String::from("root")).build().unwrap();
    let _: Vec<bool> = open::par_map(&pool, ["name"]).unwrap();
}
