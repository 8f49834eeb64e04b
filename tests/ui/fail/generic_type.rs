use pool::{WorkerPool, worker_task};

#[worker_task]
fn count<T>(items: Vec<T>) -> usize {
    items.len()
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<usize> = count::par_map(&pool, [vec![1u64]]).unwrap();
}
