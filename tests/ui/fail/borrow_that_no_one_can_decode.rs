use std::path::PathBuf;

use pool::{WorkerPool, worker_task};

#[worker_task]
fn length(path: &PathBuf, start: usize) -> usize {
    path.as_os_str().len() - start
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<usize> = length::par_map(&pool, [(&PathBuf::new(), 0)]).unwrap();
}
