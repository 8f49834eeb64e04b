use pool::{worker_init, worker_task};

#[worker_task]
#[worker_task]
fn square(x: u64) -> u64 {
    x * x
}

#[worker_init]
#[pool::worker_exit]
fn begin_and_end() -> u64 {
    0
}

fn main() {}
