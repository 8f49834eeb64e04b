use pool::worker_task;

#[worker_task]
fn count(#[arg] total: &mut u64, x: u64) {
    *total += x;
}

fn main() {}
