use pool::worker_task;

#[worker_task]
fn add(#[shared] base: &[u64], step: u64) -> u64 {
    base[0] + step
}

fn main() {}
