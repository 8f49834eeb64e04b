use pool::worker_task;

#[worker_task]
fn add(#[shared(once)] base: &u64, step: u64) -> u64 {
    *base + step
}

fn main() {}
