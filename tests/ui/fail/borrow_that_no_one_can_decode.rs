use std::path::PathBuf;
use std::sync::Arc;

use pool::{WorkerPool, worker_task};

#[worker_task]
fn length(path: &Arc<PathBuf>, start: usize) -> usize {
    path.as_os_str().len() - start
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<usize> = length::par_map(&pool, [(&Arc::default(), 0)]).unwrap();
}
