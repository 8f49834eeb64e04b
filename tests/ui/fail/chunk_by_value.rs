use pool::{WorkerPool, worker_task};

#[worker_task]
fn halve(#[chunk] rows: Vec<f32>) -> Vec<f32> {
    rows.iter().map(|x| x / 2.0).collect()
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<f32> = halve::par_map_slice(&pool, &[1.0]).unwrap();
}
