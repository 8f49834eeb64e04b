use pool::worker_task;

#[worker_task]
fn add(#[shared] #[state] base: &mut u64, step: u64) -> u64 {
    *base + step
}

fn main() {}
