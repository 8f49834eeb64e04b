use pool::{WorkerPool, worker_task};

#[worker_task]
fn double(x: f32) -> f32 {
    2.0 * x
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _ = double::job(&pool).arg(());
}
