use pool::WorkerPool;

fn square(x: u64) -> u64 {
    x * x
}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<u64> = pool.map::<square>([1]).unwrap();
}
