use pool::{WorkerPool, worker_task};

#[worker_task]
fn scale(#[arg] factor: f32, x: f32) -> f32 {
    factor * x
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<f32> = scale::par_map(&pool, [1.0]).unwrap();
    let _: f32 = pool.apply::<scale>(1.0).unwrap();
}
