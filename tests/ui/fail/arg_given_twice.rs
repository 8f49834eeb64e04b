use pool::{WorkerPool, worker_task};

#[worker_task]
fn scale(#[arg] factor: f32, x: f32) -> f32 {
    factor * x
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _ = scale::job(&pool).arg(1.0).arg(());
}
