use pool::worker_task;

#[worker_task(init)]
fn square(x: u64) -> u64 {
    x * x
}

fn main() {}
