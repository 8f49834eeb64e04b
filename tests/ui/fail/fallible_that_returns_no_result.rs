use pool::{WorkerPool, worker_exit, worker_init, worker_task};

#[worker_task(fallible)]
fn task(x: u64) -> Option<u64> {
    x.checked_add(1)
}

#[worker_init(fallible)]
fn init() -> (u64, u64) {
    (1, 2)
}

#[worker_exit(fallible)]
fn exit(#[state] seen: u64) -> u64 {
    seen
}

#[worker_task(fallible)]
fn nothing() {}

fn main() {
    let pool = WorkerPool::new(1).unwrap();
    let _: Vec<u64> = task::par_map(&pool, [1]).unwrap();
    nothing::apply(&pool, ()).unwrap();
}
