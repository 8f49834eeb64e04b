use pool::WorkerPool;

fn main() {
    let _pool = WorkerPool::builder().env(|worker| [("GPU", usize::from(worker))]).build();
}
