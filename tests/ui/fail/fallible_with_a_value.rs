use pool::worker_task;

#[worker_task(fallible = true)]
fn run(x: u64) -> Result<u64, String> {
    Ok(x)
}

#[worker_task(fallible, fallible)]
fn twice(x: u64) -> Result<u64, String> {
    Ok(x)
}

fn main() {}
