use pool::{WorkerPool, worker_task};

struct Model(u64);

#[worker_task]
fn predict(#[state] model: &mut Model, text: &str) -> u64 {
    model.0 + text.len() as u64
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<u64> = predict::par_map(&pool, ["text"]).unwrap();
}
