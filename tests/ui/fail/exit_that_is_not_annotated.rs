use pool::worker_task;

fn last(seen: u64) -> u64 {
    seen
}

#[worker_task(exit = last)]
fn count(#[state] seen: &mut u64, step: u64) -> u64 {
    *seen += step;
    *seen
}

fn main() {}
