use pool::worker_task;

#[worker_task]
fn sum(first: u64, rest: ...) -> u64 {
    first
}

fn main() {}
