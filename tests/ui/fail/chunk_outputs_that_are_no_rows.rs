use pool::{WorkerPool, worker_task};

#[worker_task]
fn sum(#[chunk] rows: &[f32]) -> f32 {
    rows.iter().sum()
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _ = sum::par_map_slice(&pool, &[1.0]);
}
