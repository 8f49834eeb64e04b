use pool::{WorkerPool, worker_task};

#[worker_task]
fn trim(text: &str) -> &str {
    text.trim()
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _ = trim::par_map(&pool, ["text"]).unwrap();
}
