use pool::{WorkerPool, worker_task};

#[worker_task(for T in [f32, f64])]
fn total<T: std::iter::Sum<T>>(values: Vec<T>) -> T {
    values.into_iter().sum()
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: u8 = total::<u8>::apply(&pool, vec![1]).unwrap();
    let _: Vec<u8> = pool.map::<total<u8>>([vec![1]]).unwrap();
}
