use pool::worker_task;

#[worker_task(name = "square", name = "power")]
fn square(x: u64) -> u64 {
    x * x
}

fn main() {}
