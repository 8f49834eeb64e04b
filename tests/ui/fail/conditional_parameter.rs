use pool::worker_task;

#[worker_task]
fn square(x: u64, #[cfg(test)] y: u64) -> u64 {
    x * x
}

fn main() {}
