use pool::{WorkerPool, worker_task};

#[worker_task]
fn show(value: impl std::fmt::Display) -> String {
    value.to_string()
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<String> = show::par_map(&pool, [1u64]).unwrap();
}
