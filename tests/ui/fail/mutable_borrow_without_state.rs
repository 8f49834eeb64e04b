use pool::{WorkerPool, worker_task};

#[worker_task]
fn push(values: &mut Vec<u64>, value: u64) {
    values.push(value);
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    push::par_map(&pool, [(&mut vec![], 1)]).unwrap();
}
