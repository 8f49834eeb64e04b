use pool::{WorkerPool, worker_task};

#[worker_task]
fn length(text: &'static str) -> usize {
    text.len()
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<usize> = length::par_map(&pool, ["text"]).unwrap();
}
